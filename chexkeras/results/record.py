"""Frozen results as JSON: their fields as plain values, and back."""

import dataclasses
import math
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from chexkeras import files, plain
from chexkeras.arguments import checked
from chexkeras.checks import existing_file, typed_path
from chexkeras.plain import Described


@checked
class Record(Described):
    """A frozen dataclass that is written as JSON and read again.

    Fields may be plain values, other records, tuples of these, or None. JSON has no NaN, so a null becomes NaN again in
    the fields that a class names with ``nan``: ``class Estimate(Record, nan=("value", "low", "high"))``.
    """

    _nan: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, nan: tuple[str, ...] = (), **further: Any) -> None:
        super().__init_subclass__(**further)
        cls._nan = nan

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuilds the record from `to_dict`.

        Args:
            data: Its fields; one with a default may be absent, as in a file that an older version wrote.

        Raises:
            KeyError: If a field without a default is absent.
            TypeError: If a field is unknown.
            ValueError: If a field holds a value of another kind than its annotation says, or values are impossible, see
                `refuse_impossible`.
        """
        if not isinstance(data, dict):
            raise ValueError(f"a {cls.__name__} is given as a {type(data).__name__}; its fields by name were expected")
        kinds = _kinds(cls)  # type: ignore[arg-type]
        lacking = [name for name in _required(cls) if name not in data]  # type: ignore[arg-type]
        if lacking:
            raise KeyError(*lacking)
        unknown = sorted(map(str, data.keys() - {field.name for field in dataclasses.fields(cls)}))  # type: ignore[arg-type]
        if unknown:
            raise TypeError(f"{cls.__name__} has no field {unknown[0]!a:.40}")
        fields = {
            name: math.nan if value is None and name in cls._nan else _rebuilt(kinds[name], value, name)
            for name, value in data.items()
        }
        made = cls(**fields)
        made.refuse_impossible()
        return made

    def refuse_impossible(self) -> None:
        """Checks what was read: values of the right kind can still be none that was ever written.

        Raises:
            ValueError: If one is.
        """

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Reads a record that `save` wrote.

        Args:
            path: The JSON file.

        Raises:
            FileNotFoundError: If it is not there.
            ValueError: If it holds something else.
        """
        file = existing_file(typed_path(path, "path"), "path")
        try:
            return cls.from_dict(files.read_json(file))
        except (KeyError, TypeError, ValueError) as error:
            lacks = isinstance(error, KeyError)
            why = f"it lacks {', '.join(map(str, error.args))}" if lacks else str(error).rstrip(".")
            raise ValueError(f"{file.name} holds no {plain.words(cls.__name__).lower()}: {why}.") from error

    def save(self, path: str | Path) -> Path:
        """Writes the record as JSON, every digit kept, and returns the path.

        Args:
            path: The destination.
        """
        return files.write_json(path, self.to_dict())


@cache
def _kinds(record: type[Record]) -> dict[str, Any]:
    return get_type_hints(record)


@cache
def _required(record: type[Record]) -> tuple[str, ...]:
    fields = dataclasses.fields(record)  # type: ignore[arg-type]
    return tuple(
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )


# A sentence, a name or a method; what is longer would fill a page, and a figure the memory.
_LONGEST_TEXT = 2_000
_PLAIN: dict[type, tuple[type, str]] = {
    float: (Real, "a number"), int: (Integral, "a whole number"), str: (str, "text"), bool: (bool, "true or false"),
}  # fmt: skip


def _rebuilt(kind: Any, value: Any, name: str) -> Any:
    """Returns a plain value as the annotation of its field has it.

    Raises:
        ValueError: If it is of another kind.
    """
    if isinstance(kind, UnionType):
        kinds = get_args(kind)
        if value is None and NoneType in kinds:
            return None
        return _rebuilt(next(each for each in kinds if each is not NoneType), value, name)
    if _is_record(kind):
        return kind.from_dict(value)
    origin, of = get_origin(kind), get_args(kind)
    if origin is tuple:
        _refuse_other(value, (list, tuple), "a list", name)
        kinds = of[:1] * len(value) if of[-1] is Ellipsis else of
        if len(kinds) != len(value):
            raise ValueError(f"{name} holds {len(value)} value(s), {len(kinds)} were expected")
        return tuple(_rebuilt(each, entry, name) for each, entry in zip(kinds, value, strict=True))
    if origin is dict:
        _refuse_other(value, dict, "values by name", name)
        return {key: _rebuilt(of[1], entry, name) for key, entry in value.items()}
    if kind in _PLAIN:
        _refuse_other(value, *_PLAIN[kind], name)
        # True is a whole number to Python, and to nobody else.
        if isinstance(value, bool) and kind is not bool:
            raise ValueError(f"{name} is true or false, {_PLAIN[kind][1]} was expected")
        if kind is str and len(value) > _LONGEST_TEXT:
            raise ValueError(f"{name} is a text of {len(value):,} characters, at most {_LONGEST_TEXT:,} were expected")
    return value


def _refuse_other(value: Any, kind: type | tuple[type, ...], words: str, name: str) -> None:
    if not isinstance(value, kind):
        came = "null" if value is None else f"a {type(value).__name__}"
        raise ValueError(f"{name} is {came}, {words} was expected")


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)
