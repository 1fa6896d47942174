"""A recipe: everything that decides a run except the films, as plain values that are saved with it."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from chexkeras import files
from chexkeras.checks import nearest, one_of, positive_int
from chexkeras.data.augmentation import Augmentation
from chexkeras.findings import label_names
from chexkeras.models import options
from chexkeras.training.monitor import MONITORS
from chexkeras.training.recipe_parts import Loss, Stage, ThresholdRule, finding_pairs, text

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
            films as they are. See `models.clahe`.
        loss: The loss.
        stages: Run one after the other.
        batch_size: Films a step.
        augment: Random changes to training films.
        precision: "auto", "float32", "mixed_float16" or "mixed_bfloat16".
        monitor: What decides which epoch was best and when a stage's patience is used up: "val_auroc" (exact, averaged
            over findings, larger is better) or "val_loss" (smaller is better).
        up_sample: (finding, how often an epoch shows its training films), after splitting; see
            `data.splits.splits.Splits.up_sampled`.
        balanced_batches: Findings whose training films get equal shares of every batch, beside those that show none of
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
                f"image_size={self.image_size} is above {_LARGEST_IMAGE}; films have some 2000 to 4000 px."
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
                "balanced_batches and up_sample both decide how often a film is shown; leave one of them empty."
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
