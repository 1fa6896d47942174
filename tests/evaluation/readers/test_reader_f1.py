"""F1 of a model against readers: the formula, a slow bootstrap, what is refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexkeras.evaluation.readers.reader_f1 import f1_at_prevalence, model_against_readers
from tests.evaluation.rated_images import rated


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(1, 400), st.integers(0, 400), st.integers(0, 400), st.integers(1, 400))
def test_f1_at_the_prevalence_of_the_data_is_the_usual_f1(tp, fn, fp, tn):
    n = tp + fn + fp + tn
    value = f1_at_prevalence(tp / (tp + fn), tn / (fp + tn), (tp + fn) / n)
    assert value == pytest.approx(2 * tp / (2 * tp + fp + fn))


@pytest.mark.parametrize(
    ("tp", "fn", "fp", "tn", "expected"),
    [(188, 34, 10412, 5736, 0.6798), (45, 177, 1291, 14857, 0.3161), (89, 133, 2527, 13621, 0.5148),
     (122, 100, 4843, 11305, 0.5943)],
)  # fmt: skip
def test_the_reference_experiments_at_half_positive(tp, fn, fp, tn, expected):
    # Computed once from the reconstructed counts of the pneumonia project's experiments 1A, 1B, 2A and 2B.
    assert f1_at_prevalence(tp / (tp + fn), tn / (fp + tn), 0.5) == pytest.approx(expected, abs=5e-5)


def slow_means(table, calls, prevalence):
    """Mean F1 of the model and of readers, from counts reweighted to the prevalence."""

    def f1(truth, called):
        weight = np.where(truth == 1, prevalence / truth.mean(), (1 - prevalence) / (1 - truth.mean()))
        right, wrong = weight[(truth == 1) & (called == 1)].sum(), weight[truth != called].sum()
        return 2 * right / (2 * right + wrong)

    columns = table.to_numpy().T
    readers = [
        np.mean([f1(columns[b], columns[a]) for b in range(len(columns)) if b != a]) for a in range(len(columns))
    ]
    return np.mean([f1(truth, calls) for truth in columns]), np.mean(readers)


def test_the_models_f1_against_readers_equals_a_slow_bootstrap():
    table, _ = rated(300, seed=8)
    rng = np.random.default_rng(2)
    # Nearly the first reader's calls, so that the two means err together.
    calls = table["reader 0"].where(rng.random(300) < 0.97, 1 - table["reader 0"]).rename("Edema")
    made = model_against_readers(table, calls, prevalence=0.05, replicates=2000)
    model, readers = slow_means(table, calls.to_numpy(), 0.05)
    assert (made.first_value.value, made.second_value.value) == (pytest.approx(model), pytest.approx(readers))
    assert made.difference.value == pytest.approx(model - readers)
    assert (made.finding, made.statistic, made.second) == ("Edema", "F1 at prevalence 0.05", "mean of 4 readers")
    drawn = []
    for _ in range(400):
        rows = rng.integers(0, 300, 300)
        drawn.append(slow_means(table.iloc[rows], calls.to_numpy()[rows], 0.05))
    width = made.difference.high - made.difference.low
    assert width == pytest.approx(3.92 * np.std(np.subtract(*np.transpose(drawn))), rel=0.15)
    assert width < 0.8 * 3.92 * np.hypot(*np.std(drawn, axis=0))
    again = model_against_readers(table.sample(frac=1, random_state=0), calls, prevalence=0.05, replicates=2000)
    assert again == made


def test_a_perfect_model_is_better_and_a_contrary_one_worse_than_the_readers():
    table, truth = rated(400, seed=9)
    good = pd.Series(truth.astype(float), index=table.index)
    better = model_against_readers(table, good, prevalence=0.3, replicates=500, margin=0.05)
    assert (better.verdict, better.non_inferior) == ("better", True)
    assert better.p_value == pytest.approx(2 / 501)
    assert model_against_readers(table, 1 - good, prevalence=0.3, replicates=500).verdict == "worse"


def test_f1_is_compared_on_the_same_images_and_at_a_stated_prevalence_only():
    table, truth = rated(40)
    calls = pd.Series(truth.astype(float), index=table.index)
    with pytest.raises(ValueError, match=r"model and the readers have 10 image\(s\) not in common, first image 0000"):
        model_against_readers(table, calls.iloc[10:], prevalence=0.1)
    with pytest.raises(ValueError, match="must be 1 or 0 for every image"):
        model_against_readers(table, calls * 0.4, prevalence=0.1)
    for prevalence in (0, 1, -0.1, 1.36):
        with pytest.raises(ValueError, match="prevalence="):
            model_against_readers(table, calls, prevalence=prevalence)
    nothing = model_against_readers(table.assign(**{"reader 1": 0.0}), calls, prevalence=0.1, replicates=50)
    assert nothing.difference.reason == "a reader found no positive, or no negative"
    assert nothing.verdict == "not estimable"
