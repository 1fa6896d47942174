"""A file says itself that a program made its image, whatever became of it and wherever it lies."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom import dcmread

from chexkeras.dicom.origin import NO, UNKNOWN, YES, synthetic
from chexkeras.phantoms import make_phantoms
from chexkeras.phantoms.chexpert import make_chexpert_phantoms


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("made") / "phantoms", images=8, size=64)


def test_every_phantom_file_that_has_a_header_is_marked_accepted_or_refused(phantoms):
    found = {path.name: synthetic(path) for path in sorted((phantoms / "dicom").iterdir())}
    bare = {"reject_empty.dcm", "reject_not_dicom.dcm"}
    assert {name for name, said in found.items() if said != YES} == bare
    assert len(found) == len(pd.read_csv(phantoms / "dicom_expected.csv"))
    assert {synthetic(path) for path in (phantoms / "images").iterdir()} == {YES}


def test_jpeg_phantoms_are_marked_too(tmp_path):
    root = make_chexpert_phantoms(tmp_path / "chexpert", images=4, size=64)
    assert {synthetic(path) for path in root.rglob("*.jpg")} == {YES}


def test_the_mark_goes_with_a_copy_and_an_unmarked_file_is_no_phantom_in_any_folder(phantoms, tmp_path):
    elsewhere = tmp_path / "hospital" / "12345"
    elsewhere.parent.mkdir()
    shutil.copy(phantoms / "dicom" / "reject_child.dcm", elsewhere)
    assert synthetic(elsewhere) == YES
    assert synthetic(elsewhere.read_bytes()) == YES
    real = dcmread(elsewhere)
    real.Manufacturer = "A maker of plates"
    del real.SyntheticData
    real.save_as(phantoms / "dicom" / "phantom_named.dcm")
    assert synthetic(phantoms / "dicom" / "phantom_named.dcm") == NO
    (phantoms / "dicom" / "phantom_named.dcm").unlink()


def test_the_standards_own_tag_is_enough_whoever_made_the_file(phantoms, tmp_path):
    data = dcmread(phantoms / "dicom" / "reject_child.dcm")
    data.Manufacturer = "Another program"
    for said, expected in (("YES", YES), ("NO", NO)):
        data.SyntheticData = said
        data.save_as(tmp_path / "other.dcm")
        assert synthetic(tmp_path / "other.dcm") == expected


def test_what_cannot_be_looked_at_says_nothing(tmp_path):
    assert synthetic(tmp_path / "absent.dcm") == UNKNOWN
    assert synthetic(tmp_path) == UNKNOWN
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "own.png")
    assert synthetic(tmp_path / "own.png") == NO
