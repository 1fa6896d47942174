"""How many images a study needs, and the power it has with those at hand."""
