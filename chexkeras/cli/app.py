"""The application: what all commands share."""

import contextlib
import functools
import inspect
import logging
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, get_args

import typer
from typer.models import ArgumentInfo

import chexkeras
from chexkeras import storage
from chexkeras.progress import printable, say

if TYPE_CHECKING:
    from chexkeras.parallel import Workplace

# Warnings on how a graph was traced do not belong between the lines of the epochs. By name, for neither is loaded yet.
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
Executor = Annotated[
    str,
    typer.Option(
        help="Where images are worked on: 'processes' here, 'serial' one after the other, 'ray' on a cluster (extra "
        "ray). The result is the same."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster, host:port of its head; default: RAY_ADDRESS, or else Ray is started on this machine."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Images worked on at once. Default: one a core, or one a processor of the cluster."),
]


def place_at(executor: str, address: str | None) -> "Workplace":
    """Returns where work on images is done, sure that it can be done there.

    Args:
        executor: What --executor says.
        address: What --address says.

    Raises:
        ValueError: If there is no such place, or Ray is wanted and not installed.
        WorkersUnavailable: If nothing answers at the cluster's address.
    """
    from chexkeras.parallel import Workplace, place_of

    return place_of(Workplace(executor, address))


def tell(text: object) -> None:
    """Prints text on standard output; what cannot be seen, or not be encoded there, is written by its number.

    A terminal gets long lines broken between words, a pipe or a file gets them whole.

    Args:
        text: One line or several.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    lines = printable(str(text), "\n").split("\n")
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        lines = [_broken(line, width) for line in lines]
    typer.echo("\n".join(lines).encode(encoding, "backslashreplace").decode(encoding))


def _broken(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    from chexkeras import plain

    indent = line[: len(line) - len(line.lstrip())]
    return plain.wrapped(line.strip(), indent, f"{indent}  ", width)


def fail(error: Exception, kept: str = "", command: str = "") -> NoReturn:
    """Ends a command with an error that the user can do something about; exit status 2.

    Args:
        error: The error.
        kept: What is left of the command's work; empty where nothing is left.
        command: How to go on with it, as `command_line` writes it.
    """
    message = str(error)
    if isinstance(error, OSError) and error.errno is not None:
        from chexkeras.files import NO_ROOM

        if error.errno in NO_ROOM:
            name = f" for {os.path.basename(os.fsdecode(error.filename))!r}" if error.filename else ""
            message = f"there is no room{name} ({error.strerror}); free some space, or write elsewhere."
            kept = kept or "nothing is left half-written; run the command again"
    if kept:
        message = f"{message.rstrip('.')}. {kept[0].upper()}{kept[1:]}{_going_on(command)}"
    typer.secho(printable(f"error: {message}", "\n"), err=True, fg=typer.colors.RED)
    raise typer.Exit(2) from None


class Ended(KeyboardInterrupt):
    """The system asked the program to end, as a batch system does; what ends at Ctrl-C ends in the same way.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


# SIGTERM, and SIGHUP of a terminal that is gone, where the system has it.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Ends the block with an exception where the system would end the program at once, so that workers end too."""

    def end(number: int, _: object) -> None:
        # Once is enough: what is being written down and cleared away is not to be disturbed again.
        for each in taken:
            signal.signal(each, signal.SIG_IGN)
        raise Ended(number)

    # Signals reach the main thread alone; what is ignored (nohup) or taken by somebody else stays so.
    is_main = threading.current_thread() is threading.main_thread()
    taken = [each for each in _ENDING if is_main and signal.getsignal(each) is signal.SIG_DFL]
    for each in taken:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)


def _going_on(command: str) -> str:
    """Returns how a sentence ends that says how to go on: the command alone on a line, to be copied from it."""
    return f"; go on with:\n{command}" if command else "."


def leave(interruption: KeyboardInterrupt, kept: str = "", command: str = "") -> NoReturn:
    """Ends a command that was interrupted: exit status 130 after Ctrl-C, 128 and the signal's number otherwise.

    Args:
        interruption: What ended it.
        kept: What is left of its work; empty where that is said already, or nothing is left.
        command: How to go on with it, as `command_line` writes it.
    """
    number = interruption.number if isinstance(interruption, Ended) else signal.SIGINT
    words = f"ended by {signal.Signals(number).name}" if isinstance(interruption, Ended) else "interrupted"
    told = f"{words}: {kept}{_going_on(command)}" if kept else f"{words}."
    typer.secho(printable(told, "\n"), err=True, fg=typer.colors.YELLOW)
    raise typer.Exit(128 + number) from None


_CALL: ContextVar[tuple[Callable[..., None], dict[str, Any]]] = ContextVar("call")
"""The command that is running, and what it was given."""


def command_line(*without: str, adding: tuple[str, ...] = ()) -> str:
    """Returns the command that is running as it can be pasted into a shell, without what is at its default.

    Args:
        *without: Parameters to leave out, by name.
        adding: Words to add at the end; an option that is there already is not repeated.
    """
    command, given = _CALL.get()
    words = ["chexkeras", command.__name__.replace("_", "-")]
    for name, parameter in inspect.signature(command).parameters.items():
        value = given.get(name, parameter.default)
        if name in without or value == parameter.default:
            continue
        kind, info = get_args(parameter.annotation)[:2]
        # With Annotated, Typer holds the first name that it is given for the default.
        names = (getattr(info, "default", None), *(getattr(info, "param_decls", None) or ()))
        named = (each for each in names if isinstance(each, str) and each.startswith("-"))
        flag = next(named, f"--{name.replace('_', '-')}")
        on, _, off = flag.partition("/")
        if isinstance(info, ArgumentInfo):
            words += map(str, value) if isinstance(value, list) else [str(value)]
        elif kind is bool:
            words.append(on if value else off or f"--no-{on.removeprefix('--')}")
        else:
            words += [word for each in (value if isinstance(value, list) else [value]) for word in (on, str(each))]
    if adding and adding[0] not in words:
        words += adding
    return shlex.join(words)


def starting_tensorflow() -> None:
    """Says that TensorFlow starts, which takes some seconds without a sign of life."""
    if "keras" not in sys.modules:
        say("starting TensorFlow ...")


def _of_this_machine(value: Any, name: str) -> Any:
    """Returns a path that was given as file:///folder as that folder; all else stays."""
    if isinstance(value, list):
        return [_of_this_machine(each, name) for each in value]
    if isinstance(value, Path) and value.parts[:1] == ("file:",):
        return storage.place(value, f"--{name.replace('_', '-')}")
    return value


def errors_for_people(command: Callable[..., None]) -> Callable[..., None]:
    """Shows what the user can fix as one message instead of a traceback; exit status 2.

    A command that is interrupted, or that the system ends (SIGTERM), ends its workers and says so; see `leave`.
    """
    given_names = inspect.signature(command).parameters

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        token = _CALL.set((command, options))
        try:
            options |= {name: _of_this_machine(value, name) for name, value in options.items()}
            with _ended_in_order():
                command(*arguments, **options)
        except KeyboardInterrupt as interruption:
            # A command that can be resumed has said itself what is kept.
            leave(interruption, "" if "resume" in given_names else "what was under way is not kept")
        except BrokenPipeError:
            # Whoever reads what is printed has read enough, as "head" has: Click ends without a word.
            raise
        except (ValueError, OSError) as error:
            fail(error)
        except RuntimeError as error:
            from chexkeras.parallel import WorkersUnavailable

            if not isinstance(error, WorkersUnavailable):
                raise
            fail(error)
        finally:
            _CALL.reset(token)

    return wrapped
