"""A model card: what a run's model is, for whom it might be, and how it fared, from the same facts as the report.

Source:
    Mitchell et al., Model Cards for Model Reporting, FAT* 2019: the sections and their order; cautions stand first.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.report.answers import Answers
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.facts.facts import Facts
from chexkeras.report.submission import open_run, read_answers
from chexkeras.report.templating import TemplateContext

if TYPE_CHECKING:
    from chexkeras.runs.run import Run

TEMPLATE = "model_card.md.j2"


@checked
def write_model_card(
    run: "Run | str | Path",
    out: str | Path = "model_card.md",
    answers: str | Path | Answers | None = None,
    *,
    without_model: bool = False,
) -> Path:
    """Writes the model card of a run.

    Every number in it is one of the report's facts, so the two cannot tell different stories. What only the author
    knows is an open field.

    Args:
        run: A `Run`, or the path of a run folder.
        out: The Markdown file to write.
        answers: What the author states: a file as `write_answers_template` writes it, or what `load_answers` read. None
            leaves every such field open.
        without_model: Whether the model file may be missing from the run folder.

    Returns:
        The path of the card.

    Raises:
        FileNotFoundError: If the run folder, one of its files, or a file that the answers name is missing.
        TypeError: If an answer is of the wrong kind.
        ValueError: If a file lacks a field, or the answers do not fit the run.
    """
    stated = read_answers(answers)
    facts = collect_facts(open_run(run, without_model=without_model), answers=stated, without_model=without_model)
    return files.write_text(out, card_text(facts))


def card_text(facts: Facts) -> str:
    """Returns the card's Markdown, from facts alone.

    Args:
        facts: From `collect_facts`.
    """
    findings = facts["evaluated"].value
    grouped = [f"groups.{finding}.{column}" for finding in findings for column in facts[f"groups.{finding}"].value]
    columns = list(dict.fromkeys(facts[f"{key}.words"].text for key in grouped))
    return TemplateContext(facts).fill(TEMPLATE, columns=columns)
