"""A recipe: everything that decides a run except the images, as plain values that are saved with it.

`Recipe` is put together from its stages, its loss and the rule for its operating point. What may be named in it is
declared once, in the registries of `models`; nothing here needs Keras.
"""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import came, is_table, nearest, one_of, positive_int, probability, shown, with_article
from chexkeras.data.augmentation import Augmentation
from chexkeras.evaluation.clinical_use.abstention import check_abstention
from chexkeras.evaluation.thresholds import check_rule
from chexkeras.findings import label_names
from chexkeras.models.backbones import BACKBONES
from chexkeras.models.classifier import BATCHNORM, PRECISIONS, check_clahe
from chexkeras.models.exposure.entries import check_exposure, check_smoothing
from chexkeras.models.heads import HEADS
from chexkeras.models.losses import LOSSES
from chexkeras.models.optimizers import OPTIMIZERS, SCHEDULES
from chexkeras.models.registry import GIVEN, Registry, number
from chexkeras.models.weights.sources import WEIGHTS
from chexkeras.plain import Described
from chexkeras.recipes.loss import Loss, finding_pairs, refuse_idle

__all__ = ["Loss", "Recipe", "Stage", "ThresholdRule"]

MONITORS = {"val_auroc": "max", "val_loss": "min"}
"""What may decide which epoch was best, and which direction of it is better."""
_SHARES = {"all": 1.0, "none": 0.0}
_LARGEST_IMAGE = 4096
_LONGEST_TEXT = 200


def text(value: Any, name: str, example: str) -> str:
    """Returns a value that is text, not blank and not too long to be shown.

    Args:
        value: What the caller gave.
        name: The field's name, for the message.
        example: A value that it may have.

    Raises:
        ValueError: If it is something else, or too long to be shown.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name}={value!r} must be text, such as {example!r}.")
    if len(value) > _LONGEST_TEXT:
        raise ValueError(f"{name} has {len(value):,} characters, at most {_LONGEST_TEXT} were expected; shorten it.")
    return value


@checked
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
        optimizer: "adam", "adamw" or "sgd" (momentum 0.9): a name in `models.optimizers.OPTIMIZERS`.
        weight_decay: Decoupled weight decay, at least 0; for "adamw" and "sgd".
        schedule: A name in `models.optimizers.SCHEDULES`: "constant"; "cosine", to 0 over the stage; "warmup_cosine",
            the same after a linear rise from 0; or "reduce_on_plateau", down by a factor after some epochs without a
            better value of the monitor.
        warmup_epochs: For "warmup_cosine": epochs of the rise.
        reduce_factor: For "reduce_on_plateau": the factor, in (0, 1).
        reduce_patience: For "reduce_on_plateau": epochs without a better value.
        clip_norm: Largest norm of the gradient of all weights together; None does not clip.
        accumulate: Batches whose gradients are averaged into one change of the weights.
        layer_decay: By which factor the learning rate falls from block to block of the backbone towards the input, in
            (0, 1]: the head has all of it, the last block this share, the one before it its square. A block of a
            transformer is a block; of a convolutional network, the layers of one resolution. Weight decay falls alike.
            None for one learning rate.
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
    layer_decay: float | None = None

    def __post_init__(self) -> None:
        text(self.name, "stage name", "stage1")
        positive_int(self.epochs, f"{self.name}.epochs")
        number(above=0, usual=1e-4)(self.learning_rate, f"{self.name}.learning_rate")
        if isinstance(self.trainable, bool) or not isinstance(self.trainable, (str, Real)) or self.trainable == "":
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
        one_of(self.batchnorm, BATCHNORM, f"{self.name}.batchnorm")
        OPTIMIZERS.find(self.optimizer, f"{self.name}.optimizer")
        SCHEDULES.find(self.schedule, f"{self.name}.schedule")
        self._check_optimisation()

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    def _check_optimisation(self) -> None:
        number(at_least=0)(self.weight_decay, f"{self.name}.weight_decay")
        for name in ("warmup_epochs", "reduce_patience", "accumulate"):
            positive_int(getattr(self, name), f"{self.name}.{name}")
        if self.schedule == "warmup_cosine" and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"{self.name}.warmup_epochs={self.warmup_epochs} leaves none of the {self.epochs} epochs for the "
                "cosine; lower it, or raise the epochs."
            )
        number(above=0, below=1, usual=0.1)(self.reduce_factor, f"{self.name}.reduce_factor")
        number(above=0, usual=1, null="for none")(self.clip_norm, f"{self.name}.clip_norm")
        number(above=0, below=1, usual=0.999, null="for none")(self.ema, f"{self.name}.ema")
        number(above=0, at_most=1, usual=0.75, null="for none")(self.layer_decay, f"{self.name}.layer_decay")
        deciders: dict[str, Registry[Any]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
        needs = {
            name: (decider, registry.using(name))
            for decider, registry in deciders.items()
            for entry in registry.values()
            for name in entry.parameters
        }
        defaults = {entry.name: entry.default for entry in fields(self)}
        refuse_idle(self.to_dict(), defaults, self.name, needs)


@checked
@dataclass(frozen=True)
class ThresholdRule:
    """How the operating point is chosen on the validation part.

    Attributes:
        rule: A rule of `evaluation.thresholds.RULES`, such as "sensitivity", "youden" or "fixed".
        target: What the rule aims at, in the rule's own unit: a sensitivity or specificity to reach, in (0, 1]; what a
            missed positive costs in false alarms, above 0, such as 10; a threshold probability, in (0, 1); the fixed
            threshold, in [0, 1]. None for a rule without one.
        abstain_share: Leaves open the images nearest to the threshold, at most such a share of validation, in (0, 1);
            None calls every image.
        abstain_accuracy: Leaves open as few images as it takes for the other calls to be right in such a share of
            validation, in (0, 1]; None calls every image. See `evaluation.clinical_use.abstention.choose_band`.
    """

    rule: str = "sensitivity"
    target: float | None = 0.8
    abstain_share: float | None = None
    abstain_accuracy: float | None = None

    def __post_init__(self) -> None:
        check_rule(self.rule, self.target)
        check_abstention(self.abstain_share, self.abstain_accuracy)


@checked
@dataclass(frozen=True)
class Recipe(Described):
    """A training recipe.

    Attributes:
        name: For people.
        targets: Findings in output order.
        image_size: Side of the model's input, pixels.
        backbone: A name in `models.backbones.BACKBONES`, or one added by `models.register_backbone`.
        weights: "imagenet", a name in `models.weights.sources.WEIGHTS` such as "xrv-all", a weights file, a JSON
            description of weights (`models.weights.sources.read_source`), or None for an untrained base; "given" where
            a backbone of one's own was given to `train` with its weights.
        weights_file: The file of weights that `weights` names or describes; None where `weights` is the file itself,
            or where Keras loads them.
        head: A name in `models.heads.HEADS`. Backbone, head and loss are "given" where `train` was given Keras objects.
        clahe: Limit of the contrast-limited equalisation that the model begins with, 1 to 256 (usual is 2); None leaves
            images as they are. See `models.clahe`.
        exposure: How the model brings every image to one gray scale first, a name in
            `models.exposure.entries.EXPOSURES`, such as "standardise"; None leaves the gray values as they are.
        smoothing: Standard deviation of a low-pass that every image goes through before that, pixels of the model's
            input, above 0 to 10; None for none.
        loss: The loss.
        stages: Run one after the other.
        batch_size: Images a step.
        augment: Random changes to training images.
        precision: "auto", "float32", "mixed_float16" or "mixed_bfloat16".
        gradient_checkpointing: Whether training keeps few of the values inside the network and computes the others once
            more for their gradients: the same results with less memory, in about a third more time.
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
    weights_file: str | None = None
    head: str = "three_layer"
    clahe: float | None = None
    exposure: str | None = None
    smoothing: float | None = None
    loss: Loss = field(default_factory=Loss)
    stages: tuple[Stage, ...] = (
        Stage("stage1", epochs=10, learning_rate=1e-3, trainable=0.0, patience=4),
        Stage("stage2", epochs=10, learning_rate=1e-5, trainable=0.2, patience=4),
    )
    batch_size: int = 32
    augment: Augmentation = field(default_factory=Augmentation)
    precision: str = "auto"
    gradient_checkpointing: bool = False
    monitor: str = "val_auroc"
    up_sample: tuple[tuple[str, int], ...] = ()
    balanced_batches: tuple[str, ...] = ()
    keep_epochs: int = 1
    operating_point: ThresholdRule = field(default_factory=ThresholdRule)
    seed: int = 0

    def __post_init__(self) -> None:
        text(self.name, "name", "own")
        self._check_parts()
        self._check_weights()
        object.__setattr__(self, "targets", _findings(self.targets, "targets"))
        backbone = BACKBONES.find(self.backbone, "backbone")
        head, loss = HEADS.find(self.head, "head"), LOSSES[self.loss.name]
        one_of(self.precision, PRECISIONS, "precision")
        if not isinstance(self.gradient_checkpointing, bool):
            raise ValueError(f"gradient_checkpointing={self.gradient_checkpointing!r} must be true or false.")
        one_of(self.monitor, MONITORS, "monitor")
        if positive_int(self.image_size, "image_size") > _LARGEST_IMAGE:
            raise ValueError(
                f"image_size={self.image_size} is above {_LARGEST_IMAGE}; images have some 2000 to 4000 px."
            )
        backbone.check_size(self.image_size)
        positive_int(self.batch_size, "batch_size")
        positive_int(self.keep_epochs, "keep_epochs")
        check_clahe(self.clahe, "clahe")
        check_exposure(self.exposure, "exposure")
        check_smoothing(self.smoothing, "smoothing")
        if head.three_way != loss.three_way:
            heads, names = ([name for name, each in kind.items() if each.three_way] for kind in (HEADS, LOSSES))
            raise ValueError(
                f"head={self.head!r} and loss.name={self.loss.name!r} do not go together: a head with a third class "
                f"({', '.join(heads)}) is trained by a loss that has one ({', '.join(names)}), and no other head is; "
                "set both or neither."
            )
        if not self.stages and not self.trained_elsewhere:
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

    def _check_parts(self) -> None:
        """Checks that what a recipe is put together from is of its classes; a loss may be given by its name."""
        if isinstance(self.loss, str):
            object.__setattr__(self, "loss", Loss(self.loss))
        for name, (kind, example) in _PARTS.items():
            part = getattr(self, name)
            if not isinstance(part, kind):
                expected = f"expected {with_article(kind.__name__)}, such as {example}."
                raise ValueError(f"{name} is {came(part)}; {expected}{_of_keras(part)}")
        stages = self.stages
        if isinstance(stages, (str, bytes)) or not isinstance(stages, Iterable):
            raise ValueError(f"stages is {came(stages)}; expected several Stage, such as {_STAGE}.")
        object.__setattr__(self, "stages", tuple(stages))
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise ValueError(f"stages holds {came(stage)}; expected Stage, such as {_STAGE}.")

    def _check_weights(self) -> None:
        for name in ("weights", "weights_file"):
            value = getattr(self, name)
            value = os.fspath(value) if isinstance(value, os.PathLike) else value
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise ValueError(
                    f"{name}={value!r} must be 'imagenet', a weights file, or null for an untrained base; 'chexkeras "
                    "weights' lists others with a name."
                    if name == "weights"
                    else f"weights_file={value!r} must be the file of the weights, or null."
                )
            object.__setattr__(self, name, value)
        if self.weights_file is not None and self.weights in (None, GIVEN):
            raise ValueError(
                f"weights_file={self.weights_file!r} is the file of weights that are named, and "
                f"weights={self.weights!r} names none; give weights=FILE alone, or name whose they are."
            )
        source = WEIGHTS.get(self.weights) if self.weights is not None else None
        if source is not None and source.backbones and self.backbone not in source.backbones:
            raise ValueError(
                f"weights={source.name!r} are of {' or '.join(source.backbones)}, and backbone={self.backbone!r}; set "
                "one or the other."
            )

    def _check_balance(self) -> None:
        given = self.balanced_batches
        is_empty = isinstance(given, (tuple, list)) and not given
        balanced = () if is_empty else _findings(given, "balanced_batches")
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

    @property
    def trained_elsewhere(self) -> bool:
        """Whether the model was given as it is (`Run.from_model`) and no stage of this recipe trained it."""
        return not self.stages and {self.backbone, self.head, self.loss.name, self.weights} == {GIVEN}

    @property
    def three_way(self) -> bool:
        """Whether "uncertain" is learnt as a third class."""
        return LOSSES[self.loss.name].three_way

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
        return asdict(self) | {"loss": self.loss.to_dict(), "augment": self.augment.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Recipe":
        """Rebuilds a recipe.

        Args:
            data: From `to_dict`, or what JSON makes of it; fields that were added later may be missing.

        Raises:
            ValueError: If a value is refused.
            KeyError: If a field is missing that every recipe has had.
            TypeError: If there is an unknown field.
        """
        lacking = [name for name in ("loss", "stages", "augment", "operating_point") if name not in data]
        if lacking:
            raise KeyError(f"the recipe lacks {', '.join(lacking)}; Recipe.to_dict writes them.")
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
        """Writes the recipe as JSON.

        Args:
            path: File to write.

        Returns:
            The path.
        """
        return files.write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Reads a recipe written by `save`.

        Args:
            path: The file.

        Raises:
            ValueError: If the file is not a recipe, or names a backbone or loss that is not registered here.
        """
        data = files.read_json(path)
        try:
            return cls.from_dict(data)
        except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
            name = Path(path).name
            raise ValueError(
                f"{name} is not a recipe ({error!s:.200}); make one with Recipe(...).save(path)."
            ) from error


_STAGE = 'Stage("stage1", epochs=10, learning_rate=1e-3)'
_PARTS: dict[str, tuple[type, str]] = {
    "loss": (Loss, 'Loss("focal", gamma=2.0) or the name of a loss'),
    "augment": (Augmentation, "Augmentation(flip=True)"),
    "operating_point": (ThresholdRule, 'ThresholdRule("sensitivity", 0.9)'),
}


def _of_keras(part: Any) -> str:
    """Returns what to do with an object of Keras, which no recipe can hold, or ""."""
    is_keras = any(kind.__module__.split(".")[0] == "keras" for kind in type(part).__mro__)
    return " A recipe is plain values; Keras objects are given to cx.train(...)." if is_keras else ""


def _findings(values: Any, name: str) -> tuple[str, ...]:
    if not isinstance(values, Iterable) or is_table(values) or getattr(values, "ndim", 1) != 1:
        raise ValueError(f"{name}={shown(values)} must be a finding or a list of them, such as Mass or Mass,Edema.")
    return label_names(values)
