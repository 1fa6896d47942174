"""Images are known again by hashes, as the audit's measure of copies would know them, and nothing of them is kept."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.audit.duplicates import SIMILARITY, near_duplicates_between
from chexkeras.data.audit.fingerprints import Fingerprints, FingerprintsTaken
from chexkeras.data.audit.image_checks import thumbnail

SIDE = 64


def films(count, seed=0):
    """Smooth images that all share an anatomy, as chest images do: between them correlations reach 0.96."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(12, 12))
    made = []
    for _ in range(count):
        coarse = shared + rng.normal(scale=0.5, size=(12, 12))
        wide = Image.fromarray(coarse.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        made.append(np.asarray(wide).clip(-3, 3) * 35 + 120)
    return np.rint(np.stack(made)).astype(np.uint8)


def taken(images):
    found = FingerprintsTaken()
    ids = [str(number) for number in range(len(images))]
    for start in range(0, len(images), 7):
        found(ids[start : start + 7], images[start : start + 7, ..., np.newaxis].astype(np.float32))
    return found.of(ids)


def jpeg(image):
    written = io.BytesIO()
    Image.fromarray(image).save(written, "JPEG", quality=50)
    return np.asarray(Image.open(written))


def smaller(image):
    half = Image.fromarray(image).resize((SIDE // 2, SIDE // 2), Image.Resampling.LANCZOS)
    return np.asarray(half.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def brighter(image):
    return (image + 10.0).clip(0, 255).astype(np.uint8)


def test_the_same_pixels_are_known_again_and_other_images_are_not():
    mine, others = films(60), films(60, seed=1)
    same, near = taken(mine).known_in(taken(np.concatenate([others, mine[:5]])))
    assert same.tolist() == [False] * 60 + [True] * 5 and not near.any()


@pytest.mark.parametrize("change", [jpeg, smaller, brighter])
def test_copies_by_the_audit_s_measure_are_nearly_the_same(change):
    mine = films(60)
    copies = np.stack([change(image) for image in mine])
    pairs = near_duplicates_between(np.stack(list(map(thumbnail, mine))), np.stack(list(map(thumbnail, copies))))
    assert len(pairs) == 60 and pairs["similarity"].min() >= SIMILARITY
    same, near = taken(mine).known_in(taken(copies))
    assert not same.any() and near.all()


def test_marks_agree_less_and_less_from_the_audit_s_threshold_down():
    """Thumbnails mixed to a correlation: at 0.997 nearly all pairs are found, between patients hardly one."""
    rng = np.random.default_rng(3)
    first, noise = (rng.normal(size=(400, 16, 16)) for _ in range(2))
    for values in (first, noise):
        values -= values.mean(axis=(1, 2), keepdims=True)
        values /= np.linalg.norm(values, axis=(1, 2), keepdims=True)

    def found(correlation):
        mixed = correlation * first + np.sqrt(1 - correlation**2) * noise
        one, two = ((np.rint(each * 350) + 128).clip(0, 255).astype(np.uint8) for each in (first, mixed))
        return float(np.mean([taken(one[row : row + 1]).known_in(taken(two[row : row + 1]))[1] for row in range(400)]))

    assert found(0.9995) > 0.99 and found(0.998) > 0.9 and found(0.997) > 0.7
    assert found(0.973) < 0.01 and found(0.9) == 0


def test_an_image_whose_thumbnail_is_flat_is_known_by_its_pixels_alone():
    flat = np.full((1, SIDE, SIDE), 90, np.uint8)
    found, others = taken(flat), taken(np.concatenate([flat, flat + 1]))
    assert not found.marked.any()
    assert [values.tolist() for values in found.known_in(others)] == [[True, False], [False, False]]


def test_what_is_kept_is_read_again_and_says_nothing_of_names_order_or_gray_values():
    images = films(20)
    images[4] = 90
    found, order = taken(images), np.random.default_rng(0).permutation(20)
    table = found.to_frame()
    pd.testing.assert_frame_equal(table, taken(images[order]).to_frame())
    assert list(table.columns) == ["pixels", "marks"] and set(table["pixels"].str.len()) == {32}
    assert set(table["marks"].str.len()) == {0, 128}
    again = Fingerprints.from_frame(table)
    assert again.known_in(found)[0].all()
    copies = taken(np.stack([brighter(image) for image in images]))
    assert [values.tolist() for values in again.known_in(copies)] == [
        values.tolist() for values in found.known_in(copies)
    ]
    # A version whose hash or signs differ would know no image of an earlier run again.
    (row,) = taken(np.arange(SIDE * SIDE).reshape(1, SIDE, SIDE) // 16).to_frame().to_dict("records")
    assert (row["pixels"], row["marks"][:16]) == ("207715f8d5531911f7403eff024bf7e2", "0b6a0975f5e71f79")


@pytest.mark.parametrize("row", [("ab", ""), ("g" * 32, ""), ("0" * 32, "0" * 127), ("0" * 32, "x" * 128)])
def test_other_rows_are_refused(row):
    with pytest.raises(ValueError, match="hold no fingerprint"):
        Fingerprints.from_frame(pd.DataFrame([row], columns=["pixels", "marks"]))
