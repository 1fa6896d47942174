"""A reference standard that is missing for some images, or wrong for some: what it does to rates, and the remedy."""
