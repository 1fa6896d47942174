"""From scores and frozen thresholds to an `Evaluation`: every number with its interval, nothing tuned on the way."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.evaluation.intervals import auc_interval, average_precision_interval, clustered_proportion_interval
from chexkeras.evaluation.scores import check_scores, scores_fingerprint
from chexkeras.progress import track
from chexkeras.results import Estimate, Evaluation, FindingEvaluation, OperatingPoint


def evaluate(
    scores: pd.DataFrame,
    points: OperatingPoint | Iterable[OperatingPoint] = (),
    *,
    split: str = "test",
    cautions: Iterable[str] = (),
    confidence: float = 0.95,
) -> Evaluation:
    """Measures how well each finding is recognised, at its frozen threshold where one was chosen.

    Where patients have several images the intervals rest on patients by themselves; each estimate's `method` says
    which way it was computed.

    Args:
        scores: Long table of scores (image_id, patient_id, finding, label, score) of one part of the data.
        points: Frozen operating points, at most one for each finding, chosen on another part.
        split: The part the scores come from, for the record.
        cautions: Sentences a reader must see beside the numbers.
        confidence: Coverage of all intervals, in (0, 1).

    Returns:
        One entry for each finding, in order of appearance.

    Raises:
        ValueError: If a point was chosen on these very scores, names a finding that was not scored, or is not the
            only one for its finding; or if the scores are not a clean table of probabilities.
    """
    checks.probability(confidence, "confidence", open_interval=True)
    table = check_scores(scores)
    parts = {str(name): part for name, part in table.groupby("finding", sort=False)}
    frozen = _by_finding(points, parts, split)
    entries = tuple(
        _evaluate_finding(name, parts[name], frozen.get(name), confidence) for name in track(parts, "Evaluating")
    )
    notes = (cautions,) if isinstance(cautions, str) else tuple(cautions)
    return Evaluation(split, scores_fingerprint(table), entries, notes)


def _by_finding(
    points: OperatingPoint | Iterable[OperatingPoint], parts: dict[str, pd.DataFrame], split: str
) -> dict[str, OperatingPoint]:
    frozen: dict[str, OperatingPoint] = {}
    for point in (points,) if isinstance(points, OperatingPoint) else points:
        if point.finding not in parts:
            raise ValueError(
                f"an operating point decides {point.finding!r}, but these scores have only: {', '.join(parts)}."
            )
        if point.finding in frozen:
            raise ValueError(f"{point.finding} has more than one operating point; give one for each finding.")
        if point.scores_fingerprint and point.scores_fingerprint == scores_fingerprint(parts[point.finding]):
            raise ValueError(
                f"{point.finding}: the threshold was chosen on these very scores ({point.chosen_on}), so measuring it "
                f"on them would flatter it; evaluate it on another split than {split!r}."
            )
        frozen[point.finding] = point
    return frozen


def _evaluate_finding(
    finding: str, rows: pd.DataFrame, point: OperatingPoint | None, confidence: float
) -> FindingEvaluation:
    known = rows[rows["label"].notna()]
    positive = known["label"].to_numpy() == 1
    score, patients = known["score"].to_numpy(), known["patient_id"].to_numpy()

    def share(outcomes: np.ndarray, among: np.ndarray, empty: str) -> Estimate:
        return clustered_proportion_interval(outcomes[among], patients[among], confidence=confidence, empty=empty)

    everyone = np.ones(len(known), dtype=bool)
    if len(known):
        auroc = auc_interval(positive, score, clusters=patients, confidence=confidence)
        precision = average_precision_interval(positive, score, clusters=patients, confidence=confidence)
    else:
        auroc = precision = Estimate.not_estimable("no image has a known label", confidence=confidence)
    if point is None:
        counts: tuple[int | None, ...] = (None, None, None, None)
        rates = [Estimate.not_estimable("no operating point was chosen", confidence=confidence)] * 4
    else:
        called = score >= point.threshold
        outcomes = (called & positive, ~called & positive, called & ~positive, ~called & ~positive)
        counts = tuple(int(outcome.sum()) for outcome in outcomes)
        rates = [
            share(called, positive, "no positives"),
            share(~called, ~positive, "no negatives"),
            share(positive, called, "no image scores at or above the threshold"),
            share(~positive, ~called, "no image scores below the threshold"),
        ]
    return FindingEvaluation(
        finding=finding,
        n_images=len(known),
        n_patients=len(np.unique(patients.astype(str))),
        n_positive=int(positive.sum()),
        n_negative=int((~positive).sum()),
        prevalence=share(positive, everyone, "no image has a known label"),
        auroc=auroc,
        average_precision=precision,
        operating_point=point,
        true_positives=counts[0],
        false_negatives=counts[1],
        false_positives=counts[2],
        true_negatives=counts[3],
        sensitivity=rates[0],
        specificity=rates[1],
        ppv=rates[2],
        npv=rates[3],
    )
