"""Scoring images that no training run has seen."""

from chexkeras import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, __file__)
