"""Films with results, as worklists are made of."""

import math

import pytest

from tests.dicom.objects.made import FILM, STUDY, film

THRESHOLD = 0.3125


def told(file, *scores, verdict="accept", code="", novelty=0.1, threshold=THRESHOLD):
    """What became of a film: scores of Effusion and Mass, or why there are none."""
    findings = [
        {"finding": name, "score": score, "threshold": at, "decision": "positive" if score >= at else "negative"}
        for (name, at), score in zip((("Effusion", threshold), ("Mass", 0.5)), scores, strict=False)
    ]
    return {
        "file": file, "verdict": verdict if findings else "reject", "code": code if findings or code else "modality",
        "detail": "" if findings else "modality: expected DX or CR; found CT", "findings": findings,
        "engine": "keras", "profile": "clinical", "synthetic": "no", "key": "",
        "novelty": novelty, "novelty_threshold": 1.0 if not math.isnan(novelty) else math.nan,
    }  # fmt: skip


@pytest.fixture
def films(tmp_path):
    """Two films of one study, one of another, and a file that is no film."""
    folder = tmp_path / "films"
    folder.mkdir()
    film(folder / "one")
    film(folder / "two", SOPInstanceUID=f"{FILM}.2")
    film(folder / "three", SOPInstanceUID=f"{FILM}.3", StudyInstanceUID=f"{STUDY}.3", PatientID="B-18",
         PatientName="Müller^Änne^^Dr.^jun.")  # fmt: skip
    (folder / "notes").write_text("no film")
    return folder
