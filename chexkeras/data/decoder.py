"""Image and DICOM files as the classifier's pixels, in several threads and in order, with a reason for each failure."""

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from chexkeras.data.film_facts import film_facts
from chexkeras.dicom.gate import DicomRejected
from chexkeras.dicom.profiles import Profile
from chexkeras.dicom.read import is_dicom, read_dicom

GROUP = 8
"""Films that one call decodes: enough that Python's share of the time vanishes."""


class Problem(NamedTuple):
    """Why a film has no pixels: "missing_file", "unreadable" or a code of the DICOM gate, and the reason in words."""

    code: str
    detail: str


class Decoded(NamedTuple):
    """Some films: their rows, their pixels (rows, size, size), black where there is a problem, and problems by row."""

    rows: range
    films: np.ndarray
    problems: dict[int, Problem]


def decode_films(
    paths: Sequence[str], spans: Iterable[range], *, size: int, profile: Profile, threads: int
) -> Iterator[Decoded]:
    """Decodes films ahead of their use, in order.

    Args:
        paths: The file of every row, "" for a row without one.
        spans: Rows to decode. A result never reaches from one span into the next.
        size: Height and width wanted, pixels.
        profile: The DICOM gate's profile.
        threads: How many decode at once; decoding leaves the interpreter free.

    Yields:
        At most `GROUP` films at a time.
    """
    groups = (
        range(start, min(start + GROUP, span.stop)) for span in spans for start in range(span.start, span.stop, GROUP)
    )

    def work(rows: range) -> Decoded:
        return _decode(rows, [paths[row] for row in rows], size, profile)

    pool = ThreadPoolExecutor(threads)
    try:
        pending: deque[Future[Decoded]] = deque(pool.submit(work, rows) for rows in islice(groups, 8 * threads))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(work, rows) for rows in islice(groups, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def read_films(paths: Sequence[str], image_size: int) -> np.ndarray:
    """Reads a few PNG or JPEG files at once as the classifier's pixels; may be called from several threads.

    Args:
        paths: Files.
        image_size: Height and width wanted, pixels.

    Returns:
        uint8 array (films, image_size, image_size).

    Raises:
        ValueError: If one of them cannot be decoded.
    """
    import tensorflow as tf

    try:
        # Where there is a GPU, TensorFlow would send every film there and back.
        with tf.device("CPU"):
            return _reader(len(paths), image_size)(tf.constant(paths)).numpy()[..., 0]
    except tf.errors.OpError as error:
        raise ValueError(f"a film cannot be decoded: {error.message.splitlines()[0]}") from error


@functools.cache
def _reader(count: int, image_size: int) -> Callable[[Any], Any]:
    import tensorflow as tf

    from chexkeras.data.pipeline import read_film

    def read(paths: tf.Tensor) -> tf.Tensor:
        return tf.stack([read_film(paths[index], image_size) for index in range(count)])

    return tf.function(read, input_signature=[tf.TensorSpec((count,), tf.string)])


def _decode(rows: range, paths: list[str], size: int, profile: Profile) -> Decoded:
    films = np.zeros((len(paths), size, size), np.uint8)
    problems = {row: Problem("missing_file", "no file") for row, path in zip(rows, paths, strict=True) if not path}
    dicom = [place for place, path in enumerate(paths) if path and is_dicom(path)]
    images = [place for place, path in enumerate(paths) if path and place not in dicom]
    try:
        if images:
            films[images] = read_films([paths[place] for place in images], size)
    except ValueError:
        # One of them cannot be decoded; alone, each tells for itself.
        for place in images:
            try:
                films[place] = read_films([paths[place]], size)[0]
            except ValueError:
                problems[rows[place]] = _image_problem(paths[place])
    for place in dicom:
        try:
            films[place] = _dicom_film(paths[place], size, profile)
        except DicomRejected as rejected:
            problems[rows[place]] = Problem(rejected.code, str(rejected))
    return Decoded(rows, films, problems)


def _image_problem(path: str) -> Problem:
    if not os.path.exists(path):
        return Problem("missing_file", "no file")
    facts = film_facts(path)
    return Problem("unreadable", facts.detail if facts.problem == "unreadable" else "not a PNG or JPEG file")


def _dicom_film(path: str, size: int, profile: Profile) -> np.ndarray:
    from chexkeras.data.pipeline import to_model_pixels

    shown = read_dicom(path, profile=profile).pixels
    return to_model_pixels(shown[..., np.newaxis], size).numpy()[..., 0]
