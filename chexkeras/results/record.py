"""Frozen results as JSON: their fields as plain values, and back."""

import dataclasses
import math
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from chexkeras import files


class Record:
    """A frozen dataclass that is written as JSON and read again.

    Fields may be plain values, other records, tuples of these, or None. JSON has no NaN, so a null becomes NaN again in
    the fields that a class names with ``nan``: ``class Estimate(Record, nan=("value", "low", "high"))``.
    """

    _nan: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, nan: tuple[str, ...] = ()) -> None:
        super().__init_subclass__()
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
        """
        kinds = _kinds(cls)  # type: ignore[arg-type]
        lacking = [name for name in _required(cls) if name not in data]  # type: ignore[arg-type]
        if lacking:
            raise KeyError(*lacking)
        fields = {name: _rebuilt(kinds.get(name), value) for name, value in data.items()}
        return cls(**fields | {name: math.nan for name in cls._nan if fields.get(name, 0) is None})

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


def _rebuilt(kind: Any, value: Any) -> Any:
    """Returns a plain value as the annotation of its field has it."""
    if value is None:
        return None
    if isinstance(kind, UnionType):
        return _rebuilt(next((each for each in get_args(kind) if _is_record(each)), None), value)
    if _is_record(kind):
        return kind.from_dict(value)
    if get_origin(kind) is tuple:
        of = get_args(kind)
        kinds = of[:1] * len(value) if of[-1] is Ellipsis else of
        return tuple(_rebuilt(each, entry) for each, entry in zip(kinds, value, strict=True))
    return value


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)
