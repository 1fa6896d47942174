import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexkeras.models.class_weights import class_weights, imbalance_record, label_counts, training_times

# Two positives, six negatives, two unknown.
TABLE = pd.DataFrame({"Effusion": [1, 1, 0, 0, 0, 0, 0, 0, np.nan, np.nan], "Mass": [1.0] * 5 + [0.0] * 5})


def table_of(positives, negatives):
    return pd.DataFrame({"Mass": [1.0] * positives + [0.0] * negatives})


def test_balanced_weights_by_hand():
    assert class_weights(TABLE, "Effusion") == ([8 / 4], [8 / 12])
    assert class_weights(TABLE, "Effusion", "none") == ([1.0], [1.0])
    with pytest.raises(ValueError, match="Mass has 0 positive and 10 negative"):
        class_weights(TABLE.assign(Mass=0.0), "Mass")


def test_capped_weights_by_hand_and_in_the_order_of_the_targets():
    assert class_weights(TABLE, ("Mass", "Effusion"), "capped") == ([1.0, 3.0], [1.0, 1.0])
    assert class_weights(TABLE, ("Effusion", "Mass"), "capped", cap=2.0) == ([2.0, 1.0], [1.0, 1.0])


def test_effective_weights_by_hand():
    # beta 0.5: effective numbers 2 (1 - 1/4) = 3/2 of the positives and 2 (1 - 1/64) = 63/32 of the negatives; the
    # inverses 2/3 and 32/63 have the mean (2 * 2/3 + 6 * 32/63) / 8 = 23/42.
    (positive,), (negative,) = class_weights(TABLE, "Effusion", "effective", beta=0.5)
    assert positive == pytest.approx((2 / 3) / (23 / 42))
    assert negative == pytest.approx((32 / 63) / (23 / 42))


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([0.0, 0.9, 0.999, 1 - 1e-9]))
def test_effective_weights_lie_between_none_and_balanced_and_have_mean_one(positives, negatives, beta):
    table = table_of(positives, negatives)
    (positive,), (negative,) = class_weights(table, "Mass", "effective", beta=beta)
    assert (positives * positive + negatives * negative) / (positives + negatives) == pytest.approx(1.0)
    (balanced,), _ = class_weights(table, "Mass")
    assert min(1.0, balanced) - 1e-6 <= positive <= max(1.0, balanced) + 1e-6
    if beta == 0.0:
        assert (positive, negative) == (1.0, 1.0)
    if beta > 0.9999:
        assert positive == pytest.approx(balanced, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "capped", "cap": 0.0}, "cap=0.0 must be a number above 0"),
        ({"rule": "effective", "beta": 1.0}, "beta=1.0 must be a number of at least 0 and below 1"),
        ({"rule": "balance"}, "did you mean 'balanced'"),
    ],
)
def test_wrong_numbers_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        class_weights(TABLE, "Mass", **options)


def test_the_record_holds_the_numbers():
    assert label_counts(TABLE, "Effusion") == {"Effusion": {"positive": 2, "negative": 6, "unknown": 2}}
    record = imbalance_record(TABLE, ("Mass",), "balanced", (("Mass", 4),))
    assert record == {
        "class_weights": "balanced",
        "up_sampled": {"Mass": 4},
        "rows_an_epoch": 10,
        "labels": {"Mass": {"positive": 5, "negative": 5, "unknown": 0}},
        "balanced_batches": {},
        "positives_an_epoch": {"Mass": 5.0},
    }


def test_balanced_batches_are_recorded_and_weighed_as_they_are_shown():
    # Ten rows an epoch, five of each group: the two positives 2.5 times each, the six negatives 5/6 times, the two
    # unknown ones never. Of Mass, present on rows 0 to 4, that is 2 * 2.5 + 3 * 5/6 = 7.5, and 3 * 5/6 = 2.5 without.
    np.testing.assert_allclose(training_times(TABLE, ("Effusion",)), [2.5] * 2 + [5 / 6] * 6 + [0.0] * 2)
    times = training_times(TABLE, ("Effusion",))
    (positive, of_mass), (negative, without) = class_weights(TABLE, ("Effusion", "Mass"), times=times)
    assert (positive, negative) == pytest.approx((1.0, 1.0))
    assert (of_mass, without) == pytest.approx((10 / 15, 10 / 5))
    record = imbalance_record(TABLE, ("Effusion", "Mass"), "none", (), ("Effusion",))
    assert record["balanced_batches"] == {"Effusion": 2, "none of them": 6}
    assert record["positives_an_epoch"] == {"Effusion": 5.0, "Mass": 7.5}
