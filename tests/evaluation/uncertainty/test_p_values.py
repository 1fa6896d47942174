"""Holm's correction: against statsmodels, and what it must keep."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from chexkeras.evaluation.uncertainty.limits import holm, p_text


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12))
def test_holm_equals_statsmodels_and_leaves_out_what_was_not_tested(p_values):
    adjusted = holm(p_values)
    tested = [p for p in p_values if not math.isnan(p)]
    expected = iter(multipletests(tested, method="holm")[1] if tested else [])
    for p_value, corrected in zip(p_values, adjusted, strict=True):
        if math.isnan(p_value):
            assert math.isnan(corrected)
        else:
            assert corrected == pytest.approx(next(expected))
            assert corrected >= p_value


def test_a_single_test_needs_no_correction():
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_p_values_are_printed_with_three_decimals():
    assert [p_text(p) for p in (1.0, 0.05, 0.0010, 0.00099, np.nan)] == ["1.000", "0.050", "0.001", "<0.001", "–"]
