"""Figures of reader studies."""
