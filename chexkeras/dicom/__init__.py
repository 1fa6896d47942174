"""DICOM files: what is accepted, how stored values become display pixels, and what is never written down."""
