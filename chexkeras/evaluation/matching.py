"""Bringing two models' scores together: same images, same patients, same labels, each with its own threshold."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from chexkeras.evaluation.scores import scores_fingerprint
from chexkeras.results import OperatingPoint

Points = OperatingPoint | Iterable[OperatingPoint]
"""One model's frozen operating points, at most one for each finding."""


def match_scores(first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str]) -> dict[str, pd.DataFrame]:
    """Returns the scores of two models side by side, for each finding that both have.

    Args:
        first: Long table of scores, checked.
        second: Likewise, rows in any order.
        names: What to call the two in messages.

    Returns:
        For each finding a table with patient_id, label (1 or 0), first and second, in the order of image ids; images
        whose label is unknown in both are left out.

    Raises:
        ValueError: If no finding is common, or images, patients or labels differ; a label known to one table only
            differs.
    """
    parts = [{str(name): part for name, part in table.groupby("finding", sort=False)} for table in (first, second)]
    common = [name for name in parts[0] if name in parts[1]]
    if not common:
        raise ValueError(
            f"no finding in common: {names[0]} has {', '.join(parts[0])} and {names[1]} has {', '.join(parts[1])}."
        )
    return {finding: _side_by_side(finding, parts[0][finding], parts[1][finding], names) for finding in common}


def _side_by_side(finding: str, first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    one, other = first.set_index("image_id"), second.set_index("image_id")
    for name, mine, theirs in ((names[0], one, other), (names[1], other, one)):
        lacking = theirs.index.difference(mine.index).tolist()
        if len(lacking):
            raise ValueError(
                f"{finding}: {name} lacks {len(lacking)} of the {len(theirs)} images of the other, first "
                f"{lacking[0]}; only scores of the same images can be compared."
            )
    # By image id, so that the order of rows in the tables cannot matter to any draw.
    one = one.sort_index()
    other = other.loc[one.index]
    moved = np.flatnonzero(one["patient_id"] != other["patient_id"])
    if len(moved):
        raise ValueError(
            f"{finding}: {len(moved)} image(s) belong to different patients in {names[0]} and {names[1]}, first "
            f"{one.index.tolist()[moved[0]]}; mend patient_id."
        )
    labels = one["label"].to_numpy(float), other["label"].to_numpy(float)
    differing = np.flatnonzero(~np.isclose(*labels, rtol=0, atol=0, equal_nan=True))
    if len(differing):
        image, known = one.index.tolist()[differing[0]], [each[differing[0]] for each in labels]
        raise ValueError(
            f"{finding}: labels differ on {len(differing)} of {len(one)} images, first {image} ({names[0]} "
            f"{known[0]:g}, {names[1]} {known[1]:g}); models are compared against the same labels only."
        )
    rows = one[["patient_id", "label"]].assign(first=one["score"], second=other["score"])
    return rows[rows["label"].notna()]


def match_points(
    points: Mapping[str, Points] | Sequence[Points],
    tables: tuple[pd.DataFrame, pd.DataFrame],
    names: tuple[str, str],
    findings: Iterable[str],
) -> dict[str, tuple[OperatingPoint, OperatingPoint]]:
    """Returns the frozen thresholds of two models, for each finding that they decide.

    Args:
        points: By the model's name, or a sequence of two.
        tables: The checked scores they will be applied to.
        names: The two models.
        findings: Those that both models have scored.

    Returns:
        For each finding the point of the first and of the second.

    Raises:
        ValueError: If a model has none, or several for one finding; a finding is decided or scored for one model
            only; or a point was chosen on these very scores.
    """
    if isinstance(points, Mapping):
        if set(points) != set(names):
            raise ValueError(f"points are given for {', '.join(points) or 'nobody'}, expected for {', '.join(names)}.")
        given = [points[name] for name in names]
    elif isinstance(points, OperatingPoint) or len(points) != 2:
        raise ValueError("points must hold two entries, the operating points of the first and of the second.")
    else:
        given = list(points)
    frozen = [_by_finding(*each) for each in zip(given, tables, names, strict=True)]
    lone = set(frozen[0]).symmetric_difference(frozen[1]) | (set(frozen[0]) - set(findings))
    if lone:
        raise ValueError(
            f"{', '.join(sorted(lone))}: an operating point of both models and scores of both are needed; leave out "
            "the findings that only one of them decides."
        )
    return {finding: (frozen[0][finding], frozen[1][finding]) for finding in frozen[0]}


def _by_finding(points: Points, scores: pd.DataFrame, name: str) -> dict[str, OperatingPoint]:
    frozen: dict[str, OperatingPoint] = {}
    for point in (points,) if isinstance(points, OperatingPoint) else points:
        if point.finding in frozen:
            raise ValueError(f"{name}: {point.finding} has more than one operating point; give one for each finding.")
        own = scores[scores["finding"] == point.finding]
        if point.scores_fingerprint and point.scores_fingerprint == scores_fingerprint(own):
            raise ValueError(
                f"{name}, {point.finding}: the threshold was chosen on these very scores ({point.chosen_on}), so "
                "comparing on them would flatter it; compare on another split."
            )
        frozen[point.finding] = point
    return frozen
