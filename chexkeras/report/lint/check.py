"""Does a document of this kind hold together? Findings on text, tables and claims, with places and what to do."""

from pathlib import Path
from typing import TYPE_CHECKING

from chexkeras.arguments import checked
from chexkeras.checks import existing_file, typed_path
from chexkeras.report.answers import Answers
from chexkeras.report.lint import rules_claims, rules_data, rules_numbers
from chexkeras.report.lint.document import parse
from chexkeras.report.lint.issue import RULES, ReportIssue, RunFacts, known_from_run
from chexkeras.report.submission import open_run, read_answers

if TYPE_CHECKING:
    from chexkeras.runs.run import Run

# Importing the modules registers their rules; findings are listed in this order.
_RULE_MODULES = (rules_numbers, rules_data, rules_claims)


@checked
def check_text(text: str, known: RunFacts | None = None) -> list[ReportIssue]:
    """Checks a document that is already read.

    Args:
        text: Markdown.
        known: What the run says; without it the document is held against itself.

    Returns:
        What was found, rule by rule; empty when nothing was.

    Example:
        >>> [issue.rule for issue in check_text("The model is radiologist-level.")]
        ['claim-beyond-evidence']
    """
    document = parse(text)
    return [issue for rule in RULES.values() for issue in rule(document, known)]


@checked
def check_report(
    report_path: str | Path,
    run: "Run | str | Path | None" = None,
    *,
    answers: str | Path | Answers | None = None,
    without_model: bool = False,
) -> list[ReportIssue]:
    """Checks whether a report, or any document of its kind in Markdown, holds together.

    The rules read words: what they find should be looked at, and what they do not find is not shown to be right.

    Args:
        report_path: A Markdown file.
        run: The `Run` that it describes, or its folder; without it the document is held against itself.
        answers: submission.toml, whose goals the verdicts of the run are held against; needs `run`.
        without_model: Whether the model file may be missing from the run folder.

    Returns:
        What was found, rule by rule; empty when nothing was.

    Raises:
        FileNotFoundError: If the document, the run folder or a file in it is missing.
        ValueError: If the document is no text, or a file of the run lacks a field.
    """
    file = existing_file(typed_path(report_path, "report"), "report")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name} is no text in UTF-8 ({error.reason}); give its Markdown file.") from error
    if answers is not None and run is None:
        raise ValueError(
            "answers are used with run=... only; give the run that the report describes, or leave them out."
        )
    known = None
    if run is not None:
        known = known_from_run(
            open_run(run, without_model=without_model), read_answers(answers), without_model=without_model
        )
    return check_text(text, known)
