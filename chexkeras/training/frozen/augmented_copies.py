"""The fixed copies of an image whose features are stored, and which of them an epoch shows.

A recipe that changes nothing at random needs the image alone, one that only mirrors needs its mirror image too: then
stored features are the same training. Any other random change is drawn again in every epoch; storing some draws of it
and choosing among them is another, cheaper recipe, taken only on request.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from chexkeras.data.augmentation import Augmentation, augment, flips, image_seed

_FLIP_ALONE = Augmentation(flip=True)


@dataclass(frozen=True)
class AugmentedCopies:
    """Which copies there are of each image.

    Attributes:
        augmentation: The recipe's random changes; none for images that are only scored.
        seed: The recipe's seed.
        draws: How many draws of the changes are stored; 0 where the image (and its mirror image) is all there is.
    """

    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    draws: int = 0

    @property
    def exact(self) -> bool:
        """Whether an epoch on these copies shows what it would show without them."""
        return self.augmentation in (Augmentation(), _FLIP_ALONE)

    @property
    def count(self) -> int:
        """How many copies there are of each image."""
        return self.draws or (2 if self.augmentation.flip else 1)

    def __str__(self) -> str:
        """Returns, for example, "the image and its mirror image"."""
        if self.draws:
            return f"{self.draws} draws of the random changes"
        return "the image and its mirror image" if self.augmentation.flip else "the image"

    def key(self, copy: int) -> str:
        """Returns what the pixels of a copy depend on besides the image, as text.

        Args:
            copy: Which copy, from 0 to `count` - 1.
        """
        if self.draws:
            return json.dumps(["draw", copy, self.seed, self.augmentation.to_dict()])
        return "mirror image" if copy else "image"

    def numbers(self, image_ids: Iterable[str]) -> np.ndarray:
        """Returns the number by which an image's draws are told from another's: of the image, in whatever table it is.

        Args:
            image_ids: The images.
        """
        digests = (hashlib.sha256(image_id.encode()).digest() for image_id in image_ids)
        return np.fromiter((int.from_bytes(digest[:7], "big") for digest in digests), np.int64)

    def pixels(self, pixels: tf.Tensor, numbers: np.ndarray, copy: int) -> tf.Tensor:
        """Returns one copy of each image of a batch.

        Args:
            pixels: float32 tensor (batch, height, width, 1), 0-255.
            numbers: int64 array (batch,): the images' numbers.
            copy: Which copy, from 0 to `count` - 1.

        Returns:
            float32 tensor of the same shape, 0-255.
        """
        if not self.draws:
            return pixels[:, :, ::-1] if copy else pixels

        def drawn(image_and_number: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            image, number = image_and_number
            return augment(image, image_seed(self.seed, copy, number), self.augmentation)

        signature = tf.TensorSpec(pixels.shape[1:], tf.float32)
        return tf.map_fn(drawn, (pixels, tf.constant(numbers, tf.int64)), fn_output_signature=signature)

    def in_epoch(self, epoch: int, draws: np.ndarray) -> np.ndarray | None:
        """Returns which copy an epoch shows of each image, an int64 array (n,); None where there is one only.

        Args:
            epoch: The epoch's number within the run, from 1.
            draws: int array (n,): the number of each image's draw, as `data.sampling` gives it with the order.
        """
        if self.draws:
            return np.random.default_rng([self.seed, epoch, self.draws]).integers(0, self.draws, len(draws))
        return flips(self.seed, epoch, draws).astype(np.int64) if self.augmentation.flip else None
