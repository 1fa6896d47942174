"""Canaries in every text tag of the images of a folder, and a search for them in all that scoring it leaves behind."""

import logging
import shutil
import sys
import zipfile

import pytest
from pydicom.uid import JPEG2000Lossless

from chexkeras.dicom.privacy import HASH_KEY_VARIABLE, keyed_hash
from chexkeras.dicom.workers.options import IN_PROCESS, ReadOptions
from chexkeras.inference.score_folder import score_folder
from chexkeras.runs.run import Run
from tests.dicom.dicom_images import (
    CANARY,
    CANARY_CODE,
    CANARY_DATE,
    CANARY_NUMBER,
    canary_image,
    code_item,
    encoded,
    leaks,
    ramp,
    write,
)
from tests.dicom.workers.worker_faults import FAULTY, SECONDS, end_what_hangs

# The package has a function of the same name.
module = sys.modules["chexkeras.inference.score_folder"]

pytestmark = pytest.mark.keras

IMAGES = {
    "accepted": {},
    "fallbacks": {"BodyPartExamined": "", "AnatomicRegionSequence": code_item("51185008"), "PatientAge": ""},
    "modality": {"Modality": CANARY_CODE},
    "view": {"ViewPosition": CANARY},
    "age": {"PatientAge": f"{CANARY_NUMBER}Y"},
    "frames": {"NumberOfFrames": 999888777},
    "codestream": {"syntax": JPEG2000Lossless, "raw": encoded(ramp(), "JPEG2000")[:2000] + CANARY.encode() * 50},
    "short": {"raw": CANARY.encode() * 10},
}
# Faults of the worker process itself; each prints the canary, raises it or dies with it.
FAULTS = ("print", "raise", "segfault", "sleep")


@pytest.fixture
def place(toy_run, tmp_path):
    """A folder with canary images, and a copy of the toy run."""
    images = tmp_path / "images"
    images.mkdir()
    for name, tags in IMAGES.items():
        write(images / name, canary_image(**tags))
    for fault in FAULTS:
        write(images / fault, canary_image())
    (images / "page").write_text(f"<html>{CANARY}")
    return images, Run.load(shutil.copytree(toy_run.folder, tmp_path / "run"))


def traces(folder):
    """The names of the files below a folder that hold a canary, in their names or contents."""
    return [path.name for path in sorted(folder.rglob("*")) if path.is_file() and leaks(path.name + content(path))]


def content(path):
    """What a file holds, byte for byte a letter; of an archive such as a saved model, what is packed in it."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes().decode("latin-1")
    with zipfile.ZipFile(path) as archive:
        return " ".join(name + archive.read(name).decode("latin-1") for name in archive.namelist())


def test_no_canary_gets_out_of_a_folder_that_is_scored(place, tmp_path, monkeypatch, capfd, caplog):
    images, run = place
    end_what_hangs(monkeypatch)
    outputs = tmp_path / "outputs"
    with caplog.at_level(logging.DEBUG):
        results = score_folder(
            run, images, FAULTY, out=outputs / "results.jsonl", read_options=ReadOptions(workers=1, seconds=SECONDS)
        )
        score_folder(run, images, out=outputs / "results.csv", read_options=IN_PROCESS)
    codes = results.set_index("file")["code"]
    assert codes["segfault"] == "decoder_crash" and codes["sleep"] == "decoder_limit"
    assert set(results["verdict"]) >= {"warn", "reject"} and len(results) == len(IMAGES) + len(FAULTS) + 1
    shown = " ".join(capfd.readouterr()) + caplog.text + results.to_csv() + repr(results)
    assert {path.name for path in outputs.iterdir()} == {"results.jsonl", "results.csv"}
    assert traces(outputs) == traces(run.folder) == []
    assert leaks(shown) == []


def test_no_canary_gets_into_a_journal_or_an_error(place, tmp_path, monkeypatch, capfd):
    images, run = place

    def breaking(items, *_, **__):
        yield from (item for item, _ in zip(items, range(3), strict=False))
        raise RuntimeError("the machine is switched off")

    monkeypatch.setattr(module, "track", breaking)
    with pytest.raises(RuntimeError) as stopped:
        score_folder(run, images, out=tmp_path / "outputs" / "results.csv", keep=False, read_options=IN_PROCESS)
    with pytest.raises(ValueError, match="results of 3 files") as refused:
        score_folder(run, images, out=tmp_path / "outputs" / "results.csv", keep=False, read_options=IN_PROCESS)
    assert traces(tmp_path / "outputs") == []
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == [".results.csv.journal"]
    assert leaks(f"{stopped.value}{refused.value}{capfd.readouterr()}") == []


def test_no_canary_of_a_file_name_gets_out_where_names_are_hashed(place, tmp_path, monkeypatch, capfd, caplog):
    images, run = place
    named, outputs = tmp_path / "archive" / f"{CANARY} {CANARY_DATE}", tmp_path / "outputs"
    named.parent.mkdir()
    images.rename(named)
    (named / "view").rename(named / "999888777.dcm")
    monkeypatch.setenv(HASH_KEY_VARIABLE, "secret")
    options = {"names": "hashed", "read_options": IN_PROCESS}

    def breaking(items, *_, **__):
        yield from (item for item, _ in zip(items, range(3), strict=False))
        raise RuntimeError("the machine is switched off")

    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr(module, "track", breaking)
        score_folder(run, named.parent, out=outputs / "results.csv", **options)
    assert [path.name for path in outputs.iterdir()] == [".results.csv.journal"]
    assert traces(outputs) == []
    with caplog.at_level(logging.DEBUG):
        results = score_folder(run, named.parent, out=outputs / "results.csv", resume=True, **options)
        score_folder(run, named.parent, out=outputs / "results.jsonl", **options)
    assert set(results["file"]) >= {keyed_hash(f"{named.name}/{name}", "secret") for name in ("accepted", "page")}
    shown = " ".join(capfd.readouterr()) + caplog.text + results.to_csv() + repr(results)
    assert traces(outputs) == traces(run.folder) == []
    assert leaks(shown) == []


def test_no_canary_is_printed_by_the_command_line(place, tmp_path):
    from typer.testing import CliRunner

    from chexkeras.cli import app

    images, run = place
    arguments = ("predict", images, "--run", run.folder, "--out", tmp_path / "outputs" / "r.csv", "--workers", "0")
    shown = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert shown.exit_code == 3 and "refused" in shown.output
    assert leaks(shown.output) == []
    assert traces(tmp_path / "outputs") == []


def test_the_search_finds_a_canary_where_there_is_one(place, tmp_path):
    images, _ = place
    assert len(set(traces(images))) == len(IMAGES) + len(FAULTS) + 1
    named = tmp_path / "named"
    named.mkdir()
    (named / f"{CANARY_CODE}.npy").write_bytes(bytes(99))
    (named / "empty").write_text("")
    with zipfile.ZipFile(named / "model.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", '{"name": "' + f"{CANARY_NUMBER}" * 9 + '"}')
    assert str(CANARY_NUMBER).encode() not in (named / "model.keras").read_bytes()
    assert traces(named) == [f"{CANARY_CODE}.npy", "model.keras"]
