"""What one image file is, seen by decoding it: size, mode, colour, its pixels' hash, and a thumbnail."""

import hashlib
import os
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from chexkeras.dicom import image_file
from chexkeras.dicom.read import is_dicom

THUMBNAIL_PX = 16
"""Width and height of a thumbnail, whatever the shape of the film."""

DICOM = "DICOM"
"""What stands for Pillow's mode where the file is DICOM."""

GRAY_STEPS = 256
"""Steps of a thumbnail in one gray value of 0-255, so that films of low contrast and of 16 bits keep their detail."""


@dataclass(frozen=True)
class FilmFacts:
    """What decoding a file showed.

    Attributes:
        problem: "" or the code "missing_file", "unreadable", "rejected_dicom" or "constant".
        detail: What is wrong, in words; names no folder.
        size: Width and height in pixels; (0, 0) when not decoded.
        mode: Pillow's mode, for example "L" (8-bit gray), or "DICOM"; "" when not decoded.
        colour: Whether the channels differ, that is, whether gray would lose something.
        digest: Hash of the gray pixels and their size, equal for equal films whatever the file format; "" if none.
        thumbnail: 16 x 16 area averages as little-endian uint16, in 1/256 of a gray value of 0-255; b"" if none.
    """

    problem: str = ""
    detail: str = ""
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    colour: bool = False
    digest: str = ""
    thumbnail: bytes = field(default=b"", repr=False)


# What Pillow raises on damaged files: most are OSError, a broken PNG chunk is SyntaxError, a broken header ValueError.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError)


def film_facts(path: str) -> FilmFacts:
    """Decodes one film.

    Args:
        path: A PNG, JPEG or DICOM file; "" counts as missing.

    Returns:
        The facts. A file that cannot be decoded is a fact too and raises nothing. Pillow's limit on pixels
        (``PIL.Image.MAX_IMAGE_PIXELS``, against decompression bombs) is kept: a larger film counts as unreadable.
    """
    name = os.path.basename(path)
    if not path or not os.path.exists(path):
        return FilmFacts("missing_file", "there is no such file")
    try:
        with Image.open(path, formats=image_file.FORMATS) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                return FilmFacts(
                    "unreadable", f"{image.width} x {image.height} pixels, more than Pillow's safety limit of {limit}"
                )
            if not image_file.is_decodable(image):
                return FilmFacts("unreadable", f"an image of the mode {image.mode}; grey or RGB was expected")
            image.load()
            size, mode = image.size, image.mode
            pixels, colour = _gray(image)
    except Image.DecompressionBombError as error:
        return FilmFacts("unreadable", str(error))
    except _DAMAGED as error:
        if is_dicom(path):
            return _dicom_facts(path)
        # Pillow puts the full path into some messages; reports leave the machine, so only the file's name stays.
        return FilmFacts("unreadable", (str(error) or type(error).__name__).replace(path, name))
    return _seen(pixels, size, mode, colour)


def _dicom_facts(path: str) -> FilmFacts:
    """Returns what the DICOM gate says of a file; an accepted one is seen as the classifier would see it."""
    from chexkeras.dicom.gate import DicomRejected
    from chexkeras.dicom.read import read_dicom

    try:
        pixels = read_dicom(path).pixels
    except DicomRejected as rejected:
        return FilmFacts("rejected_dicom", str(rejected))
    return _seen(pixels, (pixels.shape[1], pixels.shape[0]), DICOM, False)


def _seen(pixels: np.ndarray, size: tuple[int, int], mode: str, colour: bool) -> FilmFacts:
    if pixels.size == 0 or pixels.min() == pixels.max():
        value = "" if pixels.size == 0 else f", every pixel is {pixels.flat[0]}"
        return FilmFacts("constant", f"an empty film{value}", size, mode, colour)
    digest = hashlib.sha256(f"{size} {pixels.dtype}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return FilmFacts(
        size=size, mode=mode, colour=colour, digest=digest.hexdigest(), thumbnail=thumbnail(pixels).tobytes()
    )


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Reduces a film to 16 x 16 area averages, of whole pixels where a border runs through some.

    Args:
        pixels: Gray pixels (height, width), 0-255, or 0-65535 when any exceeds 255.

    Returns:
        Little-endian uint16 array (16, 16), in 1/256 of a gray value of 0-255.

    Example:
        >>> int(thumbnail(np.full((320, 256), 100, np.uint8))[0, 0]) / GRAY_STEPS
        100.0
    """
    whole = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    small = np.asarray(whole.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX), dtype=np.float64)
    steps = GRAY_STEPS / 257 if pixels.max() > 255 else GRAY_STEPS
    return np.clip(np.rint(small * steps), 0, 65535).astype("<u2")


def _gray(image: Image.Image) -> tuple[np.ndarray, bool]:
    """Returns gray pixels, and whether the colour channels differ."""
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image), False
    if image.mode == "LA":
        return np.asarray(image.getchannel("L")), False
    rgb = np.asarray(image.convert("RGB"))
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return red, False
    return np.asarray(image.convert("RGB").convert("L")), True
