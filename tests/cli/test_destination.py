"""Where commands write: never over a run's evidence, an input or a file of another kind."""

import shutil

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.cli.destination import check_destination, heading, object_with, table_of

TABLE = {".csv": table_of("file", "verdict")}


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("name", "before", "kinds"),
    [
        ("new.csv", None, TABLE),
        ("empty.csv", "", TABLE),
        ("own.csv", "file,verdict,code\nx,accept,\n", TABLE),
        ("own.JSON", '{"findings": [],\n "split": "test"}', {".json": object_with("findings")}),
        ("own.md", "# FDA  Submission\n\ntext", {".md": heading("FDA", "Submission")}),
    ],
)
def test_new_files_and_earlier_outputs_may_be_written(tmp_path, name, before, kinds):
    out = tmp_path / name
    if before is not None:
        out.write_text(before)
    assert check_destination(out, "--out", kinds) == out


@pytest.mark.parametrize(
    ("name", "before", "kinds", "message"),
    [
        ("images.csv", b"Image Index,Finding Labels\n", TABLE, "not an output of this command"),
        ("image.csv", b"\x89PNG\r\n\x1a\n\xff", TABLE, "not an output of this command"),
        ("other.json", b"[1]", {".json": object_with("findings")}, "not an output of this command"),
        ("README.md", b"# chexkeras\n", {".md": heading("FDA")}, "not an output of this command"),
        ("notes.csv", b"\nyears of work\n", TABLE, "not an output of this command"),
        ("out.txt", None, TABLE, "must end in .csv"),
    ],
)
def test_anything_else_is_refused_and_stays(tmp_path, name, before, kinds, message):
    out = tmp_path / name
    if before is not None:
        out.write_bytes(before)
    with pytest.raises(ValueError, match=message):
        check_destination(out, "--out", kinds)
    assert before is None or out.read_bytes() == before


@pytest.mark.keras
def test_no_command_writes_into_a_run(toy_run, tmp_path):
    folder = shutil.copytree(toy_run.folder, tmp_path / "run")
    twin = shutil.copytree(toy_run.folder, tmp_path / "twin")
    images = tmp_path / "images"
    images.mkdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for arguments in (
        ("evaluate", folder, "--out", folder / "evaluation.json"),
        ("compare", folder, twin, "--out", folder / "scores_test.csv"),
        ("predict", images, "--run", folder, "--out", folder / "table.csv"),
        ("report", folder, "--out", folder / "report.md"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, arguments
        assert "lies in the run folder 'run'" in " ".join(result.output.split()), arguments
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.keras
def test_runs_of_one_name_are_told_apart_by_their_folders_and_one_given_twice_is_refused(toy_run, tmp_path):
    folders = [shutil.copytree(toy_run.folder, tmp_path / name / "run") for name in ("a", "b")]
    result = run("compare", *folders)
    assert result.exit_code == 0, result.output
    assert "a-run is not distinguishable from b-run" in " ".join(result.output.split())
    twice = run("compare", folders[0], folders[0])
    assert twice.exit_code == 2
    assert "given twice" in twice.output


def test_an_audit_does_not_replace_the_label_file(tmp_path):
    labels = tmp_path / "Data_Entry_2017.csv"
    labels.write_text("Image Index,Finding Labels\n")
    result = run("audit", tmp_path, "--out", labels)
    assert result.exit_code == 2
    assert "must end in .json" in result.output
    assert labels.read_text() == "Image Index,Finding Labels\n"
