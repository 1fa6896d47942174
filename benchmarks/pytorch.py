"""Scoring and both stages beside PyTorch: DenseNet121 of this project and of torchvision, on the same cores in one run.

    .venv/bin/python benchmarks/pytorch.py --images 128 --repeats 3

Needs torch and torchvision, which the project does not. Both networks are untrained, 224 px, float32, batches of 32,
Adam. PyTorch trains as it is usually written: parameters that are frozen take no gradient, and every epoch computes the
frozen layers again. Here they are computed once; both ways of Keras are shown. What is measured takes turns, so that
what else runs on the machine slows all of it alike.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# First of all: some builds of PyTorch end the process when TensorFlow was there before.
import torch  # isort: skip
import torchvision  # isort: skip

import keras
import numpy as np
import tensorflow as tf

from chexkeras.data.pipeline import without_autotuning
from chexkeras.models.classifier import build_classifier
from chexkeras.models.partition import partition
from chexkeras.models.stages import apply_stage
from chexkeras.training.frozen.feature_store import StoredFeatures, feature_batches

BATCH, SIDE = 32, 224
ROUNDS = 16


def keras_ways(images: np.ndarray, labels: np.ndarray) -> dict[str, Callable[[], int]]:
    """Returns what Keras does, by name; each returns how many images it went through."""
    ways: dict[str, Callable[[], int]] = {}
    n = len(images)
    shown = without_autotuning(tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH).prefetch(4))
    scoring = build_classifier("Pneumonia", weights=None, image_size=SIDE, head="linear", precision="float32")

    def score() -> int:
        scoring.predict(shown, verbose=0)
        return n

    ways["scoring: Keras"] = score
    for name, trainable, rounds in (("top 20 %", 0.2, ROUNDS), ("head", 0.0, 8 * ROUNDS)):
        model = build_classifier("Pneumonia", weights=None, image_size=SIDE, head="linear", precision="float32")
        apply_stage(model, trainable, optimizer=keras.optimizers.Adam(1e-4), loss=keras.losses.BinaryCrossentropy())
        parts = partition(model)
        values = parts.prefix.predict(images, batch_size=BATCH, verbose=0).astype(np.float16)
        features = StoredFeatures(values, np.arange(n)[:, np.newaxis])
        order = np.random.default_rng(0).permutation(np.tile(np.arange(n), rounds))
        parts.suffix.compile(optimizer=keras.optimizers.Adam(1e-4), loss=keras.losses.BinaryCrossentropy())

        def ordinary(model: keras.Model = model) -> int:
            model.fit(shown, verbose=0, shuffle=False)
            return n

        def stored(parts: Any = parts, features: Any = features, order: np.ndarray = order) -> int:
            batches = feature_batches(features, labels, order=order, copies=None, batch_size=BATCH)
            parts.suffix.fit(batches, verbose=0, shuffle=False)
            return len(order)

        ways[f"{name}: Keras, ordinary fit"] = ordinary
        ways[f"{name}: chexkeras, what is frozen stored"] = stored
    return ways


def torch_ways(images: np.ndarray, labels: np.ndarray) -> dict[str, Callable[[], int]]:
    """Returns what PyTorch does, by name."""
    shown = torch.from_numpy(images).permute(0, 3, 1, 2).repeat(1, 3, 1, 1).div_(255).contiguous()
    wanted = torch.from_numpy(labels)
    ways: dict[str, Callable[[], int]] = {}

    def network() -> torch.nn.Module:
        model = torchvision.models.densenet121(weights=None)
        model.classifier = torch.nn.Linear(model.classifier.in_features, 1)
        return model

    scoring = network().eval()

    def score() -> int:
        with torch.inference_mode():
            for start in range(0, len(shown), BATCH):
                torch.sigmoid(scoring(shown[start : start + BATCH]))
        return len(shown)

    ways["scoring: PyTorch"] = score
    # The same cut as 20 % of this project's layers: behind the fourth layer of the last block.
    tops = {
        "head": ("classifier",),
        "top 20 %": (
            *(f"features.denseblock4.denselayer{number}." for number in range(5, 17)), "features.norm5", "classifier",
        ),
    }  # fmt: skip
    for name, top in tops.items():
        model = network().eval()
        for key, parameter in model.named_parameters():
            parameter.requires_grad = key.startswith(top)
        optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=1e-4)

        def epoch(model: torch.nn.Module = model, optimizer: torch.optim.Optimizer = optimizer) -> int:
            for start in range(0, len(shown), BATCH):
                optimizer.zero_grad()
                logits = model(shown[start : start + BATCH])
                torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted[start : start + BATCH]).backward()
                optimizer.step()
            return len(shown)

        ways[f"{name}: PyTorch"] = epoch
    return ways


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (options.images, SIDE, SIDE, 1)).astype(np.float32)
    labels = rng.integers(0, 2, (options.images, 1)).astype(np.float32)
    ways = torch_ways(images, labels) | keras_ways(images, labels)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            done = way()
            # The first turn compiles.
            if turn:
                rates[name].append(done / (time.perf_counter() - start))
    reference = statistics.median(rates["scoring: Keras"])
    for name in sorted(rates):
        rate = statistics.median(rates[name])
        print(f"{name}: {rate:,.1f} images/s, {rate / reference:.2f} times the scoring by Keras")


if __name__ == "__main__":
    main()
