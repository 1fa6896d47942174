"""Optimizers and learning-rate schedules by name, with the fields of a stage that they use and their words.

To add one, add an entry to `OPTIMIZERS` or `SCHEDULES`. Keras is imported only where they are made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chexkeras.models.registry import Registry

Settings = Mapping[str, Any]
"""A stage's fields by name, as `Stage.to_dict` gives them."""


@dataclass(frozen=True)
class OptimizerEntry:
    """One way of changing the weights.

    Attributes:
        name: How recipes name it.
        keras_name: Its class in `keras.optimizers`.
        words: What reports call it.
        options: Takes a stage's settings and returns the class' own arguments.
        parameters: Fields of a stage that it uses and others do not.
    """

    name: str
    keras_name: str
    words: str
    options: Callable[[Settings], dict[str, Any]] = lambda _: {}
    parameters: tuple[str, ...] = ()


OPTIMIZERS: Registry[OptimizerEntry] = Registry(
    "optimizer",
    (
        OptimizerEntry("adam", "Adam", "Adam"),
        OptimizerEntry(
            "adamw",
            "AdamW",
            "AdamW",
            lambda stage: {"weight_decay": stage["weight_decay"]},
            ("weight_decay",),
        ),
        OptimizerEntry(
            "sgd",
            "SGD",
            "SGD with momentum",
            lambda stage: {"momentum": 0.9, "weight_decay": stage["weight_decay"] or None},
            ("weight_decay",),
        ),
    ),
)


@dataclass(frozen=True)
class ScheduleEntry:
    """How the learning rate moves during a stage.

    Attributes:
        name: How recipes name it.
        words: What reports say of it, with the stage's settings in braces; "" where nothing moves.
        steps: Takes a stage's settings and the steps of an epoch, and returns what Keras takes for a learning rate;
            None where the rate is set from epoch to epoch.
        on_plateau: Whether it falls when the monitored value has not improved for some epochs.
        parameters: Fields of a stage that it uses and others do not.
    """

    name: str
    words: str = ""
    steps: Callable[[Settings, int], Any] | None = None
    on_plateau: bool = False
    parameters: tuple[str, ...] = ()


def _cosine(stage: Settings, steps: int, warmup_epochs: int = 0) -> Any:
    """Returns a cosine over the steps of the stage, where asked for after a linear warm-up from 0."""
    from keras.optimizers.schedules import CosineDecay

    warm = steps * warmup_epochs
    rest = max(steps * stage["epochs"] - warm, 1)
    if not warm:
        return CosineDecay(stage["learning_rate"], rest)
    return CosineDecay(0.0, rest, warmup_target=stage["learning_rate"], warmup_steps=warm)


SCHEDULES: Registry[ScheduleEntry] = Registry(
    "schedule",
    (
        ScheduleEntry("constant"),
        ScheduleEntry("cosine", "learning rate falling to none along a cosine", _cosine),
        ScheduleEntry(
            "warmup_cosine",
            "learning rate rising for {warmup_epochs}, then falling along a cosine",
            lambda stage, steps: _cosine(stage, steps, stage["warmup_epochs"]),
            parameters=("warmup_epochs",),
        ),
        ScheduleEntry(
            "reduce_on_plateau",
            "learning rate times {reduce_factor} after {reduce_patience} without a better value",
            on_plateau=True,
            parameters=("reduce_factor", "reduce_patience"),
        ),
    ),
)


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def optimizer_words(stage: Settings, text: Callable[[Any], str] = "{:g}".format) -> str:
    """Returns how a stage's weights are changed, with what differs from plain descent.

    Args:
        stage: The stage's settings; what is missing has its default.
        text: How a number is printed.

    Example:
        >>> optimizer_words({"optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "clip_norm": None})
        'AdamW, weight decay 0.01, learning rate falling to none along a cosine'
    """
    name, schedule = str(stage.get("optimizer", "adam")), SCHEDULES.get(str(stage.get("schedule", "constant")))
    parts = [OPTIMIZERS[name].words if name in OPTIMIZERS else name]
    if stage.get("weight_decay"):
        parts.append(f"weight decay {text(stage['weight_decay'])}")
    if schedule is not None and schedule.words:
        used = {name: text(stage[name]) if name == "reduce_factor" else _epochs(stage[name])
                for name in schedule.parameters}  # fmt: skip
        parts.append(schedule.words.format(**used))
    if stage.get("clip_norm"):
        parts.append(f"gradients clipped to a norm of {text(stage['clip_norm'])}")
    if (stage.get("accumulate") or 1) > 1:
        parts.append(f"gradients averaged over {stage['accumulate']} batches")
    if stage.get("layer_decay"):
        parts.append(f"learning rate times {text(stage['layer_decay'])} from block to block towards the input")
    if stage.get("ema"):
        parts.append(f"moving average of the weights with momentum {text(stage['ema'])}")
    return ", ".join(parts)
