"""The command line: ``chexkeras`` and its commands, a module each."""

# The order of the modules here is the order of the commands in --help.
from chexkeras.cli import demo, data, presets, train, evaluate, compare, robustness, explain, predict, report, labels  # noqa: I001
from chexkeras.cli.app import app

__all__ = [
    "app",
    "compare",
    "data",
    "demo",
    "evaluate",
    "explain",
    "labels",
    "main",
    "predict",
    "presets",
    "report",
    "robustness",
    "train",
]


def main() -> None:
    """Runs the command line: ``chexkeras``, ``python -m chexkeras`` and ``python -m chexkeras.cli``."""
    # Named, so that shells complete it (_CHEXKERAS_COMPLETE) and help calls it alike however it was started.
    app(prog_name="chexkeras")
