"""Vision transformers: DINOv2's and DINOv3's, as layers of a classifier's flat graph."""
