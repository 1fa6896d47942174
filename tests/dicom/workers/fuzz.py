"""Reads damaged files in a pool of workers and reports what became of them.

    .venv/bin/python -m tests.dicom.workers.fuzz --files 10000 --seed 0

It ends with status 1 if a file got no outcome or one without a known code, an answer repeated text of the file, a file
that was only laid out in another way was read as another image, a worker held more memory than its limit allows, or a
file took longer than its limit.
"""

import argparse
import collections
import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from chexkeras.dicom.profiles import CLINICAL
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.rules import RULE_BY_CODE, RULES
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from tests.dicom.dicom_images import leaks
from tests.dicom.workers.mutations import fixtures, mutated

# Rules on what an image shows would refuse most of the files before a decoder sees them.
_SHOWN = ("Kind of image", "Body part", "View", "Age")
EVERYTHING = dataclasses.replace(
    CLINICAL,
    name="everything that can be decoded",
    overrides=tuple(
        (rule.code, "off")
        for rule in RULES
        if rule.item in _SHOWN or rule.code in ("aspect", "constant", "low_contrast")
    ),
    minimum_side_px=1,
)
LIMITS = ReadOptions(workers=1, memory_bytes=2**30, seconds=20)


@dataclasses.dataclass
class Tally:
    """What became of damaged files.

    Attributes:
        codes: How many files came to each outcome: "read", or the code of the refusal.
        slowest: Longest time a file took, in seconds, and the file.
        peak_bytes: Most memory a worker has held.
        restarts: How many workers were lost.
        lost: The files that cost a worker.
        leaking: The files whose answer repeats a canary in them.
        damage: How many files each kind of damage was done to, and how many of these were read all the same.
        changed: The files whose pixels are not those of the good file, though nothing was damaged that they are to
            depend on (`_BESIDE_PIXELS`).
    """

    codes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    slowest: tuple[float, str] = (0.0, "")
    peak_bytes: int = 0
    restarts: int = 0
    lost: list[str] = dataclasses.field(default_factory=list)
    leaking: list[str] = dataclasses.field(default_factory=list)
    damage: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    changed: list[str] = dataclasses.field(default_factory=list)

    @property
    def files(self) -> int:
        return sum(self.codes.values())


# How pixels are laid out in the file, not what they are: such a file is read as the good one, or not at all.
_BESIDE_PIXELS = frozenset(("fragments", "offset_table", "meta", "recoded"))


def good_pixels(contents: dict[str, bytes], pool: ReaderPool, folder: Path) -> dict[str, np.ndarray]:
    """Returns the pixels of the good files that are read, by name."""
    found = {}
    for name, content in contents.items():
        path = folder / "image"
        path.write_bytes(content)
        with contextlib.suppress(DicomRejected):
            found[name] = pool.read(path).pixels
    return found


def read_all(
    files: Iterator[tuple[str, bytes]], pool: ReaderPool, folder: Path, good: Mapping[str, np.ndarray] | None = None
) -> Tally:
    """Writes each file, reads it in the pool and counts the outcome; anything but an image or a refusal is raised.

    Args:
        files: Names (number, good file, kinds of damage) and contents.
        pool: What reads them.
        folder: Where they are written.
        good: The pixels of the good files by name, to compare with.
    """
    tally, good = Tally(), good or {}
    for name, content in files:
        path = folder / "image"
        path.write_bytes(content)
        source, kinds = " ".join(name.split()[1:2]), name.split()[2:]
        start, before = time.perf_counter(), pool.restarts
        try:
            image = pool.read(path)
        except DicomRejected as rejected:
            outcome, answer = rejected.code, f"{rejected} {rejected.violations}"
        else:
            if image.pixels.dtype != np.uint8 or image.pixels.ndim != 2:
                raise AssertionError(f"{name}: an image of {image.pixels.dtype}, {image.pixels.shape}")
            outcome, answer = "read", repr(image)
            if source in good and _BESIDE_PIXELS.issuperset(kinds) and not np.array_equal(good[source], image.pixels):
                tally.changed.append(name)
        tally.codes[outcome] += 1
        for kind in set(kinds):
            counts = tally.damage.setdefault(kind, [0, 0])
            counts[0] += 1
            counts[1] += outcome == "read"
        if leaks(answer):
            tally.leaking.append(name)
        tally.slowest = max(tally.slowest, (time.perf_counter() - start, name))
        if pool.restarts > before:
            tally.lost.append(name)
    tally.peak_bytes, tally.restarts = pool.peak_bytes, pool.restarts
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file, to go on from there")
    options = parser.parse_args()
    contents = fixtures()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, ReaderPool(EVERYTHING, LIMITS) as pool:
        good = good_pixels(contents, pool, Path(folder))
        tally = read_all(mutated(contents, options.files, options.seed, options.first), pool, Path(folder), good)
    minutes = (time.perf_counter() - start) / 60
    held, allowed = tally.peak_bytes / 2**20, LIMITS.memory_bytes / 2**20
    lines = (
        f"{tally.files} files from {len(contents)} fixtures, seed {options.seed}, {minutes:.1f} minutes",
        *(f"  {count:6}  {code}" for code, count in tally.codes.most_common()),
        "damage to, of these read:",
        *(f"  {count:6} {read:6}  {kind}" for kind, (count, read) in sorted(tally.damage.items())),
        f"slowest: {tally.slowest[0]:.2f} s ({tally.slowest[1]}); limit {LIMITS.seconds:g} s",
        f"most memory of a worker: {held:.0f} MiB; limit {allowed:.0f} MiB beyond its libraries",
        f"workers lost and replaced: {tally.restarts}",
        *(f"  {name}" for name in tally.lost[:20]),
        f"answers that repeat text of the file: {len(tally.leaking)}",
        *(f"  {name}" for name in tally.leaking[:20]),
        f"read with other pixels, though laid out in another way alone: {len(tally.changed)}",
        *(f"  {name}" for name in tally.changed[:20]),
    )
    sys.stdout.write("\n".join(lines) + "\n")
    passed = tally.files == options.files and tally.codes.keys() <= {"read", *RULE_BY_CODE}
    passed = passed and not tally.leaking and not tally.changed and tally.peak_bytes < LIMITS.memory_bytes + 2**29
    return 0 if passed and tally.slowest[0] < LIMITS.seconds + 5 else 1


if __name__ == "__main__":
    sys.exit(main())
