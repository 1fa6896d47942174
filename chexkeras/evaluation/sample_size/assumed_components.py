"""Variance components of a multi-reader study that no pilot study has measured.

Either from what is assumed of readers (how far apart they are, how their errors agree), or from the Roe-Metz model of
their ratings. A pilot study's own components are better than both; where there is none, plan with several assumptions
and take the largest study.
"""

import math

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.results import ReaderVarianceComponents

VAN_DYKE = (0.43, 0.43, 0.30)
"""Correlations of errors in Van Dyke's study, 5 readers, 114 cases, AUROC: of one reader in two modalities, of two
readers in one modality, of two readers in two modalities."""


@checked
def conjectured_components(
    standard_error: float,
    n_cases: int,
    *,
    reader_range: float,
    within_range: float,
    reader_correlation: float = 0.8,
    correlations: tuple[float, float, float] = VAN_DYKE,
) -> ReaderVarianceComponents:
    """Returns variance components from assumptions in the terms that readers are talked about in.

    The figure of merit may be any: an area under the ROC curve, a sensitivity, a specificity. A range over readers is
    taken as four standard deviations.

    Args:
        standard_error: Of one reader's figure in one modality with `n_cases` cases, above 0: of an area by
            `auc_standard_error`, of a sensitivity p the root of ``p (1 - p) / positives``.
        n_cases: Cases of all kinds that the standard error belongs to, at least 2.
        reader_range: The best reader's true figure minus the worst one's in one modality, in [0, 1].
        within_range: How far the figure of one reader ranges who reads the same cases again, in [0, 1]; it counts as a
            difference between readers, which more cases do not lessen.
        reader_correlation: Of readers' true figures in the two modalities, in [0, 1]; 0.8 where a good reader stays a
            good reader.
        correlations: Of the errors that the cases make: of one reader in two modalities, of two readers in one
            modality, of two readers in two modalities; each in [0, 1]. More readers help little where the second is
            much larger than the third.

    Returns:
        The components.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Obuchowski, American Journal of Roentgenology 175, 2000; Obuchowski & Rockette, Communications in Statistics -
        Simulation and Computation 24, 1995.

    Example:
        >>> assumed = conjectured_components(0.026, 200, reader_range=0.10, within_range=0.05)
        >>> round(assumed.treatment_reader, 6), round(assumed.error, 6)
        (0.000281, 0.000676)
    """
    error = _positive(standard_error, "standard_error") ** 2
    cases = checks.positive_int(n_cases, "n_cases", least=2)
    between = (checks.probability(reader_range, "reader_range") / 4) ** 2
    within = (checks.probability(within_range, "within_range") / 4) ** 2
    same = checks.probability(reader_correlation, "reader_correlation")
    if len(correlations) != 3:
        raise ValueError(f"correlations={correlations!r} must be three: same reader, same modality, neither.")
    shares = [checks.probability(share, "correlations") for share in correlations]
    if shares[0] == 1 or shares[0] + max(shares[1] - shares[2], 0) >= 1:
        raise ValueError(
            f"correlations={correlations!r} leave a difference without any variance; the first, and the second minus "
            "the third, must add up to less than 1."
        )
    return ReaderVarianceComponents(
        treatment_reader=between * (1 - same) + within,
        error=error,
        cov1=shares[0] * error,
        cov2=shares[1] * error,
        cov3=shares[2] * error,
        n_cases=cases,
        reader=between * same,
    )


@checked
def roe_metz_components(
    auc: float,
    n_positive: int,
    n_negative: int,
    *,
    readers: tuple[float, float] = (0.03, 0.03),
    cases: tuple[float, float, float] = (0.3, 0.3, 0.2),
) -> ReaderVarianceComponents:
    """Returns the variance components of areas under the ROC curve whose ratings follow the Roe-Metz model.

    A rating is the sum of independent normal effects: of the truth, the reader, modality x reader, the case, modality x
    case, reader x case, and a rest; the last four have variances that add up to 1. Both modalities have the same area,
    as under the null hypothesis. The components are those of the model itself, by bivariate normal probabilities, not
    of a simulation.

    Args:
        auc: Mean area of all readers, strictly between 0.5 and 1.
        n_positive: Positive cases, at least 1.
        n_negative: Negative cases, at least 1.
        readers: Variances of the reader and of modality x reader, each at least 0; by default those of Roe and Metz's
            readers who differ much.
        cases: Variances of the case, of modality x case and of reader x case, each at least 0, together below 1; by
            default those of Roe and Metz's highly correlated ratings.

    Returns:
        The components, for positives and negatives together.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Roe & Metz, Academic Radiology 4, 1997; Hillis, Statistics in Medicine 37, 2018 (how they belong together).

    Example:
        >>> assumed = roe_metz_components(0.855, 50, 50)
        >>> round(assumed.error, 5), round(assumed.cov1, 5), round(assumed.treatment_reader, 5)
        (0.00136, 0.00057, 0.00154)
    """
    area = checks.probability(auc, "auc", open_interval=True)
    if area <= 0.5:
        raise ValueError(f"auc={auc!r}: plan for an area under the ROC curve above 0.5, which is chance.")
    counts = checks.positive_int(n_positive, "n_positive"), checks.positive_int(n_negative, "n_negative")
    reader, modality_reader = _variances(readers, 2, "readers")
    case, modality_case, reader_case = _variances(cases, 3, "cases")
    if case + modality_case + reader_case >= 1:
        raise ValueError(f"cases={cases!r} must add up to less than 1; what is left is the variance of the rest.")
    # A positive rating minus a negative one has both their effects, so each variance counts twice.
    total = 2 * (reader + modality_reader + 1)

    def covariance(of_readers: float, of_cases: float) -> float:
        """Returns the covariance of two areas' errors, given the variances of effects that both ratings share."""
        both, one, none = (_both(area, (2 * of_readers + n * of_cases) / total) for n in (2, 1, 0))
        positives, negatives = counts
        pairs = both + (negatives - 1) * one + (positives - 1) * one + (1 - positives - negatives) * none
        return pairs / (positives * negatives)

    same_reader = _both(area, 2 * reader / total) - area**2
    same_both = _both(area, 2 * (reader + modality_reader) / total) - area**2
    return ReaderVarianceComponents(
        treatment_reader=same_both - same_reader,
        error=covariance(reader + modality_reader, 1.0),
        cov1=covariance(reader, case + reader_case),
        cov2=covariance(0.0, case + modality_case),
        cov3=covariance(0.0, case),
        n_cases=sum(counts),
        reader=same_reader,
    )


def _both(area: float, correlation: float) -> float:
    """Returns how often two normal differences with a correlation are both above 0, when each is so often as `area`."""
    from scipy import special

    distance = float(special.ndtri(area))
    return area - 2 * float(special.owens_t(distance, math.sqrt((1 - correlation) / (1 + correlation))))


def _variances(values: tuple[float, ...], number: int, name: str) -> tuple[float, ...]:
    if len(values) != number or not all(math.isfinite(value) and value >= 0 for value in values):
        raise ValueError(f"{name}={values!r} must be {number} variances, each at least 0.")
    return values


def _positive(value: float, name: str) -> float:
    if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
        raise ValueError(f"{name}={value!r} must be a number above 0.")
    return float(value)
