"""The application: what all commands share."""

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import chexkeras
from chexkeras.progress import printable

# TensorFlow's start-up notices would bury what the user wants to read; errors still come through.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Nor do warnings on how a graph was traced belong between the lines of the epochs. By name, for neither is loaded yet.
for _logger in ("tensorflow", "absl"):
    logging.getLogger(_logger).setLevel(logging.ERROR)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Chest X-ray classifiers from a folder of images to an FDA-style report, every number with its interval.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chexkeras {chexkeras.__version__}")
        raise typer.Exit


@app.callback()
def _options_of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as written by 'chexkeras train'.")]
Profile = Annotated[
    str,
    typer.Option(help="DICOM rules: 'clinical', or 'course' for the literal checks of Udacity's pneumonia project."),
]


def tell(text: object) -> None:
    """Prints text on standard output; what cannot be seen, or not be encoded there, is written by its number.

    Args:
        text: One line or several.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    typer.echo(printable(str(text), "\n").encode(encoding, "backslashreplace").decode(encoding))


def _fail(error: Exception) -> NoReturn:
    typer.secho(printable(f"error: {error}", "\n"), err=True, fg=typer.colors.RED)
    raise typer.Exit(2) from None


def errors_for_people(command: Callable[..., None]) -> Callable[..., None]:
    """Shows what the user can fix as one message instead of a traceback; exit status 2."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (ValueError, OSError) as error:
            _fail(error)
        except RuntimeError as error:
            from chexkeras.parallel import WorkersUnavailable

            if not isinstance(error, WorkersUnavailable):
                raise
            _fail(error)

    return wrapped
