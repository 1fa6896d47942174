"""What labels are worth: hand-made tables, published ones by their counts, and coverage of the paired interval."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from chexkeras.evaluation import Readings, ReadingsSource, choose_threshold, judge_by_readers, label_quality
from chexkeras.results import AgainstReaders, LabelQuality


def table(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"image_id": [f"i{k:03}" for k in range(n)], **columns})


def read(values, finding="Pneumothorax", source=None, reader="A"):
    return Readings.of(table(value=values).assign(finding=finding, reader=reader), source)


def counts(both, labelled_only, read_only, neither):
    """Labels and readings with these four counts."""
    labels = [1] * (both + labelled_only) + [0] * (read_only + neither)
    readings = [1] * both + [0] * labelled_only + [1] * read_only + [0] * neither
    return labels, readings


def test_published_counts_of_pneumothorax_give_the_published_rates():
    # 4,376 images of NIH read again: 238 labelled, 238 by readers, 109 both (counted from Majkowska et al.'s table).
    labels, readings = counts(109, 129, 129, 4009)
    (entry,) = label_quality(table(Pneumothorax=labels), read(readings)).findings
    assert (entry.both, entry.labelled_only, entry.read_only, entry.neither) == (109, 129, 129, 4009)
    assert entry.sensitivity.value == entry.ppv.value == pytest.approx(109 / 238)
    assert entry.specificity.value == entry.npv.value == pytest.approx(4009 / 4138)
    assert entry.kappa.value == pytest.approx(cohen_kappa_score(labels, readings))


def test_the_readers_own_auroc_is_half_the_sum_of_the_predictive_values():
    labels, readings = counts(30, 20, 10, 140)
    (entry,) = label_quality(table(Pneumothorax=labels), read(readings)).findings
    assert entry.perfect_auroc.value == pytest.approx((entry.ppv.value + entry.npv.value) / 2)
    assert entry.perfect_auroc.value == pytest.approx(roc_auc_score(labels, readings))


def test_any_of_several_labels_counts_and_an_unknown_one_leaves_the_image_out_unless_another_is_there():
    source = ReadingsSource("test", corresponds=(("Nodule or mass", ("Nodule", "Mass")),))
    labels = table(Nodule=[1, 0, 0, 0, np.nan, np.nan], Mass=[0, 1, 0, 0, 1, 0])
    found = label_quality(labels, read([1, 1, 0, 1, 1, 1], "Nodule or mass", source))
    (entry,) = found.findings
    assert (entry.n_images, entry.both, entry.read_only, entry.neither) == (5, 3, 1, 1)
    assert entry.labels == ("Nodule", "Mass")


def test_findings_without_a_label_that_means_the_same_are_left_out_with_the_reason():
    source = ReadingsSource("test", differs=(("Airspace opacity", "it is wider"),))
    both = pd.concat([read([1, 0], name).table for name in ("Airspace opacity", "Fracture", "Pneumothorax")])
    found = label_quality(table(Pneumothorax=[1, 0]), Readings.of(both, source))
    assert dict(found.left_out) == {"Airspace opacity": "it is wider", "Fracture": "there is no label Fracture"}
    assert [entry.finding for entry in found.findings] == ["Pneumothorax"]
    assert "it is wider" in str(found)


def test_nothing_that_corresponds_is_an_error_with_all_reasons():
    with pytest.raises(ValueError, match=r"nothing that was read can be compared.*Fracture: there is no label"):
        label_quality(table(Edema=[1, 0]), read([1, 0], "Fracture"))


def test_readings_under_other_names_say_how_both_name_images():
    labels = table(Pneumothorax=[1, 0]).assign(image_id=["x.png", "y.png"])
    with pytest.raises(ValueError, match=r"none of the 2 labelled images was read.*'i000'.*'x.png'.*image_ids"):
        label_quality(labels, read([1, 0]))


def test_patients_widen_the_intervals_and_their_absence_is_said():
    labels, readings = counts(30, 20, 10, 140)
    alone = label_quality(table(Pneumothorax=labels), read(readings))
    patients = [f"p{k // 5}" for k in range(len(labels))]
    grouped = label_quality(table(Pneumothorax=labels, patient_id=patients), read(readings))
    one, several = (found.findings[0] for found in (alone, grouped))
    assert several.ppv.high - several.ppv.low > one.ppv.high - one.ppv.low
    assert (one.n_patients, several.n_patients) == (0, 40)
    assert any("patients are not known" in caution for caution in alone.cautions)
    assert not grouped.cautions


def test_results_survive_being_written_and_read(tmp_path):
    labels, readings = counts(5, 2, 3, 20)
    found = label_quality(table(Pneumothorax=labels), read(readings))
    assert LabelQuality.from_dict(found.to_dict()) == found
    assert list(found.to_frame()["both"]) == [5]


@pytest.mark.parametrize(
    ("labels", "readings", "error", "message"),
    [
        ([1, 0], read([1, 0]), TypeError, "labels must be a table"),
        (table(Pneumothorax=[1, 0]), table(value=[1, 0]), TypeError, "readings must be a Readings"),
        (pd.DataFrame({"Pneumothorax": [1]}), read([1]), ValueError, "image_id"),
        (pd.concat([table(Pneumothorax=[1])] * 2), read([1]), ValueError, "stand in the labels twice, first i000"),
    ],
)
def test_wrong_input_is_refused_in_words(labels, readings, error, message):
    with pytest.raises(error, match=message):
        label_quality(labels, readings)


def scored(n=200, seed=0, patients=None):
    """Scores that follow the readers, and labels that err against them."""
    draw = np.random.default_rng(seed)
    truth = draw.random(n) < 0.3
    label = np.where(truth, draw.random(n) < 0.6, draw.random(n) < 0.05)
    score = 1 / (1 + np.exp(-(2.0 * truth - 1 + draw.normal(size=n))))
    images = [f"i{k:03}" for k in range(n)]
    owners = images if patients is None else [f"p{k % patients}" for k in range(n)]
    scores = pd.DataFrame(
        {"image_id": images, "patient_id": owners, "finding": "Pneumothorax", "label": label.astype(float),
         "score": score}
    )  # fmt: skip
    return scores, truth


def test_a_model_that_sees_what_readers_see_agrees_better_with_them():
    scores, truth = scored(600)
    point = choose_threshold(None, rule="fixed", target=0.5, finding="Pneumothorax")
    found = judge_by_readers(scores, read(truth.astype(int)), points=point)
    (entry,) = found.findings
    by_readers = roc_auc_score(truth, scores["score"])
    by_labels = roc_auc_score(scores["label"], scores["score"])
    assert entry.auroc_readers.value == pytest.approx(by_readers)
    assert entry.auroc_labels.value == pytest.approx(by_labels)
    assert entry.auroc_difference.value == pytest.approx(by_readers - by_labels)
    assert entry.verdict == "agrees better with the readers than with the labels"
    called = scores["score"] >= 0.5
    assert entry.sensitivity_readers.value == pytest.approx(called[truth].mean())
    assert entry.sensitivity_labels.value == pytest.approx(called[scores["label"] == 1].mean())
    assert AgainstReaders.from_dict(found.to_dict()) == found


def test_interval_and_p_value_of_the_difference_agree():
    for seed in range(20):
        scores, truth = scored(80, seed, patients=30)
        (entry,) = judge_by_readers(scores, read(truth.astype(int))).findings
        excluded = entry.auroc_difference.low > 0 or entry.auroc_difference.high < 0
        assert excluded == (entry.p_value < 0.05)


def test_readers_who_agree_with_every_label_leave_no_difference_to_estimate():
    scores, _ = scored(60)
    (entry,) = judge_by_readers(scores, read(scores["label"].astype(int))).findings
    assert not entry.auroc_difference.estimable and math.isnan(entry.p_value)
    assert "agree on every image" in entry.verdict


def test_without_thresholds_rates_say_so():
    scores, truth = scored(60)
    (entry,) = judge_by_readers(scores, read(truth.astype(int))).findings
    assert entry.sensitivity_readers.reason == "no frozen threshold"


def test_coverage_of_the_paired_difference_with_several_images_a_patient():
    """The interval covers what a large sample says in 91 to 99 % of 200 small ones."""
    draw = np.random.default_rng(1)

    def sample(patients):
        owner = np.repeat(np.arange(patients), 3)
        severity = draw.normal(size=patients)[owner] * 0.7 + draw.normal(size=len(owner)) * 0.7
        truth = severity > 0.5
        label = np.where(truth, draw.random(len(owner)) < 0.6, draw.random(len(owner)) < 0.07)
        score = 1 / (1 + np.exp(-(severity + 0.8 * draw.normal(size=len(owner)))))
        return owner, truth, label, score

    _, truth, label, score = sample(60_000)
    aimed = roc_auc_score(truth, score) - roc_auc_score(label, score)
    covered = 0
    for _ in range(200):
        owner, truth, label, score = sample(70)
        scores = pd.DataFrame(
            {"image_id": [f"i{k:03}" for k in range(len(owner))], "patient_id": [f"p{k}" for k in owner],
             "finding": "Pneumothorax", "label": label.astype(float), "score": score}
        )  # fmt: skip
        difference = judge_by_readers(scores, read(truth.astype(int))).findings[0].auroc_difference
        covered += difference.low <= aimed <= difference.high
    assert 0.91 <= covered / 200 <= 0.99


def test_the_error_of_the_difference_is_that_of_a_bootstrap_of_patients():
    scores, truth = scored(300, patients=100)
    difference = judge_by_readers(scores, read(truth.astype(int))).findings[0].auroc_difference
    draw, owner = np.random.default_rng(0), np.arange(300) % 100
    rows_of = [np.flatnonzero(owner == patient) for patient in range(100)]
    values = []
    for _ in range(1000):
        rows = np.concatenate([rows_of[k] for k in draw.integers(0, 100, 100)])
        label, score = scores["label"].to_numpy()[rows], scores["score"].to_numpy()[rows]
        values.append(roc_auc_score(truth[rows], score) - roc_auc_score(label, score))
    half = (difference.high - difference.low) / 2
    assert half / np.std(values) == pytest.approx(1.98, abs=0.25)
