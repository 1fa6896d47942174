"""``chexkeras predict --dicomweb``: films from an archive, a table of results, results back into the archive."""

import csv
import io
import logging
import os
import tempfile
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.dicom.privacy import keyed_hash
from tests.delivery.dicomweb.conftest import send, told_of
from tests.dicom.dicom_images import CANARY, CANARY_UID, canary_image, leaks, write
from tests.dicom.objects.made import FILM, STUDY, film

pytest.importorskip("highdicom")
pytestmark = pytest.mark.keras


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("CHEXKERAS_HASH_KEY", "secret")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def call(archive, toy_run, tmp_path):
    def made(*words, out="r.csv", url=None):
        fixed = ["--run", str(toy_run.folder), "--out", str(tmp_path / out), "--workers", "0"]
        return CliRunner().invoke(app, ["predict", "--dicomweb", url or archive.url, *fixed, *words])

    return made


def said(done):
    return " ".join(done.output.split())


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def left(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith("chexkeras-")]


def test_a_study_is_scored_and_its_results_are_stored(archive, call, tmp_path, own_temporary_folder):
    archive.add(film(tmp_path / "one"))
    archive.add(film(tmp_path / "two", SOPInstanceUID=f"{FILM}.2", BodyPartExamined="HAND"))
    done = call("--study", STUDY, "--store-results", "--kinds", "sr,sc")
    assert done.exit_code == 3 and "3 DICOM objects are stored" in said(done), done.output
    found = rows(tmp_path / "r.csv")
    names = {f"{keyed_hash(STUDY)}/{keyed_hash(uid)}.dcm": uid for uid in (FILM, f"{FILM}.2")}
    assert {row["file"]: row["verdict"] for row in found} == dict(zip(names, ("warn", "reject"), strict=True))
    stored = [pydicom.dcmread(io.BytesIO(part)) for _, parts in archive.stored for part in parts]
    assert sorted(each.Modality for each in stored) == ["OT", "SR", "SR"]
    assert {each.StudyInstanceUID for each in stored} == {STUDY}
    assert left(own_temporary_folder) == []


def test_what_was_scored_is_kept_when_films_are_fetched_again(archive, call, tmp_path, monkeypatch):
    archive.add(film(tmp_path / "one"))
    assert call("--study", STUDY).exit_code == 0
    before = (tmp_path / "r.csv").read_bytes()

    def never(*_, **__):
        raise AssertionError("scored again")

    from chexkeras.inference.predictor import Predictor

    monkeypatch.setattr(Predictor, "score", never)
    assert call("--study", STUDY, "--resume").exit_code == 0
    assert (tmp_path / "r.csv").read_bytes() == before
    monkeypatch.delenv("CHEXKERAS_HASH_KEY")
    done = call("--study", STUDY, "--resume")
    assert done.exit_code == 2 and "--resume needs CHEXKERAS_HASH_KEY" in said(done)


def test_a_reading_order_names_patients_in_messages_though_the_films_are_gone(archive, call, tmp_path):
    archive.add(film(tmp_path / "one"))
    names = ("w.csv", "w.hl7", "w.json")
    done = call("--study", STUDY, *(word for name in names for word in ("--worklist", str(tmp_path / name))))
    assert done.exit_code == 0, done.output
    assert [row["file"] for row in rows(tmp_path / "w.csv")] == [f"{keyed_hash(STUDY)}/{keyed_hash(FILM)}.dcm"]
    assert all("Doe" in (tmp_path / name).read_text() for name in names[1:])


def test_films_of_a_date(archive, call, tmp_path):
    archive.add(film(tmp_path / "one"))
    assert call("--date", "20250102").exit_code == 0 and len(rows(tmp_path / "r.csv")) == 1
    archive.films.clear()
    done = call("--date", "20250103", out="other.csv")
    assert done.exit_code == 2 and "no computed or digital radiograph (CR, DX) of the date 20250103" in said(done)


def test_results_that_are_not_stored_end_with_the_reason_and_the_way_on(archive, call, tmp_path, own_temporary_folder):
    archive.add(film(tmp_path / "one"))
    archive.answer = lambda uids: (409, "application/json", told_of((), dict.fromkeys(uids, 0xA700)))
    done = call("--study", STUDY, "--store-results", "--kinds", "sr")
    assert done.exit_code == 2, done.output
    assert "1 of the results: 1 0xA700 (out of resources)" in said(done) and "--resume" in said(done)
    assert "The table of results is written" in said(done) and len(rows(tmp_path / "r.csv")) == 1
    assert left(own_temporary_folder) == []


def test_a_broken_archive_leaves_nothing(archive, call, tmp_path, own_temporary_folder):
    archive.add(film(tmp_path / "one"))
    archive.add(film(tmp_path / "two", SOPInstanceUID=f"{FILM}.2"))
    archive.handle = lambda h, path: path.endswith(f"{FILM}.2") and not send(h, b"<html>", "text/html")
    done = call("--study", STUDY, "--dicom-out", str(tmp_path / "objects"), "--kinds", "sr")
    assert done.exit_code == 2 and "multipart/related was expected" in said(done)
    assert not (tmp_path / "r.csv").exists() and not (tmp_path / "objects").exists()
    assert left(own_temporary_folder) == []


@pytest.mark.parametrize("moment", ["fetching", "scoring", "storing"])
def test_nothing_of_the_films_is_left_after_ctrl_c(archive, call, tmp_path, own_temporary_folder, monkeypatch, moment):
    archive.add(film(tmp_path / "one"))

    def interrupted(*_, **__):
        assert moment == "fetching" or left(own_temporary_folder)
        raise KeyboardInterrupt

    from chexkeras.delivery.dicomweb.archive import WebArchive
    from chexkeras.inference.predictor import Predictor

    where = {"fetching": (WebArchive, "_save"), "scoring": (Predictor, "records"), "storing": (WebArchive, "store")}
    monkeypatch.setattr(*where[moment], interrupted)
    done = call("--study", STUDY, "--store-results", "--kinds", "sr")
    assert done.exit_code == 130 and "interrupted" in said(done)
    assert left(own_temporary_folder) == [] and (tmp_path / "r.csv").exists() == (moment == "storing")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["folder", "--study", STUDY], "two sources of films"),
        ([], "needs --study UID"),
        (["--study", "a/b"], "a UID was expected"),
        (["--date", "tomorrow"], "YYYYMMDD"),
        (["--study", STUDY, "--most-films", "0"], "films"),
        (["--study", STUDY, "--kinds", "xx", "--store-results"], "xx"),
        (["--study", STUDY, "--dicomweb-ca", "none.pem"], "none.pem"),
    ],
)
def test_mistakes_in_the_call_are_told_before_anything_is_asked(archive, call, words, message):
    done = call(*words)
    assert done.exit_code == 2 and message in said(done), done.output
    assert archive.asked == []


@pytest.mark.parametrize("words", [["--study", STUDY], ["--store-results"], []])
def test_options_of_an_archive_need_one(toy_run, tmp_path, words):
    (tmp_path / "films").mkdir()
    folder = [str(tmp_path / "films")] if words else []
    done = CliRunner().invoke(app, ["predict", *folder, "--run", str(toy_run.folder), *words])
    assert done.exit_code == 2 and "--dicomweb URL" in said(done)


def test_identifiers_go_to_the_archive_and_nowhere_else(archive, call, tmp_path, caplog, capfd, toy_run):
    dataset = canary_image()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, CANARY_UID)
    archive.add(write(tmp_path / "canary", dataset))
    caplog.clear()
    capfd.readouterr()
    with caplog.at_level(logging.DEBUG):
        done = call("--study", CANARY_UID, "--store-results", "--kinds", "sr")
        archive.answer = lambda uids: (409, "application/json", told_of((), dict.fromkeys(uids, 0xC000)))
        failed = call("--study", CANARY_UID, "--store-results", "--kinds", "sr", out="other.csv")
    ((_, (content,)), _) = archive.stored
    assert pydicom.dcmread(io.BytesIO(content)).PatientName == CANARY and failed.exit_code == 2
    # How to go on repeats what the user typed, the study's UID among it.
    told = failed.output.split("go on with:")[0]
    assert leaks(done.output + told + caplog.text + " ".join(capfd.readouterr())) == []
    assert leaks((tmp_path / "r.csv").read_text()) == []


def test_the_library_that_is_missing_is_named_with_its_extra(archive, call, monkeypatch):
    import importlib

    real = importlib.import_module

    def missing(name, *rest):
        if name == "dicomweb_client":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    done = call("--study", STUDY)
    assert done.exit_code == 2 and "chexkeras[dicomweb]" in said(done)


def test_paths_of_films_are_the_owner_s_alone(archive, call, tmp_path, monkeypatch):
    from chexkeras.delivery.dicomweb import archive as module

    seen = []
    real = module.WebArchive.fetch

    def fetch(self, studies, folder):
        count = real(self, studies, folder)
        seen.extend(os.stat(path).st_mode & 0o077 for path in (folder, *Path(folder).rglob("*")))
        return count

    monkeypatch.setattr(module.WebArchive, "fetch", fetch)
    archive.add(film(tmp_path / "one"))
    assert call("--study", STUDY).exit_code == 0 and len(seen) == 3 and not any(seen)
