"""Results on their way to where films are read: DICOM objects, an archive's DICOMweb service, worklists, messages."""

from chexkeras import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, __file__)
