"""A folder of DICOM files: images a classifier should accept, and images with one mistake each."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.dicom.origin import MADE_BY
from chexkeras.findings import NO_FINDING
from chexkeras.phantoms.canvas import Canvas
from chexkeras.phantoms.cohort import PhantomImage
from chexkeras.phantoms.render import render

Pixels = NDArray[Any]

# What each acceptable image should show, in order of preference: view, finding.
_WANTED = (
    ("PA", NO_FINDING),
    ("AP", "Effusion"),
    ("PA", "Cardiomegaly"),
    ("AP", NO_FINDING),
    ("PA", "Pneumonia"),
    ("AP", "Edema"),
)
# The 4th is stored with 12 bits and a window, the 5th as MONOCHROME1 as well; the others are 8-bit MONOCHROME2.
_TWELVE_BIT, _INVERTED = {3, 4}, {4}
_LOW, _HIGH = 300, 3700
_ADULT_YEARS = 18
SMALLEST = 256
"""Fewest pixels a side of a DICOM image."""


def _uid(seed: int, *parts: object) -> str:
    """Returns a UID of the UUID branch (2.25) that depends on the seed and the name alone."""
    digest = hashlib.sha256("/".join(map(str, (seed, *parts))).encode()).hexdigest()
    return f"2.25.{int(digest[:32], 16)}"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _image_dataset(image: PhantomImage, pixels: Pixels, seed: int, name: str) -> Dataset:
    """Returns a complete digital X-ray object (PS3.3 A.26) around the pixels of an image."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SpecificCharacterSet = "ISO_IR 192"
    data.ImageType = ["ORIGINAL", "PRIMARY", ""]
    data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.SOPInstanceUID = _uid(seed, "instance", name)
    data.StudyInstanceUID = _uid(seed, "study", name)
    data.SeriesInstanceUID = _uid(seed, "series", name)
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.ReferringPhysicianName = data.StudyID = ""
    data.Modality = "DX"
    data.PresentationIntentType = "FOR PRESENTATION"
    data.Manufacturer, data.SyntheticData = MADE_BY, "YES"
    data.PatientName = f"PHANTOM^{image.patient:04d}"
    data.PatientID = f"PHANTOM{image.patient:04d}"
    data.PatientBirthDate = ""
    data.PatientSex = image.sex
    data.PatientAge = f"{image.age_years:03d}Y"
    data.BodyPartExamined = "CHEST"
    data.ViewPosition = image.view
    data.SeriesNumber, data.InstanceNumber = 1, image.follow_up + 1
    data.ImageLaterality = "U"
    data.PatientOrientation = ["L", "F"]
    data.AnatomicRegionSequence = [_code("51185008", "SCT", "Thoracic structure")]
    view = ("399348003", "antero-posterior") if image.view == "AP" else ("272479007", "postero-anterior")
    data.ViewCodeSequence = [_code(view[0], "SCT", view[1])]
    data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign = "LOG", 1
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "0", "1", "US"
    data.LossyImageCompression, data.BurnedInAnnotation = "00", "NO"
    # The image shows what the original did with fewer pixels: each is wider.
    spacing = round(image.original[2] * image.original[0] / pixels.shape[1], 4)
    data.ImagerPixelSpacing = data.PixelSpacing = [spacing, spacing]
    _set_pixels(data, pixels)
    return data


def _set_pixels(data: Dataset, pixels: Pixels, bits: int = 8, inverted: bool = False) -> None:
    """Stores pixels of 0-255, dense tissue bright; 12 bits hold them as `_LOW` to `_HIGH` with the window back."""
    frames = pixels
    if bits == 12:
        frames = np.round(_LOW + pixels.astype(np.float64) * ((_HIGH - _LOW) / 255)).astype("<u2")
        data.WindowCenter, data.WindowWidth = str((_LOW + _HIGH + 1) / 2), str(_HIGH - _LOW + 1)
        data.WindowCenterWidthExplanation = "NORMAL"
    if inverted:
        top = 2**bits - 1
        frames = (top - frames).astype(frames.dtype)
        if bits == 12:
            data.WindowCenter = str(top - (_LOW + _HIGH) / 2 + 0.5)
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    data.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    data.Rows, data.Columns = frames.shape[-2:]
    data.BitsAllocated = 8 if bits == 8 else 16
    data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits - 1, 0
    content = frames.tobytes()
    data.add_new("PixelData", "OB" if bits == 8 else "OW", content + b"\x00" * (len(content) % 2))


def write_dicom_image(path: Path, image: PhantomImage, pixels: Pixels, seed: int, *, lateral: bool = False) -> None:
    """Writes one image as a DICOM file.

    Args:
        path: The file.
        image: Whose image it is.
        pixels: uint8 array (rows, columns), dense tissue bright.
        seed: The cohort's seed; UIDs depend on it and on the file's name.
        lateral: Whether the header calls it a lateral view.
    """
    data = _image_dataset(image, pixels, seed, path.name)
    _set_pixels(data, pixels)
    if lateral:
        _call_lateral(data)
    _save(data, path)


def _call_lateral(data: Dataset) -> None:
    data.ViewPosition, data.PatientOrientation = "LL", ["A", "F"]
    data.ViewCodeSequence = [_code("399198007", "SCT", "left lateral")]


def _save(data: Dataset, path: Path) -> None:
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(path, enforce_file_format=True)


def _chosen(images: Sequence[PhantomImage]) -> list[PhantomImage]:
    """Returns about six different adult images of the test list (others where it is too short)."""
    adults = [image for image in images if image.age_years >= _ADULT_YEARS]
    adults.sort(key=lambda image: not image.test)
    chosen: list[PhantomImage] = []
    patients: set[int] = set()
    for view, finding in _WANTED:

        def rank(image: PhantomImage, view: str = view, finding: str = finding) -> tuple[bool, ...]:
            shown = finding in image.labels or (finding == NO_FINDING and not image.labels)
            return (image in chosen, not image.test, image.patient in patients, image.view != view, not shown)

        best = min(adults, key=rank, default=None)
        if best is not None and best not in chosen:
            chosen.append(best)
            patients.add(best.patient)
    return chosen


def _hand(size: int) -> Pixels:
    """Returns a schematic hand: a palm and five fingers with their joints."""
    canvas = Canvas(size)
    canvas.line([(0.5, 0.98), (0.5, 0.72)], 0.20, 0.45)
    canvas.ellipse((0.5, 0.64), (0.19, 0.17), 0.45)
    for index, (x, y) in enumerate(((0.14, 0.42), (0.32, 0.16), (0.47, 0.10), (0.62, 0.15), (0.76, 0.27))):
        base = (0.34 + 0.085 * index, 0.62 if index == 0 else 0.52)
        canvas.line([base, (x, y)], 0.075, 0.45)
        canvas.line([(0.48 + 0.02 * index, 0.76), base, (x, y)], 0.030, 0.85)
        for share in (0.02, 0.40, 0.72):
            joint = (base[0] + share * (x - base[0]), base[1] + share * (y - base[1]))
            canvas.ellipse(joint, (0.021, 0.021), 0.95)
    return (canvas.field(blur=0.004) * 235 + 8).astype(np.uint8)


def _rejects(image: PhantomImage, pixels: Pixels) -> list[tuple[str, str, Callable[[Dataset], None]]]:
    """Returns (file, what is wrong, the change that makes it so) for every reason that a data set can carry."""

    def setting(**values: Any) -> Callable[[Dataset], None]:
        def apply(data: Dataset) -> None:
            for keyword, value in values.items():
                setattr(data, keyword, value)

        return apply

    def hand(data: Dataset) -> None:
        data.BodyPartExamined, data.AnatomicRegionSequence = "HAND", [_code("85562004", "SCT", "Hand")]
        _set_pixels(data, _hand(len(pixels)))

    def unknown_view(data: Dataset) -> None:
        data.ViewPosition = "XX"
        del data.ViewCodeSequence
        del data.PatientOrientation

    def dog(data: Dataset) -> None:
        data.PatientSpeciesDescription, data.PatientBreedDescription = "Canine", "Beagle"
        data.ResponsiblePerson, data.ResponsiblePersonRole = "PHANTOM^OWNER", "OWNER"

    def frames(data: Dataset) -> None:
        _set_pixels(data, np.stack([pixels] * 3))
        data.NumberOfFrames = 3

    def no_pixels(data: Dataset) -> None:
        for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
            del data[keyword]

    def colour(data: Dataset) -> None:
        shades = np.stack([pixels, pixels // 2, 255 - pixels], axis=-1)
        data.SOPClassUID, data.Modality, data.ConversionType = SecondaryCaptureImageStorage, "OT", "WSD"
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
        data.PixelData = shades.tobytes() + b"\x00" * (shades.size % 2)

    small = np.asarray(Image.fromarray(pixels).resize((40, 40), Image.Resampling.BOX))
    return [
        ("reject_modality_ct.dcm", "a CT slice", setting(Modality="CT", SOPClassUID=CTImageStorage)),
        ("reject_body_part_hand.dcm", "a hand", hand),
        ("reject_view_lateral.dcm", "a lateral view", _call_lateral),
        ("reject_view_unknown.dcm", "a view that says neither PA nor AP (XX)", unknown_view),
        ("reject_child.dcm", "a child of 7 years", setting(PatientAge="007Y")),
        ("reject_species_dog.dcm", "an animal", dog),
        ("reject_too_small.dcm", "40 x 40 pixels", lambda data: _set_pixels(data, small)),
        ("reject_multiframe.dcm", "three frames", frames),
        (
            "reject_for_processing.dcm",
            "raw detector values, not for presentation",
            setting(SOPClassUID=DigitalXRayImageStorageForProcessing, PresentationIntentType="FOR PROCESSING"),
        ),
        ("reject_constant.dcm", "one grey everywhere", lambda data: _set_pixels(data, np.full_like(pixels, 128))),
        ("reject_no_pixels.dcm", "no pixel data", no_pixels),
        ("reject_secondary_capture_colour.dcm", "a colour screenshot", colour),
    ]


@checked
def write_dicom_folder(folder: Path, images: Sequence[PhantomImage], seed: int, size: int) -> None:
    """Writes DICOM files and ``dicom_expected.csv`` beside the folder (file, verdict, what).

    Args:
        folder: The folder to make.
        images: The cohort.
        seed: The cohort's seed; UIDs depend on it.
        size: Pixels a side of the cohort's PNG files. DICOM images have at least `SMALLEST`: images of 64 pixels do for
            a quick test, but no radiograph is that small. From that size on both hold the same pixels.
    """
    folder.mkdir()
    size = max(size, SMALLEST)
    rows: list[tuple[str, str, str]] = []
    for index, image in enumerate(_chosen(images)):
        name = f"accept_{index + 1:02d}_{image.view.lower()}.dcm"
        pixels = render(image, seed, size)[0]
        data = _image_dataset(image, pixels, seed, name)
        bits, inverted = (12 if index in _TWELVE_BIT else 8), index in _INVERTED
        _set_pixels(data, pixels, bits, inverted)
        _save(data, folder / name)
        what = f"{image.view} image {image.image_id}, {bits} bit {data.PhotometricInterpretation}"
        rows.append((name, "accept", f"{what}: {' and '.join(image.labels) or NO_FINDING}"))

    # The same good image spoilt in one way each: only the reason differs.
    model = next((image for image in _chosen(images)), images[0])
    pixels = render(model, seed, size)[0]
    for name, what, spoil in _rejects(model, pixels):
        data = _image_dataset(model, pixels, seed, name)
        data.PatientAge = f"{max(model.age_years, 45):03d}Y"
        spoil(data)
        _save(data, folder / name)
        rows.append((name, "reject", what))

    whole = folder / "whole.dcm"
    _save(_image_dataset(model, pixels, seed, "reject_truncated.dcm"), whole)
    content = whole.read_bytes()
    whole.unlink()
    page = "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n"
    damaged = {
        "reject_truncated.dcm": (content[: len(content) - pixels.size // 2], "a file cut short in its pixel data"),
        "reject_not_dicom.dcm": (page.encode(), "a web page saved under a DICOM name"),
        "reject_empty.dcm": (b"", "an empty file"),
    }
    for name, (bytes_written, what) in damaged.items():
        (folder / name).write_bytes(bytes_written)
        rows.append((name, "reject", what))
    files.write_csv(
        folder.parent / "dicom_expected.csv", pd.DataFrame(sorted(rows), columns=["file", "verdict", "what"])
    )
