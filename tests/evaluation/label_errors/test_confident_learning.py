"""Suspect labels: the confident joint by hand, the order, and that turned-over labels come first."""

import numpy as np
import pandas as pd
import pytest

import chexkeras as cx
from chexkeras.evaluation.label_errors.confident_learning import OPINION


def table(labels, scores, patients=None):
    names = [f"i{at:03d}" for at in range(len(labels))]
    return pd.DataFrame({"image_id": names, "patient_id": patients or names, "finding": "Mass", "label": labels,
                         "score": scores})  # fmt: skip


def test_the_confident_joint_is_that_of_counting_by_hand():
    labels = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    scores = [0.9, 0.8, 0.7, 0.1, 0.2, 0.1, 0.1, 0.3, 0.95]
    found = cx.evaluation.find_suspects(table(labels, scores)).findings[0]
    # Mean of positives 0.625; mean of one less the negatives' scores 0.67: 0.33 and less is confidently negative.
    assert found.threshold_positive == pytest.approx(0.625)
    assert found.threshold_negative == pytest.approx(0.67)
    # Of four positives three are confidently positive and one negative; of five negatives four and one.
    assert found.n_suspect == 2
    assert found.false_positives.value == pytest.approx(4 * 1 / 4)
    assert found.false_negatives.value == pytest.approx(5 * 1 / 5)
    assert found.errors.value == pytest.approx(2)


def test_labels_that_were_turned_over_come_first():
    rng = np.random.default_rng(0)
    truth = rng.random(600) < 0.3
    scores = 1 / (1 + np.exp(-(4 * truth - 2 + rng.normal(size=600))))
    wrong = rng.permutation(600)[:30]
    labels = truth.astype(float)
    labels[wrong] = 1 - labels[wrong]
    found = cx.evaluation.find_suspects(table(labels, scores))
    first = set(found.table["image_id"].head(30))
    assert len(first & {f"i{at:03d}" for at in wrong}) >= 24
    assert found.findings[0].errors.low <= 30 <= found.findings[0].errors.high * 1.5
    assert found.table["rank"].tolist() == list(range(1, 601))


def test_without_wrong_labels_hardly_any_is_suspect():
    rng = np.random.default_rng(1)
    truth = rng.random(400) < 0.3
    scores = np.where(truth, rng.uniform(0.8, 1, 400), rng.uniform(0, 0.2, 400))
    assert cx.evaluation.find_suspects(table(truth.astype(float), scores)).findings[0].errors.value == 0


def test_nothing_depends_on_the_order_of_rows():
    rng = np.random.default_rng(2)
    rows = table((rng.random(80) < 0.4).astype(float), rng.random(80), [f"p{at // 2}" for at in range(80)])
    one, other = cx.evaluation.find_suspects(rows), cx.evaluation.find_suspects(rows.sample(frac=1, random_state=0))
    assert one.table["image_id"].tolist() == other.table["image_id"].tolist()
    assert one.findings == other.findings


def test_one_class_has_no_suspects_and_a_reason():
    found = cx.evaluation.find_suspects(table([0.0] * 5, [0.5] * 5))
    assert found.table.empty
    assert "no positives" in found.findings[0].errors.reason


def test_it_says_that_an_opinion_is_no_correction():
    found = cx.evaluation.find_suspects(table([1.0, 0.0] * 10, np.linspace(0, 1, 20)), cautions=["Synthetic."])
    assert (found.cautions[0], found.cautions[-1]) == ("Synthetic.", OPINION)
    assert max(map(len, str(found).splitlines())) <= 80


def test_scores_too_weak_to_judge_labels_are_told():
    rng = np.random.default_rng(3)
    found = cx.evaluation.find_suspects(table((rng.random(200) < 0.4).astype(float), rng.random(200)))
    assert "Scores of Mass hardly tell its labels apart" in found.cautions[0]


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match=r"rank_by='margin'; .*Expected one of: adjusted_margin"):
        cx.evaluation.find_suspects(table([1.0, 0.0], [0.2, 0.1]), rank_by="margin")
    with pytest.raises(ValueError, match="thresholds has 1 entries; one for each of 2 rows"):
        cx.evaluation.find_suspects(table([1.0, 0.0], [0.2, 0.1]), thresholds=pd.Series([0.5]))
