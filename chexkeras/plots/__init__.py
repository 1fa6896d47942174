"""Figures: each function draws on the axes it is given (or on a new figure), and returns the axes."""

from chexkeras import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, __file__)
