"""Commands that bring results to where films are read: a node, a reading order, an archive behind DICOMweb."""

from chexkeras.cli.delivery import worklist, node  # noqa: I001

__all__ = ["node", "worklist"]
