"""What the figures of an evaluation draw: one finding's rows of a scores table, and what was measured on them.

What the figures of an image table have in common: which findings to draw, and how many images there are.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chexkeras.checks import nearest, require_columns
from chexkeras.data import image_table
from chexkeras.plots import style
from chexkeras.results import Evaluation, FindingEvaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS, _CELLS = 500, 250
"""A cell is about as wide as a line."""

_FIX = "Give a scores table as predict_scores returns it."


def rows_of(scores: pd.DataFrame, finding: str | None) -> tuple[str, pd.DataFrame]:
    """Returns the finding and its rows with a known label.

    Raises:
        ValueError: If the finding is not there, or several are and none is named.
    """
    require_columns(scores, ["patient_id", "finding", "label", "score"], "the scores table", _FIX)
    names = [str(name) for name in scores["finding"].unique()]
    if finding is None:
        if len(names) != 1:
            raise ValueError(f"the scores hold {len(names)} findings ({', '.join(names)}); say finding='...'.")
        finding = names[0]
    if finding not in names:
        raise ValueError(f"no scores for {finding!r}; {nearest(finding, names)} There are: {', '.join(names)}.")
    rows = scores[(scores["finding"] == finding) & scores["label"].notna()]
    return finding, rows


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


def counted(split: str, positives: int, negatives: int) -> str:
    """Returns, for example, "test, n = 129 (28 positive)"."""
    part = f"{split}, " if split else ""
    return f"{part}n = {positives + negatives:,} ({positives:,} positive)"


def classes(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Returns labels, scores, and how many are positive and negative."""
    labels = rows["label"].to_numpy(float)
    scores = rows["score"].to_numpy(float)
    return labels, scores, int((labels == 1).sum()), int((labels == 0).sum())


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a curve without the points that nobody could see: thousands take long to draw.

    A point goes where it falls into the same cell of a fine grid as the one before it, so no point of the curve lies
    further than one cell from what is drawn. Short curves stay as they are.

    Args:
        x: Shape (n,), in [0, 1].
        y: Likewise.
    """
    if len(x) <= _MOST_POINTS:
        return x, y
    cells = np.floor(np.stack([x, y]) * _CELLS)
    kept = np.append(True, (np.diff(cells) != 0).any(axis=0))
    kept[-1] = True
    return x[kept], y[kept]


def needs_both(ax: "Axes", positives: int, negatives: int, text: str, notes: tuple[str, ...]) -> bool:
    """Says on the axes why there is no curve; returns whether there can be one."""
    if positives and negatives:
        return True
    missing = "positive" if not positives else "negative"
    ax.text(0.5, 0.5, f"not estimable:\nno {missing} image", transform=ax.transAxes, ha="center", va="center")
    style.title(ax, text, notes)
    return False


FIX = "Give an image table as load_nih returns it."


def chosen_findings(table: pd.DataFrame, findings: str | Iterable[str] | None) -> list[str]:
    """Returns the findings to draw, as the table spells them.

    Args:
        table: Image table.
        findings: One finding or several; None takes all that the table has.

    Raises:
        ValueError: If a finding is no label of the table, or it has none.
    """
    wanted = image_table.finding_columns(table) if findings is None else findings
    return list(image_table.resolve_targets(table, wanted))


def counted_table(table: pd.DataFrame) -> str:
    """Returns, for example, "1,000 images of 682 patients"."""
    return f"{len(table):,} images of {table['patient_id'].nunique():,} patients"
