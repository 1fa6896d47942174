"""Random changes of a film's gray values that leave its pixels where they are: blurring, and erasing a rectangle."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

    from chexkeras.data.augmentation import Augmentation

# Height over width of an erased rectangle, or the other way round (Zhong et al. 2020).
_LONGEST_SHAPE = 3.3


def blurred(film: "tf.Tensor", draws: "tf.Tensor", settings: "Augmentation") -> "tf.Tensor":
    """Blurs some films by a Gaussian; the others stay as they are, bit for bit.

    Args:
        film: float32 tensor (height, width, 1).
        draws: Uniform numbers in [0, 1): whether, and how much.
        settings: How far to go.

    Returns:
        float32 tensor of the same shape. The kernel sums to 1 and the film is continued by reflection, so that even
        films stay as they are up to their edge.
    """
    import tensorflow as tf

    radius = settings.blur_kernel_px // 2
    low, high = settings.blur_sigma_px
    sigma = low + (high - low) * draws[1]
    weights = tf.exp(-0.5 * tf.square(tf.range(-radius, radius + 1, dtype=tf.float32) / sigma))
    weights = weights / tf.reduce_sum(weights)
    height, width = tf.shape(film)[0], tf.shape(film)[1]
    # Sums of shifted films rather than a convolution, whose order of additions is the library's own.
    padded = tf.pad(film, [[radius, radius], [0, 0], [0, 0]], "REFLECT")
    rows = sum(weights[index] * padded[index : index + height] for index in range(2 * radius + 1))
    padded = tf.pad(rows, [[0, 0], [radius, radius], [0, 0]], "REFLECT")
    both = sum(weights[index] * padded[:, index : index + width] for index in range(2 * radius + 1))
    return tf.where(draws[0] < settings.blur_probability, tf.ensure_shape(both, film.shape), film)


def erased(film: "tf.Tensor", draws: "tf.Tensor", settings: "Augmentation") -> "tf.Tensor":
    """Fills a rectangle of some films with the film's mean; the others stay as they are, bit for bit.

    Args:
        film: float32 tensor (height, width, 1).
        draws: Uniform numbers in [0, 1): whether, area, shape, and the place, down and to the side.
        settings: How far to go.

    Returns:
        float32 tensor of the same shape. The rectangle lies within the film; the logarithm of its height over its width
        is uniform, as in torchvision, so that lying and standing ones are equally likely.

    Source:
        Zhong et al., "Random Erasing Data Augmentation", AAAI 2020, who fill with random values or ImageNet's mean.
    """
    import tensorflow as tf

    height, width = tf.shape(film)[0], tf.shape(film)[1]
    low, high = settings.erase_area
    area = (low + (high - low) * draws[1]) * tf.cast(height * width, tf.float32)
    shape = tf.exp((2.0 * draws[2] - 1.0) * math.log(_LONGEST_SHAPE))
    tall = tf.clip_by_value(tf.cast(tf.round(tf.sqrt(area * shape)), tf.int32), 1, height)
    wide = tf.clip_by_value(tf.cast(tf.round(tf.sqrt(area / shape)), tf.int32), 1, width)
    top = tf.cast(draws[3] * tf.cast(height - tall + 1, tf.float32), tf.int32)
    left = tf.cast(draws[4] * tf.cast(width - wide + 1, tf.float32), tf.int32)
    rows, columns = tf.range(height)[:, tf.newaxis], tf.range(width)[tf.newaxis, :]
    inside = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
    inside &= draws[0] < settings.erase_probability
    return tf.where(inside[..., tf.newaxis], tf.reduce_mean(film), film)
