"""Choosing a threshold: each rule by hand on ten images, the guard's published minimums, and what it is worth."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from chexkeras.evaluation.clinical_use.deployment import deployment_from_outcomes
from chexkeras.evaluation.scores import read_scores, scores_fingerprint, write_scores
from chexkeras.evaluation.thresholds import (
    RULES,
    check_rule,
    choose_threshold,
    choose_thresholds,
    positives_needed,
)
from chexkeras.evaluation.uncertainty.intervals import proportion_interval
from tests.evaluation import written_out

TARGETS = {"cost": 10, "net_benefit": 0.1}

# Of 5 positives .9 .8 .6 .4 .2, of 5 negatives .7 .6 .5 .3 .1; a tie across the classes at .6.
LABELS = [1, 1, 0, 1, 0, 0, 1, 0, 1, 0]
SCORES = [0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def table(labels, scores, finding="Pneumonia", patients=None):
    ids = [f"{number:05d}" for number in range(len(labels))]
    return pd.DataFrame(
        {
            "image_id": [f"{name}.png" for name in ids],
            "patient_id": ids if patients is None else [str(patient) for patient in patients],
            "finding": finding,
            "label": np.asarray(labels, float),
            "score": np.asarray(scores, float),
        }
    )


@pytest.mark.parametrize(
    ("rule", "target", "threshold", "hits", "passed"),
    [
        ("sensitivity", 0.8, 0.4, 4, 2),
        ("sensitivity", 0.6, 0.6, 3, 3),  # the tied block at .6 is called as a whole
        ("sensitivity", 0.61, 0.4, 4, 2),
        ("sensitivity", 1.0, 0.2, 5, 1),
        ("specificity", 0.8, 0.7, 2, 4),
        ("specificity", 0.6, 0.6, 3, 3),
        ("specificity", 1.0, 0.8, 2, 5),
        ("youden", None, 0.8, 2, 5),
        ("f1", None, 0.2, 5, 1),
    ],
)
def test_rules_by_hand_on_ten_images(rule, target, threshold, hits, passed):
    point = choose_threshold(table(LABELS, SCORES), rule=rule, target=target)
    assert point.threshold == threshold
    assert (point.rule, point.target, point.chosen_on) == (rule, target, "validation")
    assert (point.n_positive, point.n_negative) == (5, 5)
    assert point.sensitivity == proportion_interval(hits, 5)
    assert point.specificity == proportion_interval(passed, 5)
    assert point.note


def test_equally_good_thresholds_are_decided_for_sensitivity():
    # Youden's index is .5 at .8 and at .5, with one error each; F1 is 2/3 at .9 and at .3.
    scores = table([1, 0, 1, 0], [0.8, 0.6, 0.5, 0.2])
    assert choose_threshold(scores, rule="youden").threshold == 0.5
    assert choose_threshold(scores, rule="cost", target=1).threshold == 0.5
    assert choose_threshold(scores, rule="net_benefit", target=0.5, prevalence=0.5).threshold == 0.5
    assert choose_threshold(table([1, 0, 0, 1], [0.9, 0.7, 0.6, 0.3]), rule="f1").threshold == 0.3


def test_youden_weighs_the_classes_alike_however_many_images_they_have():
    # Calling the top image gives 1/2 + 0 - 0; calling five gives 1 - 3/8, though it adds three alarms for one hit.
    labels = [1, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert choose_threshold(table(labels, np.linspace(1, 0.1, 10)), rule="youden").threshold == pytest.approx(0.6)


def test_targets_ignored_by_a_rule_are_not_recorded():
    assert choose_threshold(table(LABELS, SCORES), rule="youden", target=0.9).target is None


@pytest.mark.parametrize(
    ("n", "target", "minimum", "minimum_975"),
    [
        (50, 0.80, 45, 46), (50, 0.90, 49, 50),
        (100, 0.80, 87, 89), (100, 0.90, 96, 96), (100, 0.95, 99, 100),
        (222, 0.80, 188, 190), (222, 0.90, 208, 209), (222, 0.95, 217, 218),
        (500, 0.80, 416, 418), (500, 0.90, 462, 464), (500, 0.95, 484, 485),
    ],
)  # fmt: skip
def test_the_guard_asks_for_the_smallest_count_whose_exact_bound_reaches_the_target(n, target, minimum, minimum_975):
    """Minimum true positives whose exact one-sided 95 % and 97.5 % lower bound reaches the target.

    Wilks, Annals of Mathematical Statistics 12, 1941; the counts were computed independently from the beta quantile.
    """
    scores = table([1] * n + [0], [*np.linspace(1, 0.5, n), 0.1])
    for confidence, count in ((0.95, minimum), (0.975, minimum_975)):
        point = choose_threshold(scores, rule="guarded_sensitivity", target=target, confidence=confidence)
        assert round(point.sensitivity.value * n) == count
        assert point.threshold == scores["score"].iloc[count - 1]


def test_the_guard_refuses_and_says_how_many_positives_it_needs():
    scores = table([1] * 50 + [0] * 10, np.linspace(1, 0, 60))
    with pytest.raises(ValueError, match=r"Pneumonia on validation: .*from 50 positives; at least 59 are needed"):
        choose_threshold(scores, rule="guarded_sensitivity", target=0.95)


@pytest.mark.parametrize(("target", "confidence", "needed"), [(0.95, 0.95, 59), (0.9, 0.95, 29), (0.8, 0.95, 14)])
def test_positives_needed_are_the_fewest_that_suffice(target, confidence, needed):
    assert positives_needed(target, confidence) == needed
    alpha = 1 - confidence
    assert target**needed <= alpha < target ** (needed - 1)
    perfect = table([1] * needed + [0], [0.9] * needed + [0.1])
    assert choose_threshold(perfect, rule="guarded_sensitivity", target=target).threshold == 0.9


def test_the_guard_counts_patients_where_they_have_several_images():
    # 40 positive images of 10 patients, four each, ranked patient by patient; nothing else scores higher.
    labels, scores = [1] * 40 + [0] * 40, np.linspace(1, 0, 80)
    alone = choose_threshold(table(labels, scores), rule="guarded_sensitivity", target=0.7)
    several = table(labels, scores, patients=np.arange(80) // 4)
    point = choose_threshold(several, rule="guarded_sensitivity", target=0.7)
    # With 9.75 of 10 found (39 images) the bound is .704, with 9.5 (38 images) .669: one image may be missed.
    assert point.threshold == scores[38]
    assert alone.threshold > point.threshold
    assert "images are independent" not in point.note
    assert "the 40 positive images come from 10 patients, and count as no more than 10 images" in point.note
    assert "provided that these are independent" in alone.note
    assert "Korn" in point.sensitivity.method


def test_the_guard_counts_patients_with_unequal_numbers_of_images_as_what_they_are_worth():
    # Fifty patients with one image each and one with ten: 60^2 over 50 + 100 is 24 patients. Which images are found
    # does not matter: with 57 of the 60 images (22.8 of 24) the bound is .805, with 56 .782.
    single, many = np.linspace(0.9, 0.5, 50), np.full(10, 0.95)
    patients = [*range(50), *[50] * 10, 51]
    for on_top in (True, False):
        scores = np.array([*single, *(many if on_top else np.full(10, 0.05))])
        found = table([1] * 60 + [0], [*scores, 0.01], patients=patients)
        point = choose_threshold(found, rule="guarded_sensitivity", target=0.8)
        called = scores >= point.threshold
        n = called.sum()
        assert special.betaincinv(n * 24 / 60, 25 - n * 24 / 60, 0.05) >= 0.8
        # One image fewer, or without the ten of the last patient, would not do.
        less = n - 1 if on_top else 50
        assert special.betaincinv(less * 24 / 60, 25 - less * 24 / 60, 0.05) < 0.8
        assert n == (57 if on_top else 60)
        assert (
            "60 positive images come from 51 patients, worth 24.0 because some have more images than others, and count "
            "as no more than 24 images"
        ) in point.note
    # All 51 patients as one each would be enough for .9, but 24 are not: .05^(1 / 24) is .883.
    with pytest.raises(ValueError, match=r"from 60 positives of 51 patients, worth 24\.0 because some have more"):
        choose_threshold(found, rule="guarded_sensitivity", target=0.9)


def test_the_guard_refuses_clustered_images_by_the_patients_it_needs():
    scores = table([1] * 60 + [0] * 10, np.linspace(1, 0, 70), patients=np.arange(70) // 3)
    message = r"from 60 positives of 20 patients; at least 29 patients with equally many positive images are needed"
    with pytest.raises(ValueError, match=message):
        choose_threshold(scores, rule="guarded_sensitivity", target=0.9)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.6, 0.8]), st.integers(2, 40))
def test_the_guard_agrees_with_a_slow_count_for_every_score(seed, target, levels):
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, 30, 80)
    values = np.append(rng.integers(1, levels, 80) / levels, 0.0)
    scores = table([1] * 80 + [0], values, patients=[*patients, 99])
    worth = written_out.kish(patients)

    def bound(cut):
        found = np.mean(values[:80] >= cut) * worth
        return 0.0 if found == 0 else special.betaincinv(found, worth - found + 1, 0.05)

    cut = choose_threshold(scores, rule="guarded_sensitivity", target=target).threshold
    assert bound(cut) >= target - 1e-9
    assert all(bound(other) < target + 1e-9 for other in np.unique(values) if other > cut)


def guarded(values, owner, target):
    """Returns the guarded threshold of positive images, or 0 where nothing can be guaranteed."""
    scores = table([1] * len(owner) + [0], [*values, 0.0], patients=[*owner, owner.max() + 1])
    try:
        return choose_threshold(scores, rule="guarded_sensitivity", target=target).threshold
    except ValueError as error:
        assert "cannot be guaranteed" in str(error)
        return 0.0


def test_the_guard_holds_where_patients_with_many_images_are_harder():
    """Numbers of images as of NIH's patients with pneumothorax; where each patient counts as one, 8-13 % fall short."""
    rng = np.random.default_rng(0)
    everyone = written_out.nih_sizes(rng, 20_000, "pneumothorax")
    reached = []
    for _ in range(150):
        sizes = written_out.nih_sizes(rng, 60, "pneumothorax")
        owner = np.repeat(np.arange(60), sizes)
        level = 1.5 - 0.4 * np.log(sizes) + math.sqrt(0.9) * rng.normal(size=60)
        values = special.expit(level[owner] + math.sqrt(0.1) * rng.normal(size=len(owner)))
        cut = special.logit(guarded(values, owner, 0.8))
        reached.append(everyone @ special.ndtr(1.5 - 0.4 * np.log(everyone) - cut) / everyone.sum())
    assert np.mean(np.array(reached) < 0.8) <= 0.08
    assert np.mean(reached) < 0.95  # it does not buy that by calling everything


@pytest.mark.slow
@pytest.mark.parametrize(
    ("correlation", "by_size", "target"),
    [
        (0.9, 0.0, 0.9),
        (0.5, -0.1, 0.8),
        (0.5, 0.1, 0.8),
        pytest.param(0.0, 0.0, 0.8, marks=pytest.mark.release),
        pytest.param(0.5, 0.0, 0.9, marks=pytest.mark.release),
        pytest.param(0.9, 0.0, 0.8, marks=pytest.mark.release),
    ],
)
def test_the_guard_holds_for_about_200_images_of_80_patients(correlation, by_size, target):
    """The true sensitivity of new images falls short of the target in at most 5 % of the choices.

    A patient's images share part of their score, and with `by_size` those of much-imageed patients score otherwise.
    """
    rng = np.random.default_rng(6)

    def draw(patients):
        images = np.minimum(rng.geometric(0.4, patients), 15)
        owner = np.repeat(np.arange(patients), images)
        level = np.sqrt(correlation) * rng.normal(size=patients) + by_size * (images - 2.5)
        values = level[owner] + np.sqrt(1 - correlation) * rng.normal(size=len(owner))
        return special.expit(values), owner

    population = np.sort(draw(200_000)[0])
    reached = []
    for _ in range(200):
        cut = guarded(*draw(80), target)
        reached.append(1 - np.searchsorted(population, cut) / len(population))
    # 200 choices at a true rate of 5 % exceed 17 with a probability of 1 %.
    assert np.sum(np.array(reached) < target) <= 17
    assert np.mean(reached) < target + 0.13  # it does not buy that by calling everything


def test_the_guarded_rule_rarely_falls_short_where_the_plain_rule_often_does():
    rng = np.random.default_rng(20)
    short = {"sensitivity": 0, "guarded_sensitivity": 0}
    labels = [1] * 100 + [0] * 20
    for _ in range(60):
        # Scores of positives are uniform, so the true sensitivity at threshold t is exactly 1 - t.
        scores = table(labels, rng.random(120))
        for rule in short:
            point = choose_threshold(scores, rule=rule, target=0.9)
            short[rule] += 1 - point.threshold < 0.9
    assert short["guarded_sensitivity"] / 60 <= 0.06
    assert short["sensitivity"] / 60 >= 0.4


@pytest.mark.parametrize(
    ("rule", "target", "prevalence", "threshold"),
    [
        # Missed x cost + alarms at .9 .8 .6 .4 .2, in order: cost 1: 4, 3, 4, 4, 4; cost 3: 12, 9, 8, 6, 4.
        ("cost", 1, None, 0.8),
        ("cost", 3, None, 0.2),
        # At one in ten, a missed positive of cost 3 counts 3 x (.1 / .9) = 1/3: 4/3, 1, 2 2/3, ...
        ("cost", 3, 0.1, 0.8),
        ("cost", 3, 0.5, 0.2),
        # Acting at 25 % means that one missed positive is worth three false alarms.
        ("net_benefit", 0.25, None, 0.2),
        ("net_benefit", 0.5, None, 0.8),
        ("net_benefit", 0.25, 0.1, 0.8),
    ],
)
def test_rules_that_weigh_errors_by_hand_on_ten_images(rule, target, prevalence, threshold):
    point = choose_threshold(table(LABELS, SCORES), rule=rule, target=target, prevalence=prevalence)
    assert point.threshold == threshold
    assert (point.rule, point.target) == (rule, target)
    assert "guarantees no sensitivity" in point.note
    assert (f"prevalence {prevalence:g}" in point.note) if prevalence else ("share of positives" in point.note)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 20), st.sampled_from([None, 0.01, 0.3, 0.9]))
def test_weighing_rules_find_the_best_of_all_scores(seed, cost, prevalence):
    rng = np.random.default_rng(seed)
    labels = np.append(rng.integers(0, 2, 40), [1, 0])
    values = rng.integers(0, 15, 42) / 15
    scores = table(labels, values)
    share = labels.mean() if prevalence is None else prevalence

    def expected_cost(cut):
        found = deployment_from_outcomes(labels, values >= cut, share)
        return cost * found.false_negatives_per_1000.value + found.false_positives_per_1000.value

    def net_benefit(cut, at):
        missed, alarms = np.mean(values[labels == 1] < cut), np.mean(values[labels == 0] >= cut)
        return share * (1 - missed) - (1 - share) * alarms * at / (1 - at)

    cheapest = choose_threshold(scores, rule="cost", target=cost, prevalence=prevalence).threshold
    assert expected_cost(cheapest) == pytest.approx(min(map(expected_cost, values)), rel=1e-9, abs=1e-9)
    at = 1 / (1 + cost)
    best = choose_threshold(scores, rule="net_benefit", target=at, prevalence=prevalence).threshold
    assert net_benefit(best, at) == pytest.approx(max(net_benefit(cut, at) for cut in values), abs=1e-9)
    assert best == cheapest


def test_a_missed_positive_that_costs_more_never_makes_the_rule_stricter():
    rng = np.random.default_rng(9)
    labels = rng.random(300) < 0.3
    scores = table(labels, special.expit(rng.normal(size=300) + labels))
    cuts = [choose_threshold(scores, rule="cost", target=cost).threshold for cost in (0.2, 0.5, 1, 2, 5, 20)]
    assert cuts == sorted(cuts, reverse=True)
    assert cuts[0] > cuts[-1]


def test_a_weighing_rule_says_when_no_threshold_helps():
    # The highest score is a negative's: with cheap misses it costs least to call nobody.
    scores = table([0, 0, 1, 0], [0.9, 0.8, 0.4, 0.1])
    point = choose_threshold(scores, rule="cost", target=0.5)
    assert point.threshold == 0.9
    assert point.note.endswith("Calling no image positive would cost less.")
    everyone = choose_threshold(scores, rule="net_benefit", target=0.01)
    assert everyone.threshold == 0.4
    assert "every image" not in everyone.note
    lowest = choose_threshold(table([1, 0], [0.2, 0.4]), rule="cost", target=5)
    assert lowest.threshold == 0.2
    assert lowest.note.endswith("It calls every image positive.")


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.5, 0.8, 0.9, 1.0]), st.integers(2, 30))
def test_sensitivity_and_specificity_rules_reach_the_target_and_the_next_score_does_not(seed, target, levels):
    rng = np.random.default_rng(seed)
    labels = np.append(rng.integers(0, 2, 40), [1, 0])
    values = np.append(rng.integers(0, levels, 40) / levels, [1.0, 0.0])
    scores = table(labels, values)
    observed = np.unique(values)

    def sensitivity(cut):
        return np.mean(values[labels == 1] >= cut)

    def specificity(cut):
        return np.mean(values[labels == 0] < cut)

    cut = choose_threshold(scores, rule="sensitivity", target=target).threshold
    assert cut in observed
    assert sensitivity(cut) >= target
    assert all(sensitivity(other) < target for other in observed[observed > cut])
    if specificity(1.0) < target:
        with pytest.raises(ValueError, match="highest score belongs to a negative"):
            choose_threshold(scores, rule="specificity", target=target)
        return
    cut = choose_threshold(scores, rule="specificity", target=target).threshold
    assert specificity(cut) >= target
    assert all(specificity(other) < target for other in observed[observed < cut])


def test_row_order_does_not_matter():
    scores = table(LABELS, SCORES)
    shuffled = scores.sample(frac=1, random_state=3)
    for rule in RULES:
        target = {**dict.fromkeys(RULES, 0.5), **TARGETS}[rule]
        if rule == "fixed":
            continue
        assert choose_threshold(scores, rule=rule, target=target) == choose_threshold(
            shuffled, rule=rule, target=target
        )


def test_unknown_labels_do_not_choose_but_belong_to_the_fingerprint():
    with_unknown = table([*LABELS, math.nan], [*SCORES, 0.45])
    point, plain = choose_threshold(with_unknown), choose_threshold(table(LABELS, SCORES))
    assert (point.threshold, point.n_positive, point.n_negative) == (plain.threshold, 5, 5)
    assert point.scores_fingerprint == scores_fingerprint(with_unknown)


def test_a_point_remembers_its_scores_through_csv(tmp_path):
    rng = np.random.default_rng(1)
    scores = table(rng.integers(0, 2, 50), rng.random(50))
    back = read_scores(write_scores(tmp_path / "scores.csv", scores))
    point = choose_threshold(scores)
    assert point == choose_threshold(back)
    assert point.threshold in set(scores["score"])
    assert point.scores_fingerprint == scores_fingerprint(back)


def test_one_finding_of_several_must_be_named():
    both = pd.concat([table(LABELS, SCORES), table(LABELS[::-1], SCORES, finding="Edema")])
    assert choose_threshold(both, finding="Edema").finding == "Edema"
    assert choose_threshold(both, finding="Pneumonia") == choose_threshold(table(LABELS, SCORES))
    with pytest.raises(ValueError, match=r"2 findings \(Pneumonia, Edema\)"):
        choose_threshold(both)
    with pytest.raises(ValueError, match="did you mean 'Pneumonia'"):
        choose_threshold(both, finding="Pnuemonia")


def test_a_fixed_threshold_uses_no_data():
    point = choose_threshold(table(LABELS, SCORES), rule="fixed", target=0.4)
    assert (point.threshold, point.target, point.chosen_on, point.scores_fingerprint) == (0.4, 0.4, "stated", "")
    assert (point.n_positive, point.n_negative) == (0, 0)
    assert not point.sensitivity.estimable
    assert repr(choose_threshold(None, rule="fixed", target=0.4, finding="Pneumonia")) == repr(point)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "best"}, "Expected one of: sensitivity"),
        ({"target": None}, "needs a target"),
        ({"target": 80}, "between 0 and 1"),
        ({"target": 0}, "target=0 asks nothing"),
        ({"rule": "guarded_sensitivity", "target": 1.0}, "cannot be guaranteed from any number"),
        ({"rule": "fixed", "target": None}, "needs the threshold itself"),
        ({"rule": "fixed"}, "needs the threshold itself"),
        ({"rule": "fixed", "target": 1.5}, "between 0 and 1"),
        ({"rule": "cost"}, "needs as target what a missed positive costs in false alarms"),
        ({"rule": "cost", "target": 0}, "target=0 must be above 0"),
        ({"rule": "cost", "target": math.inf}, "target=inf must be above 0"),
        ({"rule": "cost", "target": "dear"}, "target='dear' must be a number"),
        ({"rule": "cost", "target": 5, "prevalence": -0.1}, "prevalence=-0.1 must lie strictly between 0 and 1"),
        ({"rule": "net_benefit"}, "needs as target the probability from which acting is worth it"),
        ({"rule": "net_benefit", "target": 1}, "target=1 must lie strictly between 0 and 1"),
        ({"rule": "net_benefit", "target": 0.1, "prevalence": 1}, "prevalence=1 must lie strictly"),
        ({"rule": "youden", "prevalence": 0.1}, "prevalence=0.1 means nothing to rule='youden'"),
        ({"confidence": 95}, "confidence=95"),
    ],
)
def test_bad_arguments_are_refused_in_words(arguments, message):
    with pytest.raises(ValueError, match=message):
        choose_threshold(table(LABELS, SCORES), **arguments)


def test_without_scores_only_a_fixed_threshold_of_a_named_finding_is_possible():
    with pytest.raises(ValueError, match="needs scores"):
        choose_threshold(None, rule="youden")
    with pytest.raises(ValueError, match="needs finding"):
        choose_threshold(None, rule="fixed", target=0.5)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "fixed"])
def test_one_class_cannot_choose(rule):
    with pytest.raises(ValueError, match=r"Pneumonia: .* no positives: all 2 known labels are negative"):
        choose_threshold(table([0, 0, math.nan], [0.1, 0.2, 0.3]), rule=rule, target=TARGETS.get(rule, 0.8))


def test_a_recipe_can_check_every_rule_by_its_target_alone():
    for rule, target in {**dict.fromkeys(RULES, 0.8), **TARGETS}.items():
        check_rule(rule, target)
    with pytest.raises(ValueError, match="target=-1 must be above 0"):
        check_rule("cost", -1)


def test_what_a_rule_aims_at_by_itself_is_80_percent():
    scores = table(LABELS, SCORES)
    assert choose_threshold(scores).target == choose_threshold(scores, rule="specificity").target == 0.8


def test_broken_scores_cannot_choose():
    with pytest.raises(ValueError, match="Pneumonia: 1 of 3 scores are NaN"):
        choose_threshold(table([0, 1, 1], [0.1, 0.2, math.nan]))
    with pytest.raises(ValueError, match="look like logits"):
        choose_threshold(table([0, 1], [-1, 2]))


def test_a_finding_of_one_class_among_others_gets_a_stated_threshold():
    rows = [
        (f"{number}.png", str(number), finding, label, score)
        for finding, labels in (("Mass", [0, 1, 0, 1]), ("Hernia", [0, 0, math.nan, 0]))
        for number, (label, score) in enumerate(zip(labels, [0.1, 0.6, 0.3, 0.9], strict=True))
    ]
    scores = pd.DataFrame(rows, columns=["image_id", "patient_id", "finding", "label", "score"])
    hernia, mass = choose_thresholds(scores, ["Hernia", "Mass"], rule="youden")
    assert (mass.finding, mass.threshold, mass.chosen_on) == ("Mass", 0.6, "validation")
    assert mass == choose_threshold(scores, rule="youden", finding="Mass")
    assert (hernia.finding, hernia.threshold, hernia.rule, hernia.chosen_on) == ("Hernia", 0.5, "fixed", "stated")
    assert hernia.note.startswith("validation has images of one class only")
    assert not hernia.sensitivity.estimable
    with pytest.raises(ValueError, match="Hernia: a threshold cannot be chosen on validation, no positives"):
        choose_thresholds(scores, ["Hernia"], rule="youden")
    with pytest.raises(ValueError, match="Edema"):
        choose_thresholds(scores, ["Mass", "Edema"], rule="youden")
