"""Confident learning: which labels are contradicted by the scores of models that have not seen their images.

For each finding by itself. A score is confident of a class when it reaches the mean score for that class of the images
labelled so; labels that a confident score contradicts are counted, and listed in the order of how far.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks, plain
from chexkeras.arguments import checked
from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.scores import Scores, one_class
from chexkeras.evaluation.uncertainty.resampling import patient_counts
from chexkeras.evaluation.uncertainty.worth import approximate, kish
from chexkeras.results import Estimate
from chexkeras.results.record import Record

RANKINGS = ("adjusted_margin", "normalised_margin", "self_confidence")
"""By what labels are put in order. The paper's normalised margin and self-confidence put two classes in one order;
with a rare finding nearly all positives then come first. The adjusted margin first takes off what is usual in each
class."""

OPINION = (
    "A model's scores contradict these labels; that does not make them wrong. Each is worth a second look by a reader, "
    "nothing was changed, and labels of a test part are never corrected by a model's opinion."
)
"""What a reader must know of any list of suspect labels."""

WEAK = 0.75
"""The area under the ROC curve below which scores are too weak to judge labels, which is then said."""

COLUMNS = (
    "image_id",
    "patient_id",
    "finding",
    "label",
    "proposed",
    "score",
    "threshold",
    "margin",
    "confident",
    "rank",
)


@dataclass(frozen=True)
class FindingLabelErrors(Record, nan=("threshold_positive", "threshold_negative")):
    """How many labels of one finding seem to be wrong.

    Attributes:
        finding: The finding.
        n_images: Images with a label and a score.
        n_positive: Images labelled positive.
        n_suspect: Labels that a confident score contradicts.
        errors: How many labels are wrong, of all images, by the confident joint.
        false_positives: How many of the positive labels.
        false_negatives: How many of the negative labels.
        threshold_positive: The mean score of images labelled positive, from which on a score is confident.
        threshold_negative: The mean of one less the score of images labelled negative.
    """

    finding: str
    n_images: int
    n_positive: int
    n_suspect: int
    errors: Estimate
    false_positives: Estimate
    false_negatives: Estimate
    threshold_positive: float
    threshold_negative: float

    def __str__(self) -> str:
        """Returns a sentence with the estimated number of wrong labels."""
        if not self.errors.estimable:
            return f"{self.finding}: {self.errors}"
        low, high = self.errors.low, self.errors.high
        return (
            f"{self.finding}: about {self.errors.value:.0f} ({low:.0f}-{high:.0f}) of {self.n_images:,} labels seem to "
            f"be wrong, {self.false_positives.value:.0f} of the {self.n_positive:,} positive ones; {self.n_suspect:,} "
            "are contradicted by a confident score"
        )


@checked
@dataclass(frozen=True, eq=False)
class Suspects(plain.Described):
    """Labels worth a second look, the most contradicted first.

    Attributes:
        table: Columns `COLUMNS`; `confident` says whether the label is counted as contradicted.
        findings: How many labels of each finding seem to be wrong.
        cautions: Sentences that a reader must see beside the list.
    """

    table: pd.DataFrame
    findings: tuple[FindingLabelErrors, ...]
    cautions: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Returns cautions, the estimates, and the first labels of the list."""
        shown = self.table.head(10)
        columns = {name: [plain.number(value) for value in shown[name]]
                   for name in ("image_id", "finding", "label", "score", "margin")}  # fmt: skip
        lines = [*plain.cautions(self.cautions), *(plain.wrapped(str(each), later="  ") for each in self.findings)]
        return "\n".join([*lines, plain.table(columns)])


@checked
def find_suspects(
    scores_table: pd.DataFrame,
    *,
    thresholds: pd.Series | None = None,
    rank_by: str = "adjusted_margin",
    replicates: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
    cautions: Sequence[str] = (),
) -> Suspects:
    """Lists labels that scores contradict, and estimates how many labels are wrong, finding by finding.

    Scores must be of models that have not seen the images: out-of-fold scores, or those of validation and test. The
    confident joint counts images by their label and by the class that their score is confident of; each row is scaled
    to the number of images with that label, and what lies off its diagonal is the estimated number of wrong labels.
    The interval is the percentile one of a bootstrap of patients; it tells how the count would vary, not whether the
    scores are good enough to judge labels.

    Args:
        scores_table: Long table of scores (image_id, patient_id, finding, label, score).
        thresholds: Decision threshold of each row, shown beside the score; None for none.
        rank_by: One of `RANKINGS`.
        replicates: Bootstrap replicates.
        confidence: Coverage, in (0, 1).
        seed: Of the bootstrap.
        cautions: Sentences that a reader must see, such as that images are synthetic.

    Returns:
        Every labelled image and finding in order, those that are counted as contradicted first within equal margins.

    Raises:
        ValueError: If it is no clean table of scores, see `Scores.of`; or an argument is out of range.

    Source:
        Northcutt, Jiang & Chuang, Journal of Artificial Intelligence Research 70, 2021 (confident learning; here each
        finding of several is a task of two classes).
    """
    checks.one_of(rank_by, RANKINGS, "rank_by")
    checks.positive_int(replicates, "replicates")
    checks.positive_int(seed, "seed", least=0)
    checks.probability(confidence, "confidence", open_interval=True)
    scores = Scores.of(scores_table)
    if thresholds is not None and len(thresholds) != len(scores):
        raise ValueError(f"thresholds has {len(thresholds)} entries; one for each of {len(scores)} rows was expected.")
    cut = np.full(len(scores), np.nan) if thresholds is None else checks.numbers(thresholds.to_numpy(), "thresholds")
    found, tables, weak = [], [], []
    for finding in scores.findings:
        rows = np.flatnonzero((scores["finding"] == finding).to_numpy() & scores["label"].notna().to_numpy())
        # In one order, so that no sum is rounded otherwise when rows are.
        part = pd.DataFrame(scores).iloc[rows].assign(threshold=cut[rows]).sort_values("image_id", kind="stable")
        entry, table = _of_finding(part, finding, rank_by, replicates, confidence, seed)
        found.append(entry)
        area = auc(part["label"], part["score"])
        if area < WEAK:
            weak.append(
                f"Scores of {finding} hardly tell its labels apart (AUROC {area:.2f}): most labels that they "
                "contradict are right, and the estimated number of wrong ones is far too high."
            )
        tables.append(table)
    whole = pd.concat(tables).sort_values(["margin", "image_id", "finding"], kind="stable")
    whole["rank"] = np.arange(1, len(whole) + 1)
    return Suspects(whole[list(COLUMNS)].reset_index(drop=True), tuple(found), (*cautions, *weak, OPINION))


def _of_finding(
    part: pd.DataFrame, finding: str, rank_by: str, replicates: int, confidence: float, seed: int
) -> tuple[FindingLabelErrors, pd.DataFrame]:
    positive, score = part["label"].to_numpy() == 1, part["score"].to_numpy()
    n, n_positive = len(part), int(positive.sum())
    table = part.assign(proposed=1.0 - part["label"], margin=math.nan, confident=False)
    if n_positive in (0, n):
        none = Estimate.not_estimable(one_class(n_positive, n - n_positive), n=n, confidence=confidence)
        empty = FindingLabelErrors(finding, n, n_positive, 0, none, none, none, math.nan, math.nan)
        return empty, table.iloc[:0]
    ones = np.ones((1, n))
    counts, cuts = _joint(positive, score, ones)
    own = np.where(positive, score, 1 - score)
    usual = np.where(positive, cuts[0, 1] - cuts[0, 0], cuts[0, 0] - cuts[0, 1])
    margin = {"self_confidence": own, "normalised_margin": 2 * own - 1, "adjusted_margin": 2 * own - 1 - usual}[rank_by]
    suspect = _confident(score[np.newaxis], cuts)[0] == (~positive).astype(int)
    owner = np.unique(part["patient_id"].to_numpy(dtype=object).astype(str), return_inverse=True)[1]
    ever = np.zeros(int(owner.max()) + 1, dtype=bool)
    ever[owner[positive]] = True
    drawn = np.concatenate([
        _errors(_joint(positive, score, batch[:, owner].astype(np.float64))[0], positive, batch[:, owner])
        for batch in patient_counts(ever, replicates=replicates, seed=seed, width=4 * n)
    ])  # fmt: skip
    values = _errors(counts, positive, ones)[0]
    method = f"confident joint, percentile bootstrap of {len(ever)} patients, {replicates} replicates, seed {seed}"
    method += approximate(min(kish(owner[positive]), kish(owner[~positive])))
    errors, false_positives, false_negatives = (
        _estimate(value, column, confidence, n, method)
        for value, column in (
            (values.sum(), drawn.sum(axis=1)), (values[1], drawn[:, 1]), (values[0], drawn[:, 0])
        )
    )  # fmt: skip
    entry = FindingLabelErrors(
        finding,
        n,
        n_positive,
        int(suspect.sum()),
        errors,
        false_positives,
        false_negatives,
        float(cuts[0, 1]),
        float(cuts[0, 0]),
    )
    return entry, table.assign(margin=margin, confident=suspect)


def _confident(score: NDArray[np.float64], cuts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the class that each score is confident of, 1 or 0, and -1 where it is of none; rows are replicates."""
    as_positive, as_negative = score >= cuts[:, 1:], 1 - score >= cuts[:, :1]
    # Of both, the likelier class.
    return np.where(as_positive & (~as_negative | (score >= 0.5)), 1, np.where(as_negative, 0, -1))


def _joint(
    positive: NDArray[np.bool_], score: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns counts by label and confident class, shape (replicates, 2, 2), and the classes' mean self-confidence."""
    with np.errstate(invalid="ignore", divide="ignore"):
        cuts = np.stack(
            [weights @ np.where(positive, 0.0, 1 - score) / (weights @ ~positive),
             weights @ np.where(positive, score, 0.0) / (weights @ positive)], axis=1,
        )  # fmt: skip
    likely = _confident(score[np.newaxis], cuts)
    counts = np.stack([
        np.stack([(weights * ((positive == given) & (likely == guess))).sum(axis=1) for guess in (0, 1)], axis=1)
        for given in (0, 1)
    ], axis=1)  # fmt: skip
    return counts, cuts


def _errors(
    counts: NDArray[np.float64], positive: NDArray[np.bool_], weights: NDArray[np.float64] | NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns how many labels of 0 and of 1 are wrong, shape (replicates, 2), of the images at hand."""
    counted = counts.sum(axis=2)
    off = np.stack([counts[:, 0, 1], counts[:, 1, 0]], axis=1)
    share = np.divide(off, counted, out=np.zeros_like(off), where=counted > 0)
    return share * np.array([(~positive).sum(), positive.sum()])


def _estimate(value: float, drawn: NDArray[np.float64], confidence: float, n: int, method: str) -> Estimate:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(value), min(float(low), float(value)), max(float(high), float(value)), confidence, n, method)
