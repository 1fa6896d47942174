"""What the report's templates may use: facts, figures, answers and the gaps where there is none."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chexkeras.report.answers import question
from chexkeras.report.facts.facts import Facts
from chexkeras.report.figures.figure import Figure

if TYPE_CHECKING:
    import jinja2

GAP = "[SPONSOR TO COMPLETE: {}]"


class OpenField(NamedTuple):
    """A place that only the author can fill.

    Attributes:
        section: Number of the report's section; 0 for its head.
        key: What answers it in submission.toml.
        text: What is asked.
    """

    section: int
    key: str
    text: str


class Filling:
    """What the templates may use: facts, figures and gaps; anything else is undefined and an error."""

    def __init__(self, facts: Facts, figures: dict[str, Figure], link: str) -> None:
        self.facts = facts
        self.figures = figures
        self.link = link
        self.gaps: dict[str, OpenField] = {}

    def text(self, key: str) -> str:
        """A fact as printed."""
        return self.facts[key].text

    def value(self, key: str) -> Any:
        """A fact's value, for conditions and lists."""
        return self.facts[key].value

    def _answer(self, key: str) -> str | None:
        asked = question(key)
        return (
            prose(self.facts[f"answer.{key}"].text) if asked.kind == "text" and f"answer.{key}" in self.facts else None
        )

    def gap(self, key: str, finding: str = "") -> str:
        """The author's answer; an open field where there is none."""
        answer = self._answer(key)
        if answer is not None:
            return answer
        asked = question(key)
        text = asked.text.format(finding=finding.replace("_", " "))
        named = f"{key}.{finding}" if finding else key
        self.gaps.setdefault(named, OpenField(asked.section, named, text))
        return GAP.format(text)

    def again(self, key: str) -> str:
        """The author's answer where it is printed a second time; a gap stands where it is first met."""
        answer = self._answer(key)
        return "not named yet, see the head of this document" if answer is None else answer

    def drawn(self, name: str) -> bool:
        """Whether the report has this figure."""
        return name in self.figures

    def figure(self, name: str) -> str:
        """A figure with its caption; the caption is also its alternative text."""
        figure = self.figures[name]
        return f"![{cell(figure.caption)}.]({self.link}/{figure.file})\n\n*{cell(figure.caption)}. {figure.source}*"


def cell(value: Any) -> str:
    """Returns text that can neither break a Markdown table nor smuggle in HTML."""
    text = " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[").replace("]", "\\]")


def prose(value: Any) -> str:
    """Returns an author's answer as text that opens no heading, list or quotation where it begins a line."""
    text = cell(value)
    return f"\\{text}" if text[:1] in ("#", ">", "-", "+", "*") else text


def number(value: Any) -> str:
    """Returns a whole number with thousands commas."""
    return f"{int(value):,}"


@functools.cache
def environment() -> "jinja2.Environment":
    """Returns what fills templates: anything that they name and do not get is an error."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "cell": cell,
        "words": lambda name: str(name).replace("_", " "),
        "number": number,
        # An answer in the middle of a sentence ends no sentence.
        "phrase": lambda text: str(text).rstrip("."),
    }
    return made
