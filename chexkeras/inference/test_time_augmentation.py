"""Test-time augmentation: an image scored as it is, mirrored, and a little rotated, and the scores averaged."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chexkeras.arguments import checked

if TYPE_CHECKING:
    import keras

    from chexkeras.data.store.store import Store

_LARGEST_DEGREES = 45.0


@checked
@dataclass(frozen=True)
class TestTimeAugmentation:
    """The versions of an image that are scored and averaged; the image itself is always the first.

    Attributes:
        flip: Whether its mirror image is one. The heart is on the other side there: try it on validation images first.
        rotations_degrees: A rotated version for each angle, about the image's centre, -45 to 45, not 0; positive is
            anticlockwise. What a rotation uncovers is filled by reflection, as in training.
        weights: How much each version counts, above 0, in the order image, mirror image, rotations; None weighs all
            alike.

    Raises:
        ValueError: If an angle is out of range or given twice, or the weights are not as many as the versions, each
            above 0.

    Example:
        >>> TestTimeAugmentation(flip=True, rotations_degrees=(-7, 7)).names
        ('image', 'mirrored', 'rotated -7', 'rotated 7')
    """

    # Without an annotation, so no field: pytest is not to take the class for a test.
    __test__ = False

    flip: bool = False
    rotations_degrees: tuple[float, ...] = ()
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool):
            raise ValueError(f"flip={self.flip!r} must be true or false.")
        given: Any = self.rotations_degrees
        angles = (given,) if _is_number(given) or not _is_list(given) else tuple(given)
        if not all(_is_number(angle) and 0.0 < abs(angle) <= _LARGEST_DEGREES for angle in angles):
            raise ValueError(
                f"rotations_degrees={given!r} must be angles from -{_LARGEST_DEGREES:g} to {_LARGEST_DEGREES:g} "
                "degrees other than 0, for example (-7, 7)."
            )
        if len(set(angles)) < len(angles):
            raise ValueError(f"rotations_degrees={given!r} names an angle twice; use weights to count one more.")
        object.__setattr__(self, "rotations_degrees", angles)
        if self.weights is not None:
            if not _is_list(self.weights):
                raise ValueError(f"weights={self.weights!r} must be a list of numbers, one for each of {self.names}.")
            object.__setattr__(self, "weights", tuple(self.weights))
        normalized_weights(self.weights, self.names, "versions of an image")

    @property
    def names(self) -> tuple[str, ...]:
        """What the versions are called, in order."""
        rotated = (f"rotated {angle:g}" for angle in self.rotations_degrees)
        return ("image", *(("mirrored",) if self.flip else ()), *rotated)

    def apply(self, images: np.ndarray, name: str) -> np.ndarray:
        """Returns one version of images.

        Args:
            images: float32 array (batch, height, width, 1), 0-255.
            name: Which version, one of `names`.

        Returns:
            An array of the same shape and range.
        """
        from chexkeras.data.augmentation import Augmentation, moved

        if name == "image":
            return images
        if name == "mirrored":
            return images[:, :, ::-1]
        angle = self.rotations_degrees[self.names.index(name) - len(self.names)]
        settings = Augmentation(rotation_degrees=abs(angle))
        draws = (math.copysign(1.0, angle), 0.0, 0.0, 0.0)
        return np.stack([np.asarray(moved(image, draws, 0.5, settings)) for image in images])

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


class _AugmentedModel:
    """What `predict_scores` needs of a model, scoring each image in several versions."""

    def __init__(self, model: "keras.Model", augmentation: TestTimeAugmentation) -> None:
        self.model, self.augmentation = model, augmentation
        self.input_shape, self.output_shape = model.input_shape, model.output_shape
        self.weights = normalized_weights(augmentation.weights, augmentation.names, "versions of an image")

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Returns the weighted mean of the versions' scores, float64 (batch, n_targets)."""
        versions = (self.augmentation.apply(images, name) for name in self.augmentation.names)
        scores = (np.asarray(self.model.predict_on_batch(version), np.float64) for version in versions)
        mean = sum(weight * scored for weight, scored in zip(self.weights, scores, strict=True))
        # A weighted mean of ones may round to a little more than 1.
        return np.clip(mean, 0.0, 1.0)


@checked
def predict_augmented(
    model: "keras.Model",
    table: pd.DataFrame,
    targets: str | tuple[str, ...],
    augmentation: TestTimeAugmentation,
    *,
    batch_size: int = 32,
    store: "Store | None" = None,
) -> pd.DataFrame:
    """Scores every image of a table in several versions and averages them.

    A threshold belongs to the scores that chose it: choose it again on validation scores made with the same
    augmentation, for example with `Ensemble.of([run]).evaluate(validation=..., test=...)`.

    Args:
        model: A classifier of `build_classifier` or one loaded from a run.
        table: Image table, as `models.predict_scores` takes it; files alone are scored by
            `Predictor.load(run).predict(files)`.
        targets: The findings the model was built for, in output order.
        augmentation: Which versions are scored, and how much each counts.
        batch_size: Images a batch, at least 1.
        store: Images decoded before; None reads the files at `path`.

    Returns:
        One row per image and finding, as `predict_scores` gives them.

    Raises:
        TypeError: If the table is no pandas DataFrame.
        ValueError: If `predict_scores` refuses the table, the targets or the batch size.
    """
    from chexkeras.models.scoring import require_image_table, scores_of

    require_image_table(table)
    # Only the three attributes of _AugmentedModel are used of the model there.
    augmented: Any = _AugmentedModel(model, augmentation)
    return scores_of(augmented, table, targets, batch_size=batch_size, store=store)


def normalized_weights(weights: Sequence[float] | None, names: Sequence[str], what: str) -> tuple[float, ...]:
    """Returns weights that sum to 1.

    Args:
        weights: One above 0 for each of `names`; None weighs all alike.
        names: What is averaged.
        what: What they are, for the message.

    Raises:
        ValueError: If the weights are not as many, or one is not a number above 0.
    """
    given = (1.0,) * len(names) if weights is None else tuple(weights)
    if len(given) != len(names):
        raise ValueError(f"{len(given)} weight(s) for {len(names)} {what} ({', '.join(names)}); give one for each.")
    numbers = all(isinstance(weight, (int, float)) and not isinstance(weight, bool) for weight in given)
    if not numbers or not all(0.0 < weight < math.inf for weight in given):
        raise ValueError(
            f"weights={list(given)} of the {what} must be numbers above 0; leave out what is not to count."
        )
    return tuple(weight / math.fsum(given) for weight in given)
