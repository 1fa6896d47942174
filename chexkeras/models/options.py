"""Names that a recipe may use, kept apart from Keras so that a recipe can be checked before anything heavy starts."""

import math

BACKBONES = (
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "ResNet50",
    "VGG16",
    "EfficientNetB0",
    "EfficientNetB1",
    "EfficientNetB2",
    "EfficientNetB3",
    "EfficientNetB4",
    "EfficientNetV2S",
    "ConvNeXtTiny",
    "SEResNet34",
    "SmallCNN",
)
HEADS = ("three_layer", "linear", "dropout", "dense_512", "dense_1024", "dense_bn", "three_way")
BATCHNORM = ("held", "trained")
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
CLAHE_LIMITS = (1.0, 256.0)


def clahe_limit(limit: float) -> float:
    """Returns a limit of contrast-limited equalisation, checked.

    Args:
        limit: Largest count of a gray level, as a multiple of the mean count: 1 (weakest) to 256.

    Raises:
        ValueError: If it is no such number.
    """
    low, high = CLAHE_LIMITS
    number = isinstance(limit, (int, float)) and not isinstance(limit, bool) and math.isfinite(limit)
    if not number or not low <= limit <= high:
        raise ValueError(
            f"clahe={limit!r} must be a number from {low:g} (weakest) to {high:g}, usual is 2; null for none."
        )
    return float(limit)
