import json
import os
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.dicom.privacy import HASH_KEY_VARIABLE, keyed_hash
from chexkeras.dicom.reading import IN_PROCESS
from chexkeras.inference import folder as module
from chexkeras.inference.folder import score_folder
from chexkeras.inference.predictor import Predictor
from chexkeras.training.run import Run

pytestmark = pytest.mark.keras


@pytest.fixture
def run(toy_run, tmp_path):
    """A copy of the toy run, since results are written into it."""
    return Run.load(shutil.copytree(toy_run.folder, tmp_path / "run"))


def film(path, seed=0):
    """Writes noise as a PNG file."""
    noise = np.random.default_rng(seed).integers(0, 256, (300, 280), dtype=np.uint8)
    Image.fromarray(noise).save(path, "PNG")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "films"
    (folder / "inner").mkdir(parents=True)
    film(folder / "inner" / "film.png")
    film(folder / "other", seed=1)
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
        def breaking(items, description, total):
            for number, item in enumerate(items):
                if number == count:
                    raise Interrupted
                yield item

        return monkeypatch.setattr(module, "track", breaking)

    return prepare


def score(run, folder, **options):
    return score_folder(run, folder, **{"reading": IN_PROCESS, "keep": False, **options})


def test_results_name_files_relative_to_the_folder_and_stay_with_the_run(run, folder):
    assert run.dicom_results is None
    results = score_folder(run, folder)
    assert results["file"].tolist() == ["broken.dcm", "inner/film.png", "other"]
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
    # The empty file was refused as unreadable, which another try might not repeat.
    assert scored == ["broken.dcm", "other"]
    assert pd.read_csv(out)["file"].tolist() == results["file"].tolist() == ["broken.dcm", "inner/film.png", "other"]
    assert not (tmp_path / ".results.csv.journal").exists()
    fresh = score(run, folder)
    columns = [name for name in fresh.columns if name != "seconds"]
    pd.testing.assert_frame_equal(fresh[columns], results[columns])


@pytest.mark.parametrize("name", ["results.csv", "results.jsonl"])
def test_a_later_run_scores_what_is_new_or_changed_only(run, folder, tmp_path, scored, name):
    out = tmp_path / name
    first = score(run, folder, out=out)
    scored.clear()
    film(folder / "new", seed=2)
    film(folder / "inner" / "film.png", seed=3)
    os.utime(folder / "inner" / "film.png", (time.time() + 9, time.time() + 9))
    (folder / "broken.dcm").unlink()
    second = score(run, folder, out=out, resume=True)
    assert scored == ["film.png", "new"]
    assert second["file"].tolist() == ["inner/film.png", "new", "other"]
    assert second["score"][2] == first["score"][2]
    assert second["score"][0] != first["score"][1]


def test_another_model_threshold_or_rule_keeps_no_row(run, folder, tmp_path, scored):
    out = tmp_path / "results.csv"
    score(run, folder, out=out)
    scored.clear()
    score(run, folder, out=out, profile="course", resume=True)
    assert scored == ["broken.dcm", "film.png", "other"]


def test_without_resume_everything_is_scored_again(run, folder, tmp_path, scored):
    score(run, folder, out=tmp_path / "results.csv")
    score(run, folder, out=tmp_path / "results.csv")
    assert len(scored) == 6


def test_results_among_the_films_are_no_films(run, folder):
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
    assert set(results["file"]) == {keyed_hash(n, "secret") for n in ("broken.dcm", "DOE^JOHN/film.png", "other")}
    written = (tmp_path / "results.jsonl").read_text() + (run.folder / "dicom_results.csv").read_text()
    assert "DOE" not in written and "film" not in written.replace("a film", "")


def test_names_that_are_no_text_or_look_like_formulas_are_written_harmlessly(run, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    odd = [b"=1+1.png", b"@cmd", b"na\xefve", b"line\nbreak"]
    for name in odd:
        film(os.path.join(os.fsencode(folder), name))
    results = score(run, folder, out=tmp_path / "results.csv")
    assert set(results["file"]) == {"./=1+1.png", "./@cmd", r"na\udcefve", "line\nbreak"}
    assert (results["verdict"] != "reject").all()
    assert set(pd.read_csv(tmp_path / "results.csv")["file"]) == set(results["file"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": "hash"}, "names='hash'; did you mean 'hashed'"),
        ({"out": "results.txt"}, r"ends in '\.txt'"),
        ({"resume": True}, "resume=True needs a file"),
        ({"profile": "clinic"}, "did you mean 'clinical'"),
    ],
)
def test_mistakes_are_told_before_the_model_is_loaded(run, folder, monkeypatch, options, message):
    monkeypatch.setattr(Predictor, "load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=message):
        score(run, folder, **options)


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
