"""Cross-validation judged: out-of-fold scores, what they say of a recipe, two recipes on the same folds."""
