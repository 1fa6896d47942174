"""Readers: agreement, consensus and F1, against statsmodels, slow loops and known truth."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexkeras.evaluation.readers.agreement import fleiss_kappa, majority, readers_against_others
from chexkeras.evaluation.readers.dawid_skene import dawid_skene
from chexkeras.evaluation.readers.reader_f1 import f1_at_prevalence, model_against_readers
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval

SENSITIVITY, SPECIFICITY = (0.9, 0.75, 0.8, 0.6), (0.95, 0.9, 0.85, 0.98)


def rated(n=600, seed=0, prevalence=0.3, readers=4):
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < prevalence
    calls = {
        f"reader {k}": np.where(truth, rng.random(n) < SENSITIVITY[k], rng.random(n) > SPECIFICITY[k]).astype(float)
        for k in range(readers)
    }
    return pd.DataFrame(calls, index=[f"image {number:04d}" for number in range(n)]), truth


def test_the_majority_counted_by_hand():
    table = pd.DataFrame(
        {"image_id": list("abcd"), "A": [1, 0, 1, None], "B": [1, 0, 0, None], "C": [0, 1, None, None]}
    )
    consensus = majority(table)
    assert consensus["a"] == 1
    assert consensus["b"] == 0
    assert consensus[["c", "d"]].isna().all()


def test_fleiss_kappa_of_a_table_worked_by_hand():
    # Four images, three readers, 3, 2, 1 and 0 positive ratings: agreement (1 + 1/3 + 1/3 + 1) / 4 = 2/3, half
    # positive.
    table = pd.DataFrame({"A": [1, 1, 1, 0], "B": [1, 1, 0, 0], "C": [1, 0, 0, 0]}, index=list("abcd"))
    assert fleiss_kappa(table, replicates=50).value == pytest.approx((2 / 3 - 0.5) / 0.5)


def slow_kappa(values):
    readers = values.shape[1]
    agreement = np.mean(
        [np.mean([row[i] == row[j] for i, j in itertools.combinations(range(readers), 2)]) for row in values]
    )
    share = values.mean()
    chance = share**2 + (1 - share) ** 2
    return (agreement - chance) / (1 - chance)


def test_kappas_interval_is_that_of_a_bootstrap_of_patients():
    table, _ = rated(200)
    patients = pd.Series([number // 2 for number in range(200)], index=table.index)
    estimate = fleiss_kappa(table, patients=patients)
    values, rng, drawn = table.to_numpy(), np.random.default_rng(0), []
    assert estimate.value == pytest.approx(slow_kappa(values))
    for _ in range(600):
        pairs = rng.integers(0, 100, 100)
        drawn.append(slow_kappa(values[np.concatenate([2 * pairs, 2 * pairs + 1])]))
    assert estimate.low == pytest.approx(np.quantile(drawn, 0.025), abs=0.02)
    assert estimate.high == pytest.approx(np.quantile(drawn, 0.975), abs=0.02)
    assert "bootstrap of 100 patients" in estimate.method
    assert fleiss_kappa(table.sample(frac=1, random_state=1), patients=patients) == estimate


def test_kappa_at_perfect_agreement_keeps_some_doubt():
    table = pd.DataFrame({"A": [1, 1, 0, 0, 0], "B": [1, 1, 0, 0, 0]}, index=list("abcde"))
    estimate = fleiss_kappa(table)
    # Five of five agree: Clopper-Pearson from 0.4782 on; chance agreement 0.4^2 + 0.6^2.
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == pytest.approx((0.025 ** (1 / 5) - 0.52) / 0.48)


def test_kappa_leaves_out_what_not_all_have_rated_and_is_undefined_for_one_class():
    table, _ = rated(50)
    table.iloc[0, 0] = np.nan
    estimate = fleiss_kappa(table, replicates=50)
    assert estimate.n == 49
    assert "1 images without all ratings left out" in estimate.method
    assert fleiss_kappa(table * 0).reason == "all ratings are negative; kappa is undefined"
    table["reader 1"] = np.nan
    assert fleiss_kappa(table).reason == "no image was rated by all readers"


def test_each_reader_is_held_against_the_majority_of_the_others():
    table, _ = rated(300)
    made = readers_against_others(table)
    assert [entry.reader for entry in made] == list(table.columns)
    for entry in made:
        others = table.drop(columns=entry.reader).sum(axis=1)
        positive = others >= 2
        assert entry.sensitivity.value == pytest.approx(table.loc[positive, entry.reader].mean())
        assert entry.specificity.value == pytest.approx(1 - table.loc[~positive, entry.reader].mean())
        assert (entry.n_images, entry.n_tied) == (300, 0)


def test_images_on_which_the_others_are_split_are_counted_and_left_out():
    table, _ = rated(100, readers=3)
    entry = readers_against_others(table)[0]
    split = table["reader 1"] != table["reader 2"]
    assert (entry.n_tied, entry.n_images) == (split.sum(), 100 - split.sum())
    agreed = table[~split & (table["reader 1"] == 1)]
    assert entry.sensitivity == clustered_proportion_interval(agreed["reader 0"] == 1, agreed.index)


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


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: table * 2, r"found 2 in \d+ place"),
        (lambda table: table.iloc[:0], "no image"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "rated in two rows, first image 0000"),
        (lambda table: table.astype(object).replace(1.0, "yes"), "not numeric"),
    ],
)
def test_ratings_that_are_not_calls_are_refused(spoil, message):
    with pytest.raises(ValueError, match=message):
        fleiss_kappa(spoil(rated(20)[0]))


def test_a_rated_image_without_a_patient_is_refused():
    table, _ = rated(20)
    with pytest.raises(ValueError, match="19 of 20 rated images have no patient, first image 0001"):
        fleiss_kappa(table, patients={"image 0000": "a"})
    with pytest.raises(TypeError, match="DataFrame of images by readers"):
        majority(table.to_numpy())


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


def test_images_readers_and_patients_are_known_however_they_are_written():
    table, _ = rated(20)
    plain = table.set_axis([str(number) for number in range(20)])
    patients = {str(number): str(number // 2) for number in range(20)}
    expected = fleiss_kappa(plain, patients=patients, replicates=50)
    written = table.set_axis([number if number % 2 else float(number) for number in range(20)])
    mixed = {float(number): (f"{number // 2} " if number % 2 else number // 2) for number in range(20)}
    assert fleiss_kappa(written, patients=mixed, replicates=50) == expected
    with pytest.raises(ValueError, match="rated in two rows, first 1"):
        majority(plain.set_axis(["1", "1 ", *plain.index[2:]]))
    with pytest.raises(ValueError, match=r"1 row.s. of the ratings have no image id"):
        majority(plain.set_axis([" ", *plain.index[1:]]))
    with pytest.raises(ValueError, match="have two columns, first A"):
        majority(plain.set_axis(["A", "A ", *plain.columns[2:]], axis=1))
    twice = pd.Series(["p", "q"], index=["0", "0"])
    with pytest.raises(ValueError, match=r"1 image.s. belong to two patients, first 0"):
        fleiss_kappa(plain, patients=twice)
