"""How long the search for images that two data sets share takes, and how its memory grows.

    .venv/bin/python benchmarks/shared_images.py FOLDER_OF_PNG_FILES

Thumbnails are drawn from a normal distribution with the mean and the covariance of those of the folder's images, so
that they resemble each other as radiographs do; 1,000 of the smaller set are copies of images of the other, brightened
and with noise. Each size runs in a process of its own, whose peak memory is its own.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from chexkeras.data.audit.duplicates import near_duplicates_between
from chexkeras.data.audit.image_checks import open_images

COPIES = 1_000
SIZES = ((6_250, 28_000), (12_500, 56_000), (25_000, 112_000))


def drawn(folder: Path, one: int, two: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns thumbnails of two sets, of which the first `COPIES` of the first are copies of the second's."""
    paths = [str(path) for path in sorted(folder.rglob("*.png"))[:2_000]]
    _, thumbnails = open_images(paths)
    flat = thumbnails.reshape(len(paths), -1).astype(np.float64)
    mean, centred = flat.mean(axis=0), flat - flat.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / max(len(paths) - 1, 1))
    scale = vectors * np.sqrt(np.clip(values, 0, None))
    rng = np.random.default_rng(0)

    def made(count: int) -> np.ndarray:
        images = np.empty((count, 16, 16), np.uint16)
        for start in range(0, count, 8_192):
            part = mean + rng.standard_normal((min(8_192, count - start), len(mean))) @ scale.T
            images[start : start + len(part)] = np.clip(part, 0, 65_535).reshape(-1, 16, 16)
        return images

    first, second = made(one), made(two)
    copies = second[:COPIES] * 0.9 + 1_280 + rng.normal(0, 128, (COPIES, 16, 16))
    first[:COPIES] = np.clip(copies, 0, 65_535)
    return first, second


def measured(folder: Path, one: int, two: int) -> None:
    """Prints what one search takes."""
    first, second = drawn(folder, one, two)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, processor = time.perf_counter(), time.process_time()
    pairs = near_duplicates_between(second, first)
    seconds, used = time.perf_counter() - clock, time.process_time() - processor
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    found = int((pairs["second"] == pairs["first"]).sum())
    print(
        f"  {one:7,} against {two:8,}: {seconds:7.1f} s, {used:7.1f} s of processor, {more / 1024:6.0f} MB more than "
        f"the {(first.nbytes + second.nbytes) / 2**20:.0f} MB of thumbnails; {found:,} of {COPIES:,} copies found, "
        f"{len(pairs) - found:,} other pairs"
    )


def main() -> None:
    """Measures each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="PNG files whose thumbnails the drawn ones resemble")
    parser.add_argument("--sizes", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sizes:
        measured(options.folder, *options.sizes)
        return
    for sizes in SIZES:
        subprocess.run([sys.executable, __file__, str(options.folder), "--sizes", *map(str, sizes)], check=True)


if __name__ == "__main__":
    main()
