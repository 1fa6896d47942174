"""Dawid and Skene's consensus: against EM written out, readers who are known, and today's results for calls."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.agreement.consensus import majority
from chexkeras.evaluation.agreement.dawid_skene import CategoryConsensus, dawid_skene, dawid_skene_categories
from tests.evaluation.rated_images import SENSITIVITY, SPECIFICITY, rated


def slow_dawid_skene(values, steps):
    """EM image by image and reader by reader."""
    n, readers = values.shape
    posterior = [np.nanmean(row) for row in values]
    for _ in range(steps):
        prevalence = np.mean(posterior)
        sensitivity = [sum(p * values[i, r] for i, p in enumerate(posterior)) / sum(posterior) for r in range(readers)]
        specificity = [
            sum((1 - p) * (1 - values[i, r]) for i, p in enumerate(posterior)) / sum(1 - p for p in posterior)
            for r in range(readers)
        ]
        for i in range(n):
            yes, no = prevalence, 1 - prevalence
            for r in range(readers):
                yes *= sensitivity[r] if values[i, r] else 1 - sensitivity[r]
                no *= 1 - specificity[r] if values[i, r] else specificity[r]
            posterior[i] = yes / (yes + no)
    return np.array(posterior), sensitivity, specificity


def test_em_equals_a_slow_one_step_by_step():
    table, _ = rated(60, seed=3)
    found = dawid_skene(table, replicates=20, max_iterations=7)
    posterior, sensitivity, specificity = slow_dawid_skene(table.to_numpy(), 7)
    assert (found.iterations, found.converged) == (7, False)
    np.testing.assert_allclose(found.probabilities, posterior, rtol=1e-9)
    np.testing.assert_allclose([entry.value for entry in found.sensitivities.values()], sensitivity, rtol=1e-9)
    np.testing.assert_allclose([entry.value for entry in found.specificities.values()], specificity, rtol=1e-9)


def test_the_readers_that_made_the_ratings_are_recovered():
    table, truth = rated(4000, seed=1)
    found = dawid_skene(table, replicates=100)
    assert found.converged
    assert not found.switched
    for k, reader in enumerate(table.columns):
        assert found.sensitivities[reader].low <= SENSITIVITY[k] <= found.sensitivities[reader].high
        assert found.specificities[reader].low <= SPECIFICITY[k] <= found.specificities[reader].high
        assert found.sensitivities[reader].value == pytest.approx(SENSITIVITY[k], abs=0.05)
    assert found.prevalence.value == pytest.approx(truth.mean(), abs=0.02)
    wrong = ((found.probabilities > 0.5).to_numpy() != truth).mean()
    assert wrong <= ((majority(table).fillna(1) == 1).to_numpy() != truth).mean()


def test_every_em_step_raises_the_likelihood_until_it_converges():
    table, _ = rated(150, seed=5)
    values = [dawid_skene(table, replicates=1, max_iterations=steps).log_likelihood for steps in range(1, 25)]
    assert all(after >= before - 1e-9 for before, after in itertools.pairwise(values))


def test_ratings_left_out_do_not_stop_em():
    table, _ = rated(3000, seed=2)
    rng = np.random.default_rng(0)
    gaps = table.mask(rng.random(table.shape) < 0.3)
    gaps.iloc[0] = np.nan
    found = dawid_skene(gaps, replicates=20)
    assert np.isnan(found.probabilities.iloc[0])
    assert found.sensitivities["reader 0"].value == pytest.approx(0.9, abs=0.06)


def test_classes_are_exchanged_where_readers_would_be_worse_than_chance_on_average():
    # Found by search: votes start EM here on a hill where the average reader errs more often than not.
    table = pd.DataFrame([[1, 0, 0], [1, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 0]], list("abcde"), list("ABC"))
    found = dawid_skene(table, replicates=20)
    assert found.switched
    total = sum(found.sensitivities[reader].value + found.specificities[reader].value for reader in "ABC")
    assert total >= 3
    assert found.prevalence.value == pytest.approx(found.probabilities.mean(), abs=1e-4)


def test_em_needs_three_readers_who_rated_both_classes():
    table, _ = rated(30)
    with pytest.raises(ValueError, match="rated the images; at least 3 are needed"):
        dawid_skene(table.iloc[:, :2])
    with pytest.raises(ValueError, match="all ratings are negative"):
        dawid_skene(table * 0)
    with pytest.raises(ValueError, match="reader 2 rated no image"):
        dawid_skene(table.assign(**{"reader 2": np.nan}))


def test_a_reader_who_never_errs_keeps_some_doubt():
    table, truth = rated(40)
    found = dawid_skene(table.assign(**{"reader 0": truth.astype(float), "reader 4": truth.astype(float)}))
    perfect = found.sensitivities["reader 0"]
    positives = truth.sum()
    assert (perfect.value, perfect.high) == (pytest.approx(1), pytest.approx(1))
    # Clopper and Pearson's limit where all of so many agree, these being the images that are probably positive.
    assert perfect.low == pytest.approx(0.025 ** (1 / positives), abs=0.02)
    assert "Clopper-Pearson on the" in perfect.method


CONFUSION = np.array(
    [[[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.02, 0.18, 0.8]], [[0.9, 0.1, 0.0], [0.3, 0.5, 0.2], [0.0, 0.2, 0.8]],
     [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.1, 0.1, 0.8]], [[0.6, 0.3, 0.1], [0.05, 0.9, 0.05], [0.1, 0.3, 0.6]]]
)  # fmt: skip
GRADES = ("none", "mild", "severe")


def graded(n, seed=0, missing=0.0):
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    made = {f"reader {k}": [GRADES[rng.choice(3, p=CONFUSION[k, true])] for true in truth] for k in range(4)}
    table = pd.DataFrame(made, index=[f"image {number:04d}" for number in range(n)]).astype(object)
    return table.mask(rng.random(table.shape) < missing), truth


def slow_categories(values, steps, smoothing):
    """EM image by image, reader by reader, category by category; -1 is not rated."""
    n, readers, kinds = *values.shape, 3
    posterior = [[np.mean([v == k for v in row if v >= 0]) for k in range(kinds)] for row in values]
    for _ in range(steps):
        prevalence = [sum(p[k] for p in posterior) / n for k in range(kinds)]
        confusion = np.zeros((readers, kinds, kinds))
        for r, true, given in itertools.product(range(readers), range(kinds), range(kinds)):
            confusion[r, true, given] = smoothing + sum(posterior[i][true] for i in range(n) if values[i, r] == given)
        confusion /= confusion.sum(axis=2, keepdims=True)
        for i in range(n):
            joint = [
                prevalence[k] * math.prod(confusion[r, k, values[i, r]] for r in range(readers) if values[i, r] >= 0)
                for k in range(kinds)
            ]
            posterior[i] = [each / sum(joint) for each in joint]
    return np.array(posterior), confusion, prevalence


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_em_of_grades_equals_a_slow_one(smoothing):
    table, _ = graded(50, seed=4, missing=0.2)
    table = table.dropna(how="all")
    found = dawid_skene_categories(table, categories=GRADES, smoothing=smoothing, replicates=2)
    values = np.array([[GRADES.index(v) if isinstance(v, str) else -1 for v in row] for row in table.to_numpy()])
    posterior, confusion, prevalence = slow_categories(values, found.iterations, smoothing)
    np.testing.assert_allclose(found.probabilities, posterior, atol=1e-7)
    np.testing.assert_allclose([entry.value for entry in found.prevalences], prevalence, atol=1e-7)
    rates = [[[cell.value for cell in row] for row in reader.rates] for reader in found.readers]
    np.testing.assert_allclose(rates, confusion, atol=1e-7)
    assert found.converged and found.smoothing == smoothing
    assert found.categories == GRADES


def test_the_confusion_matrices_that_made_the_grades_are_recovered():
    table, truth = graded(3000, seed=1)
    found = dawid_skene_categories(table, categories=GRADES, replicates=60)
    held = [
        cell.low <= CONFUSION[r, true, given] <= cell.high
        for r, reader in enumerate(found.readers)
        for true, row in enumerate(reader.rates)
        for given, cell in enumerate(row)
        if CONFUSION[r, true, given] > 0
    ]
    assert np.mean(held) >= 0.85
    assert found.readers[1].rates[0][2].value < 0.01
    right = (found.consensus().to_numpy() == np.array(GRADES)[truth]).mean()
    assert right >= (majority(table, categories=GRADES).fillna("none").to_numpy() == np.array(GRADES)[truth]).mean()
    assert not found.switched


def test_of_two_categories_it_is_the_model_of_calls():
    table, _ = rated(80, seed=6)
    patients = {image: number // 2 for number, image in enumerate(table.index)}
    of_calls = dawid_skene(table, patients=patients, replicates=50)
    found = dawid_skene_categories(table, categories=(0, 1), patients=patients, replicates=50)
    assert found.categories == ("negative", "positive")
    assert found.prevalences[1] == of_calls.prevalence
    for entry in found.readers:
        assert entry.rates[1][1] == of_calls.sensitivities[entry.reader]
        assert entry.rates[0][0] == of_calls.specificities[entry.reader]
    assert found.log_likelihood == of_calls.log_likelihood


def test_naming_categories_otherwise_changes_nothing_but_their_order():
    table, _ = graded(60, seed=2)
    first = dawid_skene_categories(table, categories=GRADES, replicates=10)
    other = dawid_skene_categories(
        table.sample(frac=1, random_state=0), categories=("severe", "none", "unsure", "mild"), replicates=10
    )
    assert other.categories == ("severe", "none", "mild")
    order = [1, 2, 0]
    np.testing.assert_allclose(np.array(other.probabilities)[:, order], first.probabilities, atol=1e-9)
    assert other.readers[0].rates[1][2].value == pytest.approx(first.readers[0].rates[0][1].value)
    assert CategoryConsensus.from_dict(first.to_dict()) == first
    assert list(first.to_frame().columns) == ["reader", "true", "given none", "given mild", "given severe"]


def test_grades_that_no_consensus_can_be_made_of_are_refused():
    table, _ = graded(20)
    with pytest.raises(ValueError, match="all ratings are mild; a consensus needs at least two kinds"):
        dawid_skene_categories(table.map(lambda _: "mild"), categories=GRADES)
    with pytest.raises(ValueError, match="smoothing=-1 must be a number of images of at least 0"):
        dawid_skene_categories(table, categories=GRADES, smoothing=-1)
    with pytest.raises(ValueError, match="make calls of grades first, for example"):
        dawid_skene(pd.DataFrame({"A": [1, 2, 3], "B": [1, 2, 3], "C": [1, 2, 3]}))
