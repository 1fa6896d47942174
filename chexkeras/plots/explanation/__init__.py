"""Figures of where a model looks."""
