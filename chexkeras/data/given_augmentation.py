"""A Keras layer as the random change of training images, its draws decided by seed, epoch and image."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from chexkeras.data.augmentation import Augmentation, image_seed

_LARGEST_SEED = 2**31 - 1
_TRIED = 8


@dataclass(frozen=True)
class GivenAugmentation(Augmentation):
    """Random changes by a Keras layer, in the place of all others; the layer is no field, and no recipe holds it.

    Keras' layers draw from a state that every call moves on, so that what an image becomes depends on which came
    before. Here each image's draws follow from the recipe's seed, the epoch and the image's place in it alone: `apply`
    answers the layers' generators itself.
    """

    @classmethod
    def of(cls, layer: keras.layers.Layer, image_size: int, seed: int = 0) -> "GivenAugmentation":
        """Returns the changes that a layer makes, if it can be repeated; the layer is from now on used here alone.

        Args:
            layer: From images (batch, side, side, 1), 0-255, to images of the same shape and range.
            image_size: Height and width of the images, pixels.
            seed: The recipe's seed.

        Raises:
            ValueError: If the backend is not TensorFlow, whose pipeline reads the images; if the layer changes the
                shape, gives what is no number, draws from anything but Keras' generators, or draws nothing.
        """
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"augment={type(layer).__name__} needs Keras' TensorFlow backend, by whose pipeline images are read; "
                f"this is {keras.backend.backend()}. Name changes of chexkeras: Augmentation(rotation_degrees=5)."
            )
        made = cls(given=type(layer).__name__)
        state: dict[str, Any] = {"layer": layer, "seed": None, "draws": 0}
        object.__setattr__(made, "_state", state)
        for generator in _generators(layer):
            generator.next = lambda ordered=True: _next_seed(state)
        made._check(image_size, seed)
        return made

    def apply(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Changes one image by the layer.

        Args:
            image: float32 tensor (height, width, 1), 0-255.
            seed: int64 tensor (2,); one seed gives one result.

        Returns:
            float32 tensor of the same shape, 0-255.
        """
        state: dict[str, Any] = self._state  # type: ignore[attr-defined]
        state.update(seed=seed, draws=0)
        try:
            layer = state["layer"]
            takes_training = getattr(layer, "_call_has_training_arg", True)
            changed = layer(image[tf.newaxis], training=True) if takes_training else layer(image[tf.newaxis])
        finally:
            state["seed"] = None
        return tf.clip_by_value(tf.ensure_shape(tf.cast(changed[0], tf.float32), image.shape), 0.0, 255.0)

    def _check(self, image_size: int, seed: int) -> None:
        """Tries the layer twice, in the way in which images are read in training."""
        side = np.linspace(0, 1, image_size, dtype=np.float32)
        image = tf.constant((255 * np.outer(side, side**2))[..., np.newaxis])

        def change(draw: tf.Tensor) -> tf.Tensor:
            return self.apply(image, image_seed(seed, 0, draw))

        try:
            first, second = (
                np.stack([each.numpy() for each in tf.data.Dataset.range(_TRIED).map(change, num_parallel_calls=2)])
                for _ in range(2)
            )
        # The boundary to a layer of the user's, which may raise anything.
        except Exception as error:
            raise ValueError(
                f"augment={self.given} cannot change images ({image_size}, {image_size}, 1), 0 to 255, into such "
                f"images: {type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
            ) from error
        if not np.isfinite(first).all():
            raise ValueError(f"augment={self.given} gives gray values that are no numbers.")
        if not np.array_equal(first, second):
            raise ValueError(
                f"augment={self.given} draws from another source than keras.random with a SeedGenerator of its own, so "
                "that a training could not be repeated or resumed; draw from such a generator in the layer."
            )
        if np.array_equal(first, np.broadcast_to(first[:1], first.shape)):
            raise ValueError(
                f"augment={self.given} changes every image in the same way and draws nothing. What all images need "
                "belongs into the model, as the first layer of a backbone: here it would be done to training images "
                "alone."
            )


def _generators(layer: keras.layers.Layer) -> list[Any]:
    """Returns the generators that a layer and those inside of it draw from."""
    found = []
    for inner in layer._flatten_layers():
        for value in vars(inner).values():
            values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            found += [each for each in values if isinstance(each, keras.random.SeedGenerator)]
    return found


def _next_seed(state: dict[str, Any]) -> Any:
    """Returns the seed of the next draw for the image under way, an int32 tensor (2,)."""
    if state["seed"] is None:
        raise ValueError("the layer draws outside of the change of an image.")
    state["draws"] += 1
    folded = tf.random.experimental.stateless_fold_in(state["seed"], state["draws"])
    return tf.cast(tf.math.floormod(folded, _LARGEST_SEED), tf.int32)
