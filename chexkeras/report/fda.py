"""FDA_Submission.md: the course template's headings, filled from a run folder; nothing is claimed unmeasured."""

import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chexkeras import files
from chexkeras.report.facts import Facts, check_complete, collect_facts
from chexkeras.report.figures import Figure, draw_figures
from chexkeras.report.goals import PerformanceGoals

TEMPLATE = "fda_submission.md.j2"
GAP = "[SPONSOR TO COMPLETE: {}]"


class _Page:
    """What the template may use: facts, figures and gaps; anything else is undefined and an error."""

    def __init__(self, facts: Facts, figures: dict[str, Figure], link: str) -> None:
        self.facts = facts
        self.figures = figures
        self.link = link
        self.gaps: list[str] = []

    def text(self, key: str) -> str:
        """A fact as printed."""
        return self.facts[key].text

    def value(self, key: str) -> Any:
        """A fact's value, for conditions and lists."""
        return self.facts[key].value

    def gap(self, what: str) -> str:
        """A place that only the author can fill."""
        self.gaps.append(what)
        return GAP.format(what)

    def drawn(self, name: str) -> bool:
        """Whether the report has this figure."""
        return name in self.figures

    def figure(self, name: str) -> str:
        """A figure with its caption; the caption is also its alternative text."""
        figure = self.figures[name]
        return f"![{_cell(figure.caption)}.]({self.link}/{figure.file})\n\n*{_cell(figure.caption)}.*"


def _cell(value: Any) -> str:
    """Returns text that can neither break a Markdown table nor smuggle in HTML."""
    text = " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[").replace("]", "\\]")


def _number(value: Any) -> str:
    return f"{int(value):,}"


def render(facts: Facts, figures: dict[str, Figure], link: str = ".") -> str:
    """Fills the template.

    Args:
        facts: From `collect_facts`.
        figures: From `draw_figures`.
        link: Relative path from the report to its figures, as a URL.

    Returns:
        Markdown.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, "words": lambda name: str(name).replace("_", " "), "number": _number}
    template = environment.get_template(TEMPLATE)

    def fill(open_fields: int) -> tuple[str, int]:
        page = _Page(facts, figures, link)
        text = template.render(
            f=page.text, v=page.value, gap=page.gap, drawn=page.drawn, figure=page.figure, open_fields=str(open_fields)
        )
        return text, len(page.gaps)

    # The count of open fields stands in the banner, before they are met: counted first, printed second.
    return fill(fill(0)[1])[0]


def _opened(run: Any) -> Any:
    if not isinstance(run, (str, os.PathLike)):
        check_complete(run.folder)
        return run
    folder = check_complete(Path(run))
    from chexkeras.training.run import Run

    return Run.load(folder)


def write_report(
    run: Any,
    out: str | Path = "FDA_Submission.md",
    *,
    assets: str | Path | None = None,
    goals: PerformanceGoals | None = None,
) -> Path:
    """Writes the FDA-style report of a run.

    Needs neither TensorFlow nor any film. An interrupted call leaves an earlier report as it was: figures are drawn
    aside and put in place together, the text last.

    Args:
        run: A `Run`, or the path of a run folder.
        out: The Markdown file to write.
        assets: Folder for figures, facts.json and evaluation.json; by default beside `out`, named after it with
            "_files".
        goals: What performance is asked for; the conventional goals by default.

    Returns:
        The path of the report.

    Raises:
        FileNotFoundError: If the run folder or one of its files is missing; the message names it.
        ValueError: If a file lacks a field.
    """
    opened = _opened(run)
    report = Path(out)
    folder = Path(assets) if assets is not None else report.with_name(f"{report.stem}_files")
    facts = collect_facts(opened, goals)
    folder.mkdir(parents=True, exist_ok=True)
    link = quote(Path(os.path.relpath(folder.resolve(), report.resolve().parent)).as_posix())
    with tempfile.TemporaryDirectory(prefix=".drawing", dir=folder) as aside:
        figures = draw_figures(opened, facts, Path(aside))
        text = render(facts, figures, link)
        for figure in figures.values():
            os.replace(Path(aside) / figure.file, folder / figure.file)
    facts.save(folder / "facts.json")
    files.write_text(folder / "evaluation.json", (opened.folder / "evaluation.json").read_text(encoding="utf-8"))
    return files.write_text(report, text)
