"""``chexkeras train``: a preset's own split, and a training that is taken up again."""

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.data.phantom import make_phantoms
from chexkeras.training.run import Run

SMALL = ("--preset", "quick", "--set", "backbone=SmallCNN", "--set", "image_size=32", "--set", "stage1.epochs=1")
SMALL = (*SMALL, "--set", "stage2.epochs=1")
PARTS = ("--validation", "0.25", "--test", "0.25")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "nih"
    return make_phantoms(folder, images=60, size=64, prevalence={"Cardiomegaly": 0.5})


@pytest.mark.keras
def test_as_run_splits_as_the_source_did_and_calls_it_leaky(films, tmp_path, monkeypatch):
    from chexkeras.training import presets

    asked = []
    monkeypatch.setattr(presets, "as_run_split", lambda name: asked.append(name) or "image")
    result = run("train", "--data", films, "--run", tmp_path / "run", "--as-run", *SMALL, *PARTS)
    assert result.exit_code == 0, result.output
    assert asked == ["quick"]
    made = Run.load(tmp_path / "run")
    assert made.provenance["split"]["leaky"]
    assert any("LEAKY" in caution for caution in made.cautions)


@pytest.mark.keras
def test_a_training_that_broke_off_is_taken_up_with_the_run_and_the_films_alone(films, tmp_path, monkeypatch):
    from chexkeras.training import trainer

    def breaks(*_, **__):
        raise KeyboardInterrupt

    command = ("train", "--data", films, "--run", tmp_path / "run", *SMALL, *PARTS)
    with monkeypatch.context() as patched:
        patched.setattr(trainer.outcome, "write_results", breaks)
        assert run(*command).exit_code != 0
    assert not (tmp_path / "run").exists()
    again = run(*command)
    assert again.exit_code == 2
    assert "--resume" in again.output or "resume" in again.output
    options = run("train", "--data", films, "--resume", tmp_path / "run", "--finding", "Mass", "--draws", "2")
    assert options.exit_code == 2
    assert "leave out --finding, --draws" in options.output
    result = run("train", "--data", films, "--resume", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert Run.load(tmp_path / "run").recipe.backbone == "SmallCNN"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--run", "x", "--as-run"), "give --preset, and leave out --split"),
        (("--run", "x", "--as-run", "--preset", "chexnet", "--split", "official"), "leave out --split"),
        (("--run", "x", "--as-run", "--preset", "kufel-effnet"), "does not state how it divided its films"),
        (("--run", "x", "--resume", "x"), "either --run"),
        ((), "either --run"),
        (("--resume", "x"), "nothing to resume"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_a_film_is_read(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("train", "--data", "nowhere", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []
