"""chexkeras: chest X-ray classifiers in Keras, from a folder of images to an honest FDA-style report.

The names of the main job stand here, all others in `cx.data`, `cx.delivery`, `cx.dicom`, `cx.evaluation`,
`cx.inference`, `cx.models`, `cx.phantoms`, `cx.plots`, `cx.recipes`, `cx.report` and `cx.results`. Each
is loaded when it is first used, so that statistics and DICOM checks start without TensorFlow. `__init__.pyi` lists
them, for Python and for editors.
"""

from chexkeras import _lazy, _quiet

__version__ = "0.1.0"

_quiet.quiet_tensorflow()

__getattr__, __dir__, __all__ = _lazy.attach(__name__, __file__)
