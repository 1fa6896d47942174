"""Reads damaged files in a pool of workers and reports what became of them.

    .venv/bin/python -m tests.dicom.workers.fuzz --files 10000 --seed 0

It ends with status 1 if a file got no outcome or one without a known code, an answer repeated text of the file, a
worker held more memory than its limit allows, or a file took longer than its limit.
"""

import argparse
import collections
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator
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
    """

    codes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    slowest: tuple[float, str] = (0.0, "")
    peak_bytes: int = 0
    restarts: int = 0
    lost: list[str] = dataclasses.field(default_factory=list)
    leaking: list[str] = dataclasses.field(default_factory=list)
    damage: dict[str, list[int]] = dataclasses.field(default_factory=dict)

    @property
    def files(self) -> int:
        return sum(self.codes.values())


def read_all(files: Iterator[tuple[str, bytes]], pool: ReaderPool, folder: Path) -> Tally:
    """Writes each file, reads it in the pool and counts the outcome; anything but an image or a refusal is raised."""
    tally = Tally()
    for name, content in files:
        path = folder / "image"
        path.write_bytes(content)
        start, before = time.perf_counter(), pool.restarts
        try:
            image = pool.read(path)
        except DicomRejected as rejected:
            outcome, answer = rejected.code, f"{rejected} {rejected.violations}"
        else:
            if image.pixels.dtype != np.uint8 or image.pixels.ndim != 2:
                raise AssertionError(f"{name}: an image of {image.pixels.dtype}, {image.pixels.shape}")
            outcome, answer = "read", repr(image)
        tally.codes[outcome] += 1
        for kind in set(name.split()[2:]):
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
        tally = read_all(mutated(contents, options.files, options.seed, options.first), pool, Path(folder))
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
    )
    sys.stdout.write("\n".join(lines) + "\n")
    good = tally.files == options.files and not tally.leaking and tally.codes.keys() <= {"read", *RULE_BY_CODE}
    good = good and tally.peak_bytes < LIMITS.memory_bytes + 2**29
    return 0 if good and tally.slowest[0] < LIMITS.seconds + 5 else 1


if __name__ == "__main__":
    sys.exit(main())
