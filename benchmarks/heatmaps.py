"""What heat maps cost on top of the scores: ratios of times measured in turn, several times over.

    .venv/bin/python benchmarks/heatmaps.py

An untrained DenseNet121 (or --backbone) scores a batch, then scores it and makes maps of one finding and of fourteen.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from chexkeras.explanation.explain import map_network, maps_of
from chexkeras.explanation.methods import METHODS
from chexkeras.findings import NIH14
from chexkeras.models.classifier import build_classifier
from chexkeras.models.scoring import predict_padded


def main() -> None:
    """Measures and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="DenseNet121", help="name of a backbone")
    parser.add_argument("--image-size", type=int, default=224, help="height and width, pixels")
    parser.add_argument("--batch", type=int, default=16, help="images at a time")
    parser.add_argument("--repeats", type=int, default=7, help="times that each is measured, in turn")
    parser.add_argument("--head", default="three_layer", help="name of a head")
    given = parser.parse_args()
    model = build_classifier(
        NIH14, backbone=given.backbone, weights=None, image_size=given.image_size, head=given.head, precision="float32"
    )
    shape = (given.batch, given.image_size, given.image_size, 1)
    images = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    works: dict[str, Callable[[], object]] = {"scoring alone": lambda: predict_padded(model, images, given.batch)}
    for name, entry in METHODS.items():
        if entry.formula is None or entry.linear_only:
            continue
        network = map_network(model, entry)
        for count in (1, len(NIH14)):
            works[f"scores and {name}, {count} finding{'s' * (count > 1)}"] = lambda e=entry, n=network, c=count: (
                maps_of(n, e, images, list(range(c)), given.batch)
            )
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(given.repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    alone = seconds["scoring alone"]
    print(f"{given.backbone}, {given.image_size} px, {given.batch} images at a time, head {given.head}")
    for name, taken in seconds.items():
        ratios = [each / base for each, base in zip(taken, alone, strict=True)]
        print(f"  {name:42} {statistics.median(ratios):.2f} times scoring ({min(ratios):.2f}-{max(ratios):.2f})")


if __name__ == "__main__":
    main()
