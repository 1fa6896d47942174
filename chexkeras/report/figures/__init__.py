"""The figures of a report, and where they stand in it."""
