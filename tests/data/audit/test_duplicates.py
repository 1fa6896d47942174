import io

import numpy as np
import pytest
from PIL import Image

from chexkeras.data.audit import duplicates as module
from chexkeras.data.audit.duplicates import TooAlike, near_duplicates
from chexkeras.data.audit.image_checks import thumbnail
from chexkeras.data.datasets.nih import load_nih


def smooth(count: int, seed: int = 0) -> np.ndarray:
    """Thumbnails that resemble each other as images do: a common picture and a few large differences."""
    rng = np.random.default_rng(seed)
    common = rng.random((16, 16)) * 200
    waves = rng.normal(size=(12, 256))
    return (common.ravel() + rng.normal(size=(count, 12)) @ waves * 4).reshape(count, 16, 16)


def by_brute_force(images: np.ndarray, similarity: float) -> set[tuple[int, int]]:
    correlation = np.corrcoef(images.reshape(len(images), -1))
    return set(zip(*(side.tolist() for side in np.nonzero(np.triu(correlation >= similarity, 1))), strict=True))


@pytest.mark.parametrize("similarity", [0.97, 0.98, 0.99])
def test_it_finds_the_pairs_that_comparing_all_with_all_finds(similarity):
    images = smooth(300)
    # Copies at every distance around the limit.
    noise = np.random.default_rng(0).normal(size=(100, 16, 16)) * np.linspace(0, 30, 100)[:, None, None]
    images[200:] = images[:100] * 0.9 + 7 + noise
    found = near_duplicates(images, similarity=similarity)
    expected = by_brute_force(images, similarity)
    assert set(zip(found["first"], found["second"], strict=True)) == expected and 20 < len(expected) < 10_000
    pairs = images.reshape(300, -1)
    check = [np.corrcoef(pairs[first], pairs[second])[0, 1] for first, second in sorted(expected)]
    np.testing.assert_allclose(found["similarity"], check, atol=1e-9)


def test_blocks_change_nothing(monkeypatch):
    images = smooth(300)
    images[200:] = images[:100] + 3
    whole = near_duplicates(images)
    monkeypatch.setattr(module, "_BLOCK", 37)
    np.testing.assert_allclose(near_duplicates(images), whole)
    assert len(whole) >= 100


def test_pairs_come_in_order_with_the_earlier_image_first():
    images = smooth(50)
    images[[3, 20, 49]] = images[10] + np.arange(3)[:, None, None]
    found = near_duplicates(images)
    assert found[["first", "second"]].to_numpy().tolist() == [[3, 10], [3, 20], [3, 49], [10, 20], [10, 49], [20, 49]]


def test_flat_thumbnails_no_images_and_one_image_are_in_no_pair():
    images = smooth(5)
    images[1:4] = np.arange(3)[:, None, None]
    assert near_duplicates(images).empty
    assert near_duplicates(images[:1]).empty
    nothing = near_duplicates(images[:0])
    assert nothing.empty and list(nothing.columns) == ["first", "second", "similarity"]


def test_images_that_are_all_alike_are_refused_before_the_pairs_are_listed(monkeypatch):
    images = np.repeat(smooth(1), 400, axis=0)
    monkeypatch.setattr(module, "MOST_PAIRS", 1000)
    with pytest.raises(
        TooAlike, match=r"about 79,800 pairs among 400 images look alike, more than 1,000.*Look at some"
    ):
        near_duplicates(images)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"thumbnails have shape \(4, 256\); expected \(images, height, width\)"):
        near_duplicates(np.zeros((4, 256)))
    with pytest.raises(ValueError, match=r"similarity=99.7 must lie strictly between 0 and 1"):
        near_duplicates(smooth(3), similarity=99.7)


# Real images


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    written = io.BytesIO()
    image.save(written, "JPEG", quality=quality)
    return Image.open(written).convert("L")


def _curve(image: Image.Image, curve) -> Image.Image:
    return image.point([int(np.clip(np.rint(curve(value)), 0, 255)) for value in range(256)])


COPIES = {
    "JPEG 90": lambda image: _jpeg(image, 90),
    "JPEG 50": lambda image: _jpeg(image, 50),
    "half": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "224 px": lambda image: image.resize((224, 224), Image.Resampling.BILINEAR),
    "1024 px": lambda image: image.resize((1024, 1024), Image.Resampling.BICUBIC),
    "brighter": lambda image: _curve(image, lambda value: value + 10),
    "darker": lambda image: _curve(image, lambda value: value - 10),
    "contrast": lambda image: _curve(image, lambda value: (value - 128) * 1.1 + 128),
    "gamma": lambda image: _curve(image, lambda value: 255 * (value / 255) ** 0.9),
}


@pytest.mark.realdata
@pytest.mark.parametrize("images", ["images", "images_64"])
def test_copies_of_real_images_are_found_and_images_of_other_patients_are_not(real_nih, images):
    table = load_nih(real_nih, images=images, missing="skip").iloc[::20]
    radiographs = [Image.open(path).convert("L") for path in table["path"]]
    originals = np.stack([thumbnail(np.asarray(image)) for image in radiographs])
    patients = table["patient_id"].to_numpy()
    alike = near_duplicates(originals)
    assert (patients[alike["first"]] == patients[alike["second"]]).all()
    for name, change in COPIES.items():
        copies = np.stack([thumbnail(np.asarray(change(image))) for image in radiographs])
        found = near_duplicates(np.concatenate([originals, copies]))
        pairs = set(zip(found["first"], found["second"], strict=True))
        assert {(row, row + len(radiographs)) for row in range(len(radiographs))} <= pairs, name


@pytest.mark.realdata
def test_the_same_images_at_320_and_64_and_1024_pixels_are_found_and_no_others(real_nih):
    tables = [load_nih(real_nih, images=name, missing="skip") for name in ("images", "images_64", "images_1024")]
    images = np.concatenate([table["image_id"] for table in tables])
    patients = np.concatenate([table["patient_id"] for table in tables])
    paths = [path for table in tables for path in table["path"]]
    found = near_duplicates(np.stack([thumbnail(np.asarray(Image.open(path).convert("L"))) for path in paths]))
    same_image = images[found["first"]] == images[found["second"]]
    assert same_image.sum() >= 7 + 44
    # NIH itself holds one image under two follow-up numbers of one patient.
    rest = found[~same_image]
    assert (patients[rest["first"]] == patients[rest["second"]]).all()
    assert set(images[rest["first"]]) | set(images[rest["second"]]) == {"00002658_001.png", "00002658_002.png"}
