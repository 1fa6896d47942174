"""Do cross-validated intervals cover what they say, and do tests of two recipes reject what is true? Simulated refits.

    .venv/bin/python benchmarks/simulations/cross_validation.py
    .venv/bin/python benchmarks/simulations/cross_validation.py --only comparison --runs 500

Patients have one to five images with ten features; half of the variance of a feature, and of what makes an image
positive, is shared within a patient. In every fold a logistic regression (ridge) is fitted anew to four fifths of the
training patients, and a threshold is chosen on the others. Features of either class are normally distributed, so that
what a fitted model would achieve on new patients is known exactly: "truth" is the mean over the models of the folds.
All intervals are those of `evaluate_folds`; beside the AUROC's stands LeDell's influence curve as published.
"""

import argparse
import math
import os
import time
from collections.abc import Iterator
from multiprocessing import Pool
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from chexkeras.evaluation.cross_validation.compare_folds import judge_pair
from chexkeras.evaluation.cross_validation.contributions import areas_in_folds, fold_weights
from chexkeras.evaluation.cross_validation.evaluate_folds import judge_folds
from chexkeras.evaluation.cross_validation.fold_scores import FindingFolds, FoldScores

Floats = NDArray[np.float64]
SHARED, FEATURES, INFORMATIVE = 0.5, 10, 5
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
MEASURES = ("auroc", "average_precision", "sensitivity", "specificity", "slope", "intercept", "brier")


class Images(NamedTuple):
    """Images of patients with their labels and features."""

    owner: NDArray[np.int64]
    positive: NDArray[np.bool_]
    features: Floats


class Model(NamedTuple):
    """A fitted logistic regression."""

    intercept: float
    weights: Floats

    def odds(self, features: Floats) -> Floats:
        return self.intercept + features @ self.weights

    def distribution(self, shift: Floats) -> tuple[float, float, float]:
        """Returns the means of the log odds of new negatives and positives, and their standard deviation."""
        mean = self.intercept + float(self.weights @ shift)
        return self.intercept, mean, max(float(np.linalg.norm(self.weights)), 1e-12)


def draw(rng: np.random.Generator, n: int, prevalence: float, shift: Floats) -> Images:
    sizes = rng.integers(1, 6, n)
    owner = np.repeat(np.arange(n), sizes)[:n]

    def noise(*width: int) -> Floats:
        of_patients = rng.normal(size=(int(owner.max()) + 1, *width))[owner]
        return math.sqrt(SHARED) * of_patients + math.sqrt(1 - SHARED) * rng.normal(size=(n, *width))

    positive = noise() > special.ndtri(1 - prevalence)
    return Images(owner, positive, noise(len(shift)) + np.outer(positive, shift))


def fit(features: Floats, positive: NDArray[np.bool_], ridge: float = 1.0) -> Model:
    design = np.column_stack([np.ones(len(features)), features])
    penalty = np.append(1e-9, np.full(features.shape[1], ridge))
    line = np.append(special.logit((positive.sum() + 0.5) / (len(positive) + 1)), np.zeros(features.shape[1]))
    for _ in range(12):
        fitted = special.expit(design @ line)
        information = (design * (fitted * (1 - fitted))[:, np.newaxis]).T @ design + np.diag(penalty)
        step = np.linalg.solve(information, design.T @ (positive - fitted) - penalty * line)
        line = line + step
        if np.abs(step).max() < 1e-5:
            break
    return Model(float(line[0]), line[1:])


def divide(rng: np.random.Generator, images: Images, parts: int) -> NDArray[np.int64]:
    """Returns the part of each image: patients whole, those with and without a positive image spread alike."""
    ever = np.zeros(int(images.owner.max()) + 1, dtype=bool)
    ever[images.owner[images.positive]] = True
    part, start = np.empty(len(ever), dtype=np.int64), 0
    for group in (True, False):
        members = rng.permutation(np.flatnonzero(ever == group))
        part[members] = (np.arange(len(members)) + start) % parts
        start += len(members)
    return part[images.owner]


def threshold_of(odds: Floats, positive: NDArray[np.bool_]) -> float:
    """Returns the score with the largest sum of sensitivity and specificity; the middle where a class is missing."""
    if positive.all() or not positive.any():
        return float(special.expit(np.median(odds)))
    order = np.argsort(-odds)
    gain = np.cumsum(np.where(positive[order], 1 / positive.sum(), -1 / (~positive).sum()))
    return float(special.expit(odds[order][int(gain.argmax())]))


SEPARATIONS = np.linspace(-2, 6, 161)
PRECISIONS: dict[float, Floats] = {}


def interpolated_precision(separation: float, prevalence: float) -> float:
    if prevalence not in PRECISIONS:
        PRECISIONS[prevalence] = np.array([true_precision(each, prevalence) for each in SEPARATIONS])
    return float(np.interp(separation, SEPARATIONS, PRECISIONS[prevalence]))


def true_precision(separation: float, prevalence: float) -> float:
    """Returns the average precision where negatives are N(0, 1) and positives N(separation, 1)."""
    at = separation + np.linspace(-8, 8, 1601)
    above = prevalence * special.ndtr(separation - at)
    precision = above / np.maximum(above + (1 - prevalence) * special.ndtr(-at), 1e-300)
    density = np.exp(-((at - separation) ** 2) / 2)
    return float((precision * density).sum() / density.sum())


class Fitted(NamedTuple):
    """The models of one division into folds, and what they make of the images."""

    fold: NDArray[np.int64]
    score: Floats
    threshold: Floats
    models: list[Model]


def cross_validate(rng: np.random.Generator, images: Images, folds: int, columns: NDArray[np.int64],
                   fold: NDArray[np.int64] | None = None) -> Fitted | None:  # fmt: skip
    fold = divide(rng, images, folds) if fold is None else fold
    score, threshold, models = np.empty(len(fold)), np.empty(len(fold)), []
    for number in range(folds):
        test = np.flatnonzero(fold == number)
        found = int(images.positive[test].sum())
        if found in (0, len(test)):
            return None
        rest = np.flatnonzero(fold != number)
        held = divide(rng, Images(*(each[rest] for each in images)), 5) == 0
        train, validation = rest[~held], rest[held]
        model = fit(images.features[np.ix_(train, columns)], images.positive[train])
        score[test] = special.expit(model.odds(images.features[np.ix_(test, columns)]))
        odds = model.odds(images.features[np.ix_(validation, columns)])
        threshold[test] = threshold_of(odds, images.positive[validation])
        models.append(model)
    return Fitted(fold, score, threshold, models)


def as_scores(images: Images, fitted: list[Fitted]) -> FoldScores:
    names = np.arange(len(images.owner)).astype(str).astype(object)
    patients = images.owner.astype(str).astype(object)
    folds = len(fitted[0].models)
    one = FindingFolds(
        "finding", names, patients, images.positive,
        np.stack([[each.score] for each in fitted]), np.stack([each.fold for each in fitted]),
        np.stack([[each.threshold] for each in fitted]), (tuple(range(folds)),) * len(fitted),
    )  # fmt: skip
    return FoldScores(
        {"finding": one}, tuple(range(len(fitted))), (0,), folds, len(names), np.unique(patients.astype(str)), ""
    )


def area_of(model: Model, shift: Floats) -> float:
    low, high, spread = model.distribution(shift)
    return float(special.ndtr((high - low) / (math.sqrt(2) * spread)))


def truths(images: Images, fitted: list[Fitted], shift: Floats, prevalence: float) -> dict[str, float]:
    """Returns what the models of the folds would achieve on new patients, averaged as the estimates are."""
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for each in fitted:
        parts = {name: np.empty(len(each.models)) for name in MEASURES}
        sizes, ill = np.bincount(each.fold), np.bincount(each.fold, images.positive)
        odds = np.empty((len(each.models), 2, len(NODES)))
        for number, model in enumerate(each.models):
            low, high, spread = model.distribution(shift)
            cut = special.logit(each.threshold[each.fold == number][0])
            odds[number] = np.array([[low], [high]]) + spread * NODES
            parts["auroc"][number] = area_of(model, shift)
            parts["average_precision"][number] = interpolated_precision(
                (high - low) / spread, round(float(images.positive.mean()), 2)
            )
            parts["sensitivity"][number] = special.ndtr((high - cut) / spread)
            parts["specificity"][number] = special.ndtr((cut - low) / spread)
            parts["slope"][number] = (high - low) / spread**2
            chance = special.expit(odds[number])
            parts["brier"][number] = (1 - prevalence) * (chance[0] ** 2 @ WEIGHTS) + prevalence * (
                (1 - chance[1]) ** 2 @ WEIGHTS
            )
        shares = {"sensitivity": ill / ill.sum(), "specificity": (sizes - ill) / (sizes - ill).sum(),
                  "brier": sizes / sizes.sum()}  # fmt: skip
        for name in MEASURES:
            if name != "intercept":
                found[name].append(float(np.average(parts[name], weights=shares.get(name))))
        a = 0.0
        mixture = np.array([1 - prevalence, prevalence])
        for _ in range(6):
            chance = special.expit(odds + a)
            mean = float(np.average((chance @ WEIGHTS) @ mixture, weights=sizes))
            slope = float(np.average(((chance * (1 - chance)) @ WEIGHTS) @ mixture, weights=sizes))
            a += (prevalence - mean) / slope
        found["intercept"].append(a)
    return {name: float(np.mean(values)) for name, values in found.items()}


def ledell(scores: FoldScores) -> tuple[float, float]:
    """Returns the limits by the influence curve as it was published: own folds' areas taken off, normal quantile."""
    one = scores.findings["finding"]
    areas, placed = areas_in_folds(one)
    own = np.take_along_axis(areas, one.fold[:, np.newaxis], axis=2)
    contribution = ((placed - own) * fold_weights(one)[:, np.newaxis]).mean(axis=(0, 1))
    error = math.sqrt(float((np.bincount(one.owner, contribution) ** 2).sum()))
    return float(areas.mean()) - 1.96 * error, float(areas.mean()) + 1.96 * error


class Cell(NamedTuple):
    """One cell of a table."""

    n: int
    prevalence: float
    signal: float
    runs: int
    seed: int


def shift_of(signal: float) -> Floats:
    return np.append(np.full(INFORMATIVE, signal / math.sqrt(INFORMATIVE)), np.zeros(FEATURES - INFORMATIVE))


def one_cell(cell: Cell) -> dict[tuple[int, int], dict[str, list[float]]]:
    """Returns for (folds, repeats) lists of what was found: whether intervals held the truth, and biases."""
    rng, shift, columns = np.random.default_rng(cell.seed), shift_of(cell.signal), np.arange(FEATURES)
    found: dict[tuple[int, int], dict[str, list[float]]] = {}
    for _ in range(cell.runs):
        images = draw(rng, cell.n, cell.prevalence, shift)
        refit = area_of(fit(images.features, images.positive), shift)
        for folds in (5, 10):
            made = [cross_validate(rng, images, folds, columns) for _ in range(3)]
            if any(each is None for each in made):
                continue
            known = [truths(images, [each], shift, cell.prevalence) for each in made if each is not None]
            for repeats in (1, 3):
                used = [each for each in made[:repeats] if each is not None]
                scores, kept = as_scores(images, used), found.setdefault((folds, repeats), {})
                entry = judge_folds(scores, 0.95).findings[0]
                truth = {name: float(np.mean([each[name] for each in known[:repeats]])) for name in MEASURES}
                for name in MEASURES:
                    estimate = getattr(entry, name)
                    if not estimate.estimable:
                        continue
                    kept.setdefault(name, []).append(float(estimate.low <= truth[name] <= estimate.high))
                    kept.setdefault(f"bias of {name}", []).append(estimate.value - truth[name])
                kept.setdefault("above", []).append(float(entry.auroc.low > truth["auroc"]))
                low, high = ledell(scores)
                kept.setdefault("ledell", []).append(float(low <= truth["auroc"] <= high))
                kept.setdefault("refit", []).append(float(entry.auroc.low <= refit <= entry.auroc.high))
                kept.setdefault("bias against the refit", []).append(entry.auroc.value - refit)
                kept.setdefault("width", []).append(entry.auroc.high - entry.auroc.low)
                kept.setdefault("truth", []).append(truth["auroc"])
    return found


def one_comparison(cell: Cell) -> dict[tuple[str, int, int], dict[str, list[float]]]:
    """Returns how often two equally good recipes are told apart, and whether the intervals hold what they are about."""
    rng = np.random.default_rng(cell.seed)
    half = np.full(INFORMATIVE, cell.signal / math.sqrt(INFORMATIVE))
    kinds = {
        # Neither sees what the other sees; both see the same signal, but other noise; as before, two features alone.
        "other features": (np.concatenate([half, half]), np.arange(5), np.arange(5, 10)),
        "other noise": (
            np.concatenate([half, np.zeros(20)]), np.arange(15), np.append(np.arange(5), np.arange(15, 25))
        ),
    }  # fmt: skip
    found: dict[tuple[str, int, int], dict[str, list[float]]] = {}
    for _ in range(cell.runs):
        for kind, (shift, first, second) in kinds.items():
            images = draw(rng, cell.n, cell.prevalence, shift)
            for folds in (5, 10):
                pairs = []
                for _ in range(3):
                    one = cross_validate(rng, images, folds, first)
                    pairs.append((one, one and cross_validate(rng, images, folds, second, one.fold)))
                if any(one is None for one, _ in pairs):
                    continue
                for repeats in (1, 3):
                    tables = [as_scores(images, [pair[at] for pair in pairs[:repeats]]) for at in (0, 1)]
                    result = judge_pair(*tables, ("A", "B"), None, 0.95)[0]
                    truth = np.mean([
                        [area_of(a, shift[first]) - area_of(b, shift[second])
                         for a, b in zip(pair[0].models, pair[1].models, strict=True)] for pair in pairs[:repeats]
                    ])  # fmt: skip
                    kept = found.setdefault((kind, folds, repeats), {})
                    for name, p in (("resampled", result.p_resampled), ("influence", result.p_influence),
                                    ("reported", result.comparison.p_value)):  # fmt: skip
                        kept.setdefault(name, []).append(float(p < 0.05))
                    kept.setdefault("holds", []).append(float(result.influence.low <= truth <= result.influence.high))
    return found


def merged(results: Iterator[dict]) -> dict:
    whole: dict = {}
    for found in results:
        for key, lists in found.items():
            for name, values in lists.items():
                whole.setdefault(key, {}).setdefault(name, []).extend(values)
    return whole


def percent(values: list[float]) -> str:
    return f"{100 * np.mean(values):.1f}" if values else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("coverage", "comparison"))
    parser.add_argument("--n", type=int, nargs="*", default=[150, 400, 1000])
    parser.add_argument("--prevalence", type=float, nargs="*", default=[0.1, 0.3, 0.5])
    parser.add_argument("--signal", type=float, nargs="*", default=[1.2])
    options = parser.parse_args()
    processes = os.cpu_count() or 1

    def run(simulate, n: int, prevalence: float, signal: float) -> dict:
        # Large samples are long to fit, and vary less in what they say of the method.
        chunks = processes * 4
        runs = max(1, options.runs // (1 if n < 1000 else 2) // chunks)
        seeds = np.random.SeedSequence([options.seed, n, round(1000 * prevalence), round(1000 * signal)]).spawn(chunks)
        cells = [Cell(n, prevalence, signal, runs, int(seed.generate_state(1)[0])) for seed in seeds]
        with Pool(processes) as pool:
            return merged(pool.imap(simulate, cells))

    start = time.perf_counter()
    if options.only != "comparison":
        print("| n | prevalence | folds x repeats | runs | true AUROC | AUROC | above | LeDell | refit | bias | "
              "bias against refit | width | AP (bias) | sens. | spec. | slope (bias) | intercept | Brier |",
              flush=True)  # fmt: skip
        print("| ---: " * 18 + "|")
        for signal in options.signal:
            for n in options.n:
                for prevalence in options.prevalence:
                    for (folds, repeats), kept in run(one_cell, n, prevalence, signal).items():
                        mean = {name: float(np.mean(values)) for name, values in kept.items()}
                        print(
                            f"| {n} | {prevalence:g} | {folds} x {repeats} | {len(kept['auroc']):,} | "
                            f"{mean['truth']:.3f} | {percent(kept['auroc'])} | {percent(kept['above'])} | "
                            f"{percent(kept['ledell'])} | {percent(kept['refit'])} | {mean['bias of auroc']:+.3f} | "
                            f"{mean['bias against the refit']:+.3f} | {mean['width']:.3f} | "
                            f"{percent(kept['average_precision'])} ({mean['bias of average_precision']:+.3f}) | "
                            f"{percent(kept['sensitivity'])} | {percent(kept['specificity'])} | "
                            f"{percent(kept.get('slope', []))} ({mean.get('bias of slope', math.nan):+.2f}) | "
                            f"{percent(kept['intercept'])} | {percent(kept['brier'])} |", flush=True,
                        )  # fmt: skip
        print(f"\n{time.perf_counter() - start:.0f} s\n", flush=True)
    if options.only != "coverage":
        start = time.perf_counter()
        print("| recipes | n | prevalence | folds x repeats | runs | resampled t | influence | reported | holds |")
        print("| --- " + "| ---: " * 8 + "|")
        for n in options.n:
            for prevalence in options.prevalence:
                for (kind, folds, repeats), kept in run(one_comparison, n, prevalence, options.signal[0]).items():
                    print(f"| {kind} | {n} | {prevalence:g} | {folds} x {repeats} | {len(kept['reported']):,} | "
                          f"{percent(kept['resampled'])} | {percent(kept['influence'])} | {percent(kept['reported'])} "
                          f"| {percent(kept['holds'])} |", flush=True)  # fmt: skip
        print(f"\n{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
