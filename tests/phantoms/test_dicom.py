"""The DICOM folder: valid files that hold the images' pixels, and files that are wrong in the way their name says."""

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom.errors import InvalidDicomError

from chexkeras.phantoms import make_phantoms

# PS3.6: Digital X-Ray Image Storage - For Presentation.
DX = "1.2.840.10008.5.1.4.1.1.1.1"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("dicom") / "images", images=60, size=256, seed=2, processes=1)


@pytest.fixture(scope="module")
def expected(root):
    return pd.read_csv(root / "dicom_expected.csv").set_index("file")


def _accepted(expected):
    return [name for name, verdict in expected["verdict"].items() if verdict == "accept"]


def test_the_list_names_every_file_and_its_verdict(root, expected):
    assert set(expected.index) == {path.name for path in (root / "dicom").iterdir()}
    assert set(expected["verdict"]) == {"accept", "reject"}
    assert all(name.startswith(verdict) for name, verdict in expected["verdict"].items())
    assert len(_accepted(expected)) == 6


def test_acceptable_images_are_adult_digital_radiographs_of_test_patients(root, expected):
    test = set((root / "test_list.txt").read_text().split())
    views, patients = set(), set()
    for name in _accepted(expected):
        data = pydicom.dcmread(root / "dicom" / name)
        assert data.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert data.SOPClassUID == data.file_meta.MediaStorageSOPClassUID == DX
        assert data.SOPInstanceUID.startswith("2.25.") and data.SOPInstanceUID.is_valid
        assert (data.Modality, data.BodyPartExamined, data.Manufacturer) == ("DX", "CHEST", "chexkeras phantom")
        assert int(data.PatientAge[:3]) >= 18 and data.PatientAge.endswith("Y")
        image_id = expected.loc[name, "what"].split()[2].rstrip(",")
        assert image_id in test
        assert str(data.PatientName) == f"PHANTOM^{int(image_id[:8]):04d}"
        views.add(data.ViewPosition)
        patients.add(data.PatientID)
    assert views == {"PA", "AP"}
    assert len(patients) > 3


def test_stored_values_and_window_give_back_the_pixels_of_the_png(root, expected):
    kinds = set()
    for name in _accepted(expected):
        data = pydicom.dcmread(root / "dicom" / name)
        values = data.pixel_array.astype(float)
        if data.BitsStored == 12:
            # PS3.3 C.11.2.1.2.1, linear window.
            center, width = float(data.WindowCenter), float(data.WindowWidth)
            values = np.clip(((values - (center - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)
        if data.PhotometricInterpretation == "MONOCHROME1":
            values = 255 - values
        image_id = expected.loc[name, "what"].split()[2].rstrip(",")
        png = np.asarray(Image.open(root / "images" / image_id), float)
        assert np.abs(values - png).max() <= (0 if data.BitsStored == 8 else 0.5)
        kinds.add((data.BitsStored, data.PhotometricInterpretation))
    assert kinds == {(8, "MONOCHROME2"), (12, "MONOCHROME2"), (12, "MONOCHROME1")}


@pytest.mark.parametrize(
    ("name", "keyword", "value"),
    [
        ("reject_modality_ct", "Modality", "CT"),
        ("reject_body_part_hand", "BodyPartExamined", "HAND"),
        ("reject_view_lateral", "ViewPosition", "LL"),
        ("reject_view_unknown", "ViewPosition", "XX"),
        ("reject_child", "PatientAge", "007Y"),
        ("reject_species_dog", "PatientSpeciesDescription", "Canine"),
        ("reject_too_small", "Rows", 40),
        ("reject_multiframe", "NumberOfFrames", 3),
        ("reject_for_processing", "PresentationIntentType", "FOR PROCESSING"),
        ("reject_secondary_capture_colour", "SamplesPerPixel", 3),
    ],
)
def test_each_file_to_reject_carries_its_reason_and_opens_otherwise(root, name, keyword, value):
    data = pydicom.dcmread(root / "dicom" / f"{name}.dcm")
    assert data[keyword].value == value
    assert data.pixel_array.std() > 0


def test_constant_and_absent_pixels(root):
    assert pydicom.dcmread(root / "dicom" / "reject_constant.dcm").pixel_array.std() == 0
    assert "PixelData" not in pydicom.dcmread(root / "dicom" / "reject_no_pixels.dcm")


def test_damaged_files_are_damaged(root):
    for name in ("reject_not_dicom.dcm", "reject_empty.dcm"):
        with pytest.raises((InvalidDicomError, EOFError)):
            pydicom.dcmread(root / "dicom" / name)
    assert b"<html>" in (root / "dicom" / "reject_not_dicom.dcm").read_bytes()
    cut = (root / "dicom" / "reject_truncated.dcm").stat().st_size
    assert cut < (root / "dicom" / "accept_01_pa.dcm").stat().st_size - 10_000


def test_the_gate_agrees_with_every_verdict(root, expected):
    read = pytest.importorskip("chexkeras.dicom.read")
    rejection = pytest.importorskip("chexkeras.dicom.rejection")
    for name, verdict in expected["verdict"].items():
        if verdict == "accept":
            assert read.read_dicom(root / "dicom" / name).view in ("PA", "AP")
        else:
            with pytest.raises(rejection.DicomRejected):
                read.read_dicom(root / "dicom" / name)


def test_small_phantoms_still_come_with_images_a_reader_could_accept(tmp_path):
    folder = make_phantoms(tmp_path / "images", images=20, size=64)
    assert pydicom.dcmread(folder / "dicom" / "reject_child.dcm").Rows == 256
