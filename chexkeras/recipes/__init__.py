"""Recipes: everything that decides a run except the images."""
