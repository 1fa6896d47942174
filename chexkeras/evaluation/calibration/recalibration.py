"""Turning scores into probabilities: temperature, Platt and isotonic recalibration, fitted once and then frozen.

Fitted on validation scores, saved with the run, applied to the scores of another part. Recalibrated scores are other
numbers, so they need a threshold of their own: apply the recalibration to the validation scores with
``allow_fitted=True`` and choose it there.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.evaluation.calibration.logistic import fit_line, fit_slope, log_odds, why_no_line
from chexkeras.evaluation.scores import Scores, check_values, one_class
from chexkeras.results.record import Record

METHODS = ("temperature", "platt", "isotonic")
"""Methods that `fit_recalibration` knows."""

FILE = "recalibration.json"
"""Where a run folder keeps its recalibrations."""

_NAMES = {"temperature": "temperature scaling", "platt": "Platt scaling", "isotonic": "isotonic regression"}


@checked
@dataclass(frozen=True)
class Recalibration(Record):
    """A map from a finding's scores to probabilities, frozen with the scores that fitted it.

    Attributes:
        finding: The finding whose scores it maps.
        method: One of `METHODS`.
        fitted_on: The part that fitted it, for example "validation".
        scores_fingerprint: SHA-256 of the scores that fitted it.
        n_positive: Positives among those scores.
        n_negative: Negatives among those scores.
        intercept: Added to the log odds after `slope`; 0 for temperature scaling, unused by isotonic regression.
        slope: Multiplies the log odds; the inverse of the temperature.
        knots: Of isotonic regression: (score, probability) in ascending order, straight lines between them.
        note: What the method does to ranking and thresholds, for a reader.
    """

    finding: str
    method: str
    fitted_on: str
    scores_fingerprint: str
    n_positive: int
    n_negative: int
    intercept: float = 0.0
    slope: float = 1.0
    knots: tuple[tuple[float, float], ...] = ()
    note: str = ""

    def refuse_impossible(self) -> None:
        """Checks what was read: a map that falls would turn the ranking round.

        Raises:
            ValueError: If the method is unknown, a class was missing, or the map is none that rises within [0, 1].
        """
        checks.one_of(self.method, METHODS, "the method of a recalibration")
        if min(self.n_positive, self.n_negative) < 1:
            raise ValueError("a recalibration was fitted on images of one class")
        if self.method != "isotonic":
            if not 0 < self.slope < math.inf or not math.isfinite(self.intercept):
                raise ValueError(f"the slope {self.slope:.4g} or intercept {self.intercept:.4g} gives no rising map")
            return
        knots = np.array(self.knots, dtype=np.float64).reshape(-1, 2)
        rises = (np.diff(knots[:, 0]) > 0).all() and (np.diff(knots[:, 1]) >= 0).all()
        if len(knots) < 2 or not rises or not ((knots >= 0) & (knots <= 1)).all():
            raise ValueError("its points do not rise within 0 to 1")

    @property
    def description(self) -> str:
        """What recalibrated scores are, for example for `measure_calibration`'s `scores_are`."""
        n = self.n_positive + self.n_negative
        return f"recalibrated by {_NAMES[self.method]} fitted on {self.fitted_on} ({self.n_positive} positive of {n})"

    def probabilities(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Returns the probabilities that scores stand for, never falling where scores rise.

        Args:
            scores: Shape (n,), in [0, 1].

        Returns:
            Shape (n,), in [0, 1].

        Raises:
            ValueError: If a score is NaN or outside [0, 1].
        """
        score = check_values(np.asarray(scores, dtype=np.float64), f"{self.finding}: ", probabilities=True)
        if self.method == "isotonic":
            return np.interp(score, *np.array(self.knots).T)
        return special.expit(self.intercept + self.slope * log_odds(score))

    def apply(self, scores: pd.DataFrame, *, allow_fitted: bool = False) -> pd.DataFrame:
        """Returns the finding's rows of a table of scores, with recalibrated scores.

        Args:
            scores: Long table of scores (image_id, patient_id, finding, label, score).
            allow_fitted: Whether these may be the scores that fitted it; calibration measured on them would be
                flattered, but a new threshold is chosen on them.

        Returns:
            A new table of scores of this finding only.

        Raises:
            ValueError: If the table is no clean table of scores, lacks the finding, or fitted this recalibration.
        """
        table = Scores.of(scores)
        rows = table.of_finding(self.finding)
        if rows.empty:
            raise ValueError(
                f"the recalibration maps {self.finding!r}, but these scores have only: {', '.join(table.findings)}."
            )
        if not allow_fitted and rows.fingerprint == self.scores_fingerprint:
            raise ValueError(
                f"{self.finding}: the recalibration was fitted on these very scores ({self.fitted_on}), so measuring "
                "it on them would flatter it; apply it to another split. To choose a new threshold on them, pass "
                "allow_fitted=True."
            )
        return rows.assign(score=self.probabilities(rows["score"])).reset_index(drop=True)

    @classmethod
    def load(cls, path: str | Path) -> "Recalibration":
        """Reads a recalibration written by `save`."""
        return cls.read(path)


@checked
def fit_recalibration(
    scores: pd.DataFrame, *, method: str = "platt", finding: str | None = None, fitted_on: str = "validation"
) -> Recalibration:
    """Fits a map from scores to probabilities by maximum likelihood (isotonic: least squares) and freezes it.

    Which to take: "platt" corrects scores that are too extreme or shifted, such as after training with class weights,
    and needs few positives. "temperature" corrects scores that are too extreme only. "isotonic" follows any rising
    curve and needs many positives (some hundreds); it makes ties, which changes the ROC curve, and its lowest and
    highest steps can be exactly 0 and 1. The others draw scores closer to 0 or 1 than 1e-7 in to it; only these become
    ties.

    Args:
        scores: Long table of scores (image_id, patient_id, finding, label, score) of the part to fit on.
        method: One of `METHODS`.
        finding: Which finding; may be left out when the table has one only.
        fitted_on: The part the scores come from, for the record.

    Returns:
        The frozen recalibration.

    Raises:
        ValueError: If the method or finding is unknown, a class is missing, the scores are no clean table of
            probabilities, or no rising map fits best: the scores rank worse than chance, are all equal, or separate
            the classes.

    Source:
        Guo et al., ICML 2017 (temperature); Platt, Advances in Large Margin Classifiers, 1999, here on log odds and
        without smoothed labels; Zadrozny & Elkan, KDD 2002 (isotonic).

    Example:
        >>> table = pd.DataFrame({"image_id": range(8), "patient_id": range(8), "finding": "Edema",
        ...                       "label": [0, 0, 0, 1, 0, 1, 1, 1], "score": [.1, .2, .3, .4, .5, .6, .7, .8]})
        >>> platt = fit_recalibration(table)
        >>> platt.probabilities([0.2, 0.5, 0.8]).round(2)
        array([0.03, 0.66, 0.99])
    """
    checks.one_of(method, METHODS, "method")
    table = Scores.of(scores)
    name = table.only_finding(finding, "recalibration")
    rows = table.of_finding(name)
    positive, score, _ = rows.arrays()
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    where = f"{name}: {_NAMES[method]} cannot be fitted on {fitted_on}"
    if not n_positive or not n_negative:
        raise ValueError(f"{where}, {one_class(n_positive, n_negative)}; fit it on a part that has both.")
    intercept, slope = 0.0, 1.0
    knots: tuple[tuple[float, float], ...] = ()
    if method == "isotonic":
        knots = _isotonic(score, positive, where)
    elif method == "platt":
        intercept, slope = _line(score, positive, where)
    else:
        slope = _slope(score, positive, where)
    return Recalibration(
        finding=name,
        method=method,
        fitted_on=fitted_on,
        scores_fingerprint=rows.fingerprint,
        n_positive=n_positive,
        n_negative=n_negative,
        intercept=intercept,
        slope=slope,
        knots=knots,
        note=_note(method, intercept, slope, len(knots)),
    )


def _line(score: NDArray[np.float64], positive: NDArray[np.bool_], where: str) -> tuple[float, float]:
    odds = log_odds(score)
    reason = why_no_line(odds, positive)
    if reason:
        raise ValueError(f"{where}, {reason}; fit it on more images.")
    intercept, slope = fit_line(odds, positive)
    if slope <= 0:
        raise ValueError(
            f"{where}, the scores do not rise with the share of positives (slope {slope:.3g}), so it would turn the "
            "ranking round; train the model again."
        )
    return intercept, slope


def _slope(score: NDArray[np.float64], positive: NDArray[np.bool_], where: str) -> float:
    slope = fit_slope(log_odds(score), positive)
    if slope == 0:
        raise ValueError(
            f"{where}, scores on the wrong side of 0.5 outweigh the others, so no finite temperature fits best; use "
            "method='platt', which also shifts the scores."
        )
    if math.isinf(slope):
        raise ValueError(f"{where}, 0.5 separates the classes, so no temperature fits best; fit it on more images.")
    return slope


def _isotonic(score: NDArray[np.float64], positive: NDArray[np.bool_], where: str) -> tuple[tuple[float, float], ...]:
    from sklearn.isotonic import IsotonicRegression

    fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, positive.astype(np.float64))
    knots = tuple(zip(fit.X_thresholds_.tolist(), fit.y_thresholds_.tolist(), strict=True))
    if knots[0][1] == knots[-1][1]:
        raise ValueError(
            f"{where}, the scores do not rise with the share of positives, so every image would get the same "
            "probability; train the model again."
        )
    return knots


def _note(method: str, intercept: float, slope: float, n_knots: int) -> str:
    """Returns what the method does to ranking and thresholds."""
    again = "A threshold chosen on other scores does not apply to these; choose it again on recalibrated scores."
    if method == "isotonic":
        return (
            f"Steps and straight lines through {n_knots} points. Images within a step become ties, so the ROC curve "
            f"changes. {again}"
        )
    if method == "temperature":
        return f"Every log odds divided by the temperature {1 / slope:.4g}; the ranking stays. {again}"
    return f"Log odds multiplied by {slope:.4g}, then {intercept:+.4g}; the ranking stays. {again}"


@checked
def save_recalibrations(run_folder: str | Path, recalibrations: Recalibration | Iterable[Recalibration]) -> Path:
    """Writes recalibrations into a run folder, where `load_recalibrations` finds them, and returns the path.

    Args:
        run_folder: The folder of a finished run.
        recalibrations: At most one for each finding; they replace those that were there.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If a finding has two.
    """
    folder = checks.existing_folder(checks.typed_path(run_folder, "run_folder"), "run_folder")
    kept = (recalibrations,) if isinstance(recalibrations, Recalibration) else tuple(recalibrations)
    names = [entry.finding for entry in kept]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)}: more than one recalibration; keep one for each finding.")
    return files.write_json(folder / FILE, [entry.to_dict() for entry in kept])


@checked
def load_recalibrations(run_folder: str | Path) -> tuple[Recalibration, ...]:
    """Reads the recalibrations that `save_recalibrations` wrote into a run folder.

    Args:
        run_folder: The folder of a finished run.

    Raises:
        FileNotFoundError: If the folder is not there, or has none.
        ValueError: If the file holds something else.
    """
    folder = checks.existing_folder(checks.typed_path(run_folder, "run_folder"), "run_folder")
    path = checks.existing_file(
        folder / FILE, "recalibrations", "fit them on the validation scores and call save_recalibrations first."
    )
    entries = files.read_json(path)
    if not isinstance(entries, list):
        raise ValueError(f"{path.name} holds a {type(entries).__name__}, a list of recalibrations was expected.")
    return tuple(Recalibration.from_dict(entry) for entry in entries)
