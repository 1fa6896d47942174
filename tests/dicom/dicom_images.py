"""A factory of small DICOM files: a well-formed digital chest image, of which a test overrides or drops any tag."""

import io
import warnings

import numpy as np
from PIL import Image
from pydicom import config
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

DX = "1.2.840.10008.5.1.4.1.1.1.1"
CR = "1.2.840.10008.5.1.4.1.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

CHEST_IMAGE = {
    "SOPClassUID": DX,
    "SOPInstanceUID": "1.2.826.0.1.3680043.10.1",
    "Modality": "DX",
    "PresentationIntentType": "FOR PRESENTATION",
    "PatientSex": "F",
    "PatientAge": "045Y",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "PatientOrientation": ["L", "F"],
    "ImagerPixelSpacing": [0.14, 0.14],
    "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "PixelIntensityRelationship": "LOG",
    "RescaleIntercept": 0,
    "RescaleSlope": 1,
    "WindowCenter": 2048,
    "WindowWidth": 4096,
    "PresentationLUTShape": "IDENTITY",
}


def ramp(rows=256, columns=256, highest=4095):
    """An image with every grey value of a diagonal ramp."""
    return np.linspace(0, highest, rows * columns).reshape(rows, columns).round().astype(np.uint16)


def image(values, *, syntax=ExplicitVRLittleEndian, drop=(), raw=None, **tags):
    """A data set in memory: the chest image with other pixels, tags and transfer syntax."""
    values = np.asarray(values)
    merged = {**CHEST_IMAGE, "Rows": values.shape[0], "Columns": values.shape[1], **tags}
    dataset = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in merged.items():
            if keyword not in drop:
                setattr(dataset, keyword, value)
    depth = merged["BitsAllocated"]
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data = values.astype(f"{order}{'i' if values.dtype.kind == 'i' else 'u'}{depth // 8}").tobytes()
    data = data + b"\0" * (len(data) % 2) if raw is None else raw
    if "PixelData" not in drop:
        dataset.PixelData = data
        dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in drop:
        dataset.file_meta.TransferSyntaxUID = syntax
    if merged["SOPClassUID"]:
        dataset.file_meta.MediaStorageSOPClassUID = merged["SOPClassUID"]
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.10.1"
    return dataset


def write(path, dataset):
    """Writes a data set as a DICOM file, valid or not."""
    syntax = dataset.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    before = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if "TransferSyntaxUID" in dataset.file_meta:
                dataset.save_as(path, enforce_file_format=True)
            else:
                file = FileDataset(path, dataset, preamble=b"\0" * 128, file_meta=dataset.file_meta)
                file.save_as(path, implicit_vr=implicit, little_endian=little)
    finally:
        config.settings.writing_validation_mode = before
    return path


def code_item(value, meaning="x", scheme="SCT"):
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def lookup_item(entries, first, bits, *, words=True):
    """One item of a modality or VOI table."""
    item = Dataset()
    # The number of entries has 16 bits; 0 stands for 65,536 of them.
    item.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(entries) % 65536, first, bits])
    if words:
        item.add_new("LUTData", "OW", np.asarray(entries, dtype="<u2").tobytes())
    else:
        item.add_new("LUTData", "US", list(map(int, entries)))
    return [item]


def encoded(values, format_name, **options):
    """Pixel data of one frame, compressed by Pillow."""
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, format_name, **options)
    return encapsulate([stream.getvalue()])


def with_only(monkeypatch, syntax, *plugins):
    """Makes the decoder of a syntax know only some plugins."""
    decoder = get_decoder(syntax)
    kept = {name: function for name, function in decoder._available.items() if name in plugins}
    monkeypatch.setattr(decoder, "_available", kept)


# Long and of rare letters, so that no chance bytes, hash or rounded number ever look like one of them.
CANARY = "Zqxjvkwqhz^Bxgqjfkwvzq"
CANARY_CODE = "ZQXJVKWQHZ"
CANARY_NUMBER = 9998887776
CANARY_UID = f"1.2.{CANARY_NUMBER}.1"
CANARY_DATE = "19110213"
_FREE_TEXT = {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "AE"}


def canary_image(**tags):
    """An image with a canary in every text, date and UID tag of the dictionary that the gate does not judge by."""
    dataset = image(ramp(), **tags)
    for number, (representation, *_, keyword) in DicomDictionary.items():
        if (
            number >> 16 < 8
            or keyword in dataset
            or not keyword
            or keyword.startswith(("PatientSpecies", "PatientBreed"))
        ):
            continue
        value = {"DA": CANARY_DATE, "UI": CANARY_UID}.get(representation, CANARY)
        if representation in _FREE_TEXT or representation in ("DA", "UI"):
            tag = Tag(number)
            encoded = value.encode() + (b"\0" if representation == "UI" and len(value) % 2 else b"")
            dataset[tag] = RawDataElement(tag, representation, len(encoded), encoded, 0, False, True)
    dataset.SOPInstanceUID = CANARY_UID
    # Values of the wrong form in numeric tags, which pydicom quotes in its warnings and errors.
    for keyword, representation in (
        ("WindowCenter", "DS"),
        ("KVP", "DS"),
        ("InstanceNumber", "IS"),
        ("PixelSpacing", "DS"),
    ):
        tag = Tag(keyword)
        dataset[tag] = RawDataElement(tag, representation, len(CANARY), CANARY.encode(), 0, False, True)
    return dataset


def leaks(text):
    """The traces of the canaries in a text, whole or cut off behind their first eight letters or digits."""
    traces = (CANARY_CODE.lower()[:8], CANARY.lower().split("^")[1][:8], str(CANARY_NUMBER)[:8], CANARY_DATE)
    return [trace for trace in traces if trace in text.lower()]
