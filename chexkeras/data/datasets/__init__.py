"""The data sets that can be loaded, one file each."""
