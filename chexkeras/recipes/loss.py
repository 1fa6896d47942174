"""The loss of a recipe: its name, and the numbers that the registries declare for it."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chexkeras.arguments import checked
from chexkeras.checks import nearest
from chexkeras.findings import label_names
from chexkeras.models.class_weights import CLASS_WEIGHTS
from chexkeras.models.losses import LOSSES, declared_numbers
from chexkeras.models.registry import Parameter, is_number, number

# What recipe.json holds of a loss whether it uses it or not, in this order: files written before stay the same.
_ALWAYS_SAVED = (
    "class_weights", "label_smoothing", "gamma", "alpha", "cap", "beta", "gamma_positive", "gamma_negative", "clip",
    "margin",
)  # fmt: skip


def refuse_idle(
    values: dict[str, Any], defaults: dict[str, Any], place: str, needs: dict[str, tuple[str, tuple[str, ...]]]
) -> None:
    """Refuses a field that is not at its default and has no effect: a record must not claim what was not done.

    Args:
        values: Fields and their values.
        defaults: Fields and their defaults.
        place: What the fields belong to, for the message: "loss".
        needs: By field that has an effect only with another one: that one, and its values with which it has.
    """
    idle, restore = [], []
    for name, (decider, allowed) in needs.items():
        if values[name] != defaults[name] and values[decider] not in allowed:
            wanted, chosen = " or ".join(map(repr, allowed)), values[decider]
            idle.append(
                f"{place}.{name}={values[name]!r} needs {place}.{decider}={wanted} and has no effect with {chosen!r}"
            )
            restore.append(f"{place}.{name}={json.dumps(defaults[name])}")
    if idle:
        raise ValueError(f"{', '.join(idle)}; leave it out, or put back what it is by default: {', '.join(restore)}.")


def finding_pairs(values: Any, name: str) -> tuple[tuple[str, Any], ...]:
    """Returns a mapping, or what JSON makes of pairs, as pairs (finding, value), findings in canonical spelling.

    Args:
        values: Mapping from findings to values, or pairs of them.
        name: The field's name, for the message.

    Raises:
        ValueError: If it is neither, or a finding is unknown.
    """
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


def _declaration(value: Any, declared: Mapping[Parameter, Any]) -> Parameter:
    """Returns which declaration of a number without effect a value belongs to: that whose default it is, or the first.

    Recipes save some numbers whether or not they are used; what one loss saved as its default is none of another's.
    """
    comparable = value is None or is_number(value)
    return next((own for own in declared if comparable and own.default == value), next(iter(declared)))


class Loss:
    """Which loss, and its numbers, which are read as attributes: ``Loss("focal", gamma=3.0).gamma``.

    What a number means, its default and its range are those of the chosen loss, or of the chosen rule for class
    weights. A number that neither uses has to be left at a default.

    Args:
        name: A name in `models.losses.LOSSES`, or one added by `models.register_loss`. A loss with a third class takes
            a head with one.
        class_weights: For a loss that weighs positives and negatives, from the training labels: a name in
            `models.class_weights.CLASS_WEIGHTS`. The other losses have none.
        label_smoothing: For a loss that has this number, in [0, 1); None takes the loss's default.
        target_weights: (finding, how much it counts, above 0) of the targets that do not count 1. The loss is the sum
            over targets divided by their number, so a weight changes one target's share and no other's.
        **numbers: The numbers of the loss and of the rule for its class weights, see below.

    Raises:
        ValueError: If a name is unknown, or a number is out of its range or has no effect.

    """

    name: str
    class_weights: str
    target_weights: tuple[tuple[str, float], ...]
    _saved: tuple[str, ...]

    if TYPE_CHECKING:
        # The numbers, whose names the registries declare.
        def __getattr__(self, name: str) -> Any: ...

    def __init__(
        self,
        name: str = "weighted_bce",
        class_weights: str = "balanced",
        label_smoothing: float | None = None,
        *,
        target_weights: Any = (),
        **numbers: Any,
    ) -> None:
        entry = LOSSES.find(name, "loss.name")
        rule = CLASS_WEIGHTS.find(class_weights, "loss.class_weights")
        declared = declared_numbers()
        given = numbers if label_smoothing is None else {"label_smoothing": label_smoothing, **numbers}
        for unknown in given.keys() - declared.keys():
            raise ValueError(f"loss.{unknown} is unknown; {nearest(unknown, declared)} Numbers: {', '.join(declared)}.")
        used = {own.name: own for own in (*rule.parameters, *entry.parameters)}
        known = {key: used.get(key) or _declaration(given.get(key), each) for key, each in declared.items()}
        values = {own.name: given.get(own.name, own.default) for own in known.values()}
        for own in known.values():
            own.check(values[own.name], f"loss.{own.name}")
        weights = finding_pairs(target_weights, "loss.target_weights")
        for finding, weight in weights:
            number(above=0, usual=1)(weight, f"loss.target_weights: the weight of {finding}")
        values = {"name": name, "class_weights": class_weights, **values, "target_weights": weights}
        weighing = tuple(key for key, each in LOSSES.items() if each.class_weights)
        # "none" is what every other loss has.
        needs = {"class_weights": ("name", weighing)} if class_weights != "none" else {}
        needs |= {own: ("class_weights", CLASS_WEIGHTS.using(own)) for own in known if CLASS_WEIGHTS.using(own)}
        needs |= {own: ("name", LOSSES.using(own)) for own in known if LOSSES.using(own)}
        defaults = {"class_weights": "balanced", **{own.name: own.default for own in known.values()}}
        refuse_idle(values, defaults, "loss", needs)
        saved = dict.fromkeys((*_ALWAYS_SAVED, *used))
        self.__dict__.update(values, _saved=("name", *saved, "target_weights"))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a loss does not change; make another with loss.replace({name}={value!r}).")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loss) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.to_dict().items()))

    def __repr__(self) -> str:
        return f"Loss({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers that this loss uses, by name; those of class weights are left out."""
        return {own.name: getattr(self, own.name) for own in LOSSES[self.name].parameters}

    @property
    def rule_numbers(self) -> dict[str, Any]:
        """The numbers that the rule for class weights uses, by name."""
        return {own.name: getattr(self, own.name) for own in CLASS_WEIGHTS[self.class_weights].parameters}

    @checked
    def replace(self, **changes: Any) -> "Loss":
        """Returns a copy with other values; numbers at their defaults take those of another loss or rule.

        Args:
            **changes: Arguments of `Loss` and their new values.
        """
        used = (*CLASS_WEIGHTS[self.class_weights].parameters, *LOSSES[self.name].parameters)
        chosen = {own.name: value for own in used if (value := getattr(self, own.name)) != own.default}
        kept = {key: getattr(self, key) for key in ("name", "class_weights", "target_weights")}
        return Loss(**(kept | chosen | changes))

    def to_dict(self) -> dict[str, Any]:
        """Returns what recipe.json holds: name, numbers and weights as plain values."""
        return {key: getattr(self, key) for key in self._saved}

    @staticmethod
    @checked
    def takes_null(name: str) -> bool:
        """Returns whether None is a value of a number.

        Args:
            name: Its name.
        """
        return any(own.default is None for own in declared_numbers().get(name, ()))


def _listed(title: str, entries: Mapping[str, str]) -> str:
    return f"{title}:\n" + "".join(f"        {key}: {text}\n" for key, text in entries.items()) + "\n    "


Loss.__doc__ = (Loss.__doc__ or "") + "".join(
    _listed(title, entries)
    for title, entries in {
        "Losses": {key: each.words for key, each in LOSSES.items()},
        "Class weights": {key: rule.doc for key, rule in CLASS_WEIGHTS.items()},
        "Numbers": {
            name: " ".join(
                f"For {' and '.join(map(repr, users))}. {own.doc} By default {own.default}."
                for own, users in declarations.items()
            )
            for name, declarations in declared_numbers().items()
        },
    }.items()
)
