"""Where a model looks: heat maps, the checks they must pass, and how they compare with radiologists' boxes."""

from chexkeras import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, __file__)
