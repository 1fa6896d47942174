"""Synthetic frontal chest images in the layout of NIH ChestX-ray14 or CheXpert: everything runs without a download."""

from chexkeras.phantoms.chexpert import make_chexpert_phantoms
from chexkeras.phantoms.nih import make_phantoms

__all__ = ["make_chexpert_phantoms", "make_phantoms"]
