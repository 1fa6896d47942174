"""Which images, and how their labels are read: the options that audit, prepare and train have in common."""

import functools
import inspect
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chexkeras.data.datasets.registry import DATA_SETS, Option, open_data, recognise
from chexkeras.progress import say

if TYPE_CHECKING:
    import pandas as pd

    Load = Callable[..., pd.DataFrame]
else:
    Load = Callable


ROOT = (
    "Folder of a data set that 'chexkeras datasets' lists, or a CSV of your own with --image-column; NIH's layout and "
    "a CSV also by an address such as s3://bucket/nih (extra remote)."
)
Root = Annotated[Path, typer.Argument(help=ROOT)]
Missing = Annotated[
    str, typer.Option(help="Images absent or unusable: 'error' stops, 'skip' leaves them out and lists them.")
]
_OPTIONS = {option.name: option for entry in DATA_SETS for option in entry.options if option.on_command_line}
"""The options of all data sets, by name; two data sets may share one."""


def with_image_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of the data sets to a command, which gets what they say as one argument `load`.

    Args:
        command: A command whose parameter `load` takes a function: (root, missing=..., usual=..., because=...) to an
            image table, see `_load`.
    """
    own = inspect.signature(command).parameters
    shared = {name: _parameter(option) for name, option in _OPTIONS.items()}
    parameters = [*(parameter for name, parameter in own.items() if name != "load"), *shared.values()]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        options = {name: given.pop(name) for name in shared}
        command(load=functools.partial(_load, options), **given)

    # Typer reads both.
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def _parameter(option: Option) -> inspect.Parameter:
    """Returns an option of a data set as Typer reads it from a signature."""
    owners = [entry.owner for entry in DATA_SETS if option in entry.options]
    help_text = typer.Option(option.flag, help=option.help, rich_help_panel=owners[0] if len(owners) == 1 else None)
    kind: Any = str if option.values == "text" else list[str]
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, help_text]
    )


def _load(
    options: Mapping[str, Any],
    root: Path,
    *,
    missing: str,
    usual: Mapping[str, Any] | None = None,
    because: str = "",
) -> "pd.DataFrame":
    """Returns the image table that the options describe.

    Args:
        options: Values of the shared options, None where one was not given.
        root: The folder or label file, see `ROOT`.
        missing: What to do about rows without an image: "error", "skip" or "keep" them.
        usual: Options to take where the data set in the folder has them and the user gave nothing.
        because: Why, a few words to show when they are taken.
    """
    given = {name: _READ[_OPTIONS[name].values](value) for name, value in options.items()}
    # The list of commands starts without pandas.
    from chexkeras.files import typed_place

    if usual and typed_place(root, "root").is_dir() and set(usual) <= set(recognise(root).option_names):
        taken = {name: value for name, value in usual.items() if given[name] is None}
        if taken:
            say(f"{because}: {written(taken)}")
        given |= taken
    return open_data(root, missing=missing, **given)  # type: ignore[arg-type]


def written(options: Mapping[str, Any]) -> str:
    """Returns options as the command line takes them.

    Example:
        >>> written({"views": "all", "uncertain": {"Edema": "ones", "Pleural Effusion": "zeros"}})
        "--views all --uncertain Edema=ones --uncertain 'Pleural Effusion=zeros'"
    """
    words = []
    for name, value in options.items():
        values = [f"{key}={each}" for key, each in value.items()] if isinstance(value, Mapping) else [str(value)]
        words += [word for each in values for word in (_OPTIONS[name].flag, each)]
    return shlex.join(words)


def policies(given: "list[str] | tuple[str, ...]") -> str | dict[str, str] | None:
    """Returns what --uncertain says, as `load_chexpert` takes it; None where it says nothing.

    Raises:
        ValueError: If a policy for all stands beside others.

    Example:
        >>> policies(["Edema=ones", "Atelectasis=zeros"])
        {'Edema': 'ones', 'Atelectasis': 'zeros'}
    """
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    alone = [text for text in given if "=" not in text]
    if alone:
        raise ValueError(f"--uncertain {alone[0]} stands beside others; give one for all, or finding=policy each.")
    return dict(_pair(text) for text in given) or None


def columns_of(given: "list[str] | tuple[str, ...]") -> list[str] | dict[str, str] | None:
    """Returns what --label-columns says, as `load_table` takes it; None where it says nothing.

    Example:
        >>> columns_of(["edema,mass"])
        ['edema', 'mass']
        >>> columns_of(["edema", "heart=Cardiomegaly"])
        {'edema': 'edema', 'heart': 'Cardiomegaly'}
    """
    texts = [text.strip() for several in given for text in several.split(",") if text.strip()]
    return dict(_pair(text) for text in texts) if any("=" in text for text in texts) else texts or None


def group_columns_of(given: "list[str] | tuple[str, ...]") -> dict[str, str] | None:
    """Returns what --group-column says, as `load_table` takes it; None where it says nothing.

    Raises:
        ValueError: If one name is given twice.

    Example:
        >>> group_columns_of(["manufacturer=Scanner", "site"])
        {'manufacturer': 'Scanner', 'site': 'site'}
    """
    pairs = [_pair(text) for text in given]
    names = [name for name, _ in pairs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"--group-column names {twice[0]} twice; give each name one column.")
    return dict(pairs) or None


def _pair(text: str) -> tuple[str, str]:
    name, _, value = (part.strip() for part in text.partition("="))
    return name, value or name


_READ: dict[str, Callable[[Any], Any]] = {
    "text": lambda value: value,
    "each": lambda values: policies(values or ()),
    "names": lambda values: columns_of(values or ()),
    "pairs": lambda values: group_columns_of(values or ()),
}
"""How the command line's values of an option become the loader's, by `Option.values`."""
