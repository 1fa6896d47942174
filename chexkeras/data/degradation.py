"""Random losses of quality in training images: another gamma, noise, fewer pixels, JPEG.

They are what `data.perturbations` changes by fixed amounts, drawn at random; `augmentation` says how far they go and
hands over their draws. Each change leaves an image within 0 and 255.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

_WHITE = 255.0


def other_gamma(image: "tf.Tensor", draw: "tf.Tensor", largest: float) -> "tf.Tensor":
    """Raises gray values to a power; a power and its reciprocal are equally likely.

    Args:
        image: float32 tensor (height, width, 1).
        draw: A uniform number in [0, 1).
        largest: The largest power less 1, above 0.

    Returns:
        float32 tensor of the same shape.
    """
    import tensorflow as tf

    power = tf.exp((2.0 * draw - 1.0) * math.log(1.0 + largest))
    return _WHITE * tf.pow(tf.clip_by_value(image, 0.0, _WHITE) / _WHITE, power)


def noisy(image: "tf.Tensor", draw: "tf.Tensor", seed: "tf.Tensor", largest: float) -> "tf.Tensor":
    """Adds white noise.

    Args:
        image: float32 tensor (height, width, 1).
        draw: A uniform number in [0, 1): how much.
        seed: int64 tensor (2,), of the noise itself.
        largest: Largest standard deviation, a share of the gray range.

    Returns:
        float32 tensor of the same shape.
    """
    import tensorflow as tf

    noise = tf.random.stateless_normal(tf.shape(image), seed)
    return tf.clip_by_value(image + _WHITE * largest * draw * noise, 0.0, _WHITE)


def coarser(image: "tf.Tensor", draw: "tf.Tensor", largest: float) -> "tf.Tensor":
    """Reduces an image and enlarges it again.

    Args:
        image: float32 tensor (height, width, 1).
        draw: A uniform number in [0, 1): how much.
        largest: The largest share of the sides that is lost, above 0 and below 1.

    Returns:
        float32 tensor of the same shape.
    """
    import tensorflow as tf

    sides = tf.shape(image)[:2]
    kept = tf.cast(tf.round(tf.cast(sides, tf.float32) * (1.0 - largest * draw)), tf.int32)
    reduced = tf.image.resize(image, tf.maximum(kept, 1), tf.image.ResizeMethod.AREA)
    return tf.ensure_shape(tf.image.resize(reduced, sides, tf.image.ResizeMethod.BILINEAR), image.shape)


def compressed(image: "tf.Tensor", draw: "tf.Tensor", largest: float) -> "tf.Tensor":
    """Writes an image as JPEG and reads it again.

    Args:
        image: float32 tensor (height, width, 1).
        draw: A uniform number in [0, 1): how much.
        largest: Largest loss of quality: 100 less this is the lowest, on the scale of libjpeg.

    Returns:
        float32 tensor of the same shape, whole gray values.
    """
    import tensorflow as tf

    quality = tf.cast(tf.round(100.0 - largest * draw), tf.int32)
    gray = tf.cast(tf.round(tf.clip_by_value(image, 0.0, _WHITE)), tf.uint8)
    stream = tf.raw_ops.EncodeJpegVariableQuality(images=tf.tile(gray, (1, 1, 3)), quality=quality)
    decoded = tf.image.decode_jpeg(stream, channels=1, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(tf.cast(decoded, tf.float32), image.shape)
