"""Where the texts and drawings of a figure go, measured as they are drawn."""
