"""How often intervals hold what they say, and how often tests reject what is true: simulations of the product as it is.

    .venv/bin/python benchmarks/simulations/coverage.py
    .venv/bin/python benchmarks/simulations/coverage.py --only auroc,sensitivity --runs 500
    .venv/bin/python benchmarks/simulations/coverage.py --nih <folder with Data_Entry_2017_v2020.csv and test_list.txt>

Patients have as many images as those of NIH ChestX-ray14's official test list (1 to 184, 9 on average), as a Pareto
distribution gives them (exponent 1.2, at most 200), or one. Half of a score's variance is shared within a patient. N is
the number of patients with the finding, or of all patients where a table says so. Every cell is a percentage: how often
the interval of 95 % holds the truth, and in brackets how often its lower limit lies above it, nominally 2.5; for tests
how often they reject a true hypothesis at the 5 % level, and in brackets at the 1 % level. With --nih the tests of
interaction also run on the real patients, ages and labels.
"""

import argparse
import functools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from chexkeras.evaluation.calibration.calibration import measure_calibration
from chexkeras.evaluation.comparison.paired_tests import auroc_difference, paired_proportions
from chexkeras.evaluation.group_columns import age_bands
from chexkeras.evaluation.rates import rates
from chexkeras.evaluation.subgroups import areas_differ, proportions_differ
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.evaluation.uncertainty.intervals import (
    auc_interval,
    average_precision_interval,
    clustered_proportion_interval,
    macro_auc_interval,
)
from chexkeras.results import Estimate

SIZES = (12, 31, 60, 200, 1000)
STRUCTURES = ("NIH", "Pareto", "independent")
SHARED = 0.5
COUNTS = json.loads(Path(__file__).with_name("nih_test_patients.json").read_text())


class Cell(NamedTuple):
    """One cell of a table: where it stands and what is simulated in it."""

    table: str
    row: str
    structure: str
    patients: int
    truth: float


class Drawn(NamedTuple):
    """Images of patients: the patient of each, its label, and noise whose variance is 1."""

    owner: NDArray[np.int64]
    positive: NDArray[np.bool_]
    noise: NDArray[np.float64]


def images_of(rng: np.random.Generator, structure: str, patients: int, kind: str = "images") -> NDArray[np.int64]:
    """Returns how many images each patient has."""
    if structure == "independent":
        return np.ones(patients, dtype=np.int64)
    if structure == "Pareto":
        return np.minimum(np.ceil(rng.pareto(1.2, patients) + 1e-9), 200).astype(np.int64)
    sizes = np.repeat([int(size) for size in COUNTS[kind]], list(COUNTS[kind].values()))
    return rng.choice(sizes, patients)


def shared_noise(rng: np.random.Generator, owner: NDArray[np.int64], shared: float) -> NDArray[np.float64]:
    of_patients = rng.normal(size=int(owner.max()) + 1)
    return math.sqrt(shared) * of_patients[owner] + math.sqrt(1 - shared) * rng.normal(size=len(owner))


def draw(rng: np.random.Generator, structure: str, ill: int, ratio: int = 5) -> Drawn:
    """Draws `ill` patients of whom six images in ten show the finding, and four times as many without it."""
    owner = np.repeat(np.arange(ratio * ill), images_of(rng, structure, ratio * ill))
    alone = structure == "independent"
    positive = (owner < ill) & (alone | (rng.random(len(owner)) < 0.6))
    positive[0] = True
    return Drawn(owner, positive, shared_noise(rng, owner, 0.0 if alone else SHARED))


def distance(area: float) -> float:
    """Returns how far apart two normal distributions are whose area under the ROC curve is this."""
    return float(special.ndtri(area)) * math.sqrt(2)


# Each function below simulates one study and says, by the name of a row: the interval and what it should hold, or the
# p-value of a true hypothesis.
Answer = dict[str, tuple[Estimate, float] | float]


def auroc(rng: np.random.Generator, cell: Cell) -> Answer:
    drawn = draw(rng, cell.structure, cell.patients)
    scores = drawn.noise + distance(cell.truth) * drawn.positive
    found = auc_interval(drawn.positive.astype(float), scores, clusters=drawn.owner)
    return {f"AUROC {cell.truth:g}": (found, cell.truth)}


def macro_auroc(rng: np.random.Generator, cell: Cell) -> Answer:
    drawn = draw(rng, cell.structure, cell.patients)
    tables = []
    for name, ill in (("A", cell.patients), ("B", max(3, cell.patients // 3)), ("C", 2 * cell.patients)):
        positive = drawn.owner < ill
        alone = cell.structure == "independent"
        noise = math.sqrt(0.5) * drawn.noise + math.sqrt(0.5) * shared_noise(rng, drawn.owner, 0.0 if alone else SHARED)
        score = special.expit(noise + distance(cell.truth) * positive)
        frame = {"image_id": np.arange(len(positive)), "patient_id": drawn.owner, "finding": name}
        tables.append(pd.DataFrame(frame | {"label": positive.astype(float), "score": score}))
    return {f"mean AUROC of three findings, {cell.truth:g}": (macro_auc_interval(pd.concat(tables)), cell.truth)}


def paired_auroc(rng: np.random.Generator, cell: Cell) -> Answer:
    drawn = draw(rng, cell.structure, cell.patients)
    shared = 0.0 if cell.structure == "independent" else SHARED
    first, second = (
        math.sqrt(0.6) * drawn.noise
        + math.sqrt(0.4) * shared_noise(rng, drawn.owner, shared)
        + distance(area) * drawn.positive
        for area in (0.9, 0.9 - cell.truth)
    )
    found, p_value = auroc_difference(drawn.positive.astype(float), first, second, clusters=drawn.owner)
    answer: Answer = {f"AUROC difference {cell.truth:g}": (found, cell.truth)}
    return answer | ({"test of an AUROC difference": p_value} if not cell.truth else {})


def paired_sensitivity(rng: np.random.Generator, cell: Cell) -> Answer:
    owner = np.repeat(np.arange(cell.patients), images_of(rng, cell.structure, cell.patients, "pneumothorax"))
    shared = 0.0 if cell.structure == "independent" else SHARED
    common, cut = shared_noise(rng, owner, shared), -special.ndtri(0.85)
    first, second = (
        math.sqrt(0.6) * common + math.sqrt(0.4) * shared_noise(rng, owner, shared) + lift >= cut
        for lift in (0.0, special.ndtri(0.85 - cell.truth) - special.ndtri(0.85))
    )
    found, p_value = paired_proportions(first, second, clusters=owner)
    answer: Answer = {f"sensitivity difference {cell.truth:g}": (found, cell.truth)}
    return answer | ({"test of a sensitivity difference": p_value} if not cell.truth else {})


def sensitivity(rng: np.random.Generator, cell: Cell) -> Answer:
    sizes = images_of(rng, cell.structure, cell.patients, "pneumothorax")
    owner = np.repeat(np.arange(cell.patients), sizes)
    # Beta-binomial: an intraclass correlation of SHARED between the images of a patient.
    total = 1 / SHARED - 1
    chance = rng.beta(cell.truth * total, (1 - cell.truth) * total, cell.patients)
    if cell.structure == "independent":
        chance[:] = cell.truth
    found = clustered_proportion_interval(rng.random(len(owner)) < chance[owner], owner)
    return {f"sensitivity {cell.truth:g}": (found, cell.truth)}


RATES = (
    "specificity", "ppv", "npv", "accuracy", "likelihood_ratio_positive", "likelihood_ratio_negative", "f1", "mcc",
    "youden",
)  # fmt: skip


def all_rates(rng: np.random.Generator, cell: Cell) -> Answer:
    """At sensitivity 0.9 and specificity 0.8, among N patients of whom three in ten are ill."""
    owner = np.repeat(np.arange(cell.patients), images_of(rng, cell.structure, cell.patients))
    alone = cell.structure == "independent"
    within = 1.0 if alone else 0.6
    positive = (rng.random(cell.patients) < 0.3)[owner] & (rng.random(len(owner)) < within)
    noise, (se, sp) = shared_noise(rng, owner, 0.0 if alone else SHARED), (0.9, 0.8)
    called = np.where(positive, noise <= special.ndtri(se), noise > special.ndtri(sp))
    if positive.all() or not positive.any():
        return {}
    found = rates(positive.astype(float), called, clusters=owner)
    ill = 0.3 * within
    tp, fn, fp, tn = ill * se, ill * (1 - se), (1 - ill) * (1 - sp), (1 - ill) * sp
    truth = {
        "specificity": sp, "ppv": tp / (tp + fp), "npv": tn / (tn + fn), "accuracy": tp + tn,
        "likelihood_ratio_positive": se / (1 - sp), "likelihood_ratio_negative": (1 - se) / sp,
        "f1": 2 * tp / (2 * tp + fp + fn), "youden": se + sp - 1,
        "mcc": (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
    }  # fmt: skip
    return {name.replace("_", " "): (getattr(found, name), truth[name]) for name in RATES}


def precision_at(area: float, prevalence: float) -> float:
    """Returns the average precision of infinitely many images: precision averaged over the positives' scores."""
    score, apart = np.linspace(-9, 12, 20_001), distance(area)
    found, called = stats.norm.sf(score - apart), stats.norm.sf(score)
    precision = prevalence * found / (prevalence * found + (1 - prevalence) * called)
    return float(np.trapezoid(precision * stats.norm.pdf(score - apart), score))


def average_precision(rng: np.random.Generator, cell: Cell) -> Answer:
    """Against the average precision at the prevalence of the images drawn."""
    drawn = draw(rng, cell.structure, cell.patients)
    scores, labels = drawn.noise + distance(cell.truth) * drawn.positive, drawn.positive.astype(float)
    options = {"clusters": drawn.owner, "replicates": 300, "seed": int(rng.integers(1 << 30))}
    here = precision_at(cell.truth, float(drawn.positive.mean()))
    return {f"average precision, AUROC {cell.truth:g}": (average_precision_interval(labels, scores, **options), here)}


def average_precision_of_a_population(rng: np.random.Generator, cell: Cell) -> Answer:
    owner = np.repeat(np.arange(5 * cell.patients), images_of(rng, cell.structure, 5 * cell.patients))
    alone = cell.structure == "independent"
    within = 1.0 if alone else 0.6
    positive = (rng.random(5 * cell.patients) < 0.2)[owner] & (rng.random(len(owner)) < within)
    if len(np.unique(owner[positive])) < 2:
        return {}
    scores = shared_noise(rng, owner, 0.0 if alone else SHARED) + distance(cell.truth) * positive
    options = {"clusters": owner, "replicates": 300, "seed": int(rng.integers(1 << 30)), "sampled_prevalence": True}
    found = average_precision_interval(positive.astype(float), scores, **options)
    return {f"average precision of a population, AUROC {cell.truth:g}": (found, precision_at(cell.truth, 0.2 * within))}


def calibration(rng: np.random.Generator, cell: Cell) -> Answer:
    """Of scores that are calibrated: labels follow them, and agree within patients beyond what the scores say."""
    owner = np.repeat(np.arange(cell.patients), images_of(rng, cell.structure, cell.patients))
    shared = 0.0 if cell.structure == "independent" else SHARED
    odds = -2 + 1.3 * shared_noise(rng, owner, shared)
    positive = special.ndtr(shared_noise(rng, owner, shared)) < special.expit(odds)
    if positive.all() or not positive.any():
        return {}
    found = measure_calibration(positive.astype(float), special.expit(odds), clusters=owner, replicates=2)
    return {"calibration slope": (found.slope, 1.0), "calibration in the large": (found.intercept, 0.0)}


@functools.cache
def population(structure: str) -> NDArray[np.int64]:
    return images_of(np.random.default_rng(1), structure, 20_000, "pneumothorax")


def guard(rng: np.random.Generator, cell: Cell) -> Answer:
    """How often a guarded threshold falls short, as a p-value that is 0 where it does; at most 5 % is promised.

    A study from which nothing can be guaranteed, so that the rule refuses, does not fall short.
    """
    hardness = cell.truth
    harder = ", patients with many images harder" if hardness else ""
    sizes = images_of(rng, cell.structure, cell.patients, "pneumothorax")
    owner, shared = np.repeat(np.arange(cell.patients), sizes), 0.0 if cell.structure == "independent" else 0.9
    scores = np.append(1.5 - hardness * np.log(sizes)[owner] + shared_noise(rng, owner, shared), rng.normal(size=50))
    labels = np.repeat([1.0, 0.0], [len(owner), 50])
    patients = np.append(owner, cell.patients + np.arange(50))
    frame = {"image_id": np.arange(len(scores)), "patient_id": patients, "finding": "Pneumothorax", "label": labels}
    try:
        point = choose_threshold(
            pd.DataFrame(frame | {"score": special.ndtr(scores - 0.75)}), rule="guarded_sensitivity", target=0.8
        )
    except ValueError:
        return {f"guarded threshold falls short{harder}": 1.0}
    cut = special.ndtri(point.threshold) + 0.75
    everyone = population(cell.structure)
    true = everyone @ special.ndtr(1.5 - hardness * np.log(everyone) - cut) / everyone.sum()
    return {f"guarded threshold falls short{harder}": 0.0 if true < 0.8 else 1.0}


def interaction(rng: np.random.Generator, cell: Cell) -> Answer:
    """Six groups with N patients of the finding each, one image in five of a patient in the next group."""
    groups = 6
    drawn = draw(rng, cell.structure, groups * cell.patients, ratio=3)
    group = drawn.owner % groups
    if cell.structure != "independent":
        group = np.where(rng.random(len(group)) < 0.2, (group + 1) % groups, group)
    scores = drawn.noise + distance(cell.truth) * drawn.positive
    masks = [group == number for number in range(groups)]
    right = (scores >= distance(cell.truth) - 1) == drawn.positive
    of_areas = areas_differ(drawn.positive, scores, drawn.owner, masks)
    of_rates = proportions_differ("sensitivity", right, drawn.owner, [mask & drawn.positive for mask in masks])
    return {
        "interaction of AUROC, 6 groups": of_areas.p_value,
        "interaction of sensitivity, 6 groups": of_rates.p_value,
    }


Simulation = Callable[[np.random.Generator, Cell], Answer]
SLOW = {"macro": (4, 0), "guard": (4, 0), "average_precision": (4, 200), "population_precision": (4, 200)}
"""Tables of which one run in so many is made, from so many patients on; the cells say of how many they are."""

TABLES: dict[str, tuple[Simulation, tuple[float, ...]]] = {
    "auroc": (auroc, (0.75, 0.85, 0.95)),
    "macro": (macro_auroc, (0.85,)),
    "paired": (paired_auroc, (0.0, 0.1)),
    "sensitivity": (sensitivity, (0.8, 0.9, 0.95)),
    "paired_sensitivity": (paired_sensitivity, (0.0, 0.1)),
    "rates": (all_rates, (0.0,)),
    "calibration": (calibration, (0.0,)),
    "guard": (guard, (0.0, 0.2)),
    "interaction": (interaction, (0.85,)),
    "average_precision": (average_precision, (0.85,)),
    "population_precision": (average_precision_of_a_population, (0.85,)),
}


def simulate(task: tuple[Cell, int, int]) -> tuple[Cell, dict[str, tuple[float, float, int]]]:
    """Returns for each row: how often the first thing happened, how often the second, of how many."""
    cell, runs, seed = task
    simulation = TABLES[cell.table][0]
    words = [ord(letter) for letter in cell.table + cell.structure]
    rng = np.random.default_rng([seed, cell.patients, round(100 * cell.truth), *words])
    tally: dict[str, list[float]] = {}
    for _ in range(runs):
        for row, answer in simulation(rng, cell).items():
            counts = tally.setdefault(row, [0.0, 0.0, 0])
            if isinstance(answer, tuple):
                found, truth = answer
                if not found.estimable:
                    continue
                counts[0] += found.low <= truth <= found.high
                counts[1] += found.low > truth
            elif math.isnan(answer):
                continue
            else:
                counts[0] += answer < 0.05
                counts[1] += answer < 0.01
            counts[2] += 1
    return cell, {row: (first, second, int(n)) for row, (first, second, n) in tally.items()}


def cells(only: list[str], sizes: tuple[int, ...]) -> Iterator[Cell]:
    for name in only:
        for truth in TABLES[name][1]:
            for structure in STRUCTURES:
                for patients in sizes:
                    yield Cell(name, "", structure, patients, truth)


def on_nih(folder: Path, runs: int) -> None:
    """Prints the tests of interaction on the real patients, age bands and labels."""
    table = pd.read_csv(folder / "Data_Entry_2017_v2020.csv")
    wanted = set((folder / "test_list.txt").read_text().split())
    table = table[table["Image Index"].isin(wanted) & (table["Patient Age"] <= 120)].reset_index(drop=True)
    owner = np.unique(table["Patient ID"], return_inverse=True)[1]
    band = age_bands(table["Patient Age"]).astype(str)
    print(f"\nNIH ChestX-ray14, official test list, age bands as they are, AUROC 0.85 in each; {runs} runs\n")
    print("| finding | bands | interaction of AUROC | interaction of sensitivity |")
    print("| --- | ---: | ---: | ---: |")
    for finding in ("Pneumothorax", "Pneumonia", "Edema", "Fibrosis", "Hernia"):
        rng = np.random.default_rng(0)
        positive = table["Finding Labels"].str.contains(finding).to_numpy()
        masks = [(band == name).to_numpy() for name in band.unique()]
        masks = [mask for mask in masks if (mask & positive).sum() >= 10]
        found = np.zeros((2, 2))
        for _ in range(runs):
            scores = shared_noise(rng, owner, SHARED) + distance(0.85) * positive
            right = (scores >= distance(0.85) - 1) == positive
            p_values = (
                areas_differ(positive, scores, owner, masks).p_value,
                proportions_differ("sensitivity", right, owner, [mask & positive for mask in masks]).p_value,
            )
            found += [[p < level for level in (0.05, 0.01)] for p in p_values]
        shares = [f"{100 * five / runs:.1f} ({100 * one / runs:.1f})" for five, one in found]
        print(f"| {finding} | {len(masks)} | {shares[0]} | {shares[1]} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(TABLES), help="tables, separated by commas")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of patients, separated by commas")
    parser.add_argument("--nih", type=Path, help="folder with the label file and the test list of NIH ChestX-ray14")
    options = parser.parse_args()
    only, sizes = options.only.split(","), tuple(int(size) for size in options.sizes.split(","))
    unknown = [name for name in only if name not in TABLES]
    if unknown:
        sys.exit(f"--only: no table {unknown[0]!r}; there are: {', '.join(TABLES)}")
    print(
        f"{options.runs:,} runs a cell; Monte Carlo error at 95 %: {100 * math.sqrt(0.95 * 0.05 / options.runs):.1f}\n"
    )
    for name in only:
        start = time.perf_counter()
        share, least = SLOW.get(name, (1, 0))
        tasks = [
            (cell, options.runs // (share if cell.patients >= least else 1), options.seed)
            for cell in cells([name], sizes)
        ]
        rows: dict[tuple[str, str], dict[int, str]] = {}
        with Pool(os.cpu_count()) as pool:
            for cell, found in pool.imap(simulate, tasks[::-1]):
                for row, (first, second, n) in found.items():
                    text = f"{100 * first / n:.1f} ({100 * second / n:.1f})" if n else "–"
                    text += f" of {n:,}" if 0 < n < options.runs else ""
                    rows.setdefault((row, cell.structure), {})[cell.patients] = text
        print(f"| {name} | images | {' | '.join(f'{size:,}' for size in sizes)} |")
        print(f"| --- | --- |{' ---: |' * len(sizes)}")
        for (row, structure), texts in sorted(
            rows.items(), key=lambda item: (item[0][0], STRUCTURES.index(item[0][1]))
        ):
            print(f"| {row} | {structure} | {' | '.join(texts.get(size, '–') for size in sizes)} |")
        print(f"\n{time.perf_counter() - start:.0f} s\n", flush=True)
    if options.nih:
        on_nih(options.nih, options.runs // 4)


if __name__ == "__main__":
    main()
