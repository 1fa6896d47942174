"""Where a preset comes from: facts about the system it follows, kept beside its recipe as data."""

import itertools
import json
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from chexkeras.checks import one_of, probability
from chexkeras.plain import Described
from chexkeras.recipes.recipe import Loss, Recipe, Stage

Value = TypeVar("Value")

SPLITS = ("image", "patient", "official")
"""How a source may have divided its images; each has its function in `data.splits.splitters`."""


@dataclass(frozen=True)
class Claim:
    """A result that a source states about itself.

    Attributes:
        metric: What was measured, for example "mean AUROC".
        low: The stated value; with `high`, the lowest of a stated range.
        on: Which images it was measured on, and how these were kept apart from the training images.
        high: The highest of a stated range; None where one value is stated.
        by_finding: (finding, value) where the source states them and `low` is their mean.
    """

    metric: str
    low: float
    on: str
    high: float | None = None
    by_finding: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        """Returns one sentence."""
        value = f"{self.low:g}" if self.high is None else f"between {self.low:g} and {self.high:g}"
        return f"{self.metric} {value} on {self.on}"


@dataclass(frozen=True)
class ChexpertReading:
    """Which of CheXpert's images a source took, and what it made of their labels.

    Attributes:
        views: "frontal" images or "all".
        uncertain: What became of uncertain labels, one policy for all findings, or (finding, policy) of each: "ignore",
            "zeros", "ones", "multiclass" or "self_trained".
        blank: What a label left blank was taken for: "negative" or "unknown".
    """

    views: str = "frontal"
    uncertain: str | tuple[tuple[str, str], ...] = "ignore"
    blank: str = "negative"

    @property
    def options(self) -> dict[str, Any]:
        """What `load_chexpert` is given for it, by the name of the argument."""
        uncertain = self.uncertain if isinstance(self.uncertain, str) else dict(self.uncertain)
        return {"views": self.views, "uncertain": uncertain, "blank": self.blank}

    def __str__(self) -> str:
        """Returns the call that reads CheXpert so.

        Example:
            >>> print(ChexpertReading(uncertain="ones"))
            load_chexpert(root, views="frontal", uncertain="ones", blank="negative")
        """
        given = ", ".join(f"{name}={json.dumps(value)}" for name, value in self.options.items())
        return f"load_chexpert(root, {given})"


@dataclass(frozen=True)
class Source(Described):
    """The system that a preset follows.

    Attributes:
        system: What it is, one sentence.
        where: Where the facts are from.
        data: Which images and labels it used.
        split: How it divided its images: "image" (leaky), "patient" or "official"; None where it does not say.
        protocol: The same in a sentence, with its numbers.
        reading: How it read CheXpert; None where it used other images.
        validation: Share of the images for validation; of those that are not in the official test part, where that was
            held out. None where it does not say.
        test: Share of the images for test; None where it does not say, or the official test part was held out.
        official_test: Whether a split by image left the official test list alone, as one by its parts always does.
        claims: What it says it reached; empty where it says nothing.
        chosen: What it does not state, and what was chosen here.
        differs: What it states and is done otherwise here, and why.
    """

    system: str
    where: str
    data: str
    split: str | None
    protocol: str
    reading: ChexpertReading | None = None
    validation: float | None = None
    test: float | None = None
    official_test: bool = False
    claims: tuple[Claim, ...] = ()
    chosen: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.split is not None:
            one_of(self.split, SPLITS, "split")
        for name in ("validation", "test"):
            share = getattr(self, name)
            if share is not None:
                probability(share, name, open_interval=True)

    @property
    def leaky(self) -> bool:
        """Whether images of one patient were in several parts."""
        return self.split == "image"

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        reading = None if self.reading is None else self.reading.options
        return {**asdict(self), "reading": reading}


UNWEIGHTED = Loss(class_weights="none")
"""Plain cross-entropy, what most sources trained with."""


def all_layers(name: str, epochs: int, learning_rate: float, **settings: Any) -> Stage:
    """Returns a stage that trains all layers and BatchNorm with them, as the frameworks do by default.

    Args:
        name: The stage's name.
        epochs: Most passes over the training images.
        learning_rate: Above 0; with a schedule, its largest value.
        **settings: Further fields of `Stage`.
    """
    return Stage(name, epochs, learning_rate, trainable=1.0, batchnorm="trained", **settings)


def in_order(findings: tuple[str, ...], *values: Value) -> tuple[tuple[str, Value], ...]:
    """Returns values with the findings that they belong to, in order.

    Args:
        findings: The findings.
        *values: One value for each.
    """
    return tuple(zip(findings, values, strict=True))


@dataclass(frozen=True)
class Preset:
    """A recipe with the source of its facts.

    Attributes:
        recipe: The recipe; its name is the preset's.
        source: Where its facts are from.
    """

    recipe: Recipe
    source: Source


def by_name(*groups: tuple[Preset, ...]) -> dict[str, Preset]:
    """Returns presets by the name of their recipe, in the order given.

    Args:
        *groups: Presets of one system or data set each.

    Raises:
        ValueError: If two have the same name.
    """
    found: dict[str, Preset] = {}
    for preset in itertools.chain(*groups):
        if preset.recipe.name in found:
            raise ValueError(f"two presets are called {preset.recipe.name!r}; rename one.")
        found[preset.recipe.name] = preset
    return found
