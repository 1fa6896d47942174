"""From scores and frozen thresholds to an `Evaluation`: every number with its interval, nothing tuned on the way."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.calibration.calibration import measure_calibration
from chexkeras.evaluation.clinical_use.abstention import measure_selective
from chexkeras.evaluation.clinical_use.deployment import deployment_from_outcomes
from chexkeras.evaluation.group_columns import any_known
from chexkeras.evaluation.rates import rates
from chexkeras.evaluation.scores import Scores, points_by_finding
from chexkeras.evaluation.subgroups import subgroup_analyses
from chexkeras.evaluation.uncertainty.intervals import (
    auc_interval,
    average_precision_interval,
    clustered_proportion_interval,
    macro_auc_interval,
)
from chexkeras.progress import track
from chexkeras.results import Estimate, Evaluation, FindingEvaluation, OperatingPoint, SubgroupAnalysis

Prevalences = float | Sequence[float] | Mapping[str, float | Sequence[float]]

_COUNTS = ("true_positives", "false_negatives", "false_positives", "true_negatives")
_AT_A_POINT = (
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "likelihood_ratio_positive",
    "likelihood_ratio_negative",
    "accuracy",
    "f1",
    "mcc",
)


@dataclass(frozen=True)
class _Wanted:
    """What to measure besides the usual."""

    confidence: float
    table: pd.DataFrame | None
    subgroups: tuple[str, ...]
    prevalences: Prevalences

    def prevalences_of(self, finding: str) -> tuple[float, ...]:
        stated = self.prevalences.get(finding, ()) if isinstance(self.prevalences, Mapping) else self.prevalences
        return (float(stated),) if isinstance(stated, (int, float)) else tuple(stated)


@checked
def evaluate(
    scores: pd.DataFrame,
    points: OperatingPoint | Iterable[OperatingPoint] = (),
    *,
    split: str = "test",
    cautions: str | Iterable[str] = (),
    confidence: float = 0.95,
    table: pd.DataFrame | None = None,
    subgroups: str | Sequence[str] = (),
    prevalences: Prevalences = (),
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
        table: Image table with the columns of `subgroups`; not needed without them.
        subgroups: Columns to measure by, for example ("sex", "age_years", "view"); another finding groups by its
            label. A column in which no image has a known value is left out.
        prevalences: Shares of positives to state predictive values at, in (0, 1): one, several, or a mapping from
            findings to these.

    Returns:
        One entry for each finding, in order of appearance.

    Raises:
        ValueError: If a point was chosen on these very scores, names a finding that was not scored, or is not the
            only one for its finding; if the scores are not a clean table of probabilities; if a subgroup's column or
            an image is not in the table; or if a prevalence is out of range or stated for a finding not scored.
    """
    checks.probability(confidence, "confidence", open_interval=True)
    columns = (subgroups,) if isinstance(subgroups, str) else tuple(subgroups)
    if columns and table is None:
        raise ValueError(f"subgroups={columns!r} need table=..., the image table with these columns.")
    wanted = _Wanted(confidence, table, columns, prevalences)
    checked = Scores.of(scores)
    parts = checked.by_finding()
    given = (points,) if isinstance(points, OperatingPoint) else tuple(points)
    for point in given:
        if point.finding not in parts:
            raise ValueError(
                f"an operating point decides {point.finding!r}, but these scores have only: {', '.join(parts)}."
            )
    frozen = points_by_finding(
        given, checked, "measuring it on them", "evaluate it on other images, such as the test part"
    )
    if isinstance(prevalences, Mapping):
        for finding in prevalences:
            checks.one_of(finding, parts, "finding of prevalences")
    entries = tuple(
        _evaluate_finding(name, parts[name], frozen.get(name), wanted) for name in track(parts, "Evaluating")
    )
    notes = (cautions,) if isinstance(cautions, str) else tuple(cautions)
    macro = macro_auc_interval(checked, confidence=confidence)
    return Evaluation(split, checked.fingerprint, entries, notes, macro)


def _evaluate_finding(finding: str, rows: Scores, point: OperatingPoint | None, wanted: _Wanted) -> FindingEvaluation:
    known, confidence = rows.labelled(), wanted.confidence
    positive, score, patients = known.arrays()
    calibration = None
    if len(known):
        auroc = auc_interval(positive, score, clusters=patients, confidence=confidence)
        precision = average_precision_interval(positive, score, clusters=patients, confidence=confidence)
        calibration = measure_calibration(positive, score, clusters=patients, confidence=confidence)
    else:
        auroc = precision = Estimate.not_estimable("no image has a known label", confidence=confidence)
    if point is None or not len(known):
        reason = "no operating point was chosen" if point is None else "no image has a known label"
        missing = Estimate.not_estimable(reason, confidence=confidence)
        at_point: dict[str, Any] = dict.fromkeys(_COUNTS) | dict.fromkeys(_AT_A_POINT, missing)
        deployed = []
    else:
        called = score >= point.threshold
        measured = rates(positive, called, clusters=patients, confidence=confidence)
        at_point = {name: getattr(measured, name) for name in (*_COUNTS, *_AT_A_POINT)}
        deployed = [
            deployment_from_outcomes(positive, called, prevalence, clusters=patients, confidence=confidence)
            for prevalence in wanted.prevalences_of(finding)
        ]
    return FindingEvaluation(
        finding=finding,
        n_images=len(known),
        n_patients=len(np.unique(patients.astype(str))),
        n_positive=int(positive.sum()),
        n_negative=int((~positive).sum()),
        prevalence=clustered_proportion_interval(
            positive, patients, confidence=confidence, empty="no image has a known label"
        ),
        auroc=auroc,
        average_precision=precision,
        operating_point=point,
        **at_point,
        deployment=tuple(deployed),
        calibration=calibration,
        subgroups=_subgroups(finding, known, point, wanted),
        selective=measure_selective(positive, score, patients, point, confidence) if point and len(known) else None,
    )


def _subgroups(
    finding: str, known: Scores, point: OperatingPoint | None, wanted: _Wanted
) -> tuple[SubgroupAnalysis, ...]:
    if wanted.table is None or not wanted.subgroups or known.empty:
        return ()
    here = wanted.table[np.isin(checks.identifiers(wanted.table["image_id"], "image_id"), known["image_id"])]
    # A misspelt column is an error; one that this data set leaves blank, or that is the finding itself, says nothing.
    checks.require_columns(here, wanted.subgroups, "the image table", "Name columns of the image table.")
    columns = [name for name in wanted.subgroups if name != finding and any_known(here[name])]
    return subgroup_analyses(known, here, columns, point=point, confidence=wanted.confidence) if columns else ()
