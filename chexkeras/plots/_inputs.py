"""What plots check and read of their inputs: a finding's scores and what was measured on them; findings of a table."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from chexkeras.checks import nearest, require_columns
from chexkeras.data import image_table
from chexkeras.plots import style
from chexkeras.results import Evaluation, FindingEvaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIX = "Give an image table as load_nih returns it."
_FIX_SCORES = "Give a scores table as predict_scores returns it."
_MOST_POINTS, _CELLS = 500, 250
"""A cell is about as wide as a line."""


class FindingScores(NamedTuple):
    """The scores of one finding where its label is known, and what was measured on them.

    Attributes:
        finding: The finding.
        rows: Its rows of the scores table.
        labels: 1 or 0 for each row.
        scores: A score in [0, 1] for each row.
        positives: How many labels are 1.
        negatives: How many labels are 0.
        measured: What was measured on these scores, where that was given.
        split: The part that was measured, where that is known.
    """

    finding: str
    rows: pd.DataFrame
    labels: np.ndarray
    scores: np.ndarray
    positives: int
    negatives: int
    measured: FindingEvaluation | None
    split: str

    @property
    def patients(self) -> np.ndarray:
        """Whose image each row is, for intervals that let the images of one patient agree."""
        return self.rows["patient_id"].to_numpy()

    @property
    def counts(self) -> str:
        """For a legend, for example "test, n = 129 (28 positive)"."""
        part = f"{self.split}, " if self.split else ""
        return f"{part}n = {len(self.rows):,} ({self.positives:,} positive)"

    def explain_if_empty(self, ax: "Axes", title: str, notes: tuple[str, ...]) -> bool:
        """Writes on the axes why there is no curve where a class is missing; returns whether it is.

        Args:
            ax: The axes.
            title: Their title.
            notes: Cautions, from `style.cautions`.
        """
        if self.positives and self.negatives:
            return False
        missing = "negative" if self.positives else "positive"
        ax.text(0.5, 0.5, f"not estimable:\nno {missing} image", transform=ax.transAxes, ha="center", va="center")
        style.title(ax, title, notes)
        return True


def finding_scores(
    scores: pd.DataFrame,
    finding: str | None = None,
    evaluation: Evaluation | FindingEvaluation | None = None,
) -> FindingScores:
    """Returns one finding's scores, with what was measured on them.

    Args:
        scores: Scores table (one row per image and finding).
        finding: Which finding; may be None where the evaluation or the scores hold only one.
        evaluation: What was measured on these scores.

    Raises:
        ValueError: If the finding is not there, or several are and none is named.
    """
    finding, measured, split = evaluated(evaluation, finding)
    require_columns(scores, ["patient_id", "finding", "label", "score"], "the scores table", _FIX_SCORES)
    names = [str(name) for name in scores["finding"].unique()]
    if finding is None:
        if len(names) != 1:
            raise ValueError(f"the scores hold {len(names)} findings ({', '.join(names)}); say finding='...'.")
        finding = names[0]
    if finding not in names:
        raise ValueError(f"no scores for {finding!r}; {nearest(finding, names)} There are: {', '.join(names)}.")
    rows = scores[(scores["finding"] == finding) & scores["label"].notna()]
    labels = rows["label"].to_numpy(float)
    positives = int((labels == 1).sum())
    values = rows["score"].to_numpy(float)
    return FindingScores(finding, rows, labels, values, positives, int((labels == 0).sum()), measured, split)


def evaluated(
    evaluation: Evaluation | FindingEvaluation | None, finding: str | None
) -> tuple[str | None, FindingEvaluation | None, str]:
    """Returns (finding, its evaluation, the split's name), as far as they were given.

    Raises:
        ValueError: If several findings were evaluated and none is named.
    """
    if evaluation is None or isinstance(evaluation, FindingEvaluation):
        return finding or (evaluation.finding if evaluation else None), evaluation, ""
    if finding is None and len(evaluation.findings) == 1:
        finding = evaluation.findings[0].finding
    if finding is None:
        names = ", ".join(entry.finding for entry in evaluation.findings)
        raise ValueError(f"the evaluation holds several findings ({names}); say finding='...'.")
    return finding, evaluation[finding], evaluation.split


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a curve without the points that nobody could see: thousands take long to draw.

    A point goes where it falls into the same cell of a fine grid as the one before it, so no point of the curve lies
    further than one cell from what is drawn. Short curves stay as they are.

    Args:
        x: Shape (n,), in [0, 1].
        y: Shape (n,), in [0, 1].
    """
    if len(x) <= _MOST_POINTS:
        return x, y
    cells = np.floor(np.stack([x, y]) * _CELLS)
    kept = np.append(True, (np.diff(cells) != 0).any(axis=0))
    kept[-1] = True
    return x[kept], y[kept]


def chosen_findings(table: pd.DataFrame, findings: str | Iterable[str] | None) -> list[str]:
    """Returns the findings to draw, as the table spells them.

    Args:
        table: Image table.
        findings: One finding or several; None takes all that the table has.

    Raises:
        ValueError: If a finding is no label of the table, or it has none.
    """
    require_columns(table, ["patient_id"], "the image table", FIX)
    wanted = image_table.finding_columns(table) if findings is None else findings
    return list(image_table.resolve_targets(table, wanted))


def table_counts(table: pd.DataFrame) -> str:
    """Returns, for example, "1,000 images of 682 patients"."""
    return f"{len(table):,} images of {table['patient_id'].nunique():,} patients"
