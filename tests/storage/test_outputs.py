"""What is written to an object store appears whole or not at all, and what was done until then is kept here."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from chexkeras import files, progress, storage
from chexkeras.dicom.workers.options import IN_PROCESS
from chexkeras.inference.results_file import read_results
from chexkeras.inference.score_folder import score_folder
from chexkeras.storage import NotUploaded, Remote, drivers

# The package has a function of the same name.
module = sys.modules["chexkeras.inference.score_folder"]

pytestmark = pytest.mark.keras


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setenv(storage.CACHE_VARIABLE, str(folder))
    return folder


@pytest.fixture
def films(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).normal(0, 20, (300, 280))
        pixels = np.add.outer(np.linspace(0, 128, 300), np.linspace(0, 127, 280)) + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def score(run, folder, **options):
    return score_folder(run, folder, keep=False, read_options=IN_PROCESS, **options)


def in_bucket(bucket):
    try:
        return storage.files_below(Remote(bucket))
    except FileNotFoundError:
        return []


def test_results_are_those_of_a_file_here_and_are_read_back(toy_run, films, bucket, tmp_path, cache):
    here, there = tmp_path / "results.csv", f"{bucket}/deep/results.csv"
    score(toy_run, films, out=here)
    score(toy_run, films, out=there)
    assert in_bucket(bucket) == [there]
    first, second = read_results(here), read_results(Remote(there))
    for record in (*first, *second):
        record.pop("seconds")
    assert first == second
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_an_interrupted_run_leaves_nothing_there_and_goes_on_from_here(toy_run, films, bucket, cache, monkeypatch):
    out = f"{bucket}/results.jsonl"

    def breaking_off(records, *_, **__):
        for number, record in enumerate(records):
            if number == 2:
                raise KeyboardInterrupt
            yield record

    monkeypatch.setattr(module, "track", breaking_off)
    with pytest.raises(KeyboardInterrupt):
        score(toy_run, films, out=out)
    assert in_bucket(bucket) == []
    (journal,) = [path for path in cache.rglob("*") if path.is_file()]
    assert journal.parent.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(module, "track", progress.track)
    with pytest.raises(ValueError, match=r"results of 2 files in .* give resume=True"):
        score(toy_run, films, out=out)
    asked = []
    monkeypatch.setattr(module, "track", lambda records, what, count, **_: asked.append(count) or records)
    score(toy_run, films, out=out, resume=True)
    assert asked == [1]
    assert len(read_results(Remote(out))) == 3
    assert not journal.exists()
    score(toy_run, films, out=out, resume=True)
    assert asked == [1, 0]


def test_what_does_not_get_there_is_kept_whole_and_goes_up_with_resume(toy_run, films, bucket, cache, monkeypatch):
    out, real = f"{bucket}/results.csv", storage.writing.put
    monkeypatch.setattr(storage.writing, "put", failing)
    with pytest.raises(NotUploaded, match=r"is gone; what was to be written there is kept, whole, in '.*output.csv'"):
        score(toy_run, films, out=out)
    assert in_bucket(bucket) == []
    (kept,) = cache.rglob("*.csv")
    assert len(read_results(kept)) == 3
    monkeypatch.setattr(storage.writing, "put", real)
    asked = []
    monkeypatch.setattr(module, "track", lambda records, what, count, **_: asked.append(count) or records)
    score(toy_run, films, out=out, resume=True)
    assert asked == [0]
    assert in_bucket(bucket) == [out]
    assert not kept.exists()


def failing(place, content):
    raise ConnectionError("the store is gone")


def test_results_among_the_films_are_no_film(toy_run, films, s3):
    url = s3(films, "s3://bucket/films")
    for resume in (False, True):
        assert score(toy_run, url, out=f"{url}/results.csv", resume=resume)["file"].nunique() == 3


def test_what_cannot_be_written_is_said_before_anything_is_done(toy_run, films, s3, monkeypatch):
    monkeypatch.setattr(storage, "check_writable", refusing)
    monkeypatch.setattr(module, "files_by_name", lambda *_, **__: pytest.fail("work was begun"))
    with pytest.raises(PermissionError, match="out: no"):
        score(toy_run, films, out="s3://bucket/results.csv")


def refusing(place, name):
    raise PermissionError(f"{name}: no")


def test_the_check_leaves_nothing_there(bucket):
    file = Remote(f"{bucket}/results.csv")
    storage.check_writable(file, "out")
    assert in_bucket(bucket) == []
    storage.put(file, b"earlier")
    storage.check_writable(file, "out")
    assert storage.content(file.url, 10) == b"earlier"
    if bucket.startswith("s3:"):
        assert drivers._driver("s3").call_s3("list_multipart_uploads", Bucket="bucket").get("Uploads", []) == []


def test_a_machine_that_has_no_place_for_what_is_on_its_way_is_told_before_work(bucket, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(storage.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"nothing can be kept in '.*file' on this machine .* in CHEXKERAS_CACHE\."):
        storage.check_writable(Remote(f"{bucket}/audit.json"), "--out")


def test_a_bucket_that_is_not_there_is_said_to_be_so(s3, server):
    with pytest.raises(FileNotFoundError, match=r"^out: nothing can be written to 's3://other-bucket/a.csv': nothing"):
        storage.check_writable(Remote("s3://other-bucket/a.csv"), "out")


def test_a_large_file_goes_up_in_parts_and_appears_whole(bucket, tmp_path, monkeypatch):
    (tmp_path / "large").write_bytes(bytes(range(256)) * 4 * 2**10)
    monkeypatch.setattr(storage.writing, "_ONE_REQUEST_BYTES", 2**10)
    storage.put(Remote(f"{bucket}/large"), tmp_path / "large")
    assert storage.content(f"{bucket}/large", 2**21) == (tmp_path / "large").read_bytes()


def run_command(*words):
    from chexkeras.cli import app

    return CliRunner().invoke(app, [str(word) for word in words])


def test_commands_write_there_and_to_file_addresses(toy_run, films, bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = toy_run.folder
    out, listed = f"{bucket}/results.csv", f"{bucket}/worklist.csv"
    done = run_command("predict", films, "--run", run, "--out", out, "--worklist", listed, "--workers", 0)
    assert done.exit_code == 0, done.output
    assert f"written: {out}" in done.output
    assert in_bucket(bucket) == [out, listed]
    before = storage.content(listed, 10**6)
    done = run_command("worklist", out, "--run", run, "--out", listed, "--out", f"file://{tmp_path}/list.csv")
    assert done.exit_code == 0, done.output
    assert storage.content(listed, 10**6) == before == (tmp_path / "list.csv").read_bytes()
    done = run_command("predict", films, "--run", run, "--out", f"file://{tmp_path}/here.csv", "--workers", 0)
    assert done.exit_code == 0, done.output
    assert len(read_results(tmp_path / "here.csv")) == 3
    assert not (tmp_path / "file:").exists()


def test_commands_refuse_what_may_not_be_written(toy_run, films, bucket):
    run = toy_run.folder
    storage.put(Remote(f"{bucket}/notes.csv"), b"years,of,work\n")
    for words, told in {
        ("predict", films, "--run", run, "--out", f"{bucket}/notes.csv"): "is not an output of this command",
        ("predict", films, "--run", run, "--out", f"{bucket}/results.txt"): "must end in .csv or .jsonl",
        ("worklist", films / "0.png", "--run", run, "--out", f"{bucket}/list.hl7"): "messages name patient and study",
        ("predict", films, "--run", run, "--out", "s3://KEY:hidden@bucket/a.csv"): "holds a user, a key or a server",
    }.items():
        done = run_command(*words)
        assert (done.exit_code, "hidden" in done.output) == (2, False), done.output
        assert told in " ".join(done.output.split())
    assert storage.content(f"{bucket}/notes.csv", 100) == b"years,of,work\n"
    assert in_bucket(bucket) == [f"{bucket}/notes.csv"]


def test_an_audit_is_written_there_and_kept_here_where_it_does_not_get_there(toy, bucket, tmp_path, monkeypatch):
    rows = pd.DataFrame({"file": toy["image_id"][:6], "edema": [0, 1] * 3, "who": range(6)})
    rows.to_csv(tmp_path / "table.csv", index=False)
    columns = ("--image-column", "file", "--label-columns", "edema", "--patient-column", "who")
    words = ("audit", tmp_path / "table.csv", *columns, "--images", Path(toy["path"][0]).parent, "--no-pixels")
    done = run_command(*words, "--out", f"{bucket}/audit.json")
    assert done.exit_code == 0, done.output
    assert "issues" in json.loads(storage.content(f"{bucket}/audit.json", 10**6))
    done = run_command(*words, "--out", f"{bucket}/audit.json")
    assert done.exit_code == 0, done.output
    monkeypatch.setattr(storage.writing, "put", failing)
    done = run_command(*words, "--out", f"{bucket}/second.json")
    assert done.exit_code == 2
    kept = " ".join(done.output.split()).partition("kept, whole, in '")[2].partition("'")[0].replace(" ", "")
    assert "issues" in files.read_json(kept)
