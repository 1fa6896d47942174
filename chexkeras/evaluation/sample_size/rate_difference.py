"""How many cases show that one sensitivity (or specificity) is not below another by more than a margin.

Either both are measured on the same positives, for example by one reader without and with a device, or each on
positives of its own. Cases are independent cases of the class that the rate is about; images of one patient are not,
`design_effect` says what they are worth.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.sample_size.rates import BoundSize
from chexkeras.evaluation.uncertainty.limits import normal_quantile

_LARGEST = 100_000
# Power goes up and down by less than half a percentage point with more cases than this.
_MANY = 5_000
# Counts further than this many standard deviations from their mean, and thrice as many counts, are left out.
_DEVIATIONS = 6


@checked
def power_paired_rates(
    n: int, new: float, old: float, *, margin: float, discordance: float | None = None, confidence: float = 0.95
) -> float:
    """Returns the exact probability that a rate is shown not to be inferior to another one of the same cases.

    That is, that the lower limit of new minus old, which `compare` gives two models on the same images, lies above
    ``-margin``: Tango's limit, and beside 0, so for superiority, the one of McNemar's exact test.

    Args:
        n: Independent cases, each called under both conditions.
        new: The true rate of the new, in [0, 1].
        old: The true rate of the old, in [0, 1].
        margin: How much lower the new may be and still count as not inferior, in [0, 1); 0 asks for superiority.
        discordance: Share of cases that one calls rightly and the other wrongly, at least ``|new - old|`` and at most
            what the rates allow. None where the calls of a case are independent, which is more than most pairs of
            readings have, so on the safe side.
        confidence: Coverage of the two-sided interval, in (0, 1); 0.95 is a one-sided test at 0.025.

    Returns:
        The power, in [0, 1]; where the new lies as far below the old as the margin, the error of the test.

    Raises:
        ValueError: If an argument is out of range, or the discordance does not fit the rates.

    Source:
        Tango, Statistics in Medicine 17, 1998.

    Example:
        >>> round(power_paired_rates(300, 0.88, 0.88, margin=0.05, discordance=0.08), 3)
        0.824
    """
    cases = checks.positive_int(n, "n")
    cells, shift = _cells(new, old, margin, discordance)
    return _paired_power(cases, cells, shift, normal_quantile(_confidence(confidence)))


@checked
def sample_size_paired_rates(
    new: float,
    old: float,
    power: float = 0.8,
    *,
    margin: float,
    discordance: float | None = None,
    confidence: float = 0.95,
) -> BoundSize:
    """Returns how many cases show with a wanted power that a rate is not inferior to another one of the same cases.

    Args:
        new: The true rate of the new, in [0, 1].
        old: The true rate of the old, in [0, 1].
        power: The probability wanted, strictly between 0 and 1.
        margin: How much lower the new may be and still count as not inferior, in [0, 1); 0 asks for superiority.
        discordance: Share of cases that one calls rightly and the other wrongly, at least ``|new - old|`` and at most
            what the rates allow; None where the calls of a case are independent, which is on the safe side.
        confidence: Coverage of Tango's two-sided interval, in (0, 1); 0.95 is a one-sided test at 0.025.

    Returns:
        The smallest number from which on the exact power stays, and the smallest that has it at all.

    Raises:
        ValueError: If an argument is out of range, the discordance does not fit the rates, or the new lies below the
            old by the margin or more.

    Source:
        Tango, Statistics in Medicine 17, 1998.

    Example:
        >>> plan = sample_size_paired_rates(0.88, 0.88, margin=0.05, discordance=0.08)
        >>> plan.lasting, plan.smallest
        (283, 281)
    """
    wanted = checks.probability(power, "power", open_interval=True)
    cells, shift = _cells(new, old, margin, discordance)
    gain = _gain(new, old, shift)
    z = normal_quantile(_confidence(confidence))
    null = float(_null_variance(np.array(cells[0]), np.array(cells[1]), 1.0, shift))
    true = sum(cells) - (cells[0] - cells[1]) ** 2
    disagree = f"{sum(cells):.3g} of cases called differently" + (
        ", as independent calls would be" * (discordance is None)
    )
    purpose = (
        f"power {wanted:g} that the two-sided {confidence * 100:g} % interval (Tango) of the difference of two rates "
        f"of the same cases lies above {-shift or 0:g} when they are {new:g} and {old:g}, {disagree}"
    )
    guess = _normal_size(null, true, gain, z, wanted)
    spread = 1 / math.sqrt(max(guess * sum(cells), 1.0))
    return _lasting(lambda n: _paired_power(n, cells, shift, z), guess, spread, wanted, purpose)


@checked
def power_unpaired_rates(
    n_new: int, n_old: int, new: float, old: float, *, margin: float, confidence: float = 0.95
) -> float:
    """Returns the exact probability that a rate is shown not to be inferior to another one of other cases.

    That is, that the lower limit of Newcombe's interval of new minus old lies above ``-margin``.

    Args:
        n_new: Independent cases called under the new condition.
        n_old: Other independent cases, called under the old condition.
        new: The true rate of the new, in [0, 1].
        old: The true rate of the old, in [0, 1].
        margin: How much lower the new may be and still count as not inferior, in [0, 1); 0 asks for superiority.
        confidence: Coverage of the two-sided interval, in (0, 1); 0.95 is a one-sided test at 0.025.

    Returns:
        The power, in [0, 1]; where the new lies as far below the old as the margin, the error of the test.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Newcombe, Statistics in Medicine 17, 1998 (method 10: limits of both rates by Wilson, added as squares).

    Example:
        >>> round(power_unpaired_rates(600, 600, 0.88, 0.88, margin=0.05), 3)
        0.757
    """
    sizes = checks.positive_int(n_new, "n_new"), checks.positive_int(n_old, "n_old")
    rates, shift = _rates(new, old, margin)
    return _unpaired_power(sizes, rates, shift, normal_quantile(_confidence(confidence)))


@checked
def sample_size_unpaired_rates(
    new: float,
    old: float,
    power: float = 0.8,
    *,
    margin: float,
    old_per_new: float = 1.0,
    confidence: float = 0.95,
) -> BoundSize:
    """Returns how many cases show with a wanted power that a rate is not inferior to another one of other cases.

    Args:
        new: The true rate of the new, in [0, 1].
        old: The true rate of the old, in [0, 1].
        power: The probability wanted, strictly between 0 and 1.
        margin: How much lower the new may be and still count as not inferior, in [0, 1); 0 asks for superiority.
        old_per_new: How many cases of the old go with each of the new, above 0; rounded up to whole cases.
        confidence: Coverage of Newcombe's two-sided interval, in (0, 1); 0.95 is a one-sided test at 0.025.

    Returns:
        Cases of the new: the smallest number from which on the exact power stays, and the smallest that has it at all;
        `old_per_new` times as many of the old come on top.

    Raises:
        ValueError: If an argument is out of range, or the new lies below the old by the margin or more.

    Source:
        Newcombe, Statistics in Medicine 17, 1998 (method 10).

    Example:
        >>> sample_size_unpaired_rates(0.88, 0.88, margin=0.05).lasting
        668
    """
    wanted = checks.probability(power, "power", open_interval=True)
    rates, shift = _rates(new, old, margin)
    gain = _gain(new, old, shift)
    ratio = float(old_per_new)
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(f"old_per_new={old_per_new!r} must be a number above 0, such as 1.")
    z = normal_quantile(_confidence(confidence))
    variance = new * (1 - new) + old * (1 - old) / ratio
    others = "as many" if ratio == 1 else f"{ratio:g} times as many"
    purpose = (
        f"power {wanted:g} that the two-sided {confidence * 100:g} % interval (Newcombe) of the difference of two "
        f"rates lies above {-shift or 0:g} when they are {new:g} and {old:g}, with {others} other cases for the second"
    )

    def power_at(n: int) -> float:
        return _unpaired_power((n, math.ceil(ratio * n - 1e-9 * n)), rates, shift, z)

    guess = _normal_size(variance, variance, gain, z, wanted)
    return _lasting(power_at, guess, 1 / math.sqrt(max(guess * variance, 1.0)), wanted, purpose)


def _confidence(confidence: float) -> float:
    return checks.probability(confidence, "confidence", open_interval=True)


def _rates(new: float, old: float, margin: float) -> tuple[tuple[float, float], float]:
    rates = checks.probability(new, "new"), checks.probability(old, "old")
    shift = checks.probability(margin, "margin")
    if shift == 1:
        raise ValueError("margin=1 calls everything not inferior; give less, for example 0.05.")
    return rates, shift


def _cells(new: float, old: float, margin: float, discordance: float | None) -> tuple[tuple[float, float], float]:
    """Returns the shares that only the new and only the old calls rightly, and the margin."""
    (first, second), shift = _rates(new, old, margin)
    if discordance is None:
        return (first * (1 - second), second * (1 - first)), shift
    share = checks.probability(discordance, "discordance")
    least, most = abs(first - second), min(first + second, 2 - first - second)
    if not least - 1e-12 <= share <= most + 1e-12:
        raise ValueError(
            f"discordance={share:g} does not fit rates of {first:g} and {second:g}: they differ on at least {least:g} "
            f"and at most {most:g} of cases."
        )
    return (max(share + first - second, 0.0) / 2, max(share - first + second, 0.0) / 2), shift


def _gain(new: float, old: float, margin: float) -> float:
    gain = new - old + margin
    if gain <= 1e-12:
        raise ValueError(
            f"new={new:g} lies below old={old:g} by the margin of {margin:g} or more; no number of cases shows what is "
            "not so."
        )
    return gain


def _paired_power(n: int, cells: tuple[float, float], margin: float, z: float) -> float:
    from scipy import special

    only_new, only_old = (_likely(n, share) for share in cells)
    first, second = only_new[:, None], only_old[None, :]
    above = first - second + n * margin
    # Without discordant cases and margin nothing varies, and nothing is shown.
    shown = (first + second <= n) & (above > z * np.sqrt(_null_variance(first, second, float(n), margin)))
    shown &= ~_held_back(first, second, n, margin, z)
    # The trinomial probability on the log scale; what both agree on is looked up by how many are left.
    left = np.maximum(n - np.arange(only_new[0] + only_old[0], only_new[-1] + only_old[-1] + 1), 0.0)
    agreed = special.xlogy(left, max(1 - sum(cells), 0.0)) - special.gammaln(left + 1)
    of_new, of_old = (
        special.xlogy(count, share) - special.gammaln(count + 1)
        for count, share in zip((only_new, only_old), cells, strict=True)
    )
    row, column = np.nonzero(shown)
    log = of_new[row] + of_old[column] + agreed[row + column] + special.gammaln(n + 1.0)
    return min(1.0, float(np.exp(log).sum()))


def _held_back(
    only_new: NDArray[np.float64], only_old: NDArray[np.float64], n: int, margin: float, z: float
) -> NDArray[np.bool_]:
    """Returns where McNemar's exact test holds 0 though Tango's interval excludes it, and its limit lies too low.

    There the limit is that of Clopper and Pearson for the discordant cases, see `paired_tests.mcnemar`.
    """
    from scipy import special

    discordant, tail = only_new + only_old, float(special.ndtr(-z))
    excluded = (only_new - only_old) ** 2 > z * z * discordant
    # The limit lies at or below -margin where a share of the discordant cases that makes this difference is held.
    share = np.maximum(0.5 - margin * n / (2 * np.maximum(discordant, 1)), 0.0)
    held = [special.betainc(np.maximum(only_new, 1), only_old + 1, chance) >= tail for chance in (0.5, share)]
    return np.asarray((only_new > only_old) & excluded & held[0] & held[1])


def _null_variance(only_new: ArrayLike, only_old: ArrayLike, n: float, margin: float) -> NDArray[np.float64]:
    """Returns Tango's variance of ``only_new - only_old`` were the difference of the rates exactly minus the margin."""
    first, second = np.asarray(only_new, dtype=np.float64), np.asarray(only_old, dtype=np.float64)
    b = -first - second - (2 * n - first + second) * margin
    c = second * margin * (1 + margin)
    share = (np.sqrt(np.maximum(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    return np.asarray(np.maximum(n * (2 * share - margin * (1 + margin)), 0.0))


def _unpaired_power(sizes: tuple[int, int], rates: tuple[float, float], margin: float, z: float) -> float:
    from scipy import special

    counts = [_likely(n, rate) for n, rate in zip(sizes, rates, strict=True)]
    chances, shares, lows, highs = [], [], [], []
    for n, rate, count in zip(sizes, rates, counts, strict=True):
        log = special.gammaln(n + 1.0) - special.gammaln(count + 1.0) - special.gammaln(n - count + 1.0)
        chances.append(np.exp(log + special.xlogy(count, rate) + special.xlog1py(n - count, -rate)))
        share = count / n
        centre, half = share + z * z / (2 * n), z * np.sqrt((share * (1 - share) + z * z / (4 * n)) / n)
        shares.append(share)
        lows.append((centre - half) / (1 + z * z / n))
        highs.append((centre + half) / (1 + z * z / n))
    difference = shares[0][:, None] - shares[1][None, :]
    below = np.hypot((shares[0] - lows[0])[:, None], (highs[1] - shares[1])[None, :])
    return min(1.0, float(chances[0] @ (difference - below > -margin) @ chances[1]))


def _likely(n: int, share: float) -> NDArray[np.float64]:
    """Returns the counts that are at all likely among n cases."""
    reach = _DEVIATIONS * math.sqrt(n * share * (1 - share)) + 3 * _DEVIATIONS
    return np.arange(max(0, math.floor(n * share - reach)), min(n, math.ceil(n * share + reach)) + 1, dtype=np.float64)


def _normal_size(null: float, true: float, gain: float, z: float, wanted: float) -> int:
    from scipy import special

    deviations = z * math.sqrt(null) + float(special.ndtri(wanted)) * math.sqrt(true)
    size = math.ceil((max(deviations, 0.0) / gain) ** 2) + 1
    if size > _LARGEST:
        raise ValueError(
            f"about {size:,} cases would be needed, more than {_LARGEST:,}; ask for less power or a wider margin."
        )
    return size


def _lasting(power_at: Callable[[int], float], guess: int, spread: float, wanted: float, purpose: str) -> BoundSize:
    """Returns the size near a guess; power goes up and down with the number of cases, less so where these are many."""
    if guess > _MANY:
        low, high = guess // 2, 2 * guess
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if power_at(middle) >= wanted else (middle + 1, high)
        return BoundSize(high, high, power_at(high), purpose)
    width = 0.01 + spread
    while True:
        first, last = max(1, math.floor(guess * (1 - width)) - 10), math.ceil(guess * (1 + width)) + 10
        sizes = np.arange(first, last + 1)
        powers = np.array([power_at(int(n)) for n in sizes])
        enough = powers >= wanted
        # The upper tenth has to be enough throughout, and the first not, for the guess to lie well inside.
        if enough[-max(10, len(sizes) // 10) :].all() and (first == 1 or not enough[: max(1, len(sizes) // 20)].any()):
            break
        width *= 1.6
    short = np.flatnonzero(~enough)
    lasting = int(short[-1]) + 1 if len(short) else 0
    return BoundSize(int(sizes[lasting]), int(sizes[np.argmax(enough)]), float(powers[lasting]), purpose)
