"""Several readers of one image: what they and a model are worth, on images and on places in them."""
