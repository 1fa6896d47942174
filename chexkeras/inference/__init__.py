"""Scoring images that no training run has seen."""
