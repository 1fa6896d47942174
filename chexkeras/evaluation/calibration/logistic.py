"""Logistic recalibration: the shift, the slope or the line of log odds that labels ask of scores, and their errors.

Fits are by maximum likelihood without penalty. Scores are taken as log odds, so a score of exactly 0 or 1 must first be
drawn in: `CLIP` is where Keras clips probabilities in its losses, and near the last float32 below 1.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from chexkeras.evaluation.uncertainty.worth import Agreement

CLIP = 1e-7


def log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the log odds of probabilities, which are first drawn in to [`CLIP`, 1 - `CLIP`].

    Args:
        probabilities: Shape (n,), in [0, 1].

    Returns:
        Shape (n,), from about -16.1 to 16.1.
    """
    return special.logit(np.clip(probabilities, CLIP, 1 - CLIP))


def why_no_line(odds: NDArray[np.float64], positive: NDArray[np.bool_]) -> str:
    """Returns why no finite line fits best, or an empty text when one does.

    Args:
        odds: Shape (n,), log odds.
        positive: Shape (n,), with both classes.
    """
    if odds.min() == odds.max():
        return "all scores are equal"
    for word, upper, lower in (("below", positive, ~positive), ("above", ~positive, positive)):
        if odds[upper].min() >= odds[lower].max():
            return f"the classes are separated, no positive scores {word} a negative, so that no finite slope fits best"
    return ""


def fit_shift(odds: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Returns the number which, added to all log odds, makes the mean probability equal the share of positives.

    This is the intercept of a logistic regression with the log odds as offset. Its likelihood equation has one root,
    which bracketing finds where iterated least squares diverge, on scores of nearly 0 and 1.

    Args:
        odds: Shape (n,), finite log odds.
        positive: Shape (n,), with both classes.

    Returns:
        The shift.
    """
    from scipy import optimize

    n_positive = float(positive.sum())
    share = float(special.logit(n_positive / len(odds)))
    # At these ends every probability lies below, or above, the share wanted.
    low, high = share - float(odds.max()) - 1, share - float(odds.min()) + 1
    return float(optimize.brentq(lambda shift: special.expit(odds + shift).sum() - n_positive, low, high, xtol=1e-12))


def fit_line(odds: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Returns intercept and slope of the logistic regression of labels on log odds.

    Newton's method, each step halved until the likelihood does not fall, so that it cannot diverge.

    Args:
        odds: Shape (n,), log odds for which `why_no_line` has nothing to say.
        positive: Shape (n,), with both classes.

    Returns:
        Intercept and slope.
    """
    design, label = np.column_stack([np.ones(len(odds)), odds]), positive.astype(np.float64)

    def likelihood(line: NDArray[np.float64]) -> float:
        fitted = design @ line
        return float(label @ fitted - np.logaddexp(0, fitted).sum())

    line = np.array([special.logit(label.mean()), 0.0])
    best = likelihood(line)
    for _ in range(100):
        fitted = special.expit(design @ line)
        information = (design * (fitted * (1 - fitted))[:, np.newaxis]).T @ design
        step = np.linalg.solve(information, design.T @ (label - fitted))
        reached = likelihood(line + step)
        while reached < best - 1e-12 * abs(best) and np.abs(step).max() > 1e-12:
            step /= 2
            reached = likelihood(line + step)
        line, best = line + step, reached
        if np.abs(step).max() < 1e-10:
            break
    return float(line[0]), float(line[1])


def fit_slope(odds: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Returns the positive number which, multiplied with all log odds, fits best; its inverse is the temperature.

    Args:
        odds: Shape (n,), log odds.
        positive: Shape (n,), with both classes.

    Returns:
        The slope; 0 if the best is not positive, infinity if the sign of the log odds tells the classes apart.
    """
    from scipy import optimize

    label = positive.astype(np.float64)

    def gradient(slope: float) -> float:
        return float(odds @ (label - special.expit(slope * odds)))

    if gradient(0.0) <= 0:
        return 0.0
    if (odds[positive] >= 0).all() and (odds[~positive] <= 0).all():
        return math.inf
    high = 1.0
    while gradient(high) > 0:
        high *= 2
    return float(optimize.brentq(gradient, 0.0, high, xtol=1e-14))


def standard_errors(
    design: NDArray[np.float64],
    fitted: NDArray[np.float64],
    positive: NDArray[np.bool_],
    owner: NDArray[np.int64] | None,
) -> NDArray[np.float64]:
    """Returns the standard errors of logistic coefficients at their maximum likelihood.

    For independent images from the information matrix; where patients have several, from the sandwich with the sums of
    patients in it, but never less than for independent images, nor than the design effect of what images contribute to
    a coefficient says (`worth.Agreement`), since a few patients may agree by chance.

    Args:
        design: Shape (n, k), what the coefficients multiply.
        fitted: Shape (n,), probabilities.
        positive: Shape (n,), labels.
        owner: Shape (n,), patient numbers 0, 1, ..., at least two; None when images are independent.

    Returns:
        Shape (k,).

    Source:
        Liang & Zeger, Biometrika 73, 1986; small-sample factor as in Stata and statsmodels.
    """
    n, k = design.shape
    inverse = np.linalg.inv((design * (fitted * (1 - fitted))[:, np.newaxis]).T @ design)
    independent = np.diag(inverse)
    if owner is None:
        return np.sqrt(independent)
    n_patients = int(owner.max()) + 1
    contributions = (design * (positive - fitted)[:, np.newaxis]) @ inverse
    factor = n_patients / (n_patients - 1) * (n - 1) / (n - k)
    of_patients = [Agreement.of(column, owner) for column in contributions.T]
    sandwich = [factor * float(each.scatter * each.design_effect()) for each in of_patients]
    return np.sqrt(np.maximum(independent, sandwich))
