"""Keras objects that were given to `train` instead of names: checked, named in the recipe, recorded, made again."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from chexkeras.data.given_augmentation import GivenAugmentation
from chexkeras.models.object_record import digest, rebuilt, recorded
from chexkeras.models.registry import GIVEN
from chexkeras.recipes.loss import Loss
from chexkeras.recipes.recipe import Recipe
from chexkeras.training.given_callbacks import GivenCallbacks

_PARTS = ("backbone", "head", "loss", "augment")
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class OwnObjects:
    """Keras objects of one's own; each is None where the recipe names what is used.

    Attributes:
        backbone: A model or layer from images to a feature map.
        input_range: The backbone's values of black and white, or "imagenet" or "caffe".
        head: A model or layer from features to probabilities.
        loss: A loss.
        augment: A layer that changes training images at random.
        callbacks: Callbacks.
        weightless: Fingerprint of the weights that the backbone was given with, where it was made again from its
            configuration without them; else "".
    """

    backbone: Any = None
    input_range: Any = None
    head: Any = None
    loss: Any = None
    augment: Any = None
    callbacks: GivenCallbacks = field(default_factory=GivenCallbacks)
    weightless: str = ""

    @classmethod
    def of(
        cls, backbone: Any, input_range: Any, head: Any, loss: Any, augment: Any, callbacks: Sequence[Any]
    ) -> "OwnObjects":
        """Returns what was given to `train`, if each is of the right kind.

        Args:
            backbone: As `train` takes it; None for the recipe's.
            input_range: As `train` takes it; None without a backbone.
            head: As `train` takes it; None for the recipe's.
            loss: As `train` takes it; None for the recipe's.
            augment: As `train` takes it; None for the recipe's.
            callbacks: As `train` takes it; empty for none.

        Raises:
            TypeError: If something is no Keras object of its kind.
            ValueError: If an input range is given without a backbone, or a callback is refused.
        """
        kinds = {
            "backbone": (backbone, keras.layers.Layer, "a Keras model or layer"),
            "head": (head, keras.layers.Layer, "a Keras model or layer"),
            "loss": (loss, keras.losses.Loss, "an object of keras.losses.Loss"),
            "augment": (augment, keras.layers.Layer, "a Keras layer or Sequential"),
        }
        for name, (value, kind, words) in kinds.items():
            if value is not None and not isinstance(value, kind):
                raise TypeError(
                    f"{name} is a {type(value).__name__}; {words} was expected. What goes by a name is set in the "
                    f"recipe: recipe.replace({name}={_named(name)})."
                )
        if input_range is not None and backbone is None:
            raise ValueError(f"input_range={input_range!r} says what a given backbone expects; give backbone=, too.")
        return cls(backbone, input_range, head, loss, augment, GivenCallbacks(callbacks))

    @property
    def any_given(self) -> bool:
        """Whether there is any."""
        return bool(self.callbacks) or any(getattr(self, name) is not None for name in _PARTS)

    def record(self) -> dict[str, Any]:
        """Returns class, configuration and fingerprint of each, as plain values; of callbacks their classes alone.

        Raises:
            ValueError: If Keras cannot make one again from its configuration.
        """
        found: dict[str, Any] = {}
        for name in _PARTS:
            value = getattr(self, name)
            if value is None:
                continue
            config = recorded(value, name)
            found[name] = {"class": type(value).__name__, "config": config, "sha256": digest(config)}
        if self.backbone is not None:
            named = isinstance(self.input_range, str)
            found["backbone"]["input_range"] = self.input_range if named else _two_numbers(self.input_range)
            found["backbone"]["weights_sha256"] = self.weightless or weights_digest(self.backbone)
        if self.callbacks:
            found["callbacks"] = self.callbacks.names
        return found

    def completed(self, before: Mapping[str, Any]) -> "OwnObjects":
        """Returns these with what is lacking made again from what an interrupted training recorded.

        That the others are the same is checked with all else that must be (`InterruptedTraining.require`). The weights
        are those that training started from, which were kept.

        Args:
            before: From `record`, when the training began.

        Raises:
            ValueError: If the class of one is not known here, or callbacks lack, which cannot be made again.
        """
        made: dict[str, Any] = {
            name: rebuilt(before[name]["config"], name)
            for name in _PARTS
            if getattr(self, name) is None and name in before
        }
        if "backbone" in made:
            stated = before["backbone"]["input_range"]
            made |= {
                "input_range": stated if isinstance(stated, str) else tuple(stated),
                "weightless": before["backbone"]["weights_sha256"],
            }
        if not self.callbacks and before.get("callbacks"):
            raise ValueError(
                f"the interrupted training was begun with callbacks ({', '.join(before['callbacks'])}), which cannot "
                "be made again; give them again: train(..., callbacks=[...], resume=True)."
            )
        return replace(self, **made)

    def named_in(self, recipe: Recipe) -> Recipe:
        """Returns the recipe with "given" for each, and the random changes of images as these objects make them.

        Args:
            recipe: The recipe.

        Raises:
            ValueError: If the recipe names an object that was not given, or states what goes with none; or the layer
                for random changes cannot be repeated.
        """
        asked = {"backbone": recipe.backbone, "head": recipe.head, "loss": recipe.loss.name}
        lacking = [name for name, value in asked.items() if value == GIVEN and getattr(self, name) is None]
        if recipe.augment.given and self.augment is None:
            lacking.append("augment")
        if lacking:
            raise ValueError(
                f"recipe {recipe.name!r} was used with Keras objects that it does not hold ({', '.join(lacking)}); "
                "give "
                f"them: train(recipe, ..., {', '.join(f'{name}=...' for name in lacking)}), or name others in the "
                "recipe."
            )
        changes: dict[str, Any] = {}
        if self.backbone is not None:
            if recipe.weights not in (None, "imagenet", GIVEN):
                raise ValueError(
                    f"weights={recipe.weights!r} is a file for a backbone that is named; load it into the given one "
                    "before, backbone.load_weights(file), and leave weights at 'imagenet' or None."
                )
            # None says that it is untrained: its BatchNorm statistics are then taken from the training images.
            changes |= {"backbone": GIVEN, "weights": None if recipe.weights is None else GIVEN}
        if self.head is not None:
            changes["head"] = GIVEN
        if self.loss is not None:
            if recipe.loss.target_weights:
                raise ValueError(
                    "loss.target_weights of the recipe has no effect on a loss of your own; leave it out, and weigh "
                    "the findings in the loss."
                )
            changes["loss"] = Loss(GIVEN)
        if self.head is not None or self.loss is not None:
            three_way = [name for name in ("head", "loss") if getattr(self, name) is None and recipe.three_way]
            if three_way:
                raise ValueError(
                    f"the recipe's {three_way[0]} learns a third class, uncertain, which a given "
                    f"{'loss' if three_way[0] == 'head' else 'head'} does not know; name another {three_way[0]}."
                )
        if self.augment is not None:
            # A copy: the object that was given stays as it is.
            layer = rebuilt(recorded(self.augment, "augment"), "augment")
            changes["augment"] = GivenAugmentation.of(layer, recipe.image_size, recipe.seed)
        return recipe.replace(**changes)


def weights_digest(model: Any) -> str:
    """Returns a fingerprint of a model's weights.

    Args:
        model: A Keras model or layer.
    """
    found = hashlib.sha256()
    for weight in model.get_weights():
        found.update(np.ascontiguousarray(weight).tobytes())
    return found.hexdigest()


def _two_numbers(input_range: Any) -> Any:
    try:
        return [float(value) for value in input_range]
    except (TypeError, ValueError):
        # Refused, in words, where the backbone is built.
        return str(input_range)


def _named(name: str) -> str:
    return {"loss": 'cx.recipes.Loss("focal")', "augment": "cx.data.Augmentation(flip=True)"}.get(name, '"..."')


@keras.saving.register_keras_serializable("chexkeras")
class KnownLabelsLoss(keras.losses.Loss):
    """A loss computed target by target, on the labels that are known; an unknown one adds nothing.

    The sum over targets is divided by their number, so that one image's share does not depend on how many of its labels
    are known, as in chexkeras' own losses.

    Args:
        inner: The loss; one that is a mean over targets.
        **kwargs: Arguments of `keras.losses.Loss`.
    """

    def __init__(self, inner: Any, **kwargs: Any) -> None:
        super().__init__(**{"name": "known_labels_loss", **kwargs})
        self.inner = inner

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each image, shape (batch,)."""
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        parts = []
        for target in range(y_true.shape[-1]):
            labels, scores = y_true[:, target : target + 1], y_pred[:, target : target + 1]
            known = ops.logical_not(ops.isnan(labels))
            # Constants where nothing is known, so that no gradient flows from there.
            each = self.inner.call(ops.where(known, labels, 0.0), ops.where(known, scores, 0.5))
            parts.append(ops.where(known[:, 0], ops.reshape(each, (-1,)), 0.0))
        return ops.mean(ops.stack(parts, axis=-1), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the loss."""
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "KnownLabelsLoss":
        """Returns the loss made again."""
        return cls(**{**config, "inner": keras.saving.deserialize_keras_object(config["inner"])})


def loss_for_labels(loss: Any, labels: np.ndarray) -> tuple[Any, str]:
    """Returns a loss of one's own as it reads labels, and in words what becomes of unknown ones.

    Args:
        loss: A `keras.losses.Loss`.
        labels: float array (n_images, n_targets) of 1, 0, or NaN where unknown.

    Returns:
        The loss itself where all labels are known or it gives a number for unknown ones too, otherwise a
        `KnownLabelsLoss` of it.

    Raises:
        ValueError: If it gives no number, or is no mean over targets, so that unknown labels cannot be left out.
    """
    if getattr(loss, "from_logits", False) or _config_of(loss).get("from_logits"):
        raise ValueError(
            f"loss: {type(loss).__name__} expects logits (from_logits=True), and the head gives probabilities, 0 to 1: "
            "make it with from_logits=False."
        )
    rng, targets = np.random.default_rng(0), labels.shape[1]
    complete = rng.integers(0, 2, (8, targets)).astype(np.float32)
    scores = rng.uniform(0.05, 0.95, (8, targets)).astype(np.float32)
    name = type(loss).__name__
    value = _value(loss, complete, scores)
    if not np.isfinite(value):
        raise ValueError(f"loss: {name} gives {value} for labels of 0 and 1 and scores between 0.05 and 0.95.")
    if not np.isnan(labels).any():
        return loss, "there are none"
    some = complete.copy()
    some[::2, 0] = np.nan
    if np.isfinite(_value(loss, some, scores)):
        return loss, "left to the loss itself"
    known = KnownLabelsLoss(loss)
    if not abs(_value(known, complete, scores) - value) <= _TOLERANCE * max(1.0, abs(value)):
        raise ValueError(
            f"loss: {np.isnan(labels).sum():,} labels are unknown, for which {name} gives NaN; and it is no mean over "
            "findings and images, so that unknown ones cannot be left out finding by finding. Let it leave out labels "
            "that are NaN itself, or leave out the images without a label."
        )
    return known, "left out, finding by finding"


def _config_of(loss: Any) -> dict[str, Any]:
    try:
        config = loss.get_config()
    # The boundary to a loss of the user's, which may raise anything; what it lacks is told elsewhere.
    except Exception:  # noqa: BLE001
        return {}
    return config if isinstance(config, dict) else {}


def _value(loss: Any, labels: np.ndarray, scores: np.ndarray) -> float:
    try:
        found = np.asarray(ops.convert_to_numpy(loss(ops.convert_to_tensor(labels), ops.convert_to_tensor(scores))))
    # The boundary to a loss of the user's, which may raise anything.
    except Exception as error:
        raise ValueError(
            f"loss: {type(loss).__name__} cannot be computed for labels and scores of shape {labels.shape} "
            f"({type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]})."
        ) from error
    if found.ndim:
        raise ValueError(
            f"loss: {type(loss).__name__} gives an array of shape {found.shape}; one number for a batch was expected: "
            'give it reduction="sum_over_batch_size".'
        )
    return float(found)
