"""The classifier: raw gray pixels in, probabilities out, with everything between them inside one flat graph.

Keras is imported only when a classifier is built, so that recipes can check their words here.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chexkeras.arguments import checked
from chexkeras.checks import one_of, positive_int
from chexkeras.findings import label_names
from chexkeras.models import backbones, heads
from chexkeras.models.exposure.entries import check_exposure, check_smoothing
from chexkeras.models.registry import GIVEN, number
from chexkeras.models.weights import opening

if TYPE_CHECKING:
    import keras

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
BATCHNORM = ("held", "trained")
"""What a stage does with the BatchNorm layers that it unfreezes, see `models.stages.apply_stage`."""
_SMALLEST_IMAGE = 32

check_clahe = number(at_least=1, at_most=256, usual=2, null="for none")
"""Checks a limit of contrast-limited equalisation: largest count of a gray level, as a multiple of the mean count."""


def resolve_precision(precision: str) -> str:
    """Returns the precision policy to use.

    Args:
        precision: One of `PRECISIONS`; "auto" is mixed_float16 where TensorFlow sees an NVIDIA GPU with
            tensor cores (compute capability 7.0 or higher) and float32 everywhere else.

    Raises:
        ValueError: If it is none of them.
    """
    if one_of(precision, PRECISIONS, "precision") != "auto":
        return precision
    import keras

    if keras.backend.backend() != "tensorflow":
        return "float32"
    import tensorflow as tf

    for device in tf.config.list_physical_devices("GPU"):
        capability = tf.config.experimental.get_device_details(device).get("compute_capability", (0, 0))
        if capability >= (7, 0):
            return "mixed_float16"
    return "float32"


@contextlib.contextmanager
def _dtype_policy(policy: str) -> Iterator[None]:
    import keras

    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


@checked
def build_classifier(
    targets: str | tuple[str, ...],
    *,
    backbone: "str | keras.layers.Layer" = "DenseNet121",
    weights: str | Path | None = "imagenet",
    weights_file: str | Path | None = None,
    image_size: int = 224,
    head: "str | keras.layers.Layer" = "three_layer",
    clahe: float | None = None,
    exposure: str | None = None,
    smoothing: float | None = None,
    precision: str = "auto",
    input_range: tuple[float, float] | str | None = None,
) -> "keras.Model":
    """Builds a classifier that takes raw gray pixels.

    The graph is flat: the backbone's layers are the model's own, so that a stage can freeze them by name and a heat
    map can reach any of them. Layers before the backbone are named ``preprocess_*``, those after it ``head_*``.

    Args:
        targets: One label or several, in output order.
        backbone: A name in `models.backbones.BACKBONES`, or a Keras model or layer from images (batch, height, width, 1
            or 3) to a feature map (batch, rows, columns, channels), which is copied with its weights.
        weights: "imagenet", a name in `models.weights.sources.WEIGHTS`, a weights file, a JSON description of weights,
            or None for an untrained base; a Keras object brings its own.
        weights_file: The file of weights that `weights` names or describes.
        image_size: Height and width of the input, pixels.
        head: A name in `models.heads.HEADS`, or a Keras model or layer from the feature map, or from its average over
            rows and columns, to one probability for each target.
        clahe: Limit of the contrast-limited equalisation that every image goes through first, in 8 x 8 tiles, 1 to 256;
            None for none.
        exposure: How every image is then brought to one gray scale, a name in `models.exposure.entries.EXPOSURES`; None
            leaves it as it is.
        smoothing: Standard deviation of a low-pass before that, pixels of the model's input, above 0 to 10; None for
            none.
        precision: "auto", "float32", "mixed_float16" or "mixed_bfloat16".
        input_range: With a Keras object as backbone: its values of black and white, such as (0, 1), or "imagenet" or
            "caffe".

    Returns:
        A Keras model from (batch, image_size, image_size, 1), 0-255, to (batch, n_targets) float32 probabilities. Not
        compiled: `models.stages.apply_stage` does that.

    Raises:
        ValueError: If an argument is unknown or out of range.
        OSError: If ImageNet weights cannot be had.
    """
    import keras

    names = label_names(targets)
    if positive_int(image_size, "image_size") < _SMALLEST_IMAGE:
        raise ValueError(f"image_size={image_size} is too small for a backbone; use at least {_SMALLEST_IMAGE}.")
    base = backbones.BACKBONES.find(backbone, "backbone") if isinstance(backbone, str) else None
    if base is not None:
        base.check_size(image_size)
    if base is not None and input_range is not None:
        raise ValueError(f"input_range={input_range!r} is for a Keras object as backbone; {backbone} has its own.")
    check_clahe(clahe, "clahe")
    check_exposure(exposure, "exposure")
    check_smoothing(smoothing, "smoothing")
    with _dtype_policy(resolve_precision(precision)):
        pixels = keras.Input((image_size, image_size, 1), name="pixels", dtype="float32")
        seen = pixels
        if clahe is not None:
            from chexkeras.models.clahe import Clahe

            seen = Clahe(clahe, name="preprocess_clahe")(pixels)
        if exposure is not None or smoothing is not None:
            from chexkeras.models.exposure import layers

            seen = layers.attach(seen, exposure, smoothing)
        if base is not None:
            found = opening.find(base.name, weights, weights_file) if weights != GIVEN else None
            normalisation = (found and found.normalisation) or base.normalisation
            features = backbones.attach(base, backbones.normalise(seen, normalisation), found or weights)
        else:
            from chexkeras.models import given

            features = given.attach_backbone(backbone, seen, input_range)
        if isinstance(head, str):
            probabilities = heads.attach(features, len(names), head)
        else:
            from chexkeras.models import given

            probabilities = given.attach_head(head, features, names)
        return keras.Model(pixels, probabilities, name=f"chexkeras_{base.name.lower() if base else GIVEN}")
