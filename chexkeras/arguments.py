"""Arguments of public functions and classes, checked against their annotations before anything is done.

`checked` is put on every public function and class. It reads what is written there already, the annotations and the
docstring: an argument of another kind, an unknown or a missing one gets a sentence that says what came, what was
expected and what the parameter is for. Which values are allowed is for the function itself to say; see `checks`.
"""

import ast
import collections.abc
import dataclasses
import functools
import inspect
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike

from chexkeras.checks import came, is_short, is_table, nearest, said, shown, with_article

Public = TypeVar("Public")


class WrongArgument(TypeError, ValueError):
    """An argument of a kind that a function does not take, an unknown one, or one that is missing."""


@overload
def checked(public: Public, /) -> Public: ...


@overload
def checked(*, fields: bool) -> Callable[[Public], Public]: ...


def checked(public: Any = None, /, *, fields: bool = False) -> Any:
    """Checks the arguments of a public function, or of a public class and its public methods, at every call.

    Methods that stand in for those of a base class outside this package are left alone.

    Args:
        public: The function or class. A class is changed in place.
        fields: Of a dataclass: whether its fields are checked too. By default their names alone are: a field's
            annotation says what is stored, which may be less than what is taken.

    Returns:
        The function with its check, or the class itself.

    Example:
        >>> @checked
        ... def halve(number: float) -> float:
        ...     '''Halves.
        ...
        ...     Args:
        ...         number: What is halved.
        ...     '''
        ...     return number / 2
        >>> halve("1")
        Traceback (most recent call last):
        chexkeras.arguments.WrongArgument: halve: number='1' must be a number, not text. number: What is halved.
    """
    if public is None:
        return functools.partial(_checked_class, fields=fields)
    return _checked_class(public, fields) if isinstance(public, type) else _checked_function(public)


def _checked_class(public: type, fields: bool) -> type:
    is_stored = dataclasses.is_dataclass(public) and not fields
    for name, member in list(vars(public).items()):
        if (name.startswith("_") and name not in ("__getitem__", "__init__")) or _is_inherited(public, name):
            continue
        if isinstance(member, classmethod):
            setattr(public, name, classmethod(_checked_function(member.__func__, public)))
        elif isinstance(member, staticmethod):
            setattr(public, name, staticmethod(_checked_function(member.__func__, public)))
        elif inspect.isfunction(member):
            setattr(public, name, _checked_function(member, public, names_only=is_stored and name == "__init__"))
    return public


def _is_inherited(public: type, name: str) -> bool:
    bases = (base for base in public.__mro__[1:] if base.__module__.split(".")[0] != "chexkeras")
    return name != "__init__" and any(name in vars(base) for base in bases)


def _checked_function(
    function: Callable[..., Any], owner: type | None = None, *, names_only: bool = False
) -> Callable[..., Any]:
    takes: _Arguments | None = None

    @functools.wraps(function)
    def with_check(*given: Any, **named: Any) -> Any:
        nonlocal takes
        # Not when the module is imported, where half of what annotations name is not there yet.
        takes = takes or _Arguments(function, owner, names_only)
        takes.check(given, named)
        return function(*given, **named)

    return with_check


class _Arguments:
    """What a function takes.

    Args:
        function: The function.
        owner: The class whose method it is, or None.
        names_only: Whether any value fits any parameter.
    """

    def __init__(self, function: Callable[..., Any], owner: type | None, names_only: bool) -> None:
        # A class documents the arguments of its constructor, a dataclass its fields.
        self._doc = (owner.__doc__ if owner and function.__name__ == "__init__" else function.__doc__) or ""
        self._name = owner.__name__ if owner and function.__name__ == "__init__" else function.__name__
        if owner and function.__name__ not in ("__init__", "__getitem__"):
            self._name = f"{owner.__name__}.{self._name}"
        parameters = list(inspect.signature(function).parameters.values())
        if owner and parameters and parameters[0].name in ("self", "cls"):
            self._skipped, parameters = 1, parameters[1:]
        else:
            self._skipped = 0
        kinds = {each.name: each.kind for each in parameters}
        names = _Names(function, owner)
        self._takes = {each.name: _ANYTHING if names_only else _kind_of(each.annotation, names) for each in parameters}
        self._defaults = {each.name: each.default for each in parameters}
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self._by_place = [name for name, kind in kinds.items() if kind in by_place]
        self._further = next((name for name, kind in kinds.items() if kind == inspect.Parameter.VAR_POSITIONAL), None)
        self._others = next((name for name, kind in kinds.items() if kind == inspect.Parameter.VAR_KEYWORD), None)
        self._by_name = [
            name for name, kind in kinds.items()
            if kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        ]  # fmt: skip
        self._needed = [
            each.name for each in parameters
            if each.default is each.empty and each.name not in (self._further, self._others)
        ]  # fmt: skip

    def check(self, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Raises a `WrongArgument` where a call does not fit."""
        places = len(given) - self._skipped
        for place in range(places):
            if place < len(self._by_place):
                self._look(self._by_place[place], given[place + self._skipped])
            elif self._further is not None:
                self._look(self._further, given[place + self._skipped])
            else:
                self._refuse_too_many(places)
        for name, value in named.items():
            if name in self._by_name:
                if name in self._by_place[:places]:
                    raise WrongArgument(f"{self._name}: {name} is given twice, by its place and by its name.")
                self._look(name, value)
            elif self._others is not None:
                self._look(self._others, value, name)
            else:
                takes = f" It takes: {', '.join(self._by_name)}." if self._by_name else " It takes none by name."
                raise WrongArgument(f"{self._name} takes no argument {name!r}; {nearest(name, self._by_name)}{takes}")
        for name in self._needed:
            if name not in named and name not in self._by_place[:places]:
                raise WrongArgument(f"{self._name}: {name} is missing.{self._told(name)}")

    def _look(self, name: str, value: Any, given_as: str = "") -> None:
        kind = self._takes[name]
        if kind.fits(value) or value is self._defaults[name]:
            return
        given = given_as or name
        given = f"{given}={shown(value)}" if value is None or is_short(value) else given
        inside = kind.inner(value)
        what = f"but {inside}" if inside else f"not {came(value)}"
        made = "".join(
            f" {_MADE_BY[word]}" for word in dict.fromkeys(re.findall(r"\w+", kind.words)) if word in _MADE_BY
        )
        raise WrongArgument(f"{self._name}: {given} must be {kind.words}, {what}.{self._told(name)}{made}")

    def _refuse_too_many(self, places: int) -> None:
        rest = [name for name in self._by_name if name not in self._by_place]
        by_name = f"; give by name: {', '.join(rest)}" if rest else ""
        raise WrongArgument(
            f"{self._name} takes {len(self._by_place)} argument(s) by their place ({', '.join(self._by_place)}), not "
            f"{places}{by_name}."
        )

    def _told(self, name: str) -> str:
        """Returns what the docstring says of a parameter, as a sentence to end a message with."""
        text = _documented(self._doc).get(name, "")
        return f" {name}: {text}" if text else ""


def _documented(doc: str) -> dict[str, str]:
    """Returns the first sentence of each parameter under "Args:", or of each field under "Attributes:"."""
    found: dict[str, str] = {}
    name = ""
    text = inspect.cleandoc(doc)
    section = text.partition("\nArgs:\n")[2] or text.partition("\nAttributes:\n")[2]
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        if line.startswith("    ") and not line.startswith("     ") and ": " in line:
            name, _, text = line.strip().partition(": ")
            name = name.lstrip("*")
            found[name] = text
        elif name:
            found[name] += f" {line.strip()}"
    sentences = {name: text.strip().partition(". ")[0].rstrip(".") for name, text in found.items()}
    return {name: f"{text}." for name, text in sentences.items() if text}


@dataclasses.dataclass(frozen=True)
class _Accepted:
    """What a parameter takes.

    Attributes:
        fits: Whether a value is of it.
        words: What is expected, in words.
        inner: What of a value that does not fit is wrong inside it, to go on with, or "".
    """

    fits: Callable[[Any], bool]
    words: str
    inner: Callable[[Any], str] = lambda _: ""


_ANYTHING = _Accepted(lambda _: True, "anything")


def _is_number(value: Any) -> bool:
    if isinstance(value, (bool, np.bool_, str, bytes)) or getattr(value, "ndim", 0) != 0:
        return False
    return hasattr(type(value), "__float__") or hasattr(type(value), "__index__")


def _is_whole(value: Any) -> bool:
    return _is_number(value) and hasattr(type(value), "__index__")


def _is_array_like(value: Any) -> bool:
    if isinstance(value, (str, bytes, dict, set, frozenset, os.PathLike, type, types.ModuleType)) or value is None:
        return False
    if isinstance(value, (bool, np.generic)) or _is_number(value) or hasattr(value, "__array__"):
        return True
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not isinstance(value, Mapping)


def _is_list(value: Any) -> bool:
    if isinstance(value, (str, bytes, Mapping, set, frozenset, os.PathLike)) or is_table(value):
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and getattr(value, "ndim", 1) == 1


def _is_iterable(value: Any) -> bool:
    if isinstance(value, (str, bytes, os.PathLike)) or is_table(value) or getattr(value, "ndim", 1) != 1:
        return False
    return isinstance(value, collections.abc.Iterable) or hasattr(value, "__getitem__")


_PLAIN: dict[Any, _Accepted] = {
    Any: _ANYTHING,
    object: _ANYTHING,
    inspect.Parameter.empty: _ANYTHING,
    None: _Accepted(lambda value: value is None, "None"),
    type(None): _Accepted(lambda value: value is None, "None"),
    str: _Accepted(lambda value: isinstance(value, str), "text"),
    bool: _Accepted(lambda value: isinstance(value, (bool, np.bool_)), "True or False"),
    int: _Accepted(_is_whole, "a whole number"),
    float: _Accepted(_is_number, "a number"),
    type(...): _Accepted(lambda value: value is ..., "..."),
    np.ndarray: _Accepted(lambda value: hasattr(value, "__array__"), "an array"),
    bytes: _Accepted(lambda value: isinstance(value, bytes), "bytes"),
    dict: _Accepted(lambda value: isinstance(value, Mapping), "a dict"),
    list: _Accepted(_is_list, "a list"),
    tuple: _Accepted(_is_list, "a list"),
    type: _Accepted(lambda value: isinstance(value, type), "a class"),
}  # fmt: skip
# Of `ArrayLike`, a union itself, which a union with something else takes up.
_ARRAY = frozenset(typing.get_args(ArrayLike))
_ARRAY_KIND = _Accepted(_is_array_like, "an array or a list of numbers")
_LISTS = {list: _is_list, tuple: _is_list, Sequence: _is_list, Iterable: _is_iterable, collections.abc.Collection:
          _is_iterable, set: _is_iterable, frozenset: _is_iterable}  # fmt: skip
_MAPPINGS = (dict, Mapping, collections.abc.MutableMapping)


def _kind_of(annotation: Any, names: "_Names") -> _Accepted:
    """Returns what an annotation lets through; whatever is not understood lets everything through."""
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        annotation = names.meant(annotation)
    if annotation is types.EllipsisType:
        annotation = type(...)
    try:
        if annotation in _PLAIN:
            return _PLAIN[annotation]
    except TypeError:
        return _ANYTHING
    origin, of = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _either(of, names)
    if origin is typing.Literal:
        # Which of them is for the function to say, with the nearest one.
        return _either(tuple({type(each) for each in of}), names)
    if origin is typing.Annotated:
        return _kind_of(of[0], names)
    if origin is np.ndarray:
        return _PLAIN[np.ndarray]
    if origin is collections.abc.Callable or annotation is collections.abc.Callable:
        return _Accepted(callable, "a function")
    if origin is type:
        return _PLAIN[type]
    if origin in _MAPPINGS:
        return _mapping(*(_kind_of(each, names) for each in of))
    if origin in _LISTS:
        return _listed(origin, of, names)
    if isinstance(annotation, type):
        return _of_class(annotation)
    return _ANYTHING


def _either(of: tuple[Any, ...], names: "_Names") -> _Accepted:
    has_array = set(of) >= _ARRAY
    kinds = [_kind_of(each, names) for each in of if not (has_array and each in _ARRAY)]
    if has_array:
        kinds.insert(0, _ARRAY_KIND)
    if any(kind is _ANYTHING for kind in kinds):
        return _ANYTHING
    words = list(dict.fromkeys(kind.words for kind in kinds))
    # A path may be given as text, and nobody wants to read of both.
    if "a path" in words and "text" in words:
        words.remove("text")
    # What holds others is named after the rest, so that what it holds is not taken for what else there may be.
    words.sort(key=lambda each: (each == "None", ", each" in each))

    # A value that begins to fit one of them is told what is wrong inside it.
    def inner(value: Any) -> str:
        return next((found for kind in kinds if (found := kind.inner(value))), "")

    return _Accepted(lambda value: any(kind.fits(value) for kind in kinds), " or ".join(words), inner)


def _mapping(key: _Accepted, value: _Accepted) -> _Accepted:
    def fits(given: Any) -> bool:
        return isinstance(given, Mapping) and all(key.fits(k) and value.fits(v) for k, v in given.items())

    def inner(given: Any) -> str:
        if not isinstance(given, Mapping):
            return ""
        wrong = [k if not key.fits(k) else v for k, v in given.items() if not (key.fits(k) and value.fits(v))]
        return f"holds {said(wrong[0])}" if wrong else ""

    return _Accepted(fits, "a dict" if value is _ANYTHING else f"a dict whose values are each {value.words}", inner)


def _listed(origin: Any, of: tuple[Any, ...], names: "_Names") -> _Accepted:
    is_kind = _LISTS[origin]
    if origin is tuple and of[-1:] != (...,):
        each_of = [_kind_of(each, names) for each in of]

        def fits_pair(value: Any) -> bool:
            # Not a table's column: it is no pair even where it has two rows.
            return is_kind(value) and len(value) == len(each_of) and all(map(_fits, each_of, list(value)))

        return _Accepted(fits_pair, f"{len(of)} values ({', '.join(kind.words for kind in each_of)})")
    each = _kind_of(of[0], names) if of else _ANYTHING

    def fits(value: Any) -> bool:
        return is_kind(value) and all(map(each.fits, _members(value)))

    def inner(value: Any) -> str:
        wrong = [one for one in _members(value) if not each.fits(one)]
        return f"holds {said(wrong[0])}" if wrong else ""

    return _Accepted(fits, "a list" if each is _ANYTHING else f"a list, each {each.words}", inner)


def _members(value: Any) -> Iterable[Any]:
    """Returns what a list holds; nothing of what is numbers throughout, or can be gone through once only."""
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return value
    return value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind in "OUSb" else ()


def _fits(kind: _Accepted, value: Any) -> bool:
    return kind.fits(value)


def _of_class(kind: type) -> _Accepted:
    if issubclass(kind, os.PathLike):
        return _Accepted(lambda value: isinstance(value, os.PathLike), "a path")
    if getattr(kind, "_is_protocol", False):
        return _ANYTHING
    of_pandas = {"DataFrame": "a table (pandas.DataFrame)", "Series": "a column (pandas.Series)"}
    words = of_pandas.get(kind.__name__, with_article(kind.__name__))
    return _Accepted(lambda value: isinstance(value, kind), words)


_MADE_BY = {
    "Recipe": "A Recipe: cx.preset(name), or cx.Recipe(...).",
    "Splits": "Splits: cx.split_by_patient(table, targets) makes them.",
    "Run": "A Run: cx.Run.load(folder) opens one.",
    "Evaluation": "An Evaluation: run.evaluation, or cx.evaluate(scores, points).",
    "OperatingPoint": "An OperatingPoint: cx.choose_threshold(scores) makes one.",
    "Store": "A Store: cx.prepare(table, folder) makes one.",
    "Audit": "An Audit: cx.audit(table) makes one.",
    "Augmentation": "An Augmentation: cx.data.Augmentation(...).",
    "Robustness": "Robustness: run.robustness, or cx.measure_robustness(run, table).",
    "ReaderStudy": "A ReaderStudy: cx.evaluation.read_reader_study(file), or cx.evaluation.ReaderStudy.of(table).",
    "LocalizationStudy": "A LocalizationStudy: cx.evaluation.LocalizationStudy.of(...).",
    "Heatmaps": "Heatmaps: cx.explain(...) makes them.",
    "Answers": "Answers: cx.report.load_answers(file) reads them.",
    "Facts": "Facts: cx.report.collect_facts(run) collects them.",
    "Comparison": "A Comparison: cx.compare(...) makes one.",
    "MrmcResult": "An MrmcResult: cx.evaluation.mrmc(study) makes one.",
}
"""How a user comes by an object of a class that public functions take, by the class's name."""


class _Names(dict[str, Any]):
    """The names that a function's annotations may use, those that are imported for type checkers only included.

    What is imported for type checkers only is not imported here either: until somebody else has imported it, no value
    can be of it.

    Args:
        function: The function.
        owner: The class whose method it is, or None.
    """

    def __init__(self, function: Callable[..., Any], owner: type | None = None) -> None:
        super().__init__({owner.__name__: owner} if owner else {})
        self._module = sys.modules.get(function.__module__)

    def meant(self, annotation: str) -> Any:
        """Returns what an annotation in quotes means; `Any` where that cannot be told."""
        try:
            return eval(annotation, {"__builtins__": {}}, self)
        except Exception:  # noqa: BLE001
            return Any

    def __missing__(self, name: str) -> Any:
        if self._module is not None and hasattr(self._module, name):
            return getattr(self._module, name)
        builtins: Any = __builtins__
        known = builtins if isinstance(builtins, dict) else vars(builtins)
        if name in known:
            return known[name]
        home = _typing_imports(self._module.__file__ or "").get(name) if self._module else None
        if home is None:
            raise KeyError(name)
        module, attribute = home
        return _Later(module) if attribute is None else _later(module, attribute)


@functools.cache
def _typing_imports(file: str) -> dict[str, tuple[str, str | None]]:
    """Returns what a module imports under `if TYPE_CHECKING`: by name its module, and its name there or None."""
    found: dict[str, tuple[str, str | None]] = {}
    if not file.endswith(".py"):
        return found
    with open(file, encoding="utf-8") as source:
        body = ast.parse(source.read()).body
    blocks = (node for node in body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    for node in (each for block in blocks for each in block.body):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: (alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return found


class _Later:
    """A module that may not have been imported.

    Args:
        module: Its name.
    """

    def __init__(self, module: str) -> None:
        self._name = module

    def __getattr__(self, name: str) -> Any:
        return _later(self._name, name)


def _later(module: str, name: str) -> Any:
    """Returns a class that stands for one whose module may not have been imported; or what it is, where it has been."""
    loaded = sys.modules.get(module)
    if loaded is not None and hasattr(loaded, name):
        return getattr(loaded, name)

    class Meta(type):
        def __instancecheck__(cls, value: Any) -> bool:
            real = getattr(sys.modules.get(module), name, None)
            return isinstance(real, type) and isinstance(value, real)

    return Meta(name, (), {})
