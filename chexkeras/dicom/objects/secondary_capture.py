"""The secondary capture of a film: a small picture, heat map, scores and cautions burnt in, for any viewer."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from chexkeras.arguments import checked
from chexkeras.dicom import privacy
from chexkeras.dicom.objects.common import SeriesOf, highdicom
from chexkeras.dicom.objects.film_map import LEVEL, FilmMap
from chexkeras.dicom.objects.source import SourceFilm
from chexkeras.dicom.objects.told import DeviceFacts, FilmResult
from chexkeras.dicom.objects.wording import PRELIMINARY, caution_lines, device_lines, finding_lines, tested_line

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SERIES = SeriesOf("sc", 9002, "chest film with scores burnt in")

LONGEST_SIDE, NARROWEST = 1024, 640
"""The film is reduced, or enlarged, to at most so many pixels; the picture is at least so wide, for its words."""

_TEXT_SHARE, _SMALLEST_TEXT = 1 / 50, 14
_TITLE = 1.5
_WHITE, _GREY, _AMBER, _RED, _CYAN = (255, 255, 255), (190, 190, 190), (255, 191, 0), (255, 96, 64), (0, 255, 255)
_MOST_OPAQUE = 0.45
_HEAT = np.array([255.0, 80.0, 0.0])


class _Words(NamedTuple):
    text: str
    colour: tuple[int, int, int]
    larger: bool = False


@checked
def secondary_capture(
    film: SourceFilm,
    device: DeviceFacts,
    result: FilmResult,
    shown: NDArray[np.uint8],
    maps: Sequence[FilmMap] = (),
) -> "Dataset":
    """Builds the secondary capture of a film that was scored: a derived colour image, not for diagnosis.

    Args:
        film: The film.
        device: The algorithm.
        result: What it says of the film.
        shown: uint8 array (rows, columns), the film upright, 0 black.
        maps: Heat maps to lay over it.

    Returns:
        The object, of highdicom's class `SCImage`.

    Raises:
        ValueError: If the film was not assessed, or highdicom is not installed.

    Source:
        PS3.3 A.8.1 (Secondary Capture Image), C.7.6.1.1.2 (Image Type), C.8.6.1, C.12.1.1.9.
    """
    if not result.assessed:
        raise ValueError("a film that was not assessed has no score to show; its structured report says why.")
    sc = highdicom("sc")
    source = film.dataset
    with privacy.quiet():
        picture = draw(shown, device, result, maps)
        capture = sc.SCImage(
            pixel_array=picture,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            study_instance_uid=source.StudyInstanceUID,
            patient_id=source.PatientID,
            patient_name=source.PatientName,
            patient_birth_date=source.PatientBirthDate or None,
            patient_sex=source.PatientSex,
            accession_number=source.AccessionNumber,
            study_id=source.StudyID,
            study_date=source.StudyDate or None,
            study_time=source.StudyTime or None,
            referring_physician_name=source.ReferringPhysicianName,
            patient_orientation=("L", "F"),
            specific_character_set="ISO_IR 192",
            **SERIES.identity(film, device, result, ";".join(f"{each.finding} {each.method}" for each in maps)),
        )
        if "IssuerOfPatientID" in source:
            capture.IssuerOfPatientID = source.IssuerOfPatientID
        _describe(capture, film, device, maps)
    return capture


def _describe(capture: Any, film: SourceFilm, device: DeviceFacts, maps: Sequence[FilmMap]) -> None:
    """Says what the picture is, of what, and that it must not be read in place of the film."""
    from pydicom.dataset import Dataset

    capture.ImageType = ["DERIVED", "SECONDARY", "", "AI"]
    capture.BurnedInAnnotation = "YES"
    capture.BodyPartExamined = "CHEST"
    capture.ConversionType = "WSD"
    capture.LossyImageCompression = "00"
    overlay = "heat map, scores and cautions" if maps else "scores and cautions"
    capture.DerivationDescription = (
        f"{device.mark}. AI result of {device.name} {device.version}: the film, reduced, with {overlay} burnt in. "
        "Not for diagnosis."
    )
    reference = Dataset()
    reference.ReferencedSOPClassUID = film.dataset.SOPClassUID
    reference.ReferencedSOPInstanceUID = film.dataset.SOPInstanceUID
    purpose = Dataset()
    # PS3.16 CID 7202: image that was used to derive another one.
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    reference.PurposeOfReferenceCodeSequence = [purpose]
    capture.SourceImageSequence = [reference]


def draw(
    shown: NDArray[np.uint8], device: DeviceFacts, result: FilmResult, maps: Sequence[FilmMap]
) -> NDArray[np.uint8]:
    """Returns the picture: the mark above the film, maps on it, words below; no identifier is drawn.

    Args:
        shown: uint8 array (rows, columns), the film upright.
        device: The algorithm.
        result: What it says of the film.
        maps: Heat maps to lay over the film.

    Returns:
        uint8 array (rows, columns, 3), RGB.
    """
    rows, columns = shown.shape
    scale = min(LONGEST_SIDE / max(rows, columns), max(NARROWEST / columns, 1.0))
    size = max(round(columns * scale), 1), max(round(rows * scale), 1)
    film = Image.fromarray(shown).resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)
    film = _overlaid(film, maps)
    width = max(film.width, NARROWEST)
    text_px = max(round(width * _TEXT_SHARE), _SMALLEST_TEXT)
    above = _panel([_Words(device.mark, _AMBER, larger=True), _Words(PRELIMINARY, _GREY)], width, text_px)
    below = _panel(_words(device, result, maps), width, text_px)
    canvas = Image.new("RGB", (width, above.height + film.height + below.height))
    canvas.paste(above, (0, 0))
    canvas.paste(film, ((width - film.width) // 2, above.height))
    canvas.paste(below, (0, above.height + film.height))
    return np.asarray(canvas)


def _overlaid(film: Image.Image, maps: Sequence[FilmMap]) -> Image.Image:
    """Returns the film in colours, with heat laid over and a line round where it is strong."""
    grey = np.repeat(np.asarray(film, np.float32)[..., np.newaxis], 3, axis=2)
    heat = np.zeros(grey.shape[:2], np.float32)
    for each in maps:
        levels = Image.fromarray(each.levels()).resize(film.size, Image.Resampling.BILINEAR)
        heat = np.maximum(heat, np.asarray(levels))
    opacity = _MOST_OPAQUE * heat[..., np.newaxis]
    coloured = Image.fromarray(np.rint(grey * (1 - opacity) + _HEAT * opacity).astype(np.uint8))
    pen = ImageDraw.Draw(coloured)
    for each in maps:
        for line in each.contours((film.height, film.width)):
            pen.line([tuple(point) for point in line.tolist()], fill=_CYAN, width=max(film.width // 400, 1))
    return coloured


def _words(device: DeviceFacts, result: FilmResult, maps: Sequence[FilmMap]) -> list[_Words]:
    called = zip(finding_lines(result), result.findings, strict=True)
    words = [_Words(line, _RED if each.call == "positive" else _WHITE) for line, each in called]
    found = {each.finding for each in result.findings}
    if len(found) == 1:
        words += [_Words(tested_line(each), _GREY) for each in device.tested if each.finding in found]
    for each in maps:
        strong = f"line at {LEVEL:.0%} of its highest value" if each.levels().any() else "nowhere above 0"
        words.append(_Words(f"Heat map of {each.finding} ({each.method}), {strong}. {each.note}", _CYAN))
    words += [_Words(line, _AMBER) for line in caution_lines(device, result)]
    return [*words, *(_Words(line, _GREY) for line in device_lines(device, result))]


def _panel(words: Sequence[_Words], width: int, text_px: int) -> Image.Image:
    """Returns lines on black, wrapped to the width."""
    margin, lines = text_px // 2, []
    for each in words:
        px = round(text_px * _TITLE) if each.larger else text_px
        font = _font(px)
        wrapped = _wrapped(each.text, font, width - 2 * margin)
        lines += [(line, each.colour, font, round(px * 1.3)) for line in wrapped]
    panel = Image.new("RGB", (width, 2 * margin + sum(height for *_, height in lines)))
    pen, top = ImageDraw.Draw(panel), margin
    for line, colour, font, height in lines:
        pen.text((margin, top), line, fill=colour, font=font)
        top += height
    return panel


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Returns lines that are no wider than so many pixels; a word that is wider is broken."""
    lines = [""]
    # So many of the widest letter fit into a line.
    longest = max(int(width / font.getlength("W")), 1)
    words = [part for word in text.split() for part in textwrap.wrap(word, longest)]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _font(px: int) -> ImageFont.FreeTypeFont:
    """Returns a typeface that every installation has: matplotlib brings it along."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), px)
