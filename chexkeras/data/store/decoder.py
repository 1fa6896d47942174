"""Image and DICOM files as the classifier's pixels, in several threads and in order, with a reason for each failure."""

import functools
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chexkeras import storage
from chexkeras.data.audit.image_checks import image_facts
from chexkeras.dicom.pixels.contrast import contrast
from chexkeras.dicom.profiles import Profile
from chexkeras.dicom.read import Radiograph, is_dicom
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.parallel import HERE, SharedFiles, Workplace, available_cores, map_ordered

GROUP = 8
"""Images that one call decodes: enough that Python's share of the time vanishes."""


class Problem(NamedTuple):
    """Why an image is not used: "missing_file", "unreadable", "constant" or the DICOM gate's code; and it in words."""

    code: str
    detail: str


class Decoded(NamedTuple):
    """Some images.

    Attributes:
        rows: Which.
        images: uint8 array (rows, size, size), black where there is a problem.
        problems: Why images are not used, by row.
        low_contrast: Why images that are used show too little, in words by row; judged at the size wanted.
    """

    rows: range
    images: np.ndarray
    problems: dict[int, Problem]
    low_contrast: dict[int, str]


def decode_images(
    paths: Sequence[str],
    spans: Iterable[range],
    *,
    size: int,
    profile: Profile,
    workers: int | None = None,
    place: Workplace = HERE,
) -> Generator[Decoded, None, None]:
    """Decodes images ahead of their use, in order.

    Args:
        paths: The file of every row, "" for a row without one.
        spans: Rows to decode. A result never reaches from one span into the next.
        size: Height and width wanted, pixels.
        profile: The DICOM gate's profile.
        workers: How many decode at once; decoding leaves the interpreter free. DICOM files are read in as many worker
            processes, started at the first of them, which a hostile file may take down without harm. None takes one
            for each core that this process may use, or all processors of a cluster.
        place: Where they are decoded.

    Yields:
        At most `GROUP` images at a time.

    Raises:
        OSError: If an object store cannot be reached, or stops to answer: what is there does not depend on that.
    """
    groups = (
        range(start, min(start + GROUP, span.stop)) for span in spans for start in range(span.start, span.stop, GROUP)
    )
    if place.on_cluster:
        shared = SharedFiles.some_of(paths)
        given = ((rows, [storage.absolute(paths[row]) for row in rows]) for rows in groups)
        yield from map_ordered(
            functools.partial(_decode_group, size=size, most_bytes=profile.maximum_file_bytes),
            given,
            setup=functools.partial(_reader_of, profile, shared),
            executor=place,
            workers=workers,
        )
        return
    threads = 1 if place.executor == "serial" else workers or available_cores()
    readers = ReaderPool(profile, ReadOptions(workers=threads))

    def work(rows: range) -> Decoded:
        return _decode(rows, [paths[row] for row in rows], size, readers.read, profile.maximum_file_bytes)

    # The readers are closed before the threads are waited for, which may be busy with a file that hangs.
    executor = "serial" if place.executor == "serial" else "threads"
    yield from map_ordered(work, groups, executor=executor, workers=threads, ahead=8 * threads, on_end=readers.close)


def _reader_of(profile: Profile, shared: SharedFiles) -> ReaderPool:
    """Returns what reads DICOM files for one worker, whose end ends it."""
    shared.check()
    return ReaderPool(profile, ReadOptions(workers=1))


def _decode_group(group: tuple[range, list[str]], readers: ReaderPool, *, size: int, most_bytes: int) -> Decoded:
    return _decode(*group, size, readers.read, most_bytes)


def read_images(paths: Sequence[str] | Sequence[bytes], image_size: int) -> np.ndarray:
    """Reads a few PNG or JPEG files at once as the classifier's pixels; may be called from several threads.

    Args:
        paths: Files, or the content of each.
        image_size: Height and width wanted, pixels.

    Returns:
        uint8 array (images, image_size, image_size).

    Raises:
        ValueError: If one of them cannot be decoded.
    """
    import tensorflow as tf

    try:
        # Where there is a GPU, TensorFlow would send every image there and back.
        with tf.device("CPU"):
            is_content = isinstance(paths[0], bytes)
            return _reader(len(paths), image_size, is_content)(tf.constant(paths)).numpy()[..., 0]
    except tf.errors.OpError as error:
        raise ValueError(f"an image cannot be decoded: {_reason(error.message)}") from error


def _reason(message: str) -> str:
    """Returns the line of a TensorFlow message that says what is wrong: the last one but for the node's name."""
    lines = [line.strip() for line in message.splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith("[[")), "no reason given")


@functools.cache
def _reader(count: int, image_size: int, is_content: bool) -> Callable[[Any], Any]:
    import tensorflow as tf

    from chexkeras.data.pixels import decode_image, read_image

    one = decode_image if is_content else read_image

    def read(paths: tf.Tensor) -> tf.Tensor:
        return tf.stack([one(paths[index], image_size) for index in range(count)])

    return tf.function(read, input_signature=[tf.TensorSpec((count,), tf.string)])


def _decode(
    rows: range, paths: list[str], size: int, read_dicom: Callable[[str | bytes], Radiograph], most_bytes: int
) -> Decoded:
    radiographs = np.zeros((len(paths), size, size), np.uint8)
    problems: dict[int, Problem] = {}
    sources: dict[int, Any] = {}
    for place, path in enumerate(paths):
        found = _fetched(path, most_bytes) if storage.is_remote(path) else path or Problem("missing_file", "no file")
        if isinstance(found, Problem):
            problems[rows[place]] = found
        else:
            sources[place] = found
    dicom = [place for place in sorted(sources) if is_dicom(sources[place])]
    images = [place for place in sorted(sources) if place not in dicom]
    for kind in (str, bytes):
        alike: list[Any] = [place for place in images if isinstance(sources[place], kind)]
        try:
            if alike:
                radiographs[alike] = read_images([sources[place] for place in alike], size)
        except ValueError:
            # One of them cannot be decoded; alone, each tells for itself.
            for place in alike:
                try:
                    radiographs[place] = read_images([sources[place]], size)[0]
                except ValueError:
                    problems[rows[place]] = _unreadable(paths[place])
    for place in images:
        # Even at this size: the audit, which looks at the image's own, decides.
        if rows[place] not in problems and radiographs[place].min() == radiographs[place].max():
            facts = image_facts(paths[place])
            if facts.problem:
                problems[rows[place]] = Problem(facts.problem, facts.detail)
    for place in dicom:
        try:
            radiographs[place] = _resized(read_dicom(sources[place]).pixels, size)
        except DicomRejected as rejected:
            problems[rows[place]] = Problem(rejected.code, str(rejected))
    radiographs[[row - rows.start for row in problems]] = 0
    low = {row: contrast(radiographs[row - rows.start]).problem for row in rows if row not in problems}
    return Decoded(rows, radiographs, problems, {row: problem for row, problem in low.items() if problem})


def _fetched(path: str, most_bytes: int) -> bytes | Problem:
    """Returns the content of a file in an object store.

    Raises:
        ConnectionError: If the store cannot be reached: that is no fault of the image, which must not be left out.
        TimeoutError: If it does not answer in time.
    """
    try:
        return storage.content(path, most_bytes)
    except FileNotFoundError:
        return Problem("missing_file", "no file")
    except (ConnectionError, TimeoutError):
        raise
    except (OSError, storage.TooLarge) as error:
        return Problem("unreadable", str(error).replace(path, os.path.basename(path)))


def _unreadable(path: str) -> Problem:
    if not storage.is_remote(path) and not os.path.exists(path):
        return Problem("missing_file", "no file")
    facts = image_facts(path)
    return Problem(
        "unreadable", facts.detail if facts.problem == "unreadable" else "not a PNG or JPEG file in grey or RGB"
    )


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    import tensorflow as tf

    from chexkeras.data.pixels import to_model_pixels

    with tf.device("CPU"):
        return to_model_pixels(image[..., np.newaxis], size).numpy()[..., 0]
