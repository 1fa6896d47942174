"""One statistic over several sites: the mean of sites, how far sites differ, and what a new site may show.

Sites differ in patients, scanners and labels, so the mean is taken with random effects: each site has a true value of
its own, drawn from a normal distribution on the scale of pooling (log odds for areas, sensitivities and specificities).
The interval of the mean says how sure the average site is; the prediction interval says what the next site may show.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.comparison.random_effects import ESTIMATORS, prediction_limits, random_effects
from chexkeras.evaluation.comparison.unpaired import refuse_shared_patients
from chexkeras.evaluation.scores import LabelledImages, Points, Scores, patient_numbers, points_by_finding
from chexkeras.evaluation.uncertainty.delong import auc_contributions
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval, size_behind
from chexkeras.evaluation.uncertainty.limits import normal_quantile, variance_floor
from chexkeras.evaluation.uncertainty.worth import Agreement, student_quantile
from chexkeras.plain import PlainTable
from chexkeras.results import Estimate, OperatingPoint
from chexkeras.results.record import Record

FEW_SITES = 5
"""Sites below which the spread between them is hardly known, and every interval over them approximate."""


class _Scale(NamedTuple):
    """A scale on which sites are averaged."""

    forward: Callable[[float], float]
    back: Callable[[float], float]
    least: float
    most: float


def _expit(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


SCALES: dict[str, _Scale] = {
    "logit": _Scale(lambda x: math.log(x / (1 - x)), _expit, 0.0, 1.0),
    "log": _Scale(math.log, math.exp, 0.0, math.inf),
    "identity": _Scale(lambda x: x, lambda x: x, -math.inf, math.inf),
}
"""Scales by name, each with its inverse and the ends that have no finite value on it."""


@dataclass(frozen=True)
class PooledSite(Record, nan=("weight", "scaled", "error")):
    """One site of a pooled statistic.

    Attributes:
        name: Of the site.
        estimate: As it is reported for the site alone.
        scaled: Its value on the scale of pooling; NaN where it is left out.
        error: Its standard error on the scale of pooling; NaN where it is left out.
        weight: Its share of the mean, in [0, 1]; NaN where it is left out.
    """

    name: str
    estimate: Estimate
    scaled: float
    error: float
    weight: float


@checked
@dataclass(frozen=True)
class PooledSites(Record, nan=("q", "q_p_value")):
    """One statistic over several sites.

    Attributes:
        statistic: For example "AUROC".
        finding: The finding; empty where none was named.
        scale: On which sites were averaged, "logit", "log" or "identity".
        sites: Each site, in the order given, those left out too.
        mean: Of the sites, with its interval.
        prediction: The same value with the interval in which the true value of a new site is expected, what is not
            known of the sites' spread included.
        prediction_higgins: The value with the interval that is commonly published for a new site, in which the spread
            of the sites is taken as known.
        tau_squared: Variance of the sites' true values on the scale of pooling.
        i_squared: Share of the sites' spread that chance alone does not explain, in [0, 1].
        q: Cochran's Q; NaN with fewer than two sites.
        q_degrees: Its degrees of freedom, sites - 1.
        q_p_value: That sites do not differ; NaN with fewer than two sites.
        cautions: What must stand beside the numbers.
    """

    statistic: str
    finding: str
    scale: str
    sites: tuple[PooledSite, ...]
    mean: Estimate
    prediction: Estimate
    prediction_higgins: Estimate
    tau_squared: Estimate
    i_squared: Estimate
    q: float
    q_degrees: int
    q_p_value: float
    cautions: tuple[str, ...] = ()

    @property
    def n_sites(self) -> int:
        """How many sites the mean rests on."""
        return sum(not math.isnan(site.scaled) for site in self.sites)

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each site, then the mean and the prediction, numbers with their intervals as text."""
        rows: list[dict[str, object]] = [
            {"site": site.name, self.statistic: str(site.estimate), "images": site.estimate.n, "weight": site.weight}
            for site in self.sites
        ]
        for name, estimate in (("mean of sites", self.mean), ("a new site", self.prediction)):
            rows.append({"site": name, self.statistic: str(estimate), "images": estimate.n, "weight": math.nan})
        return PlainTable(rows)

    def __str__(self) -> str:
        """Returns the mean, the prediction interval and how far sites differ as a sentence."""
        text = f"{self.statistic}, mean of {self.n_sites} site{'s' * (self.n_sites != 1)}: {self.mean}"
        if self.prediction.estimable:
            text += f"; a new site is expected between {self.prediction.low:.3f} and {self.prediction.high:.3f}"
        return text + (f"; I² {self.i_squared}" if self.i_squared.estimable else "")


@checked
def pool_sites(
    estimates: Mapping[str, Estimate],
    *,
    statistic: str = "AUROC",
    scale: str = "logit",
    estimator: str = "REML",
    confidence: float = 0.95,
) -> PooledSites:
    """Averages what several sites report, from their values and intervals.

    A site's standard error on the scale of pooling is the length of its interval there over twice the normal quantile.
    Exact intervals (Clopper-Pearson) are a little longer than that, so where scores are at hand, `pool_scores` is the
    better way. A value of exactly 0 or 1 has no log odds; 0.5 is then added to both counts of the binomial sample
    that would have the site's interval.

    The mean's interval is that of Hartung, Knapp, Sidik and Jonkman, by Student's t with one degree less than sites,
    in its modified form: sites that by chance agree too well do not narrow it, so it is never narrower than that of
    the fixed-effect mean. Two prediction intervals: `prediction` from all values of tau squared that the data allow,
    each as much as they allow it, and Higgins' common one, which takes tau squared as known, with Student's t at two
    degrees less than sites and the error of the mean above. The intervals of tau squared and I squared invert the Q
    statistic (Q-profile).

    Args:
        estimates: The statistic with its interval, by the site's name; sites that are not estimable are left out.
        statistic: What the numbers are, for the record, such as "AUROC", "sensitivity" or "calibration slope".
        scale: "logit" for what lies in (0, 1), "log" for ratios above 0, "identity" for slopes and differences.
        estimator: Of tau squared: "REML", "Paule-Mandel" or "DerSimonian-Laird".
        confidence: Coverage of all intervals, in (0, 1).

    Returns:
        The pooled statistic. With one site the mean is not estimable, because one site says nothing of how sites
        differ; a prediction needs three.

    Raises:
        TypeError: If an entry is not an `Estimate`.
        ValueError: If there is no site, an estimate lies off the scale or has an interval without length, or an
            argument is unknown.

    Source:
        Hartung & Knapp, Statistics in Medicine 20, 2001; Sidik & Jonkman, Statistics in Medicine 21, 2002; Röver, Knapp
        & Friede, BMC Medical Research Methodology 15:99, 2015 (modified form); Viechtbauer, Journal of Educational and
        Behavioral Statistics 30, 2005 (REML); Paule & Mandel, Journal of Research of the National Bureau of Standards
        87, 1982; DerSimonian & Laird, Controlled Clinical Trials 7, 1986; Viechtbauer, Statistics in Medicine 26, 2007
        (Q-profile); Higgins & Thompson, Statistics in Medicine 21, 2002 (I squared); Higgins, Thompson & Spiegelhalter,
        Journal of the Royal Statistical Society A 172, 2009, and Partlett & Riley, Statistics in Medicine 36, 2017
        (prediction with tau squared as known); Nagashima, Noma & Furukawa, Statistical Methods in Medical Research 28,
        2019 (from its confidence distribution).

    Example:
        >>> found = pool_sites({"A": Estimate(0.86, 0.82, 0.89), "B": Estimate(0.80, 0.75, 0.84),
        ...                     "C": Estimate(0.83, 0.77, 0.88), "D": Estimate(0.90, 0.87, 0.92)})
        >>> print(found.mean)
        0.852 (95 % CI 0.765-0.911)
    """
    checks.one_of(scale, SCALES, "scale")
    _check(estimator, confidence)
    if not isinstance(estimates, Mapping) or not estimates:
        raise ValueError("estimates must be a mapping of at least one site's name to its Estimate.")
    sites, cautions = [], []
    for name, estimate in estimates.items():
        if not isinstance(estimate, Estimate):
            raise TypeError(f"{name} is a {type(estimate).__name__}; an Estimate was expected.")
        if not estimate.estimable:
            sites.append(_left_out(str(name), estimate))
            continue
        scaled, error, added = _from_interval(str(name), estimate, scale)
        if added:
            cautions.append(f"{name}: {added}.")
        sites.append(PooledSite(str(name), estimate, scaled, error, math.nan))
    return _pooled(sites, (statistic, ""), scale, estimator, confidence, cautions)


@checked
def pool_scores(
    tables: Mapping[str, pd.DataFrame],
    *,
    points: Points | None = None,
    statistics: Sequence[str] = ("AUROC",),
    estimator: str = "REML",
    confidence: float = 0.95,
) -> tuple[PooledSites, ...]:
    """Averages areas, sensitivities and specificities over sites, from the scores of each site.

    Each site's variance is taken on the log odds directly: DeLong's, or Obuchowski's where patients have several
    images, for areas; the binomial one times the design effect of patients for rates, with 0.5 added to both counts of
    a site where one is 0. Then as in `pool_sites`.

    Args:
        tables: Long tables of scores (image_id, patient_id, finding, label, score), by the site's name; no patient is
            in two of them.
        points: Frozen operating points, at most one for each finding, used at all sites; None leaves sensitivity and
            specificity out.
        statistics: "AUROC", or empty for sensitivity and specificity alone.
        estimator: Of the variance between sites: "REML", "Paule-Mandel" or "DerSimonian-Laird".
        confidence: Coverage of all intervals, in (0, 1).

    Returns:
        One result for each finding and statistic; a site that lacks a finding or one of its classes is left out of
        that result and named with the reason.

    Raises:
        TypeError: If a table is not a pandas DataFrame.
        ValueError: If there is no table, a patient is in two of them, a point was chosen on one of these tables, or an
            argument is unknown.

    Source:
        See `pool_sites`; Stijnen, Hamza & Özdemir, Statistics in Medicine 29, 2010 (log odds of proportions and why 0.5
        is added).
    """
    _check(estimator, confidence)
    if not isinstance(tables, Mapping) or not tables:
        raise ValueError("tables must be a mapping of at least one site's name to its table of scores.")
    chosen = (statistics,) if isinstance(statistics, str) else tuple(statistics)
    for statistic in chosen:
        checks.one_of(statistic, ("AUROC",), "statistic")
    if not chosen and points is None:
        raise ValueError('there is nothing to pool: give statistics such as ("AUROC",) or operating points.')
    checked = {str(name): Scores.of(table) for name, table in tables.items()}
    refuse_shared_patients(checked)
    given = () if points is None else (points,) if isinstance(points, OperatingPoint) else tuple(points)
    frozen: dict[str, OperatingPoint] = {}
    for name, table in checked.items():
        frozen = points_by_finding(given, table, "pooling them", "pool other images", model=name)
    made: list[PooledSites] = []
    for finding in dict.fromkeys(name for table in checked.values() for name in table.findings):
        images = {name: table.of_finding(finding).arrays() for name, table in checked.items()}
        for statistic in (*chosen, *(("sensitivity", "specificity") if finding in frozen else ())):
            sites: list[PooledSite] = []
            cautions: list[str] = []
            for name, part in images.items():
                if statistic == "AUROC":
                    site, added = _area(name, part, confidence)
                else:
                    site, added = _rate(name, part, statistic, frozen[finding].threshold, confidence)
                sites.append(site)
                if added:
                    cautions.append(f"{name}: {added}.")
            made.append(_pooled(sites, (statistic, finding), "logit", estimator, confidence, cautions))
    return tuple(made)


def _check(estimator: str, confidence: float) -> None:
    checks.one_of(estimator, ESTIMATORS, "estimator")
    checks.probability(confidence, "confidence", open_interval=True)


def _from_interval(name: str, estimate: Estimate, scale: str) -> tuple[float, float, str]:
    """Returns a site's value and standard error on the scale of pooling, and what was added to have one."""
    to, z = SCALES[scale], normal_quantile(estimate.confidence)
    value, low, high = estimate.value, estimate.low, estimate.high
    if not to.least <= value <= to.most or not low <= value <= high or low == high:
        raise ValueError(
            f"{name}: {value:g} ({low:g} to {high:g}) cannot be pooled on the {scale} scale; the value must lie within "
            f"an interval of some length, and within {to.least:g} and {to.most:g}."
        )
    if to.least < value < to.most:
        ends = [(to.forward(end) if to.least < end < to.most else math.nan) for end in (low, high)]
        middle = to.forward(value)
        halves = [abs(end - middle) for end in ends if not math.isnan(end)]
        if not halves or sum(halves) == 0:
            raise ValueError(f"{name}: the interval {low:g} to {high:g} has no finite end on the {scale} scale.")
        return middle, sum(halves) / len(halves) / z, ""
    if scale != "logit":
        raise ValueError(f"{name}: a value of {value:g} has none on the {scale} scale.")
    size = size_behind(estimate, name)
    hits = 0.5 + (size if value == 1 else 0.0)
    misses = size + 1 - hits
    words = f"its value is {value:g}, so 0.5 was added to both counts of the {size:.1f} images its interval is worth"
    return math.log(hits / misses), math.sqrt(1 / hits + 1 / misses), words


def _area(name: str, images: LabelledImages, confidence: float) -> tuple[PooledSite, str]:
    if not len(images.positive):
        nothing = Estimate.not_estimable("no image has a known label", confidence=confidence)
        return _left_out(name, nothing), ""
    reported = auc_interval(images.positive, images.score, clusters=images.patient, confidence=confidence)
    if not reported.estimable:
        return _left_out(name, reported), ""
    owner = patient_numbers(images.patient, np.ones(len(images.positive), dtype=bool))
    group = np.arange(len(images.positive)) if owner is None else owner
    part = auc_contributions(images.positive, images.score, group, int(group.max()) + 1)
    # As in `auc_interval`, few patients do not make DeLong's variance much smaller than Hanley and McNeil's.
    floor = variance_floor(part.area, part.sizes, part.worth)
    variance = max(part.variance, floor) if part.variance > 0 else math.nan
    if math.isnan(variance) or not 0 < part.area < 1:
        scaled, error, added = _from_interval(name, reported, "logit")
        return PooledSite(name, reported, scaled, error, math.nan), added
    error = math.sqrt(variance) / (part.area * (1 - part.area))
    return PooledSite(name, reported, SCALES["logit"].forward(part.area), error, math.nan), ""


def _rate(
    name: str, images: LabelledImages, statistic: str, threshold: float, confidence: float
) -> tuple[PooledSite, str]:
    called = images.score >= threshold
    positive = statistic == "sensitivity"
    rows, right = (images.positive, called) if positive else (~images.positive, ~called)
    hits, patients = right[rows], images.patient[rows]
    empty = "no positives" if positive else "no negatives"
    reported = clustered_proportion_interval(hits, patients, confidence=confidence, empty=empty)
    if not reported.estimable:
        return _left_out(name, reported), ""
    owner = np.unique(patients.astype(str), return_inverse=True)[1]
    agreement = Agreement.of(hits - hits.mean(), owner)
    size = agreement.worth if hits.all() or not hits.any() else len(hits) / float(agreement.design_effect())
    counts = np.array([hits.mean(), 1 - hits.mean()]) * size
    added = ""
    if not counts.all():
        counts, added = counts + 0.5, "no error among its images, so 0.5 was added to both counts"
        added = added if hits.all() else "no image was called rightly, so 0.5 was added to both counts"
    scaled, error = math.log(counts[0] / counts[1]), math.sqrt((1 / counts).sum())
    return PooledSite(name, reported, scaled, error, math.nan), added


def _left_out(name: str, estimate: Estimate) -> PooledSite:
    return PooledSite(name, estimate, math.nan, math.nan, math.nan)


def _pooled(
    sites: list[PooledSite],
    what: tuple[str, str],
    scale: str,
    estimator: str,
    confidence: float,
    cautions: list[str],
) -> PooledSites:
    used = [site for site in sites if not math.isnan(site.scaled)]
    n, k = sum(site.estimate.n for site in used), len(used)
    cautions += [f"{site.name} is left out: {site.estimate.reason}." for site in sites if not site.estimate.estimable]
    if k < 2:
        reason = "no site is estimable" if not k else "one site says nothing of how sites differ"
        none = Estimate.not_estimable(reason, n=n, confidence=confidence)
        degrees, nan = max(0, k - 1), math.nan
        return PooledSites(*what, scale, tuple(sites), *(none,) * 5, nan, degrees, nan, tuple(cautions))
    fit = random_effects([site.scaled for site in used], [site.error for site in used], estimator, confidence)
    few = f"; {k} sites: interval approximate" if k < FEW_SITES else ""
    if few:
        cautions.append(f"{k} sites say little of how far sites differ; intervals over them are approximate.")
    how = f"{k} sites, random effects on the {scale} scale, tau² by {estimator}"
    by_profile, back = f"{how}, Q-profile interval{few}", SCALES[scale].back

    def on_scale(half: float, words: str) -> Estimate:
        limits = back(fit.mean - half), back(fit.mean + half)
        return Estimate(back(fit.mean), *limits, confidence, n, f"{how}, {words}{few}")

    half = student_quantile(confidence, k - 1) * fit.error
    mean = on_scale(half, f"Hartung-Knapp-Sidik-Jonkman interval (modified), t with {k - 1} degrees")
    if k < 3:
        reason = "two sites do not say where a third would lie; a prediction needs at least three"
        prediction = higgins = Estimate.not_estimable(reason, n=n, confidence=confidence)
    else:
        half = student_quantile(confidence, k - 2) * math.hypot(fit.error, math.sqrt(fit.tau_squared))
        higgins = on_scale(half, f"prediction interval with tau² as known (Higgins 2009), t with {k - 2} degrees")
        low, high = prediction_limits([site.scaled for site in used], [site.error for site in used], confidence)
        words = f"{how}, prediction interval from the confidence distribution of tau²{few}"
        prediction = Estimate(mean.value, back(low), back(high), confidence, n, words)
    tau_squared, i_squared = (
        Estimate(value, min(value, low), max(value, high), confidence, n, by_profile)
        for value, low, high in ((fit.tau_squared, *fit.tau_limits), tuple(map(fit.share_of, fit.all_tau)))
    )
    if not i_squared.high > 0:
        # The profile is empty: an interval of width 0 would read as certainty.
        reason = "the sites differ less than chance alone would make them, which says nothing of how far sites differ"
        i_squared = Estimate.not_estimable(reason, n=n, confidence=confidence, method=by_profile)
        tau_squared = replace(tau_squared, method=f"{by_profile}, which is empty here: {reason}")
    weight = {site.name: float(share) for site, share in zip(used, fit.weights, strict=True)}
    weighted = tuple(replace(site, weight=weight.get(site.name, math.nan)) for site in sites)
    return PooledSites(
        *what, scale, weighted, mean, prediction, higgins, tau_squared, i_squared, fit.q, k - 1, fit.q_p_value,
        tuple(cautions),
    )  # fmt: skip
