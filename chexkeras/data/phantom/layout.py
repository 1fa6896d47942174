"""Writing a synthetic cohort as a folder that looks like a download of NIH ChestX-ray14."""

import logging
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from chexkeras import checks, files, progress
from chexkeras.data.phantom.cohort import Film, make_cohort
from chexkeras.data.phantom.film import render
from chexkeras.data.phantom.layers import Box
from chexkeras.data.source import SYNTHETIC_CAUTION
from chexkeras.findings import NIH14, NO_FINDING, canonical

GENERATOR_VERSION = 1
"""Raised whenever the same parameters give other films."""

MARKER = "PHANTOM.json"
_ENTRY_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
# NIH's list holds at most 180 boxes of a finding, in pixels of its 1024 px films.
_BOXES_PER_FINDING, _BOX_PIXELS = 180, 1024
_FILMS_PER_BLOCK = 16
_POOL_FROM = 200

_logger = logging.getLogger(__name__)

Boxes = dict[str, dict[str, list[Box]]]


@dataclass(frozen=True)
class _Parameters:
    images: int
    size: int
    seed: int
    dicom: bool
    prevalence: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "size": self.size,
            "seed": self.seed,
            "dicom": self.dicom,
            "prevalence": dict(self.prevalence),
        }


def _checked(images: int, size: int, seed: int, dicom: bool, prevalence: Mapping[str, float] | None) -> _Parameters:
    images, size = checks.positive_int(images, "images"), checks.positive_int(size, "size")
    if not 64 <= size <= 4096:
        raise ValueError(f"size={size} px; phantoms need 64 to 4096, 256 is usual: smaller films show no nodules.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={seed!r} must be a whole number of at least 0.")
    wanted: dict[str, float] = {}
    for name, share in (prevalence or {}).items():
        finding = canonical(name)
        if finding in wanted:
            raise ValueError(f"prevalence names {finding} twice; give it once.")
        wanted[finding] = checks.probability(share, f"prevalence[{name!r}]", open_interval=True)
    ordered = tuple((finding, wanted[finding]) for finding in NIH14 if finding in wanted)
    return _Parameters(images, size, seed, bool(dicom), ordered)


def _reusable(folder: Path, parameters: _Parameters) -> bool:
    """Returns whether the folder already holds what is asked for; raises where something else is in the way."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise NotADirectoryError(f"folder={str(folder)!r} is a file; name a folder that does not exist yet.")
    if not any(folder.iterdir()):
        return False
    marker = folder / MARKER
    if not marker.is_file():
        raise FileExistsError(
            f"folder={str(folder)!r} is not empty and holds no {MARKER}, so it was not made here and is left alone; "
            "name another folder."
        )
    found = files.read_json(marker)
    wanted = parameters.to_dict()
    same = found.get("generator_version") == GENERATOR_VERSION and found.get("parameters") == wanted
    if not same:
        there = {"generator_version": found.get("generator_version"), **found.get("parameters", {})}
        asked = {"generator_version": GENERATOR_VERSION, **wanted}
        differences = ", ".join(
            f"{key}: there {there.get(key)!r}, asked {value!r}"
            for key, value in asked.items()
            if there.get(key) != value
        )
        raise FileExistsError(
            f"folder={str(folder)!r} holds phantoms made with other parameters ({differences}); delete it, name "
            "another folder, or ask for the parameters it was made with."
        )
    return True


def _draw_block(films: Sequence[Film], seed: int, size: int, folder: str) -> Boxes:
    """Draws films into a folder and returns their boxes; runs in a process of its own when there are many."""
    found: Boxes = {}
    for film in films:
        pixels, boxes = render(film, seed, size)
        Image.fromarray(pixels).save(Path(folder) / film.image_id, compress_level=1)
        found[film.image_id] = boxes
    return found


def _blocks(films: Sequence[Film]) -> list[Sequence[Film]]:
    return [films[start : start + _FILMS_PER_BLOCK] for start in range(0, len(films), _FILMS_PER_BLOCK)]


def _drawn(films: Sequence[Film], parameters: _Parameters, folder: Path, processes: int) -> Iterator[Boxes]:
    blocks = _blocks(films)
    settings = (parameters.seed, parameters.size, str(folder))
    if processes > 1 and len(blocks) > 1:
        # Forking a process that runs TensorFlow's threads can hang it: always start fresh ones.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(processes, len(blocks)), mp_context=context) as pool:
            jobs = [pool.submit(_draw_block, block, *settings) for block in blocks]
            for job in jobs:
                yield job.result()
    else:
        for block in blocks:
            yield _draw_block(block, *settings)


def _draw_all(films: Sequence[Film], parameters: _Parameters, folder: Path, processes: int) -> Boxes:
    def collect(count: int) -> Boxes:
        boxes: Boxes = {}
        total = len(_blocks(films))
        for found in progress.track(_drawn(films, parameters, folder, count), "Drawing phantoms", total=total):
            boxes.update(found)
        return boxes

    try:
        return collect(processes)
    except BrokenProcessPool:
        # A script without an `if __name__ == "__main__"` guard cannot start processes; the films are the same anyway.
        _logger.warning("could not start worker processes; drawing in this one. Guard your script or set processes=1.")
        return collect(1)


def _entry_lines(films: Sequence[Film]) -> list[str]:
    lines = [_ENTRY_HEADER]
    for film in films:
        width, height, spacing = film.original
        labels = "|".join(sorted(film.labels)) or NO_FINDING
        lines.append(
            f"{film.image_id},{labels},{film.follow_up},{film.patient},{film.age_years},{film.sex},{film.view},"
            f"{width},{height},{spacing},{spacing}"
        )
    return lines


def _box_lines(films: Sequence[Film], boxes: Boxes) -> list[str]:
    """Returns the box list: like NIH's, of positive films of the test list only, and a sample where there are many."""
    lines = [_BOX_HEADER]
    for finding in NIH14:
        name = "Infiltrate" if finding == "Infiltration" else finding
        count = 0
        for film in films:
            for left, top, right, bottom in boxes[film.image_id].get(finding, []) if film.test else []:
                if count == _BOXES_PER_FINDING:
                    break
                left, top = max(0.0, left), max(0.0, top)
                numbers = (left, top, min(1.0, right) - left, min(1.0, bottom) - top)
                lines.append(",".join([film.image_id, name, *(f"{_BOX_PIXELS * n:.3f}" for n in numbers)]))
                count += 1
    return lines


def _marker(parameters: _Parameters, films: Sequence[Film]) -> dict[str, Any]:
    counts = {finding: sum(finding in film.labels for film in films) for finding in NIH14}
    enriched = ", ".join(f"{finding} {share:.0%}" for finding, share in parameters.prevalence)
    return {
        "dataset": "chexkeras phantoms",
        "caution": SYNTHETIC_CAUTION,
        "sampling": f"case-control: enriched to {enriched}" if enriched else "prevalences of NIH ChestX-ray14",
        "generator_version": GENERATOR_VERSION,
        "parameters": parameters.to_dict(),
        "counts": {
            "images": len(films),
            "patients": len({film.patient for film in films}),
            "test_images": sum(film.test for film in films),
            NO_FINDING: sum(not film.severity for film in films),
            **counts,
        },
    }


def make_phantoms(
    folder: str | Path,
    *,
    images: int = 600,
    size: int = 256,
    seed: int = 0,
    dicom: bool = True,
    prevalence: Mapping[str, float] | None = None,
    processes: int | None = None,
) -> Path:
    """Writes synthetic frontal chest films in the exact layout of NIH ChestX-ray14.

    The folder gets ``Data_Entry_2017.csv``, ``images/``, ``BBox_List_2017.csv``, ``train_val_list.txt``,
    ``test_list.txt``, ``PHANTOM.json`` (which marks it as synthetic) and ``dicom/`` (acceptable files and one for each
    reason to reject; ``dicom_expected.csv`` says which). Prevalence, co-occurrence, persistence within a patient, age,
    sex and view follow NIH's margins. Synthetic films, not clinical evidence.

    A folder already made with the same parameters is used as it is. Nothing is deleted, ever, and an interrupted call
    leaves nothing behind under the folder's name.

    Args:
        folder: Where to write; its parents are made if needed.
        images: Exact number of films, at least 1.
        size: Pixels a side, 64 to 4096.
        seed: Whole number; the same seed gives the same bytes, whatever `processes`.
        dicom: Whether to write the ``dicom/`` folder too.
        prevalence: Share of films, strictly between 0 and 1, for findings to enrich, for example
            ``{"Pneumonia": 0.3}``; the rest keep NIH's. The folder is then recorded as a case-control sample.
        processes: Worker processes; None takes all cores from 200 films on, else one.

    Returns:
        The folder.

    Raises:
        ValueError: If an argument is out of range or a finding is unknown.
        FileExistsError: If the folder holds something else, or phantoms made with other parameters.
        NotADirectoryError: If `folder` is a file.
    """
    destination = Path(folder).expanduser()
    parameters = _checked(images, size, seed, dicom, prevalence)
    if processes is None:
        processes = (os.cpu_count() or 1) if parameters.images >= _POOL_FROM else 1
    processes = checks.positive_int(processes, "processes")
    if _reusable(destination, parameters):
        return destination

    destination.parent.mkdir(parents=True, exist_ok=True)
    # Written beside its destination and renamed at the end: nobody ever sees half a data set.
    temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        films = make_cohort(parameters.images, parameters.seed, dict(parameters.prevalence))
        (temporary / "images").mkdir()
        boxes = _draw_all(films, parameters, temporary / "images", processes)
        tables = {
            "Data_Entry_2017.csv": _entry_lines(films),
            "BBox_List_2017.csv": _box_lines(films, boxes),
            "train_val_list.txt": [film.image_id for film in films if not film.test],
            "test_list.txt": [film.image_id for film in films if film.test],
        }
        for name, lines in tables.items():
            files.write_text(temporary / name, "".join(f"{line}\n" for line in lines))
        if parameters.dicom:
            # pydicom is needed here alone.
            from chexkeras.data.phantom.dicom_folder import write_dicom_folder

            write_dicom_folder(temporary / "dicom", films, parameters.seed, parameters.size)
        files.write_json(temporary / MARKER, _marker(parameters, films))
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        if destination.exists():
            destination.rmdir()
        temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return destination
