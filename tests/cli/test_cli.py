import ast
import errno
import importlib
import json
import os
import re
import shlex
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

import chexkeras
from chexkeras.cli import app
from chexkeras.data.datasets.registry import DATA_SETS
from chexkeras.parallel import Workplace

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


def options_of(command):
    return {option for parameter in command.params for option in parameter.opts}


def texts_about_the_command_line():
    """Every text of the package that names the command line, with what is filled in left out."""
    for path in Path(chexkeras.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = "".join(part.value for part in parts if isinstance(getattr(part, "value", None), str))
            if "command line" in text:
                yield text


def test_options_that_messages_name_exist():
    there = set().union(*map(options_of, get_command(app).commands.values()))
    named = {option for text in texts_about_the_command_line() for option in re.findall(r"--[a-z][a-z-]*", text)}
    assert {"--missing", "--images", "--overwrite", "--workers"} <= named
    assert named <= there


def test_options_of_every_kind_of_data_exist_with_dashes():
    there = options_of(get_command(app).commands["train"])
    for option in (option for entry in DATA_SETS for option in entry.options):
        name = option.singular or option.name
        assert (f"--{name.replace('_', '-')}" in there) == option.on_command_line


@pytest.mark.parametrize("command", sorted(get_command(app).commands))
def test_every_command_explains_itself(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("audit", "nowhere"), "nowhere"),
        (("train", "--data", "nowhere", "--run", "x"), "nowhere"),
        (("train", "--data", ".", "--run", "x", "--finding", "Pneumo"), "unknown finding 'Pneumo'"),
        (("train", "--data", ".", "--run", "x", "--preset", "two-stages"), "did you mean 'two-stage'"),
        (("train", "--data", ".", "--run", "x", "--set", "stage2.epoch=1"), "did you mean 'epochs'"),
        (("evaluate", "nowhere"), "no folder at 'nowhere'"),
        (("predict", "nowhere", "--run", "nowhere"), "nowhere"),
        (("report", "nowhere"), "nowhere"),
        (("predict", ".", "--run", "x", "--memory", "0"), "--memory 0 must be a number above 0"),
        (("predict", ".", "--run", "x", "--memory", "inf"), "--memory inf must be a number above 0"),
        (("predict", ".", "--run", "x", "--timeout", "nan"), "--timeout nan must be a number above 0"),
    ],
)
def test_mistakes_give_one_message_and_status_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.keras
def test_evaluate_shows_the_run_and_another_operating_point(toy_run, tmp_path):
    plain = run("evaluate", toy_run.folder)
    assert plain.exit_code == 0
    assert "Caution: Toy images." in plain.output
    assert "AUROC" in plain.output
    out = tmp_path / "evaluation.json"
    other = run("evaluate", toy_run.folder, "--rule", "specificity", "--target", "0.9", "--out", out)
    assert other.exit_code == 0
    assert json.loads(out.read_text())["findings"][0]["operating_point"]["rule"] == "specificity"
    assert run("evaluate", toy_run.folder, "--target", "0.9").exit_code == 2


def images_of(folder, count=2):
    """A folder with images of noisy slopes."""
    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).normal(0, 20, (300, 280))
        slope = np.add.outer(np.linspace(0, 128, 300), np.linspace(0, 127, 280))
        Image.fromarray(np.clip(slope + noise, 0, 255).astype(np.uint8)).save(folder / f"image{number}.png")
    return folder


@pytest.mark.keras
def test_predict_says_by_its_status_that_something_was_refused(toy_run, tmp_path):
    folder = images_of(tmp_path / "images")
    options = ("--run", toy_run.folder, "--workers", 0, "--out")
    accepted = run("predict", folder, *options, tmp_path / "results.csv")
    assert accepted.exit_code == 0, accepted.output
    assert "Caution: Toy images." in accepted.output and "2 accepted (2 with a warning), 0 refused" in accepted.output
    (folder / "page.dcm").write_text("<html>")
    refused = run("predict", folder, *options, tmp_path / "results.jsonl")
    assert refused.exit_code == 3
    assert "2 accepted (2 with a warning), 1 refused\n  refused     1  not_dicom" in refused.output
    table = pd.read_csv(tmp_path / "results.csv")
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["verdict"] for line in lines] == ["warn", "warn", "reject"]
    assert [line["findings"][0]["score"] for line in lines[:2]] == table["score"].tolist()
    positive = int((table["decision"] == "positive").sum())
    assert f"Effusion: {positive} positive, {2 - positive} negative at the threshold" in accepted.output
    assert toy_run.dicom_results is None


@pytest.mark.keras
def test_predict_hands_its_options_on(toy_run, tmp_path, monkeypatch):
    from chexkeras.dicom.workers.options import ReadOptions

    module = importlib.import_module("chexkeras.inference.score_folder")
    from chexkeras.parallel import WorkersUnavailable

    called = {}

    def score_folder(run, folder, profile, **options):
        called.update(folder=folder, profile=profile, **options)
        raise WorkersUnavailable("no process can be started")

    monkeypatch.setattr(module, "score_folder", score_folder)
    options = ("--resume", "--overwrite", "--keep", "--profile", "course", "--names", "hashed", "--engine", "openvino")
    limits = ("--precision", "bf16", "--workers", 3, "--memory", 0.5, "--timeout", 7, "--out", "a.jsonl")
    result = run("predict", tmp_path, "--run", toy_run.folder, *options, *limits)
    assert result.exit_code == 2 and "no process can be started" in result.output
    assert called == {
        "folder": tmp_path, "profile": "course", "keep": True, "out": "a.jsonl", "resume": True,
        "overwrite": True, "names": "hashed", "read_options": ReadOptions(3, 2**29, 7.0), "engine": "openvino",
        "precision": "bf16", "executor": Workplace(),
    }  # fmt: skip


@pytest.mark.keras
def test_an_interrupted_predict_keeps_what_is_done_and_goes_on_with_resume(toy_run, tmp_path, monkeypatch):
    module = importlib.import_module("chexkeras.inference.score_folder")

    folder, out = images_of(tmp_path / "images", count=3), tmp_path / "results.csv"
    arguments = ("predict", folder, "--run", toy_run.folder, "--workers", 0, "--out", out)

    def interrupted_after(count):
        def breaking(items, *_, **__):
            for number, item in enumerate(items):
                if number == count:
                    raise KeyboardInterrupt
                yield item

        monkeypatch.setattr(module, "track", breaking)

    interrupted_after(0)
    assert "interrupted: nothing done" in run(*arguments).output
    interrupted_after(2)
    stopped = run(*arguments)
    assert stopped.exit_code == 130 and not out.exists()
    told, line = stopped.output.splitlines()[-2:]
    assert told == "interrupted: the results of 2 files are kept; go on with:"
    assert sorted(shlex.split(line)) == sorted(["chexkeras", *map(str, arguments), "--resume"])
    monkeypatch.undo()
    assert "give resume=True (--resume)" in run(*arguments).output
    assert run(*shlex.split(line)[1:]).exit_code == 0
    assert len(pd.read_csv(out)) == 3


@pytest.mark.keras
def test_a_predict_that_the_system_ends_or_whose_disk_is_full_keeps_what_is_done(toy_run, tmp_path, monkeypatch):
    from chexkeras.inference.predictor import Predictor

    module = importlib.import_module("chexkeras.inference.score_folder")
    folder, out = images_of(tmp_path / "images", count=4), tmp_path / "results.csv"
    arguments = ("predict", folder, "--run", toy_run.folder, "--workers", 0, "--out", out)

    def ended_by_the_system(items, *_, **__):
        yield next(items)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(module, "track", ended_by_the_system)
        stopped = run(*arguments)
    assert stopped.exit_code == 143 and not out.exists()
    assert "ended by SIGTERM: the results of 1 files are kept; go on with:\nchexkeras predict " in stopped.output

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / ".results.csv.x.csv"))

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_results", full)
        stopped = run(*arguments, "--resume")
    assert stopped.exit_code == 2 and not out.exists()
    said = " ".join(stopped.output.split())
    assert "there is no room for '.results.csv.x.csv' (No space left on device); free some space" in said
    assert "The results of 4 files are kept; go on with: chexkeras predict" in said
    monkeypatch.setattr(Predictor, "records", lambda _, files, **__: iter(pytest.fail("scored") for _ in files))
    assert run(*arguments, "--resume").exit_code == 0
    assert len(pd.read_csv(out)) == 4


@pytest.mark.keras
@pytest.mark.parametrize("name", ["results.csv", "results.jsonl"])
def test_predict_writes_its_results_again_and_goes_on_with_them(toy_run, tmp_path, name):
    folder, out = images_of(tmp_path / "images"), tmp_path / name
    arguments = ("predict", folder, "--run", toy_run.folder, "--workers", 0, "--out", out)
    assert run(*arguments).exit_code == 0
    before = out.read_text()
    (folder / "page.dcm").write_text("<html>")
    resumed = run(*arguments, "--resume")
    assert resumed.exit_code == 3, resumed.output
    assert out.read_text().startswith(before) and out.read_text() != before
    again = run(*arguments)
    assert again.exit_code == 3, again.output
    assert out.read_text() != before
    elsewhere = run("predict", images_of(tmp_path / "other", count=1), *arguments[2:])
    assert elsewhere.exit_code == 2
    assert "2 of the 3 files in the earlier results are not in this folder" in elsewhere.output
    replaced = run("predict", tmp_path / "other", *arguments[2:], "--overwrite")
    assert replaced.exit_code == 0, replaced.output
    assert len(out.read_text().splitlines()) == (2 if name.endswith("csv") else 1)


@pytest.mark.keras
def test_predict_keeps_what_is_done_when_no_worker_can_be_started_any_more(toy_run, tmp_path, monkeypatch):
    from chexkeras.inference import predictor, read_files
    from chexkeras.parallel import WorkersUnavailable

    folder, out = images_of(tmp_path / "images", count=3), tmp_path / "results.csv"
    arguments = ("predict", folder, "--run", toy_run.folder, "--workers", 0, "--out", out)
    intact = read_files.read_files

    def failing(paths, *positional, **options):
        yield from intact(paths[:2], *positional, **options)
        raise WorkersUnavailable("no process can be started.")

    monkeypatch.setattr(predictor, "read_files", failing)
    stopped = run(*arguments)
    assert stopped.exit_code == 2 and not out.exists()
    assert "error: no process can be started. The results of 2 files are kept; go on with" in stopped.output
    monkeypatch.undo()
    assert run(*arguments, "--resume").exit_code == 0


def test_train_refuses_a_taken_folder_before_reading_an_image(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("years of work")
    result = run("train", "--data", tmp_path, "--run", taken)
    assert result.exit_code == 2
    assert "no run folder" in result.output
