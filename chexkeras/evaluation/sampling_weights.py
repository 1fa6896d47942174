"""Sampling weights: what a test set enriched with rare findings says of the population it was drawn from.

A set with more positives, or more portable images, than the clinic has is good for sensitivity and misleads on whatever
depends on the mix. If it is known how much more, weights undo it: each image counts for as many images of the
population as it stands for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.scores import clean, one_class, patient_numbers
from chexkeras.evaluation.uncertainty.influence import (
    Influence,
    Spread,
    count_patients,
    heaviness,
    share_limits,
    spread,
    weighted_auc,
    weighted_kish,
    weighted_share,
)
from chexkeras.evaluation.uncertainty.limits import auc_limits, clopper_pearson, normal_quantile
from chexkeras.evaluation.uncertainty.precision_draws import average_precision_draws, weighted_average_precision
from chexkeras.evaluation.uncertainty.worth import NORMAL_FROM, approximate, satterthwaite, student_quantile
from chexkeras.plain import PlainTable
from chexkeras.results import Estimate
from chexkeras.results.record import Record


@checked
@dataclass(frozen=True)
class WeightedEvaluation(Record):
    """What scores and a threshold achieve in a population, from images that stand for different parts of it.

    Attributes:
        population: What the weights make of the images, in the words of the caller.
        n_images: Images with a known label.
        n_positive: Positive among them.
        worth: How many equally weighted patients would tell as much (Kish); images where no patient has several.
        worth_positive: The same of positive images alone.
        worth_negative: The same of negative images alone.
        prevalence: Share of positives in the population.
        auroc: Area under the ROC curve.
        average_precision: At that prevalence.
        sensitivity: At the threshold.
        specificity: At the threshold.
        ppv: Positive predictive value at the threshold and that prevalence.
        npv: Negative predictive value at the threshold and that prevalence.
        cautions: What must stand beside the numbers.
    """

    population: str
    n_images: int
    n_positive: int
    worth: float
    worth_positive: float
    worth_negative: float
    prevalence: Estimate
    auroc: Estimate
    average_precision: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    cautions: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each statistic: its name, its value with the interval as text, and its method."""
        names = ("prevalence", "auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv")
        rows = [(name, getattr(self, name)) for name in names]
        return PlainTable([{"statistic": name, "value": str(found), "method": found.method} for name, found in rows])


@checked
def population_weights(strata: ArrayLike | pd.DataFrame, shares: Mapping[Any, float]) -> NDArray[np.float64]:
    """Returns the weight of each image that gives strata the shares they have in a population.

    Args:
        strata: Shape (n,), the stratum of each image, such as its label; or a table of n rows whose columns together
            name it, such as label and view. None may be missing.
        shares: Of each stratum in the population, above 0, summing to 1; by the stratum's name, or by the tuple of the
            columns' values.

    Returns:
        Shape (n,), above 0, with mean 1: a stratum's share in the population over its share here.

    Raises:
        TypeError: If the shares are not a mapping.
        ValueError: If a stratum is missing, has no share, a share above 0 has no image to stand for it, a share is not
            above 0, or they do not sum to 1.

    Source:
        Kish, Survey Sampling, 1965; Holt & Smith, Journal of the Royal Statistical Society A 142, 1979
        (post-stratification).

    Example:
        >>> population_weights([1, 1, 0, 0], {1: 0.1, 0: 0.9})
        array([0.2, 0.2, 1.8, 1.8])
    """
    if not isinstance(shares, Mapping):
        raise TypeError(f"shares is a {type(shares).__name__}; a mapping from stratum to its share was expected.")
    numbers, names = stratum_numbers(strata)
    of_strata = {name: _share(value, name) for name, value in shares.items()}
    lacking = [str(name) for name in names if name not in of_strata]
    if lacking:
        raise ValueError(
            f"no share is given for the strata {', '.join(lacking)}; give the share of each in the population, or "
            "leave its images out."
        )
    unseen = [str(name) for name in of_strata if name not in set(names)]
    if unseen:
        raise ValueError(
            f"no image is of the strata {', '.join(unseen)}, which are part of the population; nothing can stand for "
            "them. Join strata, or state shares without them and name the smaller population."
        )
    total = math.fsum(of_strata.values())
    if abs(total - 1) > 1e-6:
        raise ValueError(
            f"the shares sum to {total:g}; they must sum to 1, so that every image of the population counts."
        )
    here = np.bincount(numbers) / len(numbers)
    wanted = np.array([of_strata[name] for name in names]) / total
    return np.asarray((wanted / here)[numbers])


@checked
def weighted_evaluation(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike,
    *,
    population: str,
    threshold: float | None = None,
    strata: ArrayLike | pd.DataFrame | None = None,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> WeightedEvaluation:
    """Returns what scores achieve in a population, each image counting for as much of it as its weight says.

    Variances are linearised: the images' contributions are added up within patients before they are squared, and
    measured from the mean of their stratum where strata are named. The area gets the limits of `auc_interval` at the
    sizes that the weights leave, and shares Clopper-Pearson limits at the effective sample size. Average precision gets
    a Bayesian bootstrap that also draws how many of the population's negatives lie between those at hand: where each
    stands for many, counting none above a positive as none flatters, and a caution says so. Where no image of a share
    differs, its limits come from how many images with the weight of the one that is missing the others amount to.

    With all weights equal, values are those without weights and intervals nearly so. Without strata the number of
    positives is taken as given, as everywhere in this package, for all but prevalence and the predictive values.

    Where weights depend on the label alone, predictive values are those of `deployment` at that prevalence.

    Args:
        labels: Shape (n,), 1, 0 or NaN (left out).
        scores: Shape (n,), finite; any monotone scale.
        weights: Shape (n,), finite and above 0: from `population_weights`, or 1 over the probability with which each
            image was sampled. Only their ratios matter.
        population: What they make of the images, for every number's method, such as "all frontal images of 2023".
        threshold: An image is called positive at ``score >= threshold``; None leaves out what needs one.
        strata: Shape (n,), or a table of n rows: the strata whose shares the weights bring to the population, or within
            which images were sampled. None where images were sampled one by one.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The evaluation; what a missing class or a stratum with one patient leaves undefined is not estimable, with the
        reason. A prevalence that the strata fix has limits equal to its value.

    Raises:
        ValueError: If the population has no name, a weight is not above 0, shapes differ, a stratum or a patient is
            missing, or values are out of range; see `scores.clean`.

    Source:
        Binder, International Statistical Review 51, 1983 (linearisation); Kish, Survey Sampling, 1965 (effective size);
        Korn & Graubard, Survey Methodology 24, 1998 (limits of a share); DeLong, DeLong & Clarke-Pearson, Biometrics
        44, 1988, and Obuchowski, Biometrics 53, 1997 (area), here with weights.

    Example:
        >>> labels, scores = [1] * 40 + [0] * 40, [0.2, 0.6, 0.7, 0.9] * 10 + [0.1, 0.1, 0.3, 0.6] * 10
        >>> weights = population_weights(labels, {1: 0.05, 0: 0.95})
        >>> found = weighted_evaluation(labels, scores, weights, population="the clinic", threshold=0.5, strata=labels)
        >>> print(found.ppv)
        0.136 (95 % CI 0.073-0.226)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    if not isinstance(population, str) or not population.strip():
        raise ValueError(f'population={population!r}; say in words what the weights stand for, such as "the clinic".')
    positive, score, kept = clean(labels, scores)
    weight = _weights(weights, kept)
    group = patient_numbers(clusters, kept)
    names: list[Any] = []
    within = None
    if strata is not None:
        numbers, names = stratum_numbers(strata)
        if len(numbers) != len(kept):
            raise ValueError(f"strata name {len(numbers)} images, expected {len(kept)}: one stratum for each image.")
        within = np.unique(numbers[kept], return_inverse=True)[1]
        names = [names[number] for number in np.unique(numbers[kept])]
    owner = np.arange(len(score)) if group is None else group
    unit = "images" if group is None else "patients"
    sample = _Sample(positive, score, weight, owner, within, names, population.strip(), unit, confidence)
    worth = [weighted_kish(weight[rows], owner[rows]) for rows in (np.ones_like(positive), positive, ~positive)]
    missing = one_class(int(positive.sum()), int((~positive).sum())) if positive.all() or not positive.any() else ""
    no_class = sample.nothing(missing)
    precision, flattered = (no_class, "") if missing else sample.average_precision()
    if threshold is None:
        found = (sample.nothing("no threshold was given"),) * 4
    else:
        called = score >= _threshold(threshold)
        found = (
            sample.share(called, positive, (positive, positive), "no positives"),
            sample.share(~called, ~positive, (~positive, ~positive), "no negatives"),
            sample.share(positive, called, (~positive, positive), "no image is called positive"),
            sample.share(~positive, ~called, (positive, ~positive), "every image is called positive"),
        )
    return WeightedEvaluation(
        population=sample.population,
        n_images=len(score),
        n_positive=int(positive.sum()),
        worth=worth[0],
        worth_positive=worth[1],
        worth_negative=worth[2],
        prevalence=sample.share(positive, np.ones_like(positive), (~positive, positive), "no image is known"),
        auroc=no_class if missing else sample.area(),
        average_precision=precision,
        sensitivity=found[0],
        specificity=found[1],
        ppv=found[2],
        npv=found[3],
        cautions=_cautions(sample, worth, flattered),
    )


def stratum_numbers(strata: ArrayLike | pd.DataFrame) -> tuple[NDArray[np.int64], list[Any]]:
    """Returns strata as whole numbers, and their names in the order of these numbers.

    Args:
        strata: Shape (n,), or a table of n rows whose columns together name the stratum.

    Returns:
        Shape (n,), 0, 1, ... in the order of the names as text, and the names: values, or tuples of them.

    Raises:
        ValueError: If there is none, or one is missing.
    """
    if not isinstance(strata, pd.DataFrame) and np.ndim(strata) != 1:
        raise ValueError(f"strata have shape {np.shape(strata)}; one for each image was expected.")
    table = (
        strata if isinstance(strata, pd.DataFrame) else pd.DataFrame({"stratum": pd.Series(list(np.asarray(strata)))})
    )
    if not len(table):
        raise ValueError("strata are empty; every image needs its stratum.")
    missing = int(table.isna().any(axis=1).sum())
    if missing:
        raise ValueError(f"{missing} of {len(table)} images have no stratum; name one, such as 'unknown', for each.")
    columns = [column.tolist() for _, column in table.items()]
    values = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    names = sorted(set(values), key=str)
    place = {name: number for number, name in enumerate(names)}
    return np.array([place[value] for value in values], dtype=np.int64), names


def _share(value: Any, name: Any) -> float:
    share = checks.probability(value, f"share of {name}")
    if share == 0:
        raise ValueError(f"the share of {name} is 0; leave its images out, since they are no part of the population.")
    return share


def _threshold(threshold: float) -> float:
    try:
        value = float(threshold)
    except (TypeError, ValueError) as error:
        raise ValueError(f"threshold={threshold!r} is not a number on the scale of the scores.") from error
    if math.isnan(value):
        raise ValueError("threshold is NaN; give a number on the scale of the scores.")
    return value


def _weights(weights: ArrayLike, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    weight = checks.numbers(weights, "weights")
    if weight.shape != kept.shape:
        raise ValueError(f"weights have shape {weight.shape}, expected {kept.shape}: one weight for each image.")
    broken = ~(np.isfinite(weight) & (weight > 0))
    if broken.any():
        raise ValueError(
            f"{int(broken.sum())} of {len(weight)} weights are not above 0, first {weight[broken][0]:g}; a weight is 1 "
            "over the probability of being sampled. Leave out images that stand for nothing."
        )
    # Only ratios matter; with mean 1 nothing under- or overflows.
    return weight[kept] / weight[kept].mean() if kept.any() else weight[kept]


class _Sample(NamedTuple):
    """Clean images with their weights, and what is said of them all."""

    positive: NDArray[np.bool_]
    score: NDArray[np.float64]
    weight: NDArray[np.float64]
    owner: NDArray[np.int64]
    strata: NDArray[np.int64] | None
    names: list[Any]
    population: str
    unit: str
    confidence: float

    def nothing(self, reason: str) -> Estimate:
        method = f"weighted to {self.population}"
        return Estimate.not_estimable(reason, n=len(self.score), confidence=self.confidence, method=method)

    def how(self, text: str, rows: NDArray[np.bool_]) -> str:
        """Returns the method of a number that rests on some of the images."""
        worth = weighted_kish(self.weight[rows], self.owner[rows])
        n_patients = count_patients(self.owner[rows])
        basis = f"{int(rows.sum())} images" + ("" if self.unit == "images" else f" of {n_patients} patients")
        strata = "" if self.strata is None else f" in {len(self.names)} strata"
        words = f"weighted to {self.population}; {text}; {basis}{strata}, worth {worth:.1f} of equal weight"
        return words + approximate(worth, self.unit)

    def spread(self, found: Influence, domains: Sequence[NDArray[np.bool_]], *, small_sample: bool = True) -> Spread:
        """Returns the variance of a statistic; without strata its domains are what the sampling is taken to fix."""
        strata = domains[0].astype(np.int64) if self.strata is None else self.strata
        return spread(self.weight * found.of_images, self.owner, strata, domains, small_sample=small_sample)

    def lone_stratum(self, found: Influence) -> str:
        """Returns which stratum with one patient leaves a statistic without a variance."""
        if self.strata is None:
            return "only one patient contributes to it, who says nothing about how patients differ"
        for number, name in enumerate(self.names):
            rows = self.strata == number
            if np.abs(found.of_images[rows]).any() and count_patients(self.owner[rows]) < 2:
                return f"the stratum {name} has one patient only, so its variance is unknown; join strata"
        return "a stratum has one patient only"

    def share(
        self,
        hits: NDArray[np.bool_],
        among: NDArray[np.bool_],
        unseen: tuple[NDArray[np.bool_], NDArray[np.bool_]],
        empty: str,
    ) -> Estimate:
        """Returns a share of images; `unseen` are images like the one that lacks where all are hits, or none is."""
        if not among.any():
            return self.nothing(empty)
        found, rows = weighted_share(hits, among, self.weight), among
        n, worth = int(rows.sum()), weighted_kish(self.weight[rows], self.owner[rows])
        variance = self.spread(found, (among,), small_sample=False).variance
        if not 0 < found.value < 1:
            effective = self._alike(rows, unseen[0 if found.value else 1], worth)
            low, high = clopper_pearson(found.value * effective, effective, self.confidence)
            text = f"Clopper-Pearson, no image differs: they amount to {effective:.1f} that would"
        elif math.isnan(variance):
            return self.nothing(self.lone_stratum(found))
        elif variance <= 1e-24:
            low = high = found.value
            text = "fixed by the shares of the strata"
        else:
            low, high, effective = share_limits(found.value, variance, n, worth, self.confidence)
            text = f"Clopper-Pearson at the effective sample size {effective:.1f} (Korn & Graubard 1998)"
        return Estimate(found.value, low, high, self.confidence, n, self.how(text, rows))

    def _alike(self, rows: NDArray[np.bool_], others: NDArray[np.bool_], worth: float) -> float:
        """Returns how many images of the weight of one that would differ the images of a share amount to."""
        if not others.any():
            return worth
        heavy = heaviness(self.weight[others], self.owner[others])
        return max(1e-6, min(worth, float(self.weight[rows].sum()) / heavy))

    def area(self) -> Estimate:
        found = weighted_auc(self.positive, self.score, self.weight)
        classes = (self.positive, ~self.positive)
        variance, parts = self.spread(found, classes)
        if math.isnan(variance) and self.strata is not None:
            return self.nothing(self.lone_stratum(found))
        worths = [weighted_kish(self.weight[rows], self.owner[rows]) for rows in classes]
        patients = [count_patients(self.owner[rows]) for rows in classes]
        sizes = []
        for rows, worth, m, part in zip(classes, worths, patients, parts, strict=True):
            # The variance of as many independent images drawn from the population itself, over that of these.
            drawn = float(self.weight[rows] @ found.of_images[rows] ** 2) * float(self.weight[rows].mean())
            sizes.append(int(rows.sum()) * min(1.0, drawn * m / (m - 1) / part) if part > 0 else worth)
        few = min(worths) < NORMAL_FROM and not math.isnan(variance)
        low, high, text = auc_limits(
            found.value, variance, (patients[0], patients[1]), self.confidence,
            sizes=(max(1.0, sizes[0]), max(1.0, sizes[1])), worth=min(worths),
            degrees=satterthwaite(parts, worths) if few else None, unit=self.unit,
            because="because the variance is zero or undefined",
        )  # fmt: skip
        how = self.how(f"{text}, linearised with weights", np.ones_like(self.positive))
        return Estimate(found.value, low, high, self.confidence, len(self.score), how)

    def average_precision(self) -> tuple[Estimate, str]:
        """Returns the average precision, and a caution where few negatives score as high as positives do."""
        from scipy import special

        # In an order of its own, so that a draw belongs to a patient and not to the position of a row.
        order, owner = np.arange(len(self.score)), self.owner
        if self.unit == "images":
            order, owner = np.lexsort((self.weight, self.positive, self.score)), order
        strata = (self.positive.astype(np.int64) if self.strata is None else self.strata)[order]
        images = self.positive[order], self.score[order], self.weight[order]
        worth = min(weighted_kish(self.weight[rows], self.owner[rows]) for rows in (self.positive, ~self.positive))
        if min(count_patients(self.owner[rows]) for rows in (self.positive, ~self.positive)) < 2:
            return self.nothing("a class comes from one patient, who says nothing about how patients differ"), ""
        value = weighted_average_precision(*images)
        drawn = special.logit(np.clip(average_precision_draws(*images, owner, strata), 1e-9, 1 - 1e-9))
        middle, tail = float(np.median(drawn)), (1 - self.confidence) / 2
        wider = student_quantile(self.confidence, max(worth - 1, 1.0)) / normal_quantile(self.confidence)
        low, high = special.expit(middle + wider * (np.quantile(drawn, [tail, 1 - tail]) - middle))
        text = f"Bayesian bootstrap with gaps between negatives, 2000 draws around {special.expit(middle):.3f}, seed 0"
        method = self.how(f"{text}, prevalence taken as given", np.ones_like(self.positive))
        n = len(self.score)
        found = Estimate(value, min(float(low), value), max(float(high), value), self.confidence, n, method)
        if special.logit(min(value, 1 - 1e-9)) <= np.quantile(drawn, 0.9):
            return found, ""
        return found, (
            f"Few negatives score as high as positives, and each stands for many: the average precision of {value:.3f} "
            f"is flattered; values around {special.expit(middle):.3f} are more likely."
        )


def _cautions(sample: _Sample, worth: list[float], flattered: str) -> tuple[str, ...]:
    made = [f"Numbers speak of {sample.population}, as far as the weights are right; no test on these images can tell."]
    n_patients = count_patients(sample.owner)
    if worth[0] < 0.5 * n_patients:
        made.append(
            f"The weights differ so much that {n_patients} {sample.unit} are worth {worth[0]:.1f} of equal weight."
        )
    return tuple(made + [flattered] * bool(flattered))
