import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from PIL import Image

from chexkeras.dicom.privacy import HASH_KEY_VARIABLE, keyed_hash
from chexkeras.dicom.workers.options import IN_PROCESS
from chexkeras.inference.predictor import Predictor
from chexkeras.inference.results_file import Journal, read_results, write_results
from chexkeras.inference.score_folder import score_folder
from chexkeras.runs.run import Run

# The package has a function of the same name.
module = sys.modules["chexkeras.inference.score_folder"]

pytestmark = pytest.mark.keras


@pytest.fixture
def run(toy_run, tmp_path):
    """A copy of the toy run, since results are written into it."""
    return Run.load(shutil.copytree(toy_run.folder, tmp_path / "run"))


def image(path, seed=0):
    """Writes a noisy slope as a PNG file."""
    noise = np.random.default_rng(seed).normal(0, 20, (300, 280))
    slope = np.add.outer(np.linspace(0, 128, 300), np.linspace(0, 127, 280))
    Image.fromarray(np.clip(slope + noise, 0, 255).astype(np.uint8)).save(path, "PNG")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    (folder / "inner").mkdir(parents=True)
    image(folder / "inner" / "image.png")
    image(folder / "other", seed=1)
    (folder / "broken.dcm").write_bytes(b"")
    return folder


@pytest.fixture
def scored(monkeypatch):
    """The names of the files that are scored, in order, over all runs of a test."""
    names, records = [], Predictor.records

    def noting(self, paths, **options):
        paths = list(paths)
        names.extend(path.name for path in paths)
        return records(self, paths, **options)

    monkeypatch.setattr(Predictor, "records", noting)
    return names


class Interrupted(BaseException):
    """What Ctrl-C raises."""


@pytest.fixture
def interrupted_after(monkeypatch):
    """Makes the progress bar break off after so many files: ``interrupted_after(1)``."""

    def prepare(count):
        def breaking(items, description, total, **_):
            for number, item in enumerate(items):
                if number == count:
                    raise Interrupted
                yield item

        return monkeypatch.setattr(module, "track", breaking)

    return prepare


def score(run, folder, **options):
    return score_folder(run, folder, **{"read_options": IN_PROCESS, "keep": False, **options})


def test_results_name_files_relative_to_the_folder_and_stay_with_the_run(run, folder):
    assert run.dicom_results is None
    results = score_folder(run, folder)
    assert results["file"].tolist() == ["broken.dcm", "inner/image.png", "other"]
    assert results["decision"].isin(["positive", "negative"]).tolist() == [False, True, True]
    kept = run.dicom_results
    assert kept["file"].tolist() == results["file"].tolist()
    np.testing.assert_allclose(pd.to_numeric(kept["score"]), results["score"])


def test_a_run_that_is_not_to_change_does_not(run, folder):
    before = sorted(path.name for path in run.folder.iterdir())
    assert len(score(run, folder)) == 3
    assert sorted(path.name for path in run.folder.iterdir()) == before


def test_the_same_results_are_written_as_a_table_and_as_lines(run, folder, tmp_path):
    results = score(run, folder, out=tmp_path / "results.csv")
    score(str(run.folder), folder, out=tmp_path / "results.jsonl", keep=True)
    table = pd.read_csv(tmp_path / "results.csv")
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert table["file"].tolist() == [line["file"] for line in lines] == results["file"].tolist()
    assert table["score"].dropna().tolist() == [row["score"] for line in lines for row in line["findings"]]
    assert table["fingerprint"].tolist() == [line["fingerprint"] for line in lines]
    assert (run.folder / "dicom_results.csv").read_text().splitlines()[0] == ",".join(table.columns)
    assert [path.name for path in tmp_path.iterdir() if "journal" in path.name] == []


def test_an_interrupted_run_goes_on_where_it_stopped(run, folder, tmp_path, scored, interrupted_after):
    out = tmp_path / "results.csv"
    interrupted_after(2)
    with pytest.raises(Interrupted):
        score(run, folder, out=out)
    assert not out.exists()
    assert len((tmp_path / ".results.csv.journal").read_text().splitlines()) == 2
    scored.clear()
    interrupted_after(10)
    with pytest.raises(ValueError, match=r"results of 2 files in .*results\.csv\.journal'; give resume=True"):
        score(run, folder, out=out)
    results = score(run, folder, out=out, resume=True)
    assert scored == ["other"]
    assert pd.read_csv(out)["file"].tolist() == results["file"].tolist() == ["broken.dcm", "inner/image.png", "other"]
    assert not (tmp_path / ".results.csv.journal").exists()
    fresh = score(run, folder)
    columns = [name for name in fresh.columns if name != "seconds"]
    pd.testing.assert_frame_equal(fresh[columns], results[columns])


@pytest.mark.parametrize("name", ["results.csv", "results.jsonl"])
def test_a_later_run_scores_what_is_new_or_changed_only(run, folder, tmp_path, scored, name, capsys):
    out = tmp_path / name
    first = score(run, folder, out=out)
    scored.clear()
    image(folder / "new", seed=2)
    image(folder / "inner" / "image.png", seed=3)
    os.utime(folder / "inner" / "image.png", (time.time() + 9, time.time() + 9))
    (folder / "broken.dcm").unlink()
    with pytest.raises(ValueError, match="1 of the 3 files in the earlier results are not in this folder"):
        score(run, folder, out=out, resume=True)
    assert len(read_results(out)) == 3
    assert scored == []
    second = score(run, folder, out=out, resume=True, overwrite=True)
    assert "1 of 3 earlier results are left out: their files are not here\n" in capsys.readouterr().err
    assert scored == ["image.png", "new"]
    assert second["file"].tolist() == ["inner/image.png", "new", "other"]
    assert second["score"][2] == first["score"][2]
    assert second["score"][0] != first["score"][1]


def test_another_model_threshold_or_rule_keeps_no_row(run, folder, tmp_path, scored):
    out = tmp_path / "results.csv"
    score(run, folder, out=out)
    scored.clear()
    score(run, folder, out=out, profile="course", resume=True)
    assert scored == ["broken.dcm", "image.png", "other"]


def test_without_resume_everything_is_scored_again(run, folder, tmp_path, scored):
    score(run, folder, out=tmp_path / "results.csv")
    score(run, folder, out=tmp_path / "results.csv")
    assert len(scored) == 6


def test_results_among_the_images_are_no_images(run, folder):
    for _ in range(2):
        results = score(run, folder, out=folder / "results.csv", resume=True)
        assert "results.csv" not in set(results["file"])
    (folder / "only").mkdir()
    (folder / "only" / "results.csv").write_text("x")
    with pytest.raises(ValueError, match=r"no file in .* but the results"):
        score(run, folder / "only", out=folder / "only" / "results.csv")


def test_hashed_names_are_pseudonyms_that_the_key_finds_again(run, folder, monkeypatch, tmp_path):
    monkeypatch.delenv(HASH_KEY_VARIABLE, raising=False)
    with pytest.raises(ValueError, match=f"set the environment variable {HASH_KEY_VARIABLE}"):
        score(run, folder, names="hashed")
    monkeypatch.setenv(HASH_KEY_VARIABLE, "secret")
    (folder / "inner").rename(folder / "DOE^JOHN")
    results = score(run, folder, names="hashed", out=tmp_path / "results.jsonl", keep=True)
    assert set(results["file"]) == {keyed_hash(n, "secret") for n in ("broken.dcm", "DOE^JOHN/image.png", "other")}
    written = (tmp_path / "results.jsonl").read_text() + (run.folder / "dicom_results.csv").read_text()
    assert "DOE" not in written and "image" not in written.replace("an image", "")


def test_names_that_are_no_text_or_look_like_formulas_are_written_harmlessly(run, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    odd = [b"=1+1.png", b"@cmd", b"na\xefve", b"line\nbreak", b"cr\rhere", "＝1".encode()]
    for name in odd:
        image(os.path.join(os.fsencode(folder), name))
    results = score(run, folder, out=tmp_path / "results.csv")
    assert set(results["file"]) == {"./=1+1.png", "./@cmd", r"na\udcefve", r"line\nbreak", r"cr\rhere", "./＝1"}
    assert (results["verdict"] != "reject").all()
    assert set(pd.read_csv(tmp_path / "results.csv")["file"]) == set(results["file"])


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("IM0001.dcm", "IM0001.dcm"),
        ("sub dir/naïve (2); 胸部 \u200d.dcm", "sub dir/naïve (2); 胸部 \u200d.dcm"),
        ("+1", "./+1"),
        ("-1", "./-1"),
        ("  =1", "./  =1"),
        ('"=1"', './"=1"'),
        ("＝1", "./＝1"),
        ("＋1", "./＋1"),
        ("－1", "./－1"),
        ("＠x", "./＠x"),
        ("\n=1", r"\n=1"),
        ("\t=1", r"\t=1"),
        (";=1+1.dcm", r"\x3b=1+1.dcm"),
        ("a; -b;c", r"a\x3b -b;c"),
        ("a\\b", r"a\\b"),
        ("\x1b[31m\u2028", r"\x1b[31m\u2028"),
        ("gpj.\u202emcd.film", r"gpj.\u202emcd.film"),
    ],
)
def test_names_are_written_so_that_no_spreadsheet_calculates_with_them(name, written):
    assert module._shown(Path(name).as_posix(), "path") == written


@example(r"\udcff")
@example("\udcff")
@given(st.text(st.characters(exclude_characters="\0/") | st.sampled_from("=+-@;\\\udcff\"' nx3bu"), min_size=1))
def test_the_name_of_a_file_can_be_found_from_its_name_in_the_results(name):
    assume(name != ".")
    written = module._shown(Path(name).as_posix(), "path").removeprefix("./")
    assert written.encode("raw_unicode_escape").decode("unicode_escape") == name


def test_files_whose_names_look_alike_have_a_row_each(run, tmp_path, monkeypatch):
    folder = tmp_path / "odd"
    folder.mkdir()
    image(folder / r"\udcff.dcm")
    for name in (b"\xff.dcm", b"\xfe.dcm"):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(b"")
    monkeypatch.setenv(HASH_KEY_VARIABLE, "secret")
    for names in ("path", "hashed"):
        results = score(run, folder, names=names)
        assert results["file"].nunique() == 3
        assert sorted(results["verdict"]) == ["reject", "reject", "warn"]
    monkeypatch.setattr(module, "keyed_hash", lambda name: "0123456789abcdef")
    with pytest.raises(ValueError, match="two files have the name '0123456789abcdef' in the results; rename one"):
        score(run, folder, names="hashed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": "hash"}, "names='hash'; did you mean 'hashed'"),
        ({"out": "results.txt"}, r"ends in '\.txt'"),
        ({"resume": True}, "resume=True needs a file"),
        ({"profile": "clinic"}, "did you mean 'clinical'"),
        (
            {"out": "a_folder.csv/results.csv"},
            r"no results can be written into '.*a_folder\.csv' \(.*\); choose a folder",
        ),
    ],
)
def test_mistakes_are_told_before_the_model_is_loaded(run, folder, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_folder.csv").write_text("is a file")
    monkeypatch.setattr(Predictor, "load", lambda *_: pytest.fail("loaded"))
    with pytest.raises((ValueError, OSError), match=message):
        score(run, folder, **options)


def test_a_run_folder_that_cannot_keep_results_is_told_before_the_model_is_loaded(run, folder, monkeypatch):
    def refusing(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(Predictor, "load", lambda *_: pytest.fail("loaded"))
    monkeypatch.setattr(module.tempfile, "TemporaryFile", refusing)
    with pytest.raises(
        PermissionError, match=r"cannot be kept in the run folder .*run' \(Permission denied\); give keep"
    ):
        score(run, folder, keep=True)


def test_a_folder_that_is_not_there_is_told(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder at"):
        score(run, tmp_path / "nowhere")


def test_results_under_other_names_are_not_taken_up_and_stay(run, folder, monkeypatch, tmp_path):
    monkeypatch.setenv(HASH_KEY_VARIABLE, "a key of sufficient length")
    out = tmp_path / "results.csv"
    score(run, folder, names="hashed", out=out)
    before = out.read_bytes()
    with pytest.raises(ValueError, match="names='hashed', --names hashed"):
        score(run, folder, out=out, resume=True)
    assert out.read_bytes() == before
    again = score(run, folder, names="hashed", out=out, resume=True)
    assert len(again) == 3


@pytest.fixture
def other(tmp_path):
    """A folder with one file of the same name as one in `folder`."""
    other = tmp_path / "other"
    (other / "inner").mkdir(parents=True)
    image(other / "inner" / "image.png", seed=4)
    return other


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["results.csv", "results.jsonl"])
def test_results_of_another_folder_are_not_lost_unasked(run, folder, other, tmp_path, monkeypatch, name, resume):
    out = tmp_path / name
    score(run, folder, out=out)
    before = out.read_bytes()
    with monkeypatch.context() as unloaded:
        unloaded.setattr(Predictor, "load", lambda *_: pytest.fail("loaded"))
        with pytest.raises(ValueError, match=r"2 of the 3 files in the earlier results .* overwrite=True"):
            score(run, other, out=out, resume=resume)
        (other / "inner").rename(other / "elsewhere")
        with pytest.raises(ValueError, match=r"none of the 3 files in the earlier results .* overwrite=True"):
            score(run, other, out=out, resume=resume)
    assert out.read_bytes() == before
    assert not Journal(out).path.exists()
    replaced = score(run, other, out=out, resume=resume, overwrite=True)
    assert replaced["file"].tolist() == ["elsewhere/image.png"] == [record["file"] for record in read_results(out)]


def test_what_an_interrupted_run_did_is_not_taken_for_another_folder_and_goes_only_when_asked(
    run, folder, other, tmp_path, scored, interrupted_after, monkeypatch
):
    out = tmp_path / "results.csv"
    with monkeypatch.context():
        interrupted_after(2)
        with pytest.raises(Interrupted):
            score(run, folder, out=out)
    interrupted_after(10)
    with pytest.raises(ValueError, match="1 of the 2 files in the earlier results are not in this folder"):
        score(run, other, out=out, resume=True)
    assert len(Journal(out).read()) == 2
    scored.clear()
    assert len(score(run, folder, out=out, overwrite=True)) == len(scored) == 3


def test_a_file_of_something_else_is_not_replaced_unasked(run, folder, tmp_path):
    out = tmp_path / "results.csv"
    out.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"no file of results of this version .* overwrite=True"):
        score(run, folder, out=out)
    assert len(score(run, folder, out=out, overwrite=True)) == len(read_results(out)) == 3


def test_what_was_out_of_reach_is_tried_again_and_is_no_loss(run, folder, tmp_path, scored):
    out = tmp_path / "results.csv"
    score(run, folder, out=out)
    broken, image, other = read_results(out)
    closed = "unreadable: file: expected a folder that may be read (PermissionError)"
    refused = {**broken, "verdict": "reject", "code": "unreadable"}
    reached = {**other, "code": "unreadable", "detail": "reading failed (TimeoutError)", "findings": []}
    write_results(out, [broken, {**refused, "file": "closed", "detail": closed}, image, reached])
    scored.clear()
    results = score(run, folder, out=out, resume=True)
    assert scored == ["other"]
    assert results["file"].tolist() == ["broken.dcm", "inner/image.png", "other"]


@pytest.mark.parametrize(
    ("code", "detail", "again"),
    [
        ("decoder_limit", "decoder_limit: file: expected a file that is read within 60 seconds", True),
        ("decoder_crash", "decoder_crash: file: expected a file that does not end the worker; found signal 15", True),
        ("decoder_crash", "decoder_crash: file: expected a file that does not end the worker; found signal 11", False),
        ("decoder_crash", "decoder_crash: file: expected a file that does not end the worker; found signal 6", False),
        ("too_many_elements", "too_many_elements: file: expected elements and items in at most 100,000 steps", False),
        ("unreadable", "unreadable: file: expected a file that can be read (OSError)", False),
        ("unreadable", "unreadable: file: expected a file that can be opened (OSError EIO)", True),
        ("unreadable", "unreadable: file: expected a file that can be read (MemoryError)", True),
    ],
)
def test_what_would_be_refused_again_is_not_tried_again(run, folder, tmp_path, scored, code, detail, again):
    out = tmp_path / "results.csv"
    score(run, folder, out=out)
    broken, image, other = read_results(out)
    write_results(out, [broken, image, {**other, "verdict": "reject", "code": code, "detail": detail, "findings": []}])
    scored.clear()
    score(run, folder, out=out, resume=True)
    assert scored == (["other"] if again else [])


def test_two_runs_do_not_write_to_the_same_results(run, folder, tmp_path, monkeypatch):
    out = tmp_path / "results.csv"
    records = Predictor.records

    def second_meanwhile(self, paths, **options):
        monkeypatch.setattr(Predictor, "records", records)
        with pytest.raises(
            FileExistsError, match=r"another process is writing results to .*results\.csv' at this moment"
        ):
            score(run, folder, out=out, resume=True)
        return records(self, paths, **options)

    monkeypatch.setattr(Predictor, "records", second_meanwhile)
    assert len(score(run, folder, out=out)) == 3
    assert Predictor.records is records
    assert len(score(run, folder, out=out, resume=True)) == 3


def test_progress_is_told_where_nobody_watches(run, tmp_path, capsys):
    folder = tmp_path / "pages"
    folder.mkdir()
    for number in range(25):
        (folder / f"{number:02}").write_text("<html>")
    score(run, folder)
    told = [line.split(",", 1)[0] for line in capsys.readouterr().err.splitlines() if "scoring files" in line]
    assert told == ["scoring files: 10 of 25 (40%)", "scoring files: 20 of 25 (80%)"]
