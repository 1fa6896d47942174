"""What a triage device does to waiting times: images that it flags are read before the others.

The reading room is a queue. Images arrive at random (Poisson) at a mean rate, each of several readers takes an
exponentially distributed time for any image, and without the device images are read in order of arrival. With it
flagged images go first. The device has no effect on how long an image takes to read, and its own computing time is not
counted: add it to the flagged images' time where it matters.

Nobody's time is created: what flagged images gain, the others lose, so that the mean over all images stays. The times
of diseased and other images follow from how often these are flagged.

`triage_effect` gives the times in closed form; `simulate_triage` plays the queue through image by image.
"""

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.results import Estimate
from chexkeras.results.record import Record

DISCIPLINES = ("pre-emptive", "non-pre-emptive")
"""What happens when a flagged image arrives while another is being read: the reader turns to it at once and later
resumes, or finishes first."""


@dataclass(frozen=True)
class TriageEffect(
    Record, nan=("flagged_hours", "unflagged_hours", "diseased_hours", "non_diseased_hours", "saving_hours")
):
    """Mean times with and without a triage device, in hours, from an image's arrival to the end of its reading.

    The time until a reader first turns to an image is shorter; the mean time spent waiting, without the reading itself,
    is shorter by ``1 / reads_per_hour``. The saving is the same either way.

    Attributes:
        sensitivity: Share of diseased images that are flagged.
        specificity: Share of other images that are not.
        prevalence: Share of diseased images.
        arrivals_per_hour: Images that arrive, of all kinds.
        reads_per_hour: Images that one reader can read.
        readers: Readers who share the queue.
        discipline: One of `DISCIPLINES`.
        flagged_share: Share of images flagged.
        fifo_hours: Of every image without the device, read in order of arrival.
        flagged_hours: Of flagged images; NaN if none is flagged in a simulation.
        unflagged_hours: Of images not flagged; NaN if all are flagged.
        diseased_hours: Of diseased images with the device.
        non_diseased_hours: Of the others with the device.
        saving_hours: What diseased images gain, `fifo_hours` - `diseased_hours`, negative where they lose; in a
            simulation, against the same images without the device.
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
        """Returns the mean times of diseased images in minutes, as a sentence."""
        gained = f"{abs(self.saving_hours) * 60:.1f} minutes {'less' if self.saving_hours >= 0 else 'more'}"
        if self.saving.estimable:
            low, high = self.saving.low * 60, self.saving.high * 60
            gained += f" (saving {self.saving.confidence * 100:g} % CI {low:.1f} to {high:.1f})"
        return (
            f"diseased images are read {self.diseased_hours * 60:.1f} minutes after arrival with the device, "
            f"{self.fifo_hours * 60:.1f} without: {gained}; the others {self.non_diseased_hours * 60:.1f}"
        )


@checked
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
        specificity: A fraction, or an `Estimate` whose interval is carried on.
        prevalence: Share of diseased images in the queue, strictly between 0 and 1.
        arrivals_per_hour: Images that arrive, of all kinds.
        reads_per_hour: Images that one reader can read; together they must be able to read more than arrive.
        readers: Readers who share the queue.
        discipline: "pre-emptive": a flagged image interrupts the reading of another, which is resumed later, as in
            FDA's QuCAD. "non-pre-emptive": it is the next to be read, which is nearer to most reading rooms.

    Returns:
        The effect.

    Raises:
        ValueError: If a share is no fraction, an estimate has no value, two estimates claim different confidence, a
            rate is not above 0, or images arrive as fast as they can be read or faster.

    Source:
        Thompson et al., Queueing Systems 108, 2024 (the workflow; their QuCAD reports times without the reading
        itself); Erlang's C formula; Cobham, Operations Research 2, 1954 (non-pre-emptive priority); Gross et al.,
        Fundamentals of Queueing Theory, 2008 (pre-emptive). With several readers the pre-empted images' time follows
        from the total number of images, which priorities do not change when all images take equally long to read.

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
        prevalence: Share of diseased images.
        arrivals: Images that arrive per hour.
        rate: Images that one reader can read per hour.
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
                raise ValueError(f"{name}={rate!r} must be a number above 0, in images per hour.")
        if arrivals_per_hour >= readers * reads_per_hour:
            raise ValueError(
                f"{arrivals_per_hour:g} images arrive per hour and {readers} reader(s) read {reads_per_hour:g} each, "
                f"{readers * reads_per_hour:g} in all: the queue would grow without end. Give more readers or a higher "
                "rate, averaged over a period in which the room keeps up."
            )
        return cls(float(prevalence), float(arrivals_per_hour), float(reads_per_hour), int(readers), discipline)

    def waiting(self, arrivals: float) -> float:
        """Returns the mean hours before reading starts when images are read in order of arrival (Erlang's C)."""
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
            # Flagged images see no others.
            flagged = self.waiting(share * self.arrivals)
        else:
            flagged = everyone * (1 - self.arrivals / capacity) / (1 - busy_with_flagged)
        # The mean over all images stays as it was; all flagged leaves nobody to lose.
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


@checked
def simulate_triage(
    sensitivity: float,
    specificity: float,
    prevalence: float,
    *,
    arrivals_per_hour: float,
    reads_per_hour: float,
    readers: int = 1,
    discipline: str = "pre-emptive",
    runs: int = 40,
    images_each_run: int = 5000,
    confidence: float = 0.95,
    seed: int = 0,
) -> TriageEffect:
    """Plays the reading room with and without the device on the same images, and averages what happened.

    Every run begins with an empty room; its first fifth is left out, so that the queue has settled. Runs are
    independent, and the interval of the saving is Student's t over them: it is the simulation's error alone.

    Args:
        sensitivity: Share of diseased images that are flagged.
        specificity: Share of other images that are not.
        prevalence: Share of diseased images, strictly between 0 and 1.
        arrivals_per_hour: Images that arrive, of all kinds.
        reads_per_hour: Images that one reader can read.
        readers: Readers who share the queue.
        discipline: One of `DISCIPLINES`.
        runs: Independent repetitions, at least 2.
        images_each_run: Images in each, at least 10; a room that is busy 95 % of the time needs tens of thousands.
        confidence: Coverage of the saving's interval, in (0, 1).
        seed: One seed, one result.

    Returns:
        The effect; `flagged_share` is the share observed.

    Raises:
        ValueError: If an argument is out of range, images arrive as fast as they can be read or faster, there are too
            few runs or images, or no image was diseased.
    """
    queue = ReadingQueue.checked(prevalence, arrivals_per_hour, reads_per_hour, readers, discipline)
    device = (checks.probability(sensitivity, "sensitivity"), checks.probability(specificity, "specificity"))
    checks.probability(confidence, "confidence", open_interval=True)
    for name, value, least in (("runs", runs, 2), ("images_each_run", images_each_run, 10)):
        if checks.positive_int(value, name) < least:
            raise ValueError(f"{name}={value} is too few; give at least {least}.")
    seeds = np.random.SeedSequence(seed).spawn(runs)
    parts = [_one_run(queue, device, images_each_run, np.random.default_rng(child)) for child in seeds]
    fifo, prioritised, diseased, flagged = (np.stack(column) for column in zip(*parts, strict=True))
    if not diseased.any():
        raise ValueError(
            f"no image of {diseased.size} was diseased at prevalence {prevalence:g}; simulate more images."
        )
    times = {
        "flagged_share": float(flagged.mean()),
        "fifo_hours": float(fifo.mean()),
        "flagged_hours": _mean(prioritised, flagged),
        "unflagged_hours": _mean(prioritised, ~flagged),
        "diseased_hours": _mean(prioritised, diseased),
        "non_diseased_hours": _mean(prioritised, ~diseased),
    }
    # The same images with and without the device: what they share of chance takes itself away.
    gained = (fifo - prioritised) * diseased
    times["saving_hours"] = float(gained.sum() / diseased.sum())
    method = (
        f"simulation of {runs} runs of {images_each_run} images, "
        f"{discipline} queue with {readers} reader(s), seed {seed}"
    )
    residual = gained.sum(axis=1) - times["saving_hours"] * diseased.sum(axis=1)
    error = math.sqrt(runs / (runs - 1) * float((residual**2).sum())) / float(diseased.sum())
    half = float(special.stdtrit(runs - 1, 0.5 + confidence / 2)) * error
    saving = Estimate(
        times["saving_hours"],
        times["saving_hours"] - half,
        times["saving_hours"] + half,
        confidence,
        int(diseased.sum()),
        f"{method}, hours, Student's t over runs; the simulation's error only",
    )
    return queue.effect(device, times, saving, method)


def _mean(hours: NDArray[np.float64], rows: NDArray[np.bool_]) -> float:
    return float(hours[rows].mean()) if rows.any() else math.nan


def _one_run(
    queue: ReadingQueue, device: tuple[float, float], images: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns hours without and with the device, which images are diseased and which flagged, once settled."""
    arrival = np.cumsum(rng.exponential(1 / queue.arrivals, images))
    work = rng.exponential(1 / queue.rate, images)
    diseased = rng.random(images) < queue.prevalence
    flagged = rng.random(images) < np.where(diseased, device[0], 1 - device[1])
    interrupting = queue.discipline == "pre-emptive"
    none = np.zeros(images, dtype=bool)
    settled = slice(images // 5, None)
    without = read_all(arrival, work, none, readers=queue.readers, interrupting=False) - arrival
    with_device = read_all(arrival, work, flagged, readers=queue.readers, interrupting=interrupting) - arrival
    return without[settled], with_device[settled], diseased[settled], flagged[settled]


def read_all(
    arrival: NDArray[np.float64],
    work: NDArray[np.float64],
    urgent: NDArray[np.bool_],
    *,
    readers: int,
    interrupting: bool,
) -> NDArray[np.float64]:
    """Returns when each image has been read, urgent images first and otherwise in order of arrival.

    Args:
        arrival: Shape (n,), hours, ascending.
        work: Shape (n,), hours of reading each image needs.
        urgent: Shape (n,), which images go first.
        readers: Readers who share the queue.
        interrupting: Whether an urgent image interrupts the reading of another when all readers are busy; that image is
            resumed where it was left, before images that arrived after it.

    Returns:
        Shape (n,), hours.
    """
    remaining, rank = work.tolist(), (~urgent).astype(int).tolist()
    done = [0.0] * len(remaining)
    waiting: list[tuple[int, int]] = []
    reading: list[tuple[float, int]] = []

    def begin(now: float) -> None:
        while waiting and len(reading) < readers:
            image = heapq.heappop(waiting)[1]
            heapq.heappush(reading, (now + remaining[image], image))

    for image, now in enumerate(arrival.tolist()):
        while reading and reading[0][0] <= now:
            finished, read = heapq.heappop(reading)
            done[read] = finished
            begin(finished)
        heapq.heappush(waiting, (rank[image], image))
        if interrupting and rank[image] == 0 and len(reading) == readers:
            later = [entry for entry in reading if rank[entry[1]]]
            if later:
                # Of several, the one that arrived last gives way.
                entry = max(later, key=lambda item: item[1])
                reading.remove(entry)
                heapq.heapify(reading)
                remaining[entry[1]] = entry[0] - now
                heapq.heappush(waiting, (1, entry[1]))
        begin(now)
    while reading:
        finished, read = heapq.heappop(reading)
        done[read] = finished
        begin(finished)
    return np.array(done)
