"""What readers said of images: the files in which it is published, and one's own."""
