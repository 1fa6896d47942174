"""A run's test images, changed and scored anew."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.perturbations import PERTURBATIONS, Perturbation
from chexkeras.data.store.prepare import prepare
from chexkeras.data.store.store import Store
from chexkeras.inference.robustness import measure_robustness
from chexkeras.models.scoring import predict_scores
from chexkeras.runs.run import ROBUSTNESS, Run

pytestmark = pytest.mark.keras
MIRRORED, INVERTED, NOISE = Perturbation("mirrored"), Perturbation("inverted"), Perturbation("noise", 0.1)


@pytest.fixture(scope="module")
def measured(toy_run, toy):
    return measure_robustness(toy_run, toy, perturbations=(MIRRORED, INVERTED, NOISE), keep=False)


def test_images_as_they_are_give_the_saved_scores_one_by_one_or_in_batches(measured, toy_run):
    assert measured.repeat_difference < 1e-6 and measured.single_difference < 1e-5
    assert measured.single_images == 16
    test = toy_run.scores("test")
    assert (measured.n_images, measured.n_patients) == (len(test), test["patient_id"].nunique())
    assert measured.n_images_in_part == measured.n_images and measured.cautions == toy_run.cautions


def test_mirrored_images_score_as_mirrored_files(measured, toy_run, toy, tmp_path):
    """By another way: every test image is mirrored on disk and scored as any image."""
    saved = toy_run.scores("test")
    rows = toy[toy["image_id"].isin(saved["image_id"])].copy()
    for number, path in zip(rows.index, rows["path"], strict=True):
        target = tmp_path / f"{number}.png"
        Image.fromarray(np.asarray(Image.open(path))[:, ::-1]).save(target)
        rows.loc[number, "path"] = str(target)
    scores = predict_scores(toy_run.load_model(), rows, "Effusion").set_index("image_id")["score"]
    before = saved.set_index("image_id")["score"]
    (effect,) = [entry for entry in measured.effects if entry.perturbation == "mirrored"]
    # The images are 48 px, the model's 32: mirroring before and after resizing is the same but for rounding.
    assert effect.shift_median == pytest.approx((scores - before).abs().median(), abs=1e-3)
    threshold = toy_run.operating_points[0].threshold
    changed = ((scores >= threshold) != (before >= threshold)).mean()
    assert effect.calls_changed.value == pytest.approx(changed, abs=1.5 / len(before))


def test_the_same_seed_gives_the_same_numbers_whatever_the_batch(measured, toy_run, toy):
    again = measure_robustness(toy_run, toy.iloc[::-1], perturbations=(NOISE,), batch_size=5, keep=False)
    (noise,) = [entry for entry in measured.effects if entry.perturbation == NOISE.name]
    assert again.effects[0].shift_median == pytest.approx(noise.shift_median, abs=1e-5)
    assert again.effects[0]["AUROC"].first_value.value == pytest.approx(noise["AUROC"].first_value.value)
    other = measure_robustness(toy_run, toy, perturbations=(NOISE,), seed=5, keep=False)
    assert other.effects[0].shift_median != noise.shift_median


def test_from_a_store_it_is_the_same(measured, toy_run, toy, tmp_path):
    prepare(toy, tmp_path / "store", size=32)
    stored = measure_robustness(
        toy_run, toy.drop(columns="path"), store=Store.load(tmp_path / "store"), perturbations=(MIRRORED,), keep=False
    )
    assert stored.effects[0].shift_median == pytest.approx(measured.effects[0].shift_median, abs=1e-4)


def test_a_draw_takes_whole_patients_and_says_so(toy_run, toy):
    drawn = measure_robustness(toy_run, toy, images=9, perturbations=(INVERTED,), keep=False)
    assert drawn.n_images == 10 and drawn.n_patients == 5  # Two images of each patient.
    assert any("10 of the" in caution and "seed 0" in caution for caution in drawn.cautions)
    others = measure_robustness(toy_run, toy, images=9, perturbations=(INVERTED,), seed=3, keep=False)
    assert others.effects[0].shift_median != drawn.effects[0].shift_median


@pytest.fixture
def own_run(toy_run, tmp_path):
    return Run.load(shutil.copytree(toy_run.folder, tmp_path / "run"))


def test_the_run_keeps_it_and_an_earlier_one_is_not_lost(own_run, toy):
    assert own_run.robustness is None
    kept = measure_robustness(own_run.folder, toy, perturbations=(INVERTED,))
    found = Run.load(own_run.folder).robustness
    assert found.to_frame().equals(kept.to_frame())
    assert found.provenance["packages"]["keras"]
    (point,) = own_run.operating_points
    assert found.thresholds == {"Effusion": point.threshold}
    labels = own_run.scores("test").groupby("label")["patient_id"].nunique()
    assert {(entry.n_positive, entry.n_negative) for entry in found.effects} == {(labels[1.0], labels[0.0])}
    with pytest.raises(FileExistsError, match=r"has robustness.json already.*--overwrite"):
        measure_robustness(own_run, toy, perturbations=(MIRRORED,))
    measure_robustness(own_run, toy, perturbations=(MIRRORED,), overwrite=True)
    assert {effect.perturbation for effect in own_run.robustness.effects} == {"mirrored"}


def test_other_images_under_the_same_names_are_refused(own_run, toy, tmp_path):
    rows = toy.copy()
    blank = tmp_path / "blank.png"
    Image.fromarray(np.full((48, 48), 90, np.uint8)).save(blank)
    rows["path"] = str(blank)
    with pytest.raises(ValueError, match=r"do not give the scores that the run saved: .* Are these"):
        measure_robustness(own_run, rows, perturbations=(MIRRORED,))
    assert not (own_run.folder / ROBUSTNESS).exists()


@pytest.fixture
def no_scoring(monkeypatch):
    """Fails a test in which images are scored."""
    monkeypatch.setattr("chexkeras.inference.robustness._scored", lambda *_: pytest.fail("images were scored"))


def test_a_test_image_named_twice_is_refused_before_scoring(toy_run, toy, no_scoring):
    first = toy_run.scores("test")["image_id"].iloc[0]
    table = pd.concat([toy, toy[toy["image_id"] == first]], ignore_index=True)
    with pytest.raises(
        ValueError, match=rf"1 row\(s\) of the table name one of the test images .* first {first}; keep one row"
    ):
        measure_robustness(toy_run, table, perturbations=MIRRORED, keep=False)


@pytest.mark.parametrize("path", ["", None, "nowhere.png"])
def test_an_absent_image_is_named_before_scoring(toy_run, toy, no_scoring, path):
    first = toy_run.scores("test")["image_id"].iloc[0]
    table = toy.assign(path=toy["path"].where(toy["image_id"] != first, path))
    said = rf"1 of the .* test images are not on disk, first {first}; restore the image, or give the store"
    with pytest.raises(FileNotFoundError, match=said):
        measure_robustness(toy_run, table, perturbations=MIRRORED, keep=False)


def test_changes_may_be_a_single_one_or_any_iterable(measured, toy_run, toy):
    for given in (MIRRORED, (entry for entry in [MIRRORED])):
        found = measure_robustness(toy_run, toy, perturbations=given, seed=np.int64(0), keep=False)
        assert [effect.perturbation for effect in found.effects] == ["mirrored"]
        assert found.effects[0].shift_median == pytest.approx(measured.effects[0].shift_median, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"perturbations": ()}, ValueError, "0 changes"),
        ({"perturbations": (NOISE, NOISE)}, ValueError, "2 changes with 1 names"),
        ({"margin": 0}, ValueError, "margin"),
        ({"images": 0}, ValueError, "images"),
        ({"seed": -1}, ValueError, "seed=-1 must be a whole number"),
        ({"seed": 0.5}, ValueError, "seed=0.5 must be a whole number"),
        ({"seed": True}, ValueError, "seed=True must be a whole number"),
        ({"perturbations": "mirrored"}, TypeError, "must be a Perturbation or a list"),
        ({"table": ["a.dcm"]}, TypeError, "table must be a table"),
        ({"table": pd.DataFrame({"image_id": ["x"], "patient_id": ["1"]})}, ValueError, "are not in the table, first"),
    ],
)
def test_what_cannot_be_measured_is_refused(toy_run, toy, options, error, said):
    with pytest.raises(error, match=said):
        measure_robustness(toy_run, **{"table": toy, "perturbations": PERTURBATIONS[:1], "keep": False, **options})
