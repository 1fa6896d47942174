"""A recipe: everything that decides a run except the images, as plain values that are saved with it.

The parts of a recipe: one stage, the loss, and how the operating point is chosen.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from chexkeras import files
from chexkeras.checks import nearest, one_of, positive_int, probability
from chexkeras.data.augmentation import Augmentation
from chexkeras.evaluation.thresholds import check_rule
from chexkeras.findings import label_names
from chexkeras.models import options

LOSSES = ("weighted_bce", "focal", "asymmetric", "auc_margin", "three_way")
CLASS_WEIGHTS = ("balanced", "none", "capped", "effective")
OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "warmup_cosine", "reduce_on_plateau")
_SHARES = {"all": 1.0, "none": 0.0}

# What a field has an effect with: the field that decides, and the values under which it counts.
_STAGE_NEEDS = {
    "weight_decay": ("optimizer", ("adamw", "sgd")),
    "warmup_epochs": ("schedule", ("warmup_cosine",)),
    "reduce_factor": ("schedule", ("reduce_on_plateau",)),
    "reduce_patience": ("schedule", ("reduce_on_plateau",)),
}
_LOSS_NEEDS = {
    "class_weights": ("name", ("weighted_bce",)),
    "label_smoothing": ("name", ("weighted_bce", "focal")),
    "gamma": ("name", ("focal",)),
    "alpha": ("name", ("focal",)),
    "cap": ("class_weights", ("capped",)),
    "beta": ("class_weights", ("effective",)),
    "gamma_positive": ("name", ("asymmetric",)),
    "gamma_negative": ("name", ("asymmetric",)),
    "clip": ("name", ("asymmetric",)),
    "margin": ("name", ("auc_margin",)),
}


def text(value: Any, name: str, example: str) -> str:
    """Returns a value that is text and not blank.

    Args:
        value: What the caller gave.
        name: The field's name, for the message.
        example: A value that it may have.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name}={value!r} must be text, such as {example!r}.")
    return value


def _share(value: Any, name: str, *, open_interval: bool = False) -> float:
    """Returns a number in [0, 1]; unlike `checks.probability` it takes no true for 1 and no text for a number."""
    if isinstance(value, (bool, str)):
        raise ValueError(f"{name}={value!r} is not a number; give a fraction such as 0.9.")
    return probability(value, name, open_interval=open_interval)


def _refuse_idle(part: Any, place: str, needs: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
    """Refuses a field that is not at its default and has no effect: a record must not claim what was not done."""
    idle, defaults = [], []
    for entry in fields(part):
        value = getattr(part, entry.name)
        decider, values = needs.get(entry.name, ("", ()))
        if decider and value != entry.default and getattr(part, decider) not in values:
            wanted, chosen = " or ".join(map(repr, values)), getattr(part, decider)
            idle.append(
                f"{place}.{entry.name}={value!r} needs {place}.{decider}={wanted} and has no effect with {chosen!r}"
            )
            defaults.append(f"{place}.{entry.name}={json.dumps(entry.default)}")
    if idle:
        raise ValueError(f"{', '.join(idle)}; leave it out, or put back what it is by default: {', '.join(defaults)}.")


@dataclass(frozen=True)
class Stage:
    """One stage of training; a number without effect under its optimizer or schedule has to be the default.

    Attributes:
        name: For example "stage1".
        epochs: Most passes over the training images.
        learning_rate: Above 0; with a schedule, its largest value.
        trainable: Share of the backbone's layers to unfreeze, from the top (0 or "none" = head alone, 0.2 = top 20 %,
            1 or "all" = all layers), or the name of the first layer to unfreeze.
        patience: Epochs without a better value of the recipe's monitor after which the stage ends; None runs all
            epochs.
        batchnorm: "held" keeps every BatchNorm of the backbone as it is; "trained" trains those of unfrozen layers,
            which then normalise by the batch.
        optimizer: "adam", "adamw" or "sgd" (momentum 0.9).
        weight_decay: Decoupled weight decay, at least 0; for "adamw" and "sgd".
        schedule: "constant"; "cosine" to 0 over the stage; "warmup_cosine", the same after a linear rise from 0; or
            "reduce_on_plateau", down by a factor after some epochs without a better value of the monitor.
        warmup_epochs: For "warmup_cosine": epochs of the rise.
        reduce_factor: For "reduce_on_plateau": the factor, in (0, 1).
        reduce_patience: For "reduce_on_plateau": epochs without a better value.
        clip_norm: Largest norm of the gradient of all weights together; None does not clip.
        accumulate: Batches whose gradients are averaged into one change of the weights.
        ema: Momentum of a moving average of the weights, in (0, 1), which moves with every change of the weights, not
            with every batch of `accumulate`; the average is what is scored and kept. None keeps the weights themselves.
    """

    name: str
    epochs: int
    learning_rate: float
    trainable: float | str = 0.0
    patience: int | None = None
    batchnorm: str = "held"
    optimizer: str = "adam"
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup_epochs: int = 1
    reduce_factor: float = 0.1
    reduce_patience: int = 2
    clip_norm: float | None = None
    accumulate: int = 1
    ema: float | None = None

    def __post_init__(self) -> None:
        text(self.name, "stage name", "stage1")
        positive_int(self.epochs, f"{self.name}.epochs")
        if not _is_number(self.learning_rate) or self.learning_rate <= 0.0:
            raise ValueError(f"{self.name}.learning_rate={self.learning_rate!r} must be a number above 0, e.g. 1e-4.")
        if isinstance(self.trainable, bool) or self.trainable is None or self.trainable == "":
            raise ValueError(
                f"{self.name}.trainable={self.trainable!r} must be a share from 0 to 1, 'all', 'none', or the name of "
                "the first layer to unfreeze."
            )
        if isinstance(self.trainable, str):
            object.__setattr__(self, "trainable", _SHARES.get(self.trainable, self.trainable))
        else:
            probability(self.trainable, f"{self.name}.trainable")
        if self.patience is not None:
            positive_int(self.patience, f"{self.name}.patience")
        one_of(self.batchnorm, options.BATCHNORM, f"{self.name}.batchnorm")
        one_of(self.optimizer, OPTIMIZERS, f"{self.name}.optimizer")
        one_of(self.schedule, SCHEDULES, f"{self.name}.schedule")
        self._check_optimisation()

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    def _check_optimisation(self) -> None:
        if not _is_number(self.weight_decay) or self.weight_decay < 0.0:
            raise ValueError(f"{self.name}.weight_decay={self.weight_decay!r} must be a number of at least 0.")
        for name in ("warmup_epochs", "reduce_patience", "accumulate"):
            positive_int(getattr(self, name), f"{self.name}.{name}")
        if self.schedule == "warmup_cosine" and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"{self.name}.warmup_epochs={self.warmup_epochs} leaves none of the {self.epochs} epochs for the "
                "cosine; lower it, or raise the epochs."
            )
        _share(self.reduce_factor, f"{self.name}.reduce_factor", open_interval=True)
        if self.clip_norm is not None and not (_is_number(self.clip_norm) and self.clip_norm > 0.0):
            raise ValueError(f"{self.name}.clip_norm={self.clip_norm!r} must be a number above 0, or null for none.")
        if self.ema is not None:
            if isinstance(self.ema, (bool, str)):
                raise ValueError(f"{self.name}.ema={self.ema!r} must be a momentum such as 0.999, or null for none.")
            probability(self.ema, f"{self.name}.ema", open_interval=True)
        _refuse_idle(self, self.name, _STAGE_NEEDS)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def finding_pairs(values: Any, name: str) -> tuple[tuple[str, Any], ...]:
    """Returns a mapping, or what JSON makes of pairs, as pairs (finding, value), findings in canonical spelling."""
    pairs = values.items() if isinstance(values, Mapping) else values
    try:
        given = [(finding, value) for finding, value in pairs]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f'{name}={values!r} must give a value for each finding, e.g. {{"Mass": 2}}; [] for none.'
        ) from error
    return (
        tuple(zip(label_names([finding for finding, _ in given]), (v for _, v in given), strict=True)) if given else ()
    )


@dataclass(frozen=True)
class Loss:
    """Which loss, and its numbers; a number of another loss has to be the default.

    Attributes:
        name: "weighted_bce", "focal", "asymmetric" or "auc_margin", see `models.losses`; "three_way" for the head of
            that name, see `models.losses`.
        class_weights: For weighted_bce, from the training labels: "balanced", "none", "capped" or "effective"; see
            `training.class_weights`. The other losses have none.
        label_smoothing: For weighted_bce and focal, in [0, 1).
        gamma: For focal, at least 0.
        alpha: For focal: weight of positives, in (0, 1).
        cap: For class_weights "capped": largest weight of a positive; None sets no limit.
        beta: For class_weights "effective", in [0, 1).
        gamma_positive: For asymmetric, at least 0.
        gamma_negative: For asymmetric, at least 0.
        clip: For asymmetric: probability up to which a negative costs nothing, in [0, 1).
        margin: For auc_margin, in (0, 1].
        target_weights: (finding, how much it counts, above 0) of the targets that do not count 1. The loss is the sum
            over targets divided by their number, so a weight changes one target's share and no other's.
    """

    name: str = "weighted_bce"
    class_weights: str = "balanced"
    label_smoothing: float = 0.0
    gamma: float = 2.0
    alpha: float = 0.25
    cap: float | None = None
    beta: float = 0.9999
    gamma_positive: float = 1.0
    gamma_negative: float = 4.0
    clip: float = 0.05
    margin: float = 1.0
    target_weights: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        one_of(self.name, LOSSES, "loss.name")
        one_of(self.class_weights, CLASS_WEIGHTS, "loss.class_weights")
        if _share(self.label_smoothing, "loss.label_smoothing") == 1.0:
            raise ValueError("loss.label_smoothing=1 leaves no label to learn from; it must be below 1, try 0.1.")
        for name, usual in (("gamma", "2"), ("gamma_positive", "1"), ("gamma_negative", "4")):
            value = getattr(self, name)
            if not _is_number(value) or value < 0.0:
                raise ValueError(f"loss.{name}={value!r} must be a number of at least 0; the paper uses {usual}.")
        _share(self.alpha, "loss.alpha", open_interval=True)
        for name, usual in (("clip", "0.05"), ("beta", "0.9999")):
            if _share(getattr(self, name), f"loss.{name}") == 1.0:
                raise ValueError(f"loss.{name}=1 must be below 1; the paper uses {usual}.")
        if not _share(self.margin, "loss.margin"):
            raise ValueError("loss.margin=0 sets no margin; it must be above 0, the paper uses 1.")
        if self.cap is not None and not (_is_number(self.cap) and self.cap > 0.0):
            raise ValueError(f"loss.cap={self.cap!r} must be a number above 0, such as 20, or null for no limit.")
        object.__setattr__(self, "target_weights", finding_pairs(self.target_weights, "loss.target_weights"))
        for finding, weight in self.target_weights:
            if not _is_number(weight) or weight <= 0.0:
                raise ValueError(f"loss.target_weights: the weight of {finding} is {weight!r}, not a number above 0.")
        # No class weights is what every other loss has.
        needs = _LOSS_NEEDS if self.class_weights != "none" else {**_LOSS_NEEDS, "class_weights": ("name", LOSSES)}
        _refuse_idle(self, "loss", needs)


@dataclass(frozen=True)
class ThresholdRule:
    """How the operating point is chosen on the validation part.

    Attributes:
        rule: A rule of `evaluation.thresholds`, such as "sensitivity", "youden" or "fixed".
        target: What the rule aims at, in [0, 1]: the sensitivity to reach, or the fixed threshold; None for a rule
            without one.
    """

    rule: str = "sensitivity"
    target: float | None = 0.8

    def __post_init__(self) -> None:
        check_rule(self.rule, self.target)


__all__ = ["Loss", "Recipe", "Stage", "ThresholdRule"]

_LARGEST_IMAGE = 4096


@dataclass(frozen=True)
class Recipe:
    """A training recipe.

    Attributes:
        name: For people.
        targets: Findings in output order.
        image_size: Side of the model's input, pixels.
        backbone: A name known to `models.backbones`.
        weights: "imagenet", a weights file, or None for an untrained base.
        head: A name known to `models.heads`.
        clahe: Limit of the contrast-limited equalisation that the model begins with, 1 to 256 (usual is 2); None leaves
            images as they are. See `models.clahe`.
        loss: The loss.
        stages: Run one after the other.
        batch_size: Images a step.
        augment: Random changes to training images.
        precision: "auto", "float32", "mixed_float16" or "mixed_bfloat16".
        monitor: What decides which epoch was best and when a stage's patience is used up: "val_auroc" (exact, averaged
            over findings, larger is better) or "val_loss" (smaller is better).
        up_sample: (finding, how often an epoch shows its training images), after splitting; see
            `data.splits.splits.Splits.up_sampled`.
        balanced_batches: Findings whose training images get equal shares of every batch, beside those that show none of
            them: one finding makes half of each batch positive. See `data.sampling.balanced`.
        keep_epochs: How many epochs the run keeps, the best by `monitor` first: the run itself is the best one, each
            further one a run of its own inside it (`runs.run.Run.epochs`), to be averaged with
            `inference.ensemble`.
        operating_point: How the threshold is chosen on validation.
        seed: Decides weights, order and augmentation.
    """

    name: str = "own"
    targets: tuple[str, ...] = ("Pneumonia",)
    image_size: int = 224
    backbone: str = "DenseNet121"
    weights: str | None = "imagenet"
    head: str = "three_layer"
    clahe: float | None = None
    loss: Loss = field(default_factory=Loss)
    stages: tuple[Stage, ...] = (
        Stage("stage1", epochs=10, learning_rate=1e-3, trainable=0.0, patience=4),
        Stage("stage2", epochs=10, learning_rate=1e-5, trainable=0.2, patience=4),
    )
    batch_size: int = 32
    augment: Augmentation = field(default_factory=Augmentation)
    precision: str = "auto"
    monitor: str = "val_auroc"
    up_sample: tuple[tuple[str, int], ...] = ()
    balanced_batches: tuple[str, ...] = ()
    keep_epochs: int = 1
    operating_point: ThresholdRule = field(default_factory=ThresholdRule)
    seed: int = 0

    def __post_init__(self) -> None:
        text(self.name, "name", "own")
        self._check_weights()
        object.__setattr__(self, "targets", _findings(self.targets, "targets"))
        one_of(self.backbone, options.BACKBONES, "backbone")
        one_of(self.head, options.HEADS, "head")
        one_of(self.precision, options.PRECISIONS, "precision")
        one_of(self.monitor, MONITORS, "monitor")
        if positive_int(self.image_size, "image_size") > _LARGEST_IMAGE:
            raise ValueError(
                f"image_size={self.image_size} is above {_LARGEST_IMAGE}; images have some 2000 to 4000 px."
            )
        positive_int(self.batch_size, "batch_size")
        positive_int(self.keep_epochs, "keep_epochs")
        if self.clahe is not None:
            options.clahe_limit(self.clahe)
        if (self.head == "three_way") != (self.loss.name == "three_way"):
            raise ValueError(
                f"head={self.head!r} and loss.name={self.loss.name!r} do not go together: the head 'three_way' is "
                "trained by the loss 'three_way', and no other head is; set both or neither."
            )
        if not self.stages:
            raise ValueError("stages is empty; give at least one Stage.")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stage names must differ, got {', '.join(names)}.")
        object.__setattr__(self, "up_sample", finding_pairs(self.up_sample, "up_sample"))
        for finding, factor in self.up_sample:
            positive_int(factor, f"up_sample: the factor of {finding}")
        self._check_balance()
        weighed = {finding for finding, _ in self.loss.target_weights}
        if weighed - set(self.targets):
            unknown = ", ".join(sorted(weighed - set(self.targets)))
            raise ValueError(
                f"loss.target_weights names {unknown}, no target of this recipe: {', '.join(self.targets)}."
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise ValueError(f"seed={self.seed!r} must be a whole number from 0 to {2**32 - 1}.")

    def _check_weights(self) -> None:
        if self.weights is None:
            return
        weights = os.fspath(self.weights) if isinstance(self.weights, os.PathLike) else self.weights
        if not isinstance(weights, str) or not weights.strip():
            raise ValueError(f"weights={weights!r} must be 'imagenet', a weights file, or null for an untrained base.")
        object.__setattr__(self, "weights", weights)

    def _check_balance(self) -> None:
        balanced = _findings(self.balanced_batches, "balanced_batches") if self.balanced_batches else ()
        object.__setattr__(self, "balanced_batches", balanced)
        if balanced and self.up_sample:
            raise ValueError(
                "balanced_batches and up_sample both decide how often an image is shown; leave one of them empty."
            )
        if self.batch_size < len(balanced) + 1 and balanced:
            raise ValueError(
                f"batch_size={self.batch_size} has no room for {len(balanced) + 1} groups: {', '.join(balanced)} and "
                "none of them; raise it, or balance fewer findings."
            )

    def replace(self, **changes: Any) -> "Recipe":
        """Returns a copy with other values.

        Args:
            **changes: Fields of `Recipe` and their new values.

        Raises:
            ValueError: If there is no such field; the message gives the nearest.
        """
        known = [entry.name for entry in fields(self)]
        for name in changes:
            if name not in known:
                raise ValueError(f"a recipe has no field {name!r}; {nearest(name, known)} Fields: {', '.join(known)}.")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Returns the recipe as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Recipe":
        """Rebuilds a recipe from `to_dict`."""
        return cls(
            **{
                **data,
                "loss": Loss(**data["loss"]),
                "stages": tuple(Stage(**stage) for stage in data["stages"]),
                "augment": Augmentation(**data["augment"]),
                "operating_point": ThresholdRule(**data["operating_point"]),
            }
        )

    def save(self, path: str | Path) -> Path:
        """Writes the recipe as JSON and returns the path."""
        return files.write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Reads a recipe written by `save`.

        Raises:
            ValueError: If the file is not a recipe.
        """
        try:
            return cls.from_dict(files.read_json(path))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a recipe ({error}); make one with Recipe(...).save(path).") from error


def _findings(values: Any, name: str) -> tuple[str, ...]:
    if not isinstance(values, Iterable):
        raise ValueError(f"{name}={values!r} must be a finding or a list of them, such as Mass or Mass,Edema.")
    return label_names(values)


MONITORS = {"val_auroc": "max", "val_loss": "min"}
"""What may decide which epoch was best, and which direction of it is better."""
