"""How fast each engine computes what a training freezes, and how far its features lie from those of Keras.

    .venv/bin/python benchmarks/frozen_engines.py --image-size 224 --batches 4

All engines in one run, a batch of each in turn, so that what else runs on the machine slows all of them alike. Those
that are not installed (extras openvino and onnx) are left out; bfloat16 needs a processor that computes in it.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from chexkeras.inference.engines import FROZEN_ENGINES
from chexkeras.models.classifier import build_classifier
from chexkeras.models.partition import frozen_share, partition
from chexkeras.models.stages import freeze
from chexkeras.training.frozen.engine import frozen_engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="DenseNet121")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--trainable", type=float, default=0.2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=4)
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    model = build_classifier(
        "Pneumonia",
        backbone=options.backbone,
        weights=None,
        image_size=options.image_size,
        head="linear",
        precision="float32",
    )
    freeze(model, options.trainable)
    parts = partition(model)
    if parts is None:
        raise SystemExit("nothing is frozen")
    print(f"{options.backbone} to {parts.crossing}: {frozen_share(model, parts.prefix):.0%} of the multiplications")
    found = {}
    for name in FROZEN_ENGINES[:-1]:
        try:
            found[name] = frozen_engine(parts.prefix, name, options.batch_size)
        except ValueError as error:
            print(f"{name}: {error}")
    rng = np.random.default_rng(0)
    shape = (options.batch_size, options.image_size, options.image_size, 1)
    images = rng.integers(0, 256, shape).astype(np.float32)
    times: dict[str, list[float]] = {name: [] for name in found}
    for batch in range(options.batches + 1):
        for name, engine in found.items():
            start = time.perf_counter()
            engine.compute(images, options.batch_size)
            # The first batch compiles.
            if batch:
                times[name].append(time.perf_counter() - start)
    of_keras = times["keras"]
    for name, engine in found.items():
        # Batch by batch: each is compared with the batch of Keras that ran beside it.
        ratio = statistics.median(one / other for one, other in zip(of_keras, times[name], strict=True))
        rate = options.batch_size / statistics.median(times[name])
        print(
            f"{name} {engine.version}: {rate:.1f} images/s, {ratio:.2f} times Keras, largest difference of a feature "
            f"{engine.largest_difference:.1e} of the largest"
        )


if __name__ == "__main__":
    main()
