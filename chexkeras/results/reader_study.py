"""What a reader study has shown: readers, means, differences, and what they vary by."""

import html
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from chexkeras import checks, plain
from chexkeras.arguments import checked
from chexkeras.plain import PlainTable
from chexkeras.results.comparison import Comparison
from chexkeras.results.estimate import Estimate
from chexkeras.results.record import Record


@dataclass(frozen=True)
class ReaderFigure(Record):
    """What one reader achieved in one modality.

    Attributes:
        reader: The reader's name.
        modality: The modality's name.
        estimate: The figure; its interval takes the patients as drawn from many and the reader as given.
    """

    reader: str
    modality: str
    estimate: Estimate


@dataclass(frozen=True)
class ReaderDifference(Record, nan=("standard_error", "p_value")):
    """How one reader's figures differ between two modalities.

    Attributes:
        reader: The reader's name.
        first: The first modality.
        second: The second modality.
        difference: First minus second, with an interval for this reader on other patients: normal, or by Student's t
            where few patients make its error uncertain.
        standard_error: Of the difference.
        p_value: Two-sided, that this reader's figures are equal.
    """

    reader: str
    first: str
    second: str
    difference: Estimate
    standard_error: float
    p_value: float


@dataclass(frozen=True)
class ModalityMean(Record, nan=("standard_error", "degrees", "ms_reader", "cov2")):
    """The mean of the readers' figures in one modality, from the ratings of this modality alone.

    Attributes:
        modality: Its name.
        estimate: The mean with its interval, symmetric as published by Hillis.
        logit_interval: The mean with the same standard error and degrees of freedom, but the interval computed on the
            logit scale, which covers better near 1; not estimable where the figure is not one between 0 and 1.
        standard_error: Of the mean.
        degrees: Of freedom of the interval; NaN where it is a normal one.
        ms_reader: Mean square between readers; NaN for one reader.
        cov2: Mean covariance of two readers' figures; NaN for one reader, or where images are fixed.
        n_images: Images that each reader read.
        n_positive: Positive ones among them.
        n_patients: Patients they come from.
    """

    modality: str
    estimate: Estimate
    logit_interval: Estimate
    standard_error: float
    degrees: float
    ms_reader: float
    cov2: float
    n_images: int
    n_positive: int
    n_patients: int


@dataclass(frozen=True)
class VarianceComponents(Record, nan=("reader", "modality_reader", "error", "cov1", "cov2", "cov3")):
    """What readers' figures vary by, in the model of Obuchowski and Rockette; NaN where a design has no such part.

    Attributes:
        reader: Variance between readers that is the same in all modalities.
        modality_reader: Variance between readers of what they gain by a modality.
        error: Variance of one reader's figure in one modality over samples of patients.
        cov1: Covariance of one reader's figures in two modalities that share patients.
        cov2: Covariance of two readers' figures in one modality.
        cov3: Covariance of two readers' figures in two modalities that share patients.
    """

    reader: float
    modality_reader: float
    error: float
    cov1: float
    cov2: float
    cov3: float


@dataclass(frozen=True)
class ModalityDifference(Record, nan=("standard_error", "degrees", "statistic", "p_value", "p_adjusted")):
    """How the mean figures of two modalities differ.

    Attributes:
        first: The first modality.
        second: The second modality.
        difference: First minus second, with its interval.
        standard_error: Of the difference.
        degrees: Of freedom; NaN where interval and test are normal.
        statistic: Difference over standard error: t, or z where interval and test are normal.
        p_value: Two-sided, that the modalities are equal.
        p_adjusted: After Holm's correction over all pairs tested together.
        patients: Which patients the two share: "the same patients", "no patient in common" or "some of the patients".
        components: What the difference varies by.
    """

    first: str
    second: str
    difference: Estimate
    standard_error: float
    degrees: float
    statistic: float
    p_value: float
    p_adjusted: float
    patients: str
    components: VarianceComponents


@dataclass(frozen=True)
class OverallTest(Record, nan=("value", "numerator_degrees", "denominator_degrees", "p_value", "p_adjusted")):
    """The test that all modalities are equal.

    Attributes:
        name: "F", or "chi-square" where readers are fixed and patients are not few.
        value: Of the statistic; NaN where it cannot be computed.
        numerator_degrees: Degrees of freedom of the modalities.
        denominator_degrees: Degrees of freedom of the denominator; NaN for a chi-square.
        p_value: That all modalities are equal.
        p_adjusted: After Holm's correction where several findings were analysed together.
    """

    name: str
    value: float
    numerator_degrees: float
    denominator_degrees: float
    p_value: float
    p_adjusted: float

    def __str__(self) -> str:
        """Returns, for example, ``F(1, 15.1) = 4.48, p = 0.051``."""
        within = f"{self.numerator_degrees:.4g}"
        if self.name == "F":
            within += f", {self.denominator_degrees:.1f}"
        return f"{self.name}({within}) = {self.value:.2f}, {_p(self.p_value)}"


@checked
@dataclass(frozen=True)
class MrmcResult(Record):
    """A reader study analysed for one finding; JSON both ways, a table in a notebook.

    Attributes:
        finding: The finding; empty where the study has one without a name.
        figure: What was measured, for example "AUROC".
        design: "fully crossed", "nested in modality", "partly nested" or "single modality".
        readers: "random" where the result holds for readers like these, "fixed" where it holds for these readers.
        images: "random" where the result holds for patients like these, "fixed" where it holds for these images.
        covariance: How covariances were estimated: "delong", "unbiased" or "jackknife".
        confidence: Coverage the intervals claim, in (0, 1).
        n_readers: Readers.
        n_patients: Patients in all modalities together.
        figures: Each reader in each modality.
        means: Each modality.
        differences: Each pair of modalities.
        reader_differences: Each reader for each pair of modalities.
        overall: The test that all modalities are equal; None for a single modality.
        components: What the figures vary by.
        cautions: Sentences a reader must see beside the numbers.
    """

    finding: str
    figure: str
    design: str
    readers: str
    images: str
    covariance: str
    confidence: float
    n_readers: int
    n_patients: int
    figures: tuple[ReaderFigure, ...]
    means: tuple[ModalityMean, ...]
    differences: tuple[ModalityDifference, ...]
    reader_differences: tuple[ReaderDifference, ...]
    overall: OverallTest | None
    components: VarianceComponents
    cautions: tuple[str, ...] = ()

    def mean(self, modality: str) -> ModalityMean:
        """Returns the mean of the readers in one modality.

        Args:
            modality: Its name.

        Raises:
            ValueError: If there is none of this name.
        """
        checks.one_of(modality, [entry.modality for entry in self.means], "modality")
        return next(entry for entry in self.means if entry.modality == modality)

    def difference(self, first: str, second: str) -> ModalityDifference:
        """Returns how two modalities differ, first minus second, whichever way round they were analysed.

        Args:
            first: Name of the first modality.
            second: Name of the second modality.

        Raises:
            ValueError: If there is no such modality, or both are the same.
        """
        for name, given in (("first", first), ("second", second)):
            checks.one_of(given, [entry.modality for entry in self.means], name)
        if first == second:
            raise ValueError(f"first and second are both {first!r}; name two modalities.")
        for entry in self.differences:
            if (entry.first, entry.second) == (first, second):
                return entry
        found = next(entry for entry in self.differences if (entry.first, entry.second) == (second, first))
        return replace(
            found, first=first, second=second, statistic=-found.statistic, difference=turned(found.difference)
        )

    def verdict(self, first: str, second: str, *, margin: float | None = None) -> Comparison:
        """Returns whether the first modality is better than the second, and whether it is not inferior to it.

        "better" and "worse" need a p-value, after Holm's correction over the pairs, below 1 - confidence, and an
        interval on that side of 0. Not inferior means that the whole interval of first minus second lies above
        ``-margin``; the margin must have been stated before the study was read.

        Args:
            first: The modality that is claimed to be better or no worse, such as that with the device.
            second: The modality it is compared with.
            margin: How much worse than the second the first may be and still count as no worse, in (0, 1); None asks
                for superiority alone.

        Raises:
            ValueError: If there is no such modality, or the margin is out of range.
        """
        if margin is not None:
            checks.probability(margin, "margin", open_interval=True)
        found = self.difference(first, second)
        measured = Comparison.measured(
            (first, second), self.finding, self.figure, (self.mean(first).estimate, self.mean(second).estimate),
            found.difference, found.p_value, margin=margin,
        )  # fmt: skip
        interval, told = found.difference, "not distinguishable"
        if not interval.estimable:
            told = "not estimable"
        elif found.p_adjusted < 1 - self.confidence and (interval.low > 0 or interval.high < 0):
            told = "better" if interval.low > 0 else "worse"
        shown = None if margin is None else bool(interval.low > -margin)
        return replace(measured, p_adjusted=found.p_adjusted, verdict=told, non_inferior=shown)

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each reader and modality, each mean, each reader's difference and each difference.

        Columns: what ("reader", "mean", "mean, logit interval", "reader difference" or "difference"), modality (for a
        difference "first − second"), reader (empty for means and differences), value, low, high, standard_error,
        degrees, p_value, p_adjusted; NaN where there is none.
        """
        names = ("what", "modality", "reader", "value", "low", "high",
                 "standard_error", "degrees", "p_value", "p_adjusted")  # fmt: skip
        nan = float("nan")
        rows: list[tuple[object, ...]] = [
            ("reader", entry.modality, entry.reader, *_limits(entry.estimate), nan, nan, nan, nan)
            for entry in self.figures
        ]
        rows += [
            ("mean", entry.modality, "", *_limits(entry.estimate), entry.standard_error, entry.degrees, nan, nan)
            for entry in self.means
        ]
        rows += [
            ("mean, logit interval", entry.modality, "", *_limits(entry.logit_interval), nan, nan, nan, nan)
            for entry in self.means
        ]
        rows += [
            ("reader difference", f"{each.first} − {each.second}", each.reader, *_limits(each.difference),
             each.standard_error, nan, each.p_value, nan)
            for each in self.reader_differences
        ]  # fmt: skip
        rows += [
            ("difference", f"{pair.first} − {pair.second}", "", *_limits(pair.difference), pair.standard_error,
             pair.degrees, pair.p_value, pair.p_adjusted)
            for pair in self.differences
        ]  # fmt: skip
        return PlainTable(rows, columns=list(names))

    def __str__(self) -> str:
        """Returns the means, the differences with their intervals, the overall test and the cautions, line by line."""
        lines = [self._heading(), *(f"  {entry.modality}: {entry.estimate}" for entry in self.means)]
        for pair in self.differences:
            kind = "z" if pair.degrees != pair.degrees else f"t({pair.degrees:.1f})"
            told = f", SE {pair.standard_error:.4f}, {kind} = {pair.statistic:.2f}, {_p(pair.p_value)}"
            if len(self.differences) > 1:
                told += f" ({_p(pair.p_adjusted)} after Holm)"
            lines.append(
                f"  {pair.first} − {pair.second}: {pair.difference}{told if pair.difference.estimable else ''}"
            )
        if self.overall is not None and self.overall.value == self.overall.value:
            lines.append(f"  all modalities equal: {self.overall}")
        lines += [f"  Caution: {caution}" for caution in self.cautions]
        return "\n".join(plain.wrapped(line.strip(), line[: len(line) - len(line.lstrip())], "    ") for line in lines)

    def _heading(self) -> str:
        about = f"{self.finding}: {self.figure}" if self.finding else self.figure
        many, of_patients = ("" if count == 1 else "s" for count in (self.n_readers, self.n_patients))
        return (
            f"{about} of {self.n_readers} reader{many} ({self.readers}) and {self.n_patients:,} patient{of_patients} "
            f"({self.images}), {self.design}"
        )

    def _repr_html_(self) -> str:
        columns = dict.fromkeys(entry.modality for entry in self.means)
        of_readers = {reader: {} for reader in dict.fromkeys(entry.reader for entry in self.figures)}  # type: ignore[var-annotated]
        for entry in self.figures:
            of_readers[entry.reader][entry.modality] = str(entry.estimate)
        of_readers["mean of the readers"] = {entry.modality: str(entry.estimate) for entry in self.means}
        tables = [pd.DataFrame.from_dict(of_readers, orient="index", columns=list(columns)).to_html()]
        if self.differences:
            rows = [
                {"difference": f"{pair.first} − {pair.second}", self.figure: str(pair.difference),
                 "standard error": f"{pair.standard_error:.4f}", "p": _p(pair.p_value),
                 "p after Holm": _p(pair.p_adjusted), "rests on": pair.patients}
                for pair in self.differences
            ]  # fmt: skip
            tables.append(pd.DataFrame(rows).to_html(index=False))
        test = f"<p>All modalities equal: {html.escape(str(self.overall))}.</p>" if self.overall is not None else ""
        notes = "".join(f"<p><strong>Caution:</strong> {html.escape(caution)}</p>" for caution in self.cautions)
        return f"<p>{html.escape(self._heading())}.</p>{''.join(tables)}{test}{notes}"

    @classmethod
    def load(cls, path: str | Path) -> "MrmcResult":
        """Reads a result written by `save`.

        Args:
            path: The JSON file.
        """
        return cls.read(path)


def turned(difference: Estimate) -> Estimate:
    """Returns a difference the other way round.

    Args:
        difference: First minus second.
    """
    # Plus zero: nothing has no sign to lose.
    value, low, high = (0.0 - limit for limit in (difference.value, difference.high, difference.low))
    return replace(difference, value=value, low=low, high=high)


def _limits(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _p(p_value: float) -> str:
    if p_value != p_value:
        return "no p-value"
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
