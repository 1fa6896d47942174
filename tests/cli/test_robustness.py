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
    result = run("robustness", trained.folder, "--data", images, "--only", "misuse", "--margin", "0.1",
                 "--operating-margin", "0.2")  # fmt: skip
    assert result.exit_code == 0, result.output
    measured = Run.load(trained.folder).robustness
    assert (measured.margin, measured.operating_margin) == (0.1, 0.2)
    assert {effect.group for effect in measured.effects} == {"misuse"}
    for effect in measured.effects:
        assert f"Effusion, {effect.perturbation}: {effect.leading}\n" in result.output
        assert f"discrimination {effect.discrimination}, operating point {effect.operating_point}; " in result.output
        for entry in effect.comparisons:
            assert f"{entry.statistic:11} {entry.difference}" in result.output
    assert "changes by the worse of both verdicts: 0 held, 0 worse" in result.output
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
        (("--operating-margin", "1"), "--operating-margin"),
        (("--sample", "-1"), "--sample"),
        (("--seed", "-1"), "--seed"),
    ],
)
def test_wrong_options_are_refused_before_the_run_is_opened(options, message, tmp_path):
    result = run("robustness", tmp_path / "none", "--data", tmp_path, *options)
    assert result.exit_code == 2
    assert message in result.output
