"""``chexkeras compare``: two runs on the same films, in words, as a table and in figures."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from chexkeras.cli import app

pytestmark = pytest.mark.keras


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def copy_with(toy_run, folder, change):
    """A copy of the toy run whose test scores were changed."""
    shutil.copytree(toy_run.folder, folder)
    path = folder / "scores_test.csv"
    scores = pd.read_csv(path, dtype={"image_id": str, "patient_id": str})
    change(scores).to_csv(path, index=False)
    return folder


@pytest.fixture
def worse(toy_run, tmp_path):
    def shuffled(scores):
        return scores.assign(score=np.random.default_rng(0).permutation(scores["score"]))

    return copy_with(toy_run, tmp_path / "worse", shuffled)


def test_a_run_is_told_apart_from_one_that_guesses(toy_run, worse, tmp_path):
    out = tmp_path / "comparison.csv"
    result = run("compare", toy_run.folder, worse, "--out", out)
    assert result.exit_code == 0, result.output
    assert "Caution: Toy films." in result.output
    table = pd.read_csv(out)
    auroc = table[table["statistic"] == "AUROC"].iloc[0]
    # The verdict is on the first run, which does not guess.
    assert (auroc["first"], auroc["second"], auroc["verdict"]) == (toy_run.folder.name, "worse", "better")
    assert auroc["difference"] in result.output


def test_the_same_run_twice_is_not_distinguishable_from_itself(toy_run, tmp_path):
    twin = copy_with(toy_run, tmp_path / "twin", lambda scores: scores)
    result = run("compare", toy_run.folder, twin)
    assert result.exit_code == 0, result.output
    assert "not distinguishable" in result.output
    assert "better" not in result.output.replace("not distinguishable", "")


def test_figures_of_both_runs_are_drawn(toy_run, worse, tmp_path):
    folder = tmp_path / "figures"
    result = run("compare", toy_run.folder, worse, "--figures", folder)
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in folder.iterdir())
    curves = [f"{kind}_Effusion.png" for kind in ("confusion", "precision_recall", "roc", "thresholds")]
    assert names == sorted([*curves, "differences.png", "training_toy.png", "training_worse.png"])
    for path in folder.iterdir():
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 5


def test_runs_on_other_films_are_refused(toy_run, tmp_path):
    fewer = copy_with(toy_run, tmp_path / "fewer", lambda scores: scores.iloc[:-2])
    result = run("compare", toy_run.folder, fewer)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "image" in result.output


@pytest.mark.parametrize(("names", "message"), [(["a"], "at least two runs, got 1"), (["a", "a"], "given twice")])
def test_what_cannot_be_compared_is_said(toy_run, tmp_path, names, message):
    folders = [tmp_path / name for name in names]
    for folder in folders:
        folder.parent.mkdir(parents=True, exist_ok=True)
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        shutil.copytree(toy_run.folder, folder, dirs_exist_ok=True)
    result = run("compare", *folders)
    assert result.exit_code == 2
    assert message in result.output
