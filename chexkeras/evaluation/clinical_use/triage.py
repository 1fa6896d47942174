"""What a triage device does to waiting times: films that it flags are read before the others.

The reading room is a queue. Films arrive at random (Poisson) at a mean rate, each of several readers takes an
exponentially distributed time for any film, and without the device films are read in order of arrival. With it flagged
films go first. The device has no effect on how long a film takes to read, and its own computing time is not counted:
add it to the flagged films' time where it matters.

Nobody's time is created: what flagged films gain, the others lose, so that the mean over all films stays. The times
of diseased and other films follow from how often these are flagged.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from chexkeras import checks
from chexkeras.results import Estimate

DISCIPLINES = ("pre-emptive", "non-pre-emptive")
"""What happens when a flagged film arrives while another is being read: the reader turns to it at once and later
resumes, or finishes first."""


@dataclass(frozen=True)
class TriageEffect:
    """Mean times with and without a triage device, in hours, from a film's arrival to the end of its reading.

    The time until a reader first turns to a film is shorter; the mean time spent waiting, without the reading itself,
    is shorter by ``1 / reads_per_hour``. The saving is the same either way.

    Attributes:
        sensitivity: Share of diseased films that are flagged.
        specificity: Share of other films that are not.
        prevalence: Share of diseased films.
        arrivals_per_hour: Films that arrive, of all kinds.
        reads_per_hour: Films that one reader can read.
        readers: Readers who share the queue.
        discipline: One of `DISCIPLINES`.
        flagged_share: Share of films flagged.
        fifo_hours: Of every film without the device, read in order of arrival.
        flagged_hours: Of flagged films; NaN if none is flagged in a simulation.
        unflagged_hours: Of films not flagged; NaN if all are flagged.
        diseased_hours: Of diseased films with the device.
        non_diseased_hours: Of the others with the device.
        saving_hours: What diseased films gain, `fifo_hours` - `diseased_hours`, negative where they lose; in a
            simulation, against the same films without the device.
        saving: The same with its interval; not estimable where there is none.
        method: How it was computed.
    """

    sensitivity: float
    specificity: float
    prevalence: float
    arrivals_per_hour: float
    reads_per_hour: float
    readers: int
    discipline: str
    flagged_share: float
    fifo_hours: float
    flagged_hours: float
    unflagged_hours: float
    diseased_hours: float
    non_diseased_hours: float
    saving_hours: float
    saving: Estimate
    method: str

    @property
    def workload(self) -> float:
        """Share of the time that readers are busy, in (0, 1)."""
        return self.arrivals_per_hour / (self.readers * self.reads_per_hour)

    def __str__(self) -> str:
        """Returns the mean times of diseased films in minutes, as a sentence."""
        gained = f"{abs(self.saving_hours) * 60:.1f} minutes {'less' if self.saving_hours >= 0 else 'more'}"
        if self.saving.estimable:
            low, high = self.saving.low * 60, self.saving.high * 60
            gained += f" (saving {self.saving.confidence * 100:g} % CI {low:.1f} to {high:.1f})"
        return (
            f"diseased films are read {self.diseased_hours * 60:.1f} minutes after arrival with the device, "
            f"{self.fifo_hours * 60:.1f} without: {gained}; the others {self.non_diseased_hours * 60:.1f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TriageEffect":
        """Rebuilds an effect from `to_dict`; null numbers become NaN."""
        numbers: dict[str, Any] = {name: math.nan if value is None else value for name, value in data.items()}
        return cls(**{**numbers, "saving": Estimate.from_dict(data["saving"])})


def triage_effect(
    sensitivity: float | Estimate,
    specificity: float | Estimate,
    prevalence: float,
    *,
    arrivals_per_hour: float,
    reads_per_hour: float,
    readers: int = 1,
    discipline: str = "pre-emptive",
) -> TriageEffect:
    """Returns the mean times with and without the device in closed form, exact for this queue.

    The saving rises with sensitivity and with specificity, so its interval goes from the saving at both lower limits to
    that at both upper ones. That is wider than it need be when their errors are unrelated. It knows nothing of
    uncertain prevalence or rates: try several.

    Args:
        sensitivity: A fraction, or an `Estimate` whose interval is carried on.
        specificity: Likewise.
        prevalence: Share of diseased films in the queue, strictly between 0 and 1.
        arrivals_per_hour: Films that arrive, of all kinds.
        reads_per_hour: Films that one reader can read; together they must be able to read more than arrive.
        readers: Readers who share the queue.
        discipline: "pre-emptive": a flagged film interrupts the reading of another, which is resumed later, as in
            FDA's QuCAD. "non-pre-emptive": it is the next to be read, which is nearer to most reading rooms.

    Returns:
        The effect.

    Raises:
        ValueError: If a share is no fraction, an estimate has no value, two estimates claim different confidence, a
            rate is not above 0, or films arrive as fast as they can be read or faster.

    Source:
        Thompson et al., Queueing Systems 108, 2024 (the workflow; their QuCAD reports times without the reading
        itself); Erlang's C formula; Cobham, Operations Research 2, 1954 (non-pre-emptive priority); Gross et al.,
        Fundamentals of Queueing Theory, 2008 (pre-emptive). With several readers the pre-empted films' time follows
        from the total number of films, which priorities do not change when all films take equally long to read.

    Example:
        >>> effect = triage_effect(0.9, 0.9, 0.1, arrivals_per_hour=5, reads_per_hour=6)
        >>> round(effect.fifo_hours, 4), round(effect.diseased_hours, 4), round(effect.saving_hours, 4)
        (1.0, 0.2941, 0.7059)
    """
    queue = ReadingQueue.checked(prevalence, arrivals_per_hour, reads_per_hour, readers, discipline)
    values, limits, confidence = _shares(sensitivity, specificity)
    times = queue.times(*values)
    method = f"closed form, {discipline} queue with {readers} reader(s)"
    if limits is None:
        saving = Estimate.not_estimable("sensitivity and specificity were stated without an interval")
    else:
        low, high = (queue.times(*corner)["saving_hours"] for corner in limits)
        n = sum(share.n for share in (sensitivity, specificity) if isinstance(share, Estimate))
        how = f"{method}, hours, from the joint limits of sensitivity and specificity"
        saving = Estimate(times["saving_hours"], low, high, confidence, n, how)
    return queue.effect(values, times, saving, method)


def _shares(
    sensitivity: float | Estimate, specificity: float | Estimate
) -> tuple[tuple[float, float], tuple[tuple[float, float], tuple[float, float]] | None, float]:
    """Returns both shares, both at their lower and upper limits (None without any interval), and the confidence."""
    given = {"sensitivity": sensitivity, "specificity": specificity}
    estimates = {name: share for name, share in given.items() if isinstance(share, Estimate)}
    for name, share in estimates.items():
        if not share.estimable:
            raise ValueError(f"{name} is not estimable ({share.reason}); give one with a value, or state a fraction.")
    claimed = sorted({share.confidence for share in estimates.values()})
    if len(claimed) > 1:
        raise ValueError(f"sensitivity and specificity have intervals of confidence {claimed}; give both the same.")
    triples = [
        (share.low, share.value, share.high) if isinstance(share, Estimate) else (share,) * 3
        for share in (sensitivity, specificity)
    ]
    low, value, high = (
        tuple(checks.probability(share, name) for share, name in zip(column, given, strict=True))
        for column in zip(*triples, strict=True)
    )
    return (value[0], value[1]), ((low[0], low[1]), (high[0], high[1])) if estimates else None, (claimed or [0.95])[0]


@dataclass(frozen=True)
class ReadingQueue:
    """The reading room, whatever device stands in it.

    Attributes:
        prevalence: Share of diseased films.
        arrivals: Films that arrive per hour.
        rate: Films that one reader can read per hour.
        readers: Readers.
        discipline: One of `DISCIPLINES`.
    """

    prevalence: float
    arrivals: float
    rate: float
    readers: int
    discipline: str

    @classmethod
    def checked(
        cls, prevalence: float, arrivals_per_hour: float, reads_per_hour: float, readers: int, discipline: str
    ) -> "ReadingQueue":
        """Returns the queue of these figures, or says why it is none; see `triage_effect`."""
        checks.probability(prevalence, "prevalence", open_interval=True)
        checks.one_of(discipline, DISCIPLINES, "discipline")
        checks.positive_int(readers, "readers")
        for name, rate in (("arrivals_per_hour", arrivals_per_hour), ("reads_per_hour", reads_per_hour)):
            if not (math.isfinite(rate) and rate > 0):
                raise ValueError(f"{name}={rate!r} must be a number above 0, in films per hour.")
        if arrivals_per_hour >= readers * reads_per_hour:
            raise ValueError(
                f"{arrivals_per_hour:g} films arrive per hour and {readers} reader(s) read {reads_per_hour:g} each, "
                f"{readers * reads_per_hour:g} in all: the queue would grow without end. Give more readers or a higher "
                "rate, averaged over a period in which the room keeps up."
            )
        return cls(float(prevalence), float(arrivals_per_hour), float(reads_per_hour), int(readers), discipline)

    def waiting(self, arrivals: float) -> float:
        """Returns the mean hours before reading starts when films are read in order of arrival (Erlang's C)."""
        offered = arrivals / self.rate
        blocked = 1.0
        for reader in range(1, self.readers + 1):
            blocked = offered * blocked / (reader + offered * blocked)
        busy = offered / self.readers
        return blocked / (1 - busy * (1 - blocked)) / (self.readers * self.rate - arrivals)

    def times(self, sensitivity: float, specificity: float) -> dict[str, float]:
        """Returns the times of a `TriageEffect` by the names of its attributes, and the share flagged."""
        share = self.prevalence * sensitivity + (1 - self.prevalence) * (1 - specificity)
        reading, capacity = 1 / self.rate, self.readers * self.rate
        everyone = self.waiting(self.arrivals)
        busy_with_flagged = share * self.arrivals / capacity
        if self.discipline == "pre-emptive":
            # Flagged films see no others.
            flagged = self.waiting(share * self.arrivals)
        else:
            flagged = everyone * (1 - self.arrivals / capacity) / (1 - busy_with_flagged)
        # The mean over all films stays as it was; all flagged leaves nobody to lose.
        unflagged = (everyone - share * flagged) / (1 - share) if share < 1 else math.nan
        fifo, flagged, unflagged = everyone + reading, flagged + reading, unflagged + reading
        diseased = _mixed(sensitivity, flagged, unflagged)
        return {
            "flagged_share": share,
            "fifo_hours": fifo,
            "flagged_hours": flagged,
            "unflagged_hours": unflagged,
            "diseased_hours": diseased,
            "non_diseased_hours": _mixed(1 - specificity, flagged, unflagged),
            "saving_hours": fifo - diseased,
        }

    def effect(
        self, device: tuple[float, float], times: dict[str, float], saving: Estimate, method: str
    ) -> TriageEffect:
        """Returns times by name, see `times`, as a `TriageEffect`."""
        return TriageEffect(
            sensitivity=device[0],
            specificity=device[1],
            prevalence=self.prevalence,
            arrivals_per_hour=self.arrivals,
            reads_per_hour=self.rate,
            readers=self.readers,
            discipline=self.discipline,
            saving=saving,
            method=method,
            **times,
        )


def _mixed(share: float, flagged: float, unflagged: float) -> float:
    return flagged if share == 1 else share * flagged + (1 - share) * unflagged
