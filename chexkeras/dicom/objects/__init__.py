"""A scored film's result as DICOM objects: structured report, secondary capture, presentation state."""
