"""Drawing patients: every stratum keeps its size, and nothing but patients, labels and scores decides the draws."""

import math

import numpy as np
import pytest

from chexkeras.evaluation.uncertainty.resampling import as_sample, patient_counts


def all_counts(strata, **options):
    return np.concatenate(list(patient_counts(strata, **options)))


def test_every_stratum_keeps_its_size_and_batches_do_not_matter():
    strata = np.random.default_rng(1).random(40) < 0.3
    counts = all_counts(strata, replicates=300, seed=5, width=40)
    assert counts.shape == (300, 40)
    assert (counts[:, strata].sum(axis=1) == strata.sum()).all()
    assert (counts[:, ~strata].sum(axis=1) == (~strata).sum()).all()
    np.testing.assert_array_equal(counts, all_counts(strata, replicates=300, seed=5, width=300_000))
    assert (counts != all_counts(strata, replicates=300, seed=6, width=40)).any()


def test_a_patient_is_drawn_as_often_as_the_multinomial_says():
    counts = all_counts(np.zeros(10, dtype=bool), replicates=20_000, seed=0, width=10)
    # One of ten in ten draws: mean 1, variance 10 x .1 x .9, never drawn .9 ** 10 of the time.
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.03)
    np.testing.assert_allclose(counts.var(axis=0), 0.9, atol=0.04)
    np.testing.assert_allclose((counts == 0).mean(axis=0), 0.9**10, atol=0.015)


def test_patients_are_ever_positive_when_any_image_in_any_column_is():
    labels = np.array([[0, 0], [0, 1], [0, 0], [math.nan, math.nan], [1, math.nan]])
    sample = as_sample(labels, np.full((5, 2), 0.5), ["b", "b", "a", "c", "a"])
    assert (sample.unit, list(sample.ever_positive)) == ("patients", [True, True])
    assert [len(column.scores) for column in sample.columns] == [4, 3]
    assert list(sample.columns[1].owner) == [1, 1, 0]


def test_images_without_patients_are_numbered_by_label_and_score():
    sample = as_sample([1, 0, math.nan, 0], [0.4, 0.9, math.nan, 0.1], None)
    assert sample.unit == "images"
    assert list(sample.columns[0].owner) == [2, 1, 0]


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([1, 0], [0.1]), ([[1], [0]], [[0.1, 0.2], [0.3, 0.4]]), ([1, 0], [[], []]), (1, 0.5)],
)
def test_shapes_that_do_not_fit_are_refused(labels, scores):
    with pytest.raises(ValueError, match="expected a row for each image"):
        as_sample(labels, scores, None)
