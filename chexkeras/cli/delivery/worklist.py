"""``chexkeras worklist``: the order in which films are worth reading."""

import collections
from pathlib import Path
from typing import Annotated

import typer

from chexkeras.cli.app import app, errors_for_people, tell
from chexkeras.cli.destination import check_destination


@app.command()
@errors_for_people
def worklist(
    results: Annotated[Path, typer.Argument(help="Results of 'chexkeras predict', .csv or .jsonl.")],
    run: Annotated[Path, typer.Option(help="Run folder that made them.")],
    out: Annotated[
        list[Path] | None,
        typer.Option(
            help="Where to write, again for others: .csv has one row a film and names nobody; .hl7 (ORU^R01) and .json "
            "(FHIR R4) name patient and study, need --films, and are readable by you alone. Default: worklist.csv."
        ),
    ] = None,
    films: Annotated[Path | None, typer.Option(help="Folder of the films, as it was scored.")] = None,
    names: Annotated[
        str, typer.Option(help="How the results name files: 'path' or 'hashed', as it was scored.")
    ] = "path",
) -> None:
    """Orders scored films: the most suspicious first, then those that need a person's look, negative ones last.

    Films that were refused, and films unlike the training images whose scores are low, stand before the negative ones:
    nothing speaks for them, so they do not wait for longest. None is left out.
    """
    from chexkeras.checks import existing_file
    from chexkeras.delivery.worklist.write import write_worklist
    from chexkeras.inference.results_file import read_results
    from chexkeras.runs.run import Run

    chosen = out or [Path("worklist.csv")]
    check_outputs(chosen, films, "--out", (results,))
    loaded, records = Run.load(run), read_results(existing_file(results, "RESULTS"))
    for path in chosen:
        entries = write_worklist(loaded, records, path, films=films, names=names)
    tell_worklist(collections.Counter(entry.group for entry in entries), chosen)


def check_outputs(
    paths: list[Path], films: Path | None, option: str, others: tuple[Path, ...], *, fetched: bool = False
) -> None:
    """Checks where worklists go, before anything is scored.

    Args:
        paths: What the user gave.
        films: The folder of the films, for messages.
        option: The option's name.
        others: Files that the command reads or writes besides.
        fetched: Whether the films come from an archive, into a folder that is not there yet.

    Raises:
        ValueError: If one cannot be written, two are the same file, or one lies among the films.
    """
    places = [path.resolve() for path in (*paths, *others)]
    from chexkeras.delivery.worklist.write import FORMATS, check_worklist

    for path, place in zip(paths, places, strict=False):
        if places.count(place) > 1:
            raise ValueError(f"{option} {str(path)!r} is named twice in this call; name another file.")
        if films is not None and place.is_relative_to(films.resolve()):
            raise ValueError(
                f"{option} {str(path)!r} lies in the folder of the films, and would be taken for one next time; choose "
                "a place outside it."
            )
        check_worklist(path, films, option, needs_films=not fetched)
        check_destination(path, option, {ending: form.is_own for ending, form in FORMATS.items()})


def tell_worklist(groups: "collections.Counter[str]", paths: list[Path]) -> None:
    """Says how many films are in which group, and what was written.

    Args:
        groups: How many films each group has.
        paths: What was written.
    """
    from chexkeras.delivery.worklist.order import GROUPS

    counts = ", then ".join(f"{groups[group]} {group}" for group in GROUPS if groups[group])
    tell(f"reading order: {counts}")
    for path in paths:
        told = "" if path.suffix.lower() == ".csv" else ", with identifiers of patients"
        tell(f"worklist{told}: {path}")
