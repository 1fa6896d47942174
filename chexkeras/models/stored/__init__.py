"""Model and weights files: looked into before Keras opens them."""
