"""One image, whatever decodes it: the decoders of a transfer syntax against what was stored and one another."""

import itertools

import numpy as np
import pytest
from pydicom import uid
from pydicom.pixels import get_decoder

from chexkeras.dicom.pixels import decoding
from chexkeras.dicom.pixels.decoding import COMPRESSED, NATIVE, stored_values
from chexkeras.dicom.read import read_dicom
from tests.dicom.dicom_images import image, with_only, write
from tests.dicom.encoders import ENCODERS, LOSSLESS, coded_image, described, smooth

BITS = (8, 10, 12, 14, 15, 16)
# How far a lossy code may be off, in stored values: near-lossless by its own promise, the others of the whole range.
_OFF = {uid.JPEGLSNearLossless: lambda bits: 2, uid.JPEGBaseline8Bit: lambda bits: 3}
_EIGHT_BITS_ALONE = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
# How far two decoders may be apart. Each may round a cosine transform up or down (ITU-T T.83), or a wavelet's floats.
_APART = {uid.JPEGBaseline8Bit: 2, uid.JPEGExtended12Bit: 2, uid.JPEG2000: 1}


def decoders(syntax):
    """The decoders of a syntax that are required here; that of an extra is asked where it is installed."""
    return sorted(get_decoder(syntax).available_plugins)


def cases():
    for syntax, encoders in ENCODERS.items():
        for encoder, bits, sign in itertools.product(encoders, BITS, (0, 1)):
            if syntax not in _EIGHT_BITS_ALONE or (bits, sign) == (8, 0):
                yield pytest.param(syntax, encoder, bits, sign, id=f"{syntax.keyword}-{encoder}-{bits}-{'us'[sign]}")


def off(syntax, bits):
    if syntax in LOSSLESS:
        return 0
    return _OFF[syntax](bits) if syntax in _OFF else max(2, 2**bits // 200)


@pytest.mark.parametrize(("syntax", "encoder", "bits", "sign"), list(cases()))
def test_all_decoders_give_what_was_stored(monkeypatch, syntax, encoder, bits, sign):
    values, dataset = smooth(bits, sign).astype(np.int32), coded_image(bits, sign, syntax, encoder)
    found = {}
    for plugin in decoders(syntax):
        with monkeypatch.context() as patch:
            with_only(patch, syntax, plugin)
            stored = stored_values(dataset)
        assert (stored.decoder, stored.warnings) == (plugin, ())
        found[plugin] = stored.values
        assert np.abs(stored.values - values).max() <= off(syntax, bits), plugin
    for one, other in itertools.combinations(found, 2):
        assert np.abs(found[one] - found[other]).max() <= _APART.get(syntax, 0), (one, other)


@pytest.mark.parametrize("syntax", sorted(NATIVE))
@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("bits", BITS)
def test_native_values_come_back(syntax, bits, sign):
    values = smooth(bits, sign)
    cells = values
    if syntax == uid.ExplicitVRBigEndian and bits == 8:
        # Bytes in words of 16 bits change places (PS3.5 7.3).
        cells = values.reshape(-1, 2)[:, ::-1].reshape(values.shape)
    dataset = image(cells, syntax=uid.UID(syntax), **described(bits, sign))
    np.testing.assert_array_equal(stored_values(dataset).values, values)


@pytest.mark.parametrize("syntax", ENCODERS, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("sign", [0, 1])
def test_the_image_is_the_same_whichever_decoder_is_asked_first(tmp_path, monkeypatch, syntax, sign):
    bits = 8 if syntax in _EIGHT_BITS_ALONE else 12
    if sign and bits == 8:
        pytest.skip("baseline JPEG has no sign")
    path = write(tmp_path / "image.dcm", coded_image(bits, sign, syntax, ENCODERS[syntax][-1], (256, 256)))
    seen = {}
    # The last resort among them: it is asked first where it is alone.
    monkeypatch.setattr(decoding, "_LAST_RESORT", "")
    for order in itertools.permutations(decoders(syntax)):
        monkeypatch.setattr(decoding, "_PREFERRED", order)
        seen[order] = read_dicom(path)
        assert seen[order].decoder == order[0]
    first = next(iter(seen.values()))
    for order, film in seen.items():
        apart = np.abs(film.pixels.astype(int) - first.pixels).max()
        assert apart <= _APART.get(syntax, 0), order
        assert (film.view, film.warnings) == (first.view, first.warnings)
    assert np.unique(first.pixels).size > 100


def test_every_syntax_is_tried_but_those_that_nothing_here_writes():
    # One decoder reads these, and its results are tested against those of another encoder in test_transfer_syntaxes.py.
    high_throughput = {uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}
    assert set(ENCODERS) == COMPRESSED - high_throughput
    for syntax in high_throughput:
        assert decoders(syntax) == ["pylibjpeg"]
