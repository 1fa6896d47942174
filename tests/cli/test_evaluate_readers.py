"""``chexkeras evaluate --reference``: a run's scores judged by readers, kept with the run, and told in its report."""

import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.runs.run import READERS, Run

pytestmark = pytest.mark.keras


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def copy(toy_run, tmp_path):
    return Run.load(shutil.copytree(toy_run.folder, tmp_path / "toy"))


@pytest.fixture
def readings(toy_run, tmp_path):
    """Readers who see what the model's scores say, on all images of the run, test images and others."""
    scores = toy_run.scores("test")
    middle = scores["score"].median()
    table = pd.DataFrame({"image_id": scores["image_id"], "Effusion": (scores["score"] > middle).astype(int)})
    trained = toy_run.splits.loc[toy_run.splits["part"] == "train", ["image_id"]].assign(Effusion=0)
    path = tmp_path / "readings.csv"
    pd.concat([table, trained]).to_csv(path, index=False)
    return path


def test_scores_that_follow_the_readers_have_their_auroc_of_one(copy, readings):
    result = run("evaluate", copy.folder, "--reference", readings, "--keep")
    assert result.exit_code == 0, result.output
    assert "AUROC against the readers  1.000" in result.output
    trained = int((copy.splits["part"] == "train").sum())
    assert f"{trained:,} images that were read belong to other parts" in result.output
    found = Run.load(copy.folder).against_readers
    (entry,) = found.findings
    assert entry.quality.n_images == int((copy.splits["part"] == "test").sum())
    assert found.cautions == copy.cautions


def test_without_keep_the_run_stays_as_it_is(copy, readings):
    assert run("evaluate", copy.folder, "--reference", readings).exit_code == 0
    assert not (copy.folder / READERS).exists()
    assert copy.against_readers is None


def test_an_earlier_comparison_is_replaced_only_on_purpose(copy, readings):
    assert run("evaluate", copy.folder, "--reference", readings, "--keep").exit_code == 0
    again = run("evaluate", copy.folder, "--reference", readings, "--keep")
    assert again.exit_code != 0 and "--overwrite" in again.output
    assert run("evaluate", copy.folder, "--reference", readings, "--keep", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--keep",), "need --reference"),
        (("--reference", "{readings}", "--rule", "youden"), "leave --rule and --target out"),
        (("--reference", "{readings}", "--consensus", "loudest"), "consensus"),
        (("--reference", "nosuch.csv"), "nosuch.csv"),
    ],
)
def test_options_that_do_not_go_together_are_refused(copy, readings, options, words):
    result = run("evaluate", copy.folder, *(option.format(readings=readings) for option in options))
    assert result.exit_code != 0
    assert words in " ".join(result.output.split())


def test_a_damaged_comparison_is_one_clear_error(copy, readings):
    assert run("evaluate", copy.folder, "--reference", readings, "--keep").exit_code == 0
    path = copy.folder / READERS
    path.write_text(path.read_text(encoding="utf-8").replace('"Effusion"', '"Hernia"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"readers.json of the run is not what a run writes"):
        _ = Run.load(copy.folder).against_readers
