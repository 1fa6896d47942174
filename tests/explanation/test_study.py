"""Heat maps of a run's test images as a whole: the study, its file, and the command that makes it."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.explanation import study_heatmaps
from chexkeras.runs.gallery import GALLERY
from chexkeras.runs.run import HEATMAPS, Run

COLUMNS = ("--image-column", "image_id", "--patient-column", "patient_id", "--label-columns", "Effusion")


@pytest.fixture
def run(toy_run, tmp_path):
    shutil.copytree(toy_run.folder, tmp_path / "run")
    return Run.load(tmp_path / "run")


@pytest.fixture(scope="module")
def boxes(toy_splits):
    """The bright square of the positives, in the pixels of images 48 wide."""
    positives = toy_splits.test[toy_splits.test["Effusion"] == 1]
    table = pd.DataFrame({"image_id": positives["image_id"], "finding": "Effusion"})
    table = table.assign(x_px=4.0, y_px=24.0, width_px=16.0, height_px=16.0)
    table.attrs |= {"image_px": 48, "source": "squares.csv"}
    return table


def test_a_study_is_kept_with_its_run_and_read_again(run, toy, boxes):
    made = study_heatmaps(run, toy, boxes=boxes, images=24, seed=1)
    study = made.study
    assert study.checks.verdict == "depends on the model", str(study.checks)
    entry = study.localization.findings[0]
    assert entry.n_boxes == len(boxes) and study.afroc.estimable
    # A square at one place: the mean box points there without looking.
    assert entry.baselines[0].hit_rate.value == 1.0
    assert {row["outcome"] for row in study.examples} <= {"found", "missed", "false alarm", "correct negative"}
    assert all(
        (row["hit"] is None) == (row["outcome"] in ("false alarm", "correct negative")) for row in study.examples
    )
    assert str(run.heatmaps) == str(study) and run.heatmaps.boxes_from == "squares.csv"
    with pytest.raises(FileExistsError, match=r"has heatmaps\.json already"):
        study_heatmaps(run, toy, boxes=boxes, images=24)


@pytest.fixture(scope="module")
def studied(toy_run, toy, boxes, tmp_path_factory):
    """A run that was studied, with its gallery."""
    folder = tmp_path_factory.mktemp("studied") / "run"
    shutil.copytree(toy_run.folder, folder)
    return study_heatmaps(folder, toy, boxes=boxes, images=24, seed=1), folder


def test_a_gallery_of_synthetic_images_is_kept_with_the_run(studied):
    (study, maps, _), folder = studied
    assert study.checks.verdict == "depends on the model", str(study.checks)
    run = Run.load(folder)
    gallery, kept = run.heatmap_gallery, run.heatmaps
    names = [entry["image_id"] for entry in study.examples]
    assert 1 <= len(names) <= 12 and gallery.images.shape == (len(names), 32, 32)
    assert kept.threshold == run.operating_points[0].threshold
    for place, entry in enumerate(kept.examples):
        heat = maps.maps[maps.images.index(entry["image_id"]), 0]
        np.testing.assert_allclose(gallery.maps[place], heat, rtol=1e-5)
        called = entry["score"] >= kept.threshold
        assert called == (entry["outcome"] in ("found", "false alarm"))
        # The square of a positive fills rows 24-39 and columns 4-19 of 48, and is brighter than the image.
        is_positive = entry["outcome"] in ("found", "missed")
        assert gallery.boxes[place].tolist() == ([[4 / 48, 0.5, 16 / 48, 16 / 48]] if is_positive else [])
        assert (gallery.images[place][17:26, 4:12].mean() > gallery.images[place].mean() + 20) == is_positive


def test_images_of_patients_are_kept_only_where_it_was_asked_for(run, toy, studied, monkeypatch):
    monkeypatch.setattr(sys.modules[study_heatmaps.__module__], "check_maps", lambda *_, **__: studied[0].study.checks)
    document = json.loads((run.folder / "provenance.json").read_text())
    document["source"]["synthetic"] = False
    (run.folder / "provenance.json").write_text(json.dumps(document))
    study = study_heatmaps(run.folder, toy, images=10, seed=1).study
    assert study.no_gallery == "images of patients are not kept with the run"
    assert not (run.folder / GALLERY).exists() and Run.load(run.folder).heatmap_gallery is None
    assert all("map" not in entry for entry in study.examples)
    asked = study_heatmaps(run.folder, toy, images=10, seed=1, keep_images=True, overwrite=True).study
    assert asked.no_gallery == "" and len(Run.load(run.folder).heatmap_gallery.images) == len(asked.examples)
    study_heatmaps(run.folder, toy, images=10, seed=1, overwrite=True)
    assert not (run.folder / GALLERY).exists()


def test_a_gallery_that_is_not_what_was_kept_is_refused_before_it_is_unpacked(studied, tmp_path):
    from PIL import Image

    from chexkeras import files

    shutil.copytree(studied[1], tmp_path / "run")
    run = Run.load(tmp_path / "run")
    path, count = run.folder / GALLERY, len(run.heatmaps.examples)

    def refused(words):
        with pytest.raises(ValueError, match=words):
            _ = run.heatmap_gallery

    def stated():
        """heatmaps.json states whatever the file is now."""
        document = json.loads((run.folder / HEATMAPS).read_text())
        document["gallery_sha256"] = files.sha256_file(path)
        (run.folder / HEATMAPS).write_text(json.dumps(document))

    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    refused("is not the file that was made with its heatmaps.json")
    stated()
    refused("cannot be read")
    Image.new("L", (20_000, 20_000)).save(path)
    stated()
    refused("20000 x 20000 pixels")
    Image.new("RGB", (32, 32 * count)).save(path)
    stated()
    refused("no PNG file of 8-bit")
    Image.new("L", (32, 32)).save(path, format="JPEG")
    stated()
    refused("no PNG file")
    path.write_bytes(b"0" * (9 * 2**20))
    stated()
    refused(GALLERY)
    path.unlink()
    refused("has no heatmaps.png")
    path.write_bytes(whole)
    stated()
    document = json.loads((run.folder / HEATMAPS).read_text())
    for change, words in (
        ({"map": [[1.0] * 5000] * 2}, "maps of shape"),
        ({"map": [["a"]]}, "a number was expected"),
        ({"map": [[]]}, "holds 0 entries"),
        ({"boxes": [[1, 2, 3]]}, "holds 3 entries"),
        ({"outcome": "cured"}, "is none of found, missed"),
    ):
        spoilt = {**document, "examples": [{**entry, **change} for entry in document["examples"]]}
        (run.folder / HEATMAPS).write_text(json.dumps(spoilt))
        refused(words)


def test_without_boxes_there_is_nothing_to_compare_with(run, toy):
    study = study_heatmaps(run, toy, images=10, keep=False).study
    assert study.localization is None and study.afroc.reason == "no test image has a box"
    assert run.heatmaps is None


def test_a_damaged_file_is_named(run):
    (run.folder / HEATMAPS).write_text(json.dumps({"checks": [], "scores_fingerprint": ""}))
    with pytest.raises(ValueError, match=r"heatmaps\.json of the run .* chexkeras explain --overwrite"):
        _ = run.heatmaps


def test_images_that_are_not_there_are_named_before_the_model_is_loaded(run, toy, monkeypatch):
    monkeypatch.setattr(Run, "load_model", lambda _: pytest.fail("the model was loaded"))
    gone = toy.assign(path=toy["path"] + ".gone")
    with pytest.raises(FileNotFoundError, match="test images are not on disk"):
        study_heatmaps(run, gone, images=10)
    with pytest.raises(ValueError, match="test images are not in the table"):
        study_heatmaps(run, toy.iloc[:5], images=10)


class TestCommand:
    def call(self, run, toy, folder, *options):
        columns = ["image_id", "patient_id", "Effusion"]
        toy[columns].to_csv(folder / "labels.csv", index=False)
        given = ["explain", str(run.folder), "--data", str(folder / "labels.csv"), "--out", str(folder / "maps")]
        return CliRunner().invoke(
            app, [*given, *COLUMNS, "--seed", "1", "--images", str(Path(toy["path"].iloc[0]).parent), *options]
        )

    def test_figures_tables_and_the_study(self, run, toy, tmp_path):
        done = self.call(run, toy, tmp_path)
        assert done.exit_code == 0, done.output
        assert "depends on the model" in done.output and "Caution: A heat map shows" in done.output
        names = {path.name for path in (tmp_path / "maps").iterdir()}
        assert {"heatmaps.json", "peaks.csv", "gallery.png"} < names
        assert Run.load(run.folder).heatmaps is not None
        again = self.call(run, toy, tmp_path)
        assert again.exit_code == 2 and "--overwrite) replaces it" in again.output
        assert self.call(run, toy, tmp_path, "--overwrite", "--no-keep").exit_code == 0

    def test_wrong_calls(self, run, toy, tmp_path):
        for options, words in (
            (("--finding", "Mass"), "finding='Mass'"),
            (("--method", "gradcan"), "did you mean 'gradcam'"),
            (("--out", str(run.folder / "maps")), "lies in the run folder"),
            (("--out", str(tmp_path)), "holds something else already"),
        ):
            done = self.call(run, toy, tmp_path, *options)
            assert done.exit_code == 2 and words in " ".join(done.output.split()), done.output
