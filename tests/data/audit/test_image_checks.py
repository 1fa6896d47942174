import functools
import shutil

import numpy as np
import pytest
from PIL import Image

from chexkeras.data.audit import image_checks
from chexkeras.data.audit.image_checks import DICOM, GRAY_STEPS, image_facts, open_images, thumbnail
from chexkeras.dicom import read
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from tests.dicom.dicom_images import image, ramp, write
from tests.dicom.workers.worker_faults import FAULTY


def shown(facts) -> np.ndarray:
    return np.frombuffer(facts.thumbnail, "<u2").reshape(16, 16) / GRAY_STEPS


def test_a_thumbnail_holds_the_means_of_equal_areas(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    expected = pixels.reshape(16, 4, 16, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(shown(image_facts(str(tmp_path / "image.png"))), expected, atol=0.5 / GRAY_STEPS + 1e-4)


def test_a_thumbnail_is_the_same_for_every_mode_that_stores_the_same_gray(tmp_path):
    gray = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40), dtype=np.uint8))
    seen = []
    for mode in ("L", "RGB", "RGBA", "LA"):
        gray.convert(mode).save(tmp_path / f"{mode}.png")
        seen.append(image_facts(str(tmp_path / f"{mode}.png")).thumbnail)
    assert len(set(seen)) == 1 and len(seen[0]) == 512


def test_sixteen_bits_are_brought_to_the_same_scale_and_keep_their_low_contrast(tmp_path):
    gray = np.random.default_rng(2).integers(0, 256, (32, 32)).astype(np.uint16)
    Image.fromarray(gray * 257).save(tmp_path / "deep.png")
    np.testing.assert_allclose(
        shown(image_facts(str(tmp_path / "deep.png"))), gray.reshape(16, 2, 16, 2).mean(axis=(1, 3)), atol=0.01
    )
    Image.fromarray((gray // 16 + 1000).astype(np.uint16)).save(tmp_path / "faint.png")
    assert len(np.unique(shown(image_facts(str(tmp_path / "faint.png"))))) > 10


@pytest.mark.parametrize("shape", [(5, 9), (1, 300), (17, 33), (1024, 700)])
def test_any_shape_has_a_thumbnail_between_its_darkest_and_brightest_pixel(shape):
    pixels = np.random.default_rng(3).integers(40, 200, shape, dtype=np.uint8)
    small = thumbnail(pixels) / GRAY_STEPS
    assert small.shape == (16, 16)
    assert small.min() >= pixels.min() - 0.01 and small.max() <= pixels.max() + 0.01
    assert small.mean() == pytest.approx(pixels.mean(), abs=10)


def test_several_pictures_and_an_image_cut_short_are_told(tmp_path):
    slope = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    pictures = [Image.fromarray(slope), Image.fromarray(slope[::-1])]
    for name, form in (("several.png", "PNG"), ("several.jpg", "MPO")):
        pictures[0].save(tmp_path / name, form, save_all=True, append_images=pictures[1:])
        assert image_facts(str(tmp_path / name)).detail == "2 pictures in one file; one was expected"
    pictures[0].save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[:-150] + b"\xff\xd9")
    assert image_facts(str(tmp_path / "whole.jpg")).problem == ""
    facts = image_facts(str(tmp_path / "cut.jpg"))
    assert (facts.problem, facts.detail[:32]) == ("unreadable", "the data end before the last row")


def test_a_image_that_cannot_be_used_has_no_thumbnail(tmp_path):
    Image.new("L", (16, 16), 7).save(tmp_path / "constant.png")
    assert image_facts(str(tmp_path / "constant.png")).thumbnail == b""
    assert image_facts("").thumbnail == b""


def test_a_dicom_file_is_read_by_a_worker_that_it_may_take_down(tmp_path, monkeypatch):
    good = write(tmp_path / "good", image(ramp(300, 280)))
    # A file that begins as an image file does is DICOM, as it is for scoring.
    content = bytearray(good.read_bytes())
    content[:8] = b"\x89PNG\r\n\x1a\n"
    (tmp_path / "disguised").write_bytes(content)
    for fault in ("segfault", "raise"):
        shutil.copy(good, tmp_path / fault)
    pool = functools.partial(ReaderPool, FAULTY, ReadOptions(workers=1))
    monkeypatch.setattr(image_checks, "ReaderPool", pool)
    monkeypatch.setattr(read.display, "render", lambda *_: pytest.fail("decoded in the audit's own process"))
    Image.fromarray(ramp(highest=255).astype(np.uint8)).save(tmp_path / "png", "PNG")
    names = ("segfault", "good", "png", "raise", "disguised", "missing")
    facts, thumbnails = open_images([str(tmp_path / name) for name in names])
    assert [fact.problem for fact in facts] == ["rejected_dicom", "", "", "rejected_dicom", "", "missing_file"]
    assert [fact.mode for fact in facts] == ["", DICOM, "L", "", DICOM, ""]
    assert "decoder_crash" in facts[0].detail and facts[1].digest == facts[4].digest
    assert thumbnails.any(axis=(1, 2)).tolist() == [False, True, True, False, True, False]


def test_processes_of_the_audit_leave_dicom_files_to_workers_too(tmp_path):
    path = str(write(tmp_path / "good", image(ramp(300, 280))))
    assert open_images([path], processes=1)[0] == open_images([path])[0] != [image_facts(path)]
