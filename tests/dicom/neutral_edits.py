"""Edits of a DICOM file that change nothing of what it says: other bytes, the same image (PS3.5 7, 8 and A; PS3.10 7).

An edit takes the bytes of a file and returns those of another one, or None where it does not apply to it.
"""

import functools
import io
import struct
from collections.abc import Callable

import pydicom
from pydicom import uid
from pydicom.pixels import get_decoder

from tests.dicom.encoders import ENCODERS, LOSSLESS, compressed
from tests.dicom.workers import tree
from tests.dicom.workers.tree import PIXEL_DATA, Element, Item, Tree, parse, write

Edit = Callable[[bytes], bytes | None]
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002


def _on_tree(change: Callable[[Tree], bool | None]) -> Edit:
    """Makes an edit of a change of the tree; one that returns False does not apply."""

    @functools.wraps(change)
    def edit(content: bytes) -> bytes | None:
        found = parse(content)
        if found is None or change(found) is False:
            return None
        return write(found)

    return edit


def refragmented(count: int, *, basic: bool = False, extended: bool = False) -> Edit:
    """The one frame in so many fragments of even length, with or without offset tables (PS3.5 A.4)."""

    @_on_tree
    def change(file):
        pixels = file.find(PIXEL_DATA)
        if pixels is None or pixels.fragments is None:
            return False
        frame = b"".join(pixels.fragments[1:])
        step = max(2, -(-len(frame) // count) // 2 * 2)
        pieces = [frame[at : at + step] for at in range(0, len(frame), step)]
        pixels.fragments = [struct.pack("<L", 0) if basic else b"", *pieces]
        if extended:
            file.put(Element(_EXTENDED_OFFSETS, b"OV", struct.pack("<Q", 0)))
            file.put(Element(_EXTENDED_LENGTHS, b"OV", struct.pack("<Q", len(frame))))

    return change


@_on_tree
def private_elements(file):
    """Private groups with elements of many kinds, before and behind all others."""
    for group in (0x0009, 0x0029, 0x0051, 0x6FFF, 0x7FE1, 0xFFFD):
        base = group << 16
        inner = [Element(base | 0x1001, b"PN", b"PA"), Element(base | 0x1002, b"OW", bytes(70000))]
        added = (
            Element(base | 0x0010, b"LO", b"CHEST LATERAL "),
            Element(base | 0x1001, b"UN", b"CT"),
            Element(base | 0x1002, b"SQ", items=[Item(inner, undefined=True), Item([])], undefined=True),
            Element(base | 0x1003, b"DS", b"0 " * 8),
            Element(base | 0x10FF, b"OB", b""),
        )
        for element in added:
            file.put(element)


@_on_tree
def trailing_padding(file):
    """Data Set Trailing Padding (PS3.3 C.12.1.1.9, PS3.10 7.2)."""
    file.body.append(Element(0xFFFCFFFC, b"OB", bytes(126)))


@_on_tree
def group_lengths(file):
    """Group lengths, which every group of old files begins with (PS3.5 7.2)."""
    for group in sorted({element.tag >> 16 for element in file.body} - {0x7FE0}):
        alone = Tree(b"", [], [element for element in file.body if element.tag >> 16 == group], file.coding)
        length = len(write(alone)) - len(b"DICM")
        file.put(Element(group << 16, b"UL", struct.pack(f"{file.coding.order}L", length)))


def sequences(*, undefined: bool) -> Edit:
    """Every sequence and item of undefined length, or of its true one."""

    @_on_tree
    def change(file):
        for elements in file.lists():
            for element in elements:
                if element.items is not None and element.vr == b"SQ":
                    element.undefined = undefined
                    for item in element.items:
                        item.undefined = undefined

    return change


@_on_tree
def empty_sequences(file):
    """Sequences without an item, among them such as would say something of the view if they had one."""
    for tag, is_undefined in ((0x00081140, True), (0x00400555, False), (0x00540220, True)):
        if file.find(tag) is None:
            file.put(Element(tag, b"SQ", items=[], undefined=is_undefined))


@_on_tree
def unknown_representations(file):
    """Standard elements written as UN, as by software that does not know them (PS3.5 6.2.2)."""
    if not file.coding.explicit or not file.coding.little:
        return False
    for element in file.body:
        if element.items is None and element.tag != PIXEL_DATA:
            element.vr = b"UN"


@_on_tree
def longer_texts(file):
    """Spaces around the words of codes and numbers, which count for nothing (PS3.5 6.2)."""
    for element in file.body:
        if element.vr in (b"CS", b"DS", b"IS", b"LO", b"SH") and element.value and b"\\" not in element.value:
            element.value = b"  " + element.value + b"  "


@_on_tree
def other_meta(file):
    """Another preamble, and file meta information of another writer (PS3.10 7.1)."""
    file.preamble = b"II*\0\x08\0\0\0" + bytes(120)
    kept = [element for element in file.meta if element.tag not in (0x00020000, 0x00020012, 0x00020013)]
    file.meta = [
        *kept,
        Element(0x00020012, b"UI", b"1.2.3\0"),
        Element(0x00020013, b"SH", b"OTHER "),
        Element(0x00020016, b"AE", b"STORE "),
        Element(0x00020100, b"UI", b"1.2.3.4\0"),
        Element(0x00020102, b"OB", bytes(1000)),
    ]
    meta = Tree(b"", file.meta, [], file.coding)
    file.meta.insert(0, Element(0x00020000, b"UL", struct.pack("<L", len(write(meta)) - len(b"DICM"))))


def recoded(syntax: bytes) -> Edit:
    """An uncompressed file in another uncompressed transfer syntax (PS3.5 A.1 to A.3)."""

    @_on_tree
    def change(file):
        pixels = file.find(PIXEL_DATA)
        if pixels is None or pixels.fragments is not None or syntax == file.syntax:
            return False
        coding = tree.coding_of(syntax)
        if coding.little != file.coding.little:
            file.body = [tree.swapped(element) for element in file.body]
        file.coding, file.syntax = coding, syntax

    return change


def transcoded(syntax: str, encoder: str) -> Edit:
    """A file in another lossless transfer syntax, whatever its own is; that it was lossy stays said."""

    def edit(content):
        dataset = pydicom.dcmread(io.BytesIO(content))
        if "PixelData" not in dataset or dataset.file_meta.TransferSyntaxUID == syntax:
            return None
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            _decompress(dataset)
        elif dataset.file_meta.TransferSyntaxUID != uid.ExplicitVRLittleEndian:
            return None
        return _saved(compressed(dataset, syntax, encoder))

    return edit


def decompressed(content):
    """A compressed file without compression."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return None
    _decompress(dataset)
    return _saved(dataset)


def _decompress(dataset):
    plugins = get_decoder(dataset.file_meta.TransferSyntaxUID).available_plugins
    # GDCM last: it ends the process over some streams that others read.
    plugin = sorted(plugins, key="gdcm".__eq__)[0]
    dataset.decompress(as_rgb=False, generate_instance_uid=False, decoding_plugin=plugin)


def _saved(dataset):
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


EDITS: dict[str, Edit] = {
    **{f"{count} fragments": refragmented(count) for count in (1, 2, 7, 100)},
    "1 fragment, basic offsets": refragmented(1, basic=True),
    "5 fragments, basic offsets": refragmented(5, basic=True),
    "1 fragment, extended offsets": refragmented(1, extended=True),
    "private elements": private_elements,
    "trailing padding": trailing_padding,
    "group lengths": group_lengths,
    "undefined lengths": sequences(undefined=True),
    "defined lengths": sequences(undefined=False),
    "empty sequences": empty_sequences,
    "unknown representations": unknown_representations,
    "longer texts": longer_texts,
    "other meta": other_meta,
    "implicit": recoded(b"1.2.840.10008.1.2"),
    "explicit": recoded(b"1.2.840.10008.1.2.1"),
    "big endian": recoded(b"1.2.840.10008.1.2.2"),
    "decompressed": decompressed,
    **{
        f"{syntax.keyword} by {encoder}": transcoded(syntax, encoder)
        for syntax in LOSSLESS
        for encoder in ENCODERS[syntax]
    },
}
"""Neutral edits by name."""
