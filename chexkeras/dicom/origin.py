"""Whether a file says of itself that its image was made by a program: what its first bytes hold, unparsed.

A file that is refused says so as well as one that is scored, and results must not lose it: numbers from synthetic files
are no evidence about patients, whatever the model was trained on. Only what the file itself holds counts, not the name
of a folder: files are copied.
"""

import os
from pathlib import Path

MADE_BY = "chexkeras phantom"
"""What every synthetic image of this package names as its maker: Manufacturer of a DICOM file, a text in a PNG or JPEG
file."""

YES, NO, UNKNOWN = "yes", "no", ""
"""Marked as synthetic; not marked; not looked at, as an array or a file that cannot be opened."""

_HEAD_BYTES = 16_384
# Synthetic Data (0008,001C), code string YES: explicit and implicit, little endian. Source: PS3.3 C.7.6.1.
_TAG = (b"\x08\x00\x1c\x00CS\x04\x00YES ", b"\x08\x00\x1c\x00\x04\x00\x00\x00YES ")


def synthetic(content: Path | bytes) -> str:
    """Returns whether a file is marked as synthetic, by its own first bytes: `YES`, `NO`, or `UNKNOWN`.

    Nothing is parsed, so that no file can do harm here. A mark that is compressed, or stands far behind, is not seen.

    Args:
        content: A DICOM, PNG or JPEG file, or its bytes.
    """
    head = content[:_HEAD_BYTES] if isinstance(content, bytes) else _head(content)
    if head is None:
        return UNKNOWN
    return YES if MADE_BY.encode() in head or any(tag in head for tag in _TAG) else NO


def _head(path: Path) -> bytes | None:
    try:
        # A pipe would be waited for.
        if not os.path.isfile(path):
            return None
        with path.open("rb") as handle:
            return handle.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return None
