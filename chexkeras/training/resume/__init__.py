"""A training that goes on where it was interrupted, to the same result."""
