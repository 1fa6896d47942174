"""Whether a score means what it says: slope, intercept, recalibration, another prevalence."""
