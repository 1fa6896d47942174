"""``chexkeras report``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chexkeras.cli.app import app, errors_for_people
from chexkeras.cli.destination import check_destination, heading

if TYPE_CHECKING:
    from chexkeras.report.answers import Answers

FOUND = 4
"""Exit status of --check when a document does not hold together."""

_REPORT, _CARD = Path("FDA_Submission.md"), "model_card.md"


@app.command()
@errors_for_people
def report(
    run: Annotated[Path | None, typer.Argument(help="Run folder, as written by 'chexkeras train'.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write: FDA_Submission.md, or submission.toml with --init.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="The author's answers: submission.toml, as --init writes it and you fill it in.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing while a field is open; list them.")] = False,
    html: Annotated[bool, typer.Option(help="Also write the report as one HTML file that needs nothing else.")] = True,
    model_card: Annotated[bool, typer.Option(help="Also write model_card.md beside the report.")] = True,
    assets: Annotated[
        Path | None, typer.Option(help="Folder for figures and numbers; default: the name of --out with _files.")
    ] = None,
    without_model: Annotated[
        bool,
        typer.Option(
            "--without-model", help="The run folder may lack model.keras: its hash is taken from provenance.json."
        ),
    ] = False,
    init: Annotated[bool, typer.Option("--init", help="Write the file of questions to answer, and stop.")] = False,
    check: Annotated[
        Path | None, typer.Option(help="Check whether a Markdown document of this kind holds together; exit status 4.")
    ] = None,
    described: Annotated[
        Path | None, typer.Option("--run", help="With --check: the run folder that the document describes.")
    ] = None,
) -> None:
    """Writes the FDA-style report from a run folder alone; needs neither images nor TensorFlow.

    Three uses: 'report RUN' writes the report, its HTML page and a model card; 'report --init' writes the questions
    that only an author can answer; 'report --check FILE' looks for contradictions in any document of this kind.
    """
    given = [name for name, value in (("RUN", run), ("--init", init), ("--check", check)) if value]
    if len(given) != 1:
        came = " and ".join(given) or "none of them"
        raise ValueError(f"give one of: a run folder, --init, or --check FILE (got {came}; see --help).")
    if described is not None and check is None:
        raise ValueError("--run goes with --check FILE; to write a report, give the run folder without it.")
    unused = [name for name, value in (("--strict", strict), ("--assets", assets)) if value]
    if run is None and unused:
        raise ValueError(f"{' and '.join(unused)}: used only when a report is written; leave out.")
    if without_model and run is None and described is None:
        raise ValueError("--without-model: used only where a run folder is read; leave out.")
    stated = _answers(answers)
    if check is not None:
        _check(check, described, stated, without_model=without_model)
    elif run is not None:
        _write(
            run, out or _REPORT, stated, strict=strict, html=html, model_card=model_card, assets=assets,
            without_model=without_model,
        )  # fmt: skip
    else:
        from chexkeras.report.answers import FILE, write_answers_template

        typer.echo(f"written: {write_answers_template(out or Path(FILE))}")


def _answers(path: Path | None) -> "Answers | None":
    """Reads the answers once, so that a mistake in them is found before anything is written."""
    from chexkeras.report.answers import load_answers

    try:
        return None if path is None else load_answers(path)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _write(
    run: Path, out: Path, answers: "Answers | None", *, strict: bool, html: bool, model_card: bool,
    assets: Path | None, without_model: bool,
) -> None:  # fmt: skip
    from chexkeras.report.html import write_html
    from chexkeras.report.model_card import write_model_card
    from chexkeras.report.submission import write_report

    check_destination(out, "--out", {".md": heading("FDA", "Submission")})
    written = write_report(run, out, assets=assets, answers=answers, strict=strict, without_model=without_model)
    typer.echo(f"written: {written}")
    if html:
        typer.echo(f"written: {write_html(written)}")
    if model_card:
        card = write_model_card(run, written.with_name(_CARD), answers=answers, without_model=without_model)
        typer.echo(f"written: {card}")


def _check(document: Path, run: Path | None, answers: "Answers | None", *, without_model: bool) -> None:
    from chexkeras.report.lint.check import RULES, check_report

    issues = check_report(document, run, answers=answers, without_model=without_model)
    for issue in issues:
        typer.echo(f"{issue}\n")
    if issues:
        typer.echo(f"{document}: {len(issues)} of {len(RULES)} rules found something to look at")
        raise typer.Exit(FOUND)
    typer.echo(f"{document}: {len(RULES)} rules found nothing; that does not show that it is right")
