"""Verification bias: sensitivity and specificity where only some images got the reference standard.

Where mainly called images go on to CT or follow-up, the verified images hold too many calls: sensitivity among them is
too high and specificity too low. If verification depended on the call (and stated strata) alone, the share of positives
among verified images of a call holds for its unverified images too, and both can be set right.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.sampling_weights import stratum_numbers
from chexkeras.evaluation.scores import check_values, known_labels, one_column, patient_numbers
from chexkeras.evaluation.uncertainty.influence import count_patients, share_limits, spread, weighted_auc, weighted_kish
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.evaluation.uncertainty.limits import auc_limits, clopper_pearson
from chexkeras.evaluation.uncertainty.worth import approximate
from chexkeras.plain import PlainTable
from chexkeras.results import Estimate
from chexkeras.results.record import Record


@dataclass(frozen=True)
class VerificationCell(Record):
    """Images of one call and stratum.

    Attributes:
        called: Whether they were called positive.
        stratum: Which stratum; empty where there is none.
        n_images: How many.
        n_verified: How many of them got the reference standard.
        n_positive: How many of those it found positive.
    """

    called: bool
    stratum: str
    n_images: int
    n_verified: int
    n_positive: int


@checked
@dataclass(frozen=True)
class VerificationCorrected(Record):
    """Rates of a device, as they are among verified images and as they are among all.

    Attributes:
        n_images: Images with a call.
        n_verified: Images with a reference standard.
        sensitivity: Corrected.
        specificity: Corrected.
        ppv: Corrected positive predictive value; without strata that of the verified images.
        npv: Corrected negative predictive value; without strata that of the verified images.
        prevalence: Share of positives among all images.
        auroc: Corrected area under the ROC curve.
        verified_sensitivity: Among verified images alone, the biased one.
        verified_specificity: Among verified images alone, the biased one.
        sensitivity_range: What it may be at least and at most, whatever the unverified images are.
        specificity_range: What it may be at least and at most, whatever the unverified images are.
        cells: The counts it all rests on, call by call and stratum by stratum.
        cautions: What must stand beside the numbers.
    """

    n_images: int
    n_verified: int
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    prevalence: Estimate
    auroc: Estimate
    verified_sensitivity: Estimate
    verified_specificity: Estimate
    sensitivity_range: tuple[float, float]
    specificity_range: tuple[float, float]
    cells: tuple[VerificationCell, ...]
    cautions: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each statistic: corrected, among verified images alone, and the range it may have."""
        names = ("sensitivity", "specificity", "ppv", "npv", "prevalence", "auroc")
        rows = []
        for name in names:
            biased, lies = getattr(self, f"verified_{name}", None), getattr(self, f"{name}_range", None)
            rows.append(
                {
                    "statistic": name,
                    "corrected": str(getattr(self, name)),
                    "verified images alone": "" if biased is None else str(biased),
                    "possible": "" if lies is None else f"{lies[0]:.3f} to {lies[1]:.3f}",
                }
            )
        return PlainTable(rows)


@checked
def correct_verification_bias(
    labels: ArrayLike,
    called: ArrayLike,
    *,
    scores: ArrayLike | None = None,
    strata: ArrayLike | pd.DataFrame | None = None,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> VerificationCorrected:
    """Returns sensitivity and specificity among all images, though only some got the reference standard.

    Begg and Greenes: the share of positives is taken from the verified images of each call and stratum, and applied to
    all of its images. The area under the ROC curve weighs each verified image by its cell's images over its verified
    images. All this assumes that, given call and strata, verified images are like the others; where verification also
    went by the score, give bands of it among the strata. The ranges need no assumption.

    Variances are linearised, the images' contributions added up within patients; for independent images the variance of
    the log odds of a rate is Zhou's. Shares get Clopper-Pearson limits at the effective sample size, which with every
    image verified are those of `rates`.

    Args:
        labels: Shape (n,), the reference standard: 1, 0, or NaN where the image was not verified.
        called: Shape (n,), whether each image was called positive, for every image.
        scores: Shape (n,), finite, for the area under the ROC curve; None leaves it out.
        strata: Shape (n,), or a table of n rows whose columns together name the stratum: what else verification
            depended on. None where it depended on the call alone.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The corrected rates; not estimable, with the reason, where a call and stratum has images but no verified one.

    Raises:
        ValueError: If shapes differ, a label is not 1/0/NaN, a call is neither true nor false, a score is not finite,
            or a stratum or a patient is missing.

    Source:
        Begg & Greenes, Biometrics 39, 1983; Zhou, Statistics in Medicine 12, 1993 (variance); Alonzo & Pepe, Applied
        Statistics 54, 2005 (area, inverse probability weighting); Kosinski & Barnhart, Statistics in Medicine 22, 2003
        (range without assumption).

    Example:
        >>> labels = [1] * 231 + [0] * 32 + [float("nan")] * 166 + [1] * 27 + [0] * 54 + [float("nan")] * 140
        >>> found = correct_verification_bias(labels, [1] * 429 + [0] * 221)
        >>> print(found.sensitivity)
        0.836 (95 % CI 0.782-0.882)
        >>> print(found.specificity)
        0.738 (95 % CI 0.653-0.812)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    images = _clean(labels, called, scores, strata, clusters)
    cells, verified = _cells(images), images.verified
    model, ranges = _Model(images, cells, confidence), _ranges(cells)
    return VerificationCorrected(
        n_images=len(verified),
        n_verified=int(verified.sum()),
        sensitivity=model.share("sensitivity"),
        specificity=model.share("specificity"),
        ppv=model.share("ppv"),
        npv=model.share("npv"),
        prevalence=model.share("prevalence"),
        auroc=model.area(),
        verified_sensitivity=_plain(images.called, verified & images.positive, images, confidence),
        verified_specificity=_plain(~images.called, verified & ~images.positive, images, confidence),
        sensitivity_range=ranges[0],
        specificity_range=ranges[1],
        cells=cells,
        cautions=_cautions(images, ranges),
    )


class _Images(NamedTuple):
    """Clean images; `positive` says nothing where an image is not verified."""

    positive: NDArray[np.bool_]
    verified: NDArray[np.bool_]
    called: NDArray[np.bool_]
    score: NDArray[np.float64] | None
    cell: NDArray[np.int64]
    strata: list[str]
    owner: NDArray[np.int64]
    unit: str


def _clean(
    labels: ArrayLike,
    called: ArrayLike,
    scores: ArrayLike | None,
    strata: ArrayLike | pd.DataFrame | None,
    clusters: ArrayLike | None,
) -> _Images:
    label, call = one_column(labels, called, "called")
    verified = known_labels(label)
    strange = (call != 0) & (call != 1)
    if strange.any():
        raise ValueError(
            f"called must be True or False for every image, verified or not; found {call[strange][0]:g} in "
            f"{int(strange.sum())} row(s)."
        )
    score = None
    if scores is not None:
        score = one_column(labels, scores, "scores")[1]
        check_values(score, probabilities=False)
    numbers, names = np.zeros(len(label), dtype=np.int64), [""]
    if strata is not None:
        numbers, found = stratum_numbers(strata)
        if len(numbers) != len(label):
            raise ValueError(f"strata name {len(numbers)} images, expected {len(label)}: one stratum for each image.")
        names = [str(name) for name in found]
    group = patient_numbers(clusters, np.ones(len(label), dtype=bool))
    owner, unit = (np.arange(len(label)), "images") if group is None else (group, "patients")
    return _Images(label == 1, verified, call == 1, score, 2 * numbers + (call == 1), names, owner, unit)


def _cells(images: _Images) -> tuple[VerificationCell, ...]:
    made = []
    for number in np.unique(images.cell):
        rows = images.cell == number
        known = rows & images.verified
        counts = int(rows.sum()), int(known.sum()), int((known & images.positive).sum())
        made.append(VerificationCell(bool(number % 2), images.strata[number // 2], *counts))
    return tuple(made)


def _plain(right: NDArray[np.bool_], rows: NDArray[np.bool_], images: _Images, confidence: float) -> Estimate:
    """Returns the share of right calls among some of the verified images, uncorrected."""
    empty = "no verified image is of this class" if images.verified.any() else "no image is verified"
    return clustered_proportion_interval(right[rows], images.owner[rows], confidence=confidence, empty=empty)


def _ranges(cells: tuple[VerificationCell, ...]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns the least and the greatest sensitivity and specificity, whatever the unverified images are."""
    unknown = [sum(c.n_images - c.n_verified for c in cells if c.called is call) for call in (True, False)]
    positive = [sum(c.n_positive for c in cells if c.called is call) for call in (True, False)]
    negative = [sum(c.n_verified - c.n_positive for c in cells if c.called is call) for call in (True, False)]

    def bounds(right: int, wrong: int, unknown_right: int, unknown_wrong: int) -> tuple[float, float]:
        least, most = right + wrong + unknown_wrong, right + wrong + unknown_right
        return right / least if least else 0.0, (right + unknown_right) / most if most else 1.0

    return bounds(*positive, *unknown), bounds(*negative[::-1], *unknown[::-1])


_WORDS = {
    "sensitivity": "no verified image is positive",
    "specificity": "no verified image is negative",
    "ppv": "no image is called positive",
    "npv": "every image is called positive",
    "prevalence": "no image",
}


class _Model:
    """Rates among all images: each is a mean over images of what a positive and what a negative one would add."""

    def __init__(self, images: _Images, cells: tuple[VerificationCell, ...], confidence: float):
        self.images, self.cells, self.confidence = images, cells, confidence
        place = np.unique(images.cell, return_inverse=True)[1]
        n, verified, positive = np.array([(c.n_images, c.n_verified, c.n_positive) for c in cells]).T
        share = np.divide(positive, verified, out=np.full(len(cells), np.nan), where=verified > 0)
        self.n, self.n_verified, self.share_of_cell, self.place = n, verified, share, place
        # Of each verified image: how many images of its call and stratum it stands for.
        self.weight = np.where(images.verified, (n / np.maximum(verified, 1))[place], 0.0)

    def _lacking(self, calls: tuple[bool, ...]) -> str:
        """Returns which images lack a verified one, or an empty text."""
        for cell in self.cells:
            if cell.called in calls and not cell.n_verified:
                where = f" of the stratum {cell.stratum}" if cell.stratum else ""
                kind = "called positive" if cell.called else "not called"
                return f"none of the {cell.n_images} images {kind}{where} is verified, so nothing is known of them"
        return ""

    def _how(self, text: str, rows: NDArray[np.bool_]) -> str:
        images = self.images
        given = "call and stratum" if len(images.strata) > 1 else "call"
        worth = weighted_kish(self.weight[rows], images.owner[rows])
        n_patients = count_patients(images.owner)
        basis = f"{int(images.verified.sum())} of {len(images.verified)} images verified"
        basis += "" if images.unit == "images" else f", {n_patients} patients"
        return f"{text}, verification at random given the {given}; {basis}{approximate(worth, images.unit)}"

    def _spread_over_cells(self, of_verified: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns what each image contributes, the unverified ones by the mean of their cell's verified ones.

        Args:
            of_verified: Shape (n,), what a verified image would contribute if it stood for itself alone; else 0.
        """
        means = np.bincount(self.place, of_verified, len(self.n)) / np.maximum(self.n_verified, 1)
        residual = np.where(self.images.verified, of_verified - means[self.place], 0.0)
        return means[self.place] + self.weight * residual

    def share(self, name: str) -> Estimate:
        images, n = self.images, len(self.images.verified)
        calls = {"ppv": (True,), "npv": (False,)}.get(name, (True, False))
        reason = self._lacking(calls)
        if reason:
            return Estimate.not_estimable(reason, n=n, confidence=self.confidence)
        positive, called = images.positive, images.called
        everything = np.ones(n, dtype=bool)
        hits, among = {
            "sensitivity": (called, positive),
            "specificity": (~called, ~positive),
            "ppv": (positive, called),
            "npv": (~positive, ~called),
            "prevalence": (positive, everything),
        }[name]
        rows = images.verified & among
        total = float(self.weight[rows].sum())
        if not total > 0:
            return Estimate.not_estimable(_WORDS[name], n=n, confidence=self.confidence)
        value = min(1.0, float(self.weight[rows & hits].sum()) / total)
        worth = weighted_kish(self.weight[rows], images.owner[rows])
        if 0 < value < 1:
            contributions = self._spread_over_cells(np.where(rows, hits - value, 0.0) / total)
            counted = np.abs(contributions) > 1e-12 * np.abs(contributions).max()
            together = np.zeros(n, dtype=np.int64)
            variance = spread(contributions, images.owner, together, (counted,), small_sample=False).variance
            variance += self._unseen(name, value, total)
            low, high, effective = share_limits(value, variance, int(rows.sum()), worth, self.confidence)
            text = f"Begg & Greenes 1983, Clopper-Pearson at the effective sample size {effective:.1f}"
        else:
            effective = max(1e-6, min(worth, total / self._heaviest(name, value)))
            low, high = clopper_pearson(value * effective, effective, self.confidence)
            text = f"Begg & Greenes 1983, Clopper-Pearson, no verified image differs: they amount to {effective:.1f}"
        return Estimate(value, low, high, self.confidence, n, self._how(text, rows))

    def _cell_of_difference(self, name: str, value: float) -> NDArray[np.bool_]:
        """Returns the cells in which an image lies that would differ where no verified one does."""
        called = np.array([cell.called for cell in self.cells])
        if name == "sensitivity":
            return ~called if value == 1 else called
        if name == "specificity":
            return called if value == 1 else ~called
        return {"ppv": called, "npv": ~called}.get(name, np.ones_like(called))

    def _heaviest(self, name: str, value: float) -> float:
        cells = self._cell_of_difference(name, value)
        return float((self.n / np.maximum(self.n_verified, 1))[cells].max()) if cells.any() else 1.0

    def _unseen(self, name: str, value: float, total: float) -> float:
        """Returns what unverified images add to the variance where all verified ones of their cell are alike."""
        called = np.array([cell.called for cell in self.cells])
        rises = {
            "sensitivity": (called - value) / total,
            "specificity": (~called - value) / total,
            "ppv": called / total,
            "npv": ~called / total,
            "prevalence": np.full(len(called), 1 / total),
        }[name]
        return self._of_alike_cells(np.asarray(rises, dtype=np.float64))

    def _of_alike_cells(self, rises: NDArray[np.float64]) -> float:
        """Returns what cells whose verified images are all alike add to a variance, half an image being unlike them.

        Args:
            rises: Shape (cells,), by how much a statistic changes with one more image of the other kind.
        """
        alike = (self.share_of_cell == 0) | (self.share_of_cell == 1)
        share = 0.5 / (self.n_verified + 1)
        unknown = (self.n - self.n_verified) * rises
        return float((alike * unknown**2 * share * (1 - share) / (self.n_verified + 1)).sum())

    def _placed(self, score: NDArray[np.float64], area: float) -> NDArray[np.float64]:
        """Returns by how much the area changes with one more image, unlike the verified ones of its cell, in each."""
        images, rises = self.images, np.zeros(len(self.n))
        for cell in np.flatnonzero((self.share_of_cell == 0) | (self.share_of_cell == 1)):
            # Where all are negative the image is positive: it beats what the cell's images beat on average.
            beats = self.share_of_cell[cell] == 0
            others, own = (images.verified & (images.positive != kind) for kind in (beats, not beats))
            order = np.argsort(score[others])
            steps = np.append(0.0, np.cumsum(self.weight[others][order]))
            mine = score[images.verified & (self.place == cell)]
            ends = [np.searchsorted(score[others][order], mine, side) for side in ("left", "right")]
            below = float(np.mean(steps[ends[0]] + steps[ends[1]])) / 2 / steps[-1]
            rises[cell] = ((below if beats else 1 - below) - area) / float(self.weight[own].sum())
        return rises

    def area(self) -> Estimate:
        images, n = self.images, len(self.images.verified)
        rows = images.verified
        kinds = rows & images.positive, rows & ~images.positive
        reason = "no scores were given" if images.score is None else self._lacking((True, False))
        if not reason and not all(kind.any() for kind in kinds):
            reason = _WORDS["specificity" if kinds[0].any() else "sensitivity"]
        if reason or images.score is None:
            return Estimate.not_estimable(reason, n=n, confidence=self.confidence)
        found = weighted_auc(images.positive[rows], images.score[rows], self.weight[rows])
        own = np.zeros(n)
        own[rows] = found.of_images
        contributions = self._spread_over_cells(own)
        worths = [weighted_kish(self.weight[kind], images.owner[kind]) for kind in kinds]
        patients = [count_patients(images.owner[kind]) for kind in kinds]
        together, everything = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
        variance = spread(contributions, images.owner, together, (everything,)).variance
        variance += self._of_alike_cells(self._placed(images.score, found.value))
        variance = variance if min(patients) > 1 else math.nan
        low, high, text = auc_limits(
            found.value, variance, (patients[0], patients[1]), self.confidence, sizes=(worths[0], worths[1]),
            worth=min(worths), unit=images.unit, because="because the variance is zero or undefined",
        )  # fmt: skip
        text = f"verified images weighted by their cell's images over its verified ones, {text}"
        fewest = kinds[0] if worths[0] <= worths[1] else kinds[1]
        return Estimate(found.value, low, high, self.confidence, n, self._how(text, fewest))


def _cautions(images: _Images, ranges: tuple[tuple[float, float], tuple[float, float]]) -> tuple[str, ...]:
    if images.verified.all():
        return ()
    given = "the call and the strata" if len(images.strata) > 1 else "the call"
    (low, high), (least, most) = ranges
    return (
        f"Corrected as if verification had depended on {given} alone, which these images cannot show. Whatever it "
        f"depended on, sensitivity among them lies from {low:.3f} to {high:.3f} and specificity from {least:.3f} to "
        f"{most:.3f}.",
    )
