"""Random changes to training images, each drawn from a seed of its own, so that a run can be repeated exactly.

`Augmentation` says what may be changed and how far, `augment` changes an image: mirroring, one resampling for rotation,
shift, zoom and shear, then gray values, blurring, losses of quality (`degradation`), and erasing a rectangle.
"""

import functools
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from chexkeras.arguments import checked
from chexkeras.checks import probability
from chexkeras.data import degradation

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray


_LIMITS = {
    "rotation_degrees": 45.0,
    "shift_fraction": 0.5,
    "zoom_fraction": 0.5,
    "shear_degrees": 30.0,
    "brightness": 0.5,
    "contrast": 0.9,
    "gamma": 2.0,
    "noise": 0.3,
    "resolution_loss": 0.9,
    "jpeg_loss": 95.0,
}
_LARGEST_SIGMA_PX = 10.0
# A rectangle of this area still fits into the image at the longest shape that is drawn.
_LARGEST_ERASED = 0.3


@checked
@dataclass(frozen=True)
class Augmentation:
    """How far training images may be changed; every default leaves them alone.

    An image is mirrored; then rotated, shifted, scaled and sheared in one resampling; then contrast, brightness, gamma,
    blur, resolution, noise, JPEG and erasing follow. Contrast-limited equalisation (CLAHE) is none of them: every image
    gets it alike or none does, so it is a layer of the model (`models.clahe`); so is one gray scale for every image
    (`models.exposure`).

    Attributes:
        flip: Mirror images left to right. Off by default: it moves the heart to the other side.
        flip_probability: Share of the images to mirror when `flip` is on, above 0 to 1.
        rotation_degrees: Largest rotation to either side, 0 to 45.
        shift_fraction: Largest shift in each direction, as a share of the side, 0 to 0.5.
        zoom_fraction: Largest relative change of scale, 0 to 0.5.
        shear_degrees: Largest slant of vertical lines to either side, 0 to 30.
        brightness: Largest added gray value, as a share of 255, 0 to 0.5.
        contrast: Largest relative change of contrast about the image's mean, 0 to 0.9.
        gamma: Largest power of the gray values, less 1, 0 to 2; a power and its reciprocal are equally likely.
        noise: Largest standard deviation of added white noise, as a share of 255, 0 to 0.3.
        resolution_loss: Largest share of the sides' pixels that is lost, the image enlarged again, 0 to 0.9.
        jpeg_loss: Largest loss of JPEG quality, 0 to 95: the lowest quality is 100 less this.
        degrade_probability: Share of the images for each of noise, resolution and JPEG, where it is on, above 0 to 1;
            drawn for each of the three by itself.
        blur_probability: Share of the images to blur, 0 to 1.
        blur_sigma_px: Smallest and largest standard deviation of the blur, pixels of the model's input, above 0 to 10.
        blur_kernel_px: Width to which the blur's kernel is cut, odd, 3 to 31.
        erase_probability: Share of the images in which a rectangle is filled with the image's mean, 0 to 1.
        erase_area: Smallest and largest area of the rectangle, as a share of the image, above 0 to 0.3.
        given: Class of the Keras layer that was given to training and changes the images instead of all others
            (`data.given_augmentation`); "" where none was.
    """

    flip: bool = False
    flip_probability: float = 0.5
    rotation_degrees: float = 0.0
    shift_fraction: float = 0.0
    zoom_fraction: float = 0.0
    shear_degrees: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    resolution_loss: float = 0.0
    jpeg_loss: float = 0.0
    degrade_probability: float = 0.5
    blur_probability: float = 0.0
    blur_sigma_px: tuple[float, float] = (0.1, 2.0)
    blur_kernel_px: int = 5
    erase_probability: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.08)
    given: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool):
            raise ValueError(f"augment.flip={self.flip!r} must be true or false.")
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            if not _is_number(value) or not 0.0 <= value <= limit:
                raise ValueError(f"augment.{name}={value!r} must be a number from 0 to {limit:g}; 0 switches it off.")
        for name in ("flip_probability", "blur_probability", "erase_probability", "degrade_probability"):
            probability(getattr(self, name), f"augment.{name}")
        if not isinstance(self.given, str) or not (self.given.isidentifier() or self.given == ""):
            raise ValueError(
                f"augment.given={self.given!r:.40} must be the name of a class; it is set where train is given a layer."
            )
        if not self.flip_probability:
            raise ValueError("augment.flip_probability=0 mirrors nothing; set augment.flip=false instead.")
        if not self.degrade_probability:
            raise ValueError(
                "augment.degrade_probability=0 degrades nothing; set augment.noise, augment.resolution_loss and "
                "augment.jpeg_loss to 0 instead."
            )
        for name, limit in (("blur_sigma_px", _LARGEST_SIGMA_PX), ("erase_area", _LARGEST_ERASED)):
            object.__setattr__(self, name, _range(getattr(self, name), f"augment.{name}", limit))
        width = self.blur_kernel_px
        if isinstance(width, bool) or not isinstance(width, int) or not (3 <= width <= 31 and width % 2):
            raise ValueError(f"augment.blur_kernel_px={width!r} must be an odd whole number from 3 to 31.")

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return bool(
            self.given
            or self.flip
            or self.blur_probability
            or self.erase_probability
            or any(getattr(self, name) for name in _LIMITS)
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values; `given` only where something was."""
        return {name: value for name, value in asdict(self).items() if name != "given" or value}

    def apply(self, image: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """Changes one image by the Keras layer that was given; only an object that holds the layer can.

        Args:
            image: float32 tensor (height, width, 1), 0-255.
            seed: int64 tensor (2,); one seed gives one result.

        Raises:
            ValueError: If this one does not hold it.
        """
        raise ValueError(
            f"the recipe's images were changed by a Keras layer, {self.given}, which a recipe does not hold; give it "
            "again: train(recipe, ..., augment=layer)."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _range(values: Any, name: str, limit: float) -> tuple[float, float]:
    if (
        not isinstance(values, (tuple, list))
        or len(values) != 2
        or not all(map(_is_number, values))
        or not 0.0 < values[0] <= values[1] <= limit
    ):
        raise ValueError(f"{name}={values!r} must be two numbers, smallest and largest, above 0 and up to {limit:g}.")
    return float(values[0]), float(values[1])


@checked
def augment(image: "tf.Tensor | NDArray[Any]", seed: "tf.Tensor | NDArray[Any]", settings: Augmentation) -> "tf.Tensor":
    """Changes one image at random.

    Args:
        image: float32 tensor or array (height, width, 1), 0-255.
        seed: int64 tensor or array (2,); one seed gives one result.
        settings: How far to go.

    Returns:
        float32 tensor of the same shape, 0-255. What a rotation, shift, zoom or shear uncovers is filled by reflection.
    """
    import tensorflow as tf

    if settings.given:
        return settings.apply(image, seed)
    # The first seven draws are one call, the later changes have calls of their own: adding one moves no other.
    draws = tf.random.stateless_uniform((7,), seed, -1.0, 1.0)
    if settings.flip:
        image = tf.where(flipped(draws, settings.flip_probability), image[:, ::-1], image)
    if settings.rotation_degrees or settings.shift_fraction or settings.zoom_fraction or settings.shear_degrees:
        image = moved(image, draws[1:5], _further_draws(seed, 1)[0], settings)
    if settings.contrast:
        mean = tf.reduce_mean(image)
        image = mean + (image - mean) * (1.0 + settings.contrast * draws[5])
    if settings.brightness:
        image = image + 255.0 * settings.brightness * draws[6]
    if settings.gamma:
        image = degradation.other_gamma(image, _further_draws(seed, 4)[0], settings.gamma)
    if settings.blur_probability:
        image = blurred(image, _further_draws(seed, 2), settings)
    image = _degraded(image, seed, settings)
    if settings.erase_probability:
        image = erased(image, _further_draws(seed, 3), settings)
    return tf.clip_by_value(image, 0.0, 255.0)


def _degraded(image: "tf.Tensor", seed: "tf.Tensor", settings: Augmentation) -> "tf.Tensor":
    """Returns the image with losses of quality; an image for which none is drawn stays as it is, bit for bit."""
    import tensorflow as tf

    chance = settings.degrade_probability
    if settings.resolution_loss:
        draws = _further_draws(seed, 5)
        image = tf.where(draws[0] < chance, degradation.coarser(image, draws[1], settings.resolution_loss), image)
    if settings.noise:
        draws, of_noise = _further_draws(seed, 6), tf.random.experimental.stateless_fold_in(seed, 7)
        image = tf.where(draws[0] < chance, degradation.noisy(image, draws[1], of_noise, settings.noise), image)
    if settings.jpeg_loss:
        draws = _further_draws(seed, 8)
        image = tf.where(draws[0] < chance, degradation.compressed(image, draws[1], settings.jpeg_loss), image)
    return image


def _further_draws(seed: "tf.Tensor", change: int) -> "tf.Tensor":
    """Returns five numbers in [0, 1) for one kind of change, independent of all others."""
    import tensorflow as tf

    return tf.random.stateless_uniform((5,), tf.random.experimental.stateless_fold_in(seed, change))


def flips(seed: int, epoch: int, draws: "np.ndarray", probability: float = 0.5) -> "np.ndarray":
    """Returns which images `augment` mirrors in an epoch, without touching an image.

    Args:
        seed: The seed of the data set.
        epoch: The epoch's number.
        draws: int array (n,), the number of each image's draw, `sampling.EpochRows.draws`.
        probability: `Augmentation.flip_probability`.

    Returns:
        bool array (n,).
    """
    import tensorflow as tf

    numbers = (tf.constant(number, tf.int64) for number in (seed, epoch, draws))
    return _flips(probability)(*numbers).numpy()


@functools.cache
def _flips(probability: float) -> Any:
    """Returns `flips` as a graph, built once: in Python it would take longer than an epoch."""
    import tensorflow as tf

    whole = tf.TensorSpec((), tf.int64)

    @tf.function(input_signature=(whole, whole, tf.TensorSpec((None,), tf.int64)))
    def compiled(seed: "tf.Tensor", epoch: "tf.Tensor", draws: "tf.Tensor") -> "tf.Tensor":
        def mirrored(draw: "tf.Tensor") -> "tf.Tensor":
            numbers = tf.random.stateless_uniform((7,), image_seed(seed, epoch, draw), -1.0, 1.0)
            return flipped(numbers, probability)

        return tf.map_fn(mirrored, draws, fn_output_signature=tf.bool)

    return compiled


def image_seed(seed: "int | tf.Tensor", epoch: "int | tf.Tensor", draw: "tf.Tensor") -> "tf.Tensor":
    """Returns the seed of one image's random changes, an int64 tensor (2,); `draw` is its number in the epoch.

    Args:
        seed: The seed of the data set.
        epoch: The epoch's number.
        draw: int64 scalar, the image's number in the epoch.
    """
    import tensorflow as tf

    # A prime keeps seed and epoch from meeting: (seed 1, epoch 0) must not repeat (seed 0, epoch 1).
    return tf.stack([tf.cast(epoch, tf.int64) * 1_000_003 + seed, tf.cast(draw, tf.int64)])


def flipped(draws: "tf.Tensor", probability: float) -> "tf.Tensor":
    """Returns whether an image is mirrored, a bool scalar.

    Args:
        draws: Uniform numbers in [-1, 1); the first decides.
        probability: Share of the images to mirror.
    """
    return draws[0] < 2.0 * probability - 1.0


def moved(image: "tf.Tensor", draws: "tf.Tensor", shear_draw: "tf.Tensor", settings: Augmentation) -> "tf.Tensor":
    """Shears, rotates, scales and shifts an image about its centre by one bilinear resampling.

    Args:
        image: float32 tensor (height, width, 1).
        draws: Four uniform numbers in [-1, 1): rotation, zoom, shift to the side, shift down.
        shear_draw: A uniform number in [0, 1).
        settings: How far to go.

    Returns:
        float32 tensor of the same shape; what is uncovered is filled by reflection.
    """
    import tensorflow as tf

    shape = tf.shape(image)
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
        images=image[tf.newaxis],
        transforms=transform[tf.newaxis],
        output_shape=shape[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )[0]
    return tf.ensure_shape(result, image.shape)


# Height over width of an erased rectangle, or the other way round (Zhong et al. 2020).
_LONGEST_SHAPE = 3.3


def blurred(image: "tf.Tensor", draws: "tf.Tensor", settings: Augmentation) -> "tf.Tensor":
    """Blurs some images by a Gaussian; the others stay as they are, bit for bit.

    Args:
        image: float32 tensor (height, width, 1).
        draws: Uniform numbers in [0, 1): whether, and how much.
        settings: How far to go.

    Returns:
        float32 tensor of the same shape. The kernel sums to 1 and the image is continued by reflection, so that even
        images stay as they are up to their edge.
    """
    import tensorflow as tf

    radius = settings.blur_kernel_px // 2
    low, high = settings.blur_sigma_px
    sigma = low + (high - low) * draws[1]
    weights = tf.exp(-0.5 * tf.square(tf.range(-radius, radius + 1, dtype=tf.float32) / sigma))
    weights = weights / tf.reduce_sum(weights)
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    # Sums of shifted images rather than a convolution, whose order of additions is the library's own.
    padded = tf.pad(image, [[radius, radius], [0, 0], [0, 0]], "REFLECT")
    rows = sum(weights[index] * padded[index : index + height] for index in range(2 * radius + 1))
    padded = tf.pad(rows, [[0, 0], [radius, radius], [0, 0]], "REFLECT")
    both = sum(weights[index] * padded[:, index : index + width] for index in range(2 * radius + 1))
    return tf.where(draws[0] < settings.blur_probability, tf.ensure_shape(both, image.shape), image)


def erased(image: "tf.Tensor", draws: "tf.Tensor", settings: Augmentation) -> "tf.Tensor":
    """Fills a rectangle of some images with the image's mean; the others stay as they are, bit for bit.

    Args:
        image: float32 tensor (height, width, 1).
        draws: Uniform numbers in [0, 1): whether, area, shape, and the place, down and to the side.
        settings: How far to go.

    Returns:
        float32 tensor of the same shape. The rectangle lies within the image; the logarithm of its height over its
        width is uniform, as in torchvision, so that lying and standing ones are equally likely.

    Source:
        Zhong et al., "Random Erasing Data Augmentation", AAAI 2020, who fill with random values or ImageNet's mean.
    """
    import tensorflow as tf

    height, width = tf.shape(image)[0], tf.shape(image)[1]
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
    return tf.where(inside[..., tf.newaxis], tf.reduce_mean(image), image)
