"""Pickles read as data: what they would call is noted, and nothing is called, imported or looked up.

A pickle is a program. Python's own reader runs it, and a file of PyTorch that holds a whole model, as torchxrayvision's
do, cannot be read by it without running what the file says. Here its instructions are followed one by one on plain
values: a class or function stays the name that it is, a call a record of what would have been called with what.

Source: Python's documentation of `pickletools`, which lists the instructions and what each leaves on the stack.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

MOST_INSTRUCTIONS = 5_000_000
"""Instructions of one pickle; a DenseNet121 as a whole model has 100,000."""

_CALLED_IN_WEIGHTS = (
    "torch", "torchvision", "torchxrayvision", "collections", "numpy", "copyreg", "copy_reg", "_codecs", "argparse",
    "pathlib",
)  # fmt: skip
_PLAIN_WORDS = """
bool bytearray bytes complex dict float frozenset int list object range set slice str tuple
"""
_PLAIN = frozenset(_PLAIN_WORDS.split())
_NEVER_WORDS = """
os posix nt subprocess sys socket shutil importlib imp runpy ctypes pty code codeop webbrowser pickle _pickle marshal
types inspect builtins __builtin__ operator functools asyncio multiprocessing threading signal tempfile urllib http
requests pip timeit pdb bdb cProfile profile trace commands platform zipimport
"""
_NEVER = frozenset(_NEVER_WORDS.split())
_ENCODE = ("_codecs", "encode")


class UnreadablePickle(Exception):
    """A pickle that is damaged, or names code that weights have no need of.

    Args:
        reason: What stands after "it".
        names_code: Whether it names such code.
    """

    def __init__(self, reason: str, names_code: bool = False) -> None:
        super().__init__(reason)
        self.names_code = names_code


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names.

    Attributes:
        module: The module.
        name: Its name there.
    """

    module: str
    name: str

    def __str__(self) -> str:
        """Returns module and name."""
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class NotedCall:
    """What a pickle would have made by calling something.

    Attributes:
        made_by: What it names.
        arguments: What it would have been called with.
        state: What would have been set on it.
        items: What would have been put into it by key.
    """

    made_by: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


class Mark:
    """Where a group of values begins on the stack."""


def read_pickle(stream: IO[bytes], persistent: Callable[[Any], Any] | None = None) -> Any:
    """Reads one pickle; the stream is left behind it.

    Args:
        stream: Binary stream that can seek.
        persistent: Called with what the pickle names as stored elsewhere; returns what stands for it. None refuses.

    Returns:
        Plain values, `Name` and `NotedCall`.

    Raises:
        UnreadablePickle: If it is damaged, too long, or names code that weights have no need of.
    """
    machine = _Machine(persistent)
    try:
        for number, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
            if number == MOST_INSTRUCTIONS:
                raise UnreadablePickle(f"has more than {MOST_INSTRUCTIONS:,} instructions in one pickle")
            if instruction.name == "STOP":
                return machine.stack.pop()
            machine.follow(instruction.name, argument)
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        UnicodeError,
        OverflowError,
        EOFError,
    ) as error:
        # What a damaged pickle leads to: an unknown instruction, an empty stack, a key that cannot be one.
        raise UnreadablePickle("is damaged: its list of contents ends early or makes no sense") from error
    raise UnreadablePickle("is damaged: its list of contents has no end")


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
    "MARK": Mark,
}
_LITERALS_WORDS = """
INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8
BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT BINFLOAT
"""
_LITERALS = frozenset(_LITERALS_WORDS.split())


class _Machine:
    """The stack and the memory of one pickle."""

    def __init__(self, persistent: Callable[[Any], Any] | None) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.persistent = persistent

    def follow(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in ("PROTO", "FRAME"):
            return
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memory[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memory[len(self.memory)] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memory[argument])
        else:
            handler = getattr(self, f"_{name.lower()}", None)
            if handler is None:
                raise UnreadablePickle(f"uses an instruction ({name}) that no file of PyTorch has")
            handler(argument)

    def _group(self) -> list[Any]:
        """Takes everything above the last mark off the stack, the mark too."""
        at = len(self.stack) - 1
        while not isinstance(self.stack[at], Mark):
            at -= 1
            if at < 0:
                raise IndexError("no mark")
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._group()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._group()))

    def _tuple1(self, _: Any) -> None:
        self.stack.append((self.stack.pop(),))

    def _tuple2(self, _: Any) -> None:
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def _tuple3(self, _: Any) -> None:
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def _list(self, _: Any) -> None:
        self.stack.append(self._group())

    def _frozenset(self, _: Any) -> None:
        self.stack.append(self._group())

    def _dict(self, _: Any) -> None:
        values = self._group()
        self.stack.append(dict(zip(values[::2], values[1::2], strict=True)))

    def _append(self, _: Any) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._group())

    _additems = _appends

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, NotedCall):
            return
        target.extend(values)

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key, value])

    def _setitems(self, _: Any) -> None:
        self._put(self._group())

    def _put(self, values: list[Any]) -> None:
        target = self.stack[-1]
        (target.items if isinstance(target, NotedCall) else target).update(zip(values[::2], values[1::2], strict=True))

    def _global(self, argument: str) -> None:
        self.stack.append(_named(*argument.split(" ", 1)))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(_named(module, name))

    def _reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(_called(function, tuple(arguments)))

    def _newobj(self, _: Any) -> None:
        arguments, made_by = self.stack.pop(), self.stack.pop()
        self.stack.append(NotedCall(_a_name(made_by), tuple(arguments)))

    def _newobj_ex(self, _: Any) -> None:
        _, arguments, made_by = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append(NotedCall(_a_name(made_by), tuple(arguments)))

    def _obj(self, _: Any) -> None:
        made_by, *arguments = self._group()
        self.stack.append(NotedCall(_a_name(made_by), tuple(arguments)))

    def _inst(self, argument: str) -> None:
        self.stack.append(NotedCall(_named(*argument.split(" ", 1)), tuple(self._group())))

    def _build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, NotedCall):
            target.state = state

    def _binpersid(self, _: Any) -> None:
        self._persid(self.stack.pop())

    def _persid(self, identifier: Any) -> None:
        if self.persistent is None:
            raise UnreadablePickle("names values that are stored elsewhere, and is no file of PyTorch")
        self.stack.append(self.persistent(identifier))


def _named(module: Any, name: Any) -> Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError("a name that is no text")
    found = Name(module, name)
    root = module.partition(".")[0]
    if root in _NEVER and not (root in ("builtins", "__builtin__") and name in _PLAIN):
        raise _code(found)
    return found


def _a_name(value: Any) -> Name:
    if not isinstance(value, Name):
        raise TypeError("an object of nothing that was named")
    return value


def _called(function: Any, arguments: tuple[Any, ...]) -> Any:
    """Returns what stands for a call: a record, or the bytes that Python 2 wrote as text."""
    made_by = _a_name(function)
    root = made_by.module.partition(".")[0]
    if root not in (*_CALLED_IN_WEIGHTS, "builtins", "__builtin__"):
        raise _code(made_by)
    if (made_by.module, made_by.name) == _ENCODE:
        return arguments[0].encode("latin-1")
    if made_by.name == "_reconstructor" and root in ("copyreg", "copy_reg"):
        # An object of the oldest protocols: its class is the first argument.
        return NotedCall(_a_name(arguments[0]))
    made = NotedCall(made_by, arguments)
    if made_by == Name("collections", "OrderedDict") and arguments:
        made.items.update((key, value) for key, value in arguments[0])
    return made


def _code(name: Name) -> UnreadablePickle:
    shown = str(name) if len(str(name)) <= 80 and str(name).replace(".", "").isidentifier() else "something unreadable"
    return UnreadablePickle(f"names {shown}, code that weights have no need of; nothing of it was run", names_code=True)
