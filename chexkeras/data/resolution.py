"""How many pixels the files of an image table have, read from their headers: no image is decoded."""

import math

import numpy as np
import pandas as pd
from PIL import Image

from chexkeras import storage
from chexkeras.dicom.facts import header_facts
from chexkeras.dicom.pixels import image_file
from chexkeras.dicom.read import is_dicom
from chexkeras.parallel import available_cores, map_ordered
from chexkeras.results.resolution import SHARES, SourceResolution

_MOST_IMAGES = 5_000


def source_resolution(table: pd.DataFrame, image_size: int, *, seed: int = 0) -> SourceResolution | None:
    """Returns the resolution of a table's image files.

    Of more than 5,000 files so many are looked at, drawn at random. The distance of pixels is what DICOM headers give;
    an image file was often reduced without a word on it.

    Args:
        table: Image table with `path`.
        image_size: Height and width that the images are brought to, pixels.
        seed: Decides which files are drawn.

    Returns:
        The resolution; None where no file is at hand, as where the images come from a store alone.
    """
    if "path" not in table:
        return None
    paths = table["path"].fillna("").astype(str).drop_duplicates()
    paths = paths[paths != ""]
    if len(paths) > _MOST_IMAGES:
        paths = paths.sample(_MOST_IMAGES, random_state=seed)
    found = list(map_ordered(_size_of, paths, executor="threads", workers=available_cores(), ahead=64))
    sides = [side for side, _ in found if side]
    spacings = [spacing for side, spacing in found if side and not math.isnan(spacing)]
    if not sides:
        return None
    return SourceResolution(
        image_size=image_size,
        n_images=len(sides),
        short_side_px=_quantiles(sides),
        n_spacings=len(spacings),
        spacing_mm=_quantiles(spacings) if spacings else (),
    )


def _size_of(path: str) -> tuple[int, float]:
    """Returns a file's shorter side in pixels, 0 where it cannot be told, and the distance of its pixels in mm."""
    try:
        if is_dicom(path):
            facts = header_facts(path)
            return min(facts.width_px, facts.height_px), facts.pixel_spacing_mm
        with storage.opened(path) as file, Image.open(file, formats=image_file.FORMATS) as image:
            return min(image.size), math.nan
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        # Whoever decodes it says what is wrong with it.
        return 0, math.nan


def _quantiles(values: list[int] | list[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(values, SHARES))
