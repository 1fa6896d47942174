"""From what a file stores to what a viewer shows: codestreams, decoders, tables and windows, image files."""
