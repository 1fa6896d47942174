import re

import numpy as np
import pandas as pd
import pytest

from chexkeras.dicom.read import read_image
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.phantoms import make_phantoms

# The file name says what is wrong; this is the code that must say it.
CODES = {
    "reject_modality_ct.dcm": "sop_class",
    "reject_body_part_hand.dcm": "body_part",
    "reject_view_lateral.dcm": "view",
    "reject_view_unknown.dcm": "view",
    "reject_child.dcm": "age",
    "reject_species_dog.dcm": "species",
    "reject_too_small.dcm": "geometry",
    "reject_multiframe.dcm": "multi_frame",
    "reject_for_processing.dcm": "for_processing",
    "reject_constant.dcm": "constant",
    "reject_no_pixels.dcm": "no_pixels",
    "reject_secondary_capture_colour.dcm": "modality",
    "reject_truncated.dcm": "truncated",
    "reject_not_dicom.dcm": "not_dicom",
    "reject_empty.dcm": "not_dicom",
}


@pytest.fixture(scope="module")
def phantom_folder(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("phantoms") / "images", images=24, size=256, processes=1) / "dicom"


def test_every_phantom_file_gets_its_verdict_and_its_reason(phantom_folder):
    expected = pd.read_csv(phantom_folder.parent / "dicom_expected.csv").set_index("file")["verdict"].to_dict()
    assert set(expected) == {path.name for path in phantom_folder.glob("*.dcm")}
    found, codes = {}, {}
    for name in expected:
        try:
            image = read_image(phantom_folder / name)
        except DicomRejected as rejected:
            found[name], codes[name] = "reject", rejected.code
        else:
            found[name] = "warn" if image.warnings else "accept"
    assert found == expected
    assert codes == CODES


def test_accepted_phantoms_show_the_pixels_of_their_png_whatever_their_depth_and_sense(phantom_folder):
    rows = pd.read_csv(phantom_folder.parent / "dicom_expected.csv").query("verdict == 'accept'")
    assert rows["what"].str.contains("12 bit MONOCHROME1").any()
    for name, what in zip(rows["file"], rows["what"], strict=True):
        (image_id,) = re.findall(r"\S+\.png", what)
        (png,) = phantom_folder.parent.rglob(image_id)
        image = read_image(phantom_folder / name)
        np.testing.assert_array_equal(image.pixels, read_image(png).pixels)
        assert image.view == what[:2]
