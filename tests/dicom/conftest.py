import os
from pathlib import Path

import pytest

from tests.dicom.dicom_images import image, ramp, write


@pytest.fixture
def make_image(tmp_path):
    """Writes an image and returns its path: ``make_image(values=None, name="image.dcm", drop=(), **tags)``."""

    def make(values=None, *, name="image.dcm", **options):
        return write(tmp_path / name, image(ramp() if values is None else values, **options))

    return make


@pytest.fixture
def real_dicom():
    """The folder with the published test images, or a skip."""
    root = os.environ.get("CHEXKERAS_TEST_DATA")
    if not root or not (Path(root) / "dicom").is_dir():
        pytest.skip("set CHEXKERAS_TEST_DATA to a folder with dicom/course and dicom/codecs")
    return Path(root) / "dicom"
