"""``chexkeras demo``, ``app`` and ``export``: the demo, the page to try a run, and what Hugging Face takes of it."""

from pathlib import Path
from typing import Annotated

import typer

from chexkeras.cli.app import Profile, RunFolder, app, errors_for_people, leave, starting_tensorflow, tell
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


@app.command(name="app")
@errors_for_people
def page(
    run: RunFolder,
    port: Annotated[int, typer.Option(help="Port, 1024 to 65535; 0 takes a free one.")] = 7860,
    host: Annotated[
        str,
        typer.Option(
            help="Address to serve at; another one than this machine's own asks for --password-file or "
            "--i-know-it-is-open."
        ),
    ] = "127.0.0.1",
    password_file: Annotated[
        Path | None,
        typer.Option(help="File with the password in its first line, at least 12 characters; visitors give any name."),
    ] = None,
    i_know_it_is_open: Annotated[
        bool, typer.Option("--i-know-it-is-open", help="Let anyone use the page who reaches --host.")
    ] = False,
    beside: Annotated[
        list[Path] | None,
        typer.Option("--beside", help="Another run on the same test images to show beside it; again for more."),
    ] = None,
    profile: Profile = "clinical",
    engine: Annotated[
        str, typer.Option(help="What computes the scores: 'keras', 'openvino' or 'onnx' (extras of these names).")
    ] = "keras",
    largest: Annotated[float, typer.Option(help="Largest upload, MiB.")] = 100.0,
    frame: Annotated[
        list[str] | None,
        typer.Option(
            "--frame",
            help="Origin that may frame the page, such as https://example.org; again for others. Default: none.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            help="Name under which a proxy in front on this machine asks, such as films.example.org; again for others. "
            "Asks for --password-file or --i-know-it-is-open, too.",
        ),
    ] = None,
) -> None:
    """Starts the page to try a run: upload a film, see the verdict, the score and where it comes from.

    For this machine alone unless --host says otherwise. Nothing of a film is kept; no other host is asked.
    Not a medical device. Ctrl-C ends it.
    """
    from chexkeras.page.serve import check_address, make_page, read_password
    from chexkeras.page.server import ServerLimits

    password = "" if password_file is None else read_password(password_file)
    check_address(host, port, password, i_know_it_is_open, name or [])
    if not 0 < largest <= 256:
        raise ValueError(f"--largest {largest:g} must be above 0 and at most 256 MiB, as many as a film may have.")
    starting_tensorflow()
    made = make_page(
        run, host=host, port=port, profile=profile, engine=engine, beside=beside or [], password=password,
        limits=ServerLimits(largest_bytes=int(largest * 2**20)), is_open=i_know_it_is_open,
        frames=" ".join(frame) if frame else "'none'", names=name or [],
    )  # fmt: skip
    tell(f"the page is at {made.url} (Ctrl-C ends it)")
    if password:
        tell("visitors give any user name and the password of --password-file; over a network, put TLS in front of it")
    try:
        made.run()
    except KeyboardInterrupt as interruption:
        leave(interruption, "the page is closed")


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
