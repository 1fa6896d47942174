"""Figures of what scoring meets: files with their scores, and images unlike the training images."""
