"""Measurements as the page shows them: every number as text with its interval, and as numbers where it is drawn."""

import math
import re
from collections.abc import Sequence
from typing import Any

from chexkeras.evaluation.group_columns import column_words
from chexkeras.results import Estimate, FindingEvaluation, OperatingPoint, SubgroupAnalysis

_RATES = ("auroc", "sensitivity", "specificity")


def shown_finding(point: OperatingPoint, evaluated: FindingEvaluation | None, curve: Sequence[Any]) -> dict[str, Any]:
    """Returns what was measured of one finding.

    Args:
        point: Its frozen threshold.
        evaluated: Its test results; None where it has none.
        curve: The points of its validation curve, see `CurvePoint` of the document.
    """
    shown: dict[str, Any] = {
        "finding": point.finding,
        "threshold": point.threshold,
        "rule": str(point),
        "note": point.note,
        "curve": [
            {
                "threshold": each.threshold,
                "frozen": each.frozen,
                "sensitivity": told(each.sensitivity),
                "specificity": told(each.specificity),
                "values": [_plain(each.sensitivity.value), _plain(each.specificity.value)],
            }
            for each in curve
        ],
    }
    if evaluated is None:
        return shown
    calibration = evaluated.calibration
    return shown | {
        "images": f"{evaluated.n_positive:,} positive of {evaluated.n_images:,} test images, "
        f"{evaluated.n_patients:,} patients",
        "prevalence": _plain(evaluated.prevalence.value),
        "measures": {
            name: told(getattr(evaluated, name))
            for name in ("auroc", "sensitivity", "specificity", "average_precision")
        },
        "calibration": "" if calibration is None else f"slope {calibration.slope}; intercept {calibration.intercept}",
        "all": {"images": evaluated.n_images, "positive": evaluated.n_positive, **shown_rates(evaluated)},
        "subgroups": [_shown_groups(analysis) for analysis in evaluated.subgroups],
    }


def _shown_groups(analysis: SubgroupAnalysis) -> dict[str, Any]:
    words = column_words(analysis.column)
    return {
        "column": words.words,
        "unknown": analysis.n_unknown,
        "groups": [
            {
                "level": words.level(group.level),
                "images": group.n_images,
                "positive": group.n_positive,
                **shown_rates(group),
            }
            for group in analysis.groups
        ],
        "differ": {
            test.statistic: test.reason or f"p = {test.p_adjusted:.2g} after Holm's correction"
            for test in analysis.interactions
        },
    }


def shown_rates(measured: Any) -> dict[str, dict[str, Any]]:
    """Returns the rates of whatever has them, as text and as numbers to draw.

    Args:
        measured: With AUROC, sensitivity and specificity.
    """
    found = {}
    for name in _RATES:
        estimate: Estimate = getattr(measured, name)
        values = [_plain(number) for number in (estimate.value, estimate.low, estimate.high)]
        found[name] = {"words": told(estimate), "drawn": values if estimate.estimable else None}
    return found


def told(estimate: Estimate, digits: int = 3) -> str:
    """Returns an estimate for the page.

    Args:
        estimate: The estimate.
        digits: Digits behind the point.

    Example:
        >>> told(Estimate(12.4, 8.0, 20.2), digits=0)
        '12 (95 % CI 8 to 20)'
    """
    if not estimate.estimable:
        return str(estimate)
    value, low, high = (f"{number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high))
    # Where the interval's method stands in brackets, so does what is quoted of it.
    caution = f"; {estimate.caution.rstrip(')')}" if estimate.caution else ""
    return f"{value} ({estimate.confidence * 100:g} % CI {low} to {high}{caution})"


def shown_reason(reason: str) -> str:
    """Returns why no heat maps are drawn, as a sentence of its own, without what only Python or a terminal has.

    Args:
        reason: As the library words it; empty where maps are drawn.
    """
    kept = re.split(r"[;,](?: or give)? unchecked=True", reason)[0].rstrip(".")
    return f"{kept[:1].upper()}{kept[1:]}." if kept else ""


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
