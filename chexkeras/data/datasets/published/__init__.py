"""Published data sets besides NIH and CheXpert, a loader each."""
