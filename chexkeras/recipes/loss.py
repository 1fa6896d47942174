"""The loss of a recipe: its name, and the numbers that the registries declare for it."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chexkeras.checks import nearest
from chexkeras.findings import label_names
from chexkeras.models.class_weights import CLASS_WEIGHTS
from chexkeras.models.losses import LOSSES, all_parameters
from chexkeras.models.registry import number

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


class Loss:
    """Which loss, and its numbers, which are read as attributes: ``Loss("focal", gamma=3.0).gamma``.

    A number that the loss does not use has to be left at its default.

    Args:
        name: A name in `models.losses.LOSSES`: "weighted_bce", "focal", "asymmetric", "auc_margin", "three_way" (for
            the head of that name), or one added by `models.register_loss`.
        class_weights: For "weighted_bce", from the training labels, a name in `models.class_weights.CLASS_WEIGHTS`:
            "balanced", "none", "capped" or "effective". The other losses have none.
        label_smoothing: For "weighted_bce" and "focal", in [0, 1).
        target_weights: (finding, how much it counts, above 0) of the targets that do not count 1. The loss is the sum
            over targets divided by their number, so a weight changes one target's share and no other's.
        **numbers: The numbers of the loss and of the rule for its class weights, see below.

    Raises:
        ValueError: If a name is unknown, or a number is out of its range or has no effect.

    Numbers:
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
        label_smoothing: float = 0.0,
        *,
        target_weights: Any = (),
        **numbers: Any,
    ) -> None:
        entry = LOSSES.find(name, "loss.name")
        rule = CLASS_WEIGHTS.find(class_weights, "loss.class_weights")
        # An entry's own come last: numbers of the same name may differ between losses.
        known = all_parameters() | {own.name: own for own in (*rule.parameters, *entry.parameters)}
        given = {"label_smoothing": label_smoothing, **numbers}
        for unknown in given.keys() - known.keys():
            raise ValueError(f"loss.{unknown} is unknown; {nearest(unknown, known)} Numbers: {', '.join(known)}.")
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
        saved = dict.fromkeys((*_ALWAYS_SAVED, *(own.name for own in (*rule.parameters, *entry.parameters))))
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

    def replace(self, **changes: Any) -> "Loss":
        """Returns a copy with other values.

        Args:
            **changes: Arguments of `Loss` and their new values.
        """
        return Loss(**(self.to_dict() | changes))

    def to_dict(self) -> dict[str, Any]:
        """Returns what recipe.json holds: name, numbers and weights as plain values."""
        return {key: getattr(self, key) for key in self._saved}

    @staticmethod
    def takes_null(name: str) -> bool:
        """Returns whether None is a value of a number.

        Args:
            name: Its name.
        """
        parameter = all_parameters().get(name)
        return parameter is not None and parameter.default is None


for _own in all_parameters().values():
    _users = " and ".join(map(repr, (*LOSSES.using(_own.name), *CLASS_WEIGHTS.using(_own.name))))
    Loss.__doc__ = f"{Loss.__doc__}    {_own.name}: For {_users}. {_own.doc} By default {_own.default}.\n    "
