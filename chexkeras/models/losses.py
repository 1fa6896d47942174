"""Losses for imbalanced, partly unlabelled targets: one entry each, with its formula, numbers, checks and words.

To add a loss, write its formula and an entry of `LOSSES`; to use one of your own, call `register_loss`. A loss is
computed in float32, leaves unknown (NaN) labels out and is saved with the model. Recipes check their loss here, so that
Keras is imported only where a loss is computed: its Keras classes (`FocalLoss` and so on, by the `keras_name` of each
entry) are attributes of this module that are made when first asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chexkeras.arguments import checked
from chexkeras.models.class_weights import CLASS_WEIGHTS, ClassWeightRule
from chexkeras.models.heads import CLASSES
from chexkeras.models.loss_entry import LossEntry, keras_class
from chexkeras.models.registry import GIVEN, Parameter, Registry, is_number, number

UNCERTAIN = -1.0
"""What a training label says where the report was uncertain, as in CheXpert's own label files."""
_EPSILON = 1e-7


def masked(labels: Any, scores: Any) -> tuple[Any, Any, Any]:
    """Prepares labels and scores for a formula with logarithms.

    Args:
        labels: Tensor (batch, n_targets) of labels in [0, 1]; NaN where unknown.
        scores: Tensor (batch, n_targets) of probabilities.

    Returns:
        Float32 labels with 0 in place of NaN, float32 scores clipped to [1e-7, 1 - 1e-7], and 1.0 where the label is
        known, else 0.0.
    """
    from keras import ops

    labels = ops.cast(labels, "float32")
    scores = ops.clip(ops.cast(scores, "float32"), _EPSILON, 1.0 - _EPSILON)
    unknown = ops.isnan(labels)
    return ops.where(unknown, 0.0, labels), scores, ops.cast(ops.logical_not(unknown), "float32")


def _tensor(values: Any) -> Any:
    from keras import ops

    return ops.convert_to_tensor(values, "float32")


def _weighted_bce(
    labels: Any, scores: Any, positive_weights: list[float], negative_weights: list[float], label_smoothing: float
) -> Any:
    from keras import ops

    labels, scores, known = masked(labels, scores)
    labels = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
    positive = _tensor(positive_weights) * labels * ops.log(scores)
    negative = _tensor(negative_weights) * (1.0 - labels) * ops.log1p(-scores)
    return -ops.mean(known * (positive + negative), axis=-1)


def _focal(
    labels: Any,
    scores: Any,
    gamma: float,
    alpha: float | list[float],
    target_weights: list[float],
    label_smoothing: float,
) -> Any:
    from keras import ops

    labels, scores, known = masked(labels, scores)
    labels = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
    balance = _tensor(alpha) * labels + (1.0 - _tensor(alpha)) * (1.0 - labels)
    error = labels * (1.0 - scores) + (1.0 - labels) * scores
    likelihood = labels * ops.log(scores) + (1.0 - labels) * ops.log1p(-scores)
    return -ops.mean(_tensor(target_weights) * known * balance * ops.power(error, gamma) * likelihood, axis=-1)


def _asymmetric(
    labels: Any, scores: Any, gamma_positive: float, gamma_negative: float, clip: float, target_weights: list[float]
) -> Any:
    from keras import ops

    labels, scores, known = masked(labels, scores)
    # Not 0 but epsilon: the gradient of a power below 1 is infinite at 0.
    shifted = ops.maximum(scores - clip, _EPSILON)
    positive = labels * ops.power(1.0 - scores, gamma_positive) * ops.log(scores)
    negative = (1.0 - labels) * ops.power(shifted, gamma_negative) * ops.log1p(-shifted)
    return -ops.mean(_tensor(target_weights) * known * (positive + negative), axis=-1)


def _auc_margin(labels: Any, scores: Any, margin: float, target_weights: list[float]) -> Any:
    from keras import ops

    labels, scores, known = masked(labels, scores)

    def moments(chosen: Any) -> tuple[Any, Any, Any]:
        """Returns, per target, mean and variance of the chosen scores, and 1.0 where there are any, else 0.0."""
        count = ops.sum(chosen, axis=0)
        divisor = ops.maximum(count, 1.0)
        mean = ops.sum(chosen * scores, axis=0) / divisor
        variance = ops.sum(chosen * ops.square(scores - mean), axis=0) / divisor
        return mean, variance, ops.cast(count > 0.0, "float32")

    mean_positive, spread_positive, some_positive = moments(known * labels)
    mean_negative, spread_negative, some_negative = moments(known * (1.0 - labels))
    alpha = ops.maximum(margin + mean_negative - mean_positive, 0.0)
    weights = _tensor(target_weights) * some_positive * some_negative
    batch = ops.mean(weights * (spread_positive + spread_negative + ops.square(alpha)))
    return batch * ops.ones_like(labels[:, 0])


def _three_way(labels: Any, scores: Any, target_weights: list[float]) -> Any:
    from keras import ops

    uncertain = labels == UNCERTAIN
    certain = ops.logical_not(ops.logical_or(ops.isnan(labels), uncertain))
    present = ops.where(certain, labels, 0.0)
    absent = ops.where(certain, 1.0 - labels, 0.0)
    findings = labels.shape[-1]
    if scores.shape[-1] == findings:
        scores = ops.clip(scores, _EPSILON, 1.0 - _EPSILON)
        each = present * ops.log(scores) + absent * ops.log1p(-scores)
    else:
        logarithms = ops.log_softmax(ops.reshape(scores, (-1, findings, len(CLASSES))), axis=-1)
        named = ops.stack([absent, present, ops.cast(uncertain, "float32")], axis=-1)
        each = ops.sum(named * logarithms, axis=-1)
    return -ops.mean(_tensor(target_weights) * each, axis=-1)


_SMOOTHING = Parameter(
    "label_smoothing",
    0.0,
    number(at_least=0, below=1, usual=0.1),
    "Moves labels towards one half, in [0, 1): 0.1 makes them 0.05 and 0.95.",
)


def _not_given(*_: Any, **__: Any) -> Any:
    raise ValueError(
        f"the recipe names the loss {GIVEN!r}, a Keras object, and none was given: train(recipe, ..., loss=loss)."
    )


LOSSES: Registry[LossEntry] = Registry(
    "loss",
    (
        LossEntry(
            "weighted_bce",
            "WeightedBinaryCrossentropy",
            "binary cross-entropy",
            _weighted_bce,
            """Binary cross-entropy with a weight for positives and one for negatives of every target.

            ``-(w+ y log p + w- (1 - y) log(1 - p))``, averaged over targets; an unknown label adds nothing.
            """,
            (_SMOOTHING,),
            class_weights=True,
        ),
        LossEntry(
            "focal",
            "FocalLoss",
            "focal loss",
            _focal,
            """Focal loss: cross-entropy in which easy images count less.

            ``-a e^gamma (y log p + (1 - y) log(1 - p))`` with the error ``e = y (1 - p) + (1 - y) p`` and the weight
            ``a = alpha y + (1 - alpha) (1 - y)``, times the target's weight, averaged over targets; an unknown label
            adds nothing. For labels 0 and 1 this is the paper's formula; for labels between (a first model's
            probability, or smoothed ones) it is how Keras (`BinaryFocalCrossentropy`) and torchvision
            (`sigmoid_focal_loss`) read it.

            Source:
                Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
            """,
            (
                Parameter(
                    "gamma", 2.0, number(at_least=0, usual=2), "Focusing, at least 0; 0 leaves the weight alpha alone."
                ),
                Parameter(
                    "alpha",
                    0.25,
                    number(above=0, below=1, usual=0.25),
                    "Weight of positives, in (0, 1); negatives get the rest.",
                    per_target=True,
                ),
                _SMOOTHING,
            ),
        ),
        LossEntry(
            "asymmetric",
            "AsymmetricLoss",
            "asymmetric loss",
            _asymmetric,
            """Asymmetric loss: negatives are focused on harder than positives; the easiest do not count at all.

            ``-(y (1 - p)^g+ log p + (1 - y) q^g- log(1 - q))`` with ``q = max(p - clip, 0)``, times the target's
            weight, averaged over targets; an unknown label adds nothing. With both gammas and `clip` 0 it is binary
            cross-entropy.

            Source:
                Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021, equations 4 to 7.
            """,
            (
                Parameter("gamma_positive", 1.0, number(at_least=0, usual=1), "Focusing of positives, at least 0."),
                Parameter("gamma_negative", 4.0, number(at_least=0, usual=4), "Focusing of negatives, at least 0."),
                Parameter(
                    "clip",
                    0.05,
                    number(at_least=0, below=1, usual=0.05),
                    "Probability up to which a negative costs nothing, in [0, 1).",
                ),
            ),
        ),
        LossEntry(
            "auc_margin",
            "AucMarginLoss",
            "AUC margin loss",
            _auc_margin,
            """AUC margin loss: positives and negatives each close together, their means a margin apart.

            The paper minimises over the network and two numbers a and b, and maximises over a third, alpha >= 0, the
            terms ``E[(h - a)^2 | positive] + E[(h - b)^2 | negative] + 2 alpha (m + E[h | negative] - E[h | positive])
            - alpha^2``. For given scores all three have a closed form: a and b are the means of the scores of positives
            and of negatives, and alpha is ``max(0, m + b - a)``. Put in, what is left to minimise is, for each target,

            ``variance of positives + variance of negatives + max(0, m + b - a)^2``,

            averaged over targets with their weights. No variable beside the network's has to be trained, saved or
            restored. Means and variances are those of the batch, so a batch should hold several images of either class:
            with a rare finding use larger batches or up-sampling. A target that lacks a class in the batch adds
            nothing, nor does an unknown label. The factor p (1 - p) by which the paper's formula weighs a target of
            prevalence p is left out, so that rare targets count as much as frequent ones; `target_weights` weighs them
            otherwise.

            Source:
                Yuan et al., "Large-scale Robust Deep AUC Maximization: A New Surrogate Loss and Empirical Studies on
                Medical Image Classification", ICCV 2021.
            """,
            (
                Parameter(
                    "margin",
                    1.0,
                    number(above=0, at_most=1, usual=1),
                    "By how much the mean score of positives is to exceed that of negatives, in (0, 1].",
                ),
            ),
        ),
        LossEntry(
            "three_way",
            "ThreeWayCrossentropy",
            "cross-entropy over positive, negative and uncertain",
            _three_way,
            """Cross-entropy over absent, present and uncertain, for the head "three_way".

            In training the head gives three logits for each finding: the loss is minus the logarithm of the softmax at
            the class that the label names (1, 0 or `UNCERTAIN`), times the target's weight, averaged over targets; an
            unknown label adds nothing. A label strictly between 0 and 1 (a first model's probability) is divided
            between absent and present.

            Otherwise the head gives one probability for each finding, and the loss is binary cross-entropy on the
            labels that are certain: what a validation loss can be measured on.

            Source:
                Irvin et al., AAAI 2019, U-MultiClass.
            """,
            three_way=True,
        ),
    ),
    register="register_loss",
    given=LossEntry(GIVEN, "GivenLoss", "a Keras loss of one's own", _not_given, "A Keras loss given to training."),
)


@checked
def register_loss(
    name: str, formula: Callable[..., Any], parameters: Sequence[Parameter] = (), *, words: str = "", doc: str = ""
) -> LossEntry:
    """Lets recipes name a loss of your own.

    Register it before a recipe that names it is made, and again in every process that loads a run of it: a run keeps
    the name and the numbers, not the formula.

    Args:
        name: How recipes name it, one word; Keras knows it as "chexkeras>" and this name.
        formula: Takes, in this order, labels (batch, n_targets; 0 where unknown), scores clipped to
            [1e-7, 1 - 1e-7], the mask of known labels (1.0 or 0.0) and the weights of the targets (n_targets,), float32
            tensors all, and the numbers of `parameters` by name. Returns the loss of each image, (batch,). Compute with
            `keras.ops`, so that it runs on every backend.
        parameters: Its numbers; a recipe takes them as `Loss(name, number=...)`, the command line as
            ``--set loss.number=...``. Another loss may have a number of the same name, with another meaning, default
            and range; a rule for class weights (`models.class_weights`) may not.
        words: What reports call it; "" takes the name.
        doc: What it is and where it is from.

    Returns:
        The entry. One of the same name that was registered before is replaced.

    Raises:
        ValueError: If the name belongs to a built-in loss or is no word, a number's name is taken, or a default is
            refused by its own check.
        TypeError: If `formula` cannot be called.

    Example:
        >>> from chexkeras.models.registry import Parameter, number
        >>> def power(labels, scores, known, weights, exponent):
        ...     from keras import ops
        ...
        ...     return ops.mean(weights * known * ops.abs(labels - scores) ** exponent, axis=-1)
        >>> exponent = Parameter("exponent", 2.0, number(above=0), "Power of the error, above 0.")
        >>> register_loss("power", power, [exponent], words="mean power of the error").name
        'power'
    """
    if not callable(formula):
        raise TypeError(f"formula={formula!r} must be a function of labels, scores, known and weights.")

    def of_tensors(labels: Any, scores: Any, target_weights: list[float], **numbers: float) -> Any:
        return formula(*masked(labels, scores), _tensor(target_weights), **numbers)

    entry = LossEntry(
        name, name, words or name.replace("_", " "), of_tensors, doc or f"{name}, registered.", (*parameters,)
    )
    LOSSES.add(entry)
    return entry


def declared_numbers() -> dict[str, dict[Parameter, tuple[str, ...]]]:
    """Returns the numbers of all losses and of all rules for class weights.

    Returns:
        By name, and there by declaration, since losses may share a name: who declares it so. Built-in losses come
        first, so that registering one changes nothing for them.
    """
    found: dict[str, dict[Parameter, tuple[str, ...]]] = {}
    declaring: list[LossEntry | ClassWeightRule] = [*LOSSES.values(), *CLASS_WEIGHTS.values()]
    for user in declaring:
        for parameter in user.parameters:
            users = found.setdefault(parameter.name, {})
            users[parameter] = (*users.get(parameter, ()), user.name)
    return found


def loss_words(settings: Mapping[str, Any], text: Callable[[Any], str] | None = None) -> str:
    """Returns a recipe's loss in words, with those of its numbers that have an effect.

    Args:
        settings: The loss as `Recipe.to_dict` gives it; what is missing is left out.
        text: How a value is printed; None prints numbers as short as they are exact.

    Example:
        >>> loss_words({"name": "focal", "gamma": 2.0, "alpha": 0.25, "class_weights": "balanced"})
        'focal loss (gamma 2, alpha 0.25)'
    """
    printed = text or (lambda value: f"{value:g}" if is_number(value) else str(value))
    name, rule = str(settings.get("name", "")), str(settings.get("class_weights"))
    entry = LOSSES.get(name)
    if entry is None:
        used = [key for key in settings if key not in ("name", "target_weights")]
    else:
        used = [parameter.name for parameter in entry.parameters]
        if entry.class_weights:
            used = ["class_weights", *used]
            used += [parameter.name for parameter in CLASS_WEIGHTS[rule].parameters] if rule in CLASS_WEIGHTS else []
    parts = [
        f"{key.replace('_', ' ')} {printed(settings[key])}" for key in used if settings.get(key) not in (None, 0, 0.0)
    ]
    if weights := settings.get("target_weights") or ():
        parts.append("weights of findings " + ", ".join(f"{finding} {printed(weight)}" for finding, weight in weights))
    words = name if entry is None else entry.words
    return f"{words} ({', '.join(parts)})" if parts else words


def register_keras_classes() -> None:
    """Makes all names under which Keras saves parts of our models known to it: layers and losses."""
    from chexkeras.models import clahe, three_way  # noqa: F401
    from chexkeras.models.exposure import layers  # noqa: F401
    from chexkeras.models.vit import layers as tokens  # noqa: F401

    for entry in LOSSES.values():
        keras_class(entry)


def __getattr__(name: str) -> Any:
    """Returns the Keras class of a loss, such as `FocalLoss`, by the `keras_name` of its entry."""
    for entry in LOSSES.values():
        if entry.keras_name == name:
            return keras_class(entry)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
