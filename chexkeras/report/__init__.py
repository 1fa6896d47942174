"""Reports made from a run folder: facts keyed to the files they were read from, and the texts that use them."""

from chexkeras import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, __file__)
