"""Heat maps of a run's test images as a whole: the study, its file, and the command that makes it."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.explanation import study_heatmaps
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
    with pytest.raises(FileExistsError, match="has heat maps already"):
        study_heatmaps(run, toy, boxes=boxes, images=24)


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
        assert again.exit_code == 2 and "--overwrite replaces them" in again.output
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
