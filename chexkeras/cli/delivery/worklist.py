"""``chexkeras worklist``: the order in which films are worth reading."""

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from chexkeras.cli.app import app, errors_for_people, tell
from chexkeras.cli.destination import check_place
from chexkeras.storage import Place


@app.command()
@errors_for_people
def worklist(
    results: Annotated[
        Path, typer.Argument(help="Results of 'chexkeras predict', .csv or .jsonl; also s3://bucket/results.csv.")
    ],
    run: Annotated[Path, typer.Option(help="Run folder that made them.")],
    out: Annotated[
        list[Path] | None,
        typer.Option(
            help="Where to write, again for others: .csv has one row a film and names nobody, and may be "
            "s3://bucket/list.csv; .hl7 (ORU^R01) and .json (FHIR R4) name patient and study, need --films, and are "
            "readable by you alone. Default: worklist.csv."
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
    from chexkeras.delivery.worklist.write import write_worklist
    from chexkeras.files import existing_place, typed_place
    from chexkeras.inference.results_file import read_results
    from chexkeras.runs.run import Run

    known = existing_place(typed_place(results, "RESULTS"), "RESULTS", is_folder=False)
    chosen = check_outputs(out or [Path("worklist.csv")], films, "--out", (results,))
    loaded, records = Run.load(run), read_results(known)
    for path in chosen:
        entries = write_worklist(loaded, records, str(path), films=films, names=names)
    tell_worklist(collections.Counter(entry.group for entry in entries), chosen)


def check_outputs(
    paths: list[Path], films: Path | None, option: str, others: tuple[Path, ...], *, fetched: bool = False
) -> list[Place]:
    """Returns where worklists go, once it is sure that they can be written; before anything is scored.

    Args:
        paths: What the user gave.
        films: The folder of the films, for messages.
        option: The option's name.
        others: Files that the command reads or writes besides.
        fetched: Whether the films come from an archive, into a folder that is not there yet.

    Raises:
        OSError: If an object store gives no leave to write there.
        ValueError: If one cannot be written, two are the same file, or one lies among the films.
    """
    from chexkeras.delivery.worklist.write import FORMATS, check_worklist
    from chexkeras.files import typed_place

    kinds = {ending: form.is_own for ending, form in FORMATS.items()}
    places = [typed_place(path, option) for path in (*paths, *others)]
    same = [place.resolve() if isinstance(place, Path) else place for place in places]
    around = None if films is None else typed_place(films, "--films")
    for place in places[: len(paths)]:
        meant = place.resolve() if isinstance(place, Path) else place
        if same.count(meant) > 1:
            raise ValueError(f"{option} {str(place)!r} is named twice in this call; name another file.")
        if around is not None and _lies_in(meant, around):
            raise ValueError(
                f"{option} {str(place)!r} lies in the folder of the films, and would be taken for one next time; "
                "choose a place outside it."
            )
        check_worklist(place, films, option, needs_films=not fetched)
    return [check_place(path, option, kinds) for path in paths]


def _lies_in(place: Place, folder: Place) -> bool:
    if isinstance(place, Path):
        return isinstance(folder, Path) and place.is_relative_to(folder.resolve())
    return str(place).startswith(f"{folder}/")


def tell_worklist(groups: "collections.Counter[str]", paths: Sequence[Place]) -> None:
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
