"""Drawing many films into files, in several processes where there are many."""

import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chexkeras import progress
from chexkeras.data.phantom.layers import Box
from chexkeras.phantoms.cohort import Film
from chexkeras.phantoms.render import draw

_FILMS_PER_BLOCK = 16
# Compression that is fast for PNG, and that leaves a JPEG film's gray values about as they were.
_SAVING: dict[str, dict[str, Any]] = {".png": {"compress_level": 1}, ".jpg": {"quality": 92}}

_logger = logging.getLogger(__name__)


class Sheet(NamedTuple):
    """A film to be drawn, and where.

    Attributes:
        film: The film.
        path: Its file, relative to the folder drawn into, ".png" or ".jpg".
        squeezed: Whether to halve its width: it then stands for a lateral film without showing one.
    """

    film: Film
    path: str
    squeezed: bool = False


class Drawn(NamedTuple):
    """What is on a drawn film besides its labels: the boxes of its findings, and whether there are devices."""

    boxes: dict[str, list[Box]]
    devices: bool


def draw_films(sheets: Sequence[Sheet], seed: int, size: int, folder: Path, processes: int) -> dict[str, Drawn]:
    """Draws films into files.

    Args:
        sheets: What to draw.
        seed: The cohort's seed.
        size: Pixels a side.
        folder: Where the paths of the sheets begin; folders below it are made.
        processes: How many processes to use; the files are the same for every number.

    Returns:
        What is on each film, by path.
    """
    blocks = [sheets[start : start + _FILMS_PER_BLOCK] for start in range(0, len(sheets), _FILMS_PER_BLOCK)]

    def collect(count: int) -> dict[str, Drawn]:
        drawn: dict[str, Drawn] = {}
        in_turn = _in_turn(blocks, seed, size, str(folder), count)
        for block in progress.track(in_turn, "Drawing phantoms", total=len(blocks)):
            drawn.update(block)
        return drawn

    try:
        return collect(processes)
    except BrokenProcessPool:
        # A script without an `if __name__ == "__main__"` guard cannot start processes; the films are the same anyway.
        _logger.warning("could not start worker processes; drawing in this one. Guard your script or set processes=1.")
        return collect(1)


def _in_turn(
    blocks: Sequence[Sequence[Sheet]], seed: int, size: int, folder: str, processes: int
) -> Iterator[dict[str, Drawn]]:
    if processes > 1 and len(blocks) > 1:
        # Forking a process that runs TensorFlow's threads can hang it: always start fresh ones.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(processes, len(blocks)), mp_context=context) as pool:
            jobs = [pool.submit(_draw_block, block, seed, size, folder) for block in blocks]
            for job in jobs:
                yield job.result()
    else:
        for block in blocks:
            yield _draw_block(block, seed, size, folder)


def _draw_block(sheets: Sequence[Sheet], seed: int, size: int, folder: str) -> dict[str, Drawn]:
    """Draws some films; runs in a process of its own when there are many."""
    drawn = {}
    for sheet in sheets:
        pixels, boxes, devices = draw(sheet.film, seed, size)
        path = Path(folder) / sheet.path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_squeezed(pixels) if sheet.squeezed else pixels).save(path, **_SAVING[path.suffix])
        drawn[sheet.path] = Drawn(boxes, devices)
    return drawn


def _squeezed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the film at half its width, in the middle of a black one."""
    size = pixels.shape[1]
    half = size // 2
    narrow = pixels[:, : 2 * half].reshape(len(pixels), half, 2).mean(axis=2)
    film = np.zeros_like(pixels)
    film[:, (size - half) // 2 :][:, :half] = narrow.astype(np.uint8)
    return film
