# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from .dicom_output import DicomOutput as DicomOutput, write_objects as write_objects
from .dicomweb.address import WebAddress as WebAddress, WebLimits as WebLimits
from .dicomweb.archive import StoredResults as StoredResults, WebArchive as WebArchive
from .dicomweb.connection import DicomWebError as DicomWebError
from .worklist.order import WorklistEntry as WorklistEntry, reading_order as reading_order
from .worklist.write import write_worklist as write_worklist
