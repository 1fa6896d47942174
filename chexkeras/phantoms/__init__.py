"""Synthetic frontal chest images in the layout of NIH ChestX-ray14 or CheXpert: everything runs without a download."""

from chexkeras import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, __file__)
