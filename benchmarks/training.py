"""How much training on stored features saves: all variants in one run, on the same images, as ratios.

    .venv/bin/python benchmarks/training.py --image-size 224 --images 512

Measured: one pass of scoring over the images; `fit` of stage 1 (head) and of stage 2 (top 20 %), ordinary and on stored
features; a whole recipe of both stages through the trainer's own engine, filling the store included; and the memory of
an epoch on stores of three sizes, the largest that of NIH ChestX-ray14 (7 GB on the disk).

    .venv/bin/python benchmarks/training.py --many --data path/to/nih --finding Pneumonia

Measured instead: one training, a cross-validation of five folds, five seeds and a sweep of six settings of the same
recipe on the same images, as multiples of the one training.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image

from chexkeras.data.augmentation import Augmentation
from chexkeras.data.datasets.registry import open_data
from chexkeras.data.pipeline import without_autotuning
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.models.classifier import build_classifier
from chexkeras.models.partition import partition
from chexkeras.models.scoring import predict_scores
from chexkeras.models.stages import apply_stage
from chexkeras.recipes.presets import preset
from chexkeras.training.experiments.cross_validation import cross_validate, train_seeds
from chexkeras.training.experiments.sweep import sweep
from chexkeras.training.frozen.feature_store import StoredFeatures, feature_batches
from chexkeras.training.frozen.plan import plan_features
from chexkeras.training.frozen.shelves import Shelves
from chexkeras.training.loop import fit_stages
from chexkeras.training.trainer import train


def seconds(run: Callable[[], Any], repeats: int) -> float:
    run()  # compiles
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def classifier(size: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_classifier("Pneumonia", weights=None, image_size=size, precision="float32")


def image_table(folder: Path, images: int, size: int) -> pd.DataFrame:
    """Writes images of noise and returns their image table; every second one is positive."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(images):
        path = folder / f"{number:05d}.png"
        Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8)).save(path, compress_level=1)
        rows.append((path.name, str(path), str(number), float(number % 2)))
    return pd.DataFrame(rows, columns=["image_id", "path", "patient_id", "Pneumonia"])


def stage_rates(options: argparse.Namespace) -> None:
    size, batch, n = options.image_size, options.batch_size, min(options.images, 128)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, size, size, 1)).astype(np.float32)
    labels = rng.integers(0, 2, (n, 1)).astype(np.float32)
    model = classifier(size)
    for name, trainable, rounds in (("stage 2, top 20 %", 0.2, 16), ("stage 1, head alone", 0.0, 128)):
        apply_stage(model, trainable, optimizer=keras.optimizers.Adam(1e-4), loss=keras.losses.BinaryCrossentropy())
        parts = partition(model)
        shown = without_autotuning(tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch).prefetch(4))
        ordinary = n / seconds(lambda shown=shown: model.fit(shown, verbose=0, shuffle=False), options.repeats)
        values = parts.prefix.predict(images, batch_size=batch, verbose=0).astype(np.float16)
        features = StoredFeatures(values, np.arange(n)[:, np.newaxis])
        order = rng.permutation(np.tile(np.arange(n), rounds))
        parts.suffix.compile(optimizer=keras.optimizers.Adam(1e-4), loss=model.loss)

        def fit_suffix(suffix=parts.suffix, features=features, order=order) -> None:
            batches = feature_batches(features, labels, order=order, copies=None, batch_size=batch)
            suffix.fit(batches, verbose=0, shuffle=False)

        stored = n * rounds / seconds(fit_suffix, options.repeats)
        print(
            f"{name}: ordinary {ordinary:.1f} images/s, stored features {stored:,.1f} images/s, "
            f"{stored / ordinary:.1f} times; stored at {parts.crossing}"
        )


def whole_recipe(options: argparse.Namespace) -> None:
    size, batch = options.image_size, options.batch_size
    recipe = preset("udacity-2a").replace(
        weights=None, image_size=size, batch_size=batch, precision="float32", augment=Augmentation(flip=True)
    )
    model = classifier(size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = image_table(folder, options.images, size)
        validation = train.head(8)
        one_pass = seconds(lambda: predict_scores(model, train, recipe.targets, batch_size=batch), options.repeats)
        start = time.perf_counter()
        plan = plan_features(model, recipe, train, validation, Shelves(folder / "store"))
        plan.fill(batch)
        filled = time.perf_counter()
        fitted = fit_stages(model, recipe, keras.losses.BinaryCrossentropy(), train, validation, plan)
        total = time.perf_counter() - start
        filling = filled - start
    by_stage = {stage.name: 0.0 for stage in recipe.stages}
    for row in fitted.history:
        by_stage[row["stage"]] += row["seconds"]
    epochs = " + ".join(str(stage["epochs_run"]) for stage in fitted.stages)
    print(f"one pass of scoring over {options.images} images at {size} px: {one_pass:.1f} s")
    print(
        f"{recipe.name}, {epochs} epochs, image and mirror image: {total / one_pass:.2f} passes (filling the store "
        f"{filling / one_pass:.2f}, "
        + ", ".join(f"{name} {took / one_pass:.2f}" for name, took in by_stage.items())
        + f"); store {plan.train.spec.bytes_per_image() / 1e3:.1f} kB an image"
    )


def own_memory() -> int:
    """Returns the process's anonymous memory in bytes: what it holds itself, without pages of mapped files."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def epoch_on(entries: int, batch: int) -> None:
    """Trains one epoch on a store of so many images; prints what of the processor an image takes, and the memory."""
    model = classifier(224)
    apply_stage(model, 0.2, optimizer=keras.optimizers.Adam(1e-4), loss=keras.losses.BinaryCrossentropy())
    suffix = partition(model).suffix
    suffix.compile(optimizer=model.optimizer, loss=model.loss)
    largest, done = 0, threading.Event()

    def watch() -> None:
        nonlocal largest
        while not done.wait(0.05):
            largest = max(largest, own_memory())

    rng = np.random.default_rng(0)
    some = rng.random((1_000, 7, 7, 640), np.float32).astype(np.float16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(entries, *some.shape[1:]))
        for first in range(0, entries, len(some)):
            stored[first : first + len(some)] = some[: entries - first]
        stored.flush()
        del stored, some
        features = StoredFeatures(np.load(path, mmap_mode="r"), np.arange(entries)[:, np.newaxis])
        labels = np.zeros((entries, 1), np.float32)

        def fit(order: np.ndarray) -> None:
            batches = feature_batches(features, labels, order=order, copies=None, batch_size=batch)
            suffix.fit(batches, verbose=0, shuffle=False)

        fit(np.arange(2 * batch))
        watcher = threading.Thread(target=watch)
        watcher.start()
        start, worked = time.perf_counter(), time.process_time()
        fit(rng.permutation(entries))
        took, worked = time.perf_counter() - start, time.process_time() - worked
        done.set()
        watcher.join()
    print(
        f"an epoch on {entries:,} stored images ({entries * 62.72e-3:,.0f} MB): {worked / entries * 1e3:.2f} ms of "
        f"processor an image, {took / entries * 1e3:.2f} ms by the clock, {largest / 1e6:,.0f} MB of memory"
    )


def processor() -> float:
    """Returns seconds of the processor that this process and those that it has ended took, whatever else runs."""
    return sum(os.times()[:4])


def many_trainings(options: argparse.Namespace) -> None:
    """Prints what folds, seeds and a sweep cost, as multiples of one training; all audit the images as they begin."""
    recipe = preset("two-stage").replace(targets=(options.finding,), weights=None)
    table = open_data(options.data, missing="skip")
    splits = split_by_patient(table, recipe.targets, validation=0.15, test=0.2, seed=recipe.seed)
    settings = {"stage2.learning_rate": [1e-5, 3e-5, 1e-4], "loss.name": ["weighted_bce", "focal"]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        works: dict[str, Callable[[], Any]] = {
            "one training": lambda: train(recipe, splits, folder / "one"),
            "five folds": lambda: cross_validate(recipe, table, folder / "folds", folds=5, final="none"),
            "five seeds": lambda: train_seeds(recipe, splits, folder / "seeds", seeds=5),
            "six settings": lambda: sweep(recipe, splits, folder / "sweep", settings=settings),
        }
        took, worked, epochs = {}, {}, {}
        for work, run in works.items():
            if options.only and work not in ("one training", options.only):
                continue
            start, before = time.perf_counter(), processor()
            found = run()
            took[work], worked[work] = time.perf_counter() - start, processor() - before
            runs = getattr(found, "runs", [found])
            epochs[work] = sum(len(each.history) for each in runs)
    for work, clock in took.items():
        print(
            f"{work}: {clock:.0f} s by the clock, {clock / took['one training']:.2f} times one training; of the "
            f"processor {worked[work]:.0f} s, {worked[work] / worked['one training']:.2f} times; {epochs[work]} epochs"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, help="only train an epoch on so many stored images")
    parser.add_argument("--many", action="store_true", help="folds, seeds and a sweep against one training")
    parser.add_argument("--only", choices=("five folds", "five seeds", "six settings"), help="with --many: one of them")
    parser.add_argument("--data", type=Path, help="with --many: folder of a data set")
    parser.add_argument("--finding", default="Pneumonia", help="with --many: the finding to learn")
    options = parser.parse_args()
    if options.many:
        many_trainings(options)
        return
    if options.memory:
        epoch_on(options.memory, options.batch_size)
        return
    stage_rates(options)
    whole_recipe(options)
    for entries in (1_000, 10_000, 112_120):
        subprocess.run([sys.executable, __file__, "--memory", str(entries)], check=True)


if __name__ == "__main__":
    main()
