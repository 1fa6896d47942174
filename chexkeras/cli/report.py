"""``chexkeras report``, ``report-check`` and ``report-init``: the report, a check, the questions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chexkeras.cli.app import RunFolder, app, errors_for_people, tell
from chexkeras.cli.destination import check_destination, heading
from chexkeras.progress import say

if TYPE_CHECKING:
    from chexkeras.report.answers import Answers

FOUND = 4
"""Exit status of ``report-check`` when a document does not hold together."""

_CARD = "model_card.md"

AnswersFile = Annotated[
    Path | None,
    typer.Option(
        help="The author's answers, made by 'chexkeras report-init' and filled in; default: submission.toml beside the "
        "report or in the working folder, if there is one."
    ),
]
WithoutModel = Annotated[
    bool,
    typer.Option("--without-model", help="The run may lack model.keras: its hash is taken from provenance.json."),
]


@app.command()
@errors_for_people
def report(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("FDA_Submission.md"),
    answers: AnswersFile = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Write nothing while a field is open, or the check finds something; list it."),
    ] = False,
    html: Annotated[bool, typer.Option(help="Also write the report as one HTML file that needs nothing else.")] = True,
    docx: Annotated[
        bool, typer.Option("--docx", help="Also write the report as a Word document; needs the extra docx.")
    ] = False,
    model_card: Annotated[bool, typer.Option(help="Also write model_card.md beside the report.")] = True,
    assets: Annotated[
        Path | None, typer.Option(help="Folder for figures and numbers; default: the name of --out with _files.")
    ] = None,
    without_model: WithoutModel = False,
) -> None:
    """Writes the FDA-style report, its HTML page and a model card from a run folder alone.

    Needs neither images nor TensorFlow. 'chexkeras report-init' writes the questions that only an author can answer.
    """
    from chexkeras.report.html import write_html
    from chexkeras.report.model_card import write_model_card
    from chexkeras.report.submission import write_report

    if docx:
        from chexkeras.report.word import pandoc_path

        pandoc_path()
    stated = _read(answers, out)
    check_destination(out, "--out", {".md": heading("FDA", "Submission")})
    say("reading the run ...")
    written = write_report(run, out, assets=assets, answers=stated, strict=strict, without_model=without_model)
    tell(f"written: {written}")
    if html:
        tell(f"written: {write_html(written)}")
    if docx:
        from chexkeras.report.word import write_docx

        tell(f"written: {write_docx(written)}")
    if model_card:
        card = write_model_card(run, written.with_name(_CARD), answers=stated, without_model=without_model)
        tell(f"written: {card}")


@app.command()
@errors_for_people
def report_check(
    document: Annotated[
        Path, typer.Argument(metavar="FILE", help="Markdown file: a report, or any document of its kind.")
    ],
    run: Annotated[Path | None, typer.Option(help="Run folder that the document describes.")] = None,
    answers: AnswersFile = None,
    without_model: WithoutModel = False,
) -> None:
    """Looks for contradictions, missing parts and claims beyond the evidence in a document.

    With --run its numbers are held against those of the run, with --answers its verdicts against the stated goals.
    Exit status: 0 if nothing was found, 4 if something was, 2 for a mistake in the call.
    """
    from chexkeras.report.lint.check import RULES, check_report

    if without_model and run is None:
        raise ValueError("--without-model is used only with --run; leave it out.")
    # Answers say which goals a run is held to; a document alone is held against itself.
    stated = _read(answers, document if run is not None else None)
    issues = check_report(document, run, answers=stated, without_model=without_model)
    for issue in issues:
        tell(f"{issue}\n")
    if issues:
        tell(f"{document}: {len(issues)} of {len(RULES)} rules found something to look at")
        raise typer.Exit(FOUND)
    tell(f"{document}: {len(RULES)} rules found nothing; that does not show that it is right")


@app.command()
@errors_for_people
def report_init(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Run folder, whose findings stand among the questions.")
    ] = None,
    out: Annotated[Path, typer.Option(help="TOML file to write.")] = Path("submission.toml"),
) -> None:
    """Writes the questions that only an author can answer, for 'chexkeras report RUN --answers submission.toml'."""
    from chexkeras.report.answers import write_answers_template
    from chexkeras.runs.run import Run

    findings = () if run is None else Run.load(run).recipe.targets
    tell(f"written: {write_answers_template(out, findings=findings)}")


def _read(path: Path | None, beside: Path | None) -> "Answers | None":
    """Reads the answers once, so that a mistake in them is found before anything is written.

    Args:
        path: The file that was named; None looks for submission.toml.
        beside: The report in whose folder it is looked for, and then in the working folder; None looks nowhere.

    Raises:
        ValueError: If it is no such file, or two different ones lie there.
    """
    from chexkeras.report.answers import FILE, load_answers

    if path is None and beside is not None:
        there = {place.resolve(): place for place in (beside.parent / FILE, Path(FILE)) if place.is_file()}
        if len(there) > 1:
            named = " and ".join(repr(str(place)) for place in there.values())
            raise ValueError(f"there are answers in {named}; say which are meant with --answers.")
        path = next(iter(there.values()), None)
        if path is not None:
            say(f"answers: {path}")
    try:
        return None if path is None else load_answers(path)
    except TypeError as error:
        raise ValueError(str(error)) from error
