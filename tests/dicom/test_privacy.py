import io
import logging
import pickle
import re
import traceback
import warnings

import pytest
from pydicom import config, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import JPEG2000Lossless

from chexkeras.dicom import privacy
from chexkeras.dicom.read import read_dicom
from chexkeras.dicom.rejection import DicomRejected
from tests.dicom.dicom_images import (
    CANARY,
    CANARY_CODE,
    CANARY_NUMBER,
    CANARY_UID,
    canary_image,
    code_item,
    image,
    leaks,
    ramp,
    write,
)


def _everything_said(path, caplog):
    """All that reading a radiograph says: its result, log records, warnings, and the exception with its traceback."""
    said = io.StringIO()
    caplog.clear()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        try:
            radiograph = read_dicom(path)
        except DicomRejected as rejected:
            said.write(
                f"{rejected!s} {rejected!r} {rejected.args} {rejected.violations} {rejected.code} {rejected.found}"
            )
            said.write("".join(traceback.TracebackException.from_exception(rejected, capture_locals=True).format()))
            said.write(repr(pickle.dumps(rejected)))
            assert rejected.__context__ is None and rejected.__cause__ is None
        else:
            said.write(f"{radiograph!s} {radiograph!r} {radiograph.key} {radiograph.warnings}")
    said.write(" ".join(str(warning.message) for warning in recorded))
    said.write(" ".join(record.getMessage() for record in caplog.records))
    return said.getvalue()


def test_the_canaries_are_in_the_file_and_pydicom_alone_does_tell_them(tmp_path, caplog):
    path = write(tmp_path / "image.dcm", canary_image())
    assert path.read_bytes().count(CANARY.encode()) > 500
    assert len(leaks(path.read_text("latin-1"))) == 4
    assert dcmread(path).WindowCenter == CANARY
    with pytest.warns(UserWarning, match=re.escape(CANARY)):
        str(dcmread(path).InstanceNumber)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"Modality": "CT"},
        {"BodyPartExamined": CANARY, "ViewPosition": CANARY, "Modality": CANARY},
        {"PatientAge": CANARY, "PatientSex": CANARY, "SOPClassUID": CANARY_UID},
        {"PhotometricInterpretation": CANARY, "PatientOrientation": [CANARY, CANARY]},
        {"BodyPartExamined": "", "ViewPosition": "", "PatientAge": ""},
        {"raw": b"\0" * 100},
        # Shaped like the codes that belong there.
        {"BodyPartExamined": CANARY_CODE, "ViewPosition": CANARY_CODE, "Modality": CANARY_CODE},
        {"PatientOrientation": [CANARY_CODE, "A"], "PhotometricInterpretation": CANARY_CODE},
        {"NumberOfFrames": 999888777, "PatientAge": f"{CANARY_NUMBER}Y"},
        {"ViewPosition": "", "ViewCodeSequence": code_item(str(CANARY_NUMBER), CANARY)},
        {"AnatomicRegionSequence": code_item(CANARY_CODE, CANARY)},
    ],
)
def test_no_canary_is_told_whether_the_image_is_accepted_or_not(tmp_path, caplog, tags):
    said = _everything_said(write(tmp_path / "image.dcm", canary_image(**tags)), caplog)
    assert said
    assert leaks(said) == []


@pytest.mark.parametrize("keyword", ["Rows", "BitsStored", "NumberOfFrames", "SamplesPerPixel", "PixelData"])
def test_no_canary_is_told_when_it_stands_where_a_number_belongs(tmp_path, caplog, keyword):
    dataset = image(ramp())
    tag = Tag(keyword)
    dataset[tag] = RawDataElement(tag, "IS", len(CANARY), CANARY.encode(), 0, False, True)
    said = _everything_said(write(tmp_path / "image.dcm", dataset), caplog)
    assert leaks(said) == []


def test_an_accepted_image_has_a_pseudonym_that_depends_on_the_key(tmp_path, monkeypatch):
    path = write(tmp_path / "image.dcm", canary_image())
    monkeypatch.setenv(privacy.HASH_KEY_VARIABLE, "one")
    first = read_dicom(path).key
    assert first == read_dicom(path).key == privacy.keyed_hash(CANARY_UID, key="one")
    monkeypatch.setenv(privacy.HASH_KEY_VARIABLE, "two")
    assert read_dicom(path).key != first
    assert len(first) == 16 and int(first, 16) >= 0


# RFC 4231, test case 2: HMAC-SHA-256 of "what do ya want for nothing?" under "Jefe" begins 5bdcc146bf60754e.
def test_the_keyed_hash_is_hmac_sha256():
    assert privacy.keyed_hash("what do ya want for nothing?", key="Jefe") == "5bdcc146bf60754e"


def test_without_a_key_the_hash_is_stable_within_the_process(monkeypatch):
    monkeypatch.delenv(privacy.HASH_KEY_VARIABLE, raising=False)
    assert privacy.keyed_hash("a") == privacy.keyed_hash("a") != privacy.keyed_hash("b")


def test_scrubbing_leaves_the_class_of_an_error_only():
    assert privacy.scrub(ValueError(CANARY)) == "ValueError"


def test_silence_is_local_and_restores_what_was_before():
    logger = logging.getLogger("pydicom")
    before = (list(warnings.filters), logger.level, config.settings.reading_validation_mode)
    with privacy.quiet():
        with privacy.quiet():
            assert not logger.isEnabledFor(logging.ERROR)
        assert not logger.isEnabledFor(logging.ERROR)
        assert config.settings.reading_validation_mode == config.IGNORE
        warnings.warn("unheard", stacklevel=1)
    assert (list(warnings.filters), logger.level, config.settings.reading_validation_mode) == before


def test_warnings_are_not_heard_inside_and_are_heard_after():
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        with privacy.quiet():
            warnings.warn(CANARY, stacklevel=1)
        assert recorded == []
        warnings.warn("after", stacklevel=1)
    assert [str(warning.message) for warning in recorded] == ["after"]


def test_a_rejection_carries_neither_the_cause_nor_the_frames_it_came_through(tmp_path):
    broken = image(ramp(), syntax=JPEG2000Lossless, raw=b"\xfe\xff\x00\xe0" + b"\0" * 60)
    with pytest.raises(DicomRejected) as caught:
        read_dicom(write(tmp_path / "image.dcm", broken))
    assert caught.value.code == "decode"
    assert caught.value.__context__ is None and caught.value.__cause__ is None
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[1:] == ["with_check", "read_dicom", "_raise_or_return"]


def test_silence_ends_with_an_error_too():
    before = config.settings.reading_validation_mode
    with pytest.raises(KeyError), privacy.quiet():
        raise KeyError
    assert config.settings.reading_validation_mode == before
