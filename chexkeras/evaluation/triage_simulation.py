"""The triage queue played through film by film, as a second way to the numbers of `triage`."""

import heapq
import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from chexkeras import checks
from chexkeras.evaluation.clinical_use.triage import ReadingQueue, TriageEffect
from chexkeras.results import Estimate


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
    films_each_run: int = 5000,
    confidence: float = 0.95,
    seed: int = 0,
) -> TriageEffect:
    """Plays the reading room with and without the device on the same films, and averages what happened.

    Every run begins with an empty room; its first fifth is left out, so that the queue has settled. Runs are
    independent, and the interval of the saving is Student's t over them: it is the simulation's error alone.

    Args:
        sensitivity: Share of diseased films that are flagged.
        specificity: Share of other films that are not.
        prevalence: Share of diseased films, strictly between 0 and 1.
        arrivals_per_hour: Films that arrive, of all kinds.
        reads_per_hour: Films that one reader can read.
        readers: Readers who share the queue.
        discipline: One of `triage.DISCIPLINES`.
        runs: Independent repetitions, at least 2.
        films_each_run: Films in each, at least 10; a room that is busy 95 % of the time needs tens of thousands.
        confidence: Coverage of the saving's interval, in (0, 1).
        seed: One seed, one result.

    Returns:
        The effect; `flagged_share` is the share observed.

    Raises:
        ValueError: As `triage_effect`; or if there are too few runs or films, or no film was diseased.
    """
    queue = ReadingQueue.checked(prevalence, arrivals_per_hour, reads_per_hour, readers, discipline)
    device = (checks.probability(sensitivity, "sensitivity"), checks.probability(specificity, "specificity"))
    checks.probability(confidence, "confidence", open_interval=True)
    for name, value, least in (("runs", runs, 2), ("films_each_run", films_each_run, 10)):
        if checks.positive_int(value, name) < least:
            raise ValueError(f"{name}={value} is too few; give at least {least}.")
    seeds = np.random.SeedSequence(seed).spawn(runs)
    parts = [_one_run(queue, device, films_each_run, np.random.default_rng(child)) for child in seeds]
    fifo, prioritised, diseased, flagged = (np.stack(column) for column in zip(*parts, strict=True))
    if not diseased.any():
        raise ValueError(f"no film of {diseased.size} was diseased at prevalence {prevalence:g}; simulate more films.")
    times = {
        "flagged_share": float(flagged.mean()),
        "fifo_hours": float(fifo.mean()),
        "flagged_hours": _mean(prioritised, flagged),
        "unflagged_hours": _mean(prioritised, ~flagged),
        "diseased_hours": _mean(prioritised, diseased),
        "non_diseased_hours": _mean(prioritised, ~diseased),
    }
    # The same films with and without the device: what they share of chance takes itself away.
    gained = (fifo - prioritised) * diseased
    times["saving_hours"] = float(gained.sum() / diseased.sum())
    method = (
        f"simulation of {runs} runs of {films_each_run} films, {discipline} queue with {readers} reader(s), seed {seed}"
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
    queue: ReadingQueue, device: tuple[float, float], films: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns hours without and with the device, which films are diseased and which flagged, once settled."""
    arrival = np.cumsum(rng.exponential(1 / queue.arrivals, films))
    work = rng.exponential(1 / queue.rate, films)
    diseased = rng.random(films) < queue.prevalence
    flagged = rng.random(films) < np.where(diseased, device[0], 1 - device[1])
    interrupting = queue.discipline == "pre-emptive"
    none = np.zeros(films, dtype=bool)
    settled = slice(films // 5, None)
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
    """Returns when each film has been read, urgent films first and otherwise in order of arrival.

    Args:
        arrival: Shape (n,), hours, ascending.
        work: Shape (n,), hours of reading each film needs.
        urgent: Shape (n,), which films go first.
        readers: Readers who share the queue.
        interrupting: Whether an urgent film interrupts the reading of another when all readers are busy; that film is
            resumed where it was left, before films that arrived after it.

    Returns:
        Shape (n,), hours.
    """
    remaining, rank = work.tolist(), (~urgent).astype(int).tolist()
    done = [0.0] * len(remaining)
    waiting: list[tuple[int, int]] = []
    reading: list[tuple[float, int]] = []

    def begin(now: float) -> None:
        while waiting and len(reading) < readers:
            film = heapq.heappop(waiting)[1]
            heapq.heappush(reading, (now + remaining[film], film))

    for film, now in enumerate(arrival.tolist()):
        while reading and reading[0][0] <= now:
            finished, read = heapq.heappop(reading)
            done[read] = finished
            begin(finished)
        heapq.heappush(waiting, (rank[film], film))
        if interrupting and rank[film] == 0 and len(reading) == readers:
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
