"""The numbers of a report, each keyed to the file it was read from."""
