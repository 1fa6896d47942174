"""Facts on what a result could rest on instead of the disease: shortcuts, and images of another source."""
