"""Many trainings on the same images: folds, seeds and settings, with what is frozen computed once."""
