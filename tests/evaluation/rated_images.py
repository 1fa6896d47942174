"""Calls of several readers on images whose truth is known, for tests of agreement."""

import numpy as np
import pandas as pd

SENSITIVITY, SPECIFICITY = (0.9, 0.75, 0.8, 0.6), (0.95, 0.9, 0.85, 0.98)


def rated(n=600, seed=0, prevalence=0.3, readers=4):
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < prevalence
    calls = {
        f"reader {k}": np.where(truth, rng.random(n) < SENSITIVITY[k], rng.random(n) > SPECIFICITY[k]).astype(float)
        for k in range(readers)
    }
    return pd.DataFrame(calls, index=[f"image {number:04d}" for number in range(n)]), truth
