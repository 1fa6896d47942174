"""The one way an image becomes the classifier's pixels.

Training reads files or a store that was made from them, DICOM scoring hands over arrays; all go through
`to_model_pixels`, so that an image scored in a hospital folder is the image the model was trained on, bit for bit.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from chexkeras.dicom.pixels import image_file

PIXELS_VERSION = 2
"""Raised when an image's way to the classifier's pixels changes: stores made before are then refused."""


def to_model_pixels(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Resizes an image by area averaging and rounds to whole gray values.

    Rounding to uint8 costs at most half a gray value and makes an image read from a file, from a store and from a DICOM
    object the same image.

    Args:
        image: uint8 tensor (height, width, 1), 0-255, any size.
        image_size: Height and width wanted, pixels. The image is not padded: NIH's own images were scaled to a square
            the same way.

    Returns:
        uint8 tensor (image_size, image_size, 1).
    """
    resized = tf.image.resize(image, (image_size, image_size), method=tf.image.ResizeMethod.AREA)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


def read_image(path: tf.Tensor, image_size: int) -> tf.Tensor:
    """Reads a PNG or JPEG file as the classifier's pixels, the same that scoring makes of it (`dicom.image_file`).

    Args:
        path: Scalar string tensor.
        image_size: Height and width wanted, pixels.

    Returns:
        uint8 tensor (image_size, image_size, 1).
    """
    return decode_image(tf.io.read_file(path), image_size)


def decode_image(content: tf.Tensor, image_size: int) -> tf.Tensor:
    """Makes the classifier's pixels of the content of a PNG or JPEG file, see `read_image`.

    Args:
        content: Scalar string tensor.
        image_size: Height and width wanted, pixels.

    Returns:
        uint8 tensor (image_size, image_size, 1).
    """
    is_plain = _in_python(image_file.is_plain_grey, content, tf.bool)
    is_plain.set_shape(())
    image = tf.cond(is_plain, lambda: _decode_plain_grey(content), lambda: _decode_other(content))
    return to_model_pixels(image, image_size)


def _decode_plain_grey(content: tf.Tensor) -> tf.Tensor:
    def jpeg() -> tf.Tensor:
        # As Pillow does; TensorFlow's usual transform is faster and a few gray values off.
        return tf.io.decode_jpeg(content, channels=1, dct_method="INTEGER_ACCURATE")

    image = tf.cond(tf.io.is_jpeg(content), jpeg, lambda: tf.io.decode_png(content, channels=1))
    image.set_shape((None, None, 1))
    return image


def _decode_other(content: tf.Tensor) -> tf.Tensor:
    """Decodes as scoring does: TensorFlow makes other grey values of colour and of 16 bits, and sees no orientation."""
    image = _in_python(image_file.decode, content, tf.uint8)
    image.set_shape((None, None))
    return image[..., tf.newaxis]


def _in_python(function: Callable[[bytes], Any], content: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    def call(given: bytes | np.ndarray) -> Any:
        # A graph hands over the bytes, and eager execution an array of them.
        return function(given if isinstance(given, bytes) else given.item())

    return tf.numpy_function(call, [content], dtype, stateful=False)
