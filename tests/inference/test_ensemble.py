import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from chexkeras import files
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.evaluation.metrics import auc
from chexkeras.inference.ensemble import Ensemble, average_scores
from chexkeras.recipes.recipe import ThresholdRule
from chexkeras.runs.run import Run


def table(scores, *, finding="Mass", labels=(1, 0, 1, 0), images="abcd"):
    return pd.DataFrame(
        {
            "image_id": list(images),
            "patient_id": [f"p{image}" for image in images],
            "finding": finding,
            "label": np.array(labels, float),
            "score": scores,
        }
    )


FIRST = table([0.9, 0.4, 0.3, 0.1])
SECOND = table([0.6, 0.5, 0.8, 0.2])


def test_the_mean_by_hand_and_with_weights():
    assert average_scores([FIRST, SECOND])["score"].tolist() == pytest.approx([0.75, 0.45, 0.55, 0.15])
    assert average_scores([FIRST, SECOND], [3, 1])["score"].tolist() == pytest.approx([0.825, 0.425, 0.425, 0.125])
    assert average_scores([FIRST])["score"].tolist() == FIRST["score"].tolist()


def test_scores_are_averaged_by_image_and_finding_whatever_the_order_of_rows():
    two = [
        pd.concat([first, table(scores, finding="Edema", labels=(0, 1, 1, np.nan))])
        for first, scores in ((FIRST, [0.1, 0.2, 0.3, 0.4]), (SECOND, [0.3, 0.4, 0.5, 0.6]))
    ]
    expected = average_scores(two)
    assert expected["score"].tolist() == pytest.approx([0.75, 0.45, 0.55, 0.15, 0.2, 0.3, 0.4, 0.5])
    shuffled = average_scores([two[0], two[1].sample(frac=1, random_state=1)])
    pd.testing.assert_frame_equal(shuffled, expected)
    assert np.isnan(expected["label"].iloc[-1])


def test_two_models_that_err_on_different_images_rank_all_images_rightly_together():
    labels = FIRST["label"].to_numpy()
    areas = [auc(labels, rows["score"].to_numpy()) for rows in (FIRST, SECOND, average_scores([FIRST, SECOND]))]
    # FIRST has c (positive, 0.3) below b (negative, 0.4): 3 of 4 pairs; SECOND and the mean have all 4.
    assert areas == [0.75, 1.0, 1.0]


def test_a_mean_of_ones_stays_a_probability():
    ones = table([1.0, 1.0, 1.0, 1.0])
    assert average_scores([ones, ones, ones], [0.1, 0.2, 0.7])["score"].max() <= 1.0


@pytest.mark.parametrize(
    ("tables", "weights", "message"),
    [
        ([], None, "no table of scores"),
        ([FIRST, SECOND[:3]], None, "table 2 lacks 1 of the 4 images"),
        ([FIRST, SECOND.assign(finding="Edema")], None, "Edema, Mass: scored by"),
        ([FIRST, SECOND.assign(label=[0.0, 0.0, 1.0, 1.0])], None, "labels differ on 2 of 4 images"),
        ([FIRST, SECOND.assign(patient_id="x")], None, "belong to different patients"),
        ([FIRST, SECOND], [1.0], "1 weight.s. for 2 tables"),
        ([FIRST, SECOND], [1.0, 0.0], "numbers above 0"),
        ([FIRST, SECOND], [1.0, float("inf")], "numbers above 0"),
        ([FIRST, SECOND], [1.0, True], "weights must be a list, each a number"),
    ],
)
def test_what_cannot_be_averaged_is_refused(tables, weights, message):
    with pytest.raises(ValueError, match=message):
        average_scores(tables, weights)


@pytest.fixture(scope="module")
def two_runs(toy_run, tmp_path_factory):
    """The toy run and a copy of it whose scores are the square of the first's."""
    copy = tmp_path_factory.mktemp("ensemble") / "squared"
    shutil.copytree(toy_run.folder, copy)
    for part in ("validation", "test"):
        squared = toy_run.scores(part).assign(score=lambda rows: rows["score"] ** 2)
        files.write_csv(copy / f"scores_{part}.csv", squared)
    return toy_run, Run.load(copy)


@pytest.mark.keras
def test_an_ensemble_averages_saved_scores_and_chooses_its_own_threshold(two_runs):
    ensemble = Ensemble.of(two_runs, weights=[1, 3])
    assert ensemble.weights == (0.25, 0.75)
    for part in ("validation", "test"):
        single = two_runs[0].scores(part)["score"]
        np.testing.assert_allclose(ensemble.scores(part)["score"], 0.25 * single + 0.75 * single**2)
    (point,) = ensemble.operating_points()
    assert point.scores_fingerprint != two_runs[0].operating_points[0].scores_fingerprint
    # Squaring keeps the order of scores, so the threshold is that of the same image.
    before = two_runs[0].operating_points[0].threshold
    assert point.threshold == pytest.approx(0.25 * before + 0.75 * before**2)
    (other,) = ensemble.operating_points(rule="specificity", target=0.9)
    assert (other.rule, other.target) == ("specificity", 0.9)


@pytest.mark.keras
def test_an_ensemble_is_measured_like_a_run_and_says_what_it_is(two_runs):
    ensemble = Ensemble.of([run.folder for run in two_runs])
    measured, single = ensemble.evaluate(subgroups=("sex",)), two_runs[0].evaluation
    assert measured.findings[0].auroc.value == single.findings[0].auroc.value, "the order of scores is the same"
    assert measured.findings[0].true_positives == single.findings[0].true_positives
    assert measured.findings[0].subgroups[0].column == "sex"
    assert measured.scores_fingerprint != single.scores_fingerprint
    assert "Toy images." in measured.cautions
    name = two_runs[0].folder.name
    assert f"Scores are the weighted mean of 2 runs: {name} 0.5, squared 0.5." in measured.cautions
    assert Ensemble.of(two_runs[:1]).evaluate().cautions == single.cautions


@pytest.mark.keras
def test_the_record_names_members_weights_and_models(two_runs):
    record = json.loads(json.dumps(Ensemble.of(two_runs, [1, 4]).to_dict()))
    assert record["targets"] == ["Effusion"]
    assert [member["weight"] for member in record["members"]] == [0.2, 0.8]
    assert record["members"][1]["run"] == "squared"
    assert record["members"][0]["model_sha256"] == files.sha256_file(two_runs[0].folder / "model.keras")


@pytest.mark.keras
def test_predicting_with_members_that_are_one_model_gives_that_models_scores(two_runs, toy_splits):
    from chexkeras.inference.test_time_augmentation import TestTimeAugmentation

    images = toy_splits.test.head(6)
    found = Ensemble.of(two_runs).predict(images, batch_size=4)
    saved = two_runs[0].scores("test").set_index("image_id")["score"]
    np.testing.assert_allclose(found["score"], saved.loc[found["image_id"]], rtol=1e-5)
    augmented = Ensemble.of(two_runs[:1]).predict(images, TestTimeAugmentation(flip=True), batch_size=4)
    assert not np.allclose(augmented["score"], found["score"], rtol=1e-4)
    with pytest.raises(ValueError, match="both validation and test"):
        Ensemble.of(two_runs).evaluate(test=found)


def with_recipe(run, folder, **changes):
    """Returns a copy of a run that says it was trained by another recipe."""
    shutil.copytree(run.folder, folder)
    run.recipe.replace(**changes).save(folder / "recipe.json")
    return Run.load(folder)


@pytest.mark.keras
def test_a_list_of_files_is_sent_to_the_predictor_before_a_model_is_loaded(two_runs, monkeypatch):
    monkeypatch.setattr(Run, "load_model", None)
    with pytest.raises(TypeError, match=r"table must be a table .*, not a list\..*Predictor\.load\(run\)"):
        Ensemble.of(two_runs).predict(["image.dcm"])


@pytest.mark.keras
def test_runs_that_do_not_go_together_are_refused(two_runs, tmp_path):
    run = two_runs[0]
    other = with_recipe(run, tmp_path / "other", targets=("Mass",))
    with pytest.raises(ValueError, match=r"other has the targets Mass, .* has Effusion"):
        Ensemble.of([run, other])
    with pytest.raises(ValueError, match="a run is named twice"):
        Ensemble.of([run, run.folder])
    with pytest.raises(ValueError, match="no run to average"):
        Ensemble.of([])
    with pytest.raises(ValueError, match=r"1 weight\(s\) for 2 runs"):
        Ensemble.of(two_runs, [1.0])
    ruled = with_recipe(run, tmp_path / "ruled", operating_point=ThresholdRule("youden", None))
    mixed = Ensemble.of([run, ruled])
    with pytest.raises(ValueError, match="choose their thresholds differently"):
        mixed.operating_points()
    assert mixed.operating_points(rule="youden")[0].rule == "youden"
    with pytest.raises(ValueError, match="needs a rule"):
        mixed.operating_points(target=0.9)
    assert dataclasses.is_dataclass(mixed)


@pytest.mark.keras
def test_an_ensemble_of_other_images_is_refused(two_runs, tmp_path):
    shutil.copytree(two_runs[0].folder, tmp_path / "fewer")
    files.write_csv(tmp_path / "fewer" / "scores_test.csv", two_runs[0].scores("test").iloc[1:])
    ensemble = Ensemble.of([two_runs[0], tmp_path / "fewer"])
    assert len(ensemble.scores("validation")) == len(two_runs[0].scores("validation"))
    with pytest.raises(ValueError, match="fewer lacks 1 of the"):
        ensemble.scores("test")


def test_reading_and_averaging_saved_scores_starts_no_keras():
    import subprocess
    import sys

    code = "import sys, chexkeras.inference.ensemble; print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.keras
def test_a_member_that_learnt_from_the_measured_patients_is_named_leaky(two_runs, short_recipe, toy, tmp_path):
    from chexkeras.training import trainer

    other = split_by_patient(toy, "Effusion", validation=0.25, test=0.25, seed=5)
    stranger = trainer.train(short_recipe, other, tmp_path / "stranger")
    first = two_runs[0]
    mixed = Ensemble.of([first, stranger])
    test_images = toy[toy["image_id"].isin(first.scores("test")["image_id"])]
    held_out = toy[toy["image_id"].isin(first.scores("validation")["image_id"])]
    evaluation = mixed.evaluate(validation=mixed.predict(held_out), test=mixed.predict(test_images))
    seen = set(pd.concat([other.train, other.validation])["patient_id"])
    count = int(test_images["patient_id"].isin(seen).sum())
    (caution,) = [text for text in evaluation.cautions if text.startswith("LEAKY")]
    assert f"{count} of the {len(test_images)} measured images" in caution and "stranger" in caution
    assert not [text for text in Ensemble.of([first]).evaluate().cautions if text.startswith("LEAKY")]
