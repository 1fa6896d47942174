"""Figures of a run at several hospitals."""
