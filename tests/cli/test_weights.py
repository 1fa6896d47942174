import json

import pytest
from typer.testing import CliRunner

from chexkeras.cli import presets as command
from chexkeras.cli.app import app
from chexkeras.models.weights.sources import WEIGHTS
from tests.models.weights.torch_files import TorchFile, random_densenet

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, ["weights", *map(str, arguments)])


def test_the_command_is_there():
    assert callable(command.weights)
    assert run("--help").exit_code == 0


def test_every_source_is_listed_with_what_decides_its_use():
    result = run()
    assert result.exit_code == 0
    for source in WEIGHTS.values():
        assert f"{source.name}: {source.title}" in result.output
        assert f"  file: {source.where}" in result.output
        assert f"licence: {source.licence}" in result.output
    assert result.output.count("SHA-256: not published") >= 7
    assert "seen: NIH ChestX-ray14" in result.output


def test_one_source_is_told_with_its_quotations():
    result = run("xrv-nih")
    assert 'the authors: "it was trained on a random split of the dataset"' in result.output
    assert "-1024 to 1024, one channel" in result.output
    assert json.loads(run("xrv-nih", "--json").output)["xrv-nih"]["checksum"] == "not published"


def test_an_unknown_name_is_told_with_the_nearest():
    result = run("xrv-nhi")
    assert result.exit_code == 2
    assert "did you mean 'xrv-nih'" in result.output


def test_a_file_is_looked_into(tmp_path):
    file = TorchFile(legacy=True)
    path = file.save(tmp_path / "theirs.pt", file.module("torchxrayvision.models DenseNet", random_densenet(1)))
    result = run("xrv-pc", "--weights-file", path)
    assert result.exit_code == 0
    assert "layout: PyTorch" in result.output
    assert "spread over three equal channels" in result.output
    found = json.loads(run("--weights-file", path, "--json").output)
    assert (found["source"], found["seen"], found["normalisation"]) == ("not stated", None, "signed_1024")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--weights", "xrv-all"), "need their file"),
        (("--weights", "xrv-all", "--weights-file", "page.pt"), "is a web page, not weights"),
        (("--weights", "page.pt"), "is a web page, not weights"),
        (("--weights", "none", "--weights-file", "page.pt"), "names none"),
        (("--weights", "xrv-all", "--set", "backbone=ResNet50"), "are of DenseNet121, and backbone='ResNet50'"),
    ],
)
def test_train_refuses_bad_weights_before_it_looks_at_images(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.pt").write_text("<!DOCTYPE html>")
    result = runner.invoke(app, ["train", "--data", "no-images", "--run", "runs/a", *options])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert not (tmp_path / "runs").exists()
