"""``chexkeras demo``."""

from pathlib import Path
from typing import Annotated

import typer

from chexkeras.cli.app import app, errors_for_people, tell
from chexkeras.cli.output import show_dicom, show_evaluation, show_shortcuts


@app.command()
@errors_for_people
def demo(
    out: Annotated[Path, typer.Option(help="Folder that receives everything the demo writes.")] = Path("demo"),
    images: Annotated[int, typer.Option(help="How many synthetic images.")] = 800,
) -> None:
    """Runs the whole job on synthetic images, from images to report, in minutes.

    Replaces runs/demo, reports/demo and FDA_Submission.md in the folder of --out, and writes nothing outside it.
    """
    from chexkeras.demo import run_demo

    report, assets = out / "FDA_Submission.md", out / "reports" / "demo"
    run = run_demo(
        out / "runs" / "demo", phantoms=out / "data" / "phantoms", images=images, report=report, assets=assets
    )
    show_evaluation(run.evaluation)
    show_shortcuts(run)
    show_dicom(run)
    for name, path in (("run folder", run.folder), ("figures and numbers", assets), ("report", report)):
        tell(f"{name:20} {path}")
