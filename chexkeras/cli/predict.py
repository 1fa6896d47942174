"""``chexkeras predict``."""

from pathlib import Path
from typing import Annotated

import typer

from chexkeras.cli.app import Profile, app, errors_for_people


@app.command()
@errors_for_people
def predict(
    folder: Annotated[Path, typer.Argument(help="Folder with DICOM, PNG or JPEG files, told apart by content.")],
    run: Annotated[Path, typer.Option(help="Run folder whose model and threshold are used.")],
    out: Annotated[Path, typer.Option(help="CSV file to write, one row a file and finding.")] = Path("results.csv"),
    profile: Profile = "clinical",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the results with the run too, for its report.")] = False,
) -> None:
    """Scores a folder: a decision or a reasoned refusal for every file. Exit status 3 if any file was refused."""
    from chexkeras import files
    from chexkeras.inference.batch import find_files
    from chexkeras.inference.predictor import Predictor

    if out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a folder; name the CSV file to write, such as {out / 'results.csv'}.")
    # The table of an earlier run may lie among the films.
    found = [path for path in find_files(folder) if path.resolve() != out.resolve()]
    results = Predictor.load(run, profile).predict(found)
    results["file"] = [Path(name).relative_to(folder).as_posix() for name in results["file"]]
    for table in (out, run / "dicom_results.csv") if keep else (out,):
        files.write_csv(table, results)
    refused = results[results["verdict"] == "reject"]
    typer.echo(f"{len(found) - len(refused)} accepted, {len(refused)} refused; written: {out}")
    for code, count in refused["code"].value_counts().items():
        typer.echo(f"  refused {count:5}  {code}")
    if len(refused):
        raise typer.Exit(3)
