"""A DICOM file as a tree that can be edited and written back, well-formed or not (PS3.5 7, PS3.10 7).

It is independent of pydicom's reader and writer, so that files can be made that pydicom would not write.
"""

import dataclasses
import struct
import zlib

from pydicom.datadict import dictionary_VR

UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
TRANSFER_SYNTAX = 0x00020010
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
IMPLICIT, BIG, DEFLATED = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"


@dataclasses.dataclass
class Item:
    """An item of a sequence.

    Attributes:
        elements: What it holds.
        undefined: Whether it is of undefined length.
        length: What is written as its length; None for the true one.
        closed: Whether a delimiter ends it where its length is undefined.
    """

    elements: "list[Element]"
    undefined: bool = False
    length: int | None = None
    closed: bool = True


@dataclasses.dataclass
class Element:
    """A data element: bytes, a sequence of items, or encapsulated fragments, of which the first is the offset table.

    Attributes:
        tag: Group and element number.
        vr: Value representation; from the dictionary where the file does not say.
        value: The bytes of one that is neither of the following.
        items: The items of a sequence.
        fragments: The fragments of encapsulated pixel data.
        undefined: Whether a sequence is of undefined length.
        length: What is written as its length; None for the true one.
        closed: Whether a delimiter ends it where its length is undefined.
    """

    tag: int
    vr: bytes
    value: bytes = b""
    items: list[Item] | None = None
    fragments: list[bytes] | None = None
    undefined: bool = False
    length: int | None = None
    closed: bool = True


@dataclasses.dataclass
class Coding:
    """How elements are written: with their value representation or without, and in which order of bytes."""

    explicit: bool = True
    little: bool = True

    @property
    def order(self) -> str:
        return "<" if self.little else ">"


@dataclasses.dataclass
class Tree:
    """A file.

    Attributes:
        preamble: The first 128 bytes.
        meta: File meta information (group 0002).
        body: The data set.
        deflated: Whether the data set is deflated.
        tail: Bytes behind the data set.
        coding: How the data set is written.
    """

    preamble: bytes
    meta: list[Element]
    body: list[Element]
    coding: Coding
    deflated: bool = False
    tail: bytes = b""

    @property
    def syntax(self) -> bytes:
        found = (element.value for element in self.meta if element.tag == TRANSFER_SYNTAX)
        return next(found, b"").rstrip(b"\0 ")

    @syntax.setter
    def syntax(self, uid: bytes) -> None:
        for element in self.meta:
            if element.tag == TRANSFER_SYNTAX:
                element.value = uid + b"\0" * (len(uid) % 2)

    def find(self, tag: int) -> Element | None:
        return next((element for element in self.body if element.tag == tag), None)

    def put(self, element: Element) -> None:
        """Adds an element in its place by tag, instead of one of the same tag."""
        self.body[:] = sorted([*(each for each in self.body if each.tag != element.tag), element], key=lambda e: e.tag)

    def lists(self) -> list[list[Element]]:
        """All lists of elements: the meta information, the data set, and every item, however deep."""
        found, waiting = [], [self.meta, self.body]
        while waiting:
            elements = waiting.pop()
            if elements:
                found.append(elements)
            waiting.extend(item.elements for element in elements for item in element.items or ())
        return found


def coding_of(syntax: bytes) -> Coding:
    return Coding(explicit=syntax != IMPLICIT, little=syntax != BIG)


def parse(content: bytes) -> Tree | None:
    """Returns a well-formed file as a tree, or None where it is none."""
    if content[128:132] != b"DICM":
        return None
    try:
        meta, at = _elements(content, 132, len(content), Coding(), is_end=lambda tag: tag >> 16 != 2)
        tree = Tree(content[:128], meta, [], Coding())
        rest = content[at:]
        tree.deflated = tree.syntax == DEFLATED
        if tree.deflated:
            rest = zlib.decompressobj(-zlib.MAX_WBITS).decompress(rest, 2**24)
        tree.coding = coding_of(tree.syntax)
        tree.body, _ = _elements(rest, 0, len(rest), tree.coding)
    except (struct.error, ValueError, IndexError, zlib.error):
        return None
    # What is lost on the way is no ground to build on.
    return tree if tree.deflated or write(tree) == content else None


def _elements(content, at, end, coding, is_end=lambda tag: False):
    elements = []
    while at < end:
        tag = _tag(content, at, coding)
        if tag == ITEM_END or is_end(tag):
            break
        element, at = _element(content, at, coding)
        elements.append(element)
    return elements, at


def _tag(content, at, coding):
    group, number = struct.unpack_from(f"{coding.order}HH", content, at)
    return group << 16 | number


def _element(content, at, coding):
    tag = _tag(content, at, coding)
    if coding.explicit:
        vr = bytes(content[at + 4 : at + 6])
        form, start = ("L", 8) if vr in LONG else ("H", 6)
        (length,) = struct.unpack_from(coding.order + form, content, at + start)
        at += 12 if vr in LONG else 8
    else:
        (length,) = struct.unpack_from("<L", content, at + 4)
        vr, at = _usual_vr(tag, length), at + 8
    element = Element(tag, vr)
    if length == UNDEFINED and tag == PIXEL_DATA:
        element.fragments, at = _fragments(content, at)
        return element, at
    if vr == b"SQ" or length == UNDEFINED:
        # An unknown sequence of undefined length is implicit inside (PS3.5 6.2.2, note 2).
        inner = Coding(explicit=False) if vr == b"UN" else coding
        element.undefined = length == UNDEFINED
        element.items, at = _items(content, at, None if element.undefined else at + length, inner)
        return element, at
    if at + length > len(content):
        raise ValueError
    element.value = bytes(content[at : at + length])
    return element, at + length


def _usual_vr(tag, length):
    if length == UNDEFINED:
        return b"OB" if tag == PIXEL_DATA else b"SQ"
    try:
        # Of several, words of 16 bits, which implicit files hold (PS3.5 A.1).
        known = dictionary_VR(tag)
        return b"OW" if known.endswith("OW") else known[:2].encode()
    except KeyError:
        return b"UN"


def _items(content, at, end, coding):
    items = []
    while end is None or at < end:
        tag = _tag(content, at, coding)
        (length,) = struct.unpack_from(f"{coding.order}L", content, at + 4)
        at += 8
        if tag == SEQUENCE_END and end is None:
            break
        if tag != ITEM:
            raise ValueError
        undefined = length == UNDEFINED
        elements, at = _elements(content, at, len(content) if undefined else at + length, coding)
        at += 8 if undefined else 0
        items.append(Item(elements, undefined))
    return items, at


def _fragments(content, at):
    fragments = []
    while True:
        tag, length = _tag(content, at, Coding()), struct.unpack_from("<L", content, at + 4)[0]
        at += 8
        if tag == SEQUENCE_END:
            return fragments, at
        if tag != ITEM or at + length > len(content):
            raise ValueError
        fragments.append(bytes(content[at : at + length]))
        at += length


def write(tree: Tree) -> bytes:
    """Returns the bytes of a file."""
    body = b"".join(_written(element, tree.coding) for element in tree.body)
    if tree.deflated:
        squeeze = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = squeeze.compress(body) + squeeze.flush()
        body += b"\0" * (len(body) % 2)
    meta = b"".join(_written(element, Coding()) for element in tree.meta)
    return tree.preamble + b"DICM" + meta + body + tree.tail


def _head(tag, length, coding):
    return struct.pack(f"{coding.order}HHL", tag >> 16, tag & 0xFFFF, length)


def _written(element, coding):
    undefined = element.undefined or element.fragments is not None
    if element.fragments is not None:
        value = b"".join(_head(ITEM, len(each), coding) + each for each in element.fragments)
    elif element.items is not None:
        inner = Coding(explicit=False) if element.vr == b"UN" and element.undefined else coding
        value = b"".join(_written_item(item, inner) for item in element.items)
    else:
        value = element.value
    length = element.length if element.length is not None else UNDEFINED if undefined else len(value)
    if undefined and element.closed:
        value += _head(SEQUENCE_END, 0, coding)
    tag = struct.pack(f"{coding.order}HH", element.tag >> 16, element.tag & 0xFFFF)
    if not coding.explicit:
        return tag + struct.pack("<L", length) + value
    if element.vr in LONG:
        return tag + element.vr + b"\0\0" + struct.pack(f"{coding.order}L", length) + value
    return tag + element.vr.ljust(2)[:2] + struct.pack(f"{coding.order}H", length & 0xFFFF) + value


def _written_item(item, coding):
    value = b"".join(_written(element, coding) for element in item.elements)
    length = item.length if item.length is not None else UNDEFINED if item.undefined else len(value)
    end = _head(ITEM_END, 0, coding) if item.undefined and item.closed else b""
    return _head(ITEM, length, coding) + value + end


# Bytes of a number in a value, by its representation; those not named are text or single bytes.
_WIDTHS = {
    **dict.fromkeys((b"US", b"SS", b"OW", b"AT"), 2),
    **dict.fromkeys((b"UL", b"SL", b"FL", b"OL", b"OF"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
}


def swapped(element: Element) -> Element:
    """Returns an element of the other order of bytes (PS3.5 7.3)."""
    if element.items is not None:
        items = [dataclasses.replace(item, elements=list(map(swapped, item.elements))) for item in element.items]
        return dataclasses.replace(element, items=items)
    width = _WIDTHS.get(element.vr, 1)
    pieces = (element.value[at : at + width][::-1] for at in range(0, len(element.value), width))
    return dataclasses.replace(element, value=b"".join(pieces))
