"""What one image file is, seen by decoding it: its size, mode, colour, whether it is constant, its pixels' hash."""

import hashlib
import os
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class FilmFacts:
    """What decoding a file showed.

    Attributes:
        problem: "" or the code "missing_file", "unreadable" or "constant".
        detail: What is wrong, in words; names no folder.
        size: Width and height in pixels; (0, 0) when not decoded.
        mode: Pillow's mode, for example "L" (8-bit gray); "" when not decoded.
        colour: Whether the channels differ, that is, whether gray would lose something.
        digest: Hash of the gray pixels and their size, equal for equal films whatever the file format; "" if none.
    """

    problem: str = ""
    detail: str = ""
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    colour: bool = False
    digest: str = ""


# What Pillow raises on damaged files: most are OSError, a broken PNG chunk is SyntaxError, a broken header ValueError.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError)


def film_facts(path: str) -> FilmFacts:
    """Decodes one film.

    Args:
        path: An image file that Pillow reads; "" counts as missing.

    Returns:
        The facts. A file that cannot be decoded is a fact too and raises nothing. Pillow's limit on pixels
        (``PIL.Image.MAX_IMAGE_PIXELS``, against decompression bombs) is kept: a larger film counts as unreadable.
    """
    name = os.path.basename(path)
    if not path or not os.path.exists(path):
        return FilmFacts("missing_file", "there is no such file")
    try:
        with Image.open(path) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                return FilmFacts(
                    "unreadable", f"{image.width} x {image.height} pixels, more than Pillow's safety limit of {limit}"
                )
            image.load()
            size, mode = image.size, image.mode
            pixels, colour = _gray(image)
    except Image.DecompressionBombError as error:
        return FilmFacts("unreadable", str(error))
    except _DAMAGED as error:
        # Pillow puts the full path into some messages; reports leave the machine, so only the file's name stays.
        return FilmFacts("unreadable", (str(error) or type(error).__name__).replace(path, name))
    if pixels.size == 0 or pixels.min() == pixels.max():
        value = "" if pixels.size == 0 else f", every pixel is {pixels.flat[0]}"
        return FilmFacts("constant", f"an empty film{value}", size, mode, colour)
    digest = hashlib.sha256(f"{size} {pixels.dtype}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return FilmFacts(size=size, mode=mode, colour=colour, digest=digest.hexdigest())


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
