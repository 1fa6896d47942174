"""Choosing the decision threshold on one part of the data and freezing it with the rule that chose it.

Scores in, frozen `OperatingPoint` out. A threshold is always one of the observed scores, stored exactly; images with
the same score are called together.
"""

import dataclasses
import math
from collections.abc import Iterable
from types import EllipsisType

import pandas as pd

from chexkeras import checks
from chexkeras.evaluation.inputs import one_class
from chexkeras.evaluation.scores import check_scores, scores_fingerprint
from chexkeras.evaluation.threshold_rules import (
    REACHING,
    RULES,
    USUAL_TARGET,
    Candidates,
    check_rule,
    choose,
    positives_needed,
)
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.results import Estimate, OperatingPoint

__all__ = ["RULES", "check_rule", "choose_threshold", "choose_thresholds", "positives_needed", "scores_fingerprint"]

STATED = 0.5
"""The threshold of a finding that none can be chosen for, among others for which one can."""


def choose_threshold(
    scores: pd.DataFrame | None,
    *,
    rule: str = "sensitivity",
    target: float | EllipsisType | None = ...,
    prevalence: float | None = None,
    finding: str | None = None,
    chosen_on: str = "validation",
    confidence: float = 0.95,
) -> OperatingPoint:
    """Chooses a threshold by a stated rule and freezes it with what chose it.

    Args:
        scores: Long table of scores (image_id, patient_id, finding, label, score); None only with rule "fixed".
        rule: "sensitivity": the largest threshold whose observed sensitivity reaches `target`.
            "guarded_sensitivity": the largest threshold whose one-sided lower bound reaches it: Clopper-Pearson's,
            and where patients have several positive images that of as many images as there are patients.
            "specificity": the smallest threshold whose observed specificity reaches `target`.
            "youden": the largest sensitivity + specificity - 1. "f1": the largest F1. "cost": the lowest expected
            cost, a missed positive costing `target` false alarms. "net_benefit": the largest net benefit at the
            threshold probability `target`. Of several equally good thresholds these four take the most sensitive.
            "fixed": `target` is the threshold, no data is used.
        target: What the rule aims at; left out, 0.8 for the three rules that reach for a rate. Ignored by "youden"
            and "f1".
        prevalence: For "cost" and "net_benefit": how frequent the finding is where errors are to be weighed, strictly
            between 0 and 1; None for the share of positives among these images.
        finding: Which finding; may be left out when the table has one only.
        chosen_on: The part the scores come from, for the record.
        confidence: Of the guard (one-sided) and of the intervals recorded, in (0, 1).

    Returns:
        The frozen operating point.

    Raises:
        ValueError: If the rule or finding is unknown, a class is missing, the target or prevalence is out of range,
            the target cannot be reached, or the scores are not a clean table of probabilities.

    Source:
        Wilks, Annals of Mathematical Statistics 12, 1941 (the guard is an order-statistic tolerance bound); Youden,
        Cancer 3, 1950; Metz, Seminars in Nuclear Medicine 8, 1978 (cost); Vickers & Elkin, Medical Decision Making
        26, 2006 (net benefit).
    """
    if isinstance(target, EllipsisType):
        target = USUAL_TARGET if rule in REACHING else None
    check_rule(rule, target, prevalence)
    checks.probability(confidence, "confidence", open_interval=True)
    if rule == "fixed":
        return _fixed(scores, target, finding, confidence)
    if scores is None:
        raise ValueError(f"rule={rule!r} needs scores to choose from; only rule='fixed' does without.")
    table = check_scores(scores)
    name = _one_finding(table, finding)
    rows = table[table["finding"] == name]
    known = rows[rows["label"].notna()]
    positive = known["label"].to_numpy() == 1
    score, patients = known["score"].to_numpy(), known["patient_id"].to_numpy()
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        raise ValueError(
            f"{name}: a threshold cannot be chosen on {chosen_on}, {one_class(n_positive, n_negative)}; "
            "choose it on a part that has both."
        )
    aimed = rule not in ("youden", "f1")
    aim = float(target) if aimed and target is not None else math.nan
    candidates = Candidates.of(positive, score, patients)
    where = f"{name} on {chosen_on}"
    row, note = choose(rule, aim, candidates, confidence=confidence, prevalence=prevalence, where=where)
    threshold = float(candidates.threshold[row])
    called = score >= threshold
    return OperatingPoint(
        finding=name,
        threshold=threshold,
        rule=rule,
        target=aim if aimed else None,
        chosen_on=chosen_on,
        scores_fingerprint=scores_fingerprint(rows),
        n_positive=n_positive,
        n_negative=n_negative,
        sensitivity=clustered_proportion_interval(called[positive], patients[positive], confidence=confidence),
        specificity=clustered_proportion_interval(~called[~positive], patients[~positive], confidence=confidence),
        note=note,
    )


def _one_finding(table: pd.DataFrame, finding: str | None) -> str:
    names = list(table["finding"].unique())
    if finding is None:
        if len(names) > 1:
            raise ValueError(
                f"the table holds {len(names)} findings ({', '.join(names)}); name one with finding=..., "
                "since every finding has its own threshold."
            )
        return str(names[0])
    return checks.one_of(finding, names, "finding")


def choose_thresholds(
    scores: pd.DataFrame,
    findings: Iterable[str],
    *,
    rule: str = "sensitivity",
    target: float | EllipsisType | None = ...,
    chosen_on: str = "validation",
) -> tuple[OperatingPoint, ...]:
    """Chooses a threshold for each of several findings by one rule.

    A finding of which these scores have one class only, as a rare one among fourteen may, gets `STATED`: its operating
    point says that nothing chose it.

    Args:
        scores: Long table of scores, as for `choose_threshold`.
        findings: The findings, in the order wanted; at least one has both classes.
        rule: As for `choose_threshold`.
        target: Likewise.
        chosen_on: Likewise.

    Returns:
        One frozen operating point for each finding.

    Raises:
        ValueError: As `choose_threshold`.
    """
    names, table = tuple(findings), check_scores(scores)
    classes = {name: set(rows["label"].dropna()) for name, rows in table.groupby("finding")}
    several = any(len(classes.get(name, ())) == 2 for name in names)
    points = []
    for name in names:
        if several and name in classes and len(classes[name]) < 2:
            stated = choose_threshold(None, rule="fixed", target=STATED, finding=name)
            note = f"{chosen_on} has films of one class only, so that no threshold could be chosen; {STATED} is stated."
            points.append(dataclasses.replace(stated, note=note))
        else:
            points.append(choose_threshold(scores, rule=rule, target=target, finding=name, chosen_on=chosen_on))
    return tuple(points)


def _fixed(scores: pd.DataFrame | None, target: float | None, finding: str | None, confidence: float) -> OperatingPoint:
    # `check_rule` has seen that there is a target.
    threshold = checks.probability(math.nan if target is None else target, "target")
    if scores is not None:
        name = _one_finding(check_scores(scores), finding)
    elif finding is None:
        raise ValueError("rule='fixed' without scores needs finding=..., the finding that the threshold decides.")
    else:
        name = finding
    unknown = Estimate.not_estimable("the threshold was stated, not chosen on data", confidence=confidence)
    return OperatingPoint(
        finding=name,
        threshold=threshold,
        rule="fixed",
        target=threshold,
        chosen_on="stated",
        scores_fingerprint="",
        n_positive=0,
        n_negative=0,
        sensitivity=unknown,
        specificity=unknown,
        note="The threshold was stated beforehand; no data chose it.",
    )
