"""The fixed copies of an image whose features are stored, and which of them an epoch shows.

A recipe that changes nothing at random needs the image alone, one that only mirrors needs its mirror image too: then
stored features are the same training. Any other random change is drawn again in every epoch; storing some draws of it
and choosing among them is another, cheaper recipe, taken only on request.
"""

from dataclasses import dataclass, field
from typing import Any

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

    def key(self) -> list[Any]:
        """Returns what the pixels of the copies depend on, besides the image."""
        return [self.count, self.augmentation.to_dict(), self.seed] if self.draws else [self.count]

    def pixels(self, pixels: tf.Tensor, rows: np.ndarray, copy: int) -> tf.Tensor:
        """Returns one copy of each image of a batch.

        Args:
            pixels: float32 tensor (batch, height, width, 1), 0-255.
            rows: int array (batch,): the images' rows in the table.
            copy: Which copy, from 0 to `count` - 1.

        Returns:
            float32 tensor of the same shape, 0-255.
        """
        if not self.draws:
            return pixels[:, :, ::-1] if copy else pixels

        def drawn(image_and_row: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            image, row = image_and_row
            return augment(image, image_seed(self.seed, copy, row), self.augmentation)

        signature = tf.TensorSpec(pixels.shape[1:], tf.float32)
        return tf.map_fn(drawn, (pixels, tf.constant(rows, tf.int64)), fn_output_signature=signature)

    def in_epoch(self, epoch: int, draws: np.ndarray) -> np.ndarray | None:
        """Returns which copy an epoch shows of each image, an int64 array (n,); None where there is one only.

        Args:
            epoch: The epoch's number within the run, from 1.
            draws: int array (n,): the number of each image's draw, as `data.sampling` gives it with the order.
        """
        if self.draws:
            return np.random.default_rng([self.seed, epoch, self.draws]).integers(0, self.draws, len(draws))
        return flips(self.seed, epoch, draws).astype(np.int64) if self.augmentation.flip else None
