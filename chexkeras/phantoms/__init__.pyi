# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from .chexpert import make_chexpert_phantoms as make_chexpert_phantoms
from .dicom import write_dicom_folder as write_dicom_folder
from .hospitals import HOSPITALS as HOSPITALS, Hospital as Hospital
from .layouts import LAYOUTS as LAYOUTS
from .nih import make_phantoms as make_phantoms
