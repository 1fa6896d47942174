"""Files in an object store, read through fsspec: addresses told from paths, errors told without a word of a driver."""

from chexkeras.storage.drivers import DriverMissing, forget
from chexkeras.storage.remote import (
    Place,
    Remote,
    Status,
    TooLarge,
    absolute,
    content,
    files_below,
    head,
    is_remote,
    names_in,
    opened,
    own_path,
    place,
    shared_folder,
    size_of,
    status,
)

__all__ = [
    "DriverMissing", "Place", "Remote", "Status", "TooLarge", "absolute", "content", "files_below", "forget", "head",
    "is_remote", "names_in", "opened", "own_path", "place", "shared_folder", "size_of", "status",
]  # fmt: skip
