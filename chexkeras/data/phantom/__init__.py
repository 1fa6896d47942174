"""Synthetic frontal chest films in the layout of NIH ChestX-ray14, so that everything runs without a download."""

from chexkeras.data.phantom.layout import make_phantoms

__all__ = ["make_phantoms"]
