import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexkeras.data.splits.splitters import iterative_stratification

SHARES = (0.7, 0.15, 0.15)


def patients(seed: int, units: int = 2000, labels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Patients like NIH's: most with one image, a few with a hundred; labels common and rare."""
    rng = np.random.default_rng(seed)
    sizes = np.minimum(rng.zipf(2.0, units), 100)
    prevalence = np.geomspace(0.02, 0.3, labels)
    return rng.binomial(sizes[:, None], prevalence), sizes


def shares_of(counts: np.ndarray, part: np.ndarray) -> np.ndarray:
    totals = np.stack([counts[part == index].sum(axis=0) for index in range(len(SHARES))])
    return totals / counts.sum(axis=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_images_and_every_label_are_shared_out_as_asked(seed):
    positives, sizes = patients(seed)
    part = iterative_stratification(positives, sizes, SHARES, seed)
    np.testing.assert_allclose(shares_of(sizes, part), SHARES, atol=0.002)
    spread = shares_of(positives, part) / np.asarray(SHARES)[:, None]
    assert np.abs(spread - 1).max() < 0.05
    random = np.random.default_rng(seed).choice(3, size=len(sizes), p=SHARES)
    assert np.abs(shares_of(positives, random) / np.asarray(SHARES)[:, None] - 1).max() > 0.05


def test_one_seed_gives_one_assignment_and_another_another():
    positives, sizes = patients(0)
    first, again, other = (iterative_stratification(positives, sizes, SHARES, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.3


def test_large_patients_reach_every_part_and_depend_on_the_seed():
    positives, sizes = patients(0)
    large = np.argsort(-sizes)[:40]
    parts = np.stack([iterative_stratification(positives, sizes, SHARES, seed)[large] for seed in range(10)])
    shares = [(parts == index).mean() for index in range(3)]
    np.testing.assert_allclose(shares, SHARES, atol=0.12)
    assert (parts != parts[0]).any(axis=0).mean() > 0.8


def test_which_large_patient_a_part_gets_depends_on_the_seed_alone():
    sizes = np.array([100, 101, 102, 103, 104, *[1] * 500])
    nothing = np.zeros((len(sizes), 1), dtype=int)
    largest = [iterative_stratification(nothing, sizes, SHARES, seed)[4] for seed in range(40)]
    assert set(largest) == {0, 1, 2}


def test_three_positives_reach_three_parts():
    positives = np.zeros((100, 1), dtype=int)
    positives[[3, 50, 90]] = 1
    part = iterative_stratification(positives, np.ones(100, dtype=int), SHARES, 0)
    assert set(part[[3, 50, 90]]) == {0, 1, 2}


def test_the_rarest_label_is_placed_before_a_common_one_that_covers_it():
    positives = np.zeros((200, 2), dtype=int)
    positives[:100, 0] = 1
    positives[:10, 1] = 1
    part = iterative_stratification(positives, np.ones(200, dtype=int), (0.5, 0.5), 0)
    assert np.bincount(part[:10]).tolist() == [5, 5]
    assert np.bincount(part[:100]).tolist() == [50, 50]
    assert np.bincount(part).tolist() == [100, 100]


def test_units_without_any_label_fill_the_parts():
    part = iterative_stratification(np.zeros((20, 1), dtype=int), np.ones(20, dtype=int), (0.5, 0.25, 0.25), 0)
    assert np.bincount(part).tolist() == [10, 5, 5]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    units=st.integers(3, 60),
    labels=st.integers(1, 4),
    shares=st.sampled_from([(0.5, 0.5), (0.7, 0.15, 0.15), (0.34, 0.33, 0.33)]),
)
def test_every_unit_gets_a_part_and_no_part_is_off_by_more_than_the_largest_units(seed, units, labels, shares):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, units)
    positives = rng.binomial(sizes[:, None], 0.3, size=(units, labels))
    part = iterative_stratification(positives, sizes, shares, seed)
    assert part.min() >= 0 and part.max() < len(shares)
    # With label 0 alone, nothing competes: each part is within one unit's images of its share.
    single = iterative_stratification(positives[:, :1], sizes, shares, seed)
    for index, share in enumerate(shares):
        assert abs(positives[single == index, 0].sum() - share * positives[:, 0].sum()) <= 2 * sizes.max()
