"""``chexkeras report``."""

from pathlib import Path
from typing import Annotated

import typer

from chexkeras.cli.app import RunFolder, app, errors_for_people


@app.command()
@errors_for_people
def report(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("FDA_Submission.md"),
    assets: Annotated[
        Path | None, typer.Option(help="Folder for figures and numbers; default: the name of --out with _files.")
    ] = None,
) -> None:
    """Writes the FDA-style report from a run folder alone; needs neither films nor TensorFlow."""
    from chexkeras.report.fda import write_report

    typer.echo(f"written: {write_report(run, out, assets=assets)}")
