"""No reference standard at all: a device and two or more readers, none of whom knows the truth.

Three who err independently of each other given the truth betray by their agreement how often each is wrong: seven
counts of agreement for seven unknowns. With only two there are more unknowns than counts, so a device and one reader do
not suffice.
"""

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.scores import known_labels, patient_numbers
from chexkeras.evaluation.uncertainty.worth import Agreement, approximate, kish, student_quantile
from chexkeras.plain import PlainTable
from chexkeras.results import Estimate
from chexkeras.results.record import Record

_DEVICE = "device"
# Log odds beyond this are as good as certain.
_FAR = 15.0


@dataclass(frozen=True)
class LatentReader(Record):
    """A reader's rates against a truth that nobody knows.

    Attributes:
        name: Of the reader.
        sensitivity: Share of true positives the reader finds.
        specificity: Share of true negatives the reader clears.
    """

    name: str
    sensitivity: Estimate
    specificity: Estimate


@checked
@dataclass(frozen=True)
class LatentTruth(Record):
    """What a device and its readers are worth against a truth that nobody knows.

    Attributes:
        n_images: Images called by the device and read by at least one reader.
        sensitivity: Of the device.
        specificity: Of the device.
        prevalence: True share of positives.
        readers: Their rates, in the order given.
        cautions: What must stand beside the numbers.
    """

    n_images: int
    sensitivity: Estimate
    specificity: Estimate
    prevalence: Estimate
    readers: tuple[LatentReader, ...]
    cautions: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for the device and one for each reader, numbers with their intervals as text."""
        rows = [(_DEVICE, self.sensitivity, self.specificity)]
        rows += [(reader.name, reader.sensitivity, reader.specificity) for reader in self.readers]
        return PlainTable(
            [{"of": name, "sensitivity": str(one), "specificity": str(other)} for name, one, other in rows]
        )


@checked
def latent_truth(
    called: ArrayLike,
    readings: ArrayLike | pd.DataFrame,
    *,
    clusters: ArrayLike | None = None,
    confidence: float = 0.95,
) -> LatentTruth:
    """Returns a device's sensitivity and specificity from its calls and two or more readers, without the truth.

    The latent class model of Hui and Walter for one population, fitted by maximum likelihood; with two readers it fits
    the counts exactly, so nothing is left to show whether it holds. It holds if, given the truth, none errs where
    another does. Readers who learnt alike, faint findings and a device trained on such readers' labels break it, and
    all rates then flatter. The device and each reader are taken to be better than chance, because the same counts would
    otherwise also fit with positives and negatives exchanged. For readers alone see `dawid_skene`.

    Limits are those of the profile likelihood, which allows for rates near 1. Where patients have several images, the
    likelihood may fall further, by their design effect, and Student's t stands for the normal distribution.

    Args:
        called: Shape (n,), whether the device called each image positive.
        readings: Shape (n, readers), 1, 0 or NaN (not read) of at least two readers; the columns of a table name them.
        clusters: Shape (n,), the patient of each image; None when images are independent.
        confidence: Coverage, in (0, 1).

    Returns:
        The rates. Not estimable, with the reason, where two of the device and its readers agree no more than chance
        would have it: then their errors cannot be told from the truth.

    Raises:
        ValueError: If there are fewer than two readers, a call is neither true nor false, a reading is not 1/0/NaN,
            shapes differ, or a patient is missing.

    Source:
        Hui & Walter, Biometrics 36, 1980; Walter & Irwig, Journal of Clinical Epidemiology 41, 1988 (three tests in one
        population); Dawid & Skene, Applied Statistics 28, 1979 (fit); Pepe & Janes, Biostatistics 8, 2007 (what it
        assumes, and what follows where that fails).

    Example:
        >>> patterns = {(1, 1, 1): 77, (1, 1, 0): 14, (1, 0, 1): 20, (0, 1, 1): 9,
        ...             (1, 0, 0): 41, (0, 1, 0): 16, (0, 0, 1): 23, (0, 0, 0): 300}
        >>> rows = np.repeat(list(patterns), list(patterns.values()), axis=0)
        >>> found = latent_truth(rows[:, 0], rows[:, 1:])
        >>> print(found.sensitivity)
        0.906 (95 % CI 0.827-0.962)
    """
    from scipy import special

    checks.probability(confidence, "confidence", open_interval=True)
    values, names, owner = _clean(called, readings, clusters)
    n = len(values)
    reason = _unidentified(values, names)
    if reason:
        none = Estimate.not_estimable(reason, n=n, confidence=confidence)
        return LatentTruth(n, none, none, none, tuple(LatentReader(name, none, none) for name in names[1:]), ())
    # Images with the same readings are one pattern with a weight.
    patterns, pattern = np.unique(values, axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    model = _LatentModel(patterns, np.bincount(pattern).astype(np.float64))
    best, k, worth = model.best(), len(names), kish(owner)
    n_patients = int(np.count_nonzero(np.bincount(owner)))
    unit = "images" if n_patients == n else "patients"
    method = (
        f"latent class model, errors independent given the truth; profile likelihood, {n} images"
        f"{'' if unit == 'images' else f' of {n_patients} patients'}{approximate(worth, unit)}"
    )
    quantile = student_quantile(confidence, math.inf if unit == "images" else max(worth - 1, 1.0))
    found = []
    for place, column in enumerate(model.contributions(best[0])[pattern].T):
        allowed = quantile**2 * float(Agreement.of(column, owner).design_effect())
        value, *limits = (
            float(special.expit(odds))
            for odds in (best[0][place], *(model.limit(place, upward, best, allowed) for upward in (False, True)))
        )
        found.append(Estimate(value, min(value, limits[0]), max(value, limits[1]), confidence, n, method))
    readers = tuple(
        LatentReader(name, found[1 + place], found[1 + k + place]) for place, name in enumerate(names) if place
    )
    return LatentTruth(n, found[1], found[1 + k], found[0], readers, _cautions(names, found))


def _clean(
    called: ArrayLike, readings: ArrayLike | pd.DataFrame, clusters: ArrayLike | None
) -> tuple[NDArray[np.float64], list[str], NDArray[np.int64]]:
    """Returns calls and readings side by side, -1 where an image was not read, whose columns they are, and patients."""
    call, read = np.asarray(called, dtype=np.float64), np.asarray(readings, dtype=np.float64)
    if call.ndim != 1 or read.ndim != 2 or len(read) != len(call):
        raise ValueError(
            f"called has shape {call.shape} and readings {read.shape}; one call, and one reading of each reader, for "
            "each image was expected."
        )
    if read.shape[1] < 2:
        raise ValueError(
            f"readings are of {read.shape[1]} reader(s); a device and one reader have more unknown rates than counts. "
            "Give at least two readers, or a reference whose own rates are known (correct_reference_error)."
        )
    if not len(call):
        raise ValueError("called and readings are empty; at least one image is needed.")
    if not known_labels(call, "called: ").all():
        raise ValueError(f"{int(np.isnan(call).sum())} of {len(call)} calls are missing; leave those images out.")
    names = [str(name) for name in readings.columns] if isinstance(readings, pd.DataFrame) else []
    names = names or [f"reader {number + 1}" for number in range(read.shape[1])]
    if _DEVICE in names or len(set(names)) < len(names):
        raise ValueError(f"readers are named {', '.join(names)}; names must differ, and none may be '{_DEVICE}'.")
    for name, column in zip(names, read.T, strict=True):
        known_labels(column, f"{name}: ")
    kept = np.asarray(~np.isnan(read).all(axis=1), dtype=np.bool_)
    group = patient_numbers(clusters, kept)
    values = np.nan_to_num(np.column_stack([call, read])[kept], nan=-1.0)
    return values, [_DEVICE, *names], np.arange(len(values)) if group is None else group


def _unidentified(values: NDArray[np.float64], names: list[str]) -> str:
    """Returns why the rates cannot be told, or an empty text."""
    for name, column in zip(names, values.T, strict=True):
        seen = column[column >= 0]
        if len(np.unique(seen)) < 2:
            what = "no image" if not len(seen) or not seen[0] else "every image"
            return f"{name} finds {what} positive, so nothing can be said of agreement"
    for one, other in itertools.combinations(range(len(names)), 2):
        both = values[(values[:, one] >= 0) & (values[:, other] >= 0)][:, [one, other]]
        pair = f"{names[one]} and {names[other]}"
        if not len(both):
            return f"no image has both {pair}"
        if float((both[:, 0] * both[:, 1]).mean() - both[:, 0].mean() * both[:, 1].mean()) <= 1e-12:
            return f"{pair} agree no more than chance would have it, so their errors cannot be told from the truth"
    return ""


class _LatentModel:
    """The likelihood of patterns of readings, by the log odds of prevalence, sensitivities and specificities."""

    def __init__(self, patterns: NDArray[np.float64], weights: NDArray[np.float64]):
        self.weights, self.k = weights, patterns.shape[1]
        self.found = (patterns == 1).astype(np.float64)
        self.cleared = (patterns == 0).astype(np.float64)

    def _scores(self, odds: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the log likelihood of each pattern, shape (patterns,), and its slopes, shape (patterns, 1 + 2 k)."""
        from scipy import special

        rate, yes, no, k = special.expit(odds), special.log_expit(odds), special.log_expit(-odds), self.k
        one, other = slice(1, 1 + k), slice(1 + k, None)
        of_positive = yes[0] + self.found @ yes[one] + self.cleared @ no[one]
        of_negative = no[0] + self.found @ no[other] + self.cleared @ yes[other]
        both = np.logaddexp(of_positive, of_negative)
        positive, rated = np.exp(of_positive - both)[:, np.newaxis], self.found + self.cleared
        slopes = [
            positive - rate[0],
            positive * (self.found - rated * rate[one]),
            (1 - positive) * (self.cleared - rated * rate[other]),
        ]
        return both, np.column_stack(slopes)

    def climb(self, odds: NDArray[np.float64], held: int | None = None) -> tuple[NDArray[np.float64], float]:
        """Returns the log odds with the largest likelihood, one of them held, and that likelihood.

        Args:
            odds: Shape (1 + 2 k,), to start from.
            held: Which one is held; None for none.
        """
        from scipy import optimize

        free = np.arange(len(odds)) != held

        def falls(some: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            now = odds.copy()
            now[free] = some
            likelihood, slopes = self._scores(now)
            return -float(self.weights @ likelihood), -(self.weights @ slopes)[free]

        found = optimize.minimize(
            falls, odds[free], jac=True, method="L-BFGS-B", bounds=[(-_FAR, _FAR)] * int(free.sum()),
            options={"ftol": 1e-13, "gtol": 1e-7, "maxiter": 2000},
        )  # fmt: skip
        reached = odds.copy()
        reached[free] = found.x
        return reached, -float(found.fun)

    def best(self) -> tuple[NDArray[np.float64], float]:
        """Returns the log odds with the largest likelihood, climbing from where the truth is what most say."""
        from scipy import special

        rated = self.found + self.cleared
        said = (0.1 + 0.8 * self.found.sum(axis=1) / rated.sum(axis=1)) * self.weights
        unsaid = self.weights - said
        share = [
            [said.sum() / self.weights.sum()],
            said @ self.found / (said @ rated),
            unsaid @ self.cleared / (unsaid @ rated),
        ]
        return self.climb(np.asarray(special.logit(np.clip(np.concatenate(share), 0.01, 0.99))))

    def contributions(self, odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns what each pattern contributes to the error of each log odds; shape (patterns, 1 + 2 k)."""
        return np.asarray(self._scores(odds)[1] @ self._inverse(odds))

    def _inverse(self, odds: NDArray[np.float64]) -> NDArray[np.float64]:
        slopes = self._scores(odds)[1]
        return np.asarray(np.linalg.pinv(slopes.T @ (slopes * self.weights[:, np.newaxis]), rcond=1e-9))

    def limit(self, place: int, upward: bool, best: tuple[NDArray[np.float64], float], allowed: float) -> float:
        """Returns the log odds at which twice the log likelihood has fallen by what is allowed, on one side.

        Args:
            place: Which of the log odds.
            upward: Whether the upper limit is wanted.
            best: Where the likelihood is largest, and what it is there.
            allowed: The fall that is not yet rejected.

        Returns:
            The limit; infinite where no value is rejected.
        """
        from scipy import optimize, special

        odds, most = best
        sign, aim = (1.0 if upward else -1.0), np.zeros(len(odds))
        aim[place] = -sign

        def left(now: NDArray[np.float64]) -> float:
            return float(self.weights @ self._scores(now)[0]) - most + allowed / 2

        def skills(now: NDArray[np.float64]) -> NDArray[np.float64]:
            rate = special.expit(now[1:])
            return np.asarray(rate[: self.k] + rate[self.k :] - 1)

        def slopes_of_skills(now: NDArray[np.float64]) -> NDArray[np.float64]:
            rate = special.expit(now[1:])
            slopes = rate * (1 - rate)
            return np.column_stack([np.zeros(self.k), np.diag(slopes[: self.k]), np.diag(slopes[self.k :])])

        # As far out as possible while the likelihood has not fallen by more: one search instead of many climbs.
        step = self._inverse(odds)[place]
        start = odds + sign * math.sqrt(allowed / max(step[place], 1e-12)) * step
        found = optimize.minimize(
            lambda now: float(aim @ now), np.clip(start, -_FAR, _FAR), jac=lambda now: aim, method="SLSQP",
            bounds=[(-_FAR, _FAR)] * len(odds), options={"ftol": 1e-10, "maxiter": 500},
            constraints=[
                {"type": "ineq", "fun": left, "jac": lambda now: self.weights @ self._scores(now)[1]},
                {"type": "ineq", "fun": skills, "jac": slopes_of_skills},
            ],
        )  # fmt: skip
        outermost = float(found.x[place])
        if abs(outermost) >= _FAR - 1e-6 and left(found.x) > -1e-4:
            return sign * math.inf
        fallen, least = left(found.x), float(skills(found.x).min())
        # Where it ends because one would be worse than chance, the likelihood has fallen by less.
        settled = abs(fallen) < 1e-4 * allowed or (fallen > 0 and abs(least) < 1e-5)
        if settled and least > -1e-5 and sign * (outermost - odds[place]) >= 0:
            return outermost
        return self._searched(place, sign, best, allowed)

    def _searched(self, place: int, sign: float, best: tuple[NDArray[np.float64], float], allowed: float) -> float:
        """Returns the same limit by climbing at one held value after another, where the quick way did not settle."""
        from scipy import optimize

        odds, most = best

        @functools.cache
        def excess(distance: float) -> float:
            start = odds.copy()
            start[place] += sign * distance
            return 2 * (most - self.climb(start, place)[1]) - allowed

        near, far = 1e-6, 0.5
        while excess(far) < 0:
            near, far = far, 2 * far
            if far > 2 * _FAR:
                return sign * math.inf
        if excess(near) >= 0:
            return float(odds[place])
        return float(odds[place] + sign * optimize.brentq(excess, near, far, xtol=1e-4))


def _cautions(names: list[str], found: list[Estimate]) -> tuple[str, ...]:
    text = "Rests on the device and all readers erring independently of each other given the truth"
    text += ", which two readers leave no way to check." if len(names) == 3 else "."
    made = [text + " Where they miss the same images, all rates are too high."]
    rates = {name: (found[1 + place], found[1 + len(names) + place]) for place, name in enumerate(names)}
    ended = [name for name, both in rates.items() if max(rate.value for rate in both) > 1 - 1e-4]
    if ended:
        made.append(f"A rate of {', '.join(ended)} is estimated as 1, as also happens where the model does not hold.")
    return tuple(made)
