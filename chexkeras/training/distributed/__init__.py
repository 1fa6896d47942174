"""Training on several devices and hosts at once: each computes its part of every batch."""
