"""What objects are made of in these tests: a film with identifiers, a device, a result, a heat map."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest

from chexkeras.dicom.objects.film_map import FilmMap
from chexkeras.dicom.objects.told import DeviceFacts, FilmResult, MeasuredFinding, ScoredFinding
from chexkeras.results import Estimate
from tests.dicom.dicom_images import image, ramp, write

STUDY, SERIES, FILM = "1.2.826.0.1.3680043.10.511", "1.2.826.0.1.3680043.10.512", "1.2.826.0.1.3680043.10.513"
IDENTIFIED = {
    "SOPInstanceUID": FILM,
    "StudyInstanceUID": STUDY,
    "SeriesInstanceUID": SERIES,
    "PatientName": "Doe^Jane",
    "PatientID": "A-17",
    "IssuerOfPatientID": "HOSPITAL",
    "PatientBirthDate": "19700131",
    "StudyDate": "20250102",
    "StudyTime": "101112",
    "StudyID": "S1",
    "AccessionNumber": "ACC7",
    "ReferringPhysicianName": "Roe^Richard",
    "InstanceNumber": 3,
}


def film(path, values=None, *, drop=(), **tags):
    """Writes a chest film with identifiers; a test overrides or drops any tag."""
    merged = {**IDENTIFIED, **tags}
    kept = {keyword: value for keyword, value in merged.items() if keyword not in drop}
    return write(path, image(ramp() if values is None else values, drop=drop, **kept))


def raw(dataset, keyword, representation, encoded):
    """Puts bytes into a tag as they are, whatever they mean."""
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    tag = Tag(keyword)
    encoded += b" " * (len(encoded) % 2)
    dataset[tag] = RawDataElement(tag, representation, len(encoded), encoded, 0, False, True)


AUROC = Estimate(0.81, 0.75, 0.86, n=222, method="DeLong")
SENSITIVITY = Estimate(0.8, 0.7, 0.88, n=90)
SPECIFICITY = Estimate(0.7, 0.61, 0.78, n=132)
DEVICE = DeviceFacts(
    name="chexkeras udacity-2a",
    version="0.1.0",
    manufacturer="chexkeras",
    fingerprint="0123456789abcdef",
    tested=(
        MeasuredFinding("Effusion", 0.3125, "the rule sensitivity 0.8", AUROC, SENSITIVITY, SPECIFICITY),
        MeasuredFinding("Mass", 0.5, "the rule youden", AUROC, Estimate.not_estimable("one class only"), SPECIFICITY),
    ),
    cautions=("Synthetic images, not clinical evidence.",),
)
SCORED = FilmResult(
    (ScoredFinding("Effusion", 0.8123456789, 0.3125, "positive"), ScoredFinding("Mass", 0.2, 0.5, "negative")),
    warnings=("view_fallback: expected View Position",),
    engine="keras 3.15.1",
    profile="clinical",
)
REFUSED = FilmResult((), ("modality: (0008,0060) Modality: expected CR or DX; found CT",), profile="clinical")


def blob(rows=7, columns=7, row=4, column=2):
    """A map with one hot place."""
    y, x = np.mgrid[:rows, :columns]
    return (np.exp(-((x - column) ** 2 + (y - row) ** 2) / 4) - 0.1).astype(np.float32)


MAP = FilmMap("Effusion", blob(), "gradcam", "In checks these heat maps depended on the model.")


def saved(dataset, folder):
    """Writes an object and reads it back, as an archive would."""
    from chexkeras.dicom.objects.common import save_object

    return pydicom.dcmread(save_object(dataset, folder))


def run_tool(name, *arguments):
    """Returns what a program of dcmtk or dicom3tools prints; skips where it is not installed."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([name, *map(str, arguments)], capture_output=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")
