"""What the figures of one report have in common: the run, its facts, and which findings are shown."""

from collections.abc import Sequence
from typing import Any

from chexkeras.plots import style
from chexkeras.report.answers import Answers
from chexkeras.report.facts.facts import Facts
from chexkeras.report.figures.figure import FEW


class FigureInputs:
    """What the figures of one report have in common: the run, its facts, and which findings are shown.

    Attributes:
        run: The `Run`.
        facts: Its facts.
        answers: The author's answers.
        findings: Every finding that was evaluated.
        leading: The findings whose curves are shown: all of a few; of many those with the most positives to learn from.
        points: The frozen operating point of each finding that has one.
        named: The findings in words.
        test: The scores of the test part.
    """

    def __init__(self, run: Any, facts: Facts, answers: Answers) -> None:
        self.run, self.facts, self.answers = run, facts, answers
        self.findings = [str(name) for name in facts["evaluated"].value]
        self.leading = self.findings
        if len(self.findings) > FEW:
            most = sorted(self.findings, key=lambda finding: -facts[f"test.{finding}.n_positive"].value)
            self.leading = most[:FEW]
        self.points = {point.finding: point for point in run.operating_points}
        self.named = words(self.findings)
        self.test = run.scores("test")

    def led_by(self, panels: Sequence[str]) -> str:
        """Returns the words of a caption that say which findings are shown.

        Args:
            panels: The findings shown.
        """
        of_many = f", the {len(panels)} findings with the most positive test images"
        return words(panels) + (of_many if len(self.findings) > FEW else "")

    def images_of(self, part: str) -> str:
        """Returns how many images of how many patients a part has, where patients are known.

        Args:
            part: "train", "validation", "test" or "all".
        """
        images = f"{self.facts[f'data.{part}.images'].text} images"
        if not self.facts["patients.known"].value:
            return f"{images}, patients not known"
        return f"{images} of {self.facts[f'data.{part}.patients'].text} patients"


def words(findings: Sequence[str]) -> str:
    """Returns findings as prose names them.

    Args:
        findings: Their names.
    """
    return ", ".join(map(style.words, findings))
