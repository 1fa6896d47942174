"""Classifiers: in-model preprocessing, backbone, head, and the stages that freeze parts of them.

`register_backbone` and `register_loss` add your own to the names that a recipe may use.
"""

from chexkeras import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, __file__)
