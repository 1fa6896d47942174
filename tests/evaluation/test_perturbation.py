"""Films against themselves: what a change did to ranking, calls and scores."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.comparison import compare
from chexkeras.evaluation.perturbation import perturbation_effects
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.results import Robustness
from chexkeras.results.robustness import AS_IS


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
    before = table([1, 1, 0, 0], [0.9, 0.6, 0.4, 0.1])
    after = table([1, 1, 0, 0], [0.8, 0.3, 0.5, 0.1]).iloc[::-1]
    point = choose_threshold(None, rule="fixed", target=0.45, finding="Mass")
    (effect,) = perturbation_effects(before, {"noise": after}, groups={"noise": "sharpness"}, points=[point])
    assert (effect.perturbation, effect.group, effect.finding) == ("noise", "sharpness", "Mass")
    # 0.6 falls below 0.45, 0.4 rises above it.
    assert effect.calls_changed.value == 0.5
    # Moved by 0.1, 0.3, 0.1 and 0.
    assert effect.shift_median == pytest.approx(0.1) and effect.shift_95 == pytest.approx(0.27)
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


def test_a_small_but_sure_loss_within_the_margin_has_held(scores):
    moved = {"some": noisy(scores, 0.5)}
    (narrow,) = perturbation_effects(scores, moved, margin=0.001)
    (wide,) = perturbation_effects(scores, moved, margin=0.9)
    assert narrow["AUROC"].difference.high < 0
    assert (narrow.verdict("AUROC"), wide.verdict("AUROC")) == ("worse", "held")


def test_verdicts_do_not_weaken_with_the_number_of_changes(scores):
    one = perturbation_effects(scores, {"a": noisy(scores, 0.5)}, margin=0.001)[0]
    many = perturbation_effects(scores, {f"{n}": noisy(scores, 0.5 if n == 0 else 0.01, n) for n in range(40)})
    assert one.verdict("AUROC") == many[0].verdict("AUROC") == "worse"


def test_differences_are_those_of_compare(scores, point):
    after = noisy(scores, 0.4)
    (effect,) = perturbation_effects(scores, {"x": after}, points=[point])
    expected = compare(after, scores, names=("x", AS_IS), points=[point, point], margin=0.05)
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
    measured = Robustness("test", "00", 32, 400, 400, 400, 0, 0.0, 0.0, 16, 0.05, effects, ("A caution.",))
    path = measured.save(tmp_path / "robustness.json")
    from chexkeras import files

    again = Robustness.from_dict(files.read_json(path))
    assert again.to_frame().equals(measured.to_frame())
    assert again.findings == ("Mass", "Nodule") and len(again.of("Mass")) == 2
    assert measured.to_frame().attrs["cautions"] == ("A caution.",)
    with pytest.raises(KeyError, match="'Edema' was not measured; there are: Mass, Nodule"):
        again.of("Edema")


def test_nothing_or_other_films_are_refused(scores):
    with pytest.raises(ValueError, match="changed is empty"):
        perturbation_effects(scores, {})
    with pytest.raises(ValueError, match="only scores of the same images"):
        perturbation_effects(scores, {"x": scores.iloc[1:]})
