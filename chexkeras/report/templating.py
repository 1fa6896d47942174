"""What the report's templates may use: facts, figures, answers and the gaps where there is none."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chexkeras.checks import nearest
from chexkeras.report.answers import question
from chexkeras.report.facts.facts import Facts
from chexkeras.report.figures.figure import Figure
from chexkeras.report.markdown import Marked, as_code, escaped, indented, passage, prose

if TYPE_CHECKING:
    import jinja2

GAP = "[SPONSOR TO COMPLETE: {}]"
TABLE, FIGURE = "Table", "Figure"
"""What captions begin with, before the number."""

WORDS = "dicom.words"
"""Key of the table of words that DICOM rules accept, and of the fact that it prints."""

_ONLY_TAGS = re.compile(r"\s*(?:\{%.*?%\}\s*)+\Z")
_LAST_TAG = re.compile(r"(?<![-+])%\}(?=\n\Z)")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")


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


class TemplateContext:
    """What the templates may use: facts, figures and answers; anything else is undefined and an error.

    Args:
        facts: From `collect_facts`.
        figures: From `draw_figures`, by name; empty for a text without figures.
        link: Relative path from the text to its figures, as a URL.
        numbered: The `numbers` of an earlier filling, for what refers to a table or figure further down; None for
            that earlier filling itself.

    Attributes:
        gaps: The open fields that were met, by the key that answers them.
        numbers: What each table and figure is called, "Table 3" or "Figure 1", by its key, in the order in which they
            were met.
    """

    def __init__(
        self,
        facts: Facts,
        figures: dict[str, Figure] | None = None,
        link: str = "",
        numbered: Mapping[str, str] | None = None,
    ) -> None:
        self.facts = facts
        self.figures = figures or {}
        self.link = link
        self.gaps: dict[str, OpenField] = {}
        self.numbers: dict[str, str] = {}
        self._numbered = numbered

    def fill(self, template: str, **further: Any) -> str:
        """Returns a template's text: paragraphs, lists and tables with one blank line between them.

        Args:
            template: Its file below `templates/`.
            **further: Values that only this template uses, by the name that it uses.
        """
        facts = self.facts
        return tidy(
            environment()
            .get_template(template)
            .render(
                f=self.text,
                v=self.value,
                gap=self.gap,
                gap_again=self.again,
                drawn=self.drawn,
                figure=self.figure,
                table=self.table,
                see=self.see,
                shortened=self.shortened,
                keys=set(facts),
                findings=facts["evaluated"].value,
                synthetic=facts["source.synthetic"].value,
                nih=str(facts["source.dataset"].value).startswith("NIH"),
                leaky=facts["split.leaky"].value,
                verdict=facts["verdict"].value,
                **further,
            )
        )

    def text(self, key: str) -> str:
        """A fact as printed; the template escapes it where it is not `Marked`."""
        return self.facts[key].text

    def value(self, key: str) -> Any:
        """A fact's value, for conditions and lists."""
        return self.facts[key].value

    def gap(self, key: str, finding: str = "") -> Marked:
        """The author's answer; an open field where there is none."""
        answer = self._answer(key)
        if answer is not None:
            return answer
        asked = question(key)
        text = asked.text.format(finding=finding.replace("_", " "))
        named = f"{key}.{finding}" if finding else key
        self.gaps.setdefault(named, OpenField(asked.section, named, text))
        return Marked(GAP.format(escaped(text)))

    def again(self, key: str) -> Marked:
        """The author's answer where it is printed a second time; a gap stands where it is first met."""
        answer = self._answer(key)
        return Marked("not named yet, see the head of this document") if answer is None else answer

    def _answer(self, key: str) -> Marked | None:
        given, kind = f"answer.{key}", question(key).kind
        if kind == "number" or given not in self.facts:
            return None
        return passage(self.facts[given].text) if kind == "text" else prose(self.facts[given].text)

    def drawn(self, name: str) -> bool:
        """Whether the report has this figure."""
        return name in self.figures

    def figure(self, name: str) -> Marked:
        """A figure with its caption; the caption is also its alternative text."""
        figure = self.figures[name]
        caption, further = escaped(figure.caption), escaped(figure.small_print)
        label = self._label(FIGURE, name)
        return Marked(f"![{caption}.]({self.link}/{figure.file})\n\n*{label}. {caption}. {further}*")

    def table(self, key: str, caption: str) -> Marked:
        """The line above a table: its number and what it shows.

        Args:
            key: What `see` refers to it by; no two tables or figures of a document share one.
            caption: A sentence without its full stop.
        """
        return Marked(f"**{self._label(TABLE, key)}.** {escaped(caption)}.")

    def see(self, key: str) -> Marked:
        """What a table or figure is called in a sentence, wherever it stands: "Table 3"."""
        known = self.numbers if self._numbered is None else {**self._numbered, **self.numbers}
        if key not in known and self._numbered is not None:
            raise KeyError(f"no table or figure {key!r} is in this document; {nearest(key, known)}")
        return Marked(known.get(key, key))

    def shortened(self, expected: str) -> str:
        """What DICOM rules expect, a reference in place of a list of words that is printed once for all of them."""
        for item, words in self.value(WORDS):
            expected = expected.replace(words, f"one of the words for {item[0].lower()}{item[1:]} in {self.see(WORDS)}")
        return expected

    def _label(self, kind: str, key: str) -> str:
        if key in self.numbers:
            raise ValueError(f"two tables or figures are called {key!r}; a sentence could not say which it means.")
        self.numbers[key] = f"{kind} {1 + sum(given.startswith(kind) for given in self.numbers.values())}"
        return self.numbers[key]


def tidy(text: str) -> str:
    r"""Returns Markdown in which nothing stands on a line that is blank, and a table touches nothing above or below.

    A table right after a sentence is a part of the sentence to many readers of Markdown.

    Args:
        text: Markdown; only tables have lines that begin with a bar.

    Example:
        >>> tidy("Two rows:\n| a |\n| - |\n\n\n\nAfter  \n")
        'Two rows:\n\n| a |\n| - |\n\nAfter\n'
    """
    lines: list[str] = []
    for line in map(str.rstrip, text.splitlines()):
        if lines and line and lines[-1] and line.startswith("|") != lines[-1].startswith("|"):
            lines.append("")
        lines.append(line)
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n") + "\n"


def number(value: Any) -> str:
    """Returns a whole number with thousands commas."""
    return f"{int(value):,}"


@functools.cache
def environment() -> "jinja2.Environment":
    """Returns what fills templates: anything that they name and do not get is an error, and what they print is escaped.

    Jinja escapes for HTML what is no Markup; `finalize` comes before, and makes it Markup by escaping it for Markdown.
    """
    import jinja2
    from jinja2.ext import Extension
    from markupsafe import Markup

    class LinesStay(Extension):
        """A line of tags alone leaves nothing behind; a line with words as well keeps its end.

        `trim_blocks` takes the end of a line away after any tag, and glues two points of a list where one ends in
        ``{% endif %}``.
        """

        def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
            lines = source.splitlines(keepends=True)
            return "".join(line if _ONLY_TAGS.match(line) else _LAST_TAG.sub("+%}", line) for line in lines)

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else Markup(escaped(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=[LinesStay],
    )
    made.filters |= {
        "code": as_code,
        "words": lambda name: str(name).replace("_", " "),
        "number": number,
        # An answer in the middle of a sentence ends no sentence.
        "in_point": lambda text: type(text)(indented(text)),
        "phrase": lambda text: type(text)(text.rstrip(".")),
    }
    return made


@functools.cache
def sections() -> tuple[str, ...]:
    """Returns the templates of the report's sections, in the order of the numbers that their names begin with."""
    names = environment().list_templates(filter_func=lambda name: name.startswith("sections/"))
    return tuple(sorted(names, key=lambda name: name.rpartition("/")[2]))
