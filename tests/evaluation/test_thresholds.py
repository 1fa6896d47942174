"""Choosing a threshold: each rule by hand on ten films, the guard's published minimums, and what it is worth."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexkeras.evaluation.intervals import proportion_interval
from chexkeras.evaluation.scores import read_scores, write_scores
from chexkeras.evaluation.thresholds import RULES, choose_threshold, positives_needed, scores_fingerprint

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
def test_rules_by_hand_on_ten_films(rule, target, threshold, hits, passed):
    point = choose_threshold(table(LABELS, SCORES), rule=rule, target=target)
    assert point.threshold == threshold
    assert (point.rule, point.target, point.chosen_on) == (rule, target, "validation")
    assert (point.n_positive, point.n_negative) == (5, 5)
    assert point.sensitivity == proportion_interval(hits, 5)
    assert point.specificity == proportion_interval(passed, 5)
    assert point.note


def test_equally_good_thresholds_are_decided_for_sensitivity():
    # Youden's index is .5 at .8 and at .5; F1 is 2/3 at .9 and at .3.
    assert choose_threshold(table([1, 0, 1, 0], [0.8, 0.6, 0.5, 0.2]), rule="youden").threshold == 0.5
    assert choose_threshold(table([1, 0, 0, 1], [0.9, 0.7, 0.6, 0.3]), rule="f1").threshold == 0.3


def test_youden_weighs_the_classes_alike_however_many_films_they_have():
    # Calling the top film gives 1/2 + 0 - 0; calling five gives 1 - 3/8, though it adds three alarms for one hit.
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
    with pytest.raises(ValueError, match=r"Pneumonia on validation: .*from 50 positives, at least 59 are needed"):
        choose_threshold(scores, rule="guarded_sensitivity", target=0.95)


@pytest.mark.parametrize(("target", "confidence", "needed"), [(0.95, 0.95, 59), (0.9, 0.95, 29), (0.8, 0.95, 14)])
def test_positives_needed_are_the_fewest_that_suffice(target, confidence, needed):
    assert positives_needed(target, confidence) == needed
    alpha = 1 - confidence
    assert target**needed <= alpha < target ** (needed - 1)
    perfect = table([1] * needed + [0], [0.9] * needed + [0.1])
    assert choose_threshold(perfect, rule="guarded_sensitivity", target=target).threshold == 0.9


def test_the_guard_says_when_patients_weaken_it():
    labels, scores = [1] * 40 + [0] * 40, np.linspace(1, 0, 80)
    alone = choose_threshold(table(labels, scores), rule="guarded_sensitivity", target=0.8)
    several = table(labels, scores, patients=np.arange(80) // 4)
    point = choose_threshold(several, rule="guarded_sensitivity", target=0.8)
    assert "weaker" not in alone.note
    assert "40 positive films come from 10 patients" in point.note
    assert "weaker" in point.note
    assert "Korn" in point.sensitivity.method


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
    for rule in ("sensitivity", "specificity", "youden", "f1"):
        assert choose_threshold(scores, rule=rule) == choose_threshold(scores.sample(frac=1, random_state=3), rule=rule)


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
        ({"rule": "fixed", "target": 1.5}, "between 0 and 1"),
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
        choose_threshold(table([0, 0, math.nan], [0.1, 0.2, 0.3]), rule=rule)


def test_broken_scores_cannot_choose():
    with pytest.raises(ValueError, match="Pneumonia: 1 of 3 scores are NaN"):
        choose_threshold(table([0, 1, 1], [0.1, 0.2, math.nan]))
    with pytest.raises(ValueError, match="look like logits"):
        choose_threshold(table([0, 1], [-1, 2]))
