"""Three answers for each finding, absent, present or uncertain, and one probability out of them.

Source:
    Irvin et al., AAAI 2019, U-MultiClass: a softmax over the three; the probability of a finding is that of present
    among absent and present.
"""

from typing import Any

import keras
from keras import ops

from chexkeras.models.heads import CLASSES

ANSWERS = "head_answers"
"""How the layers between the logits and the probability begin in a model that was saved for inference."""


@keras.saving.register_keras_serializable("chexkeras")
class ThreeWay(keras.layers.Layer):
    """Turns three logits for each finding into what is wanted of them.

    In training it hands on all three, which the loss needs; otherwise it gives one probability for each finding, so
    that the model scores images as every other does. Computed in float32.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`; the dtype is float32 whatever they say.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, logits: Any, training: bool | None = None) -> Any:
        """Returns logits or probabilities.

        Args:
            logits: float32 tensor (batch, 3 n), the three classes of a finding side by side, in the order of `CLASSES`.
            training: Whether all three are wanted.

        Returns:
            (batch, n): the probability of present among absent and present; in training the logits.
        """
        if training:
            return logits
        of_each = ops.reshape(logits, (-1, logits.shape[-1] // len(CLASSES), len(CLASSES)))
        # e^present / (e^absent + e^present), without the exponentials that could overflow.
        return ops.sigmoid(of_each[..., 1] - of_each[..., 0])


def for_inference(model: keras.Model) -> keras.Model:
    """Returns a classifier with its three answers turned into a probability by layers of Keras alone.

    Keras then opens its file without chexkeras. It gives the probabilities that `ThreeWay` gives, to the last bit.

    Args:
        model: A classifier of `build_classifier`; one without three answers is returned as it is.
    """
    last = model.layers[-1]
    if not isinstance(last, ThreeWay):
        return model
    layers, count = keras.layers, last.input.shape[-1] // len(CLASSES)

    def named(name: str) -> dict[str, str]:
        return {"name": f"{ANSWERS}_{name}", "dtype": "float32"}

    def of_class(name: str) -> Any:
        place = CLASSES.index(name)
        return layers.Cropping1D((place, len(CLASSES) - 1 - place), **named(name))(by_class)

    by_finding = layers.Reshape((count, len(CLASSES)), **named("by_finding"))(last.input)
    by_class = layers.Permute((2, 1), **named("by_class"))(by_finding)
    difference = layers.Subtract(**named("difference"))([of_class("present"), of_class("absent")])
    flat = layers.Reshape((count,), **named("of_findings"))(difference)
    probability = layers.Activation("sigmoid", name=last.name, dtype="float32")(flat)
    return keras.Model(model.inputs, probability, name=model.name)
