"""Files of the format safetensors: a list of arrays as JSON, then their numbers.

Source: the format's own page (huggingface.co/docs/safetensors): eight bytes with the list's length, the list, the
numbers.
"""

import math
from pathlib import Path

import numpy as np

from chexkeras.models.stored.classes import Refused, parse

MOST_HEADER_BYTES = 100 * 2**20
"""Size of the list of arrays that the format allows."""
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
          "I8": "i1", "U8": "u1", "BOOL": "?"}  # fmt: skip
_WHOLE = "Download it again, whole."


def is_safetensors(head: bytes, size: int) -> bool:
    """Returns whether a file begins as this format does.

    Args:
        head: Its first bytes, at least nine.
        size: How many bytes it has.
    """
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and 2 <= length <= min(size - 8, MOST_HEADER_BYTES)


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a file.

    Args:
        path: The file.

    Returns:
        Arrays by key.

    Raises:
        Refused: If it is damaged or declares more than it holds.
    """
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    listed, numbers = parse(content[8 : 8 + length]), content[8 + length :]
    if not isinstance(listed, dict):
        raise Refused("is damaged: its list of arrays makes no sense", _WHOLE)
    found, used = {}, 0
    for key, entry in listed.items():
        if key == "__metadata__":
            continue
        try:
            shape = tuple(int(size) for size in entry["shape"])
            begin, end = (int(place) for place in entry["data_offsets"])
            kind = np.dtype(_TYPES[entry["dtype"]])
        except (KeyError, TypeError, ValueError) as error:
            raise Refused("is damaged: its list of arrays makes no sense", _WHOLE) from error
        used += end - begin
        fits = 0 <= begin <= end <= len(numbers) and used <= len(numbers)
        if not fits or min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize != end - begin:
            raise Refused("is damaged: it ends before its arrays do", _WHOLE)
        row = np.frombuffer(numbers[begin:end], kind)
        if entry["dtype"] == "BF16":
            row = (row.astype(np.uint32) << 16).view(np.float32)
        found[key] = row.reshape(shape)
    return found
