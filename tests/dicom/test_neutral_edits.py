"""Other bytes, the same image: pixels, view and age of files that say the same in another way."""

import dataclasses

import numpy as np
import pytest
from pydicom import uid

from chexkeras.dicom.read import read_image
from tests.dicom.dicom_images import code_item, image, lookup_item, write
from tests.dicom.encoders import coded_image, described, smooth
from tests.dicom.neutral_edits import EDITS, recoded

SIDE = (256, 256)
_CODED = {"ViewPosition": "", "ViewCodeSequence": code_item("399348003"), "BodyPartExamined": "",
          "AnatomicRegionSequence": code_item("51185008")}  # fmt: skip
_DATES = {"PatientBirthDate": "19600102", "StudyDate": "20200203", "AcquisitionDate": "20200203"}


def phantoms():
    """Images of every kind that is accepted: depth, sign, polarity, window, table, coded view, dates."""
    deep = smooth(12, 0, SIDE)
    made = {
        "8 bits": image(smooth(8, 0, SIDE), **described(8), WindowCenter=128, WindowWidth=256),
        "16 bits": image(smooth(16, 0, SIDE), **described(16), WindowCenter=32768, WindowWidth=65536),
        "inverse": image(deep, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"),
        "table": image(deep, VOILUTSequence=lookup_item(np.arange(4096) ** 2 // 4096, 0, 12)),
        "signed table": image(
            smooth(12, 1, SIDE),
            **described(12, 1),
            VOILUTSequence=lookup_item(np.arange(4096), -2048, 12),
            PixelPaddingValue=-2046,
        ),
        "coded view, dates": image(deep, **_CODED, **_DATES, drop=("PatientAge",)),
    }
    for syntax in (uid.JPEGLSLossless, uid.JPEGLosslessSV1):
        made[syntax.keyword] = coded_image(12, 1, syntax, "GDCM", SIDE)
    made["JPEG2000"] = coded_image(12, 0, uid.JPEG2000, "pylibjpeg", SIDE)
    return made


PHANTOMS = phantoms()


def seen(path):
    """What is read of a file, but for how it was decoded."""
    found = dataclasses.asdict(read_image(path))
    return {name: value for name, value in found.items() if name != "decoder"}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """The phantoms as files, and what is read of each."""
    folder = tmp_path_factory.mktemp("phantoms")
    paths = {name: write(folder / f"{number}.dcm", each) for number, (name, each) in enumerate(PHANTOMS.items())}
    return {name: (path.read_bytes(), seen(path)) for name, path in paths.items()}


def assert_same(found, expected):
    for name, value in expected.items():
        np.testing.assert_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("edit", EDITS)
def test_a_neutral_edit_changes_nothing_that_is_read(tmp_path, originals, edit):
    done = 0
    for content, expected in originals.values():
        edited = EDITS[edit](content)
        if edited is not None:
            path = tmp_path / "image.dcm"
            path.write_bytes(edited)
            assert_same(seen(path), expected)
            done += 1
    # Each applies to some of them: to files that are compressed, or are not, or to all.
    assert done >= (0 if edit == "explicit" else 3)


@pytest.mark.parametrize("syntax", [b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2"])
def test_edits_one_after_the_other_change_nothing_either(tmp_path, originals, syntax):
    content, expected = originals["signed table"]
    for edit in ("private elements", "group lengths", "undefined lengths", "other meta", "trailing padding"):
        content = EDITS[edit](content)
    for each in (recoded(syntax), recoded(b"1.2.840.10008.1.2.1"), recoded(syntax)):
        content = each(content)
        path = tmp_path / "image.dcm"
        path.write_bytes(content)
        assert_same(seen(path), expected)
