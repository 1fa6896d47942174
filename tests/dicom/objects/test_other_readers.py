"""Every object as other programs see it: dciodvfy of dicom3tools, dsrdump and dcmdump of dcmtk, and highdicom."""

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid

from chexkeras.dicom.objects.common import save_object
from chexkeras.dicom.objects.presentation_state import presentation_state
from chexkeras.dicom.objects.secondary_capture import secondary_capture
from chexkeras.dicom.objects.source import NotDescribable, read_source
from chexkeras.dicom.objects.structured_report import structured_report
from chexkeras.dicom.read import read_dicom
from chexkeras.dicom.rejection import DicomRejected
from tests.dicom.dicom_images import CR, SECONDARY_CAPTURE, image, lookup_item, ramp, write
from tests.dicom.encoders import ENCODERS, compressed, described, smooth
from tests.dicom.objects.made import DEVICE, IDENTIFIED, MAP, REFUSED, SCORED, film, raw, run_tool

hd = pytest.importorskip("highdicom")

FILMS = {
    "usual": {},
    "computed radiography": {"SOPClassUID": CR, "Modality": "CR"},
    "secondary capture": {"SOPClassUID": SECONDARY_CAPTURE, "Modality": "CR"},
    "MONOCHROME1": {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    "8 bits": {"values": smooth(8, shape=(300, 400)), **described(8)},
    "16 bits": {"values": smooth(16, shape=(400, 300)), **described(16)},
    "signed": {"values": smooth(12, 1, shape=(300, 300)), **described(12, 1), "WindowCenter": 0},
    "implicit": {"syntax": uid.ImplicitVRLittleEndian},
    "big endian": {"syntax": uid.ExplicitVRBigEndian},
    "VOI table": {"VOILUTSequence": lookup_item(np.arange(4096), 0, 12)},
    "modality table": {"ModalityLUTSequence": lookup_item(np.arange(4096), 0, 12)},
    "signed VOI table": {
        "values": smooth(12, 1, shape=(300, 300)), **described(12, 1),
        "VOILUTSequence": lookup_item(np.arange(4096), -2048, 12),
    },
    "sigmoid": {"VOILUTFunction": "SIGMOID"},
    "hardly anything told": {"drop": tuple(each for each in IDENTIFIED if not each.endswith("InstanceUID"))},
    "values that do not conform": {
        "StudyDate": "yesterday", "StudyTime": "noon", "AccessionNumber": "A" * 40, "PatientBirthDate": "1970",
        "PatientSex": "WOMAN", "PatientName": "A^B^C^D^E^F", "StudyID": "S\\T", "InstanceNumber": -4,
    },
    "several names": {"PatientName": "Doe^Jane\\Roe^Ann"},
}  # fmt: skip
NAMES = {
    "ISO_IR 100": "Müller^Jürgen".encode("latin-1"),
    "ISO_IR 192": "Wang^XiaoDong=王^小东".encode(),
    "GB18030": "Wang^XiaoDong=王^小东".encode("gb18030"),
    "\\ISO 2022 IR 87": b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
    "\\ISO 2022 IR 149": b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
    "ISO_IR 999": b"M\xfcller",
    "": b"M\xfcller^\xff\xfe",
}


def objects_of(path, folder, maps=(MAP,), turned=""):
    """All objects that can be made of a film, written: of one that is no single grey image, the report alone."""
    source = read_source(path)
    made = [structured_report(source, DEVICE, SCORED), structured_report(source, DEVICE, REFUSED)]
    if source.grey:
        shown = smooth(8, shape=(source.rows, source.columns))
        made.append(secondary_capture(source, DEVICE, SCORED, shown, list(maps)))
        made.append(secondary_capture(source, DEVICE, SCORED, shown, []))
        made.append(presentation_state(source, DEVICE, SCORED, turned, list(maps)))
    return [save_object(each, folder) for each in made]


def errors(said):
    """Lines of dcmtk that tell of an error or a warning, but for the one on character sets it does not check."""
    return [
        line for line in said.splitlines() if line.startswith(("E: ", "W: ")) and "Specific Character Set" not in line
    ]


def check_by_all(paths):
    """Checks that no program finds an error in an object, and that dcmtk and highdicom read it."""
    for path in paths:
        _, said = run_tool("dciodvfy", path)
        assert not [line for line in said.splitlines() if line.startswith("Error")], said
        code, said = run_tool("dcmdump", "-q", path)
        assert code == 0 and not errors(said), said
        if pydicom.dcmread(path, stop_before_pixels=True).Modality == "SR":
            code, said = run_tool("dsrdump", "-q", path)
            assert code == 0 and not errors(said) and "NOT FOR CLINICAL USE" in said, said
            report = hd.sr.srread(path)
            assert isinstance(report, hd.sr.ComprehensiveSR) and report.content.get_image_measurement_groups()


def options(tags):
    given = dict(tags)
    return given.pop("values", None), given


@pytest.mark.parametrize("name", FILMS)
def test_objects_of_every_kind_of_film_conform(tmp_path, name):
    values, tags = options(FILMS[name])
    check_by_all(objects_of(film(tmp_path / "film", values, **tags), tmp_path / "out"))


@pytest.mark.parametrize("declared", NAMES)
def test_objects_with_names_in_every_character_set_conform(tmp_path, declared):
    charset = {"SpecificCharacterSet": declared.split("\\")} if declared else {}
    dataset = image(ramp(), **IDENTIFIED, **charset)
    raw(dataset, "PatientName", "PN", NAMES[declared])
    check_by_all(objects_of(write(tmp_path / "film", dataset), tmp_path / "out"))


@pytest.mark.parametrize("syntax", ENCODERS)
def test_objects_of_films_in_every_transfer_syntax_conform(tmp_path, syntax):
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    encoder = ENCODERS[syntax][0]
    dataset = image(smooth(bits, shape=(256, 256)), **described(bits), **IDENTIFIED)
    path = write(tmp_path / "film", compressed(dataset, syntax, encoder))
    check_by_all(objects_of(path, tmp_path / "out"))


@pytest.mark.parametrize("turned", ["F\\R", "H\\L", "R\\F", "L\\H"])
def test_objects_of_films_that_were_turned_conform(tmp_path, turned):
    check_by_all(objects_of(film(tmp_path / "film", ramp(300, 400)), tmp_path / "out", turned=turned))


def test_objects_of_films_with_a_private_finding_and_an_authorised_device_conform(tmp_path):
    import dataclasses

    from chexkeras.dicom.objects.told import FilmResult, ScoredFinding

    device = dataclasses.replace(DEVICE, name="装置", authorisation="K000000, FDA 510(k)")
    result = FilmResult((ScoredFinding("肺結節", 0.5, 0.5, "positive"),), engine="keras", profile="clinical")
    path = save_object(structured_report(read_source(film(tmp_path / "film")), device, result), tmp_path / "out")
    _, said = run_tool("dciodvfy", path)
    assert "Error" not in said
    assert "肺結節" in str(hd.sr.srread(path))


SHOWN_ALIKE = {
    "MONOCHROME1": {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    "window": {"WindowCenter": 1500, "WindowWidth": 1800},
    "window on rescaled values": {
        "RescaleSlope": 2,
        "RescaleIntercept": -500,
        "WindowCenter": 3000,
        "WindowWidth": 6000,
    },
    "exact window": {"VOILUTFunction": "LINEAR_EXACT", "WindowCenter": 1500, "WindowWidth": 1800},
    "VOI table": {"VOILUTSequence": lookup_item(np.sqrt(np.arange(4096) * 4095.0).astype(int), 0, 12)},
    "modality table": {"ModalityLUTSequence": lookup_item(np.arange(4095, -1, -1), 0, 12)},
    "16 bits": {"values": smooth(16, shape=(400, 300)), **described(16), "WindowCenter": 32768, "WindowWidth": 65536},
    "signed": {"values": smooth(12, 1, shape=(300, 300)), **described(12, 1), "WindowCenter": 0, "WindowWidth": 3000},
}


@pytest.mark.parametrize("name", SHOWN_ALIKE)
def test_dcmtk_shows_a_film_through_its_presentation_state_as_the_model_saw_it(tmp_path, name):
    values, tags = options(SHOWN_ALIKE[name])
    path = film(tmp_path / "film", smooth(12, shape=(300, 400)) if values is None else values, **tags)
    state = save_object(presentation_state(read_source(path), DEVICE, SCORED, "", [MAP]), tmp_path / "out")
    _, said = run_tool("dcmpschk", state)
    assert "Test passed." in said, said
    code, said = run_tool("dcmp2pgm", "-p", state, path, tmp_path / "shown.pgm")
    assert code == 0, said
    with Image.open(tmp_path / "shown.pgm") as opened:
        shown = np.asarray(opened).astype(int)
    assert np.abs(shown - read_dicom(path).pixels).max() <= 1


def test_objects_of_published_films_conform(real_dicom, tmp_path):
    """Films of a course and of codecs' test sets; what the gate refuses is reported as not assessed."""
    made = 0
    for path in sorted(real_dicom.rglob("*.dcm")):
        try:
            shown = read_dicom(path).pixels
        except DicomRejected as refused:
            assert refused.code
            shown = None
        try:
            source = read_source(path)
        except NotDescribable as unknown:
            assert str(unknown).count("\n") == 0
            continue
        objects = objects_of(path, tmp_path / path.stem) if shown is not None else []
        objects.append(save_object(structured_report(source, DEVICE, REFUSED), tmp_path / path.stem))
        check_by_all(objects)
        made += len(objects)
    assert made
