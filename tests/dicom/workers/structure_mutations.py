"""Damage to one part of a DICOM file while the rest stays in order: what a parser believes and a decoder is given."""

import struct
import zlib
from collections.abc import Callable
from copy import deepcopy

import numpy as np
from pydicom.datadict import DicomDictionary

from tests.dicom.dicom_images import CANARY
from tests.dicom.workers.codestream_mutations import damage_stream
from tests.dicom.workers.tree import LONG, PIXEL_DATA, TRANSFER_SYNTAX, UNDEFINED, Element, Item, Tree, parse, write

_LENGTHS = (0, 1, 2, 3, 7, 8, 13, 0xFF, 0x7FFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, UNDEFINED)
_NUMBERS = (0, 1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 32, 255, 256, 4095, 4096, 32767, 32768, 65535)
_VRS = (*sorted(LONG), b"US", b"SS", b"UL", b"IS", b"DS", b"PN", b"LO", b"CS", b"AS", b"DA", b"AT", b"FD", b"UI", b"LT")
_NO_VRS = (b"??", b"\0\0", b"ZZ", b"ob", b"  ", b"\xff\xff")
_KNOWN = sorted(tag for tag in DicomDictionary if tag >> 16 not in (0, 2))
_ENDS = (0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD)
_SYNTAXES = tuple(
    f"1.2.840.10008.1.2{end}".encode()
    for end in ("", ".1", ".1.98", ".1.99", ".2", ".5", ".99", *(f".4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91)),
                ".4.100", ".4.102", ".4.201", ".4.202", ".4.203", ".4.110", ".8.1")
)  # fmt: skip
# What image descriptions and lookup tables are made of.
_DESCRIPTION = tuple(
    0x00280000 | number
    for number in (0x02, 0x06, 0x08, 0x10, 0x11, 0x34, 0x100, 0x101, 0x102, 0x103, 0x106, 0x120, 0x121)
)
_MODALITY_TABLE, _VOI_TABLE, _DESCRIPTOR, _TABLE = 0x00283000, 0x00283010, 0x00283002, 0x00283006
_BASIC_OFFSETS = 0
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002


def _one(choices, rng):
    return choices[int(rng.integers(len(choices)))]


def _place(tree: Tree, rng: np.random.Generator) -> tuple[list[Element], int]:
    """An element anywhere: half of them in the data set itself."""
    elements = tree.body if rng.integers(2) and tree.body else _one(tree.lists(), rng)
    return elements, int(rng.integers(len(elements)))


def _tags(tree, rng):
    """Another group or number, a tag of another meaning, a delimiter, or a private one."""
    elements, at = _place(tree, rng)
    tag = elements[at].tag
    elements[at].tag = _one(
        (
            int(_one(_KNOWN, rng)),
            tag ^ 1 << int(rng.integers(32)),
            tag + 0x10000 & 0xFFFFFFFF,
            tag & 0xFFFF0000,
            _one(_ENDS, rng),
            tag & 0xFFFF | _one((0, 2, 4, 6, 9, 0x28, 0x7FE0, 0xFFFE, 0xFFFF), rng) << 16,
            PIXEL_DATA,
        ),
        rng,
    )


def _order(tree, rng):
    """Two elements change places, one comes twice or often, one is gone, or all stand the other way round."""
    elements, at = _place(tree, rng)
    other = int(rng.integers(len(elements)))
    change = rng.integers(6)
    if change == 0:
        elements[at], elements[other] = elements[other], elements[at]
    elif change == 1:
        elements.insert(other, deepcopy(elements[at]))
    elif change == 2:
        elements[other:other] = [elements[at]] * int(rng.integers(2, 2000 if len(elements[at].value) < 100 else 5))
    elif change == 3:
        del elements[at]
    elif change == 4:
        elements.reverse()
    else:
        elements[other].value = elements[at].value


def _lengths(tree, rng):
    """A length that is odd, too long, undefined, or of the wrong size for what the number is."""
    elements, at = _place(tree, rng)
    element = elements[at]
    true = len(element.value)
    element.length = _one((*_LENGTHS, true + 1, max(true - 1, 0), true + 2, true * 2, max(true - 8, 0)), rng)
    if rng.integers(4) == 0:
        # The value is as long as it says, and odd.
        element.length, element.value = None, element.value + b"\0" * int(_one((1, 3, 5), rng))


def _representations(tree, rng):
    elements, at = _place(tree, rng)
    element = elements[at]
    element.vr = _one(_VRS if rng.integers(4) else _NO_VRS, rng)
    if element.vr == b"SQ" and rng.integers(2):
        element.items, element.undefined = [Item([deepcopy(element)])], bool(rng.integers(2))


def _nesting(tree, rng):
    """Sequences in sequences, deep or wide, with undefined lengths, and delimiters that are missing or come twice."""
    elements, at = _place(tree, rng)
    element = elements[at]
    undefined = bool(rng.integers(2))
    change = rng.integers(7)
    if change == 0:
        depth = int(_one((1, 2, 10, 100, 900, 3000), rng))
        tag = _one((0x00082218, 0x00400275, 0x00283010, 0x00091001, element.tag), rng)
        # As bytes: a tree so deep could not be walked.
        order, number = tree.coding.order, (tag >> 16, tag & 0xFFFF)
        head = struct.pack(f"{order}HH2sHL", *number, b"SQ", 0, UNDEFINED)
        if not tree.coding.explicit:
            head = struct.pack(f"{order}HHL", *number, UNDEFINED)
        item = struct.pack(f"{order}HHL", 0xFFFE, 0xE000, UNDEFINED)
        ends = struct.pack(f"{order}HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0) if rng.integers(3) else b""
        nested = (head + item) * depth + ends * depth
        elements.insert(at, Element(tag, b"SQ", nested[len(head) :], length=UNDEFINED))
    elif change == 1:
        elements[at] = Element(_one((element.tag, 0x00082218), rng), b"SQ", items=[Item([element], undefined)])
    elif change == 2:
        items = [Item([deepcopy(element)], undefined) for _ in range(int(_one((0, 1, 50, 3000), rng)))]
        elements.insert(at, Element(0x00283010, b"SQ", items=items, undefined=undefined))
    elif change == 3:
        inner = Element(_one((0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, PIXEL_DATA), rng), _one((b"OB", b"SQ"), rng))
        elements.insert(at, Element(0x00082218, b"SQ", items=[Item([inner], undefined)], undefined=undefined))
    elif change == 4:
        elements.insert(at, Element(0x00082218, b"SQ", items=[Item([], True, closed=False)], undefined=True))
    elif change == 5:
        elements.insert(at, Element(0x00082218, b"SQ", items=[Item([element], True)], undefined=True, closed=False))
    else:
        item = Item([element], length=int(_one(_LENGTHS, rng)))
        elements.insert(at, Element(0x00082218, _one((b"SQ", b"UN"), rng), items=[item], undefined=undefined))


def _fragments(tree, rng):
    """Fragments that are empty, odd, many, out of order, gone, repeated, or not ended."""
    pixels = tree.find(PIXEL_DATA)
    if pixels is None:
        return
    if pixels.fragments is None:
        # Native values as if they were compressed.
        pixels.fragments = [b"", pixels.value]
        return
    fragments = pixels.fragments
    at = int(rng.integers(len(fragments)))
    change = rng.integers(9)
    if change == 0:
        fragments[at:at] = [b""] * int(_one((1, 3, 1000, 30000), rng))
    elif change == 1:
        fragments[at] += b"\0" * int(_one((1, 3, 4, 1001), rng))
    elif change == 2:
        whole, step = fragments[at], max(1, len(fragments[at]) // int(_one((2, 7, 100, 5000), rng)))
        fragments[at : at + 1] = [whole[start : start + step] for start in range(0, len(whole), step)]
    elif change == 3:
        rng.shuffle(fragments)
    elif change == 4:
        del fragments[at]
    elif change == 5:
        fragments.insert(at, fragments[-1])
    elif change == 6:
        pixels.closed = False
    elif change == 7:
        pixels.fragments = [b"", b"".join(fragments)]
    else:
        pixels.vr, pixels.length = _one((b"OB", b"OW", b"UN", b"SQ", b"OF"), rng), _one((None, 0, 8, 0xFFFFFFFE), rng)


def _offset_tables(tree, rng):
    """A basic or an extended offset table that is wrong, or leads out of the file (PS3.5 A.4, PS3.3 C.7.6.3.1.8)."""
    pixels = tree.find(PIXEL_DATA)
    if pixels is None or not pixels.fragments:
        return
    size = sum(map(len, pixels.fragments))
    offsets = [int(_one((0, 1, 8, size, size + 8, size // 2, 0x7FFFFFFF, 0xFFFFFFFF), rng)) for _ in range(8)]
    count = int(_one((1, 1, 2, 8), rng))
    if rng.integers(2):
        pixels.fragments[_BASIC_OFFSETS] = struct.pack(f"<{count}L", *offsets[:count]) + b"\0" * int(
            _one((0, 0, 1), rng)
        )
    else:
        large = [offset << int(_one((0, 0, 31), rng)) for offset in offsets]
        tree.put(Element(_EXTENDED_OFFSETS, b"OV", struct.pack(f"<{count}Q", *large[:count])))
        if rng.integers(3):
            tree.put(Element(_EXTENDED_LENGTHS, b"OV", struct.pack(f"<{count}Q", *large[-count:])))
    if rng.integers(2):
        tree.put(Element(0x00280008, b"IS", _one((b"0 ", b"1 ", b"2 ", b"-1", b"9999"), rng)))


def _lookup_tables(tree, rng):
    """A modality or VOI table whose descriptor and entries do not fit each other."""
    descriptor = [int(_one(_NUMBERS, rng)) for _ in range(int(_one((3, 3, 3, 3, 0, 1, 2, 4), rng)))]
    count = int(_one((0, 1, 2, 16, 256, 4096, 65536), rng))
    entries = rng.integers(0, int(_one((1, 2, 256, 4096, 65536), rng)), count).astype("<u2").tobytes()
    if rng.integers(2) and len(descriptor) > 2:
        # Nearly right: as many entries as are announced.
        descriptor[0] = count % 65536
    order = tree.coding.order
    packed = struct.pack(f"{order}{len(descriptor)}H", *descriptor)
    item = [Element(_DESCRIPTOR, _one((b"US", b"SS", b"UN", b"OW"), rng), packed)]
    vr = _one((b"OW", b"OW", b"US", b"UN"), rng)
    item.append(Element(_TABLE, vr, entries[: 60000 if vr == b"US" else None] + b"\0" * int(_one((0, 0, 1), rng))))
    items = [Item(item, bool(rng.integers(2)))] * int(_one((1, 1, 1, 2, 0), rng))
    undefined = bool(rng.integers(2))
    tree.put(Element(_one((_MODALITY_TABLE, _VOI_TABLE), rng), b"SQ", items=items, undefined=undefined))


def _description(tree, rng):
    """Extreme numbers where sizes, bits, frames and padding are, and windows that are none."""
    for _ in range(int(rng.integers(1, 3))):
        tag = int(_one(_DESCRIPTION, rng))
        number = int(_one(_NUMBERS, rng))
        text = tag == 0x00280008
        value = str(number).encode() if text else struct.pack(f"{tree.coding.order}H", number)
        tree.put(Element(tag, b"IS" if text else b"US", value + b" " * (len(value) % 2)))
    if rng.integers(3) == 0:
        numbers = (b"nan", b"inf", b"-1e308", b"1e-308", b"0", b"1e", b"", b"1\\2\\3", b"9" * 300, CANARY.encode())
        tag = int(_one((0x00281050, 0x00281051, 0x00281052, 0x00281053), rng))
        value = _one(numbers, rng)
        tree.put(Element(tag, b"DS", value + b" " * (len(value) % 2)))


def _codestream(tree, rng):
    pixels = tree.find(PIXEL_DATA)
    if pixels is not None and pixels.fragments and len(pixels.fragments) > 1:
        pixels.fragments[1:] = [damage_stream(b"".join(pixels.fragments[1:]), rng)]


def _meta(tree, rng):
    """The group's length, the transfer syntax, and meta elements that are missing, doubled or in the data set."""
    change = rng.integers(8)
    if change < 3:
        tree.syntax = _one(_SYNTAXES, rng)
    elif change == 3 and tree.meta:
        tree.meta[0].value = struct.pack("<L", int(_one(_LENGTHS, rng)))
    elif change == 4 and tree.meta:
        del tree.meta[int(rng.integers(len(tree.meta)))]
    elif change == 5 and tree.meta:
        tree.body[:0] = tree.meta
    elif change == 6:
        value = _one((b"", b"x", b"1.2.840.10008.1.2.4.90\0" * 200, CANARY.encode(), b"\xff\xfe"), rng)
        tree.meta.append(Element(TRANSFER_SYNTAX, b"UI", value))
    else:
        tree.meta = [element for element in tree.meta if element.tag != TRANSFER_SYNTAX]


def _deflate(tree, rng):
    """Deflated data that is none, is cut, has something behind it, or inflates a thousandfold."""
    tree.syntax = b"1.2.840.10008.1.2.1.99"
    if rng.integers(2):
        tree.deflated = True
        bomb = Element(0x00090001, b"OB", bytes(int(_one((0, 10**5, 10**7), rng))))
        tree.body.insert(int(rng.integers(len(tree.body) + 1)), bomb)
    else:
        tree.deflated = False
        tree.body = [Element(0, b"", zlib.compress(CANARY.encode())[: int(rng.integers(30))])]
    tree.tail = b"\0" * int(_one((0, 1, 1000), rng))


def _recoded(tree, rng):
    """Written another way than the transfer syntax says."""
    if rng.integers(2):
        tree.coding.explicit = not tree.coding.explicit
    else:
        tree.coding.little = not tree.coding.little


STRUCTURE_MUTATIONS: dict[str, Callable[[Tree, np.random.Generator], None]] = {
    "tag": _tags,
    "order": _order,
    "length": _lengths,
    "representation": _representations,
    "nesting": _nesting,
    "fragments": _fragments,
    "offset_table": _offset_tables,
    "lookup_table": _lookup_tables,
    "description": _description,
    "codestream": _codestream,
    "meta": _meta,
    "deflate": _deflate,
    "recoded": _recoded,
}
"""Changes of a tree by the part that they damage."""


def damaged(content: bytes, names: list[str], rng: np.random.Generator) -> bytes:
    """Returns a file with damage to its structure; image files have only their own kind, what is neither none."""
    tree = parse(content)
    if tree is None:
        return damage_stream(content, rng) if content[128:132] != b"DICM" else content
    for name in names:
        if tree.body and tree.meta:
            STRUCTURE_MUTATIONS[name](tree, rng)
    return write(tree)
