"""How fast the statistics are: ratios within one run, with seconds and memory beside them.

    .venv/bin/python benchmarks/evaluation.py

Measured: DeLong's interval on 1,000,000 scores against sorting them and against scikit-learn's area alone; 2,000
patient-bootstrap replicates of the AUROC of 14 findings on 25,596 images of 2,797 patients (the size of NIH
ChestX-ray14's test list) against a loop over scikit-learn, of which fewer replicates are timed and extrapolated; and
how long the imports take in a fresh interpreter.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from chexkeras.evaluation.uncertainty.bootstrap import bootstrap_replicates
from chexkeras.evaluation.uncertainty.intervals import auc_interval

# Positives among the images of NIH's test list, in the order of the 14 findings, rounded: from 86 to 6,112.
PREVALENCES = (0.128, 0.042, 0.182, 0.239, 0.068, 0.063, 0.022, 0.104, 0.071, 0.036, 0.043, 0.017, 0.045, 0.0034)


class Seconds(NamedTuple):
    """By the clock, and of processor time, which other work on the machine hardly touches."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.3g} s ({self.processor:.3g} s of processor time)"


def seconds(run: Callable[[], object], repeats: int = 1) -> Seconds:
    walls, processors = [], []
    for _ in range(repeats):
        wall, used = time.perf_counter(), sum(os.times()[:4])
        run()
        walls.append(time.perf_counter() - wall)
        processors.append(sum(os.times()[:4]) - used)
    return Seconds(statistics.median(walls), statistics.median(processors))


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def time_delong(n: int, repeats: int) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    labels = rng.random(n) < 0.05
    scores = rng.random(n) + 0.3 * labels
    ours = seconds(lambda: auc_interval(labels, scores), repeats)
    sort = seconds(lambda: np.argsort(scores), repeats)
    theirs = seconds(lambda: roc_auc_score(labels, scores), repeats)
    print(f"DeLong interval on {n:,} scores: {ours}")
    print(f"  {ours.processor / sort.processor:.1f} times the processor time of one np.argsort, {sort}")
    print(f"  {ours.processor / theirs.processor:.2f} times that of scikit-learn's area without interval, {theirs}")


def time_bootstrap(images: int, patients: int, replicates: int, timed: int) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    owner = np.concatenate([np.arange(patients), rng.integers(0, patients, images - patients)])
    labels = (rng.random((images, len(PREVALENCES))) < PREVALENCES).astype(np.float64)
    scores = np.round(rng.random(labels.shape) + 0.3 * labels, 4)
    columns = range(labels.shape[1])

    def together() -> None:
        bootstrap_replicates("auroc", labels, scores, clusters=owner, replicates=replicates)

    def apart() -> None:
        for column in columns:
            bootstrap_replicates("auroc", labels[:, column], scores[:, column], clusters=owner, replicates=replicates)

    before = peak_megabytes()
    ours = seconds(together)
    peak = peak_megabytes()
    one_by_one = seconds(apart)

    rows_of = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])

    def loop() -> None:
        for _ in range(timed):
            rows = np.concatenate([rows_of[patient] for patient in rng.integers(0, patients, patients)])
            for column in columns:
                roc_auc_score(labels[rows, column], scores[rows, column])

    slow = Seconds(*(part * replicates / timed for part in seconds(loop)))
    print(
        f"{replicates:,} patient-bootstrap replicates of AUROC, {len(columns)} findings, {images:,} images of "
        f"{patients:,} patients: {ours}"
    )
    print(f"  finding by finding, each with its own draws and strata: {one_by_one}")
    print(f"  a loop over scikit-learn: {slow}, extrapolated from {timed} replicates")
    print(f"  {slow.processor / ours.processor:.0f} times the processor time, {slow.wall / ours.wall:.0f} by the clock")
    print(f"  peak memory of the process {peak:.0f} MB, {before:.0f} MB of it before the bootstrap")


def time_imports(repeats: int) -> None:
    for module in ("numpy", "pandas", "chexkeras", "chexkeras.evaluation", "chexkeras.evaluation.evaluate"):
        command = [sys.executable, "-c", f"import {module}"]
        took = seconds(lambda command=command: subprocess.run(command, check=True), repeats)
        print(f"import {module}: {took}, the interpreter's start included")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=25_596)
    parser.add_argument("--patients", type=int, default=2_797)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--timed", type=int, default=40, help="replicates of the slow loop that are timed")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    time_bootstrap(options.images, options.patients, options.replicates, options.timed)
    time_delong(options.scores, options.repeats)
    time_imports(options.repeats)


if __name__ == "__main__":
    main()
