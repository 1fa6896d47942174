"""Processes that decode DICOM files, with limits of memory and time."""
