import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.clinical_use.abstention import FEWEST_CALLED, choose_band, measure_selective, with_bands
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.scores import Scores
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.results import Evaluation, OperatingPoint


def table(score, label, first=0):
    ids = [f"image {number}" for number in range(first, first + len(score))]
    return pd.DataFrame(
        {
            "image_id": ids,
            "patient_id": [f"patient {number // 2}" for number in range(first, first + len(score))],
            "finding": "Effusion",
            "label": np.asarray(label, float),
            "score": np.asarray(score, float),
        }
    )


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, 400)
    return table(1 / (1 + np.exp(-rng.normal(1.2 * label - 0.6, 1))), label)


@pytest.fixture(scope="module")
def point(drawn):
    return choose_threshold(drawn, rule="youden", target=None)


def log_odds(value):
    return math.log(value / (1 - value))


def test_a_share_leaves_open_the_nearest_images_and_no_more(drawn, point):
    band = choose_band(drawn, point, share=0.1).abstain
    apart = sorted(abs(log_odds(score) - log_odds(point.threshold)) for score in drawn["score"])
    inside = [score for score in drawn["score"] if band.low <= score <= band.high]
    assert len(inside) == 40
    assert max(abs(log_odds(score) - log_odds(point.threshold)) for score in inside) == pytest.approx(apart[39])
    assert band.coverage.value == pytest.approx(0.9)


def test_an_accuracy_leaves_open_as_few_as_it_takes(drawn, point):
    band = choose_band(drawn, point, accuracy=0.85).abstain
    assert band.accuracy.value >= 0.85
    # By hand: one image more that keeps its call, and the rest is below.
    score, label = drawn["score"].to_numpy(), drawn["label"].to_numpy()
    apart = np.array([abs(log_odds(value) - log_odds(point.threshold)) for value in score])
    right = (score >= point.threshold) == (label == 1)
    reach = apart[(score >= band.low) & (score <= band.high)].max()
    narrower = np.sort(apart[apart < reach])
    for at in narrower:
        assert right[apart > at].mean() < 0.85


def test_calls_say_uncertain_within_the_band_only(drawn, point):
    banded = choose_band(drawn, point, share=0.2)
    assert point.call(point.threshold) == "positive"
    assert banded.call(point.threshold) == "uncertain"
    assert banded.call(banded.abstain.high) == banded.call(banded.abstain.low) == "uncertain"
    assert banded.call(math.nextafter(banded.abstain.high, 1)) == "positive"
    assert banded.call(math.nextafter(banded.abstain.low, 0)) == "negative"


def test_what_cannot_be_reached_leaves_nothing_open_and_says_why(drawn, point):
    for asked, said in (
        ({"accuracy": 0.999}, "however wide"),
        ({"accuracy": 0.3}, "already"),
        ({"share": 0.001}, "nearest images"),
    ):
        banded = choose_band(drawn, point, **asked)
        assert math.isnan(banded.abstain.low) and said in banded.abstain.note
        assert banded.call(point.threshold) == "positive"
        measured = evaluate(table(drawn["score"], drawn["label"], 1000), banded)["Effusion"].selective
        assert measured.n_called == measured.n_images == 400
    few = table(np.linspace(0.1, 0.9, FEWEST_CALLED - 1), np.arange(FEWEST_CALLED - 1) % 2)
    assert "fewer than" in choose_band(few, choose_threshold(few), share=0.3).abstain.note


def test_other_images_are_measured_by_hand_and_survive_the_file(drawn, point, tmp_path):
    banded = choose_band(drawn, point, share=0.25)
    rng = np.random.default_rng(9)
    label = rng.integers(0, 2, 300)
    other = table(1 / (1 + np.exp(-rng.normal(1.2 * label - 0.6, 1))), label, 5000)
    found = evaluate(other, banded)["Effusion"]
    kept = other[(other["score"] < banded.abstain.low) | (other["score"] > banded.abstain.high)]
    right = (kept["score"] >= point.threshold) == (kept["label"] == 1)
    assert found.selective.n_called == len(kept)
    assert found.selective.coverage.value == pytest.approx(len(kept) / 300)
    assert found.selective.accuracy.value == pytest.approx(right.mean())
    positives = kept[kept["label"] == 1]
    assert found.selective.sensitivity.value == pytest.approx((positives["score"] >= point.threshold).mean())
    assert found.selective.accuracy.low < found.selective.accuracy.value < found.selective.accuracy.high
    # All images: as without a band.
    assert found.sensitivity == evaluate(other, point)["Effusion"].sensitivity
    assert evaluate(other, point)["Effusion"].selective is None
    evaluation = evaluate(other, banded)
    assert Evaluation.load(evaluation.save(tmp_path / "evaluation.json")) == evaluation
    assert "left open" in str(evaluation) and "left open" not in str(evaluate(other, point))


def test_a_point_of_before_reads_as_one_that_calls_everything(point):
    old = point.to_dict()
    del old["abstain"]
    assert OperatingPoint.from_dict(old) == point
    rows = Scores.of(table([0.2, 0.8], [0, 1]))
    assert measure_selective(*rows.arrays(), point) is None
    assert with_bands(table([0.2, 0.8], [0, 1]), (point,), None, None) == (point,)


def test_wrong_questions_and_damaged_bands_are_refused(drawn, point):
    with pytest.raises(ValueError, match="needs share"):
        choose_band(drawn, point)
    with pytest.raises(ValueError, match="two ways"):
        choose_band(drawn, point, share=0.1, accuracy=0.9)
    with pytest.raises(ValueError, match="abstain_share"):
        choose_band(drawn, point, share=1.5)
    with pytest.raises(ValueError, match="asks nothing"):
        choose_band(drawn, point, accuracy=0.0)
    with pytest.raises(ValueError, match="chosen on other scores"):
        choose_band(table(drawn["score"] / 2, drawn["label"]), point, share=0.1)
    banded = choose_band(drawn, point, share=0.1)
    for change in ({"low": 0.9, "high": 0.1}, {"low": math.nan}, {"rule": "by hand"}, {"target": 0.0}):
        wrong = dataclasses.replace(banded, abstain=dataclasses.replace(banded.abstain, **change))
        with pytest.raises(ValueError, match="band"):
            OperatingPoint.from_dict(wrong.to_dict())
    away = dataclasses.replace(banded, threshold=0.999)
    with pytest.raises(ValueError, match="outside of its band"):
        OperatingPoint.from_dict(away.to_dict())
