"""Images decoded once and kept in one file."""
