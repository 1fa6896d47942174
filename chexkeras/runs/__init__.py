"""The run folder: what a training leaves behind, written and read."""
