"""Out-of-fold scores for tests: patients in folds, scored anew in every repeat and with every seed."""

import numpy as np
import pandas as pd


def out_of_fold(
    patients=60, folds=5, repeats=1, seeds=1, findings=("Mass",), *, images=2, signal=1.2, noise=0.3, seed=0, of=0
):
    """Returns a table; `of` draws other noise of trainings on the same images, labels and folds."""
    rng, trained = np.random.default_rng(seed), np.random.default_rng([seed, of])
    owner = np.repeat(np.arange(patients), images)
    n = len(owner)
    truth = {name: rng.random(n) < 0.35 for name in findings}
    seen = {name: signal * truth[name] + rng.normal(size=n) for name in findings}
    tables = []
    for repeat in range(1, repeats + 1):
        fold = rng.permutation(patients) % folds + 1
        for number in range(seeds):
            for name in findings:
                odds = seen[name] - 1 + noise * trained.normal(size=n)
                tables.append(
                    pd.DataFrame({
                        "image_id": [f"i{at:04d}" for at in range(n)], "patient_id": [f"p{at:03d}" for at in owner],
                        "finding": name, "label": truth[name].astype(float), "score": 1 / (1 + np.exp(-odds)),
                        "repeat": repeat, "fold": fold[owner], "seed": number, "threshold": 0.4,
                    })
                )  # fmt: skip
    return pd.concat(tables, ignore_index=True)
