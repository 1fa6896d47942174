"""How much training on stored features saves: all variants in one run, on the same films, as ratios.

    .venv/bin/python benchmarks/training.py --image-size 224 --films 128

Measured: one forward pass over the films, ordinary `fit` of stage 2 (top 20 %) and stage 1 (head), and `fit` of the
suffix on stored features for both. From these rates follow the passes that a whole recipe costs.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from chexkeras.models.classifier import build_classifier
from chexkeras.models.partition import partition
from chexkeras.models.stages import apply_stage
from chexkeras.training.features import feature_batches


def films_per_second(run: Callable[[], object], films: int, repeats: int) -> float:
    run()  # compiles
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        rates.append(films / (time.perf_counter() - start))
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--films", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, nargs=2, default=(17, 15), help="of stage 1 and stage 2")
    parser.add_argument("--views", type=int, default=2, help="stored views of each film")
    options = parser.parse_args()
    size, n, batch = options.image_size, options.films, options.batch_size
    rng = np.random.default_rng(0)
    films = rng.integers(0, 256, (n, size, size, 1)).astype(np.float32)
    labels = rng.integers(0, 2, (n, 1)).astype(np.float32)
    keras.utils.set_random_seed(0)
    model = build_classifier("Pneumonia", weights=None, image_size=size, precision="float32")

    def compile_stage(trainable: float) -> None:
        apply_stage(model, trainable, optimizer=keras.optimizers.Adam(1e-4), loss=keras.losses.BinaryCrossentropy())

    rates = {}
    for stage, trainable in (("stage 2", 0.2), ("stage 1", 0.0)):
        compile_stage(trainable)
        parts = partition(model)
        if stage == "stage 2":
            rates["forward"] = films_per_second(
                lambda: model.predict(films, batch_size=batch, verbose=0), n, options.repeats
            )
        ordinary = films_per_second(lambda: model.fit(films, labels, batch_size=batch, verbose=0), n, options.repeats)
        features = parts.prefix.predict(films, batch_size=batch, verbose=0).astype(np.float16)[:, np.newaxis]
        many = 4 if stage == "stage 2" else 64
        order = rng.permutation(np.tile(np.arange(n), many))
        compile_stage(trainable)
        parts = partition(model)
        parts.suffix.compile(optimizer=model.optimizer, loss=model.loss)

        def fit_suffix(suffix=parts.suffix, features=features, order=order) -> None:
            batches = feature_batches(features, labels, order=order, views=None, batch_size=batch)
            suffix.fit(batches, verbose=0, shuffle=False)

        stored = films_per_second(fit_suffix, n * many, options.repeats)
        rates[stage] = stored
        print(
            f"{stage}: ordinary {ordinary:8.1f} films/s, stored features {stored:8.1f} films/s, "
            f"{stored / ordinary:6.1f} times; stored at {parts.crossing}"
        )
    passes = options.views + sum(
        epochs * rates["forward"] / rates[stage]
        for epochs, stage in zip(options.epochs, ("stage 1", "stage 2"), strict=True)
    )
    print(f"one forward pass: {rates['forward']:.1f} films/s at {size} px, batches of {batch}")
    print(
        f"{options.epochs[0]} + {options.epochs[1]} epochs with {options.views} stored views cost "
        f"{passes:.2f} forward passes over the training films"
    )


if __name__ == "__main__":
    main()
