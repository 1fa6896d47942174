"""The command line: ``chexkeras`` and its commands, a module each."""

# The order of the modules here is the order of the commands in --help.
from chexkeras.cli import demo, data, presets  # noqa: I001
from chexkeras.cli.training import train, sweep
from chexkeras.cli import evaluate, compare, robustness, explain, predict, delivery, report, labels
from chexkeras.cli.app import app

__all__ = [
    "app",
    "compare",
    "data",
    "delivery",
    "demo",
    "evaluate",
    "explain",
    "labels",
    "main",
    "predict",
    "presets",
    "report",
    "robustness",
    "sweep",
    "train",
]


def main() -> None:
    """Runs the command line: ``chexkeras``, ``python -m chexkeras`` and ``python -m chexkeras.cli``."""
    # Named, so that shells complete it (_CHEXKERAS_COMPLETE) and help calls it alike however it was started.
    app(prog_name="chexkeras")
