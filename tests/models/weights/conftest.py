"""A program of its own lies among the tests of weights; it needs PyTorch, so nobody is to import it here."""

collect_ignore = ["by_pytorch.py"]
