"""Agreement beyond chance: published tables, other software, slow loops, and how often the intervals cover."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_kappa

from chexkeras.evaluation.agreement.kappa import cohen_kappa, fleiss_kappa
from tests.evaluation.rated_images import rated

# Fleiss 1971, table 1: of 30 patients, how many of six psychiatrists gave each of five diagnoses.
DIAGNOSES = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031 00501 30012 51000 02040 10203
00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""


def diagnoses():
    rows = [[int(digit) for digit in row] for row in DIAGNOSES.split()]
    return pd.DataFrame([np.repeat(np.arange(1, 6), row) for row in rows])


def test_psychiatric_diagnoses_as_published():
    # Fleiss, Psychological Bulletin 76, 1971: shares .144, .144, .167, .306, .239 of the diagnoses, kappa .430.
    table = diagnoses()
    shares = [(table == diagnosis).to_numpy().mean() for diagnosis in range(1, 6)]
    assert shares == pytest.approx([0.144, 0.144, 0.167, 0.306, 0.239], abs=5e-4)
    found = fleiss_kappa(table, categories=range(1, 6))
    assert found.value == pytest.approx(0.430, abs=5e-4)
    assert found.value == pytest.approx(statsmodels_kappa(aggregate_raters(table.to_numpy())[0]))
    words = table.replace({number: f"diagnosis {number}" for number in range(1, 6)}).astype(object)
    assert fleiss_kappa(words, categories=[f"diagnosis {number}" for number in range(1, 6)]) == found
    assert fleiss_kappa(table, categories=None) == found


def test_fleiss_kappa_of_a_table_worked_by_hand():
    # Four images, three readers, 3, 2, 1 and 0 positive ratings: agreement (1 + 1/3 + 1/3 + 1) / 4 = 2/3, half
    # positive.
    table = pd.DataFrame({"A": [1, 1, 1, 0], "B": [1, 1, 0, 0], "C": [1, 0, 0, 0]}, index=list("abcd"))
    assert fleiss_kappa(table).value == pytest.approx((2 / 3 - 0.5) / 0.5)


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
@pytest.mark.parametrize("grades", [2, 5, 101])
def test_cohens_kappa_is_that_of_scikit_learn(weights, grades):
    rng = np.random.default_rng(grades)
    first = rng.integers(0, grades, 80)
    second = np.where(rng.random(80) < 0.6, first, rng.integers(0, grades, 80))
    found = cohen_kappa(pd.DataFrame({"A": first, "B": second}), weights=weights, categories=range(grades))
    expected = cohen_kappa_score(first, second, labels=range(grades), weights=None if weights == "none" else weights)
    assert found.value == pytest.approx(expected)


def test_cohens_kappa_of_a_table_worked_by_hand():
    # 20 both yes, 5 and 10 apart, 15 both no: agreement .7; chance .5 x .6 + .5 x .4 = .5.
    pairs = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    assert cohen_kappa(pd.DataFrame(pairs, columns=["A", "B"])).value == pytest.approx(0.4)


def test_missing_ratings_are_left_out_and_words_stand_as_far_apart_as_they_are_listed():
    table = pd.DataFrame({"A": [1, 2, 3, 3, None, 1], "B": [1, 3, 3, 2, 2, None]})
    found = cohen_kappa(table, weights="linear", categories=(1, 2, 3))
    assert found.n == 4 and "2 images without both ratings left out" in found.method
    words = table.replace({1: "none", 2: "mild", 3: "severe"}).astype(object).where(table.notna())
    named = cohen_kappa(words, weights="linear", categories=("none", "mild", "severe"))
    assert (named.value, named.low, named.high) == (found.value, found.low, found.high)
    with pytest.raises(ValueError, match=r"that of two readers and 3 are given \(A, B, C\); choose two columns"):
        cohen_kappa(table.assign(C=1), categories=(1, 2, 3))
    with pytest.raises(ValueError, match="did you mean 'linear'"):
        cohen_kappa(table, weights="linea", categories=(1, 2, 3))


def slow_interval(values, owners, added=0.5):
    """Fleiss' kappa of calls with its interval: every image written out, and a weight for each."""
    readers = values.shape[1]

    def kappa(rows, weights):
        agreement = [np.mean([a == b for a, b in itertools.combinations(row, 2)]) for row in rows]
        share = np.average(np.mean(rows, axis=1), weights=weights)
        chance = share**2 + (1 - share) ** 2
        return np.average(agreement, weights=weights), chance

    observed, chance = kappa(values, np.ones(len(values)))
    sizes = np.bincount(owners)
    worth = sizes.sum() ** 2 / (sizes**2).sum()
    share = values.mean()
    common = max(share, 1 - share)
    rarer = float(share < 0.5)
    # How often a rating is positive in a pair by chance that is not two of the more frequent call.
    pair = (share if rarer else share * (1 - share)) / (1 - common**2)
    part = added * len(values) / worth

    def with_added(keep, weights):
        total = keep.sum() + sum(weights)
        split = (1 - np.array([np.mean([a == b for a, b in itertools.combinations(row, 2)]) for row in values]))[keep]
        apart = (split.sum() + weights[1] * (1 - chance) / (1 - common**2)) / total
        positive = (values[keep].sum() / readers + weights[0] * rarer + weights[1] * pair) / total
        return 1 - apart / (1 - positive**2 - (1 - positive) ** 2)

    everyone = np.ones(len(values), dtype=bool)
    centre = with_added(everyone, (part, part))
    left = [with_added(owners != patient, (part, part)) for patient in range(owners.max() + 1)]
    left += [with_added(everyone, (0, part)), with_added(everyone, (part, 0))]
    error = np.sqrt((len(left) - 1) / len(left) * np.sum((np.array(left) - np.mean(left)) ** 2))
    half = stats.t.ppf(0.975, worth - 1) * error / (1 - centre**2)
    return 1 - (1 - observed) / (1 - chance), np.tanh(np.arctanh(centre) - half), np.tanh(np.arctanh(centre) + half)


@pytest.mark.parametrize("prevalence", [0.3, 0.8])
def test_the_interval_leaves_out_patients_in_turn_and_half_a_patient_of_two_kinds(prevalence):
    table, _ = rated(60, prevalence=prevalence)
    owners = np.random.default_rng(1).integers(0, 25, 60)
    owners = np.unique(owners, return_inverse=True)[1]
    found = fleiss_kappa(table, patients=dict(zip(table.index, owners, strict=True)))
    assert (found.value, found.low, found.high) == pytest.approx(slow_interval(table.to_numpy(), owners))
    shuffled = table.sample(frac=1, random_state=1)
    assert fleiss_kappa(shuffled, patients=dict(zip(table.index, owners, strict=True))) == found
    assert f"jackknife over {owners.max() + 1} patients on Fisher's scale; 4 readers, 60 images" in found.method


def test_kappa_at_perfect_agreement_keeps_some_doubt():
    table = pd.DataFrame({"A": [1, 1, 0, 0, 0], "B": [1, 1, 0, 0, 0]}, index=list("abcde"))
    estimate = fleiss_kappa(table)
    # Five of five agree: Clopper-Pearson from 0.4782 on; chance agreement 0.4^2 + 0.6^2.
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == pytest.approx((0.025 ** (1 / 5) - 0.52) / 0.48)


def test_two_readers_who_always_disagree_keep_some_doubt():
    table = pd.DataFrame({"a": [1, 0] * 10, "b": [0, 1] * 10})
    found = fleiss_kappa(table)
    # None of 20 agree: up to 0.1684 may, by Clopper and Pearson; half would by chance.
    assert (found.value, found.low) == (-1, -1)
    assert found.high == pytest.approx((1 - 0.025 ** (1 / 20) - 0.5) / 0.5)
    assert cohen_kappa(table).high == pytest.approx(found.high)
    # Ten patients are as good as ten images.
    in_pairs = fleiss_kappa(table, patients={number: number // 2 for number in range(20)})
    assert in_pairs.high == pytest.approx((1 - 0.025 ** (1 / 10) - 0.5) / 0.5)


def test_a_rare_finding_on_which_readers_never_coincide_leaves_much_open():
    # Two positive ratings of 90, on two images: kappa is near 0, and nobody knows what it is.
    table = pd.DataFrame(0.0, index=range(30), columns=list("ABC"))
    table.loc[3, "A"] = table.loc[11, "B"] = 1.0
    found = fleiss_kappa(table)
    assert found.value == pytest.approx(-1 / 44, abs=1e-3)
    assert found.low < -0.3 and found.high > 0.7
    one = fleiss_kappa(table.assign(B=0.0))
    assert one.high > 0.7


def test_kappa_leaves_out_what_not_all_have_rated_and_is_undefined_for_one_class():
    table, _ = rated(50)
    table.iloc[0, 0] = np.nan
    estimate = fleiss_kappa(table)
    assert estimate.n == 49
    assert "1 images without all ratings left out" in estimate.method
    assert fleiss_kappa(table * 0).reason == "all ratings are negative; kappa is undefined"
    table["reader 1"] = np.nan
    assert fleiss_kappa(table).reason == "no image was rated by all readers"


def test_all_images_of_one_patient_say_nothing_of_others():
    table, _ = rated(10)
    assert fleiss_kappa(table, patients=dict.fromkeys(table.index, "p")).reason == "all images come from one patient"
    few = fleiss_kappa(table, patients={image: number % 3 for number, image in enumerate(table.index)})
    assert few.method.endswith("interval approximate: worth 3 patients")
    grades = pd.DataFrame({"A": [3, 3], "B": [3, 3]})
    assert fleiss_kappa(grades, categories=(1, 2, 3)).reason == "all ratings are 3; kappa is undefined"
    words = pd.DataFrame({"A": ["mild"] * 2, "B": ["mild"] * 2})
    assert cohen_kappa(words, categories=("none", "mild")).reason == "all ratings are mild; kappa is undefined"


def test_many_patients_are_left_out_in_groups_and_give_nearly_the_same_error():
    table, _ = rated(1500, seed=3)
    found = fleiss_kappa(table)
    half = (np.arctanh(found.high) - np.arctanh(found.low)) / 2
    agreement = np.array([np.mean([a == b for a, b in itertools.combinations(row, 2)]) for row in table.to_numpy()])
    share = table.to_numpy().mean(axis=1)
    chance = 1 - 2 * share.mean() * (1 - share.mean())
    # The derivative of kappa with respect to the weight of each image.
    slope = ((agreement - agreement.mean()) - (1 - found.value) * (4 * share.mean() - 2) * (share - share.mean())) / (
        1 - chance
    )
    error = np.sqrt(np.mean(slope**2) / 1500)
    assert half == pytest.approx(1.96 * error / (1 - found.value**2), rel=0.08)


@pytest.mark.parametrize(("prevalence", "least"), [(0.3, 0.91), (0.05, 0.93)])
def test_the_interval_covers_readers_with_several_images_of_a_patient(prevalence, least):
    cut = special.ndtri(1 - prevalence)

    def drawn(rng, patients):
        owner = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
        shared = 0.7 * rng.normal(size=patients)[owner] + 0.7 * rng.normal(size=len(owner))
        seen = shared[:, None] + 0.5 * rng.normal(size=(len(owner), 3))
        return pd.DataFrame((seen / np.sqrt(1.23) > cut).astype(float)), dict(enumerate(owner))

    rng = np.random.default_rng(11)
    truth = fleiss_kappa(drawn(rng, 60_000)[0]).value
    made = [fleiss_kappa(table, patients=owner) for table, owner in (drawn(rng, 31) for _ in range(200))]
    made = [entry for entry in made if entry.estimable]
    assert np.mean([entry.low <= truth <= entry.high for entry in made]) >= least
