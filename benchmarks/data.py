"""How close decoding into a store and reading from it come to the machine's own limits: ratios within one run.

    .venv/bin/python benchmarks/data.py FOLDER_OF_PNG_FILES

Measured in turn, so that other work on the machine meets all variants alike: decoding files and nothing else against
`prepare`; copying the images of a store within memory against `make_dataset` on it; and the peak memory of one epoch
over a store of 10,000 images and of 112,120, as many as NIH ChestX-ray14 has.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import tensorflow as tf

from chexkeras.data.pipeline import make_dataset
from chexkeras.data.pixels import PIXELS_VERSION
from chexkeras.data.store.manifest import INDEX, Manifest
from chexkeras.data.store.prepare import prepare
from chexkeras.data.store.store import Store

CORES = len(os.sched_getaffinity(0))
NIH_IMAGES = 112_120


def interleaved(variants: dict[str, Callable[[], object]], images: int, rounds: int) -> None:
    """Prints images per second of each variant, and how it compares with the first in the same round.

    The ratio of processor times says what the ratio of rates would be on a machine without other work.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, run in variants.items():
            clock, processor = time.perf_counter(), time.process_time()
            run()
            if number:  # the first round compiles
                seconds[name].append((time.perf_counter() - clock, time.process_time() - processor))
    base = seconds[next(iter(variants))]
    for name, values in seconds.items():
        rate = statistics.median(images / clock for clock, _ in values)
        shares = [statistics.median(one[k] / other[k] for one, other in zip(base, values, strict=True)) for k in (0, 1)]
        print(f"  {name:50} {rate:9,.0f} images/s {shares[0]:7.1%} of the first, by processor time {shares[1]:7.1%}")


def decoding(folder: Path, images: int, size: int, rounds: int) -> None:
    originals = sorted(folder.glob("*.png"))
    paths = [str(originals[number % len(originals)]) for number in range(images)]
    table = pd.DataFrame({"image_id": [f"{number:06d}" for number in range(images)], "path": paths})
    files = tf.data.Dataset.from_tensor_slices(paths)
    bare = files.map(lambda path: tf.io.decode_png(tf.io.read_file(path), channels=1), num_parallel_calls=CORES)

    def into_store() -> None:
        with tempfile.TemporaryDirectory() as target:
            prepare(table, Path(target) / "store", size=size)

    print(f"PNG files -> store of {size} px ({len(originals)} files, repeated to {images})")
    decode = {"bare decoder: files read, decoded, thrown away": lambda: [None for _ in bare.prefetch(8)]}
    interleaved({**decode, "prepare: resized, stored, checksums, on the disk": into_store}, images, rounds)


def generated(folder: Path, images: int, size: int, *, random: bool) -> Store:
    """Makes a store without decoding anything: of random images, or of empty ones that take no disk space."""
    names = pd.Series([f"{number:08d}_000.png" for number in range(images)])
    index = pd.DataFrame({"image_id": names, "file": names, "bytes": 1}).rename_axis("row").to_csv()
    folder.mkdir(parents=True)
    (folder / INDEX).write_text(index)
    index_sha256 = hashlib.sha256(index.encode()).hexdigest()
    none = "0" * 64
    manifest = Manifest(images, size, 1_000, PIXELS_VERSION, "clinical", "benchmark", none, none, index_sha256)
    manifest.chunks = [{"pixels": none, "sources": none} for _ in manifest.chunks]
    manifest.save(folder)
    file = manifest.images_file(folder)
    file.create()
    if random:
        rng = np.random.default_rng(0)
        for chunk in range(len(manifest.chunks)):
            rows = manifest.rows(chunk)
            file.write(rows, rng.integers(0, 256, (len(rows), size, size), dtype=np.uint8))
    return Store.load(folder)


def table_of(store: Store) -> pd.DataFrame:
    return pd.DataFrame({"image_id": store.image_ids, "Pneumonia": np.arange(len(store)) % 2.0})


def reading(images: int, size: int, batch_size: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = generated(Path(folder) / "store", images, size, random=True)
        table = table_of(store)
        within = store.images[:]
        batch = np.empty((batch_size, size, size), np.uint8)

        def copied() -> None:
            for start in range(0, images - batch_size + 1, batch_size):
                np.copyto(batch, within[start : start + batch_size])

        def batches(shuffle: bool) -> Callable[[], None]:
            options = {"image_size": size, "batch_size": batch_size, "shuffle": shuffle, "store": store}
            dataset = make_dataset(table, "Pneumonia", **options)
            return lambda: [None for _ in dataset] and None

        print(f"store -> batches of {batch_size} images of {size} px ({images:,} images)")
        variants = {
            "bare copy of the bytes within memory": copied,
            "make_dataset, in order (float32 batches)": batches(False),
            "make_dataset, shuffled (float32 batches)": batches(True),
        }
        interleaved(variants, images, rounds)


def epoch_memory(images: int, size: int, batch_size: int) -> None:
    """Prints the peak memory of this process, in MB, after one shuffled epoch over a generated store."""
    with tempfile.TemporaryDirectory() as folder:
        store = generated(Path(folder) / "store", images, size, random=False)
        options = {"image_size": size, "batch_size": batch_size, "shuffle": True, "store": store}
        for _ in make_dataset(table_of(store), "Pneumonia", **options):
            pass
    # Not getrusage, whose peak a child process takes over from its parent.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 1e3)


def memory(size: int, batch_size: int) -> None:
    print(
        f"peak memory of one shuffled epoch (the file of {NIH_IMAGES:,} images has {NIH_IMAGES * size**2 / 1e9:.1f} GB)"
    )
    for images in (batch_size, 10_000, NIH_IMAGES):
        call = [
            sys.executable,
            __file__,
            "--epoch-memory",
            str(images),
            "--size",
            str(size),
            "--batch",
            str(batch_size),
        ]
        done = subprocess.run(call, capture_output=True, text=True, check=True)
        print(f"  {images:>9,} images {float(done.stdout):8,.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="PNG files to decode; without it, decoding is left out")
    parser.add_argument("--images", type=int, default=480, help="decoded a round")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epoch-memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.epoch_memory:
        epoch_memory(options.epoch_memory, options.size, options.batch)
        return
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    print(f"{CORES} cores of {models[0].split(':')[1].strip() if models else 'unknown'}, TensorFlow {tf.__version__}")
    if options.folder:
        decoding(options.folder, options.images, options.size, options.rounds)
    reading(10_000, options.size, options.batch, options.rounds)
    memory(options.size, options.batch)


if __name__ == "__main__":
    main()
