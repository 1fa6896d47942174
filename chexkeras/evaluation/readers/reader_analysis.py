"""From figures of several readers to estimates, tests and cautions.

Whatever the figures are made of, ratings of whole images or marks on them: here is what is said of their means, of
differences between modalities, and of each reader. What varies, and by which formulas, is in `obuchowski_rockette`.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chexkeras.evaluation.readers.figures_of_merit import Figures
from chexkeras.evaluation.readers.obuchowski_rockette import NOTHING, ContrastSpread, OrhModel
from chexkeras.evaluation.readers.reader_study import PARTLY, ModalityReadings, design_of
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


class Merit(NamedTuple):
    """The figure of merit of an analysis: its name, its range, and what is known of one reader alone.

    Attributes:
        name: For example "AUROC".
        kind: "area" and "share" lie between 0 and 1; "other" may be any number.
        classes: The labels of the images that it is made of: both, or those of sensitivity or specificity.
        of_reader: The estimate of one reader, by the numbers of modality and reader.
    """

    name: str
    kind: str
    classes: tuple[bool, ...]
    of_reader: Callable[[int, int], Estimate]

    @property
    def bounded(self) -> bool:
        """Whether it lies between 0 and 1."""
        return self.kind != "other"


@dataclass(frozen=True)
class Analysis:
    """Figures of several readers with what they vary by: makes the parts of an `MrmcResult`.

    Attributes:
        readings: What all readers saw, modality by modality.
        names: The readers' names.
        found: The figures with their covariances.
        merit: What the figures are.
        covariance: How covariances were estimated.
        readers: "random" or "fixed"; one reader is fixed.
        images: "random" or "fixed".
        confidence: Coverage of the intervals, in (0, 1).
    """

    readings: tuple[ModalityReadings, ...]
    names: tuple[str, ...]
    found: Figures
    merit: Merit
    covariance: str
    readers: str
    images: str
    confidence: float

    def result(self, finding: str, cautions: Sequence[str]) -> MrmcResult:
        """Returns everything that the analysis says.

        Args:
            finding: The finding; empty where it has no name.
            cautions: What the study itself must have said beside the numbers.
        """
        means = self._means()
        return MrmcResult(
            finding=finding, figure=self.merit.name, design=self._design, readers=self.readers, images=self.images,
            covariance=self.covariance, confidence=self.confidence, n_readers=len(self.names),
            n_patients=self._n_patients(self.readings), figures=self._figures_of_readers(), means=means,
            differences=self._differences(), reader_differences=self._reader_differences(), overall=self._overall(),
            components=self._components(), cautions=(*cautions, *self._cautions(means)),
        )  # fmt: skip

    @property
    def _design(self) -> str:
        return design_of(self.readings)

    @property
    def _model(self) -> OrhModel:
        # Where images are fixed, only readers vary, and they do so alike for all pairs.
        pooled = self._design != PARTLY or self.images == "fixed"
        return OrhModel.of(self.found, readers=self.readers, images=self.images, pooled=pooled)

    @property
    def _shares(self) -> NDArray[np.bool_]:
        patients = [part.patient for part in self.readings]
        return np.array([[np.isin(one, other).any() for other in patients] for one in patients])

    @staticmethod
    def _n_patients(parts: Sequence[ModalityReadings]) -> int:
        return len(np.unique(np.concatenate([part.patient for part in parts])))

    def _figures_of_readers(self) -> tuple[ReaderFigure, ...]:
        return tuple(
            ReaderFigure(reader, part.modality, self._of_reader(number, row))
            for number, part in enumerate(self.readings)
            for row, reader in enumerate(self.names)
        )

    def _of_reader(self, number: int, row: int) -> Estimate:
        n = len(self.readings[number].positive)
        if self.found.reason:
            return Estimate.not_estimable(self.found.reason, n=n, confidence=self.confidence)
        return self.merit.of_reader(number, row)

    def _means(self) -> tuple[ModalityMean, ...]:
        made = []
        for number, part in enumerate(self.readings):
            counts = len(part.positive), int(part.positive.sum()), self._n_patients([part])
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
        if not self.merit.bounded:
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
        if not self.merit.bounded:
            reason = "the readers do not differ, and no patient changes their figures"
            return Estimate.not_estimable(reason, n=n_patients, confidence=self.confidence)
        part, because = self.readings[number], "because neither readers nor patients make a difference"
        # A class that does not count by itself, as normal images where false marks on all count, is every patient.
        patients = [len(np.unique(part.patient[part.positive == label])) or n_patients for label in (True, False)]
        if self.merit.kind == "area":
            sizes = (patients[0], patients[1])
            low, high, method = auc_limits(value, 0.0, sizes, self.confidence, because=because)
        else:
            size = patients[not self.merit.classes[0]]
            low, high = clopper_pearson(value * size, size, self.confidence)
            method = f"Clopper-Pearson on {size} patients, {because}"
        return Estimate(value, low, high, self.confidence, n_patients, method)

    def _estimate(
        self, value: float, spread: ContrastSpread, parts: Sequence[ModalityReadings], bounds: tuple[float, float]
    ) -> Estimate:
        half = student_quantile(self.confidence, spread.degrees) * math.sqrt(spread.variance)
        low, high = value - half, value + half
        if self.merit.bounded:
            low, high = max(low, bounds[0]), min(high, bounds[1])
        n_patients = self._n_patients(parts)
        method = f"Obuchowski-Rockette-Hillis, readers {self.readers}, images {self.images}, "
        method += f"{self.covariance} covariance, " if self.images == "random" else ""
        method += f"{_distribution(spread.degrees)}; {len(self.names)} readers, {n_patients} patients"
        method += approximate(min(self._worth(part)[0] for part in parts)) if self.images == "random" else ""
        return Estimate(value, low, high, self.confidence, n_patients, method)

    def _spread(
        self, weights: NDArray[np.float64], parts: Sequence[ModalityReadings], *, alone: bool = False
    ) -> ContrastSpread:
        """Returns the spread of a contrast; where readers are fixed, few patients leave it uncertain."""
        spread = self._model.spread(weights, alone=alone)
        return spread._replace(degrees=self._degrees(parts)) if self.readers == "fixed" else spread

    def _degrees(self, parts: Sequence[ModalityReadings]) -> float:
        """Returns the degrees of freedom of a variance that rests on patients alone."""
        worth = min(self._worth(part)[0] for part in parts)
        return math.inf if worth >= _NORMAL_FROM else max(worth - 1, 1.0)

    def _worth(self, part: ModalityReadings) -> tuple[float, str]:
        """Returns what the patients of the rarer class that counts are worth, and which class that is."""
        worths = (
            (kish(part.patient[part.positive == label]), "positive" if label else "negative")
            for label in self.merit.classes
        )
        return min(worths)

    def _differences(self) -> tuple[ModalityDifference, ...]:
        made, shares = [], self._shares
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
                nothing = Estimate.not_estimable(reason, n=self._n_patients(parts), confidence=self.confidence)
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

    def _reader_differences(self) -> tuple[ReaderDifference, ...]:
        made, n_readers = [], len(self.names)
        for i, j in itertools.combinations(range(len(self.readings)), 2):
            names = self.readings[i].modality, self.readings[j].modality
            n_patients = self._n_patients([self.readings[i], self.readings[j]])
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
                if self.merit.bounded:
                    low, high = max(low, -1.0), min(high, 1.0)
                method = f"this reader on other patients, {self.covariance} covariance, {_distribution(degrees)}; "
                method += f"{n_patients} patients"
                estimate = Estimate(value, low, high, self.confidence, n_patients, method)
                made.append(ReaderDifference(reader, *names, estimate, error, student_p_value(value / error, degrees)))
        return tuple(made)

    def _overall(self) -> OverallTest | None:
        from scipy import special

        if len(self.readings) == 1:
            return None
        if self.found.reason:
            return OverallTest("chi-square" if self.readers == "fixed" else "F", *(math.nan,) * 5)
        test, degrees = self._model.overall(), self._degrees(self.readings)
        if self.readers == "fixed" and not math.isinf(degrees):
            freedom = test.numerator_degrees
            p_value = float(special.fdtrc(freedom, degrees, test.value / freedom))
            return OverallTest("F", test.value / freedom, freedom, degrees, p_value, p_value)
        return replace(test, denominator_degrees=_or_nan(test.denominator_degrees))

    def _components(self) -> VarianceComponents:
        return self._components_of(self._model, self._shares)

    def _pair_components(self, i: int, j: int) -> VarianceComponents:
        if self._design != PARTLY:
            return self._components()
        pair = np.ix_([i, j], [i, j])
        model = replace(
            self._model,
            values=self.found.values[[i, j]],
            same=self._model.same[pair],
            between=self._model.between[pair],
        )
        return self._components_of(model, self._shares[pair])

    def _components_of(self, model: OrhModel, shares: NDArray[np.bool_]) -> VarianceComponents:
        if self.images == "fixed" or self.found.reason:
            return VarianceComponents(*(math.nan,) * 6)
        found = model.components(shares)
        # Not with max, which would make nothing of what is not known.
        return replace(found, **{name: 0.0 for name in _READERS if getattr(found, name) < 0})

    def _cautions(self, means: Sequence[ModalityMean]) -> list[str]:
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
        if not self.merit.bounded or not near:
            return []
        told = (f"{mean.logit_interval.low:.3f} to {mean.logit_interval.high:.3f} in {mean.modality}" for mean in near)
        return [
            "Means near 0 or 1 have intervals that cover less than they say; on the logit scale they are "
            f"{', '.join(told)}."
        ]

    def _negative(self) -> list[str]:
        found, made = self._model.components(self._shares), []
        for name, words in _READERS.items():
            value = getattr(found, name)
            if value < 0:
                made.append(f"The variance {words} was estimated as {value:.2g} and is given as 0.")
        for pair in itertools.combinations(range(len(self.readings)), 2):
            weights = np.eye(len(self.readings))[pair[0]] - np.eye(len(self.readings))[pair[1]]
            if self._model.spread(weights).images < 0:
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
