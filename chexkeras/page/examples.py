"""Films to try: phantoms, at least one for each verdict."""

import io
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

from chexkeras.dicom.read import read_dicom
from chexkeras.phantoms.cohort import make_cohort
from chexkeras.phantoms.dicom import write_dicom_folder

_SEED, _IMAGES, _SIZE = 2024, 40, 512
_OF_FILES = (
    ("accepted", "accept_01_pa.dcm", "accepted: an adult's frontal film"),
    ("accepted-other", "accept_02_ap.dcm", "accepted: a film taken in bed (AP)"),
    ("child", "reject_child.dcm", "refused: a child of 7 years"),
    ("lateral", "reject_view_lateral.dcm", "refused: a lateral view"),
    ("hand", "reject_body_part_hand.dcm", "refused: a hand"),
    ("damaged", "reject_truncated.dcm", "refused: a damaged file"),
)


def example_films() -> dict[str, tuple[str, bytes]]:
    """Returns phantoms to try, by key: what each shows, and the content of its file.

    Every film is synthetic. The warned ones are plain PNG files, which say nothing of themselves; in one of them the
    grey values are inverted.
    """
    found = {}
    with tempfile.TemporaryDirectory(prefix="chexkeras-") as folder:
        dicom = Path(folder) / "dicom"
        write_dicom_folder(dicom, make_cohort(_IMAGES, _SEED), _SEED, _SIZE)
        for key, file, words in _OF_FILES:
            found[key] = (words, (dicom / file).read_bytes())
        pixels = read_dicom(dicom / "accept_01_pa.dcm").pixels
    picture = Image.fromarray(pixels)
    found["warned"] = ("with a warning: a PNG file without a header", _png(picture))
    found["inverted"] = ("with warnings: a PNG file whose grey values are inverted", _png(ImageOps.invert(picture)))
    return found


def _png(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()
