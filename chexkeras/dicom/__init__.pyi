# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from .profiles import Profile as Profile, find_profile as find_profile, rules_table as rules_table
from .read import Radiograph as Radiograph, is_dicom as is_dicom, read_dicom as read_dicom
from .rejection import DicomRejected as DicomRejected, Violation as Violation
from .rules import RULES as RULES, DicomRule as DicomRule
from .workers.options import ReadOptions as ReadOptions
from .workers.pool import ReaderPool as ReaderPool
