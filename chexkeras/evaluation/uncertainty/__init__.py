"""Intervals: DeLong, Clopper-Pearson and Newcombe limits, and the bootstrap over patients."""
