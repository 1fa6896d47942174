"""Classifiers: in-model preprocessing, backbone, head, and the stages that freeze parts of them."""
