"""Statistics: every number with its interval; none of it needs TensorFlow."""

from chexkeras import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, __file__)
