"""DICOM files: what is accepted, how stored values become display pixels, and what is never written down."""

from chexkeras import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, __file__)
