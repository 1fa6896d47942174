"""What a file of weights may hold: groups and plain arrays of numbers, all of them in the file itself.

HDF5 can send its reader to other files: a link into one, an array that is stored in one, or one put together from
pieces of several. It can also declare an array of any size and store none of it. Older versions of Keras follow the
first and allocate the second.
"""

from pathlib import Path
from typing import IO, TYPE_CHECKING

from chexkeras.models.stored.classes import Refused

if TYPE_CHECKING:
    import h5py

MAXIMUM_OBJECTS = 100_000
"""Groups and arrays that a file may hold; DenseNet201's has 4,000."""


def check_weights(file: Path | IO[bytes], size: int) -> None:
    """Checks that an HDF5 file holds nothing but groups and arrays of numbers, stored in it whole and unchanged.

    Args:
        file: The file, or its content.
        size: How many bytes it has.

    Raises:
        Refused: If it holds anything else.
    """
    import h5py

    try:
        with h5py.File(file, "r") as stored:
            _check_group(stored, size)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        # What h5py raises of a damaged file, and of links and types that it does not know.
        raise Refused("has weights that cannot be read") from error


def _check_group(root: "h5py.Group", size: int) -> None:
    import h5py

    waiting, seen, left = [root], {h5py.h5o.get_info(root.id).addr}, size
    while waiting:
        group = waiting.pop()
        for name in group:
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                raise Refused("has weights that are links, to another file or to another place")
            found = group[name]
            address = h5py.h5o.get_info(found.id).addr
            if address in seen or len(seen) == MAXIMUM_OBJECTS:
                raise Refused(f"has weights that are one array under two names, or more than {MAXIMUM_OBJECTS:,}")
            seen.add(address)
            if isinstance(found, h5py.Group):
                waiting.append(found)
            elif isinstance(found, h5py.Dataset):
                left -= _checked_bytes(found)
            else:
                raise Refused("has weights that are neither a group nor an array")
            if left < 0:
                raise Refused("has weights that declare more than the file holds")


def _checked_bytes(array: "h5py.Dataset") -> int:
    """Returns how many bytes an array has, if they are numbers that lie in the file as they are."""
    settings = array.id.get_create_plist()
    if array.is_virtual or settings.get_external_count():
        raise Refused("has weights that lie in other files")
    # Neither does Keras write; reading pieces and filters is where most faults of HDF5 itself are.
    if array.chunks is not None or settings.get_nfilters():
        raise Refused("has weights that are compressed or lie in pieces, which Keras does not write")
    # Where HDF5 has no bfloat16, Keras writes its two bytes as they are.
    if array.dtype.kind not in "fiub" and not (array.dtype.kind == "V" and array.dtype.itemsize == 2):
        raise Refused("has weights that are no numbers")
    declared = array.dtype.itemsize * int(array.size or 0)
    if declared > array.id.get_storage_size():
        raise Refused("has weights that declare more than the file holds")
    return declared
