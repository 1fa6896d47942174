"""Two models on the same images, and results that others published."""
