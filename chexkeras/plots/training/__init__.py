"""Figures of trainings: one, or many on the same images."""
