"""Where a codestream and the header disagree on sign or bits: one reading for all decoders, or none."""

import numpy as np
import pytest
from openjpeg.utils import encode_array
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from chexkeras.dicom.pixels.decoding import stored_values
from chexkeras.dicom.read import read_dicom
from chexkeras.dicom.rejection import DicomRejected
from tests.dicom.dicom_images import encoded, image, ramp, with_only, write


def rejection(dataset):
    with pytest.raises(DicomRejected) as caught:
        stored_values(dataset)
    return caught.value


def described(bits, sign=0):
    allocated = 8 if bits <= 8 else 16
    return {"BitsAllocated": allocated, "BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": sign}


def bump(bits, lowest=0):
    """A smooth image that uses all of its bits, with the lowest value in a corner and the highest one inside."""
    row, column = np.mgrid[:48, :64]
    return np.rint(np.sin(row / 16) ** 2 * np.sin(column / 21) ** 2 * (2**bits - 1)).astype(np.int32) + lowest


def jpeg_2000(values, *, bits, signed):
    """A lossless frame of so many bits; values beyond them are wrapped, as where cells are given the wrong name."""
    half = 1 << (bits - 1)
    wrapped = (values + half) % (2 * half) - half if signed else values % (2 * half)
    kind = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    return encapsulate([encode_array(wrapped.astype(kind), bits_stored=bits)])


def of_every_decoder(monkeypatch, dataset, syntax):
    """The stored values and warnings, which must not depend on the decoder."""
    found = []
    for plugin in sorted(get_decoder(syntax).available_plugins):
        with monkeypatch.context() as patch:
            with_only(patch, syntax, plugin)
            stored = stored_values(dataset)
            assert stored.decoder == plugin
            found.append(stored)
    for other in found[1:]:
        np.testing.assert_array_equal(other.values, found[0].values)
        assert other.warnings == found[0].warnings
    return found[0]


@pytest.mark.parametrize("coded_bits", ["as stored", "all"])
@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("sign", [0, 1])
def test_jpeg_2000_is_read_with_the_sign_of_the_header_by_every_decoder(monkeypatch, bits, coded_bits, signed, sign):
    values = bump(bits, -(1 << (bits - 1)) if sign else 0)
    coded = bits if coded_bits == "as stored" else 8 if bits <= 8 else 16
    raw = jpeg_2000(values, bits=coded, signed=signed)
    dataset = image(values, syntax=JPEG2000Lossless, raw=raw, **described(bits, sign))
    stored = of_every_decoder(monkeypatch, dataset, JPEG2000Lossless)
    np.testing.assert_array_equal(stored.values, values)
    assert stored.warnings == (("codestream_sign",) if signed != bool(sign) else ())


@pytest.mark.parametrize("sign", [0, 1])
def test_a_codestream_whose_own_sign_makes_the_picture_is_refused(sign):
    # The encoder was told the truth and the header is wrong: read as it says, the film would jump in its middle.
    values = bump(12, 0 if sign else -2048)
    raw = jpeg_2000(values, bits=12, signed=not sign)
    rejected = rejection(image(values, syntax=JPEG2000Lossless, raw=raw, **described(12, sign)))
    assert (rejected.code, rejected.found) == ("bits", "")
    assert rejected.expected == f"{'signed' if sign else 'unsigned'} values, as the header says"


def test_the_film_is_the_same_whatever_the_sign_of_the_codestream(tmp_path):
    values = np.kron(bump(12), np.ones((8, 8), dtype=np.int32))
    films = []
    for signed in (False, True):
        raw = jpeg_2000(values, bits=12, signed=signed)
        films.append(read_dicom(write(tmp_path / "image.dcm", image(values, syntax=JPEG2000Lossless, raw=raw))))
    np.testing.assert_array_equal(films[0].pixels, films[1].pixels)
    assert (films[0].warnings, films[1].warnings) == ((), ("codestream_sign",))


@pytest.mark.parametrize("coded", [12, 16])
@pytest.mark.parametrize("sign", [0, 1])
def test_jpeg_ls_has_no_sign_and_is_read_with_that_of_the_header_by_every_decoder(monkeypatch, coded, sign):
    values = bump(12, -2048 if sign else 0)
    dataset = image(values, **described(coded, sign))
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit = 12, 11
    stored = of_every_decoder(monkeypatch, dataset, JPEGLSLossless)
    np.testing.assert_array_equal(stored.values, values)
    assert stored.warnings == ()
    # Unsigned values under a header that says signed: white would turn black.
    dataset.PixelRepresentation = 1 - sign
    assert sign or rejection(dataset).code == "bits"


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_values_beyond_the_stored_bits_are_refused_however_many_the_codestream_has(syntax):
    dataset = image(bump(14), **described(16))
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit = 12, 11
    assert rejection(dataset).code == "bits"


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_of_fewer_bits_than_stored_is_warned_about(monkeypatch, syntax):
    values = bump(10)
    dataset = image(values, **described(10))
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit = 12, 11
    stored = of_every_decoder(monkeypatch, dataset, syntax)
    np.testing.assert_array_equal(stored.values, values)
    assert (stored.warnings, stored.highest) == (("codestream_bits",), 4095)


def test_jpeg_of_8_bits_in_12_stored_is_warned_about():
    values = bump(8).astype(np.uint8)
    dataset = image(values, syntax=JPEGBaseline8Bit, raw=encoded(values, "JPEG", quality=95), **described(12))
    assert stored_values(dataset).warnings == ("codestream_bits",)


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_header_of_the_wrong_sign_is_told_by_a_film_that_jumps_in_its_middle(syntax, bits, sign):
    for right in (True, False):
        is_signed = bool(sign) == right
        lowest = -(1 << (bits - 1)) if is_signed else 0
        # Cells without unused bits, and without the sign in them.
        cells = bump(bits, lowest) & ((1 << bits) - 1)
        dataset = image(cells, **described(bits, sign))
        if syntax:
            dataset.compress(syntax, generate_instance_uid=False)
        if right:
            np.testing.assert_array_equal(stored_values(dataset).values, bump(bits, lowest))
        else:
            assert rejection(dataset).code == "bits"


def test_black_and_white_in_turn_say_nothing_of_the_sign():
    values = np.kron(np.add.outer(np.arange(32), np.arange(32)) % 2 * 4095, np.ones((2, 2), dtype=int))
    np.testing.assert_array_equal(stored_values(image(values)).values, values)


# What stands above 12 stored bits. It may vary where it is the sign or an overlay, and nowhere else.
def test_unused_bits_may_be_constant():
    values = ramp(16, 16)
    for above in (0x0000, 0x8000, 0xF000, 0xA000):
        np.testing.assert_array_equal(stored_values(image(values | above)).values, values)


def test_unused_bits_that_vary_are_values_that_do_not_fit():
    assert rejection(image(ramp(16, 16, 16383))).code == "bits"
    values = ramp(16, 16)
    values[3, 3] |= 0x1000
    assert rejection(image(values)).code == "bits"


def test_unused_bits_may_repeat_the_sign_and_nothing_else():
    values = bump(12, -2048).astype(np.int16)
    np.testing.assert_array_equal(stored_values(image(values, PixelRepresentation=1)).values, values)
    np.testing.assert_array_equal(stored_values(image(values & 0x0FFF, PixelRepresentation=1)).values, values)
    # Signed cells under a header that says unsigned.
    assert rejection(image(values.view(np.uint16))).code == "bits"
    values[3, 3] = 0x1000
    assert rejection(image(values, PixelRepresentation=1)).code == "bits"


@pytest.mark.parametrize("group", [0x6000, 0x601E])
@pytest.mark.parametrize("sign", [0, 1])
def test_unused_bits_may_hold_the_overlays_that_the_header_names(tmp_path, group, sign):
    values = np.kron(bump(12, -2048 if sign else 0), np.ones((8, 8), dtype=np.int32))
    marked = (values & 0xFFFF) ^ np.where(np.arange(values.shape[1]) % 7 == 0, 0x4000, 0)
    tags = {"PixelRepresentation": sign, "WindowCenter": -1 if sign else 2047}
    dataset = image(marked.astype(np.uint16), **tags)
    assert rejection(dataset).code == "bits"
    dataset.add_new((group, 0x0102), "US", 13)
    assert rejection(dataset).code == "bits"
    dataset[group, 0x0102].value = 14
    np.testing.assert_array_equal(stored_values(dataset).values, values)
    plain = read_dicom(write(tmp_path / "plain.dcm", image(values, **tags)))
    film = read_dicom(write(tmp_path / "image.dcm", dataset))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


def test_an_overlay_position_that_is_no_bit_claims_none():
    for position in (0, 11, 65535):
        dataset = image(ramp(16, 16, 16383))
        dataset.add_new(0x60000102, "US", position)
        assert rejection(dataset).code == "bits"


def test_what_stands_below_the_stored_bits_may_vary():
    values = ramp(16, 16, 65535)
    np.testing.assert_array_equal(stored_values(image(values, HighBit=15)).values, values >> 4)


def test_run_length_coded_cells_are_judged_as_native_ones():
    for values, accepted in ((ramp(16, 16) | 0x8000, True), (ramp(16, 16, 16383), False)):
        dataset = image(values)
        dataset.compress(RLELossless, generate_instance_uid=False)
        if accepted:
            np.testing.assert_array_equal(stored_values(dataset).values, values & 0x0FFF)
        else:
            assert rejection(dataset).code == "bits"


def test_a_codestream_of_fewer_bits_than_a_film_has_is_refused_before_a_decoder_ends_the_process_over_it():
    values = bump(4)
    dataset = image(values, syntax=JPEG2000Lossless, raw=jpeg_2000(values, bits=4, signed=False), **described(12))
    rejected = rejection(dataset)
    assert (rejected.code, rejected.found) == ("bits", "4")
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 4, 3
    np.testing.assert_array_equal(stored_values(dataset).values, values)


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless])
@pytest.mark.parametrize("stored", [14, 16])
@pytest.mark.parametrize("sign", [0, 1])
def test_the_middle_of_the_gray_scale_is_that_of_the_bits_that_values_take(syntax, stored, sign):
    # 12 signed bits without their sign, in a header of more: they wrap at 2048, which is not the middle of 14 or 16.
    dataset = image(bump(12, -2048) & 4095, **described(stored, sign))
    if syntax:
        dataset.compress(syntax, generate_instance_uid=False)
    assert rejection(dataset).code == "bits"


@pytest.mark.parametrize("stored", [14, 16])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_codestream_of_another_sign_and_of_fewer_bits_is_refused_where_its_own_sign_makes_the_picture(stored, sign):
    values = bump(12, 0 if sign else -2048)
    raw = jpeg_2000(values, bits=12, signed=not sign)
    assert rejection(image(values, syntax=JPEG2000Lossless, raw=raw, **described(stored, sign))).code == "bits"
