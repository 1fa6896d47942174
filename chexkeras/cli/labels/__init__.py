"""Commands on labels: those worth a second look."""

from chexkeras.cli.labels import suspects

__all__ = ["suspects"]
