"""``chexkeras audit``."""

from pathlib import Path
from typing import Annotated

import typer

from chexkeras.cli.app import app, errors_for_people


@app.command()
@errors_for_people
def audit(
    root: Annotated[Path, typer.Argument(help="Folder with the films and NIH's CSV.")],
    images: Annotated[
        str | None, typer.Option(help="Folder of the films inside ROOT, where there are several.")
    ] = None,
    finding: Annotated[
        list[str] | None,
        typer.Option(help="Finding whose shortcuts are measured, by default every common one; repeat for several."),
    ] = None,
    split: Annotated[Path | None, typer.Option(help="Saved split (.csv) to check for patients and copies.")] = None,
    films: Annotated[bool, typer.Option("--films/--no-films", help="Open every film, or check labels alone.")] = True,
    out: Annotated[Path | None, typer.Option(help="JSON file to write the full audit to.")] = None,
) -> None:
    """Looks a folder over: unusable, equal and odd films, labels, patients, and shortcuts that a model may learn."""
    from chexkeras import files
    from chexkeras.data.audit import audit as audit_films
    from chexkeras.data.nih import load_nih
    from chexkeras.data.splits import Splits

    # A split belongs to the films that were there when it was made.
    table = load_nih(root, images=images, missing="skip" if split else "keep")
    splits = Splits.load(split, table) if split else None
    checked = audit_films(table, splits, targets=finding, decode=films, missing="skip")
    typer.echo(checked.summary)
    if out is not None:
        typer.echo(f"written: {files.write_json(out, checked.to_dict())}")
