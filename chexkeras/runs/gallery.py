"""The gallery of heat maps that a run keeps: a few small images in one file, and their maps in heatmaps.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chexkeras import files
from chexkeras.results import HeatmapStudy
from chexkeras.results.heatmaps import OUTCOMES
from chexkeras.runs import documents

GALLERY = "heatmaps.png"
"""Where a run keeps the images of the gallery: in shades of gray, one below the other."""

MOST_IMAGES, MOST_SIDE_PX, MOST_CELLS = 24, 512, 64
_MOST_BYTES = 8 * 2**20
_EIGHT_BIT_GREY = b"\x08\x00"
_FIX = "Make it again: chexkeras explain --overwrite."


class Gallery(NamedTuple):
    """What a gallery is drawn from.

    Attributes:
        images: uint8 array (n, side, side), 0-255.
        maps: float32 array (n, rows, columns).
        boxes: For each image a list of (left, top, width, height), as shares of the side.
    """

    images: NDArray[np.uint8]
    maps: NDArray[np.float32]
    boxes: list[NDArray[np.float64]]


EXAMPLES = documents.listed(
    documents.fields(
        {
            "image_id": documents.text,
            "outcome": documents.one_of(*OUTCOMES),
            "score": documents.number,
            "hit": documents.or_none(documents.flag),
        },
        {
            "map": documents.listed(documents.listed(documents.number, least=1), least=1),
            "boxes": documents.listed(documents.listed(documents.number, least=4)),
        },
    )
)
"""The entries of the gallery in heatmaps.json."""


def write_gallery(folder: Path, images: NDArray[np.uint8]) -> str:
    """Writes the images of a gallery into a run, and returns the file's fingerprint.

    Args:
        folder: The run folder.
        images: (n, side, side), n at most 24, the side at most 512 pixels.
    """
    with files.replacing(folder / GALLERY) as temporary:
        Image.fromarray(images.reshape(-1, images.shape[2])).save(temporary, format="PNG", optimize=True)
    return files.sha256_file(folder / GALLERY)


def read_gallery(folder: Path, study: HeatmapStudy) -> Gallery | None:
    """Returns the gallery of a run; None where it has none.

    Args:
        folder: The run folder.
        study: What was found out about its heat maps.

    Raises:
        ValueError: If the file is another one than the study states, or holds no such images.
    """
    count = len(study.examples)
    if not study.gallery_sha256 or not count:
        return None
    if not (folder / GALLERY).is_file():
        raise ValueError(f"the run has no {GALLERY}, which its heatmaps.json speaks of. {_FIX}")
    path = files.readable(folder / GALLERY, _MOST_BYTES, within=folder)
    if files.sha256_file(path) != study.gallery_sha256:
        raise ValueError(f"{GALLERY} of the run is not the file that was made with its heatmaps.json. {_FIX}")
    try:
        side = _side(path, count)
        with Image.open(path, formats=("PNG",)) as opened:
            images = np.asarray(opened).reshape(count, side, side)
        maps = _array([entry.get("map") for entry in study.examples])
        boxes = [np.asarray(entry.get("boxes", []), np.float64).reshape(-1, 4) for entry in study.examples]
    except (OSError, SyntaxError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{GALLERY} or the gallery in heatmaps.json cannot be read ({error!s:.200}). {_FIX}") from None
    return Gallery(images, maps, boxes)


def _side(path: Path, count: int) -> int:
    """Returns the side of the images, from the head of the file: a small file can hold a huge image."""
    with path.open("rb") as handle:
        head = handle.read(26)
    side, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
    if not head.startswith(b"\x89PNG") or head[24:] != _EIGHT_BIT_GREY:
        raise ValueError("no PNG file of 8-bit shades of gray")
    if count > MOST_IMAGES or not 1 <= side <= MOST_SIDE_PX or height != count * side:
        raise ValueError(f"{side} x {height} pixels for {count} images")
    return side


def _array(maps: Sequence[Any]) -> NDArray[np.float32]:
    array = np.asarray(maps, np.float32)
    if array.ndim != 3 or max(array.shape[1:]) > MOST_CELLS or not np.isfinite(array).all():
        raise ValueError(f"maps of shape {array.shape}")
    return array
