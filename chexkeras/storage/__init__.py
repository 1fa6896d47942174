"""Files in an object store, read and written through fsspec: addresses told from paths, errors in our own words."""

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
from chexkeras.storage.writing import (
    CACHE_VARIABLE,
    NotUploaded,
    cache_folder,
    check_writable,
    folder_of_output,
    put,
    uploading,
)

__all__ = [
    "CACHE_VARIABLE", "DriverMissing", "NotUploaded", "Place", "Remote", "Status", "TooLarge", "absolute",
    "cache_folder", "check_writable", "content", "files_below", "folder_of_output", "forget", "head", "is_remote",
    "names_in", "opened", "own_path", "place", "put", "shared_folder", "size_of", "status", "uploading",
]  # fmt: skip
