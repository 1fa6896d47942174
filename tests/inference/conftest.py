import sys
from pathlib import Path

# The factory of DICOM films and the faults of worker processes are the DICOM room's.
sys.path.insert(0, str(Path(__file__).parents[1] / "dicom"))
