"""Which images, and how their labels are read: the options that audit, prepare and train have in common."""

import functools
import inspect
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chexkeras.progress import say

if TYPE_CHECKING:
    import pandas as pd

    Load = Callable[..., pd.DataFrame]
else:
    Load = Callable

ROOT = "Folder in NIH's layout (flat or Kaggle's) or in CheXpert's, or a CSV of your own with --image-column."
Root = Annotated[Path, typer.Argument(help=ROOT)]
Missing = Annotated[
    str, typer.Option(help="Images absent or unusable: 'error' stops, 'skip' leaves them out and lists them.")
]
_CHEXPERT, _OWN = "CheXpert", "Your own CSV"


def with_image_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of `_options` to a command, which gets what they say as one argument `load`.

    Args:
        command: A command whose parameter `load` takes a function: (root, missing=..., usual=..., because=...) to an
            image table, see `_load`.
    """
    own, shared = inspect.signature(command).parameters, inspect.signature(_options).parameters
    parameters = [*(parameter for name, parameter in own.items() if name != "load"), *shared.values()]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        options = {name: given.pop(name) for name in shared}
        command(load=functools.partial(_load, options), **given)

    # Typer reads both.
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def _options(
    images: Annotated[
        str | None,
        typer.Option(help="Folder of the images, absolute or beside the label file, where there are several."),
    ] = None,
    views: Annotated[
        str | None, typer.Option(help="Images to read: frontal (usual), lateral or all.", rich_help_panel=_CHEXPERT)
    ] = None,
    uncertain: Annotated[
        list[str] | None,
        typer.Option(
            help="What uncertain labels become: ignore (usual), zeros, ones, self_trained, or multiclass with the head "
            "three_way; Edema=ones for one finding, repeated for several.",
            rich_help_panel=_CHEXPERT,
        ),
    ] = None,
    blank: Annotated[
        str | None,
        typer.Option(help="What blank labels mean: negative (usual) or unknown.", rich_help_panel=_CHEXPERT),
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(help="Column with the file: PNG, JPEG or DICOM.", rich_help_panel=_OWN)
    ] = None,
    label_columns: Annotated[
        list[str] | None,
        typer.Option(
            help="Columns with labels 1, 0 or blank: a,b or a=Finding,b=Finding; repeat or separate by commas.",
            rich_help_panel=_OWN,
        ),
    ] = None,
    patient_column: Annotated[
        str | None, typer.Option(help="Column that says whose image it is.", rich_help_panel=_OWN)
    ] = None,
    view_column: Annotated[str | None, typer.Option(help="Column with PA or AP.", rich_help_panel=_OWN)] = None,
    sex_column: Annotated[str | None, typer.Option(help="Column with the sex.", rich_help_panel=_OWN)] = None,
    age_column: Annotated[str | None, typer.Option(help="Column with the age in years.", rich_help_panel=_OWN)] = None,
    separator: Annotated[
        str | None,
        typer.Option(help="The one label column lists findings in words with this between.", rich_help_panel=_OWN),
    ] = None,
) -> None:
    """Holds the shared options; `with_image_options` reads its signature, and it is never called."""


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
        root: As for `open_data`.
        missing: As for `open_data`.
        usual: Options of `load_chexpert` to take where the images are CheXpert's and the user gave nothing.
        because: Why, a few words to show when they are taken.
    """
    from chexkeras.data.datasets.registry import open_data

    named = {
        "uncertain": policies(options["uncertain"] or ()),
        "label_columns": columns_of(options["label_columns"] or ()),
    }
    given = {**options, **named}
    if usual and _is_chexpert(root):
        taken = {name: value for name, value in usual.items() if given[name] is None}
        if taken:
            say(f"{because}: {written(taken)}")
        given |= taken
    return open_data(root, missing=missing, **given)  # type: ignore[arg-type]


def _is_chexpert(root: Path) -> bool:
    from chexkeras.data.datasets.registry import CHEXPERT, kind_of

    # A file is a table of one's own or NIH's.
    return root.expanduser().is_dir() and kind_of(root) == CHEXPERT


def written(options: Mapping[str, Any]) -> str:
    """Returns options as the command line takes them.

    Example:
        >>> written({"views": "all", "uncertain": {"Edema": "ones", "Pleural Effusion": "zeros"}})
        "--views all --uncertain Edema=ones --uncertain 'Pleural Effusion=zeros'"
    """
    words = []
    for name, value in options.items():
        values = [f"{key}={each}" for key, each in value.items()] if isinstance(value, Mapping) else [str(value)]
        words += [word for each in values for word in (f"--{name.replace('_', '-')}", each)]
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


def _pair(text: str) -> tuple[str, str]:
    name, _, value = (part.strip() for part in text.partition("="))
    return name, value or name
