"""Comparing modalities by what several readers make of them: multi-reader multi-case (MRMC) analysis.

What varies, and by which formulas, is in `obuchowski_rockette`; here it becomes estimates, tests and cautions.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.evaluation.readers.figures_of_merit import Figure, Figures, check_figure, figures_with_covariance
from chexkeras.evaluation.readers.obuchowski_rockette import NOTHING, ROLES, ContrastSpread, OrhModel
from chexkeras.evaluation.readers.reader_study import PARTLY, ReaderStudy, Readings, design_of
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval
from chexkeras.evaluation.uncertainty.limits import auc_limits, clopper_pearson, holm, logit_limits
from chexkeras.evaluation.uncertainty.worth import approximate, kish, student_p_value, student_quantile
from chexkeras.results import Estimate
from chexkeras.results.reader_study import (
    ModalityDifference,
    ModalityMean,
    MrmcResult,
    OverallTest,
    ReaderDifference,
    ReaderFigure,
    VarianceComponents,
)

_FEW_PATIENTS = 20
_FEW_READERS = 3
_NORMAL_FROM = 30
"""What the patients of the rarer class must be worth for a variance of theirs alone to count as known."""
_NEAR = 0.9
"""From here on to 1 symmetric intervals of a mean cover too little: 87 % instead of 95 % around .96, by simulation."""


def mrmc(
    study: ReaderStudy,
    figure: str | Figure = "auroc",
    *,
    threshold: float | None = None,
    covariance: str = "delong",
    readers: str = "random",
    images: str = "random",
    confidence: float = 0.95,
) -> MrmcResult:
    """Analyses a reader study: the readers' mean in each modality, and how the modalities differ.

    With readers and images random, which regulators ask for, a result holds for other readers and patients like these.
    With readers fixed intervals are normal, or by Student's t where the rarer class is worth fewer than 30 patients.

    Args:
        study: The ratings of one finding; every reader read in every modality.
        figure: "auroc" (the empirical area under the ROC curve), "sensitivity", "specificity", or a function
            ``figure(labels, ratings)`` of arrays (labels 1.0 or 0.0) that returns a number, larger being better.
        threshold: For sensitivity and specificity: a rating of at least this much calls an image positive.
        covariance: "delong" (with several images of a patient Obuchowski's), "unbiased" (for one image a patient), or
            "jackknife" (leaves out one patient after the other; the only one for a function).
        readers: "random", or "fixed" for a result that holds for these readers only. One reader is always fixed.
        images: "random", or "fixed" for a result that holds for these images only.
        confidence: Coverage, in (0, 1).

    Returns:
        Means and differences with intervals, tests and variance components; differences are first minus second in the
        order of names, `MrmcResult.difference` turns them round. What cannot be estimated is not, with the reason.

    Raises:
        TypeError: If `study` is no ReaderStudy.
        ValueError: If the study has several findings, readers and images are both fixed, or an argument is unknown or
            does not fit the others.

    Source:
        Obuchowski & Rockette, Communications in Statistics - Simulation and Computation 24, 1995; Hillis, Statistics in
        Medicine 26, 2007 (degrees of freedom); Hillis, Statistics in Medicine 33, 2014 (single modalities, fixed
        readers or images, patients nested in modalities); Box, Annals of Mathematical Statistics 25, 1954 (degrees of
        freedom of the overall test where only some modalities share patients).

    Example:
        >>> from chexkeras.evaluation.readers.roe_metz import simulate_reader_study
        >>> study = simulate_reader_study({"aided": 0.90, "unaided": 0.75}, readers=6, images=(60, 60), seed=1)
        >>> print(mrmc(study).verdict("aided", "unaided").verdict)
        better
    """
    if not isinstance(study, ReaderStudy):
        raise TypeError(f"study is a {type(study).__name__}; a ReaderStudy was expected: ReaderStudy.of(table).")
    name = check_figure(figure, threshold, covariance)
    for role, value in (("readers", readers), ("images", images)):
        checks.one_of(value, ROLES, role)
    checks.probability(confidence, "confidence", open_interval=True)
    if readers == images == "fixed":
        raise ValueError(
            "readers and images are both fixed, so nothing is left that varies; let one of them be random."
        )
    finding, n_readers = study.only_finding(), len(study.readers)
    if n_readers == 1:
        if images == "fixed":
            raise ValueError("one reader on fixed images leaves nothing that varies; let images be random.")
        readers = "fixed"
    readings = study.readings()
    figures = figures_with_covariance(readings, figure, threshold, covariance)
    analysis = _Analysis(
        readings, study.readers, figures, figure, threshold, covariance, readers, images, confidence
    )  # fmt: skip
    means = analysis.means()
    return MrmcResult(
        finding=finding, figure=name, design=analysis.design, readers=readers, images=images, covariance=covariance,
        confidence=confidence, n_readers=n_readers, n_patients=analysis.n_patients(readings),
        figures=analysis.figures_of_readers(), means=means, differences=analysis.differences(),
        reader_differences=analysis.reader_differences(), overall=analysis.overall(),
        components=analysis.components(), cautions=(*study.cautions, *analysis.cautions(means)),
    )  # fmt: skip


def mrmc_all(
    study: ReaderStudy,
    figure: str | Figure = "auroc",
    *,
    threshold: float | None = None,
    covariance: str = "delong",
    readers: str = "random",
    images: str = "random",
    confidence: float = 0.95,
) -> tuple[MrmcResult, ...]:
    """Analyses every finding of a reader study, with Holm's correction over all comparisons made together.

    Args:
        study: The ratings; every reader read in every modality for every finding.
        figure: "auroc" (the empirical area under the ROC curve), "sensitivity", "specificity", or a function
            ``figure(labels, ratings)`` of arrays (labels 1.0 or 0.0) that returns a number, larger being better.
        threshold: For sensitivity and specificity: a rating of at least this much calls an image positive.
        covariance: "delong" (with several images of a patient Obuchowski's), "unbiased" (for one image a patient), or
            "jackknife" (leaves out one patient after the other; the only one for a function).
        readers: "random", or "fixed" for results that hold for these readers only. One reader is always fixed.
        images: "random", or "fixed" for results that hold for these images only.
        confidence: Coverage of each interval, in (0, 1); intervals are not adjusted.

    Returns:
        One result for each finding, in the order of names. `p_adjusted` of their differences counts all pairs of all
        findings, that of their overall tests all findings.

    Raises:
        TypeError: If `study` is no ReaderStudy.
        ValueError: If readers and images are both fixed, or an argument is unknown or does not fit the others.

    Source:
        Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    if not isinstance(study, ReaderStudy):
        raise TypeError(f"study is a {type(study).__name__}; a ReaderStudy was expected: ReaderStudy.of(table).")
    results = [
        mrmc(study.of_finding(finding), figure, threshold=threshold, covariance=covariance, readers=readers,
             images=images, confidence=confidence)
        for finding in study.findings
    ]  # fmt: skip
    pairs = iter(holm(pair.p_value for result in results for pair in result.differences))
    tests = iter(holm(result.overall.p_value for result in results if result.overall is not None))
    return tuple(
        replace(
            result,
            differences=tuple(replace(pair, p_adjusted=next(pairs)) for pair in result.differences),
            overall=None if result.overall is None else replace(result.overall, p_adjusted=next(tests)),
        )
        for result in results
    )


@dataclass(frozen=True)
class _Analysis:
    """A study with its figures: makes the parts of an `MrmcResult`."""

    readings: tuple[Readings, ...]
    names: tuple[str, ...]
    found: Figures
    figure: str | Figure
    threshold: float | None
    covariance: str
    readers: str
    images: str
    confidence: float

    @property
    def design(self) -> str:
        return design_of(self.readings)

    @property
    def model(self) -> OrhModel:
        # Where images are fixed, only readers vary, and they do so alike for all pairs.
        pooled = self.design != PARTLY or self.images == "fixed"
        return OrhModel.of(self.found, readers=self.readers, images=self.images, pooled=pooled)

    @property
    def shares(self) -> NDArray[np.bool_]:
        patients = [part.patient for part in self.readings]
        return np.array([[np.isin(one, other).any() for other in patients] for one in patients])

    @staticmethod
    def n_patients(parts: Sequence[Readings]) -> int:
        return len(np.unique(np.concatenate([part.patient for part in parts])))

    def figures_of_readers(self) -> tuple[ReaderFigure, ...]:
        return tuple(
            ReaderFigure(reader, part.modality, self._of_reader(number, row))
            for number, part in enumerate(self.readings)
            for row, reader in enumerate(self.names)
        )

    def _of_reader(self, number: int, row: int) -> Estimate:
        part, n = self.readings[number], len(self.readings[number].positive)
        if self.found.reason:
            return Estimate.not_estimable(self.found.reason, n=n, confidence=self.confidence)
        ratings = part.ratings[row]
        if self.figure == "auroc":
            return auc_interval(part.positive, ratings, clusters=part.patient, confidence=self.confidence)
        if not callable(self.figure):
            among = part.positive if self.figure == "sensitivity" else ~part.positive
            right = (ratings >= (self.threshold or 0.0)) == part.positive
            return clustered_proportion_interval(right[among], part.patient[among], confidence=self.confidence)
        place = number * len(self.names) + row
        error, patients = math.sqrt(self.found.covariance[place, place]), self.n_patients([part])
        half = student_quantile(self.confidence, patients - 1) * error
        value = float(self.found.values[number, row])
        return Estimate(value, value - half, value + half, self.confidence, n, f"jackknife of {patients} patients, t")

    def means(self) -> tuple[ModalityMean, ...]:
        made = []
        for number, part in enumerate(self.readings):
            counts = len(part.positive), int(part.positive.sum()), self.n_patients([part])
            if self.found.reason:
                estimate = Estimate.not_estimable(self.found.reason, n=counts[2], confidence=self.confidence)
                made.append(ModalityMean(part.modality, estimate, estimate, *(math.nan,) * 4, *counts))
                continue
            spread = self._spread(np.eye(len(self.readings))[number], [part], alone=True)
            estimate = self._mean(number, spread, counts[2])
            numbers = math.sqrt(max(spread.variance, 0.0)), _or_nan(spread.degrees), spread.readers, spread.images
            made.append(ModalityMean(part.modality, estimate, self._on_logits(estimate, spread), *numbers, *counts))
        return tuple(made)

    def _on_logits(self, estimate: Estimate, spread: ContrastSpread) -> Estimate:
        if callable(self.figure):
            reason = "only figures between 0 and 1 have a logit"
            return Estimate.not_estimable(reason, n=estimate.n, confidence=self.confidence)
        if len(self.names) == 1 or not spread.variance > NOTHING:
            return estimate
        error = math.sqrt(spread.variance)
        low, high = logit_limits(estimate.value, error, self.confidence, degrees=spread.degrees)
        return replace(estimate, low=low, high=high, method=f"{estimate.method}; on the logit scale")

    def _mean(self, number: int, spread: ContrastSpread, n_patients: int) -> Estimate:
        value = float(self.found.values[number].mean())
        if len(self.names) == 1:
            return self._of_reader(number, 0)
        if spread.variance > NOTHING:
            return self._estimate(value, spread, [self.readings[number]], (0.0, 1.0))
        if callable(self.figure):
            reason = "the readers do not differ, and no patient changes their figures"
            return Estimate.not_estimable(reason, n=n_patients, confidence=self.confidence)
        part, because = self.readings[number], "because neither readers nor patients make a difference"
        patients = [len(np.unique(part.patient[part.positive == label])) for label in (True, False)]
        if self.figure == "auroc":
            sizes = (patients[0], patients[1])
            low, high, method = auc_limits(value, 0.0, sizes, self.confidence, because=because)
        else:
            size = patients[self.figure == "specificity"]
            low, high = clopper_pearson(value * size, size, self.confidence)
            method = f"Clopper-Pearson on {size} patients, {because}"
        return Estimate(value, low, high, self.confidence, n_patients, method)

    def _estimate(
        self, value: float, spread: ContrastSpread, parts: Sequence[Readings], bounds: tuple[float, float]
    ) -> Estimate:
        half = student_quantile(self.confidence, spread.degrees) * math.sqrt(spread.variance)
        low, high = value - half, value + half
        if not callable(self.figure):
            low, high = max(low, bounds[0]), min(high, bounds[1])
        n_patients = self.n_patients(parts)
        method = f"Obuchowski-Rockette-Hillis, readers {self.readers}, images {self.images}, "
        method += f"{self.covariance} covariance, " if self.images == "random" else ""
        method += f"{_distribution(spread.degrees)}; {len(self.names)} readers, {n_patients} patients"
        method += approximate(min(self._worth(part)[0] for part in parts)) if self.images == "random" else ""
        return Estimate(value, low, high, self.confidence, n_patients, method)

    def _spread(
        self, weights: NDArray[np.float64], parts: Sequence[Readings], *, alone: bool = False
    ) -> ContrastSpread:
        """Returns the spread of a contrast; where readers are fixed, few patients leave it uncertain."""
        spread = self.model.spread(weights, alone=alone)
        return spread._replace(degrees=self._degrees(parts)) if self.readers == "fixed" else spread

    def _degrees(self, parts: Sequence[Readings]) -> float:
        """Returns the degrees of freedom of a variance that rests on patients alone."""
        worth = min(self._worth(part)[0] for part in parts)
        return math.inf if worth >= _NORMAL_FROM else max(worth - 1, 1.0)

    def _worth(self, part: Readings) -> tuple[float, str]:
        """Returns what the patients of the rarer class that counts are worth, and which class that is."""
        labels = {"sensitivity": (True,), "specificity": (False,)}.get(str(self.figure), (True, False))
        worths = ((kish(part.patient[part.positive == label]), "positive" if label else "negative") for label in labels)
        return min(worths)

    def differences(self) -> tuple[ModalityDifference, ...]:
        made, shares = [], self.shares
        for i, j in itertools.combinations(range(len(self.readings)), 2):
            parts = [self.readings[i], self.readings[j]]
            names = parts[0].modality, parts[1].modality
            same = np.array_equal(np.unique(parts[0].patient), np.unique(parts[1].patient))
            patients = (
                ("the same patients" if same else "some of the patients") if shares[i, j] else "no patient in common"
            )
            weights = np.eye(len(self.readings))[i] - np.eye(len(self.readings))[j]
            spread = None if self.found.reason else self._spread(weights, parts)
            value = float((weights @ self.found.values).mean())
            components = self._pair_components(i, j)
            if spread is None or not spread.variance > NOTHING:
                reason = self.found.reason or f"the means differ by {value:.3g}, but without any estimated variance"
                nothing = Estimate.not_estimable(reason, n=self.n_patients(parts), confidence=self.confidence)
                made.append(ModalityDifference(*names, nothing, *(math.nan,) * 5, patients, components))
                continue
            error = math.sqrt(spread.variance)
            estimate = self._estimate(value, spread, parts, (-1.0, 1.0))
            p_value = student_p_value(value / error, spread.degrees)
            made.append(
                ModalityDifference(
                    *names,
                    estimate,
                    error,
                    _or_nan(spread.degrees),
                    value / error,
                    p_value,
                    p_value,
                    patients,
                    components,
                )
            )
        adjusted = holm(pair.p_value for pair in made)
        return tuple(replace(pair, p_adjusted=p_value) for pair, p_value in zip(made, adjusted, strict=True))

    def reader_differences(self) -> tuple[ReaderDifference, ...]:
        made, n_readers = [], len(self.names)
        for i, j in itertools.combinations(range(len(self.readings)), 2):
            names = self.readings[i].modality, self.readings[j].modality
            n_patients = self.n_patients([self.readings[i], self.readings[j]])
            for row, reader in enumerate(self.names):
                value = float(self.found.values[i, row] - self.found.values[j, row])
                one, other = i * n_readers + row, j * n_readers + row
                block = self.found.covariance[np.ix_([one, other], [one, other])]
                variance = float(block[0, 0] + block[1, 1] - 2 * block[0, 1])
                if self.found.reason or not variance > NOTHING:
                    reason = self.found.reason or "no patient changes the difference"
                    nothing = Estimate.not_estimable(reason, n=n_patients, confidence=self.confidence)
                    made.append(ReaderDifference(reader, *names, nothing, math.nan, math.nan))
                    continue
                error = math.sqrt(variance)
                degrees = self._degrees([self.readings[i], self.readings[j]])
                half = student_quantile(self.confidence, degrees) * error
                low, high = value - half, value + half
                if not callable(self.figure):
                    low, high = max(low, -1.0), min(high, 1.0)
                method = f"this reader on other patients, {self.covariance} covariance, {_distribution(degrees)}; "
                method += f"{n_patients} patients"
                estimate = Estimate(value, low, high, self.confidence, n_patients, method)
                made.append(ReaderDifference(reader, *names, estimate, error, student_p_value(value / error, degrees)))
        return tuple(made)

    def overall(self) -> OverallTest | None:
        from scipy import special

        if len(self.readings) == 1:
            return None
        if self.found.reason:
            return OverallTest("chi-square" if self.readers == "fixed" else "F", *(math.nan,) * 5)
        test, degrees = self.model.overall(), self._degrees(self.readings)
        if self.readers == "fixed" and not math.isinf(degrees):
            freedom = test.numerator_degrees
            p_value = float(special.fdtrc(freedom, degrees, test.value / freedom))
            return OverallTest("F", test.value / freedom, freedom, degrees, p_value, p_value)
        return replace(test, denominator_degrees=_or_nan(test.denominator_degrees))

    def components(self) -> VarianceComponents:
        return self._components(self.model, self.shares)

    def _pair_components(self, i: int, j: int) -> VarianceComponents:
        if self.design != PARTLY:
            return self.components()
        pair = np.ix_([i, j], [i, j])
        model = replace(
            self.model, values=self.found.values[[i, j]], same=self.model.same[pair], between=self.model.between[pair]
        )
        return self._components(model, self.shares[pair])

    def _components(self, model: OrhModel, shares: NDArray[np.bool_]) -> VarianceComponents:
        if self.images == "fixed" or self.found.reason:
            return VarianceComponents(*(math.nan,) * 6)
        found = model.components(shares)
        # Not with max, which would make nothing of what is not known.
        return replace(found, **{name: 0.0 for name in _READERS if getattr(found, name) < 0})

    def cautions(self, means: Sequence[ModalityMean]) -> list[str]:
        made, n_readers = self._near_the_end(means), len(self.names)
        if self.readers == "fixed":
            which = "this one reader" if n_readers == 1 else f"these {n_readers} readers"
            made.append(f"The results hold for {which} only, not for others.")
        elif n_readers <= _FEW_READERS:
            made.append(
                f"{n_readers} readers say little of readers in general: intervals are wide, and tests at the 5 % level "
                "may err in up to 8 % of studies."
            )
        if self.images == "fixed":
            made.append("The results hold for these images only, not for other patients.")
        elif not self.found.reason:
            for part in self.readings:
                worth, what = self._worth(part)
                if worth < _FEW_PATIENTS:
                    # Hillis' degrees of freedom take the variance over patients as known.
                    covers = (
                        ", and that of the readers' mean covers about 87 to 93 %" if self.readers == "random" else ""
                    )
                    made.append(
                        f"The {what} patients of {part.modality} are worth {worth:.3g}: intervals are approximate"
                        f"{covers}."
                    )
            made += self._negative()
        return made

    def _near_the_end(self, means: Sequence[ModalityMean]) -> list[str]:
        """Returns a caution for symmetric intervals near 1, which cover less than they say."""
        near = [mean for mean in means if len(self.names) > 1 and abs(mean.estimate.value - 0.5) > _NEAR - 0.5]
        if callable(self.figure) or not near:
            return []
        told = (f"{mean.logit_interval.low:.3f} to {mean.logit_interval.high:.3f} in {mean.modality}" for mean in near)
        return [
            "Means near 0 or 1 have intervals that cover less than they say; on the logit scale they are "
            f"{', '.join(told)}."
        ]

    def _negative(self) -> list[str]:
        found, made = self.model.components(self.shares), []
        for name, words in _READERS.items():
            value = getattr(found, name)
            if value < 0:
                made.append(f"The variance {words} was estimated as {value:.2g} and is given as 0.")
        for pair in itertools.combinations(range(len(self.readings)), 2):
            weights = np.eye(len(self.readings))[pair[0]] - np.eye(len(self.readings))[pair[1]]
            if self.model.spread(weights).images < 0:
                made.append(
                    "Two readers agree no more in one modality than across two (Cov2 - Cov3 is negative), which counts "
                    "as 0: differences are taken to vary by readers alone."
                )
                break
        return made


_READERS = {"reader": "between readers", "modality_reader": "between readers of what they gain by a modality"}


def _or_nan(degrees: float) -> float:
    return math.nan if math.isinf(degrees) else degrees


def _distribution(degrees: float) -> str:
    return "normal" if math.isinf(degrees) else f"t with {degrees:.1f} degrees of freedom"
