"""The whole chain against highdicom's, which was written by others from the same standard."""

import warnings

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from chexkeras.dicom.pixels.display import render
from tests.dicom.dicom_images import image, lookup_item, write

highdicom = pytest.importorskip("highdicom")

EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
EXACT, SIGMOID = {"VOILUTFunction": "LINEAR_EXACT"}, {"VOILUTFunction": "SIGMOID"}


def theirs(path):
    """The first frame as highdicom shows it, 0 to 1, or its modality values where the file has no VOI transform."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        radiograph = highdicom.imread(path)
        return radiograph.get_frame(1, apply_voi_transform=None, apply_presentation_lut=True)


def check(path, *, ranged=False):
    """Compares; `ranged` where no window says how modality values become grey, so that percentiles are shown."""
    dataset = pydicom.dcmread(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, frame = render(dataset), theirs(path)
    if ranged:
        middle = np.percentile(frame, [0.5, 99.5], method="inverted_cdf")
        low, high = (0, 255) if dataset.BitsStored == 8 else middle
        frame = np.clip((frame - low) / (high - low), 0, 1)
    # Both round the same number once, so that only a value within rounding of a half may differ.
    assert np.abs(ours.pixels - frame * 255).max() <= 0.5 + 1e-6
    assert np.unique(ours.pixels).size > 2


WINDOWS = [
    {},
    {"WindowCenter": 1000.5, "WindowWidth": 801},
    {"WindowCenter": 1000, "WindowWidth": 1},
    {"WindowCenter": 900, "WindowWidth": 800, "VOILUTFunction": "LINEAR_EXACT"},
    {"WindowCenter": 900, "WindowWidth": 800, "VOILUTFunction": "SIGMOID"},
    {"WindowCenter": [700, 2000], "WindowWidth": [300, 4000]},
    # highdicom divides a window by the slope, which is the standard's formula for these two functions only; LINEAR
    # after rescaling is compared with pydicom in test_pixels.py.
    {"WindowCenter": -100, "WindowWidth": 900, "RescaleSlope": 0.5, "RescaleIntercept": -700, **EXACT},
    {"WindowCenter": 300, "WindowWidth": 2000, "RescaleSlope": 2, "RescaleIntercept": 500, **SIGMOID},
]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("sign", [0, 1])
def test_windows_senses_and_signs_agree(tmp_path, window, photometric, sign):
    rng = np.random.default_rng(7)
    values = rng.integers(-2048, 2048, (48, 40)).astype(np.int16) if sign else rng.integers(0, 4096, (48, 40))
    shape = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    tags = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape, "PixelRepresentation": sign}
    path = write(tmp_path / "image.dcm", image(values, **{**tags, **window}))
    if window.get("WindowWidth") == 1:
        # Black and white only: compared as they are.
        assert np.array_equal(render(pydicom.dcmread(path)).pixels, np.rint(theirs(path) * 255))
    else:
        check(path)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("first", [0, 1000])
def test_voi_tables_agree(tmp_path, photometric, first):
    values = np.random.default_rng(8).integers(0, 4096, (48, 40))
    table = lookup_item(np.linspace(0, 65535, 2000).round(), first, 16)
    table[0].LUTExplanation = "NORMAL"
    shape = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    tags = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape, "VOILUTSequence": table}
    check(write(tmp_path / "image.dcm", image(values, drop=("WindowCenter", "WindowWidth"), **tags)))


def test_modality_tables_agree(tmp_path):
    values = np.random.default_rng(9).integers(0, 4096, (48, 40))
    table = lookup_item(np.sqrt(np.arange(4096) * 4096).round(), 0, 16)
    table[0].ModalityLUTType = "US"
    drop = ("RescaleSlope", "RescaleIntercept")
    check(write(tmp_path / "image.dcm", image(values, drop=drop, ModalityLUTSequence=table)))


# pydicom's own files that hold one frame of grey values, from other makers and with other transfer syntaxes.
BUNDLED = {
    "693_J2KI.dcm": False,
    "J2K_pixelrep_mismatch.dcm": False,
    "examples_overlay.dcm": False,
    "MR_small.dcm": False,
    "MR_small_RLE.dcm": False,
    "MR_small_jp2klossless.dcm": False,
    "MR_small_jpeg_ls_lossless.dcm": False,
    "CT_small.dcm": True,
    "JPEG2000.dcm": True,
    "JPEGLSNearLossless_08.dcm": True,
}


@pytest.mark.parametrize(("name", "ranged"), BUNDLED.items())
def test_published_files_agree(name, ranged):
    check(get_testdata_file(name, download=False), ranged=ranged)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "ranged"),
    [
        ("RG1_J2KI.dcm", False),
        ("RG3_J2KR.dcm", False),
        ("vlut_04.dcm", False),
        ("JPGLosslessP14SV1_1s_1f_8b.dcm", False),
        ("JLSL_16_15_1_1F.dcm", True),
    ],
)
def test_published_images_and_tables_agree(real_dicom, name, ranged):
    check(real_dicom / "codecs" / name, ranged=ranged)
