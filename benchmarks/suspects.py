"""Are wrong labels among the first that `find_suspects` lists? Phantoms whose truth is known, labels turned over.

    .venv/bin/python benchmarks/suspects.py --images 600

Labels of each finding are turned over on 5 % of the images: at random, or on those positive images where the finding is
drawn faintest (they are recorded as negative). Out-of-fold scores are of logistic regressions on the leading principal
components of small images, five folds by patient, fitted to the labels with the mistakes in them.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import special

import chexkeras as cx
from chexkeras.data.splits.splitters import assign_parts
from chexkeras.evaluation.label_errors.confident_learning import RANKINGS, find_suspects
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.phantoms.cohort import make_cohort

FINDINGS = ("Cardiomegaly", "Effusion", "Pneumothorax")
PREVALENCE = dict.fromkeys(FINDINGS, 0.3)
SIDE, COMPONENTS, FOLDS, SHARE = 24, 60, 5, 0.05


def fit(features, positive, ridge=10.0):
    design = np.column_stack([np.ones(len(features)), features])
    line, penalty = np.zeros(design.shape[1]), np.append(1e-6, np.full(features.shape[1], ridge))
    for _ in range(15):
        fitted = special.expit(design @ line)
        information = (design * (fitted * (1 - fitted))[:, np.newaxis]).T @ design + np.diag(penalty)
        line = line + np.linalg.solve(information, design.T @ (positive - fitted) - penalty * line)
    return line


def out_of_fold(features, labels, fold):
    scores = np.empty(len(labels))
    for number in np.unique(fold):
        test = fold == number
        mean = features[~test].mean(axis=0)
        axes = np.linalg.svd(features[~test] - mean, full_matrices=False)[2][:COMPONENTS]
        train = (features[~test] - mean) @ axes.T
        spread = train.std(axis=0)
        line = fit(train / spread, labels[~test])
        scores[test] = special.expit(line[0] + ((features[test] - mean) @ axes.T / spread) @ line[1:])
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(), "phantoms")
    cx.make_phantoms(
        folder, images=options.images, size=96, seed=options.seed, dicom=False, prevalence=PREVALENCE, processes=1
    )
    table = cx.load_nih(folder)
    severity = {image.image_id: dict(image.severity) for image in make_cohort(options.images, options.seed, PREVALENCE)}
    pixels = np.stack([
        np.asarray(Image.open(path).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), float).ravel()
        for path in table["path"]
    ])  # fmt: skip
    parts = {f"fold {number}": 1 / FOLDS for number in range(FOLDS)}
    fold = assign_parts(table, FINDINGS, parts, options.seed, "patient")
    print("| turned over | finding | AUROC | wrong | estimated | listed | precision of the first k = wrong | "
          "recall of the first 2 k | by self-confidence: precision |")  # fmt: skip
    print("| --- | --- " + "| ---: " * 7 + "|")
    for kind in ("at random", "where faint"):
        for number, finding in enumerate(FINDINGS):
            rng = np.random.default_rng([options.seed, number])
            truth = table[finding].to_numpy()
            degree = np.array([severity[image].get(finding, 0.0) for image in table["image_id"]])
            if not np.array_equal(degree > 0, truth == 1):
                raise SystemExit("the drawn cohort is not the one that the labels are of")
            k = round(SHARE * len(table))
            order = rng.permutation(len(table)) if kind == "at random" else np.argsort(np.where(truth == 1, degree, 2))
            labels = truth.copy()
            labels[order[:k]] = 1 - labels[order[:k]]
            scores = out_of_fold(pixels, labels, fold)
            rows = pd.DataFrame({"image_id": table["image_id"], "patient_id": table["patient_id"], "finding": finding,
                                 "label": labels, "score": scores})  # fmt: skip
            wrong = dict(zip(table["image_id"], labels != truth, strict=True))
            hits, found = {}, None
            for ranking in RANKINGS:
                found = find_suspects(rows, rank_by=ranking)
                listed = found.table
                hits[ranking] = np.array([wrong[image] for image in listed["image_id"]]), listed["patient_id"]
            first, patients = hits["adjusted_margin"]
            precision = clustered_proportion_interval(first[:k].astype(float), patients[:k])
            of_wrong = np.flatnonzero(first)
            recall = clustered_proportion_interval((of_wrong < 2 * k).astype(float), patients.to_numpy()[of_wrong])
            other, theirs = hits["self_confidence"]
            entry = found.findings[0]
            print(f"| {kind} | {finding} | {cx.evaluation.auc_interval(truth, scores).value:.3f} | {k} | "
                  f"{entry.errors.value:.0f} ({entry.errors.low:.0f}-{entry.errors.high:.0f}) | {entry.n_suspect} | "
                  f"{precision} | {recall} | {clustered_proportion_interval(other[:k].astype(float), theirs[:k])} |",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
