"""A classifier cut where its heat maps come from: the feature map of a layer, and what the scores make of it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np

from chexkeras.arguments import checked
from chexkeras.checks import nearest
from chexkeras.explanation.gradients import gradients
from chexkeras.models.heads import CLASSES
from chexkeras.models.scoring import predict_padded
from chexkeras.models.three_way import ANSWERS

_LOGITS, _PROBABILITY, _POOL = "head_logits", "head_probability", "head_pool"


@dataclass(frozen=True)
class LayerOutput:
    """What a layer makes of a batch of images, and the scores of the same pass.

    Attributes:
        features: float32 array (batch, rows, columns, channels), the layer's feature map.
        scores: float32 array (batch, n_targets), probabilities.
        images: float32 array (batch, height, width, 1), what was given, 0-255.
    """

    features: np.ndarray
    scores: np.ndarray
    images: np.ndarray


@checked
class MapNetwork:
    """A classifier seen from one of its layers.

    The score of a finding is the sigmoid of a logit that is linear in what the last hidden layer gives. Gradients are
    those of the logit: those of the probability vanish where the model is sure.

    Args:
        model: A classifier of `models.classifier.build_classifier`, or one loaded from a run.
        layer: Name of a layer whose output has rows, columns and channels; None takes the last one, which the head
            pools.

    Attributes:
        model: The classifier.
        layer: The layer's name.

    Raises:
        ValueError: If the model is no such classifier, or has no such layer, or the layer's output has no rows and
            columns left.
    """

    def __init__(self, model: keras.Model, layer: str | None = None) -> None:
        names = [entry.name for entry in model.layers]
        if _POOL not in names or _PROBABILITY not in names:
            raise ValueError(
                f"the model {model.name!r} has no layers {_POOL!r} and {_PROBABILITY!r}; heat maps are made of "
                "classifiers that build_classifier made, or train. Of a model or head of one's own they are made where "
                "it pools (or flattens) its feature map once and ends with Dense(n, activation='sigmoid')."
            )
        self.model = model
        pooled = model.get_layer(_POOL).input
        if layer is None:
            self._tensor = pooled
            # An operation that is no layer, such as a sum, can come last.
            self.layer: str = next(step.name for step in reversed(model.operations) if _gives(step, pooled))
        else:
            self._tensor, self.layer = _spatial_output(model, layer), layer
        rows, columns = self._tensor.shape[1:3]
        if rows * columns == 1:
            raise ValueError(
                f"the layer {self.layer!r} gives one row and one column for images of {model.input_shape[1]} pixels: "
                "there is nothing to map. Name an earlier layer, or use a run with larger images."
            )

    @property
    def is_pooled(self) -> bool:
        """Whether the layer is the one that the head pools."""
        return self._tensor is self.model.get_layer(_POOL).input

    @cached_property
    def kernel(self) -> np.ndarray:
        """How the last hidden layer's units count for each finding's logit, float32 array (units, n_targets)."""
        three_way = any(layer.name == _LOGITS for layer in self.model.layers)
        dense = self.model.get_layer(_LOGITS if three_way else _PROBABILITY)
        kernel = keras.ops.convert_to_numpy(dense.kernel).astype(np.float32)
        if not three_way:
            return kernel
        # The probability of present among absent and present is the sigmoid of the difference of their logits.
        by_class = kernel.reshape(kernel.shape[0], -1, len(CLASSES))
        return by_class[..., CLASSES.index("present")] - by_class[..., CLASSES.index("absent")]

    @cached_property
    def is_linear(self) -> bool:
        """Whether the logits are linear in the pooled feature map: no hidden layer of the head lies between."""
        if not isinstance(self.model.get_layer(_POOL), keras.layers.GlobalAveragePooling2D):
            return False
        between = [layer for layer in self.model.layers if layer.name.startswith("head_")]
        hidden = [layer for layer in between if layer.name not in (_POOL, _LOGITS, _PROBABILITY)]
        # What makes a probability of three logits comes after what is linear.
        return all(isinstance(layer, keras.layers.Dropout) or layer.name.startswith(ANSWERS) for layer in hidden)

    @cached_property
    def _forward(self) -> keras.Model:
        return keras.Model(self.model.input, [self._tensor, self.model.output])

    @cached_property
    def _rest(self) -> keras.Model:
        """From the feature map, and where it alone does not decide, from the pixels too, to the last hidden layer."""
        named = {layer.name: layer for layer in self.model.layers}
        hidden = named.get(_LOGITS, named[_PROBABILITY]).input
        try:
            return keras.Model(self._tensor, hidden)
        except ValueError:
            return keras.Model([self.model.input, self._tensor], hidden)

    def outputs(self, images: np.ndarray, batch_size: int) -> LayerOutput:
        """Returns the layer's feature map and the scores, both from one pass.

        Args:
            images: float32 array (n, height, width, 1), 0-255, n at most `batch_size`.
            batch_size: Images the compiled model sees; fewer are filled up.
        """
        features, scores = predict_padded(self._forward, images, batch_size)
        return LayerOutput(features.astype(np.float32), scores.astype(np.float32), images)

    def gradients(self, seen: LayerOutput, columns: list[int]) -> np.ndarray:
        """Returns the gradients of the logits with regard to the feature map.

        Args:
            seen: From `outputs`.
            columns: The findings wanted, as places among the targets.

        Returns:
            float32 array (len(columns), batch, rows, columns, channels).
        """
        pixels = [seen.images] if len(self._rest.inputs) == 2 else []
        return gradients(self._rest, [*pixels, seen.features], self.kernel[:, columns])


def _gives(operation: keras.Operation, tensor: Any) -> bool:
    return not isinstance(operation, keras.Model) and operation.output is tensor


@checked
def spatial_layers(model: keras.Model) -> tuple[str, ...]:
    """Returns the names of the layers that heat maps can be made of, in graph order.

    Args:
        model: A classifier.
    """
    return tuple(layer.name for layer in model.layers if not isinstance(layer, keras.Model) and _is_spatial(layer))


def _is_spatial(layer: keras.layers.Layer) -> bool:
    shape: tuple[Any, ...] = getattr(getattr(layer, "output", None), "shape", ())
    is_image = layer.name.startswith("preprocess_") or isinstance(layer, keras.layers.InputLayer)
    return len(shape) == 4 and None not in shape[1:] and shape[1] * shape[2] > 1 and not is_image


def _spatial_output(model: keras.Model, layer: str) -> Any:
    known = spatial_layers(model)
    if layer not in known:
        exists = any(entry.name == layer for entry in model.layers)
        what = "has no rows and columns of features" if exists else "is not in the model"
        raise ValueError(
            f"layer={layer!r} {what}; {nearest(str(layer), known)} The last three that heat maps can be made of: "
            f"{', '.join(known[-3:])}."
        )
    return model.get_layer(layer).output
