import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.clinical_use import decision_curve as utility
from chexkeras.evaluation.clinical_use.triage import triage_effect
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.uncertainty.intervals import proportion_interval
from chexkeras.plots import style
from chexkeras.plots.clinical_use import decision_curve, triage_by_workload, triage_waiting

CAUTION = "Synthetic images, not clinical evidence."
ROOM = {"prevalence": 0.1, "arrivals_per_hour": 5, "reads_per_hour": 6}


def _labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def _line(ax, start):
    return next(line for line in ax.lines if str(line.get_label()).startswith(start))


@pytest.fixture
def many():
    rng = np.random.default_rng(0)
    score = rng.random(200)
    return pd.DataFrame(
        {
            "image_id": [f"{number}.png" for number in range(200)],
            "patient_id": [str(number // 2) for number in range(200)],
            "finding": "Effusion",
            "label": (rng.random(200) < score).astype(float),
            "score": score,
        }
    )


def test_curve_band_and_defaults_are_those_computed(many):
    ax = decision_curve(many, thresholds=[0.1, 0.3, 0.5], replicates=100)
    curve = utility.decision_curve(
        many["label"], many["score"], clusters=many["patient_id"], thresholds=[0.1, 0.3, 0.5], replicates=100
    )
    assert list(_line(ax, "n = 200").get_ydata()) == list(curve["net_benefit"])
    assert list(_line(ax, "treat all").get_ydata()) == list(curve["treat_all"])
    assert set(_line(ax, "treat none").get_ydata()) == {0}
    corners = ax.collections[0].get_paths()[0].vertices
    for t, low, high in zip(curve["threshold_probability"], curve["low"], curve["high"], strict=True):
        heights = corners[np.isclose(corners[:, 0], t), 1]
        assert (heights.min(), heights.max()) == (pytest.approx(low), pytest.approx(high))


def test_the_legend_gives_n_and_what_the_band_is(many):
    text = " ".join(_labels(decision_curve(many, replicates=20)))
    assert f"n = 200 ({int(many['label'].sum())} positive), band: 95 % CI" in text
    assert f"treat all, prevalence {many['label'].mean():.3g}" in text


def test_a_stated_prevalence_is_in_the_title_and_moves_treat_all(many):
    ax = decision_curve(many, prevalence=0.02, thresholds=[0.01, 0.04], replicates=20)
    assert "at a prevalence of 2 %" in ax.get_title(loc="left")
    assert list(_line(ax, "treat all").get_ydata()) == pytest.approx([0.02 - 0.98 / 99, 0.02 - 0.98 / 24])


def test_several_runs_share_thresholds_and_defaults(many):
    better = many.assign(score=0.5 * many["score"] + 0.5 * many["label"])
    ax = decision_curve({"stage 1": many, "stage 2": better}, replicates=20)
    first, second = _line(ax, "stage 1"), _line(ax, "stage 2")
    assert list(first.get_xdata()) == list(second.get_xdata())
    assert (second.get_ydata() >= first.get_ydata()).mean() > 0.9
    assert sum(text.startswith("treat all") for text in _labels(ax)) == 1
    fewer = many.assign(label=np.where(np.arange(200) % 3, many["label"], 0.0))
    apart = decision_curve({"stage 1": many, "stage 2": fewer}, replicates=20)
    assert [text.split(" (")[-1] for text in _labels(apart) if text.startswith("treat all")] == ["stage 1)", "stage 2)"]


def test_treating_all_does_not_squeeze_the_curves(many):
    ax = decision_curve(many, thresholds=[0.1, 0.5, 0.95], replicates=20)
    low, high = ax.get_ylim()
    assert _line(ax, "treat all").get_ydata().min() < low
    assert -low < 0.3 * high


def test_cautions_stand_on_the_figure(many):
    evaluation = evaluate(many, cautions=[CAUTION])
    assert CAUTION in [text.get_text() for text in decision_curve(many, evaluation, replicates=20).texts]
    assert "test, n = 200" in " ".join(_labels(decision_curve(many, evaluation, replicates=20)))
    for draw in (triage_waiting, triage_by_workload):
        assert CAUTION in [text.get_text() for text in draw(triage_effect(0.9, 0.9, **ROOM), note=CAUTION).texts]


def test_one_class_gives_no_curve_but_says_why(scores):
    scores["label"] = 0.0
    ax = decision_curve(scores)
    assert "not estimable:\nno positive image" in [text.get_text() for text in ax.texts]


def test_bars_are_minutes_with_and_without_the_device():
    effect = triage_effect(0.9, 0.9, **ROOM)
    ax = triage_waiting(effect)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names[:3] == ["all images, without the device", "diseased images (10 %)", "other images"]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(
        [60, 60 * 0.29411765, 60 * effect.non_diseased_hours, 60 * 0.19607843, 60 * 1.17647059], rel=1e-6
    )
    texts = [text.get_text() for text in ax.texts]
    below = " ".join(ax.get_xlabel().split())
    assert "17.6" in texts
    assert "Diseased images: 42.4 minutes less." in below
    assert "5 images arrive per hour, one reader reads 6 (busy 83 % of the time)" in below
    assert "interrupts" in below


def test_the_interval_of_the_saving_is_drawn_on_the_diseased_images():
    effect = triage_effect(proportion_interval(90, 100), proportion_interval(80, 100), **ROOM)
    ax = triage_waiting(effect)
    (bars,) = [box for box in ax.containers if len(box) == 3]
    (segment,) = bars[2][0].get_segments()
    assert list(segment[:, 0]) == pytest.approx([60 * (1 - effect.saving.high), 60 * (1 - effect.saving.low)])
    low, high = effect.saving.low * 60, effect.saving.high * 60
    assert f"(saving 95 % CI {low:.1f} to {high:.1f})" in " ".join(ax.get_xlabel().split())


@pytest.mark.parametrize("width", [5.0, 7.0, 9.0])
def test_no_text_of_the_queue_is_cut_in_a_narrow_figure(width):
    effect = triage_effect(proportion_interval(90, 100), proportion_interval(80, 100), **ROOM)
    drawn, (ax,) = style.figure(width=width, height=4.4)
    triage_waiting(effect, ax=ax, note=CAUTION)
    style.settle(drawn)
    drawn.draw_without_rendering()
    for text in (*ax.texts, *ax.get_yticklabels(), ax.xaxis.label):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= drawn.bbox.width, text.get_text()
        assert box.y0 >= 0 and box.y1 <= drawn.bbox.height, text.get_text()
    assert "Assuming" in ax.get_xlabel()
    assert ax.xaxis.label.get_window_extent().y1 < min(label.get_window_extent().y0 for label in ax.get_xticklabels())


def test_a_device_that_flags_everything_has_no_bar_for_the_rest():
    ax = triage_waiting(triage_effect(1.0, 0.0, **ROOM, discipline="non-pre-emptive"))
    assert len(ax.patches) == 4
    assert "is the next to be read" in " ".join(ax.get_xlabel().split())


def test_lines_by_workload_pass_the_times_of_the_effect():
    effect = triage_effect(0.9, 0.9, **ROOM)
    ax = triage_by_workload(effect)
    for start, hours in (
        ("all images", effect.fifo_hours),
        ("other images", effect.non_diseased_hours),
        ("diseased images", effect.diseased_hours),
    ):
        line = _line(ax, start)
        assert np.interp(100 * 5 / 6, *line.get_data()) == pytest.approx(60 * hours, rel=0.01)
    assert _line(ax, "5 images per hour").get_xdata()[0] == pytest.approx(100 * 5 / 6)
    assert "42.4 minutes less" in " ".join(_labels(ax))
    busy = triage_by_workload(triage_effect(0.9, 0.9, 0.1, arrivals_per_hour=5.9, reads_per_hour=6))
    assert max(_line(busy, "diseased").get_xdata()) == pytest.approx(100 * 5.9 / 6)


def test_it_draws_on_the_axes_it_is_given(many):
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 3)
    effect = triage_effect(0.9, 0.9, **ROOM)
    assert decision_curve(many, ax=axes[0], replicates=5) is axes[0]
    assert triage_waiting(effect, ax=axes[1]) is axes[1]
    assert triage_by_workload(effect, ax=axes[2]) is axes[2]
    assert axes[0].lines[0].get_color() == style.BLUE
