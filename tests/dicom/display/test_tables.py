"""Modality and VOI tables whose descriptor does not fit their entries, each beside the table that was meant."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from chexkeras.dicom.header import Header
from chexkeras.dicom.pixels.display import render
from chexkeras.dicom.pixels.tables import read_table
from tests.dicom.dicom_images import image, lookup_item, ramp, write

NO_WINDOW = ("WindowCenter", "WindowWidth")
SIXTEEN = {"BitsStored": 16, "HighBit": 15}


def pixels(values, **tags):
    rendered = render(image(np.asarray(values), drop=NO_WINDOW, **tags))
    return rendered.pixels, rendered.warnings


def table(entries, bits, first=0, **options):
    return lookup_item(np.asarray(entries), first, bits, **options)


def ending_at(largest, size=4096, start=0):
    return np.linspace(start, largest, size).round()


@pytest.mark.parametrize("used", [8, 9, 10, 12, 14, 15])
@pytest.mark.parametrize("start", [0, 100])
@pytest.mark.parametrize("falling", [False, True])
def test_entries_that_end_at_fewer_bits_are_shown_as_the_table_of_these_bits(used, start, falling):
    entries = ending_at(2**used - 1, start=start)[:: -1 if falling else 1]

    found, codes = pixels(ramp(), VOILUTSequence=table(entries, 16))

    np.testing.assert_array_equal(found, pixels(ramp(), VOILUTSequence=table(entries, used))[0])
    assert codes == ("voi_lut_range",)
    assert found.max() == 255


@pytest.mark.parametrize(
    ("largest", "declared", "white"),
    [
        # Of 12 bits as the image is, or near their end: two bits and more are never used for want of light.
        (3000, 16, 4095),
        (2050, 14, 4095),
        (1010, 16, 1023),
        (16000, 16, 16383),
        # A table that ends at an odd place may be meant to be dark; so may one that lacks a single bit.
        (700, 16, 65535),
        (9000, 16, 65535),
        (3000, 13, 8191),
        (30000, 16, 65535),
        # Less than 8 bits are no table.
        (127, 16, 65535),
    ],
)
def test_entries_are_believed_only_where_that_is_sure(largest, declared, white):
    (item,) = table(ending_at(largest), declared)
    found, codes = pixels(ramp(), VOILUTSequence=[item])
    assert found.max() == round(largest / white * 255)
    assert codes == (() if white == 2**declared - 1 else ("voi_lut_range",))


def test_entries_beyond_the_declared_bits_are_not_cut_off():
    found, codes = pixels(ramp(), VOILUTSequence=table(ending_at(4000), 8))
    np.testing.assert_array_equal(found, pixels(ramp(), VOILUTSequence=table(ending_at(4000), 12))[0])
    assert codes == ("voi_lut_range",)


def test_one_entry_too_large_by_rounding_is_cut_off():
    found, codes = pixels([[0, 1, 2]], VOILUTSequence=table([0, 2048, 4096], 12))
    assert (found[0].tolist(), codes) == ([0, 128, 255], ())


def test_a_modality_table_beyond_its_bits_is_used_as_it_is_for_the_window_that_follows():
    tags = {"WindowCenter": 2048, "WindowWidth": 4096}
    rendered = render(image(ramp(), ModalityLUTSequence=table(ending_at(4095), 8), **tags))
    np.testing.assert_array_equal(rendered.pixels, render(image(ramp(), **tags)).pixels)
    assert rendered.warnings == ("modality_lut_range",)


def test_a_modality_table_of_fewer_bits_than_declared_needs_no_word():
    tags = {"WindowCenter": 2048, "WindowWidth": 4096}
    assert render(image(ramp(), ModalityLUTSequence=table(ending_at(4095), 16), **tags)).warnings == ()


def test_packed_entries_of_eight_bits_under_a_descriptor_of_sixteen():
    (item,) = table([0, 0], 16)
    item.LUTDescriptor = [256, 0, 16]
    item["LUTData"].value = bytes(range(256))
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    found, codes = pixels(np.arange(256)[None], VOILUTSequence=[item], **eight)
    assert (found[0].tolist(), codes) == (list(range(256)), ("voi_lut_range",))


def test_packed_entries_of_a_big_endian_file_are_parted_as_words():
    (item,) = table([0, 0], 8)
    item.LUTDescriptor = [4, 0, 8]
    item["LUTData"].value = bytes([10, 0, 255, 200])
    item.set_original_encoding(False, False)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    assert pixels([[0, 1, 2, 3]], VOILUTSequence=[item], **eight)[0][0].tolist() == [0, 10, 200, 255]


def test_entries_written_as_signed_are_not_black():
    (item,) = table([0, 0], 16)
    item.LUTDescriptor = [3, 0, 16]
    del item.LUTData
    item.add_new("LUTData", "SS", [0, 32767, -1])
    assert pixels([[0, 1, 2]], VOILUTSequence=[item])[0][0].tolist() == [0, 127, 255]


def test_65535_entries_may_be_65536():
    (item,) = table(np.arange(65536), 16)
    item.LUTDescriptor = [65535, 0, 16]
    assert pixels([[0, 65535]], VOILUTSequence=[item], **SIXTEEN)[0][0].tolist() == [0, 255]
    assert read_table(Header(item), 16).entries.size == 65536


@pytest.mark.parametrize("data", [b"", b"\0", b"\0" * 5])
def test_data_too_short_for_its_entries_is_unusable(data):
    (item,) = table([0, 0], 16)
    item.LUTDescriptor = [8, 0, 16]
    item["LUTData"].value = data
    assert pixels([[0, 1, 2]], VOILUTSequence=[item])[1] == ("voi_lut_invalid", "window_missing")


STEP = [0, 21845, 43690, 65535]
FIRST = [
    (40000, [40000, 40001, 40002, 40003], SIXTEEN),
    (-25536, [40000, 40001, 40002, 40003], SIXTEEN),
    (-1, [0, 1, 2], {}),
    (65535, [0, 1, 2], {}),
    (-2000, [-2000, -1999, -1998, -1997], {"PixelRepresentation": 1}),
    (63536, [-2000, -1999, -1998, -1997], {"PixelRepresentation": 1}),
]
# Rescaled values leave 16 bits at either end.
RESCALED = {"RescaleIntercept": -10000, **SIXTEEN}
FIRST_RESCALED = [
    (40000, [50000, 50001, 50002, 50003], RESCALED),
    (-5000, [5000, 5001, 5002, 5003], RESCALED),
    (60536, [5000, 5001, 5002, 5003], RESCALED),
]


def through_table(first, values, sequence, **tags):
    item = lookup_item(STEP, first, 16)
    stored = np.asarray([values], dtype=np.int16 if min(values) < 0 else np.uint16)
    return render(image(stored, **{sequence: item}, **tags)).pixels[0].tolist()


@pytest.mark.parametrize(("first", "values", "tags"), FIRST + FIRST_RESCALED)
def test_the_first_value_is_found_whatever_its_sign_was_written_as(first, values, tags):
    found = through_table(first, values, "VOILUTSequence", drop=NO_WINDOW, **tags)
    assert found == [0, 85, 170, 255][4 - len(values) :]


@pytest.mark.parametrize(("first", "values", "tags"), FIRST)
def test_so_is_that_of_a_modality_table(first, values, tags):
    # The window shows the entries as they are.
    found = through_table(first, values, "ModalityLUTSequence", WindowCenter=32768, WindowWidth=65536, **tags)
    assert found == [0, 85, 170, 255][4 - len(values) :]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("first", [40000, -25536])
def test_a_first_value_is_read_from_a_file_whatever_its_representation(tmp_path, syntax, first):
    values = ramp(highest=25535) + 40000
    expected = pixels(values, VOILUTSequence=table(ending_at(65535, 25536), 16, 40000), **SIXTEEN)[0]
    item = table(ending_at(65535, 25536), 16, first)
    written = image(values, drop=NO_WINDOW, syntax=syntax, VOILUTSequence=item, **SIXTEEN)
    found = render(pydicom.dcmread(write(tmp_path / "image.dcm", written)))
    np.testing.assert_array_equal(found.pixels, expected)
    assert np.ptp(expected) == 255


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("vr", ["US", "SS"])
def test_a_first_value_below_zero_is_read_from_a_file_whatever_its_representation(tmp_path, syntax, vr):
    values = ramp().astype(np.int16) - 2048
    (item,) = table(ending_at(4095), 12, -2048)
    item.add_new("LUTDescriptor", vr, [4096, -2048 if vr == "SS" else 63488, 12])
    signed = {"PixelRepresentation": 1, "drop": NO_WINDOW}
    written = image(values, syntax=syntax, VOILUTSequence=[item], **signed)
    found = render(pydicom.dcmread(write(tmp_path / "image.dcm", written)))
    np.testing.assert_array_equal(found.pixels, np.rint((values + 2048.0) / 4095 * 255))


def test_a_falling_table_is_shown_as_it_is():
    assert pixels([[0, 1, 2]], VOILUTSequence=table([65535, 32768, 0], 16))[0][0].tolist() == [255, 128, 0]


@pytest.mark.parametrize(
    "entries",
    [
        # From the least to the greatest signed number, as unsigned: white after black in the middle.
        np.linspace(-32768, 32767, 4096).round().astype(np.int16).view(np.uint16),
        np.tile(np.linspace(0, 65535, 2048).round(), 2),
    ],
    ids=["signed", "sawtooth"],
)
def test_a_table_that_jumps_in_its_middle_is_unusable(entries):
    assert read_table(Header(table(entries, 16)[0]), 12) is None
    assert pixels(ramp(), VOILUTSequence=table(entries, 16))[1][0] == "voi_lut_invalid"


def test_a_falling_table_may_begin_with_a_black_surround():
    entries = np.linspace(65535, 0, 4096).round()
    entries[0] = 0
    assert read_table(Header(table(entries, 16)[0]), 12) is not None


def test_a_table_of_few_entries_is_all_steps():
    assert read_table(Header(table([0, 255], 8)[0]), 8) is not None
