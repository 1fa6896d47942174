"""Frames compressed by every encoder at hand: those of pydicom's plugins, GDCM's, and Pillow's."""

import tempfile
from pathlib import Path

import gdcm
import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset

from tests.dicom.dicom_images import encoded, image, write

_GDCM = {
    uid.JPEGBaseline8Bit: "JPEGBaselineProcess1",
    uid.JPEGExtended12Bit: "JPEGExtendedProcess2_4",
    uid.JPEGLossless: "JPEGLosslessProcess14",
    uid.JPEGLosslessSV1: "JPEGLosslessProcess14_1",
    uid.JPEGLSLossless: "JPEGLSLossless",
    uid.JPEG2000Lossless: "JPEG2000Lossless",
    uid.RLELossless: "RLELossless",
}
_LOSSY = {uid.JPEGLSNearLossless: {"jls_error": 2}, uid.JPEG2000: {"j2k_psnr": [70]}}

ENCODERS = {
    uid.RLELossless: ("pydicom", "GDCM"),
    uid.JPEGLSLossless: ("pyjpegls", "GDCM"),
    uid.JPEGLSNearLossless: ("pyjpegls",),
    uid.JPEG2000Lossless: ("pylibjpeg", "GDCM"),
    uid.JPEG2000: ("pylibjpeg",),
    uid.JPEGLossless: ("GDCM",),
    uid.JPEGLosslessSV1: ("GDCM",),
    uid.JPEGBaseline8Bit: ("Pillow", "GDCM"),
    uid.JPEGExtended12Bit: ("GDCM",),
}
"""What encodes each transfer syntax here. No encoder at hand writes high-throughput JPEG 2000."""

LOSSLESS = (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.JPEGLossless, uid.JPEGLosslessSV1)
"""The syntaxes that give back what was stored, of those that can be written here."""


def described(bits: int, sign: int = 0) -> dict[str, int]:
    """The tags of an image of so many bits."""
    allocated = 8 if bits <= 8 else 16
    return {"BitsAllocated": allocated, "BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": sign}


def smooth(bits: int, sign: int = 0, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    """An image that uses all of its bits, as smooth as a radiograph: dark in a corner, bright inside.

    It leaves out the two lowest and the two highest values: near-lossless JPEG-LS codes signed values as the bits that
    hold them, where an error of two leads from the lowest value to the highest.
    """
    row, column = np.mgrid[: shape[0], : shape[1]]
    wave = np.sin(3 * row / shape[0]) ** 2 * np.sin(3 * column / shape[1]) ** 2
    values = 2 + np.rint(wave * (2**bits - 5)).astype(np.int32) - (1 << (bits - 1)) * sign
    return values.astype(f"{'i' if sign else 'u'}{1 if bits <= 8 else 2}")


def compressed(dataset: Dataset, syntax: str, encoder: str) -> Dataset:
    """Returns an uncompressed image in another transfer syntax.

    Args:
        dataset: The image, as `image` makes it.
        syntax: A transfer syntax of `ENCODERS`.
        encoder: One of its encoders.
    """
    if encoder == "Pillow":
        values = dataset.pixel_array.astype(np.uint8)
        return _with_pixels(dataset, syntax, encoded(values, "JPEG", quality=95))
    if encoder == "GDCM":
        return _with_pixels(dataset, syntax, _by_gdcm(dataset, syntax))
    made = _with_pixels(dataset, dataset.file_meta.TransferSyntaxUID, dataset.PixelData)
    options = _LOSSY.get(syntax, {})
    made.compress(syntax, encoding_plugin=encoder, generate_instance_uid=False, **options)
    return made


def _with_pixels(dataset, syntax, pixels):
    made = Dataset()
    made.update(dataset)
    made.file_meta = type(dataset.file_meta)()
    made.file_meta.update(dataset.file_meta)
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = pixels
    made["PixelData"].VR = "OB" if uid.UID(syntax).is_encapsulated else "OW"
    return made


def _by_gdcm(dataset, syntax):
    with tempfile.TemporaryDirectory() as folder:
        source, target = write(Path(folder) / "source", dataset), Path(folder) / "target"
        reader = gdcm.ImageReader()
        reader.SetFileName(str(source))
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, _GDCM[syntax])))
        if not reader.Read():
            raise ValueError("GDCM reads no such image")
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise ValueError(f"GDCM writes no such image in {syntax}")
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(target))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise ValueError("GDCM did not write the image")
        return pydicom.dcmread(target).PixelData


def coded_image(bits: int, sign: int, syntax: str, encoder: str, shape: tuple[int, int] = (48, 64)) -> Dataset:
    """The image of `smooth` in a transfer syntax, shown over its whole range."""
    middle = -0.5 if sign else (2**bits - 1) / 2
    tags = {**described(bits, sign), "WindowCenter": middle, "WindowWidth": 2**bits}
    return compressed(image(smooth(bits, sign, shape), **tags), syntax, encoder)
