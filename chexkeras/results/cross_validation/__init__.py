"""What cross-validation says of a recipe, and of two recipes on the same folds."""
