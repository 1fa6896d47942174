"""One film: the score of `Predictor`, the gate's words, nothing on disk, nothing of a patient."""

import base64
import io
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from chexkeras.dicom.read import read_dicom

pytestmark = pytest.mark.keras

CANARY = "CANARYNAME"


def pixels(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def with_canaries(content):
    data = pydicom.dcmread(io.BytesIO(content))
    data.PatientName, data.PatientID, data.AccessionNumber = f"{CANARY}^A", CANARY, CANARY
    data.InstitutionName = data.ReferringPhysicianName = data.StudyDescription = CANARY
    data.PatientComments = f"chest of {CANARY}"
    held = io.BytesIO()
    data.save_as(held)
    return held.getvalue()


def test_accepted_film_has_the_score_of_predict_and_is_shown_as_read(scorer, films, toy_run, tmp_path):
    from chexkeras.inference.predictor import Predictor

    content = films["accepted"][1]
    answer = scorer.answer(content)
    row = Predictor.load(toy_run).predict([content]).iloc[0]
    found = answer["findings"][0]
    assert (answer["verdict"], found["finding"], found["decision"]) == (row["verdict"], "Effusion", row["decision"])
    assert found["score"] == row["score"] and found["threshold"] == row["threshold"]
    file = tmp_path / "film.dcm"
    file.write_bytes(content)
    np.testing.assert_array_equal(pixels(answer["film"]), read_dicom(file).pixels)
    assert pixels(answer["model_film"]).shape == (32, 32)
    assert answer["engine"] and answer["decoder"] and answer["novelty"] is not None
    assert found["probability"] is None and answer["maps"] == []
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("key", ["child", "lateral", "hand", "damaged"])
def test_refused_film_has_no_score_anywhere(scorer, films, key):
    for only_row in (False, True):
        answer = scorer.answer(films[key][1], only_row=only_row)
        assert answer["verdict"] == "reject" and answer["rules"]
        assert all(rule["words"].startswith("expected ") and rule["reason"] for rule in answer["rules"])
        assert not {"findings", "film", "thumbnail", "maps", "novelty", "score"} & answer.keys()


@pytest.mark.parametrize("content", [b"x", b"<html>", b"\x89PNG\r\n\x1a\n" + b"0" * 50, bytes(200) + b"DICM"])
def test_what_is_no_film_is_refused_in_words(scorer, content):
    answer = scorer.answer(content)
    assert answer["verdict"] == "reject" and "findings" not in answer and answer["rules"][0]["words"]


def test_warnings_are_told_in_words_with_the_score(scorer, films):
    answer = scorer.answer(films["warned"][1])
    assert answer["verdict"] == "warn" and answer["findings"]
    assert "no_header" in [rule["code"] for rule in answer["rules"]]


def test_nothing_of_a_patient_is_answered(scorer, films, caplog):
    for key in ("accepted", "child"):
        content = with_canaries(films[key][1])
        assert CANARY.encode() in content
        assert CANARY not in json.dumps(scorer.answer(content)).upper()
    assert CANARY not in caplog.text.upper()


def test_nothing_is_written(scorer, films):
    opened, watching = [], {"now": True}

    def watch(event, arguments):
        flags = arguments[2] if event == "open" else 0
        if watching["now"] and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            opened.append(arguments[0])

    # A hook stays for as long as Python runs; this one then does nothing.
    sys.addaudithook(watch)
    scorer.answer(films["accepted"][1])
    scorer.answer(films["damaged"][1])
    (Path(tempfile.gettempdir()) / "chexkeras-watched").write_bytes(b"")
    watching["now"] = False
    (Path(tempfile.gettempdir()) / "chexkeras-watched").unlink()
    assert [os.path.basename(path) for path in opened if path != os.devnull] == ["chexkeras-watched"]


def test_row_is_the_same_with_a_small_picture(scorer, films):
    whole, row = scorer.answer(films["accepted"][1]), scorer.answer(films["accepted"][1], only_row=True)
    assert whole["findings"] == row["findings"] and "film" not in row
    assert max(pixels(row["thumbnail"]).shape) <= 96
