"""The whole evaluation: by hand on ten images, its guards, its clustering, and that it starts without Keras."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.scores import Scores, read_scores, scores_fingerprint, write_scores
from chexkeras.evaluation.thresholds import choose_threshold, choose_thresholds
from chexkeras.evaluation.uncertainty.intervals import (
    auc_interval,
    average_precision_interval,
    clustered_proportion_interval,
    proportion_interval,
)
from chexkeras.results import Evaluation

LABELS = [1, 1, 0, 1, 0, 0, 1, 0, 0, 0]
SCORES = [0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def table(labels, scores, finding="Pneumonia", patients=None, prefix="test"):
    ids = [f"{prefix}{number:05d}" for number in range(len(labels))]
    return pd.DataFrame(
        {
            "image_id": [f"{name}.png" for name in ids],
            "patient_id": ids if patients is None else [str(patient) for patient in patients],
            "finding": finding,
            "label": np.asarray(labels, float),
            "score": np.asarray(scores, float),
        }
    )


@pytest.fixture
def point():
    return choose_threshold(table([1, 0, 1, 0], [0.6, 0.2, 0.7, 0.1], prefix="validation"), target=1.0)


def test_ten_images_by_hand(point):
    entry = evaluate(table(LABELS, SCORES), [point])["Pneumonia"]
    assert point.threshold == 0.6
    assert (entry.n_images, entry.n_patients, entry.n_positive, entry.n_negative) == (10, 10, 4, 6)
    counts = (entry.true_positives, entry.false_negatives, entry.false_positives, entry.true_negatives)
    assert counts == (3, 1, 2, 4)
    assert entry.prevalence == proportion_interval(4, 10)
    assert entry.sensitivity == proportion_interval(3, 4)
    assert entry.specificity == proportion_interval(4, 6)
    assert entry.ppv == proportion_interval(3, 5)
    assert entry.npv == proportion_interval(4, 5)
    assert entry.auroc == auc_interval(LABELS, SCORES)
    assert entry.average_precision == average_precision_interval(LABELS, SCORES)
    assert entry.operating_point == point


def test_several_images_of_a_patient_are_clustered_without_being_asked(point):
    rng = np.random.default_rng(1)
    labels, values = rng.random(200) < 0.3, rng.random(200)
    patients = np.array([f"{number:03d}" for number in np.arange(200) // 4])
    entry = evaluate(table(labels, values, patients=patients), point)["Pneumonia"]
    called = values >= point.threshold
    assert entry.n_patients == 50
    assert entry.sensitivity == clustered_proportion_interval(called[labels], patients[labels])
    assert entry.ppv == clustered_proportion_interval(labels[called], patients[called])
    assert entry.npv == clustered_proportion_interval(~labels[~called], patients[~called])
    assert entry.auroc == auc_interval(labels, values, clusters=patients)
    assert entry.average_precision == average_precision_interval(labels, values, clusters=patients)
    assert "Obuchowski" in entry.auroc.method
    assert "200 images of 50 patients" in entry.prevalence.method


def test_a_threshold_is_not_measured_on_the_scores_that_chose_it(tmp_path):
    scores = table(LABELS, SCORES)
    point = choose_threshold(scores)
    read_back = read_scores(write_scores(tmp_path / "scores.csv", scores.sample(frac=1, random_state=0)))
    for same in (scores, read_back, pd.concat([scores, table(LABELS, SCORES, finding="Edema")])):
        with pytest.raises(
            ValueError, match=r"chosen on these very scores \(validation\).*on other images, such as the test part"
        ):
            evaluate(same, [point])
    assert evaluate(scores.assign(image_id=lambda t: "new " + t["image_id"]), [point]).findings


def test_a_threshold_is_not_measured_on_other_rows_of_the_part_that_chose_it():
    """A row left out, or scores that moved by a rounding, are another table; the part is the same."""
    scores = Scores.of(table(LABELS, SCORES)).as_part("test")
    point = choose_threshold(scores)
    assert (point.chosen_on, choose_thresholds(scores, ["Pneumonia"])[0].chosen_on) == ("test", "test")
    moved = scores.copy()
    moved["score"] += 1e-9
    for rows in (scores.iloc[1:], scores[scores["image_id"] != scores["image_id"].iloc[0]], moved):
        with pytest.raises(ValueError, match=r"chosen on the part that these scores are of \(test\)"):
            evaluate(rows, [point])
    assert evaluate(scores.iloc[1:], [choose_threshold(scores.as_part("validation"))]).findings
    assert choose_threshold(table(LABELS, SCORES)).chosen_on == "validation"


def test_a_stated_threshold_may_be_measured_anywhere():
    stated = choose_threshold(None, rule="fixed", target=0.5, finding="Pneumonia")
    assert evaluate(table(LABELS, SCORES), [stated])["Pneumonia"].true_positives == 3


def test_a_point_needs_scores_of_its_finding_and_no_rival(point):
    with pytest.raises(ValueError, match="decides 'Pneumonia', but these scores have only: Edema"):
        evaluate(table(LABELS, SCORES, finding="Edema"), [point])
    with pytest.raises(ValueError, match="more than one operating point"):
        evaluate(table(LABELS, SCORES), [point, point])


def test_findings_keep_their_order_and_go_without_a_threshold_where_none_was_chosen(point):
    names = ["Edema", "Pneumonia", "Atelectasis"]
    scores = pd.concat([table(LABELS, SCORES, finding=name) for name in names])
    evaluation = evaluate(scores, [point], split="official test", cautions=["Synthetic images."])
    assert [entry.finding for entry in evaluation.findings] == names
    assert (evaluation.split, evaluation.cautions) == ("official test", ("Synthetic images.",))
    assert evaluation.scores_fingerprint == scores_fingerprint(scores)
    assert evaluation["Edema"].operating_point is None
    assert evaluation["Edema"].true_positives is None
    assert evaluation["Edema"].npv.reason == "no operating point was chosen"
    assert evaluation["Pneumonia"].sensitivity.estimable


def test_a_caution_given_as_one_sentence_stays_one_sentence():
    assert evaluate(table(LABELS, SCORES), cautions="Synthetic images.").cautions == ("Synthetic images.",)


def test_unknown_labels_are_left_out(point):
    scores = table([*LABELS, math.nan, math.nan], [*SCORES, 0.95, 0.01])
    ours, plain = evaluate(scores, point)["Pneumonia"], evaluate(table(LABELS, SCORES), point)["Pneumonia"]
    assert ours == plain


@pytest.mark.parametrize(
    ("labels", "reason", "empty"),
    [
        ([0, 0, 0], "no positives", ["sensitivity", "auroc", "average_precision"]),
        ([1, 1, 1], "no negatives", ["specificity", "auroc", "average_precision"]),
        (
            [math.nan] * 3,
            "no image",
            ["sensitivity", "specificity", "ppv", "npv", "prevalence", "auroc", "average_precision"],
        ),
    ],
)
def test_what_cannot_be_estimated_says_why(point, labels, reason, empty):
    entry = evaluate(table(labels, [0.2, 0.6, 0.9]), point)["Pneumonia"]
    for name in empty:
        estimate = getattr(entry, name)
        assert not estimate.estimable, name
        if name not in ("sensitivity", "specificity") or reason != "no image":
            assert reason in estimate.reason, name
    assert entry.ppv.estimable == ("ppv" not in empty)


def test_nothing_called_positive_leaves_ppv_without_a_value(point):
    entry = evaluate(table([1, 0, 0], [0.1, 0.2, 0.3]), point)["Pneumonia"]
    assert entry.ppv.reason == "no image is called positive"
    assert (entry.sensitivity.value, entry.npv.value) == (0, 2 / 3)


def test_evaluation_survives_json_exactly(point, tmp_path):
    scores = pd.concat([table(LABELS, SCORES), table([0] * 10, SCORES, finding="Edema")])
    evaluation = evaluate(scores, [point])
    back = Evaluation.load(evaluation.save(tmp_path / "evaluation.json"))
    assert back["Pneumonia"] == evaluation["Pneumonia"]
    assert repr(back) == repr(evaluation)


def test_confidence_reaches_every_interval(point):
    entry = evaluate(table(LABELS, SCORES), point, confidence=0.8)["Pneumonia"]
    for name in ("prevalence", "auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv"):
        assert getattr(entry, name).confidence == 0.8, name
    assert entry.sensitivity == proportion_interval(3, 4, confidence=0.8)


def test_statistics_start_without_tensorflow_keras_or_the_heavy_statistics_packages():
    heavy = ("tensorflow", "keras", "sklearn", "statsmodels", "matplotlib", "scipy.stats")
    code = (
        "import sys, chexkeras.evaluation.evaluate; "
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def sample(n=160):
    """Returns scores of a mildly useful model, two images a patient, and the image table that belongs to them."""
    rng = np.random.default_rng(4)
    label = np.repeat(rng.random(n // 2) < 0.4, 2).astype(float)
    score = (1 / (1 + np.exp(-(label + rng.normal(0, 1, n) - 0.5)))).round(6)
    scores = table(label, score, patients=[i // 2 for i in range(n)])
    images = pd.DataFrame(
        {
            "image_id": scores["image_id"],
            "sex": np.where(np.arange(n) % 4 < 2, "F", "M"),
            "age_years": 30.0 + np.arange(n) % 50,
            "view": "",
            "Pneumonia": label,
        }
    )
    return scores, images


def test_everything_at_a_point_agrees_with_the_counts():
    scores, _ = sample()
    point = choose_threshold(None, rule="fixed", target=0.5, finding="Pneumonia")
    entry = evaluate(scores, point)["Pneumonia"]
    hits, missed, alarms, passed = (
        getattr(entry, name) for name in ("true_positives", "false_negatives", "false_positives", "true_negatives")
    )
    assert hits + missed + alarms + passed == 160
    assert entry.accuracy.value == pytest.approx((hits + passed) / 160)
    assert entry.f1.value == pytest.approx(2 * hits / (2 * hits + missed + alarms))
    ratio = entry.sensitivity.value / (1 - entry.specificity.value)
    assert entry.likelihood_ratio_positive.value == pytest.approx(ratio)
    assert entry.calibration.n_images == 160
    assert entry.calibration.brier.value == pytest.approx(float(((scores["score"] - scores["label"]) ** 2).mean()))


def test_deployment_is_stated_where_a_prevalence_is():
    scores, _ = sample()
    point = choose_threshold(None, rule="fixed", target=0.5, finding="Pneumonia")
    entry = evaluate(scores, point, prevalences={"Pneumonia": (0.01, 0.1)})["Pneumonia"]
    assert [stated.prevalence for stated in entry.deployment] == [0.01, 0.1]
    for stated in entry.deployment:
        called = stated.prevalence * entry.sensitivity.value + (1 - stated.prevalence) * (1 - entry.specificity.value)
        assert stated.ppv.value == pytest.approx(stated.prevalence * entry.sensitivity.value / called)
    assert evaluate(scores, point, prevalences=0.02)["Pneumonia"].deployment[0].prevalence == 0.02
    with pytest.raises(ValueError, match="finding of prevalences"):
        evaluate(scores, point, prevalences={"Pneumonja": 0.1})


def test_subgroups_leave_out_the_finding_itself_and_what_is_blank():
    scores, images = sample()
    point = choose_threshold(None, rule="fixed", target=0.5, finding="Pneumonia")
    columns = ("sex", "age_years", "view", "Pneumonia")
    entry = evaluate(scores, point, table=images, subgroups=columns)["Pneumonia"]
    assert [analysis.column for analysis in entry.subgroups] == ["sex", "age_years"]
    assert sum(group.n_images for group in entry.subgroups[0].groups) == 160
    with pytest.raises(ValueError, match="need table="):
        evaluate(scores, point, subgroups="sex")
    with pytest.raises(ValueError, match="sax"):
        evaluate(scores, point, table=images, subgroups="sax")


def test_everything_survives_json(tmp_path):
    scores, images = sample()
    point = choose_threshold(None, rule="fixed", target=0.5, finding="Pneumonia")
    made = evaluate(scores, point, table=images, subgroups=("sex", "age_years"), prevalences=0.05)
    loaded = Evaluation.load(made.save(tmp_path / "evaluation.json"))
    assert repr(loaded) == repr(made)
    assert loaded.macro_auroc.value == pytest.approx(made["Pneumonia"].auroc.value)


def test_an_evaluation_of_an_older_version_loads_and_says_what_it_did_not_measure():
    scores, _ = sample()
    data = evaluate(scores).to_dict()
    del data["macro_auroc"]
    for name in ("mcc", "calibration", "subgroups", "deployment"):
        del data["findings"][0][name]
    loaded = Evaluation.from_dict(data)
    assert loaded.macro_auroc.reason == "not measured"
    assert loaded["Pneumonia"].mcc.reason == "not measured"
    assert loaded["Pneumonia"].calibration is None
