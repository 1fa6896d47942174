"""Several readers of one image: how far they agree, and what a model is worth beside them."""
