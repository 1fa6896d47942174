"""What patients are worth, written out image by image and patient by patient: what the tests hold the package against.

Slow on purpose, with plain loops; nothing here calls the package.
"""

import json
import math
from pathlib import Path

import numpy as np
from scipy import stats

NIH = json.loads((Path(__file__).parents[2] / "benchmarks" / "simulations" / "nih_test_patients.json").read_text())
"""How many patients of NIH's official test list have how many images, of any kind and of pneumothorax."""


def nih_sizes(rng, patients, kind="images"):
    """Draws how many images each patient has as NIH's test patients have them."""
    sizes = [int(size) for size, count in NIH[kind].items() for _ in range(count)]
    return rng.choice(sizes, patients)


def by_patient(values, patients):
    """Returns the values of each patient, as lists."""
    groups = {}
    for value, patient in zip(values, patients, strict=True):
        groups.setdefault(patient, []).append(float(value))
    return list(groups.values())


def kish(patients):
    """(sum of images)^2 over the sum of squared images of patients."""
    sizes = [len(group) for group in by_patient(patients, patients)]
    return sum(sizes) ** 2 / sum(size**2 for size in sizes)


def intraclass_correlation(values, patients):
    """The correlation within patients from the table of a one-way analysis of variance with unequal sizes."""
    groups = by_patient(values, patients)
    n, k = len(values), len(groups)
    mean = sum(map(float, values)) / n
    between = sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in groups) / (k - 1)
    within = sum((value - sum(group) / len(group)) ** 2 for group in groups for value in group) / (n - k)
    usual_size = (n - sum(len(group) ** 2 for group in groups) / n) / (k - 1)
    if between + within < 1e-18:
        return 1.0
    return min(1.0, max(0.0, (between - within) / (between + (usual_size - 1) * within)))


def design_effect(values, patients):
    """The largest of 1, squared sums over squares, and what the correlation within patients says."""
    groups = by_patient(values, patients)
    n, k = len(values), len(groups)
    if n == k:
        return 1.0
    mean = sum(map(float, values)) / n
    squares = sum((value - mean) ** 2 for value in values)
    sums = sum((sum(group) - len(group) * mean) ** 2 for group in groups)
    crowding = n / kish(patients)
    correlation = intraclass_correlation(values, patients) if k > 1 else 1.0
    return max(1.0, sums / squares if squares > 1e-18 else 1.0, 1 + (crowding - 1) * correlation)


def raised(values, patients):
    """The variance of the sum of values about 0: their squares times the design effect, with k / (k - 1)."""
    k = len(by_patient(values, patients))
    return k / (k - 1) * sum(float(value) ** 2 for value in values) * design_effect(values, patients)


def satterthwaite(variances, worths):
    """Degrees of freedom of a sum of variances, each with one degree less than its patients are worth."""
    below = sum(v**2 / max(w - 1, 1) for v, w in zip(variances, worths, strict=True))
    return sum(variances) ** 2 / below if below > 0 else math.inf


def effective_size(successes, patients, confidence=0.95):
    """Images over design effect, times squared Student quantiles at images over those at what patients are worth."""
    n, worth = len(successes), kish(patients)
    size = n / design_effect(np.asarray(successes, float), patients)
    if len(set(patients)) < n:
        quantile = 0.5 + confidence / 2
        size *= (stats.t.ppf(quantile, n - 1) / stats.t.ppf(quantile, max(worth - 1, 1))) ** 2
    return max(1.0, size)


def clopper_pearson(successes, n, confidence=0.95):
    """The exact limits by quantiles of the beta distribution, for fractions too."""
    tail = (1 - confidence) / 2
    low = stats.beta.ppf(tail, successes, n - successes + 1) if successes > 0 else 0.0
    high = stats.beta.ppf(1 - tail, successes + 1, n - successes) if successes < n else 1.0
    return low, high


def auc_parts(labels, scores, patients):
    """The area under the ROC curve, and of positives and negatives each: contributions of images and their patients."""
    positives = [(p, s) for p, s, label in zip(patients, scores, labels, strict=True) if label]
    negatives = [(p, s) for p, s, label in zip(patients, scores, labels, strict=True) if not label]

    def wins(positive, negative):
        return 1.0 if positive > negative else 0.5 if positive == negative else 0.0

    above = [sum(wins(s, other) for _, other in negatives) / len(negatives) for _, s in positives]
    below = [sum(wins(other, s) for _, other in positives) / len(positives) for _, s in negatives]
    area = sum(above) / len(above)
    return area, (
        ([(share - area) / len(positives) for share in above], [p for p, _ in positives]),
        ([(share - area) / len(negatives) for share in below], [p for p, _ in negatives]),
    )


def auc_variance(labels, scores, patients):
    """Obuchowski's variance of the area with each class's own part raised to what its design effect says.

    Returns:
        Area, variance, its parts by class, what patients are worth by class, and effective sizes by class.
    """
    return (auc_parts(labels, scores, patients)[0], *variance_of(auc_parts(labels, scores, patients)[1], patients))


def auc_difference(labels, first, second, patients):
    """The same of the difference of two areas, to which each image contributes the difference of its contributions."""
    (area, classes), (other, subtracted) = (auc_parts(labels, scores, patients) for scores in (first, second))
    differences = [
        ([one - two for one, two in zip(values, less, strict=True)], owners)
        for (values, owners), (less, _) in zip(classes, subtracted, strict=True)
    ]
    return (area - other, *variance_of(differences, patients))


def variance_of(classes, patients):
    """Variance, its parts by class, worths and effective sizes, from the contributions of positives and negatives."""
    variances = [raised(*one) for one in classes]
    worths = [kish(owners) for _, owners in classes]
    sizes = [len(values) / design_effect(values, owners) for values, owners in classes]
    sums = [{p: 0.0 for p in patients} for _ in classes]
    for total, (values, owners) in zip(sums, classes, strict=True):
        for value, owner in zip(values, owners, strict=True):
            total[owner] += value
    k = len(sums[0])
    cross = k / (k - 1) * sum(sums[0][p] * sums[1][p] for p in sums[0])
    return sum(variances) + 2 * cross, variances, worths, sizes
