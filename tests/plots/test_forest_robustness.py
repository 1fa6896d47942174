import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.robustness import perturbation_effects
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.plots.forest import robustness_forest
from chexkeras.results import Robustness


@pytest.fixture
def measured():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2
    ids = [f"{number}" for number in range(300)]
    scores = pd.DataFrame({"image_id": ids, "patient_id": ids, "finding": "Mass", "label": labels,
                           "score": (0.3 + 0.3 * labels + rng.normal(0, 0.1, 300)).clip(0, 1)})  # fmt: skip
    both = pd.concat([scores, scores.assign(finding="Nodule")])
    changed = {
        "darker by 10 %": both.assign(score=0.99 * both["score"]),
        "mirrored": both.assign(score=rng.uniform(size=600)),
    }
    groups = {"darker by 10 %": "exposure", "mirrored": "misuse"}
    effects = perturbation_effects(both, changed, groups=groups)
    return Robustness("test", "00", 32, 300, 300, 300, 0, 0.0, 0.0, 16, 0.05, effects, ("Toy images.",))


@pytest.fixture
def called(measured):
    """The same with an operating point: halved scores keep their order, and hardly one is called any more."""
    point = choose_threshold(None, rule="fixed", target=0.45, finding="Mass")
    rng = np.random.default_rng(2)
    labels = np.arange(300) % 2
    ids = [f"{number}" for number in range(300)]
    scores = pd.DataFrame({"image_id": ids, "patient_id": ids, "finding": "Mass", "label": labels,
                           "score": (0.3 + 0.3 * labels + rng.normal(0, 0.1, 300)).clip(0, 1)})  # fmt: skip
    effects = perturbation_effects(scores, {"halved": scores.assign(score=scores["score"] / 2)}, points=[point])
    return Robustness("test", "00", 32, 300, 300, 300, 0, 0.0, 0.0, 16, 0.05, effects, ("Toy images.",))


def test_ranking_and_calls_are_drawn_in_one_row_with_both_verdicts_and_both_margins(called):
    ax = robustness_forest(called)
    (effect,) = called.effects
    drawn = {box.get_label(): box[0].get_xdata()[0] for box in ax.containers}
    assert drawn == {entry.statistic: entry.difference.value for entry in effect.comparisons}
    assert "worse: held, worse" in texts(ax)
    assert {-0.05, -0.1} <= {line.get_xdata()[0] for line in ax.lines if line.get_linestyle() in ("--", ":")}
    assert "margin of 0.05 and 0.1 (AUROC; rates)" in ax.get_xlabel()
    assert {text.get_text() for text in ax.get_legend().get_texts()} >= {"AUROC", "sensitivity", "specificity"}
    alone = robustness_forest(called, "specificity")
    assert [box[0].get_xdata()[0] for box in alone.containers] == [effect["specificity"].difference.value]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_every_change_stands_under_its_kind_with_its_difference_and_verdict(measured):
    ax = robustness_forest(measured, finding="Mass")
    worse = measured.of("Mass")[1]["AUROC"].difference
    drawn = [box[0].get_xdata()[0] for box in ax.containers]
    assert drawn == [0.0, worse.value]
    said = f"{worse.value:+.3f} ({worse.low:+.3f} to {worse.high:+.3f}), worse".replace("-", "−")
    for text in ("exposure", "misuse", "darker by 10 %", "mirrored", said, "+0.000 (+0.000 to +0.000), held"):
        assert text in texts(ax), text


def test_the_margin_and_no_loss_are_marked_and_within_the_drawing(measured):
    ax = robustness_forest(measured, finding="Mass")
    lines = {line.get_xdata()[0] for line in ax.lines if line.get_linestyle() in ("--", "-") and len(line.get_xdata())}
    assert {0, -0.05} <= lines
    low, high = ax.get_xlim()
    assert low < measured.of("Mass")[1]["AUROC"].difference.low and high > 0
    assert "margin of 0.05" in ax.get_xlabel() and "n = 300" in ax.get_xlabel()


def test_cautions_are_on_the_figure(measured):
    assert any("Toy images." in text.get_text() for text in robustness_forest(measured, finding="Mass").figure.findobj(
        lambda artist: hasattr(artist, "get_text")))  # fmt: skip


def test_one_of_several_findings_must_be_named_and_known(measured):
    with pytest.raises(ValueError, match="2 findings were measured; name one"):
        robustness_forest(measured)
    with pytest.raises(ValueError, match="Expected one of: Mass, Nodule"):
        robustness_forest(measured, finding="Edema")
    with pytest.raises(ValueError, match="Expected one of: AUROC"):
        robustness_forest(measured, "sensitivity", finding="Mass")
