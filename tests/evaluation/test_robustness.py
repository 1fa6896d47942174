"""Images against themselves: what a change did to ranking, calls and scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from chexkeras import files
from chexkeras.evaluation.comparison.compare import compare
from chexkeras.evaluation.comparison.paired_tests import paired_proportions
from chexkeras.evaluation.rates import rates
from chexkeras.evaluation.robustness import MARGIN, perturbation_effects
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.results import Estimate, PerturbationEffect, Robustness
from chexkeras.results.robustness import AS_IS, FEWEST_PATIENTS, VERDICTS, worse_of


def table(labels, scores, finding="Mass", start=0):
    ids = [f"{number:04d}" for number in range(start, start + len(labels))]
    return pd.DataFrame({"image_id": ids, "patient_id": ids, "finding": finding, "label": labels, "score": scores})


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    return table(labels, (0.3 + 0.3 * labels + rng.normal(0, 0.1, 400)).clip(0, 1))


@pytest.fixture
def point():
    rng = np.random.default_rng(1)
    labels = np.arange(200) % 2
    return choose_threshold(table(labels, (0.3 + 0.3 * labels + rng.normal(0, 0.1, 200)).clip(0, 1), start=1000))


def noisy(scores, share, seed=0):
    noise = np.random.default_rng(seed).uniform(size=len(scores))
    return scores.assign(score=(1 - share) * scores["score"] + share * noise)


def test_numbers_by_hand():
    # Each image six times, since fewer than five patients tell too little of a difference of rates.
    before = table([1, 1, 0, 0] * 6, [0.9, 0.6, 0.4, 0.1] * 6)
    after = table([1, 1, 0, 0] * 6, [0.8, 0.3, 0.5, 0.1] * 6).iloc[::-1]
    point = choose_threshold(None, rule="fixed", target=0.45, finding="Mass")
    (effect,) = perturbation_effects(before, {"noise": after}, groups={"noise": "sharpness"}, points=[point])
    assert (effect.perturbation, effect.group, effect.finding) == ("noise", "sharpness", "Mass")
    # 0.6 falls below 0.45, 0.4 rises above it.
    assert effect.calls_changed.value == 0.5
    # Moved by 0.1, 0.3, 0.1 and 0, six times each: a quarter by 0.3.
    assert effect.shift_median == pytest.approx(0.1) and effect.shift_95 == pytest.approx(0.3)
    # Of four pairs one is now the wrong way round.
    assert effect["AUROC"].difference.value == pytest.approx(-0.25)
    assert effect["sensitivity"].difference.value == -0.5 and effect["specificity"].difference.value == -0.5
    assert (effect["AUROC"].first, effect["AUROC"].second) == ("noise", AS_IS)


def test_verdicts_follow_from_interval_and_margin(scores, point):
    changed = {"slight": noisy(scores, 0.02), "strong": noisy(scores, 0.9)}
    slight, strong = perturbation_effects(scores, changed, points=[point], margin=0.05)
    assert slight.verdict("AUROC") == "held" and slight["AUROC"].difference.low > -0.05
    assert strong.verdict("AUROC") == strong.verdict("sensitivity") == "worse"
    few = scores.head(12)
    (unsure,) = perturbation_effects(few, {"some": noisy(few, 0.3)}, margin=0.001)
    assert unsure["AUROC"].difference.high >= 0 and unsure.verdict("AUROC") == "not shown"


def test_the_worse_of_ranking_and_operating_point_leads(scores, point):
    # Every score halved: the images are ranked as before, and hardly one is called any more.
    (effect,) = perturbation_effects(scores, {"halved": scores.assign(score=scores["score"] / 2)}, points=[point])
    assert (effect.discrimination, effect.verdict("sensitivity"), effect.verdict("specificity")) == (
        "held", "worse", "held"
    )  # fmt: skip
    assert (effect.operating_point, effect.leading) == ("worse", "worse")
    raised = scores.assign(score=(scores["score"] + 0.2).clip(upper=1))
    (effect,) = perturbation_effects(scores, {"raised": raised}, points=[point])
    assert (effect.verdict("sensitivity"), effect.verdict("specificity")) == ("held", "worse")
    assert effect.leading == effect.operating_point == "worse"
    (unpointed,) = perturbation_effects(scores, {"raised": raised})
    assert (unpointed.operating_point, unpointed.leading) == (None, unpointed.discrimination)


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [(("held", "worse"), "worse"), (("not shown", "held"), "not shown"), (("not estimable", "worse"), "worse"),
     (("not shown", "not estimable"), "not estimable"), (("held", "held"), "held")],
)  # fmt: skip
def test_a_verdict_is_no_better_than_the_worst_of_its_parts(verdicts, worst):
    assert worse_of(*verdicts) == worse_of(*verdicts[::-1]) == worst


def test_rates_have_a_margin_of_their_own(scores, point):
    moved = {"some": noisy(scores, 0.12, seed=4)}
    verdicts = []
    for margin in (0.001, 0.5):
        (effect,) = perturbation_effects(scores, moved, points=[point], operating_margin=margin)
        assert {effect[name].margin for name in ("sensitivity", "specificity")} == {margin}
        assert effect["AUROC"].margin == MARGIN
        verdicts.append(effect.operating_point)
    assert verdicts[0] != "held" and verdicts[1] == "held"


def test_a_rate_of_few_patients_is_not_estimable_with_the_reason_and_no_wide_interval(scores, point):
    few = scores.assign(patient_id=[str(n % 8) for n in range(len(scores))])
    (effect,) = perturbation_effects(few, {"strong": noisy(few, 0.9)}, points=[point])
    # Eight patients, of whom every second one has the finding.
    assert "4 patients are too few" in effect["sensitivity"].difference.reason
    assert (effect.discrimination, effect.operating_point, effect.leading) == ("worse", "not estimable", "worse")


def test_intervals_of_changed_calls_cover_and_hold_is_seldom_said_wrongly():
    """Calls of patients with many images, a shift of each patient's own, and a loss of just the margin."""
    covered, held = np.zeros(2), 0
    runs = 300
    rng = np.random.default_rng(5)
    for _ in range(runs):
        owner = np.repeat(np.arange(25), np.minimum(rng.geometric(0.4, 25), 30))
        before = 1 + np.sqrt(0.5) * (rng.normal(size=25)[owner] + rng.normal(size=len(owner)))
        # Phi(1) is a sensitivity of 0.841; the change takes 0.1 of it.
        spread = np.sqrt(1 + 0.3 + 0.1)
        after = before - 1 + stats.norm.ppf(stats.norm.cdf(1) - 0.1) * spread
        after += np.sqrt(0.3) * rng.normal(size=25)[owner] + np.sqrt(0.1) * rng.normal(size=len(owner))
        found, _ = paired_proportions(after >= 0, before >= 0, clusters=owner)
        covered += [found.low <= -0.1 <= found.high, found.high - found.low < 1]
        held += found.low > -0.1
    # Between 92.5 and 100 % of 95, and "held" in 2.5 %: three standard errors of 300 runs.
    assert covered[0] / runs > 0.925
    assert covered[1] == runs
    assert held / runs < 0.052


def test_a_measurement_of_an_earlier_version_loads_with_one_margin_for_all(scores, point, tmp_path):
    effects = perturbation_effects(scores, {"x": noisy(scores, 0.2)}, points=[point], operating_margin=0.05)
    measured = Robustness("test", "00", 32, 400, 400, 400, 0, 0.0, 0.0, 16, 0.05, effects)
    again = Robustness.from_dict(files.read_json(measured.save(tmp_path / "robustness.json")))
    assert again.operating_margin == again.margin == 0.05
    committed = Path(__file__).parents[2] / "reports" / "nih-1000" / "before" / "robustness.json"
    old = Robustness.from_dict(files.read_json(committed))
    assert {effect.leading for effect in old.effects} <= set(VERDICTS)


def test_a_small_but_sure_loss_within_the_margin_has_held(scores):
    moved = {"some": noisy(scores, 0.5)}
    (narrow,) = perturbation_effects(scores, moved, margin=0.001)
    (wide,) = perturbation_effects(scores, moved, margin=0.9)
    assert narrow["AUROC"].difference.high < 0
    assert (narrow.verdict("AUROC"), wide.verdict("AUROC")) == ("worse", "held")


def test_with_few_patients_of_a_class_an_auroc_has_not_held():
    rng = np.random.default_rng(3)
    for flipped in (False, True):
        for count in (FEWEST_PATIENTS - 1, FEWEST_PATIENTS):
            labels = (np.arange(400) < count).astype(int)
            labels = 1 - labels if flipped else labels
            before = table(labels, (0.3 + 0.3 * labels + rng.normal(0, 0.1, 400)).clip(0, 1))
            (effect,) = perturbation_effects(before, {"slight": noisy(before, 0.02)}, margin=0.05)
            assert sorted((effect.n_positive, effect.n_negative)) == [count, 400 - count]
            assert effect["AUROC"].non_inferior
            assert effect.verdict("AUROC") == ("held" if count == FEWEST_PATIENTS else "not shown")


def test_patients_are_counted_and_not_images():
    before = table([1, 1, 0, 1, 0, np.nan], [0.9, 0.8, 0.2, 0.7, 0.1, 0.5])
    before["patient_id"] = ["a", "a", "a", "b", "c", "d"]
    (effect,) = perturbation_effects(before, {"x": before})
    # Positive images of a and b, negative ones of a and c; nothing is known of d.
    assert (effect.n_positive, effect.n_negative) == (2, 2)
    with pytest.raises(ValueError, match=r"n_positive=-1 of 'x' on Mass must be a whole number of patients"):
        replace(effect, n_positive=-1)


def test_verdicts_do_not_weaken_with_the_number_of_changes(scores):
    one = perturbation_effects(scores, {"a": noisy(scores, 0.5)}, margin=0.001)[0]
    many = perturbation_effects(scores, {f"{n}": noisy(scores, 0.5 if n == 0 else 0.01, n) for n in range(40)})
    assert one.verdict("AUROC") == many[0].verdict("AUROC") == "worse"


def test_differences_are_those_of_compare(scores, point):
    after = noisy(scores, 0.4)
    (effect,) = perturbation_effects(scores, {"x": after}, points=[point])
    expected = compare(after, scores, names=("x", AS_IS), points=[point, point],
                       margin={"AUROC": 0.05, "sensitivity": 0.1, "specificity": 0.1})  # fmt: skip
    assert effect.comparisons == expected


def test_without_an_operating_point_calls_are_not_estimable(scores):
    (effect,) = perturbation_effects(scores, {"x": noisy(scores, 0.2)})
    assert not effect.calls_changed.estimable and "no operating point" in effect.calls_changed.reason
    assert [entry.statistic for entry in effect.comparisons] == ["AUROC"]
    with pytest.raises(KeyError, match="'sensitivity' was not compared; there are: AUROC"):
        effect["sensitivity"]


def test_one_class_is_not_estimable_and_says_so(scores):
    positives = scores[scores["label"] == 1]
    (effect,) = perturbation_effects(positives, {"x": noisy(positives, 0.2)})
    assert effect.verdict("AUROC") == "not estimable"
    assert effect.shift_median > 0


def test_several_findings_have_an_effect_each_and_survive_json(scores, point, tmp_path):
    both = pd.concat([scores, scores.assign(finding="Nodule")])
    effects = perturbation_effects(both, {"a": noisy(both, 0.1), "b": noisy(both, 0.5)}, points=[point])
    assert [(e.perturbation, e.finding) for e in effects] == [
        ("a", "Mass"), ("a", "Nodule"), ("b", "Mass"), ("b", "Nodule")
    ]  # fmt: skip
    measured = Robustness(
        "test", "00", 32, 400, 400, 400, 0, 0.0, 0.0, 16, 0.05, effects, ("A caution.",), None, {"Mass": 0.5}
    )
    path = measured.save(tmp_path / "robustness.json")
    again = Robustness.from_dict(files.read_json(path))
    assert again.to_frame().equals(measured.to_frame())
    assert again.thresholds == {"Mass": 0.5}
    assert again.findings == ("Mass", "Nodule") and len(again.of("Mass")) == 2
    assert measured.to_frame().attrs["cautions"] == ("A caution.",)
    with pytest.raises(KeyError, match="'Edema' was not measured; there are: Mass, Nodule"):
        again.of("Edema")


def test_shifts_that_are_not_known_survive_json(scores):
    (effect,) = perturbation_effects(scores, {"x": noisy(scores, 0.2)})
    nowhere = {**vars(effect), "shift_median": None, "shift_95": None}
    nowhere |= {"comparisons": [entry.to_dict() for entry in effect.comparisons]}
    nowhere |= {"unlike": effect.unlike.to_dict()}
    found = PerturbationEffect.from_dict({**nowhere, "calls_changed": effect.calls_changed.to_dict()})
    assert np.isnan(found.shift_median) and np.isnan(found.shift_95)
    measured = Robustness("test", "00", 32, 400, 400, 400, 0, 0.0, 0.0, 16, 0.05, (found,))
    assert measured.to_frame()["median change of the score"].tolist() == ["not estimable"]


def _without_auroc(data):
    data["effects"][0]["comparisons"] = data["effects"][0]["comparisons"][1:]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda d: d.update(effects=[]), "effects is empty"),
        (lambda d: d["effects"].append(d["effects"][0]), "'x' on Mass stands twice in effects"),
        (_without_auroc, "'x' on Mass has no comparison of the AUROC"),
        (lambda d: d.update(margin="0.05"), "margin is a str, a number was expected"),
        (lambda d: d.update(margin=True), "margin is true or false, a number was expected"),
        (lambda d: d.update(margin=1), "margin=1 must be"),
        (lambda d: d.update(margin=0.1), "margin=0.1, but the AUROC of 'x' on Mass was compared with margin 0.05"),
        (lambda d: d.pop("thresholds"), r"lacks thresholds: it comes from another version of chexkeras, or is damaged"),
        (lambda d: d.update(colour="red"), "has unknown colour: it comes from another version"),
        (lambda d: d["effects"][0].pop("n_negative"), "lacks n_negative: it comes from another version"),
        (lambda d: d["effects"][0].update(n_positive=2.5), "n_positive is a float, a whole number was expected"),
    ],
)
def test_what_is_no_measurement_is_refused_on_loading(scores, point, tmp_path, edit, said):
    effects = perturbation_effects(scores, {"x": noisy(scores, 0.2)}, points=[point])
    measured = Robustness("test", "00", 32, 400, 400, 400, 0, 0.0, 0.0, 16, 0.05, effects, ())
    data = files.read_json(measured.save(tmp_path / "robustness.json"))
    edit(data)
    with pytest.raises(ValueError, match=said):
        Robustness.from_dict(data)


def test_nothing_or_other_images_are_refused(scores):
    with pytest.raises(ValueError, match="changed is empty"):
        perturbation_effects(scores, {})
    with pytest.raises(ValueError, match="only scores of the same images"):
        perturbation_effects(scores, {"x": scores.iloc[1:]})


def test_a_number_whose_interval_spans_everything_is_not_estimable():
    """Two patients who disagree in all of their images say nothing of a rate, an area or a difference of areas."""
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    patients = np.array(list("aabbccdd"))
    found = rates(labels, np.array([1, 1, 0, 0, 0, 0, 1, 1]), clusters=patients)
    for estimate in (found.sensitivity, found.specificity):
        assert estimate.reason.startswith("the interval spans everything from 0 to 1")
    whole = Estimate(-0.1, -1.0, 0.9996, method="x; interval approximate: worth 1 patient").unless_it_spans(-1, 1)
    assert whole.reason == "the interval spans everything from -1 to 1 (worth 1 patient)"
    told = Estimate(0.5, 0.001, 0.9998)
    assert told.unless_it_spans(0, 1) is told
