"""A recipe: everything that decides a run except the films, as plain values that are saved with it."""

import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from chexkeras import files
from chexkeras.checks import nearest, one_of, positive_int, probability
from chexkeras.data.augment import Augmentation
from chexkeras.evaluation.thresholds import check_rule
from chexkeras.findings import resolve
from chexkeras.models import options

LOSSES = ("weighted_bce", "focal")


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        name: For example "stage1".
        epochs: Most passes over the training films.
        learning_rate: Adam's, above 0.
        trainable: Share of the backbone's layers to unfreeze, from the top (0 = head alone, 0.2 = top 20 %), or the
            name of the first layer to unfreeze.
        patience: Epochs without a better validation AUROC after which the stage ends; None runs all epochs.
    """

    name: str
    epochs: int
    learning_rate: float
    trainable: float | str = 0.0
    patience: int | None = None

    def __post_init__(self) -> None:
        positive_int(self.epochs, f"{self.name}.epochs")
        if not (isinstance(self.learning_rate, (int, float)) and 0.0 < self.learning_rate < math.inf):
            raise ValueError(f"{self.name}.learning_rate={self.learning_rate!r} must be a number above 0, e.g. 1e-4.")
        if not isinstance(self.trainable, str):
            probability(self.trainable, f"{self.name}.trainable")
        if self.patience is not None:
            positive_int(self.patience, f"{self.name}.patience")


@dataclass(frozen=True)
class Loss:
    """Which loss, and its numbers.

    Attributes:
        name: "weighted_bce" or "focal".
        class_weights: For weighted_bce: "balanced" (from the training labels) or "none".
        label_smoothing: For weighted_bce, in [0, 1).
        gamma: For focal, at least 0.
        alpha: For focal: weight of positives, in (0, 1).
    """

    name: str = "weighted_bce"
    class_weights: str = "balanced"
    label_smoothing: float = 0.0
    gamma: float = 2.0
    alpha: float = 0.25

    def __post_init__(self) -> None:
        one_of(self.name, LOSSES, "loss.name")
        one_of(self.class_weights, ("balanced", "none"), "loss.class_weights")
        if probability(self.label_smoothing, "loss.label_smoothing") == 1.0:
            raise ValueError("loss.label_smoothing=1 leaves no label to learn from; it must be below 1, try 0.1.")
        number = isinstance(self.gamma, (int, float)) and not isinstance(self.gamma, bool)
        if not (number and 0.0 <= self.gamma < math.inf):
            raise ValueError(f"loss.gamma={self.gamma!r} must be a number of at least 0; the paper uses 2.")
        probability(self.alpha, "loss.alpha", open_interval=True)


@dataclass(frozen=True)
class ThresholdRule:
    """How the operating point is chosen on the validation part; see `evaluation.thresholds`."""

    rule: str = "sensitivity"
    target: float | None = 0.8

    def __post_init__(self) -> None:
        check_rule(self.rule, self.target)


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
        loss: The loss.
        stages: Run one after the other.
        batch_size: Films a step.
        augment: Random changes to training films.
        precision: "auto", "float32", "mixed_float16" or "mixed_bfloat16".
        operating_point: How the threshold is chosen on validation.
        seed: Decides weights, order and augmentation.
    """

    name: str = "own"
    targets: tuple[str, ...] = ("Pneumonia",)
    image_size: int = 224
    backbone: str = "DenseNet121"
    weights: str | None = "imagenet"
    head: str = "three_layer"
    loss: Loss = field(default_factory=Loss)
    stages: tuple[Stage, ...] = (
        Stage("stage1", epochs=10, learning_rate=1e-3, trainable=0.0, patience=4),
        Stage("stage2", epochs=10, learning_rate=1e-5, trainable=0.2, patience=4),
    )
    batch_size: int = 32
    augment: Augmentation = field(default_factory=Augmentation)
    precision: str = "auto"
    operating_point: ThresholdRule = field(default_factory=ThresholdRule)
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", resolve(self.targets))
        one_of(self.backbone, options.BACKBONES, "backbone")
        one_of(self.head, options.HEADS, "head")
        one_of(self.precision, options.PRECISIONS, "precision")
        positive_int(self.image_size, "image_size")
        positive_int(self.batch_size, "batch_size")
        if not self.stages:
            raise ValueError("stages is empty; give at least one Stage.")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stage names must differ, got {', '.join(names)}.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed={self.seed!r} must be a whole number of at least 0.")

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
                "targets": tuple(data["targets"]),
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
