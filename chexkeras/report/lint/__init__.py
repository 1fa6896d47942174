"""Whether a written report holds together: its numbers, claims and missing parts."""
