"""How often the intervals hold what they say: coverage of 95 % intervals, and shortfalls of threshold rules.

    .venv/bin/python benchmarks/coverage.py

Scores are normal in each class, so the true areas are known. Beside each method stands the plain one that it replaces.
Where patients have four images, these share half of their variance, and positive images belong to one patient in five.
"""

import argparse
import math
from collections import Counter

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.evaluation.uncertainty.bootstrap import bootstrap_interval
from chexkeras.evaluation.uncertainty.delong import auc_covariance
from chexkeras.evaluation.uncertainty.intervals import (
    auc_interval,
    average_precision_interval,
    clustered_proportion_interval,
    proportion_interval,
)
from chexkeras.evaluation.uncertainty.limits import logit_limits

SHARED = 0.5
ILL = 0.2


def true_average_precision(distance: float, prevalence: float) -> float:
    """Returns the average precision of infinitely many images: precision averaged over the positives' scores."""
    score = np.linspace(-9, 12, 200_001)
    found, called = stats.norm.sf(score - distance), stats.norm.sf(score)
    precision = prevalence * found / (prevalence * found + (1 - prevalence) * called)
    return float(np.trapezoid(precision * stats.norm.pdf(score - distance), score))


def images(
    rng: np.random.Generator, n: int, prevalence: float, images_each: int, distance: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]:
    """Returns labels, scores and patients of n images; the number of positives is fixed."""
    patients = np.arange(n) // images_each
    eligible = np.flatnonzero(patients < (ILL * n / images_each if images_each > 1 else n))
    positive = np.zeros(n, dtype=bool)
    positive[rng.choice(eligible, round(n * prevalence), replace=False)] = True
    shared = SHARED if images_each > 1 else 0.0
    noise = math.sqrt(shared) * rng.normal(size=n)[patients] + math.sqrt(1 - shared) * rng.normal(size=n)
    return positive, noise + distance * positive, patients


def plain_delong(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], patients: NDArray[np.int64]
) -> tuple[float, float]:
    areas, covariance = auc_covariance(positive, scores, patients)
    if not covariance[0, 0] > 0:
        return float(areas[0]), float(areas[0])
    return logit_limits(float(areas[0]), math.sqrt(covariance[0, 0]), 0.95)


METHODS = ("AUROC", "DeLong alone", "average precision", "percentile", "BCa")


def cover_areas(n: int, prevalence: float, images_each: int, area: float, simulations: int, replicates: int) -> None:
    rng = np.random.default_rng(n + images_each)
    distance = float(special.ndtri(area)) * math.sqrt(2)
    precision = true_average_precision(distance, prevalence)
    hits: Counter[str] = Counter()
    resampled = 0
    positive_patients = []
    for simulation in range(simulations):
        positive, scores, patients = images(rng, n, prevalence, images_each, distance)
        positive_patients.append(len(np.unique(patients[positive])))
        interval = auc_interval(positive, scores, clusters=patients)
        hits["AUROC"] += interval.low <= area <= interval.high
        low, high = plain_delong(positive, scores, patients)
        hits["DeLong alone"] += low <= area <= high
        if simulation % 4 == 0:
            resampled += 1
            options = {"clusters": patients, "replicates": replicates, "seed": simulation}
            interval = average_precision_interval(positive, scores, **options)
            hits["average precision"] += interval.low <= precision <= interval.high
            for name in ("percentile", "BCa"):
                interval = bootstrap_interval("average_precision", positive, scores, method=name.lower(), **options)
                hits[name] += interval.low <= precision <= interval.high
    where = f"{n:,}" if images_each == 1 else f"{n:,} of {n // images_each} patients"
    shares = [f"{100 * hits[name] / (simulations if name in METHODS[:2] else resampled):.1f} %" for name in METHODS]
    shares.insert(2, f"{precision:.2f}")
    count = f"{round(n * prevalence)} ({np.mean(positive_patients):.0f})"
    print(f"| {where} | {count} | {area:.2f} | {' | '.join(shares)} |", flush=True)


def cover_sensitivity(n_positive: int, images_each: int, sensitivity: float, simulations: int) -> None:
    rng = np.random.default_rng(n_positive)
    covered = 0
    n_patients = n_positive // images_each
    for _ in range(simulations):
        if images_each == 1:
            interval = proportion_interval(int(rng.binomial(n_positive, sensitivity)), n_positive)
        else:
            # Beta-binomial: an intraclass correlation of SHARED between the images of a patient.
            total = 1 / SHARED - 1
            chances = rng.beta(sensitivity * total, (1 - sensitivity) * total, n_patients)
            found = rng.random(n_positive) < np.repeat(chances, images_each)
            interval = clustered_proportion_interval(found, np.repeat(np.arange(n_patients), images_each))
        covered += interval.low <= sensitivity <= interval.high
    name = "sensitivity, Clopper-Pearson" if images_each == 1 else "sensitivity, Clopper-Pearson at the effective size"
    exact = ""
    if images_each == 1:
        counts = np.arange(n_positive + 1)
        intervals = [proportion_interval(int(count), n_positive) for count in counts]
        inside = [interval.low <= sensitivity <= interval.high for interval in intervals]
        exact = f"{100 * stats.binom.pmf(counts, n_positive, sensitivity)[inside].sum():.1f} %"
    print(
        f"| {name} | {n_positive} ({n_patients}) | {sensitivity:.2f} | {100 * covered / simulations:.1f} % | {exact} |",
        flush=True,
    )


def shortfalls(n_positive: int, target: float, simulations: int) -> None:
    """Prints how often the true sensitivity on new images is below the target of the rule that chose the threshold."""
    rng = np.random.default_rng(n_positive)
    labels = np.repeat([1.0, 0.0], n_positive)
    table = pd.DataFrame({"image_id": np.arange(len(labels)), "patient_id": np.arange(len(labels)), "finding": "Mass"})
    short: Counter[str] = Counter()
    for _ in range(simulations):
        scores = special.ndtr(rng.normal(size=len(labels)) + 1.5 * labels - 0.75)
        for rule in ("sensitivity", "guarded_sensitivity"):
            point = choose_threshold(table.assign(label=labels, score=scores), rule=rule, target=target)
            short[rule] += stats.norm.cdf(special.ndtri(point.threshold) - 0.75) > 1 - target
    # The sensitivity of the x-th highest of n positives is Beta(x, n - x + 1).
    needed = {"sensitivity": math.ceil(target * n_positive)}
    lower = stats.beta.ppf(0.05, np.arange(1, n_positive + 1), np.arange(n_positive, 0, -1))
    needed["guarded_sensitivity"] = int(np.flatnonzero(lower >= target)[0]) + 1
    for rule, found in needed.items():
        exact = stats.beta.cdf(target, found, n_positive - found + 1)
        print(
            f"| {rule} | {n_positive} | {target:.2f} | {100 * short[rule] / simulations:.1f} % | {100 * exact:.1f} % |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=4000, help="average precision gets a quarter of them")
    parser.add_argument("--replicates", type=int, default=500)
    options = parser.parse_args()
    print(f"{options.simulations:,} simulations, a quarter of them with {options.replicates:,} bootstrap replicates")
    print()
    print("| images | positive (patients) | true AUROC | AUROC | DeLong alone | true AP | AP | percentile | BCa |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for n, prevalence, images_each in ((200, 0.05, 1), (1000, 0.1, 1), (200, 0.05, 4), (1000, 0.1, 4)):
        for area in (0.75, 0.85, 0.95):
            cover_areas(n, prevalence, images_each, area, options.simulations, options.replicates)
    print()
    print("| interval | positive (patients) | true sensitivity | coverage | exactly |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for n_positive, images_each in ((10, 1), (100, 1), (100, 4)):
        for sensitivity in (0.8, 0.9):
            cover_sensitivity(n_positive, images_each, sensitivity, options.simulations)
    print()
    print("| threshold rule | positives | target sensitivity | falls short on new images | exactly |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for n_positive, target in ((100, 0.9), (222, 0.8)):
        shortfalls(n_positive, target, options.simulations // 2)


if __name__ == "__main__":
    main()
