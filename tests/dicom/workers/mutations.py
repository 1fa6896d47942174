"""Damaged files by the thousand: each made from a good one, the same for the same seed."""

import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from tests.dicom.dicom_images import CANARY, encoded, image, lookup_item, ramp, write
from tests.dicom.workers import tree
from tests.dicom.workers.structure_mutations import STRUCTURE_MUTATIONS, damaged

EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}

_BUNDLED = (
    *("693_J2KI.dcm", "CT_small.dcm", "ExplVR_BigEnd.dcm", "JPEG2000.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"),
    *("JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "JPGExtended.dcm", "JPEG-lossy.dcm", "MR_small.dcm"),
    *("MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm"),
    *("MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm", "MR_truncated.dcm", "SC_rgb_gdcm_KY.dcm"),
    *("SC_rgb_jpeg.dcm", "SC_rgb_rle.dcm", "SC_rgb_small_odd.dcm", "SC_rgb_small_odd_jpeg.dcm", "badVR.dcm"),
    *("image_dfl.dcm", "liver_1frame.dcm", "meta_missing_tsyntax.dcm", "nested_priv_SQ.dcm", "no_meta.dcm"),
    *("no_meta_group_length.dcm", "priv_SQ.dcm", "rtdose_rle_1frame.dcm", "rtplan.dcm", "test-SR.dcm"),
    "UN_sequence.dcm",
)


_IMAGE_FILES = ("png_file", "jpeg_file")
_DECODED = {
    *("rle", "jpeg", "jpeg_2000", "jp2_file", "jpeg_ls", "png_file", "jpeg_file", "693_J2KI.dcm", "JPEG2000.dcm"),
    *("JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm"),
    *("MR_small_jpeg_ls_lossless.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm", "JLSL_16_15_1_1F.dcm", "rgb", "tables"),
}


def fixtures() -> dict[str, bytes]:
    """Good files of every kind that is read, with those that pydicom ships; small, so that many can be read."""
    deep, grey = ramp(48, 40), ramp(48, 40, 255).astype(np.uint8)
    table = lookup_item(np.arange(4096), 0, 16)
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, **EIGHT}
    made = {
        "native": image(deep),
        "implicit": image(deep, syntax=ImplicitVRLittleEndian),
        "big_endian": image(deep, syntax=ExplicitVRBigEndian),
        "deflated": image(deep, syntax=DeflatedExplicitVRLittleEndian),
        "eight_bits": image(grey, **EIGHT),
        "signed": image(deep.astype(np.int16) - 2048, PixelRepresentation=1, PixelPaddingValue=0),
        "sigmoid": image(deep, VOILUTFunction="SIGMOID", WindowCenter=[900, 5], WindowWidth=[800, 9]),
        "inverse": image(deep, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"),
        "tables": image(deep, ModalityLUTSequence=table, VOILUTSequence=table),
        "high_bit": image(deep << 4, HighBit=15),
        "rgb": image(grey, raw=np.repeat(grey, 3).tobytes(), **rgb),
        "jpeg": image(grey, syntax=JPEGBaseline8Bit, raw=encoded(grey, "JPEG"), **EIGHT),
        "jpeg_2000": image(deep, syntax=JPEG2000Lossless, raw=encoded(deep, "JPEG2000")),
        "jp2_file": image(deep, syntax=JPEG2000Lossless, raw=encoded(deep, "JPEG2000", no_jp2=False)),
        "directory": image(deep, SOPClassUID="1.2.840.10008.1.3.10"),
    }
    for name, syntax in (("rle", RLELossless), ("jpeg_ls", JPEGLSLossless)):
        made[name] = image(deep)
        made[name].compress(syntax, generate_instance_uid=False)
    with tempfile.TemporaryDirectory() as folder:
        contents = {name: write(Path(folder) / name, dataset).read_bytes() for name, dataset in made.items()}
        for name in ("png", "jpeg"):
            path = Path(folder) / name
            Image.fromarray(grey).save(path, name)
            contents[f"{name}_file"] = path.read_bytes()
    for name in _BUNDLED:
        path = get_testdata_file(name, download=False)
        if path:
            contents[name] = Path(path).read_bytes()
    return {name: _with_canaries(content) for name, content in (contents | _published()).items()}


_FREE_TEXT = frozenset((b"PN", b"LO", b"SH", b"ST", b"LT", b"UT", b"UC", b"AE"))
# By these the gate judges whether the patient is human.
_SPECIES = frozenset((0x00102201, 0x00102202, 0x00102203))


def _with_canaries(content: bytes) -> bytes:
    """Returns a DICOM file whose free texts are canaries, those of patient and study among them; others as they are."""
    file = tree.parse(content)
    if file is None:
        return content
    canary = CANARY.encode()
    for tag, vr in ((0x00100010, b"PN"), (0x00100020, b"LO"), (0x00104000, b"LT"), (0x00081030, b"LO")):
        file.put(tree.Element(tag, vr, canary))
    for elements in file.lists():
        for element in elements:
            if element.vr in _FREE_TEXT and element.items is None and element.tag not in _SPECIES:
                element.value = canary
    return tree.write(file)


def _published() -> dict[str, bytes]:
    """The published images of the tests on real data, where they are and small enough to be read by the thousand."""
    root = Path(os.environ.get("CHEXKERAS_TEST_DATA", "")) / "dicom" / "codecs"
    return {path.name: path.read_bytes() for path in sorted(root.glob("*.dcm")) if path.stat().st_size < 200_000}


def _flip_bits(content: bytearray, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(1, 16)):
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)


def _overwrite_bytes(content: bytearray, rng: np.random.Generator) -> None:
    start = rng.integers(len(content))
    length = min(int(rng.integers(1, 64)), len(content) - start)
    content[start : start + length] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()


def _truncate(content: bytearray, rng: np.random.Generator) -> None:
    del content[rng.integers(len(content)) :]


def _cut_out(content: bytearray, rng: np.random.Generator) -> None:
    start = rng.integers(len(content))
    del content[start : start + rng.integers(1, 200)]


def _repeat(content: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(content)))
    piece = content[start : start + int(rng.integers(1, 400))]
    content[start:start] = piece * int(rng.integers(1, 200))


def _elements(content: bytes) -> list[int]:
    """Offsets at which an explicit little-endian data element may begin."""
    return [
        at
        for at in range(132, len(content) - 8, 2)
        if content[at + 4 : at + 6].isalpha() and content[at + 4 : at + 6].isupper() and content[at + 1] < 0x60
    ]


_LENGTHS = (0, 1, 2, 3, 7, 0xFF, 0x7FFF, 0xFFFE, 0xFFFF)
_LONG_LENGTHS = (0, 1, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_LONG_FORMS = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD")


def _edit_length(content: bytearray, rng: np.random.Generator) -> None:
    found = _elements(bytes(content))
    if found:
        at = found[rng.integers(len(found))]
        if content[at + 4 : at + 6] in _LONG_FORMS:
            content[at + 8 : at + 12] = struct.pack("<L", _LONG_LENGTHS[rng.integers(len(_LONG_LENGTHS))])
        else:
            content[at + 6 : at + 8] = struct.pack("<H", _LENGTHS[rng.integers(len(_LENGTHS))])


def _edit_representation(content: bytearray, rng: np.random.Generator) -> None:
    found = _elements(bytes(content))
    if found:
        at = found[rng.integers(len(found))]
        forms = (*_LONG_FORMS, b"US", b"SS", b"IS", b"DS", b"PN", b"LO", b"AT", b"FD", b"??", b"\0\0")
        content[at + 4 : at + 6] = forms[rng.integers(len(forms))]


def _edit_tag(content: bytearray, rng: np.random.Generator) -> None:
    found = _elements(bytes(content))
    if found:
        at, other = (found[index] for index in rng.integers(len(found), size=2))
        content[at : at + 4] = content[other : other + 4]


def _edit_value(content: bytearray, rng: np.random.Generator) -> None:
    """Puts extreme numbers where sizes and bits are (group 0028)."""
    found = [at for at in _elements(bytes(content)) if content[at : at + 2] == b"\x28\x00"]
    if found:
        at = found[rng.integers(len(found))]
        numbers = (0, 1, 2, 3, 8, 16, 32, 255, 256, 4096, 10_000, 32767, 32768, 65535)
        content[at + 8 : at + 10] = struct.pack("<H", numbers[rng.integers(len(numbers))])


def _edit_syntax(content: bytearray, rng: np.random.Generator) -> None:
    """Calls the file's pixel data by another transfer syntax."""
    syntaxes = (b"50", b"51", b"57", b"70", b"80", b"81", b"90", b"91", b"201", b"203")
    new = b"1.2.840.10008.1.2.4." + syntaxes[rng.integers(len(syntaxes))]
    at = content.find(b"UI", content.find(b"\x02\x00\x10\x00"))
    length = struct.unpack_from("<H", content, at + 2)[0] if at > 0 else 0
    if length >= len(new):
        content[at + 4 : at + 4 + length] = new.ljust(length, b"\0")


def _edit_codestream(content: bytearray, rng: np.random.Generator) -> None:
    """Changes bytes of a compressed image's own headers, which a decoder believes."""
    starts = [content.find(mark) for mark in (b"\xff\x4f\xff\x51", b"\xff\xd8\xff", b"\x89PNG", b"\xfe\xff\x00\xe0")]
    starts = [start for start in starts if start >= 0]
    if starts:
        start = starts[rng.integers(len(starts))]
        for _ in range(rng.integers(1, 6)):
            at = min(start + int(rng.integers(2, 120)), len(content) - 1)
            content[at] = (0, 1, 127, 128, 255, int(rng.integers(256)))[rng.integers(6)]


MUTATIONS = (
    _flip_bits,
    _overwrite_bytes,
    _truncate,
    _cut_out,
    _repeat,
    _edit_length,
    _edit_representation,
    _edit_tag,
    _edit_value,
    _edit_syntax,
    _edit_codestream,
)


def mutated(contents: dict[str, bytes], files: int, seed: int, first: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents of damaged files, from number `first` on; each depends on seed and number alone.

    Two of three are damaged in their structure, by one or two changes; the others in their bytes, wherever.
    """
    # Half of the files come from those that decoders see, half from all.
    names, decoded = sorted(contents), sorted(name for name in contents if name in _DECODED)
    for number in range(first, first + files):
        rng = np.random.default_rng([seed, number])
        name = (decoded if number % 2 else names)[rng.integers(len(decoded if number % 2 else names))]
        content, done = bytearray(contents[name]), []
        if number % 3:
            done = [str(each) for each in rng.choice(list(STRUCTURE_MUTATIONS), rng.integers(1, 3))]
            # Image files have no other structure than their own segments and chunks.
            done = ["codestream"] if name in _IMAGE_FILES else done
            yield f"{number:06d} {name} {' '.join(done)}", damaged(contents[name], done, rng)
            continue
        for _ in range(rng.integers(1, 4)):
            mutation = MUTATIONS[rng.integers(len(MUTATIONS))]
            if content:
                mutation(content, rng)
                done.append(mutation.__name__.strip("_"))
        yield f"{number:06d} {name} {' '.join(done)}", bytes(content)
