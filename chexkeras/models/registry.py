"""Registries: the one place where each choice of a recipe is declared, with its parameters and its words.

Nothing here needs Keras, so that a recipe is checked, explained and reported before anything heavy starts.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from chexkeras.arguments import checked
from chexkeras.checks import nearest


class Named(Protocol):
    """An entry of a registry: anything with a name."""

    @property
    def name(self) -> str:
        """How recipes name it."""


Entry = TypeVar("Entry", bound=Named)

GIVEN = "given"
"""What a recipe names where a Keras object was given instead of a name; the run's provenance says which one."""


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Entries by name, in the order they were declared.

    Args:
        kind: What the entries are, for messages: "loss".
        entries: Those that chexkeras brings along.
        register: Name of the function by which users add their own; "" where they cannot.
        given: What stands for `GIVEN`: found by that name, and listed nowhere; None where no object can be given.
    """

    def __init__(self, kind: str, entries: tuple[Entry, ...], register: str = "", given: Entry | None = None) -> None:
        self.kind = kind
        self._given = given
        self._entries = {entry.name: entry for entry in entries}
        self._built_in = frozenset(self._entries)
        self._register = register

    def __getitem__(self, name: str) -> Entry:
        if name == GIVEN and self._given is not None:
            return self._given
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str, field: str) -> Entry:
        """Returns the entry of a name.

        Args:
            name: What the caller gave.
            field: The argument's name, for the message: "loss.name".

        Raises:
            ValueError: If there is none of that name; the message gives the nearest, and how to add one.
        """
        if not isinstance(name, str) or name not in self:
            own = (
                f" A {self.kind} of your own has to be registered before a recipe that names it is made or loaded: "
                f"call chexkeras.models.{self._register}(...) first."
                if self._register
                else ""
            )
            raise ValueError(
                # What to do comes first: of a run's file, a long message is cut.
                f"{field}={name!r}: unknown {self.kind}; {nearest(str(name), self)}{own} Expected one of: "
                f"{', '.join(self)}."
            )
        return self[name]

    def add(self, entry: Entry) -> None:
        """Adds a user's entry, or replaces one that was added before, as a notebook does when a cell is run again.

        Args:
            entry: The entry.

        Raises:
            ValueError: If its name is no word of letters, digits and underscores, or belongs to a built-in entry.
        """
        if not isinstance(entry.name, str) or not entry.name.isidentifier():
            raise ValueError(f"name={entry.name!r} must be one word of letters, digits and underscores.")
        if entry.name in self._built_in or entry.name == GIVEN:
            raise ValueError(f"the {self.kind} {entry.name!r} is built in and stays as it is; choose another name.")
        self._entries[entry.name] = entry

    def using(self, parameter: str) -> tuple[str, ...]:
        """Returns the names of the entries that use a parameter.

        Args:
            parameter: Its name; entries declare theirs in `parameters`, as names or as `Parameter`.
        """
        return tuple(
            name
            for name, entry in self._entries.items()
            if parameter in (getattr(used, "name", used) for used in getattr(entry, "parameters", ()))
        )


@checked
@dataclass(frozen=True)
class Parameter:
    """A number that belongs to an entry of a registry.

    Attributes:
        name: Its name in a recipe.
        default: Its value where a recipe does not name it; None means "without".
        check: Takes a value and the name to call it in a message; raises a ValueError for a value it refuses.
        doc: What it means, its range and unit, one sentence.
        per_target: Whether the loss itself, outside of a recipe, also takes one value for each target.
    """

    name: str
    default: Any
    check: Callable[[Any, str], None]
    doc: str
    per_target: bool = False


def is_number(value: Any) -> bool:
    """Returns whether a value is a finite number: true and false are none, nor is a number written as text."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@checked
def number(
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    usual: float | None = None,
    null: str = "",
) -> Callable[[Any, str], None]:
    """Returns a check for a number in a range.

    Args:
        above: It must be larger than this; None sets no such bound.
        at_least: It must be at least this; None sets no such bound.
        below: It must be smaller than this; None sets no such bound.
        at_most: It must be at most this; None sets no such bound.
        usual: A value to try, for the message; None names none.
        null: What None stands for, such as "for no limit"; "" refuses None.

    Returns:
        A function of a value and its name, which raises a ValueError for anything else.

    Example:
        >>> number(above=0, at_most=1, usual=1)(0.0, "loss.margin")
        Traceback (most recent call last):
        ValueError: loss.margin=0.0 must be a number above 0 and at most 1; usual is 1.
    """
    if (above, below) == (0, 1):
        wanted = "strictly between 0 and 1"
    elif at_least is not None and at_most is not None:
        wanted = f"from {at_least:g} to {at_most:g}"
    else:
        bounds = (("above", above), ("of at least", at_least), ("below", below), ("at most", at_most))
        wanted = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    hint = (f"; usual is {usual:g}" if usual is not None else "") + (f", or null {null}" if null else "")

    def check(value: Any, name: str) -> None:
        if value is None and null:
            return
        if (
            not is_number(value)
            or (above is not None and value <= above)
            or (at_least is not None and value < at_least)
            or (below is not None and value >= below)
            or (at_most is not None and value > at_most)
        ):
            raise ValueError(f"{name}={value!r} must be a number {wanted}{hint}.")

    return check
