"""FDA_Submission.md: the course template's headings and those of a submission, filled from a run folder.

Nothing is claimed that was not measured: what no run can know is the author's to answer, and stays an open field until
then. `show_report` displays a finished report in a notebook, in a frame that runs no script.
"""

import html
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import existing_file, typed_path
from chexkeras.report.answers import Answers, load_answers
from chexkeras.report.facts import software
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.facts.facts import Facts
from chexkeras.report.facts.regulation import status_of
from chexkeras.report.facts.run_reader import ReadOnce, check_complete
from chexkeras.report.figures.draw import NAMES, Figure, draw_figures
from chexkeras.report.goals import PerformanceGoals
from chexkeras.report.html import page_text
from chexkeras.report.templating import OpenField, TemplateContext, number, sections

if TYPE_CHECKING:
    from chexkeras.report.lint.issue import ReportIssue
    from chexkeras.runs.run import Run

TEMPLATE = "fda_submission.md.j2"
HEIGHT_PX = 800
"""Of the frame in which a notebook shows a report."""


class OpenFields(ValueError):
    """A report that must be complete is not.

    Attributes:
        fields: Every open field, in the order of the report.
    """

    def __init__(self, fields: list[OpenField]) -> None:
        self.fields = fields
        listed = [f"  section {field.section}, {field.key}: {field.text}" for field in fields]
        super().__init__(
            f"{len(fields)} field(s) of the report are open; answer them in submission.toml (chexkeras report-init "
            "writes one to start from), or leave strict out:\n" + "\n".join(listed)
        )


class ReportRejected(ValueError):
    """A report that must be faultless is condemned by its own check.

    Attributes:
        issues: What `check_report` would find in it.
    """

    def __init__(self, issues: "list[ReportIssue]") -> None:
        self.issues = issues
        super().__init__(
            f"the check condemns the report, so nothing was written ({len(issues)} rule(s) found something): mend the "
            "answers it quotes, or leave strict out and look at it with chexkeras report-check:\n"
            + "\n".join(str(issue) for issue in issues)
        )


@dataclass(frozen=True)
class Page:
    """A filled template.

    Attributes:
        text: Markdown.
        open_fields: What the author has not answered, in the order of the report.
    """

    text: str
    open_fields: list[OpenField]


def render(facts: Facts, figures: dict[str, Figure], link: str = ".") -> Page:
    """Fills the template.

    Args:
        facts: From `collect_facts`.
        figures: From `draw_figures`.
        link: Relative path from the report to its figures, as a URL.

    Returns:
        The report's Markdown and its open fields.
    """

    def fill(found: list[OpenField], numbered: Mapping[str, str] | None) -> tuple[Page, Mapping[str, str]]:
        context = TemplateContext(facts, figures, link, numbered)
        text = context.fill(
            TEMPLATE,
            sections=sections(),
            sbom_file=software.FILE,
            crosswalk=status_of(facts, {entry.section for entry in found}),
            open_fields=number(len(found)),
            open_sections=_listed({entry.section for entry in found}),
        )
        return Page(text, list(context.gaps.values())), context.numbers

    # The first page counts the open fields and refers to tables, before either is met: counted first, printed second.
    page, numbered = fill([], None)
    return fill(page.open_fields, numbered)[0]


def _listed(sections_: set[int]) -> str:
    """Returns sections in words, 0 for what stands before the first one.

    Example:
        >>> _listed({3, 0, 12})
        'the head, and sections 3, 12'
    """
    numbers = ", ".join(str(section) for section in sorted(sections_ - {0}))
    named = f"section{'s' if len(sections_ - {0}) > 1 else ''} {numbers}" if numbers else ""
    return ", and ".join(filter(None, ("the head" if 0 in sections_ else "", named)))


def open_run(run: Any, *, without_model: bool = False) -> Any:
    """Returns a run whose folder has every file that a report needs.

    Args:
        run: A `Run`, or the path of a run folder.
        without_model: Whether the model file may be missing.

    Raises:
        FileNotFoundError: If the run folder or one of its files is missing; the message names it.
    """
    if not isinstance(run, (str, os.PathLike)):
        check_complete(run.folder, without_model=without_model)
        return run
    folder = check_complete(Path(run), without_model=without_model)
    from chexkeras.runs.run import Run

    return Run.load(folder)


def read_answers(answers: str | Path | Answers | None) -> Answers:
    """Returns answers as they came, read from the file they lie in, or none."""
    if answers is None:
        return Answers()
    return answers if isinstance(answers, Answers) else load_answers(answers)


@checked
def open_fields(
    run: "Run | str | Path", answers: str | Path | Answers | None = None, *, without_model: bool = False
) -> list[OpenField]:
    """Returns what the report of a run leaves to its author, in the order of the report.

    Args:
        run: A `Run`, or the path of a run folder.
        answers: What the author states: a file as `write_answers_template` writes it, or what `load_answers` read. None
            leaves every such field open.
        without_model: Whether the model file may be missing from the run folder.

    Raises:
        FileNotFoundError: If the run folder, one of its files, or a file that the answers name is missing.
        TypeError: If an answer is of the wrong kind.
        ValueError: If a file lacks a field, or the answers do not fit the run.
    """
    facts = collect_facts(
        open_run(run, without_model=without_model), answers=read_answers(answers), without_model=without_model
    )
    return preview(facts).open_fields


def preview(facts: Facts) -> Page:
    """Returns the report as it would be with every figure, none of them drawn."""
    return render(facts, {name: Figure(name, name, "") for name in NAMES})


@checked
def write_report(
    run: "Run | str | Path",
    out: str | Path = "FDA_Submission.md",
    *,
    assets: str | Path | None = None,
    goals: PerformanceGoals | None = None,
    answers: str | Path | Answers | None = None,
    strict: bool = False,
    without_model: bool = False,
) -> Path:
    """Writes the FDA-style report of a run.

    Needs neither TensorFlow nor any image. An interrupted call leaves an earlier report as it was: figures are drawn
    aside and put in place together, the text last.

    Args:
        run: A `Run`, or the path of a run folder.
        out: The Markdown file to write.
        assets: Folder for figures, facts.json, evaluation.json and the bill of materials; by default beside `out`,
            named after it with "_files".
        goals: What performance is asked for; by default the goals among the answers, or the conventional ones.
        answers: What the author states: a file as `write_answers_template` writes it, or what `load_answers` read.
            None leaves every such field open; no file is looked for.
        strict: Whether open fields, and whatever `check_report` finds in the text, are an error.
        without_model: Whether the model file may be missing from the run folder: the report then names the
            fingerprint that training recorded, and says that the file was not at hand.

    Returns:
        The path of the report.

    Raises:
        FileNotFoundError: If the run folder, one of its files, or a file that the answers name is missing; the message
            names it.
        OpenFields: With `strict`, if any field is open; nothing is written then, and an earlier report stays.
        ReportRejected: With `strict`, if `check_report` finds something in the text; nothing is written then either.
        TypeError: If an answer is of the wrong kind.
        ValueError: If a file lacks a field, the answers do not fit the run, or goals are given twice.
    """
    stated = read_answers(answers)
    opened = ReadOnce(open_run(run, without_model=without_model))
    report = Path(out)
    folder = Path(assets) if assets is not None else report.with_name(f"{report.stem}_files")
    facts = collect_facts(opened, goals, stated, without_model=without_model)
    if strict:
        fields = preview(facts).open_fields
        if fields:
            raise OpenFields(fields)
        _refuse_condemned(preview(facts), facts)
    folder.mkdir(parents=True, exist_ok=True)
    link = quote(Path(os.path.relpath(folder.resolve(), report.resolve().parent)).as_posix())
    with tempfile.TemporaryDirectory(prefix=".drawing", dir=folder) as aside:
        figures = draw_figures(opened, facts, Path(aside), stated)
        page = render(facts, figures, link)
        for figure in figures.values():
            os.replace(Path(aside) / figure.file, folder / figure.file)
    for name in set(NAMES) - set(figures):
        # Of an earlier report; nothing links to it any more.
        (folder / f"{name}.png").unlink(missing_ok=True)
    files.write_json(folder / software.FILE, software.bill_of_materials(facts))
    facts.save(folder / "facts.json")
    files.write_text(folder / "evaluation.json", (opened.folder / "evaluation.json").read_text(encoding="utf-8"))
    return files.write_text(report, page.text)


def _refuse_condemned(page: Page, facts: Facts) -> None:
    """Raises where the check finds something in a report: whoever asks for a strict one would send it."""
    from chexkeras.report.lint.check import check_text
    from chexkeras.report.lint.issue import known_from_facts

    issues = check_text(page.text, known_from_facts(facts))
    if issues:
        raise ReportRejected(issues)


@dataclass(frozen=True)
class ShownReport:
    """A report that displays itself in a notebook.

    Attributes:
        path: Its Markdown file.
        page: The report as one HTML page, as `write_html` writes it.
    """

    path: Path
    page: str = field(repr=False)

    def _repr_html_(self) -> str:
        """Returns the page in a frame of its own: its style stays inside, and the sandbox allows no script."""
        return (
            f'<iframe sandbox title="{html.escape(self.path.name)}" srcdoc="{html.escape(self.page)}" '
            f'style="width: 100%; height: {HEIGHT_PX}px; border: 1px solid #c9ced3"></iframe>'
        )


@checked
def show_report(path: str | Path) -> ShownReport:
    """Reads a report for display as the last line of a notebook's cell.

    Args:
        path: A Markdown file, as `write_report` or `write_model_card` wrote it.

    Returns:
        The report with its figures inside.

    Raises:
        FileNotFoundError: If the report, or a figure it shows, is missing.
        ValueError: If a figure is not one that `write_report` drew.
    """
    report = existing_file(typed_path(path, "report"), "report")
    return ShownReport(report, page_text(report))
