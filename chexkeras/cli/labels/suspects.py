"""``chexkeras suspects``: labels that scores contradict, as a page and a CSV to fill in."""

from pathlib import Path
from typing import Annotated

import typer

from chexkeras.cli.app import app, errors_for_people, tell
from chexkeras.cli.image_options import ROOT, Load, with_image_options


@app.command()
@errors_for_people
@with_image_options
def suspects(
    load: Load,
    folder: Annotated[
        Path, typer.Argument(metavar="RUN_OR_FOLDER", help="A run, or the folder of a cross-validation.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the page and the CSV to.")],
    data: Annotated[Path | None, typer.Option("--data", help=f"To show the images. {ROOT}")] = None,
    most: Annotated[int, typer.Option(min=1, help="How many labels at most.")] = 200,
    rank_by: Annotated[
        str, typer.Option(help="adjusted_margin, normalised_margin or self_confidence.")
    ] = "adjusted_margin",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier list, filled in or not.")] = False,
) -> None:
    """Lists labels that the scores of unseen images contradict, to be looked at again; nothing is changed.

    Fill in your_label and read_by (in the page, or in suspects.csv), then train with --corrections suspects.csv.
    """
    from chexkeras.report.suspects_page import TO_FILL_IN, write_suspects
    from chexkeras.runs.suspects import suspects_of

    found = suspects_of(folder, rank_by=rank_by, seed=seed)
    table = None if data is None else load(data, missing="keep")
    page = write_suspects(found, out, table=table, most=most, overwrite=overwrite)
    tell(str(found))
    tell(f"written: {page}")
    tell(f"written: {page.with_name(TO_FILL_IN)}")
