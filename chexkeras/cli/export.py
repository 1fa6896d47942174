"""``chexkeras export``: a run as Hugging Face expects it."""

from pathlib import Path
from typing import Annotated

import typer

from chexkeras.cli.app import RunFolder, app, errors_for_people, tell


@app.command()
@errors_for_people
def export(
    run: RunFolder,
    space: Annotated[Path | None, typer.Option(help="Folder to write for a Space that serves the run's page.")] = None,
    hub: Annotated[Path | None, typer.Option(help="Folder to write for a model repository.")] = None,
    license_name: Annotated[
        str, typer.Option("--license", help="Licence for the metadata, in Hugging Face's names.")
    ] = "other",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
) -> None:
    """Writes a run as Hugging Face expects it: a Space with its page, or a model repository. Uploads nothing."""
    if space is None and hub is None:
        raise ValueError("give --space DIR, --hub DIR, or both, to say what is written.")
    from chexkeras.page.export import export_hub, export_space

    if space is not None:
        written = export_space(run, space, license_name=license_name, overwrite=overwrite)
        tell(f"{written}: try it with 'python app.py' in that folder; upload it with")
        tell(f"  hf upload YOUR-NAME/YOUR-SPACE {written} --repo-type space")
    if hub is not None:
        written = export_hub(run, hub, license_name=license_name, overwrite=overwrite)
        tell(f"{written}: upload it with")
        tell(f"  hf upload YOUR-NAME/YOUR-MODEL {written}")
