"""What may be given to be scored: paths, the content of files, arrays. Each image gets a name for its results."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chexkeras import storage
from chexkeras.dicom.pixels.array_image import GreyArray, checked_range, grey_array, split_images
from chexkeras.storage import Place, Remote

_LISTED = "a list of paths, of the bytes of files, or of arrays"


@dataclass(frozen=True, eq=False)
class GivenImage:
    """An image that is in memory and in no file.

    Attributes:
        name: What results call it: "array 0" or "bytes 0", by its place among what was given.
        content: The bytes of a file, or grey values.
    """

    name: str
    content: bytes | GreyArray = field(repr=False)

    def __str__(self) -> str:
        return self.name


def given_images(images: Any, value_range: Any = None) -> list[Place | GivenImage]:
    """Returns the images that were given, one by one; what is none is refused before anything is read.

    Args:
        images: Paths, addresses in an object store, bytes of DICOM, PNG or JPEG files, or arrays of one image each, in
            a list; one path, or the bytes of one file; or an array of one image or several, see
            `array_image.split_images`.
        value_range: What is black and what is white in arrays, two numbers; None where there are no arrays but uint8,
            0 to 255.

    Raises:
        TypeError: If something in `images` is neither a path, bytes nor an array of real numbers.
        ValueError: If it is a folder, an array has colours or another shape, its range is not stated, a value lies
            outside, or a range is stated and there is no array.
    """
    stated = checked_range(value_range)
    if isinstance(images, (str, os.PathLike)):
        if os.path.isdir(images):
            raise ValueError(
                f"paths={os.fspath(images)!r} is a folder; give its files, or score the whole of it with "
                "cx.score_folder(run, folder)."
            )
        images = [images]
    if type(images).__module__.split(".")[0] == "pandas" and hasattr(images, "columns"):
        raise TypeError(
            f"a table of {len(images)} rows was given; {_LISTED} was expected. Images of a table are scored by "
            "chexkeras.models.predict_scores(run.load_model(), table, run.recipe.targets)."
        )
    if isinstance(images, (bytes, bytearray, memoryview)):
        found: list[Place | GivenImage] = [GivenImage("bytes 0", bytes(images))]
    elif (array := _as_array(images)) is not None:
        parts = split_images(array, "the array")
        found = [
            GivenImage(f"array {at}", grey_array(image, stated, _called(at, len(parts))))
            for at, image in enumerate(parts)
        ]
    elif isinstance(images, Iterable):
        found = [_given(image, at, stated) for at, image in enumerate(images)]
    else:
        raise TypeError(f"images were given as a {type(images).__name__}; {_LISTED} was expected.")
    if stated is not None and not any(_is_array(image) for image in found):
        raise ValueError(
            f"value_range={value_range!r} is for arrays, and none was given: a file says itself what is black and what "
            "is white. Leave it out."
        )
    return found


def _called(at: int, count: int) -> str:
    return "the array" if count == 1 else f"image {at} of the array"


def _is_array(image: Place | GivenImage) -> bool:
    return isinstance(image, GivenImage) and isinstance(image.content, GreyArray)


def _given(image: Any, at: int, value_range: tuple[float, float] | None) -> Place | GivenImage:
    if isinstance(image, (str, os.PathLike, Remote)):
        return as_place(image if isinstance(image, (str, Remote)) else Path(image))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return GivenImage(f"bytes {at}", bytes(image))
    array = _as_array(image)
    if array is None:
        return as_path(image)
    parts = split_images(array, f"array {at}")
    if len(parts) != 1:
        raise ValueError(
            f"array {at} of the list holds {len(parts)} images, shape {array.shape}; give a list of one image each, or "
            "one array of all."
        )
    return GivenImage(f"array {at}", grey_array(parts[0], value_range, f"array {at}"))


def _as_array(value: Any) -> np.ndarray | None:
    """Returns an array or a tensor as an array; None for what is neither, and for arrays of texts or objects."""
    # Not a picture of Pillow, whose array may hold places in a palette.
    if not isinstance(value, np.ndarray) and not hasattr(value, "__array__"):
        return None
    array = np.asarray(value)
    return None if array.dtype.kind in "OSU" else array


def as_place(file: str | Place) -> Place:
    """Returns a file's path, or its address.

    Args:
        file: What the caller gave.

    Raises:
        TypeError: If it is neither text nor a path.
        ValueError: If it is an address from which nothing is read.
    """
    return storage.place(file if isinstance(file, (str, Remote)) else as_path(file))


def as_path(file: str | Path) -> Path:
    """Returns a file's path.

    Args:
        file: What the caller gave.

    Raises:
        TypeError: If it is neither text nor a path.
    """
    if storage.is_remote(file):
        raise ValueError(
            f"{str(storage.place(file))!r} is in an object store, of whose files no heat maps are drawn; copy it to "
            "this machine."
        )
    if not isinstance(file, (str, os.PathLike)):
        raise TypeError(
            f"a file was given as {file!r:.40} ({type(file).__name__}); paths are text or pathlib.Path. An image in "
            "memory is given as an array, or as the bytes of its file."
        )
    return Path(file)
