"""What a classifier begins with so that it bears another exposure: one gray scale for every image, and a low-pass."""
