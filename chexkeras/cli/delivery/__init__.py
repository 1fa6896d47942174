"""Commands that bring results to where films are read: a node, a reading order, an archive behind DICOMweb."""

from chexkeras.cli.delivery import node

__all__ = ["node"]
