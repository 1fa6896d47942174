"""Random changes to training films, each drawn from a seed of its own, so that a run can be repeated exactly."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf


@dataclass(frozen=True)
class Augmentation:
    """How far training films may be changed; every default leaves them alone.

    Attributes:
        flip: Mirror half of the films left to right. Off by default: it moves the heart to the other side.
        rotation_degrees: Largest rotation to either side, 0 to 45.
        shift_fraction: Largest shift in each direction, as a share of the side, 0 to 0.5.
        zoom_fraction: Largest relative change of scale, 0 to 0.5.
        brightness: Largest added gray value, as a share of 255, 0 to 0.5.
        contrast: Largest relative change of contrast about the film's mean, 0 to 0.9.
    """

    flip: bool = False
    rotation_degrees: float = 0.0
    shift_fraction: float = 0.0
    zoom_fraction: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        limits = {
            "rotation_degrees": 45.0,
            "shift_fraction": 0.5,
            "zoom_fraction": 0.5,
            "brightness": 0.5,
            "contrast": 0.9,
        }
        for name, limit in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= limit:
                raise ValueError(f"augment.{name}={value!r} must be a number from 0 to {limit:g}; 0 switches it off.")
        if not isinstance(self.flip, bool):
            raise ValueError(f"augment.flip={self.flip!r} must be true or false.")

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return self != Augmentation()

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


def augment(film: "tf.Tensor", seed: "tf.Tensor", settings: Augmentation) -> "tf.Tensor":
    """Changes one film at random.

    Args:
        film: float32 tensor (height, width, 1), 0-255.
        seed: int64 tensor (2,); one seed gives one result.
        settings: How far to go.

    Returns:
        float32 tensor of the same shape, 0-255. What a rotation, shift or zoom uncovers is filled by reflection.
    """
    import tensorflow as tf

    draws = tf.random.stateless_uniform((7,), seed, -1.0, 1.0)
    if settings.flip:
        film = tf.where(draws[0] < 0.0, film[:, ::-1], film)
    if settings.rotation_degrees or settings.shift_fraction or settings.zoom_fraction:
        film = _move(film, draws[1:5], settings)
    if settings.contrast:
        mean = tf.reduce_mean(film)
        film = mean + (film - mean) * (1.0 + settings.contrast * draws[5])
    if settings.brightness:
        film = film + 255.0 * settings.brightness * draws[6]
    return tf.clip_by_value(film, 0.0, 255.0)


def _move(film: "tf.Tensor", draws: "tf.Tensor", settings: Augmentation) -> "tf.Tensor":
    """Rotates, scales and shifts a film about its centre by one bilinear resampling."""
    import tensorflow as tf

    shape = tf.shape(film)
    height, width = tf.cast(shape[0], tf.float32), tf.cast(shape[1], tf.float32)
    angle = draws[0] * settings.rotation_degrees * math.pi / 180.0
    scale = 1.0 / (1.0 + settings.zoom_fraction * draws[1])
    cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
    centre_x, centre_y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
    shift_x = draws[2] * settings.shift_fraction * width
    shift_y = draws[3] * settings.shift_fraction * height
    # Maps an output position to an input position: x' = c x - s y + a, y' = s x + c y + b.
    offset_x = centre_x - cosine * (centre_x + shift_x) + sine * (centre_y + shift_y)
    offset_y = centre_y - sine * (centre_x + shift_x) - cosine * (centre_y + shift_y)
    transform = tf.stack([cosine, -sine, offset_x, sine, cosine, offset_y, 0.0, 0.0])
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=film[tf.newaxis],
        transforms=transform[tf.newaxis],
        output_shape=shape[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )[0]
    return tf.ensure_shape(moved, film.shape)


def flips(seed: int, epoch: int, positions: "np.ndarray") -> "np.ndarray":
    """Returns which films `augment` mirrors in an epoch, without touching a film.

    Args:
        seed: The seed of the data set.
        epoch: The epoch's number.
        positions: int array (n,), the films' rows in the table.

    Returns:
        bool array (n,).
    """
    import tensorflow as tf

    def mirrored(position: "tf.Tensor") -> "tf.Tensor":
        return tf.random.stateless_uniform((7,), film_seed(seed, epoch, position), -1.0, 1.0)[0] < 0.0

    return tf.map_fn(mirrored, tf.constant(positions, tf.int64), fn_output_signature=tf.bool).numpy()


def film_seed(seed: int, epoch: "int | tf.Tensor", position: "tf.Tensor") -> "tf.Tensor":
    """Returns the seed of one film's draws in one epoch, an int64 tensor (2,)."""
    import tensorflow as tf

    # A prime keeps seed and epoch from meeting: (seed 1, epoch 0) must not repeat (seed 0, epoch 1).
    return tf.stack([tf.cast(epoch, tf.int64) * 1_000_003 + seed, tf.cast(position, tf.int64)])
