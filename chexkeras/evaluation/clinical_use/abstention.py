"""Calls that are left open: a band round the threshold within which an image is uncertain, and what the rest is worth.

The band is chosen on validation, for a share of images that may be left open or for an accuracy that the other calls
are to reach, and is frozen with the threshold. What it does is measured on other images.
"""

import dataclasses
import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.rates import rates
from chexkeras.evaluation.scores import Scores
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.results import AbstainBand, Estimate, OperatingPoint, SelectivePrediction

FEWEST_CALLED = 20
"""Images that must keep their call: an accuracy of fewer says nothing."""
_LEAST = 1e-12


def check_abstention(share: float | None, accuracy: float | None) -> None:
    """Checks what a band is asked for, before there are any scores.

    Args:
        share: Largest share of images that may be left open, in (0, 1); None for none stated.
        accuracy: Accuracy that the other calls are to reach, in (0, 1]; None for none stated.

    Raises:
        ValueError: If both are stated, or one is out of range.
    """
    if share is not None and accuracy is not None:
        raise ValueError(
            f"abstain_share={share!r} and abstain_accuracy={accuracy!r} are two ways to choose one band; state one."
        )
    if share is not None:
        checks.probability(share, "abstain_share", open_interval=True)
    if accuracy is not None and checks.probability(accuracy, "abstain_accuracy") == 0:
        raise ValueError("abstain_accuracy=0 asks nothing; give the accuracy to reach, such as 0.95.")


@checked
def choose_band(
    scores: pd.DataFrame, point: OperatingPoint, *, share: float | None = None, accuracy: float | None = None
) -> OperatingPoint:
    """Chooses the band round a frozen threshold within which images are left open, and freezes it with the threshold.

    Images are left open in the order of their distance from the threshold in log odds. For a share, the widest band
    that leaves open no more than it; for an accuracy, the narrowest beyond which so many calls are right. The ends are
    observed scores, or the threshold itself. The accuracy on the scores that chose the band is optimistic, and holds at
    their prevalence.

    Args:
        scores: Long table of scores (image_id, patient_id, finding, label, score), those that chose the threshold.
        point: The threshold.
        share: Largest share of images that may be left open, in (0, 1).
        accuracy: Accuracy that the other calls are to reach, in (0, 1].

    Returns:
        The operating point with its band; one without ends, and with the reason, where no band does what is asked.

    Raises:
        ValueError: If not exactly one of share and accuracy is given, one is out of range, the finding was not scored,
            or other scores chose the threshold.

    Source:
        El-Yaniv & Wiener, Journal of Machine Learning Research 11, 2010 (selective classification); Geifman & El-Yaniv,
        NeurIPS 2017 (networks, by the confidence of the response).
    """
    check_abstention(share, accuracy)
    if share is None and accuracy is None:
        raise ValueError("choose_band needs share=..., such as 0.1, or accuracy=..., such as 0.95.")
    table = Scores.of(scores)
    rows = table.of_finding(checks.one_of(point.finding, table.by_finding(), "finding"))
    if point.scores_fingerprint and rows.fingerprint != point.scores_fingerprint:
        raise ValueError(
            f"the threshold of {point.finding} was chosen on other scores than these; give those of its "
            f"{point.chosen_on} part, whose images chose it."
        )
    positive, score, patients = rows.arrays()
    distance = _log_odds_apart(score, point.threshold)
    right = (score >= point.threshold) == positive
    reach, reason = _reach(distance, right, share, accuracy)
    rule, target = ("share", share) if share is not None else ("accuracy", accuracy)
    nothing = math.isnan(reach)
    open_ = np.zeros(len(score), bool) if nothing else distance <= reach
    note = reason or (
        f"Chosen on {len(score):,} images whose labels say what is right: on them its accuracy is optimistic, and an "
        "accuracy holds at their prevalence only."
    )
    band = AbstainBand(
        low=math.nan if nothing else min(float(score[open_].min()), point.threshold),
        high=math.nan if nothing else max(float(score[open_].max()), point.threshold),
        rule=rule,
        target=float(target or 0.0),
        coverage=clustered_proportion_interval(~open_, patients),
        accuracy=clustered_proportion_interval(right[~open_], patients[~open_], empty="no image keeps its call"),
        note=note,
    )
    return dataclasses.replace(point, abstain=band)


def with_bands(
    scores: pd.DataFrame, points: tuple[OperatingPoint, ...], share: float | None, accuracy: float | None
) -> tuple[OperatingPoint, ...]:
    """Returns operating points with their bands, or as they are where nothing is to be left open.

    Args:
        scores: Long table of scores, those that chose the thresholds.
        points: The thresholds.
        share: Largest share of images that may be left open, in (0, 1); None for none stated.
        accuracy: Accuracy that the other calls are to reach, in (0, 1]; None for none stated.
    """
    if share is None and accuracy is None:
        return points
    return tuple(choose_band(scores, point, share=share, accuracy=accuracy) for point in points)


def _reach(
    distance: NDArray[np.float64], right: NDArray[np.bool_], share: float | None, accuracy: float | None
) -> tuple[float, str]:
    """Returns up to which distance images are left open, NaN where none are, and why not."""
    n = len(distance)
    if n < FEWEST_CALLED:
        return math.nan, f"No band: {n:,} images with a known label are fewer than {FEWEST_CALLED}."
    reaches, counts = np.unique(distance, return_counts=True)
    left_open = np.cumsum(counts)
    if share is not None:
        fits = np.flatnonzero((left_open <= share * n + 1e-9) & (n - left_open >= FEWEST_CALLED))
        if not fits.size:
            return math.nan, f"No band: the nearest images, {counts[0]:,} of {n:,}, are more than a share of {share:g}."
        return float(reaches[fits[-1]]), ""
    if right.mean() >= float(accuracy or 0.0):
        return math.nan, f"No band: all calls together are right in {right.mean():.3f} of the images already."
    for reach, opened in zip(reaches, left_open, strict=True):
        if n - opened < FEWEST_CALLED:
            break
        if right[distance > reach].mean() >= float(accuracy or 0.0):
            return float(reach), ""
    return math.nan, f"No band: however wide, the other calls are right in fewer than {accuracy:g} of the images."


def _log_odds_apart(score: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    inside = np.clip(np.append(score, threshold), _LEAST, 1 - _LEAST)
    odds = np.log(inside) - np.log1p(-inside)
    return np.abs(odds[:-1] - odds[-1])


def measure_selective(
    positive: NDArray[np.bool_],
    score: NDArray[np.float64],
    patients: NDArray[np.object_],
    point: OperatingPoint,
    confidence: float = 0.95,
) -> SelectivePrediction | None:
    """Measures what a frozen band does on images that did not choose it; None where the point has none.

    Args:
        positive: Shape (n,), known labels.
        score: Shape (n,).
        patients: Shape (n,), the patient of each image.
        point: The threshold with its band.
        confidence: Coverage of the intervals, in (0, 1).
    """
    band = point.abstain
    if band is None:
        return None
    called = score >= point.threshold
    kept = ~np.array([band.holds(value) for value in score], dtype=bool)
    coverage = clustered_proportion_interval(kept, patients, confidence=confidence)
    if not kept.any():
        nothing = Estimate.not_estimable("no image keeps its call", confidence=confidence)
        return SelectivePrediction(len(score), 0, coverage, nothing, nothing, nothing)
    rest = rates(positive[kept], called[kept], clusters=patients[kept], confidence=confidence)
    return SelectivePrediction(
        n_images=len(score),
        n_called=int(kept.sum()),
        coverage=coverage,
        accuracy=rest.accuracy,
        sensitivity=rest.sensitivity,
        specificity=rest.specificity,
    )
