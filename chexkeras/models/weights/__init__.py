"""Weights by other publishers: where they come from, which images they have seen, and how their files are read."""
