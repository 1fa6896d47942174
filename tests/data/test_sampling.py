import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexkeras.data.sampling import NONE_OF_THEM, balance_groups, balanced, shuffled, times_shown

TABLE = pd.DataFrame({"Edema": [1, 0, 0, np.nan, 1, np.nan], "Hernia": [1, 0, np.nan, np.nan, 0, 1.0]})


def groups_of(*sizes):
    starts = np.cumsum((0, *sizes))
    return {str(number): np.arange(*ends) for number, ends in enumerate(itertools.pairwise(starts))}


def test_groups_by_hand():
    groups = balance_groups(TABLE, ("hernia", "edema"))
    assert list(groups) == ["Hernia", "Edema", NONE_OF_THEM]
    # Row 0 shows both, row 2 lacks one and is unknown for the other, row 3 is unknown for both.
    assert [rows.tolist() for rows in groups.values()] == [[0, 5], [0, 4], [1, 2]]
    assert balance_groups(TABLE, ()) == {}


def test_a_image_in_two_groups_is_shown_for_both():
    # Six rows an epoch are two for each group: one for each of its two images, and both groups hold row 0.
    times = times_shown(balance_groups(TABLE, ("Hernia", "Edema")), 6)
    np.testing.assert_allclose(times, [2.0, 1.0, 1.0, 0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.assign(Edema=0.0), "none of the 6 training images shows Edema; balanced batches need images of every"),
        (TABLE.assign(Edema=1.0), "none of the 6 training images shows none of Edema"),
    ],
)
def test_a_group_without_images_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        balance_groups(table, "Edema")


def test_a_shuffled_epoch_shows_every_row_once_in_an_order_of_its_own():
    one, same, other = shuffled(50, 3, 1), shuffled(50, 3, 1), shuffled(50, 3, 2)
    np.testing.assert_array_equal(one.rows, same.rows)
    assert (one.rows != other.rows).any()
    assert sorted(one.rows) == sorted(one.draws) == list(range(50))


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    epochs=st.integers(1, 5),
    window=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_window_holds_equal_shares_and_no_image_comes_twice_before_the_others_of_its_group(
    sizes, epochs, window, seed
):
    groups, n = groups_of(*sizes), sum(sizes)
    shown = [balanced(groups, n, seed, epoch) for epoch in range(epochs)]
    rows = np.concatenate([each.rows for each in shown])
    assert len(rows) == n * epochs
    counts = np.array([np.isin(rows, members) for members in groups.values()])
    for start in range(len(rows) - window + 1):
        held = counts[:, start : start + window].sum(axis=1)
        assert held.max() - held.min() <= 1
    for members in groups.values():
        times = np.array([(rows == row).sum() for row in members])
        assert times.max() - times.min() <= 1
    for each in shown:
        assert len(np.unique(each.draws)) == n
        np.testing.assert_array_equal(each.draws % n, each.rows)


def test_epochs_follow_from_their_number_and_the_seed_alone():
    groups = groups_of(3, 40)
    first, second = balanced(groups, 43, 7, 1), balanced(groups, 43, 7, 2)
    np.testing.assert_array_equal(balanced(groups, 43, 7, 2).rows, second.rows)
    assert (first.rows != second.rows).any()
    assert (balanced(groups, 43, 8, 1).rows != first.rows).any()


def test_shares_over_many_epochs_are_the_expected_ones():
    groups = groups_of(2, 30)
    rows = np.concatenate([balanced(groups, 32, 0, epoch).rows for epoch in range(60)])
    np.testing.assert_allclose(np.bincount(rows) / 60, times_shown(groups, 32), atol=1 / 60)
