"""Test-time views: an image scored as it is, mirrored, and a little rotated, and the scores averaged."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras.data.augmentation import Augmentation, moved
from chexkeras.data.store.store import Store
from chexkeras.models.scoring import predict_scores, require_image_table

_LARGEST_DEGREES = 45.0


@dataclass(frozen=True)
class ScoringViews:
    """The views of an image that are scored; the image itself is always the first.

    Attributes:
        flip: Whether its mirror image is one. The heart is on the other side there: try it on validation images first.
        rotations_degrees: A rotated view for each angle, about the image's centre, -45 to 45, not 0; positive is
            anticlockwise. What a rotation uncovers is filled by reflection, as in training.
        weights: How much each view counts, above 0, in the order image, mirror image, rotations; None weighs all alike.

    Example:
        >>> ScoringViews(flip=True, rotations_degrees=(-7, 7)).names
        ('image', 'mirrored', 'rotated -7', 'rotated 7')
    """

    flip: bool = False
    rotations_degrees: tuple[float, ...] = ()
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool):
            raise ValueError(f"flip={self.flip!r} must be true or false.")
        given = self.rotations_degrees
        angles = (given,) if isinstance(given, (int, float)) else tuple(given)
        if not all(_is_number(angle) and 0.0 < abs(angle) <= _LARGEST_DEGREES for angle in angles):
            raise ValueError(
                f"rotations_degrees={given!r} must be angles from -{_LARGEST_DEGREES:g} to {_LARGEST_DEGREES:g} "
                "degrees other than 0, for example (-7, 7)."
            )
        if len(set(angles)) < len(angles):
            raise ValueError(f"rotations_degrees={given!r} names an angle twice; use weights to count one more.")
        object.__setattr__(self, "rotations_degrees", angles)
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(self.weights))
        shares(self.weights, self.names, "views")

    @property
    def names(self) -> tuple[str, ...]:
        """What the views are called, in order."""
        rotated = (f"rotated {angle:g}" for angle in self.rotations_degrees)
        return ("image", *(("mirrored",) if self.flip else ()), *rotated)

    def pixels(self, images: np.ndarray, view: str) -> np.ndarray:
        """Returns images as a view shows them.

        Args:
            images: float32 array (batch, height, width, 1), 0-255.
            view: One of `names`.
        """
        if view == "image":
            return images
        if view == "mirrored":
            return images[:, :, ::-1]
        angle = self.rotations_degrees[self.names.index(view) - len(self.names)]
        settings = Augmentation(rotation_degrees=abs(angle))
        draws = (math.copysign(1.0, angle), 0.0, 0.0, 0.0)
        return np.stack([np.asarray(moved(image, draws, 0.5, settings)) for image in images])

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


class _ViewedModel:
    """What `predict_scores` needs of a model, scoring each image in several views."""

    def __init__(self, model: keras.Model, views: ScoringViews) -> None:
        self.model, self.views = model, views
        self.input_shape, self.output_shape = model.input_shape, model.output_shape
        self.shares = shares(views.weights, views.names, "views")

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Returns the weighted mean of the views' scores, float64 (batch, n_targets)."""
        scored = (self.model.predict_on_batch(self.views.pixels(images, view)) for view in self.views.names)
        mean = sum(share * np.asarray(scores, np.float64) for share, scores in zip(self.shares, scored, strict=True))
        # A weighted mean of ones may round to a little more than 1.
        return np.clip(mean, 0.0, 1.0)


def predict_views(
    model: keras.Model,
    table: pd.DataFrame,
    targets: str | tuple[str, ...],
    views: ScoringViews,
    *,
    batch_size: int = 32,
    store: Store | None = None,
) -> pd.DataFrame:
    """Scores every image of a table in several views and averages them.

    A threshold belongs to the scores that chose it: with views, choose it anew on validation scores made with the same
    views, for example with `Ensemble.of([run]).evaluate(validation=..., test=...)`.

    Args:
        model: A classifier of `build_classifier` or one loaded from a run.
        table: Image table, as for `models.scoring.predict_scores`.
        targets: The findings the model was built for, in output order.
        views: Which views.
        batch_size: Images a batch.
        store: Images decoded before; None reads the files at `path`.

    Returns:
        One row per image and finding, as `predict_scores` gives them.

    Raises:
        TypeError: If the table is no pandas DataFrame.
        ValueError: As `predict_scores`.
    """
    require_image_table(table)
    # Only the three attributes of _ViewedModel are used of the model there.
    viewed: Any = _ViewedModel(model, views)
    return predict_scores(viewed, table, targets, batch_size=batch_size, store=store)


def shares(weights: Sequence[float] | None, names: Sequence[str], what: str) -> tuple[float, ...]:
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
