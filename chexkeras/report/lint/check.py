"""Does a document of this kind hold together? Findings on text, tables and claims, with places and what to do."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chexkeras.checks import existing_file
from chexkeras.report.answers import Answers
from chexkeras.report.lint import rules_claims, rules_data, rules_numbers
from chexkeras.report.lint.document import Document, parse
from chexkeras.report.lint.issue import Issue, Known, known_from_run
from chexkeras.report.submission import open_run, read_answers

RULES: dict[str, Callable[[Document, Known | None], Iterator[Issue]]] = {
    "two-best-values": rules_numbers.two_best_values,
    "threshold-differs": rules_numbers.threshold_differs,
    "view-outside-data": rules_data.view_outside_data,
    "age-outside-data": rules_data.age_outside_data,
    "parameter-count": rules_numbers.parameter_count,
    "claim-beyond-evidence": rules_claims.claim_beyond_evidence,
    "verdict-differs": rules_claims.verdict_differs,
    "leaky-split-not-named": rules_data.leaky_split_not_named,
    "test-data-in-training": rules_data.trained_and_tested,
    "chosen-and-measured-on-one-part": rules_data.chosen_and_measured,
    "synthetic-as-clinical": rules_data.synthetic_as_clinical,
    "case-control-as-clinical": rules_data.case_control_as_clinical,
    "no-interval": rules_numbers.no_interval,
    "open-field": rules_claims.open_field,
}
"""Every rule by its name, in the order in which findings are listed."""


def check_text(text: str, known: Known | None = None) -> list[Issue]:
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


def check_report(
    report_path: str | Path,
    run: Any = None,
    *,
    answers: str | Path | Answers | None = None,
    without_model: bool = False,
) -> list[Issue]:
    """Checks whether a report, or any document of its kind in Markdown, holds together.

    The rules read words: what they find should be looked at, and what they do not find is not shown to be right.

    Args:
        report_path: A Markdown file.
        run: The `Run` that it describes, or its folder; without it the document is held against itself.
        answers: submission.toml, whose goals the verdicts of the run are held against; needs `run`.
        without_model: Whether the model file may be missing from the run folder, as for `write_report`.

    Returns:
        What was found, rule by rule; empty when nothing was.

    Raises:
        FileNotFoundError: If the document, the run folder or a file in it is missing.
        ValueError: If the document is no text, or a file of the run lacks a field.
    """
    file = existing_file(report_path, "report")
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
