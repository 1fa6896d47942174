"""Films to try: phantoms, at least one for each verdict."""

import io
import tempfile
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from chexkeras.dicom.read import read_dicom
from chexkeras.phantoms.cohort import make_cohort
from chexkeras.phantoms.dicom import write_dicom_folder
from chexkeras.runs.run import Run

_SEED, _IMAGES = 2024, 40
_SIDE, _LARGEST_SIDE = 512, 1024
_OF_FILES = (
    ("accepted", "accept_01_pa.dcm", "accept", "an adult's frontal film"),
    ("accepted-other", "accept_02_ap.dcm", "accept", "a film taken in bed (AP)"),
    ("child", "reject_child.dcm", "reject", "a child of 7 years"),
    ("lateral", "reject_view_lateral.dcm", "reject", "a lateral view"),
    ("hand", "reject_body_part_hand.dcm", "reject", "a hand"),
    ("damaged", "reject_truncated.dcm", "reject", "a damaged file"),
)


class ExampleFilm(NamedTuple):
    """A synthetic film.

    Attributes:
        words: What it shows.
        content: The file.
        verdict: What the gate should say of it: "accept", "warn" or "reject".
    """

    words: str
    content: bytes
    verdict: str


def example_films(side: int = _SIDE) -> dict[str, ExampleFilm]:
    """Returns phantoms to try, by key.

    Every film is synthetic. The warned ones are plain PNG files, which say nothing of themselves; in one of them the
    grey values are inverted.

    Args:
        side: Rows and columns, pixels; at least 256 are made.
    """
    found = {}
    with tempfile.TemporaryDirectory(prefix="chexkeras-") as folder:
        dicom = Path(folder) / "dicom"
        write_dicom_folder(dicom, make_cohort(_IMAGES, _SEED), _SEED, side)
        for key, file, verdict, words in _OF_FILES:
            found[key] = ExampleFilm(words, (dicom / file).read_bytes(), verdict)
        pixels = read_dicom(dicom / "accept_01_pa.dcm").pixels
    picture = Image.fromarray(pixels)
    found["warned"] = ExampleFilm("a PNG file without a header", _png(picture), "warn")
    found["inverted"] = ExampleFilm("a PNG file whose grey values are inverted", _png(ImageOps.invert(picture)), "warn")
    return found


def usual_side(run: Run) -> int:
    """Returns rows and columns of films as a run has learnt from, so that the examples are nothing unusual to it.

    Args:
        run: The run.
    """
    sides = run.resolution.short_side_px if run.resolution is not None else ()
    return min(round(sides[len(sides) // 2]), _LARGEST_SIDE) if sides else _SIDE


def _png(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()
