"""Commands that train: one run, folds, seeds, a sweep."""
