"""Files of PyTorch: arrays by their keys, read without PyTorch and without running what the file says.

`torch.save` writes a zip archive (since version 1.6), in which a pickle names arrays and each array is a file of its
own; before, it wrote pickles one after the other, and the arrays behind them. Either holds a state dictionary, a
checkpoint with one inside, or a whole model, whose layers and arrays are then found in the state of its records.

Source: PyTorch's notes on serialization semantics (pytorch.org/docs/stable/notes/serialization.html).
"""

import functools
import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from chexkeras.models.stored.classes import Refused
from chexkeras.models.weights.pickled import Name, NotedCall, UnreadablePickle, read_pickle

LEGACY_BEGIN = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The first bytes of what `torch.save` wrote before version 1.6: a pickle of its magic number."""
MOST_PICKLE_BYTES = 64 * 2**20
"""Size of the pickle that lists the arrays; that of a DenseNet121 as a whole model has less than 1 MB."""
_LEGACY_PROTOCOL = 1001
_DEEPEST = 100
_SHARED = 4
_WHOLE = "Download it again, whole."
_ONLY_WEIGHTS = "Use a file from its publisher's own page."

# What the name of a storage's class or of a number type says of its numbers.
_TYPES = {
    "Float": "<f4", "Half": "<f2", "Double": "<f8", "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1",
    "Byte": "u1", "Bool": "?", "BFloat16": "<u2",
}  # fmt: skip
_REBUILD = frozenset({"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state"})


@dataclass(frozen=True, eq=False)
class _Storage:
    """Numbers in a row, by where they lie.

    Attributes:
        kind: Name of their type in `_TYPES`.
        key: Their name in the file.
        count: How many.
    """

    kind: str
    key: str
    count: int


@dataclass(frozen=True, eq=False)
class _View:
    """An array on a storage: where it begins, its shape and how many numbers lie between neighbours."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def is_pytorch_archive(names: list[str]) -> bool:
    """Returns whether these are the members of an archive that `torch.save` wrote.

    Args:
        names: Names of a zip archive's members.
    """
    return any(name == "data.pkl" or name.endswith("/data.pkl") for name in names)


def read_pytorch(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a file of PyTorch.

    Args:
        path: The file, in either layout.

    Returns:
        Arrays by key, their components joined by dots: "features.conv0.weight", or "state_dict.features.conv0.weight"
        where the file is a checkpoint. What is no array is left out.

    Raises:
        Refused: If the file is damaged, names code, or declares more than it holds.
    """
    try:
        return _archive(path) if zipfile.is_zipfile(path) else _legacy(path)
    except UnreadablePickle as error:
        raise Refused(str(error), _ONLY_WEIGHTS if error.names_code else _WHOLE) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError) as error:
        # What zipfile raises of a damaged archive.
        raise Refused("is damaged: it is no whole file of PyTorch", _WHOLE) from error


def _archive(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        listed = [name for name in members if is_pytorch_archive([name])]
        if len(listed) != 1 or len(members) != len(archive.infolist()):
            raise Refused("holds several lists of arrays, and a file of PyTorch has one", _ONLY_WEIGHTS)
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            declared = sum(member.file_size for member in members.values())
            raise Refused(
                f"declares {declared / 2**30:.3g} GiB in compressed files, and PyTorch compresses none", _ONLY_WEIGHTS
            )
        if sum(member.file_size for member in members.values()) > path.stat().st_size:
            raise Refused("declares more than it holds", _ONLY_WEIGHTS)
        root = listed[0].removesuffix("data.pkl")
        if members[listed[0]].file_size > MOST_PICKLE_BYTES:
            raise Refused(f"has a list of arrays of more than {MOST_PICKLE_BYTES / 2**20:g} MiB", _ONLY_WEIGHTS)
        order = f"{root}byteorder"
        if order in members and members[order].file_size < 16 and archive.read(order) != b"little":
            raise Refused("was written with the other order of bytes", "Save it again on a usual computer.")
        content = read_pickle(io.BytesIO(archive.read(listed[0])), _persistent)

        @functools.cache
        def numbers(key: str) -> bytes:
            name = f"{root}data/{key}"
            if name not in members:
                raise Refused("is damaged: an array that it lists is not there", _WHOLE)
            return archive.read(name)

        return _arrays(content, numbers, path.stat().st_size)


def _legacy(path: Path) -> dict[str, np.ndarray]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(len(LEGACY_BEGIN))
        if head != LEGACY_BEGIN:
            raise Refused("is no file of PyTorch", _ONLY_WEIGHTS)
        if read_pickle(stream) != _LEGACY_PROTOCOL:
            raise Refused("was written by an unknown version of PyTorch", "Save it again with a current one.")
        system = read_pickle(stream)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise Refused("was written with the other order of bytes", "Save it again on a usual computer.")
        content = read_pickle(stream, _persistent)
        keys = read_pickle(stream)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise Refused("is damaged: its list of arrays makes no sense", _WHOLE)
        declared = {storage.key: storage for storage in _storages(content)}
        found = {}
        for key in keys:
            if key not in declared:
                raise Refused("is damaged: it holds an array that it does not list", _WHOLE)
            found[key] = _legacy_numbers(stream, declared[key], size)
    return _arrays(content, lambda key: found.get(key, b""), size)


def _legacy_numbers(stream: IO[bytes], storage: _Storage, size: int) -> bytes:
    count = int.from_bytes(stream.read(8), "little")
    wanted = count * np.dtype(_TYPES[storage.kind]).itemsize
    if count != storage.count or wanted > size - stream.tell():
        raise Refused("is damaged: it ends before its arrays do", _WHOLE)
    return stream.read(wanted)


def _persistent(identifier: Any) -> Any:
    """Returns what stands for a value that is stored outside of the pickle: a storage, or a class with its text."""
    kind, *rest = identifier
    if kind == "module":
        # A class of layers, with its source text in later versions: the name alone is of use.
        return rest[0]
    if kind != "storage" or not isinstance(rest[0], Name):
        raise ValueError("neither a storage nor a class")
    made_of, key, _, count, *view = rest
    storage = _Storage(made_of.name.removesuffix("Storage"), str(key), _whole(count))
    if storage.kind not in _TYPES:
        raise UnreadablePickle(f"has numbers of a kind ({made_of.name[:40]}) that is not read")
    if view and view[0] is not None:
        # Before 1.6: a storage that is a part of another one.
        raise UnreadablePickle("has arrays that are parts of others, as no file of current PyTorch has")
    return storage


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**40:
        raise ValueError("a number of numbers that makes no sense")
    return value


def _nodes(content: Any) -> Iterator[tuple[str, Any]]:
    """Yields every value that can hold an array, with its key; each once, by the first way that leads there."""
    waiting: list[tuple[str, Any, int]] = [("", content, 0)]
    seen: set[int] = set()
    while waiting:
        key, node, depth = waiting.pop()
        if isinstance(node, (dict, list, tuple, NotedCall)):
            if id(node) in seen or depth > _DEEPEST:
                continue
            seen.add(id(node))
        yield key, node
        waiting += reversed([(_joined(key, name), value, depth + 1) for name, value in _inside(node)])


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key and name else key or name


def _inside(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        yield from ((str(name), value) for name, value in node.items() if isinstance(name, (str, int)))
    elif isinstance(node, (list, tuple)):
        yield from ((str(place), value) for place, value in enumerate(node))
    elif isinstance(node, NotedCall) and not _rebuilds(node):
        yield from _inside(node.items)
        state = node.state
        if isinstance(state, dict) and "_modules" in state:
            # A layer: what it is called in a state dictionary leaves out these three.
            for group in ("_parameters", "_buffers", "_modules"):
                yield from _inside(_entries(state.get(group)))
        elif isinstance(state, dict):
            yield from ((name, value) for name, value in _inside(state) if name != "_metadata")


def _entries(group: Any) -> dict[Any, Any]:
    return group.items if isinstance(group, NotedCall) else group if isinstance(group, dict) else {}


def _rebuilds(node: NotedCall) -> bool:
    return node.made_by.module == "torch._utils" and node.made_by.name in _REBUILD


def _storages(content: Any) -> Iterator[_Storage]:
    for _, node in _nodes(content):
        if isinstance(node, NotedCall) and _rebuilds(node):
            view = _view(node)
            if view is not None:
                yield view.storage


def _view(node: Any) -> _View | None:
    """Returns an array's place from the call that would have made it, or None where there is none."""
    for _ in range(4):
        if not isinstance(node, NotedCall) or not _rebuilds(node):
            return None
        first = node.arguments[0]
        if isinstance(first, _Storage):
            offset, shape, strides = node.arguments[1:4]
            sizes, steps = tuple(map(_whole, shape)), tuple(map(_whole, strides))
            if len(sizes) != len(steps) or len(sizes) > 8:
                raise UnreadablePickle("is damaged: an array has a shape that makes no sense")
            return _View(first, _whole(offset), sizes, steps)
        # A parameter is an array with a flag.
        node = first
    return None


def _arrays(content: Any, numbers: Callable[[str], bytes], size: int) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    # Arrays may share their numbers, and numbers of 16 bits become 32: some room, but no more.
    left = _SHARED * size
    for key, node in _nodes(content):
        view = _view(node) if isinstance(node, NotedCall) else None
        if view is not None:
            found[key] = _array(view, numbers(view.storage.key))
            left -= found[key].nbytes
            if left < 0:
                raise Refused("declares more than it holds", _ONLY_WEIGHTS)
    return found


def _array(view: _View, content: bytes) -> np.ndarray:
    row = np.frombuffer(content, dtype=np.dtype(_TYPES[view.storage.kind])) if content else np.zeros(0, np.float32)
    if len(row) != view.storage.count:
        raise Refused("is damaged: it ends before its arrays do", _WHOLE)
    last = view.offset + sum((size - 1) * step for size, step in zip(view.shape, view.strides, strict=True))
    count = math.prod(view.shape)
    # An array that repeats numbers could be of any size.
    if count > len(row) or (count and last >= len(row)):
        raise Refused("has an array that reaches beyond its numbers", _ONLY_WEIGHTS)
    if view.storage.kind == "BFloat16":
        row = (row.astype(np.uint32) << 16).view(np.float32)
    steps = tuple(step * row.itemsize for step in view.strides)
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(row[view.offset :], view.shape, steps))
