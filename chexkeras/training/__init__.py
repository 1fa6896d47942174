"""Training: a recipe goes in, a run folder comes out."""
