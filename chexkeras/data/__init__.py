"""Images, tables and splits: from a raw folder to a data set that a model can read."""

from chexkeras import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, __file__)
