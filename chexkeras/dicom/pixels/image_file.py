"""PNG and JPEG files as grey values: one way for training and for scoring, so that both see the same image.

Pillow decodes. Training lets TensorFlow decode the files that `is_plain_grey` finds, which is faster and gives the
same values.
"""

import io
from typing import TYPE_CHECKING

import numpy as np

from chexkeras.dicom import privacy
from chexkeras.dicom.pixels import codestream, plausibility

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG")

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
# Bilevel, grey and colour, with palette and alpha. Not CMYK, whose inks Adobe's programs store turned over and others
# do not, nor YCCK.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L")
# Bits and colour type of IHDR: eight, grey.
_EIGHT_BIT_GREY = b"\x08\x00"
# An animation in a PNG file (its frames need not show what its first image shows), and where Pillow looks there for an
# orientation: a chunk of its own, or text that begins with one of the words. It unpacks packed text, and refuses what
# becomes too long.
_ANIMATED = b"acTL"
_ORIENTED, _TEXT = (b"eXIf", b"zTXt", b"iTXt"), b"tEXt"
_ORIENTED_WORDS = (b"Raw profile type exif", b"XML:com.adobe.xmp")
# Sequential and progressive frames coded by Huffman; and the segments that hold EXIF or XMP, and so an orientation, or
# the list of several pictures in one file (CIPA DC-007).
_USUAL_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_APP1, _APP2 = 0xE1, 0xE2


def is_image(start: bytes) -> bool:
    """Returns whether a file begins as a PNG or JPEG file does.

    Args:
        start: Its first eight bytes, or more.

    Source:
        PNG (ISO/IEC 15948) 5.2; ITU-T T.81 B.1.1.3.
    """
    return start.startswith((_PNG, _JPEG))


def is_plain_grey(content: bytes) -> bool:
    """Returns whether a file holds one picture of 8-bit grey values and no orientation, the same in any good decoder.

    Args:
        content: A PNG or JPEG file; what is damaged or neither is not plain.
    """
    if content.startswith(_PNG):
        return content[24:26] == _EIGHT_BIT_GREY and not _has_special_chunk(content)
    try:
        markers = list(codestream.jpeg_segments(content))
        frame = codestream.jpeg_frame(content)
    except ValueError:
        return False
    is_usual = markers[-1] in _USUAL_FRAMES and not {_APP1, _APP2} & set(markers)
    return is_usual and (frame.samples, frame.bits) == (1, 8)


def _has_special_chunk(content: bytes) -> bool:
    """Returns whether a PNG file has an animation or an orientation."""
    at = len(_PNG)
    while at + 8 <= len(content):
        kind = content[at + 4 : at + 8]
        if kind == _ANIMATED or kind in _ORIENTED or (kind == _TEXT and content.startswith(_ORIENTED_WORDS, at + 8)):
            return True
        # Length, kind and checksum stand around the data.
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return False


def decode(content: bytes) -> np.ndarray:
    """Returns the grey values of a PNG or JPEG file.

    Args:
        content: The file.

    Returns:
        (rows, columns), uint8.

    Raises:
        ValueError: If it cannot be decoded, is not grey or RGB, or holds several pictures.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return grey_values(image)
    except privacy.decode_errors() as error:
        raise ValueError(f"not a whole PNG or JPEG file in grey or RGB ({privacy.scrub(error)}).") from None


def picture_count(image: "Image") -> int:
    """Returns how many pictures a file holds: an animated PNG file, or a JPEG file of several (MPO).

    Which of them would be meant is not said: the first one can be a preview, or no part of the animation.

    Args:
        image: An opened PNG or JPEG file.

    Source:
        PNG (third edition) 11.3.6.1 (acTL); CIPA DC-007 (multi-picture format).
    """
    return int(getattr(image, "n_frames", 1))


def is_cut_short(image: "Image") -> bool:
    """Returns whether the data of a JPEG image ended before its last rows, which decoders fill with gray.

    Args:
        image: An opened PNG or JPEG file; PNG files have a checksum.

    Raises:
        OSError: If the image cannot be decoded at all.
    """
    return image.format == "JPEG" and plausibility.ends_in_nothing(np.asarray(image.convert("L")))


def is_decodable(image: "Image") -> bool:
    """Returns whether an image has a mode that `grey_values` takes."""
    return image.mode in _MODES


def grey_values(image: "Image") -> np.ndarray:
    """Returns an image's grey values, turned as it is to be shown; colour becomes luma, transparency is left out.

    Args:
        image: An opened PNG or JPEG file.

    Returns:
        (rows, columns), uint8.

    Raises:
        ValueError: If the image is not grey or RGB, is one of several, or ends before its last rows.

    Source:
        EXIF 2.32, 4.6.4, tag 274 (orientation); ITU-R BT.601 (luma).
    """
    from PIL import ImageOps

    if not is_decodable(image):
        raise ValueError(f"the image has the mode {image.mode}; expected grey or RGB.")
    if picture_count(image) > 1:
        raise ValueError(f"the file holds {picture_count(image)} pictures; expected one.")
    if is_cut_short(image):
        raise ValueError("the data end before the last rows; expected a whole image.")
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        # 16-bit grey values, 65535 white; Pillow's own conversion to 8 bits would clip them.
        return np.rint(np.asarray(image, dtype=np.float64) / 257.0).astype(np.uint8)
    return np.asarray(image.convert("L"))


def narrow_bits(image: "Image") -> int:
    """Returns how many bits the values of a 16-bit grey image take where these are fewer than 16, and else 0.

    White is 65535 in 16 bits, and such an image is dark: 12 bits of a detector, saved as they are, fill a sixteenth of
    the scale. Nothing scales them up, since a file does not say of how many bits its values are.

    Args:
        image: An opened PNG or JPEG file that `grey_values` takes.

    Source:
        PNG (ISO/IEC 15948) 13.12: samples of fewer bits are scaled to the full range when they are written.
    """
    if not image.mode.startswith("I"):
        return 0
    bits = int(np.asarray(image).max()).bit_length()
    return bits if bits < 16 else 0


def colour_difference(image: "Image") -> int:
    """Returns by how many grey values the channels of an image differ at most; 0 for a grey image.

    Args:
        image: An opened PNG or JPEG file that `grey_values` takes.
    """
    if image.mode not in ("P", "PA", "RGB", "RGBA"):
        return 0
    channels = np.asarray(image.convert("RGB"))
    return int((channels.max(axis=-1) - channels.min(axis=-1)).max())


def is_opaque(image: "Image") -> bool:
    """Returns whether every pixel of an image is shown; what lies under a transparent one is seen in no viewer.

    Args:
        image: An opened PNG or JPEG file that `grey_values` takes.
    """
    if image.mode in ("LA", "PA", "RGBA"):
        alpha = image.getchannel("A")
    elif "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        alpha = image.convert("RGBA").getchannel("A")
    else:
        return True
    return alpha.getextrema() == (255, 255)
