"""Random changes that move a film's pixels: mirroring, and one resampling for rotation, shift, zoom and shear."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

    from chexkeras.data.augmentation import Augmentation


def flipped(draws: "tf.Tensor", probability: float) -> "tf.Tensor":
    """Returns whether a film is mirrored, a bool scalar.

    Args:
        draws: Uniform numbers in [-1, 1); the first decides.
        probability: Share of the films to mirror.
    """
    return draws[0] < 2.0 * probability - 1.0


def moved(film: "tf.Tensor", draws: "tf.Tensor", shear_draw: "tf.Tensor", settings: "Augmentation") -> "tf.Tensor":
    """Shears, rotates, scales and shifts a film about its centre by one bilinear resampling.

    Args:
        film: float32 tensor (height, width, 1).
        draws: Four uniform numbers in [-1, 1): rotation, zoom, shift to the side, shift down.
        shear_draw: A uniform number in [0, 1).
        settings: How far to go.

    Returns:
        float32 tensor of the same shape; what is uncovered is filled by reflection.
    """
    import tensorflow as tf

    shape = tf.shape(film)
    height, width = tf.cast(shape[0], tf.float32), tf.cast(shape[1], tf.float32)
    angle = draws[0] * settings.rotation_degrees * math.pi / 180.0
    scale = 1.0 / (1.0 + settings.zoom_fraction * draws[1])
    cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
    # The linear part, from output to input positions: x' = xx x + xy y, y' = yx x + yy y.
    xx, xy, yx, yy = cosine, -sine, sine, cosine
    if settings.shear_degrees:
        slant = tf.tan((2.0 * shear_draw - 1.0) * settings.shear_degrees * math.pi / 180.0)
        xy, yy = xy + slant * xx, yy + slant * yx
    centre_x, centre_y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
    target_x = centre_x + draws[2] * settings.shift_fraction * width
    target_y = centre_y + draws[3] * settings.shift_fraction * height
    offset_x = centre_x - xx * target_x - xy * target_y
    offset_y = centre_y - yx * target_x - yy * target_y
    transform = tf.stack([xx, xy, offset_x, yx, yy, offset_y, 0.0, 0.0])
    result = tf.raw_ops.ImageProjectiveTransformV3(
        images=film[tf.newaxis],
        transforms=transform[tf.newaxis],
        output_shape=shape[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )[0]
    return tf.ensure_shape(result, film.shape)
