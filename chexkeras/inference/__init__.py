"""Scoring films that no training run has seen."""
