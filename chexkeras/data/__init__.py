"""Images, tables and splits: from a raw folder to a data set that a model can read."""
