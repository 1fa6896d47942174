"""Facts on what a result could rest on instead of the disease: shortcuts, labels that err, images of another source."""
