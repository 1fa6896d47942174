"""``chexkeras compare``: two runs on the same images, in words, as a table and in figures."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from chexkeras import files
from chexkeras.cli import app
from chexkeras.evaluation.readers.mrmc import mrmc
from chexkeras.evaluation.readers.roe_metz import simulate_reader_study
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.runs.run import Run

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
    assert "Caution: Toy images." in result.output
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


def with_another_finding(toy_run, folder):
    """A copy of the toy run that has learnt Mass as well, on the same images."""
    shutil.copytree(toy_run.folder, folder)
    files.write_json(folder / "recipe.json", toy_run.recipe.replace(targets=("Effusion", "Mass")).to_dict())
    for part in ("validation", "test"):
        path = folder / f"scores_{part}.csv"
        scores = pd.read_csv(path, dtype={"image_id": str, "patient_id": str})
        pd.concat([scores, scores.assign(finding="Mass")]).to_csv(path, index=False)
    validation = Run.load(folder).scores("validation")
    points = [choose_threshold(validation, finding=name).to_dict() for name in ("Effusion", "Mass")]
    files.write_json(folder / "operating_points.json", points)
    return folder


def test_runs_of_different_findings_are_compared_on_those_they_share(toy_run, tmp_path):
    two = with_another_finding(toy_run, tmp_path / "two")
    result = run("compare", toy_run.folder, two)
    assert result.exit_code == 0, result.output
    assert "Left out, since not every run has learnt it: Mass" in result.output
    assert "Effusion, AUROC: toy is not distinguishable from two" in result.output
    assert "Mass, AUROC" not in result.output
    named = run("compare", toy_run.folder, two, "--finding", "Mass")
    assert named.exit_code == 2 and "Expected one of: Effusion" in named.output
    other = shutil.copytree(toy_run.folder, tmp_path / "other")
    recipe = toy_run.recipe.replace(targets=("Mass",))
    files.write_json(other / "recipe.json", recipe.to_dict())
    alone = run("compare", toy_run.folder, other)
    assert alone.exit_code == 2 and "no finding in common: toy Effusion; other Mass" in alone.output


def test_one_of_several_shared_findings_can_be_named(toy_run, tmp_path):
    one, two = (with_another_finding(toy_run, tmp_path / name) for name in ("one", "two"))
    both, named = run("compare", one, two), run("compare", one, two, "--finding", "Mass")
    assert "Effusion, AUROC" in both.output and "Mass, AUROC" in both.output
    assert "Effusion" not in named.output and "Mass, AUROC" in named.output


def test_the_table_stands_at_the_frozen_thresholds_or_at_a_stated_one(toy_run, worse):
    frozen, stated = run("compare", toy_run.folder, worse), run("compare", toy_run.folder, worse, "--threshold", "0.3")
    point = toy_run.operating_points[0]
    assert f"{point.threshold:.4g}" in frozen.output
    scores = toy_run.scores("test")
    called, positive = scores["score"] >= 0.3, scores["label"] == 1
    counts = [(called & positive), (~called & positive), (called & ~positive), (~called & ~positive)]
    assert ", ".join(str(int(each.sum())) for each in counts) in stated.output
    sensitivity = f"{(called & positive).sum() / positive.sum():.3f} ("
    assert sensitivity in stated.output and "TP, FN, FP, TN" in stated.output
    wrong = run("compare", toy_run.folder, worse, "--threshold", "3")
    assert wrong.exit_code == 2 and "--threshold" in wrong.output


def test_runs_on_other_images_are_refused(toy_run, tmp_path):
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


@pytest.fixture
def readings(tmp_path):
    study = simulate_reader_study({"aided": 0.95, "alone": 0.8}, readers=5, images=(40, 40), seed=3)
    path = tmp_path / "study.csv"
    study.to_frame().rename(columns={"modality": "treatment"}).to_csv(path, index=False)
    return path, study


def test_a_reader_study_is_told_in_words_as_a_table_and_in_a_figure(readings, tmp_path):
    path, study = readings
    out = tmp_path / "study_result.csv"
    named = ("--column", "modality=treatment", "--first", "aided", "--second", "alone", "--margin", 0.05)
    result = run("reader-study", path, *named, "--out", out, "--figures", tmp_path / "figures")
    assert result.exit_code == 0, result.output
    assert "aided is better than alone" in result.output
    assert "non-inferiority within 0.05 shown" in result.output
    table = pd.read_csv(out)
    row = table[table["what"] == "difference"].iloc[0]
    found = mrmc(study).difference("aided", "alone").difference
    assert row[["value", "low", "high"]].to_list() == pytest.approx([found.value, found.low, found.high], abs=1e-6)
    assert (tmp_path / "figures" / "reader_study.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "lacks the column"),
        (("--column", "modality"), "modality=treatment"),
        (("--column", "modality=treatment", "--first", "aided"), "--first and --second"),
        (("--column", "modality=treatment", "--margin", 0.1), "--margin needs"),
        (("--column", "modality=treatment", "--figure", "sensitivity"), "threshold"),
        (("--column", "modality=treatment", "--finding", "Mass"), "Mass"),
        (("--column", "modality=treatment", "--first", "aided", "--second", "nobody"), "nobody"),
    ],
)
def test_what_a_reader_study_lacks_is_said_before_anything_is_written(readings, tmp_path, options, told):
    out = tmp_path / "none.csv"
    result = run("reader-study", readings[0], *options, "--out", out)
    assert result.exit_code == 2
    assert told in result.output
    assert not out.exists()
