"""What the report's templates may use: facts, figures, answers and the gaps where there is none."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chexkeras.report.answers import question
from chexkeras.report.facts.facts import Facts
from chexkeras.report.figures.figure import Figure
from chexkeras.report.markdown import Marked, as_code, escaped, prose

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


class TemplateContext:
    """What the templates may use: facts, figures and answers; anything else is undefined and an error.

    Args:
        facts: From `collect_facts`.
        figures: From `draw_figures`, by name; empty for a text without figures.
        link: Relative path from the text to its figures, as a URL.

    Attributes:
        gaps: The open fields that were met, by the key that answers them.
    """

    def __init__(self, facts: Facts, figures: dict[str, Figure] | None = None, link: str = "") -> None:
        self.facts = facts
        self.figures = figures or {}
        self.link = link
        self.gaps: dict[str, OpenField] = {}

    def fill(self, template: str, **further: Any) -> str:
        """Returns a template's text.

        Args:
            template: Its file below `templates/`.
            **further: Values that only this template uses, by the name that it uses.
        """
        facts = self.facts
        return (
            environment()
            .get_template(template)
            .render(
                f=self.text,
                v=self.value,
                gap=self.gap,
                gap_again=self.again,
                drawn=self.drawn,
                figure=self.figure,
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
        given = f"answer.{key}"
        return prose(self.facts[given].text) if question(key).kind == "text" and given in self.facts else None

    def drawn(self, name: str) -> bool:
        """Whether the report has this figure."""
        return name in self.figures

    def figure(self, name: str) -> Marked:
        """A figure with its caption; the caption is also its alternative text."""
        figure = self.figures[name]
        caption, source = escaped(figure.caption), escaped(figure.source)
        return Marked(f"![{caption}.]({self.link}/{figure.file})\n\n*{caption}. {source}*")


def number(value: Any) -> str:
    """Returns a whole number with thousands commas."""
    return f"{int(value):,}"


@functools.cache
def environment() -> "jinja2.Environment":
    """Returns what fills templates: anything that they name and do not get is an error, and what they print is escaped.

    Jinja escapes for HTML what is no Markup; `finalize` comes before, and makes it Markup by escaping it for Markdown.
    """
    import jinja2
    from markupsafe import Markup

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else Markup(escaped(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "code": as_code,
        "words": lambda name: str(name).replace("_", " "),
        "number": number,
        # An answer in the middle of a sentence ends no sentence.
        "phrase": lambda text: type(text)(text.rstrip(".")),
    }
    return made


@functools.cache
def sections() -> tuple[str, ...]:
    """Returns the templates of the report's sections, in the order of the numbers that their names begin with."""
    names = environment().list_templates(filter_func=lambda name: name.startswith("sections/"))
    return tuple(sorted(names, key=lambda name: name.rpartition("/")[2]))
