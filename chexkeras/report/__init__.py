"""Reports made from a run folder: facts keyed to the files they were read from, and the texts that use them."""
