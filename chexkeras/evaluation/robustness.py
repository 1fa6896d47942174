"""How much changed images move scores and calls, each image compared with itself as it is."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.evaluation.comparison.compare import adjusted, compare, match_scores
from chexkeras.evaluation.scores import Scores
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.progress import track
from chexkeras.results import Comparison, Estimate, OperatingPoint
from chexkeras.results.estimate import NOT_MEASURED
from chexkeras.results.robustness import AS_IS, RATES, PerturbationEffect

MARGIN = 0.05
"""Loss of AUROC from which on a change matters, where nothing else is stated."""
OPERATING_MARGIN = 0.10
"""The same for sensitivity and specificity at the frozen threshold, which the shift of a few scores moves further."""


@checked
def perturbation_effects(
    as_is: pd.DataFrame,
    changed: Mapping[str, pd.DataFrame],
    *,
    groups: Mapping[str, str] | None = None,
    points: Sequence[OperatingPoint] = (),
    margin: float = MARGIN,
    operating_margin: float = OPERATING_MARGIN,
    confidence: float = 0.95,
    unlike: Mapping[str, pd.DataFrame] | None = None,
) -> tuple[PerturbationEffect, ...]:
    """Compares the scores of changed images with those of the same images as they are.

    AUROC by the paired DeLong test, sensitivity and specificity at the frozen threshold by McNemar's test, all of them
    clustered by patient (see `cx.compare`): a change is judged by both, since a device calls at its threshold, and a
    ranking that has held says nothing of it. The comparisons' own verdicts are corrected by Holm over
    everything compared; `PerturbationEffect.verdict` is not. With few patients the interval of DeLong's difference
    promises too much; the effects count the patients, and below `results.robustness.FEWEST_PATIENTS` no AUROC has held.

    Args:
        as_is: Long table of scores (image_id, patient_id, finding, label, score) of the images as they are.
        changed: Long tables of scores of the changed images, by the name of the change.
        groups: The kind of change, by its name; "" where it is not told.
        points: Frozen operating points, at most one for each finding, chosen on other scores.
        margin: Loss of AUROC from which on a change matters, in (0, 1); "held" needs it to be excluded, and enough
            patients.
        operating_margin: Loss of sensitivity or specificity from which on a change matters, in (0, 1).
        confidence: Coverage of intervals, in (0, 1).
        unlike: By the name of the change, which changed images are unlike the training images: patient_id and unlike
            (true or false), one row an image; None where that was not measured.

    Returns:
        One effect for each change and finding.

    Raises:
        ValueError: If nothing was changed, or images, patients, labels or operating points of two tables do not
            belong together.
    """
    if not changed:
        raise ValueError("changed is empty; give the scores of the changed images by the name of the change.")
    decided = {point.finding: point.threshold for point in points}
    comparisons: list[Comparison] = []
    rows: dict[tuple[str, str], pd.DataFrame] = {}
    before = Scores.of(as_is)
    margins = {"AUROC": margin} | (dict.fromkeys(RATES, operating_margin) if points else {})
    for name, table in track(changed.items(), "comparing changed images"):
        scores = Scores.of(table)
        pair = (name, AS_IS)
        both = (points, points) if points else None
        comparisons += compare(scores, before, names=pair, points=both, margin=margins, confidence=confidence)
        matched = match_scores(scores, before, pair)
        rows |= {(name, finding): matched[finding] for finding in matched}
    made = adjusted(comparisons)
    return tuple(
        _effect(
            name, (groups or {}).get(name, ""), finding, matched, decided.get(finding), confidence,
            tuple(entry for entry in made if (entry.first, entry.finding) == (name, finding)),
            _unlike((unlike or {}).get(name), confidence),
        )
        for (name, finding), matched in rows.items()
    )  # fmt: skip


def _effect(
    name: str, group: str, finding: str, rows: pd.DataFrame, threshold: float | None, confidence: float,
    comparisons: tuple[Comparison, ...], unlike: Estimate,
) -> PerturbationEffect:  # fmt: skip
    first, second = rows["first"].to_numpy(), rows["second"].to_numpy()
    if threshold is None:
        calls = Estimate.not_estimable("no operating point", n=len(rows), confidence=confidence)
    else:
        differ = (first >= threshold) != (second >= threshold)
        calls = clustered_proportion_interval(differ, rows["patient_id"].to_numpy(), confidence=confidence)
    moved = np.abs(first - second)
    median, high = (float(value) for value in np.quantile(moved, (0.5, 0.95))) if len(rows) else (np.nan, np.nan)
    positive, negative = (int(rows.loc[rows["label"] == label, "patient_id"].nunique()) for label in (1, 0))
    return PerturbationEffect(name, group, finding, positive, negative, comparisons, calls, median, high, unlike)


def _unlike(images: pd.DataFrame | None, confidence: float) -> Estimate:
    if images is None:
        return NOT_MEASURED
    flagged, patients = images["unlike"].to_numpy(), images["patient_id"].to_numpy()
    return clustered_proportion_interval(flagged, patients, confidence=confidence)
