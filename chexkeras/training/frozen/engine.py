"""What computes the frozen prefix: Keras, or an engine that Keras exports to, compared with Keras before it is used.

Keras is the default, since another engine rounds otherwise, and which one is fastest depends on the machine: with
"auto" two machines may train on features that differ in their last digits. What was used is recorded in the run.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from chexkeras.inference.engines import (
    ENGINES,
    FROZEN_ENGINES,
    Outputs,
    check_frozen_engine,
    check_images,
    engine_and_precision,
    keras_outputs,
    missing_for,
    version_of,
)
from chexkeras.progress import say

LARGEST_DIFFERENCE = {"float32": 1e-4, "bf16": 0.05}
"""How far a feature may lie from that of Keras, as a share of the largest one, on the images of the check."""

_TIMED_BATCHES = 3
# Less than this is not worth other digits: float32 against Keras, and bfloat16 against the best in float32.
_WORTH = {"float32": 1.1, "bf16": 1.5}


@dataclass(frozen=True, eq=False)
class FrozenEngine:
    """What computes features.

    Attributes:
        name: One of `FROZEN_ENGINES` but "auto".
        version: Version of the library that computes.
        largest_difference: Largest difference of a feature from that of Keras on the images of the check, as a share
            of the largest feature; 0 for Keras itself.
        compute: From float32 images (n, height, width, 1), 0-255, and the size of a full batch to one array for each
            crossing tensor.
        timed: Images a second of each engine that was tried by "auto", by name; empty where none was.
    """

    name: str
    version: str
    largest_difference: float
    compute: Outputs = field(repr=False)
    timed: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns what a run records."""
        return {
            "name": self.name,
            "version": self.version,
            "largest_difference": self.largest_difference,
            **({"images_per_second": self.timed} if self.timed else {}),
        }


def frozen_engine(model: keras.Model, name: str = "keras", batch_size: int = 32) -> FrozenEngine:
    """Makes an engine ready to compute a frozen prefix, and compares it with Keras.

    Args:
        model: From images (batch, height, width, 1), 0-255, to the crossing tensors.
        name: One of `FROZEN_ENGINES`; "auto" takes the fastest of those that are installed, and of Keras.
        batch_size: Images of a full batch.

    Raises:
        ValueError: If it cannot be used here, or its features differ by more than `LARGEST_DIFFERENCE`.
    """
    check_frozen_engine(name)
    reference = FrozenEngine("keras", keras.__version__, 0.0, keras_outputs(model))
    if name == "keras":
        return reference
    images = check_images(model.input_shape[1])
    expected = reference.compute(images, len(images))
    if name != "auto":
        found = _compared(name, model, images, expected)
        say(f"{_told(found)} (at most {_bound(name):g} is allowed)", indent=2)
        return found
    return _fastest(model, reference, images, expected, batch_size)


def _fastest(
    model: keras.Model, reference: FrozenEngine, images: np.ndarray, expected: list[np.ndarray], batch_size: int
) -> FrozenEngine:
    tried = {"keras": reference}
    for name in FROZEN_ENGINES[1:-1]:
        if missing_for(engine_and_precision(name)[0]):
            continue
        try:
            tried[name] = _compared(name, model, images, expected)
        except ValueError as error:
            say(f"{name} is not used for what is frozen: {error}", indent=2)
    if len(tried) == 1:
        say("frozen_engine='auto': no engine besides Keras can be used here", indent=2)
        return reference
    batch = np.resize(images, (batch_size, *images.shape[1:]))
    timed = {name: _images_per_second(engine.compute, batch) for name, engine in tried.items()}
    chosen = "keras"
    for name in sorted(tried, key=lambda each: (engine_and_precision(each)[1] == "bf16", -timed[each])):
        if name != "keras" and timed[name] >= _WORTH[engine_and_precision(name)[1]] * timed[chosen]:
            chosen = name
    rates = ", ".join(f"{name} {rate:.1f}" for name, rate in timed.items())
    say(f"what is frozen is computed by {_told(tried[chosen])}; images/s: {rates}", indent=2)
    engine = tried[chosen]
    return FrozenEngine(engine.name, engine.version, engine.largest_difference, engine.compute, timed)


def _images_per_second(compute: Outputs, batch: np.ndarray) -> float:
    compute(batch, len(batch))  # compiles
    times = []
    for _ in range(_TIMED_BATCHES):
        start = time.perf_counter()
        compute(batch, len(batch))
        times.append(time.perf_counter() - start)
    # The best of them: what else runs on the machine makes the others slower, never faster.
    return len(batch) / min(times)


def _compared(name: str, model: keras.Model, images: np.ndarray, expected: list[np.ndarray]) -> FrozenEngine:
    library, precision = engine_and_precision(name)
    compute = ENGINES[library].outputs(model, precision)
    found = compute(images, len(images))
    shapes = [array.shape for array in found]
    if shapes != [array.shape for array in expected]:
        raise ValueError(f"{name} gives features of the shapes {shapes}; use frozen_engine='keras'.")
    difference = max(
        float(np.abs(one - other).max() / max(float(np.abs(other).max()), 1e-12))
        for one, other in zip(found, expected, strict=True)
    )
    engine = FrozenEngine(name, version_of(library), difference, compute)
    # Also refuses NaN, which is not at most anything.
    if not difference <= _bound(name):
        raise ValueError(
            f"{_told(engine)}, at most {_bound(name):g} is allowed; use frozen_engine='keras' (--frozen-engine keras)."
        )
    return engine


def _told(engine: FrozenEngine) -> str:
    if engine.name == "keras":
        return f"keras {engine.version}"
    return (
        f"{engine.name} {engine.version}: largest difference of a feature from Keras {engine.largest_difference:.1e} "
        "of the largest feature, on synthetic images"
    )


def _bound(name: str) -> float:
    return LARGEST_DIFFERENCE[engine_and_precision(name)[1]]
