"""The DICOM node: receives films from a PACS, scores each once, sends the results back."""
