import json

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", ["demo", "audit", "train", "evaluate", "predict", "report"])
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
    assert "Caution: Toy films." in plain.output
    assert "AUROC" in plain.output
    out = tmp_path / "evaluation.json"
    other = run("evaluate", toy_run.folder, "--rule", "specificity", "--target", "0.9", "--out", out)
    assert other.exit_code == 0
    assert json.loads(out.read_text())["findings"][0]["operating_point"]["rule"] == "specificity"
    assert run("evaluate", toy_run.folder, "--target", "0.9").exit_code == 2


@pytest.mark.keras
def test_predict_says_by_its_status_that_something_was_refused(toy_run, toy, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "page.dcm").write_text("<html>")
    refused = run("predict", folder, "--run", toy_run.folder, "--out", tmp_path / "results.csv")
    assert refused.exit_code == 3
    assert "0 accepted, 1 refused" in refused.output
    assert "not_dicom" in (tmp_path / "results.csv").read_text() or "unreadable" in refused.output


def test_train_refuses_a_taken_folder_before_reading_a_film(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("years of work")
    result = run("train", "--data", tmp_path, "--run", taken)
    assert result.exit_code == 2
    assert "no run folder" in result.output
