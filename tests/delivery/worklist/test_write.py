"""``chexkeras worklist`` and ``predict --worklist``: what is written where, and where patients are named."""

import csv
import json
import logging
import stat

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.delivery import write_worklist
from chexkeras.inference.results_file import read_results, write_results
from chexkeras.runs.run import Run
from tests.delivery.worklist.conftest import told
from tests.dicom.dicom_images import CANARY, CANARY_DATE, CANARY_UID, canary_image, leaks, write
from tests.dicom.objects.made import STUDY

pytestmark = pytest.mark.keras


@pytest.fixture
def threshold(toy_run):
    return Run.load(toy_run.folder).operating_points[0].threshold


@pytest.fixture
def results(tmp_path, threshold):
    """Results as `predict` writes them: a positive film, two refused (one named like a formula), a negative one."""
    records = [
        told("three", threshold / 2, threshold=threshold),
        told("two"),
        told("one", (1 + threshold) / 2, threshold=threshold),
        told("./=notes"),
    ]
    rest = {"view": "", "age_years": float("nan"), "decoder": "", "seconds": 0.1, "fingerprint": "x"}
    write_results(tmp_path / "r.csv", [{**record, **rest} for record in records])
    return tmp_path / "r.csv"


@pytest.fixture
def call(toy_run):
    def made(*words):
        return CliRunner().invoke(app, ["worklist", *map(str, words), "--run", str(toy_run.folder)])

    return made


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def said(done):
    return " ".join(done.output.split())


def test_the_table_has_every_film_in_its_order_with_provenance_in_every_row(results, call, tmp_path):
    done = call(results, "--out", tmp_path / "w.csv")
    assert done.exit_code == 0 and "1 positive, then 2 not assessed, then 1 negative" in said(done), done.output
    found = rows(tmp_path / "w.csv")
    assert [(row["rank"], row["file"], row["group"]) for row in found] == [
        ("1", "one", "positive"), ("2", "./=notes", "not assessed"), ("3", "two", "not assessed"),
        ("4", "three", "negative"),
    ]  # fmt: skip
    assert found[1]["why"] == "modality: expected DX or CR; found CT" and found[1]["score"] == ""
    assert float(found[0]["margin"]) == pytest.approx(0.5) and float(found[3]["margin"]) == pytest.approx(-0.5)
    for column in ("algorithm", "version", "run", "use", "cautions"):
        assert len({row[column] for row in found}) == 1 and found[0][column]
    assert found[0]["use"] == "NOT FOR CLINICAL USE" and "Toy images." in found[0]["cautions"]


def test_the_same_results_give_the_same_table_whatever_their_format(results, call, tmp_path):
    write_results(tmp_path / "r.jsonl", read_results(results)[::-1])
    for name in ("r.csv", "r.jsonl"):
        assert call(tmp_path / name, "--out", tmp_path / f"{name}.csv").exit_code == 0
    assert (tmp_path / "r.csv.csv").read_bytes() == (tmp_path / "r.jsonl.csv").read_bytes()


def test_messages_are_their_owner_s_alone_and_say_which_films_have_none(results, films, call, tmp_path):
    (films / "=notes").write_text("no film")
    done = call(results, "--films", films, *(word for name in ("w.hl7", "w.json", "w.csv")
                                             for word in ("--out", tmp_path / name)))  # fmt: skip
    assert done.exit_code == 0 and "with identifiers of patients" in said(done), done.output
    assert "1 film(s) without a message, which the table (.csv) has" in said(done)
    text = (tmp_path / "w.hl7").read_text()
    assert text.count("MSH|") == 2 and "Doe^Jane" in text and STUDY in text
    assert json.loads((tmp_path / "w.json").read_text())["resourceType"] == "Bundle"
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("w.hl7", "w.json")] == [0o600, 0o600]
    # An earlier one may be replaced.
    assert call(results, "--films", films, "--out", tmp_path / "w.hl7", "--out", tmp_path / "w.json").exit_code == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.txt", None, "a worklist is written as .csv"),
        ("w.hl7", None, "give the folder of the films"),
        ("w.json", None, "give the folder of the films"),
        ("w.csv", "a,b\n", "is not an output of this command"),
        ("r.csv", None, "named twice"),
    ],
)
def test_what_cannot_be_written_is_told_and_nothing_is(results, call, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    done = call(results, "--out", tmp_path / name)
    assert done.exit_code == 2 and message in said(done), done.output
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}


@pytest.mark.parametrize("name", ["w.json", "w.hl7"])
def test_files_of_others_are_not_replaced_by_messages(results, films, call, tmp_path, name):
    (tmp_path / name).write_text('{"resourceType": "Bundle", "identifier": {"system": "theirs"}}')
    done = call(results, "--films", films, "--out", tmp_path / name)
    assert done.exit_code == 2 and "is not an output of this command" in said(done)


def test_results_of_another_run_are_refused(toy_run, tmp_path, threshold):
    for record, message in (
        (told("one", 0.9, threshold=threshold / 3), "are of another run"),
        ({**told("one", 0.9, threshold=threshold), "findings": [
            {"finding": "Hernia", "score": 0.9, "threshold": threshold, "decision": "positive"}]}, "no such finding"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            write_worklist(toy_run, [record], tmp_path / "w.csv")
    with pytest.raises(ValueError, match="no results to order"):
        write_worklist(toy_run, [], tmp_path / "w.csv")
    assert not (tmp_path / "w.csv").exists()


def test_results_that_are_not_there_or_something_else_are_told(call, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    for name, message in (("none.csv", "none.csv"), ("x.csv", "no file of results")):
        done = call(tmp_path / name, "--out", tmp_path / "w.csv")
        assert done.exit_code == 2 and message in said(done), done.output


def test_identifiers_are_in_the_messages_and_in_nothing_else(toy_run, tmp_path, caplog, capfd):
    folder = tmp_path / "canaries"
    folder.mkdir()
    for name, tags in (("scored", {}), ("refused", {"Modality": "CT"})):
        dataset = canary_image(**tags)
        dataset.PatientBirthDate, dataset.StudyDate = CANARY_DATE, CANARY_DATE
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
            setattr(dataset, keyword, CANARY_UID)
        write(folder / name, dataset)
    caplog.clear()
    capfd.readouterr()
    outputs = [str(tmp_path / name) for name in ("w.csv", "w.hl7", "w.json")]
    with caplog.at_level(logging.DEBUG):
        done = CliRunner().invoke(
            app,
            ["predict", str(folder), "--run", str(toy_run.folder), "--out", str(tmp_path / "r.csv"), "--workers", "0",
             *(word for path in outputs for word in ("--worklist", path))],
        )  # fmt: skip
    assert done.exit_code == 3, done.output
    family = CANARY.split("^")[0]
    for name in ("w.hl7", "w.json"):
        text = (tmp_path / name).read_text()
        assert family in text and CANARY_UID in text and (tmp_path / name).stat().st_mode & 0o077 == 0
        # What is not needed to find the patient and the study again is not taken along.
        assert text.count(family) <= 3 * 2, name
    assert leaks(done.output + caplog.text + " ".join(capfd.readouterr())) == []
    assert leaks((tmp_path / "w.csv").read_text()) == [] and len(rows(tmp_path / "w.csv")) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [("w.txt", "a worklist is written as"), ("r.csv", "named twice"), ("films/w.csv", "in the folder of the films")],
)
def test_predict_checks_worklists_before_anything_is_scored(toy_run, films, tmp_path, name, message):
    done = CliRunner().invoke(app, ["predict", str(films), "--run", str(toy_run.folder), "--out",
                                    str(tmp_path / "r.csv"), "--worklist", str(tmp_path / name)])  # fmt: skip
    assert done.exit_code == 2 and message in said(done) and not (tmp_path / "r.csv").exists()
