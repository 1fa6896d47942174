"""How to go on after an interruption: a whole command, which works when it is pasted."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.cli.app import command_line, errors_for_people, leave, tell


def shown(*words):
    """Returns the words of the command that a small application writes of itself."""
    small = typer.Typer()

    @small.command()
    @errors_for_people
    def small_command(
        root: Annotated[Path, typer.Argument()],
        store: Annotated[Path | None, typer.Option("--store")] = None,
        column: Annotated[list[str] | None, typer.Option()] = None,
        pixels: Annotated[bool, typer.Option("--pixels/--no-pixels")] = True,
        html: Annotated[bool, typer.Option()] = True,
        keep: Annotated[bool, typer.Option("--keep")] = False,
        seed: Annotated[int, typer.Option()] = 0,
    ) -> None:
        tell(command_line("seed", adding=("--resume", "it's")))

    found = CliRunner().invoke(small, list(words))
    assert found.exit_code == 0, found.output
    return found.stdout.strip()


def test_a_command_is_written_with_what_it_was_given_and_nothing_else():
    assert shown("images") == """chexkeras small-command images --resume 'it'"'"'s'"""
    given = ("my images", "--store", "a b", "--column", "x=y z", "--column", "q", "--no-pixels", "--no-html", "--keep")
    assert shlex.split(shown(*given, "--seed", "3")) == [
        "chexkeras", "small-command", *given, "--resume", "it's",
    ]  # fmt: skip


def test_a_word_that_is_there_already_is_not_added():
    small = typer.Typer()

    @small.command()
    @errors_for_people
    def again(resume: Annotated[bool, typer.Option("--resume")] = False) -> None:
        tell(command_line(adding=("--resume",)))

    for given in ([], ["--resume"]):
        assert CliRunner().invoke(small, given).stdout.strip() == "chexkeras again --resume"


def test_the_command_stands_alone_on_a_line_to_be_copied():
    small = typer.Typer()

    @small.command()
    @errors_for_people
    def broken(folder: Annotated[Path, typer.Argument()]) -> None:
        leave(KeyboardInterrupt(), "two files are kept", command_line())

    found = CliRunner().invoke(small, ["my images"])
    assert found.exit_code == 130
    assert found.output.splitlines() == [
        "interrupted: two files are kept; go on with:", "chexkeras broken 'my images'",
    ]  # fmt: skip


def run_line(line):
    words = shlex.split(line)
    assert words[0] == "chexkeras"
    return CliRunner().invoke(app, words[1:])


def interrupted_training(words, monkeypatch):
    """Interrupts a training after its first epoch; returns what is to be pasted."""
    from chexkeras.training import loop

    real = loop.StageFit.epoch

    def breaking(self, epoch, global_epoch):
        if global_epoch == 2:
            raise KeyboardInterrupt
        return real(self, epoch, global_epoch)

    with monkeypatch.context() as patch:
        patch.setattr(loop.StageFit, "epoch", breaking)
        stopped = CliRunner().invoke(app, words)
    assert stopped.exit_code == 130, stopped.output
    lines = stopped.output.splitlines()
    (at,) = [at for at, line in enumerate(lines) if line.endswith("which are kept; go on with:")]
    return lines[at + 1]


def test_an_interrupted_training_goes_on_with_what_is_pasted(make_toy, tmp_path, monkeypatch):
    folder = tmp_path / "my images"
    folder.mkdir()
    table = make_toy(folder, patients=40)
    table.rename(columns={"path": "film", "patient_id": "who"}).to_csv(folder / "my table.csv", index=False)
    run = tmp_path / "my runs" / "it's one"
    recipe = ["stage1.epochs=2", "stage2.epochs=1", "image_size=32", "backbone=SmallCNN", "batch_size=16"]
    settings = [word for setting in recipe for word in ("--set", setting)]
    words = [
        "train", "--data", str(folder / "my table.csv"), "--image-column", "film", "--patient-column", "who",
        "--label-columns", "Effusion", "--finding", "Effusion", "--preset", "demo", "--weights", "none", "--run",
        str(run), "--caution", "Made up.", *settings,
    ]  # fmt: skip
    line = interrupted_training(words, monkeypatch)
    assert "--preset" not in line and "Made up." not in line
    assert shlex.split(line)[-2:] == ["--resume", str(run)]
    found = run_line(line)
    assert found.exit_code == 0, found.output
    assert (run / "evaluation.json").is_file()
    assert "Made up." in found.output
