"""``chexkeras robustness``: a run's test images changed, from the command line."""

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.data.datasets.nih import load_nih
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.phantoms import make_phantoms
from chexkeras.runs.run import ROBUSTNESS, Run

pytestmark = pytest.mark.keras


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "nih"
    return make_phantoms(folder, images=60, size=64, prevalence={"Effusion": 0.5})


@pytest.fixture(scope="module")
def trained(images, short_recipe, tmp_path_factory):
    from chexkeras.training.trainer import train

    splits = split_by_patient(load_nih(images), "Effusion", validation=0.25, test=0.3)
    return train(short_recipe, splits, tmp_path_factory.mktemp("runs") / "run")


def test_it_says_what_each_change_costs_and_keeps_it_with_the_run(trained, images):
    result = run("robustness", trained.folder, "--data", images, "--only", "misuse", "--margin", "0.1")
    assert result.exit_code == 0, result.output
    measured = Run.load(trained.folder).robustness
    assert measured.margin == 0.1 and {effect.group for effect in measured.effects} == {"misuse"}
    for effect in measured.effects:
        line = f"Effusion, {effect.perturbation}: {effect.verdict('AUROC')}, AUROC {effect['AUROC'].difference}"
        assert line in result.output
    assert "Caution: Synthetic images, not clinical evidence." in result.output
    assert f"written: {trained.folder / ROBUSTNESS}" in result.output
    again = run("robustness", trained.folder, "--data", images, "--only", "misuse")
    assert again.exit_code == 2 and "--overwrite" in again.output
    again = run("robustness", trained.folder, "--data", images, "--only", "misuse", "--sample", "5", "--overwrite")
    assert again.exit_code == 0, again.output
    assert Run.load(trained.folder).robustness.n_images < measured.n_images


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "exposures"), "did you mean 'exposure'"),
        (("--margin", "0"), "--margin"),
        (("--sample", "-1"), "--sample"),
        (("--seed", "-1"), "--seed"),
    ],
)
def test_wrong_options_are_refused_before_the_run_is_opened(options, message, tmp_path):
    result = run("robustness", tmp_path / "none", "--data", tmp_path, *options)
    assert result.exit_code == 2
    assert message in result.output
