"""``chexkeras evaluate RUN --data``: the frozen run at another hospital."""

import shutil

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.runs.external import external_tests

pytestmark = pytest.mark.keras
OPTIONS = ["--image-column", "path", "--label-columns", "Fluid", "--patient-column", "patient_id"]


def chexkeras(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, " ".join((result.output + (result.stderr if result.stderr_bytes else "")).split())


@pytest.fixture(scope="module")
def listed(make_toy, tmp_path_factory):
    """A CSV of one's own, beside its images, which calls the finding otherwise."""
    folder = tmp_path_factory.mktemp("there")
    table = make_toy(folder, patients=60, images_each=1, seed=9).rename(columns={"Effusion": "Fluid"})
    table["path"] = table["image_id"]
    table[["path", "patient_id", "Fluid"]].to_csv(folder / "list.csv", index=False)
    return folder / "list.csv"


@pytest.fixture
def run(toy_run, tmp_path):
    return shutil.copytree(toy_run.folder, tmp_path / "run")


def test_the_run_is_measured_there_and_keeps_the_result(run, listed, tmp_path):
    words = ("evaluate", run, "--data", listed, *OPTIONS, "--name", "there", "--finding", "Effusion=Fluid")
    code, output = chexkeras(*words, "--out", tmp_path / "there.json")
    assert code == 0, output
    assert "External test 'there'" in output and "AUROC" in output and "frozen model and thresholds" in output
    (test,) = external_tests(run)
    assert test.name == "there" and test["Effusion"].label == "Fluid"
    assert (tmp_path / "there.json").is_file()
    code, output = chexkeras(*words)
    assert code != 0 and "--overwrite" in output
    code, output = chexkeras(*words, "--overwrite")
    assert code == 0, output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--name", "there"], "need --data"),
        (["--data", "LIST", *OPTIONS], "--finding Effusion="),
        (["--data", "LIST", *OPTIONS, "--name", "../there"], "name of an external test"),
        (["--data", "LIST", *OPTIONS, "--rule", "youden"], "leave --rule"),
        (["--data", "LIST", *OPTIONS, "--finding", "Effusion"], "RUNS=THEIRS"),
        (["--data", "LIST", *OPTIONS, "--finding", "Mass=Fluid"], "finding"),
        (["--data", "LIST", *OPTIONS, "--overlap", "keep"], "--overlap"),
        (["--data", "LIST", *OPTIONS, "--margin", "2"], "--margin"),
        (["--data", "LIST", *OPTIONS[:4], "--finding", "Effusion=Fluid"], "whose image is whose"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(run, listed, words, said):
    code, output = chexkeras("evaluate", run, *(listed if word == "LIST" else word for word in words))
    assert code != 0 and said in output and "Traceback" not in output
    assert not (run / "external").exists()
