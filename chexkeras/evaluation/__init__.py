"""Statistics: every number with its interval; none of it needs TensorFlow."""
