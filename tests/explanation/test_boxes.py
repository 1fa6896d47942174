"""Boxes against maps worked out by hand, their scaling, and what points without looking."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation import afroc
from chexkeras.explanation import Heatmaps, compare_with_boxes, localization_study
from chexkeras.explanation.boxes import _mask

SIDE = 40


def maps_at(places, side=SIDE, name="gradcam"):
    """Maps of 10 x 10 cells with one hot cell each, at (row, column)."""
    array = np.zeros((len(places), 1, 10, 10), np.float32)
    for number, (row, column) in enumerate(places):
        array[number, 0, row, column] = 1
    images = tuple(f"image{number}" for number in range(len(places)))
    scores = np.linspace(0.9, 0.5, len(places), dtype=np.float32)[:, np.newaxis]
    return Heatmaps(array, scores, images, ("Mass",), name, "layer", "relative", side)


def boxes_at(rows, image_px=SIDE):
    boxes = pd.DataFrame(rows, columns=["image_id", "x_px", "y_px", "width_px", "height_px"]).assign(finding="Mass")
    boxes.attrs["image_px"] = image_px
    return boxes


def table_of(images, patients=None, label=1.0):
    patients = patients if patients is not None else range(len(images))
    return pd.DataFrame({"image_id": list(images), "patient_id": [str(each) for each in patients], "Mass": label})


def test_the_highest_place_hits_its_box_and_no_other():
    # Cell (row 1, column 2) has its centre at x 10, y 6 of 40.
    maps = maps_at([(1, 2)] * 4)
    boxes = boxes_at(
        [("image0", 8, 4, 4, 4), ("image1", 4, 8, 4, 4), ("image2", 10, 6, 1, 1), ("image3", 30, 30, 5, 5)]
    )
    found = compare_with_boxes(maps, boxes, table_of(maps.images)).findings[0]
    assert (found.n_images, found.n_boxes, found.n_patients) == (4, 4, 4)
    assert found.hit_rate.value == 0.5


def test_boxes_of_1024_pixels_fit_maps_of_any_size():
    """Ten boxes around one place each, from NIH's pixels to the model's and back."""
    rng = np.random.default_rng(0)
    places = [(int(row), int(column)) for row, column in rng.integers(0, 10, (10, 2))]
    for side in (40, 224, 320):
        maps = maps_at(places, side=side)
        drawn = [
            (image, column * 102.4 + 20, row * 102.4 + 20, 62.4, 62.4)
            for image, (row, column) in zip(maps.images, places, strict=True)
        ]
        found = compare_with_boxes(maps, boxes_at(drawn, 1024), table_of(maps.images)).findings[0]
        assert found.hit_rate.value == 1.0
        marks = maps.marks(image_px=1024)
        centres = [((column + 0.5) * 102.4, (row + 0.5) * 102.4) for row, column in places]
        np.testing.assert_allclose(marks[["x_px", "y_px"]], centres)


def test_a_box_covers_the_pixels_whose_centre_it_holds():
    assert _mask(np.array([[1.0, 0.0, 2.0, 1.0]]), 4).astype(int).tolist() == [[0, 1, 1, 0], *[[0] * 4] * 3]
    assert _mask(np.array([[0.4, 0.6, 0.2, 9.0]]), 2).astype(int).tolist() == [[0, 0], [1, 0]]


def test_share_inside_and_overlaps_by_hand():
    # A map that is 1 on the left half of 4 x 4 pixels; the box covers the upper half of it and as much beside it.
    array = np.zeros((2, 1, 4, 4), np.float32)
    array[..., :2] = 1
    scores = np.full((2, 1), 0.5, np.float32)
    maps = Heatmaps(array, scores, ("a", "b"), ("Mass",), "cam", "layer", "logit", 4)
    found = compare_with_boxes(maps, boxes_at([("a", 0, 0, 4, 2), ("b", 0, 0, 4, 2)], 4), table_of("ab")).findings[0]
    assert (found.inside.value, found.box_share) == (0.5, 0.5)
    # Intersection 4, union 8 + 8 - 4, region 8.
    assert [each.value for each in found.iou] == [1, 1, 1, 0, 0, 0, 0]
    assert [each.value for each in found.iobb] == [1, 1, 1, 0, 0]


def test_better_than_the_mean_box_only_where_the_image_was_looked_at():
    rng = np.random.default_rng(1)
    places = [(int(row), int(column)) for row, column in rng.integers(0, 10, (60, 2))]
    looking, blind = maps_at(places), maps_at([(5, 5)] * 60)
    drawn = [(f"image{n}", column * 4, row * 4, 4, 4) for n, (row, column) in enumerate(places)]
    boxes, table = boxes_at(drawn), table_of(looking.images)
    (own, same) = (compare_with_boxes(maps, boxes, table).findings[0] for maps in (looking, blind))
    assert own.hit_rate.value == 1.0 and own.verdict == "better than the mean box"
    assert same.verdict == "not distinguishable from the mean box"
    assert own.mean_box_from == "for each patient the boxes of the other patients, 60 in all"
    assert [each.baseline for each in own.baselines] == ["mean box", "image centre"]
    numbers = compare_with_boxes(looking, boxes, table).numbers()
    assert numbers["map"].tolist() == ["gradcam", "mean box", "image centre"]
    assert numbers["difference"].iloc[1] == own.baselines[0].difference.value > 0
    untrained = compare_with_boxes(looking, boxes, table, untrained=blind).findings[0].baselines[-1]
    assert (untrained.baseline, untrained.verdict) == ("untrained network", "better than the untrained network")


def test_the_mean_box_comes_from_patients_without_a_map_where_there_are_any():
    maps = maps_at([(0, 0), (9, 9)])
    boxes = boxes_at([("image0", 0, 0, 4, 4), ("image1", 36, 36, 4, 4), ("other", 0, 0, 4, 4)])
    table = table_of(["image0", "image1", "other"])
    found = compare_with_boxes(maps, boxes, table).findings[0]
    assert found.mean_box_from == "1 boxes of patients who have no heat map here"
    assert found.baselines[0].hit_rate.value == 0.5


def test_images_of_one_patient_agree():
    maps = maps_at([(1, 2)] * 40)
    drawn = [(image, 8 if number < 20 else 30, 4, 4, 4) for number, image in enumerate(maps.images)]
    wide = compare_with_boxes(maps, boxes_at(drawn), table_of(maps.images, [n // 5 for n in range(40)])).findings[0]
    narrow = compare_with_boxes(maps, boxes_at(drawn), table_of(maps.images)).findings[0]
    assert wide.hit_rate.value == narrow.hit_rate.value == 0.5
    assert wide.hit_rate.low < narrow.hit_rate.low


def test_peaks_make_a_localisation_study_with_normal_images():
    maps = maps_at([(1, 2), (1, 2), (3, 3), (4, 4)])
    boxes = boxes_at([("image0", 8, 4, 4, 4), ("image1", 30, 30, 4, 4)])
    table = table_of(maps.images).assign(Mass=[1.0, 1.0, 0.0, np.nan])
    study = localization_study(maps, boxes, table, "Mass")
    assert str(study).startswith("1 reader, 1 modality, 3 images of 3 patients, 2 lesions")
    # The first lesion is rated 0.9 and beats the normal image's 0.63; the second is not marked.
    assert afroc(study).value == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda boxes, table: (boxes.drop(columns="width_px"), table), "width_px"),
        (lambda boxes, table: (boxes.assign(finding="Nodule"), table), "no image with a heat map has a box of Mass"),
        (
            lambda boxes, table: (boxes, table.iloc[1:]),
            r"1 image\(s\) with a map, such as image0, are not in the table",
        ),
    ],
)
def test_what_does_not_fit_is_said(change, words):
    maps = maps_at([(1, 2), (3, 3)])
    boxes, table = change(boxes_at([("image0", 8, 4, 4, 4)]), table_of(maps.images))
    with pytest.raises(ValueError, match=words):
        compare_with_boxes(maps, boxes, table)


def test_the_size_of_the_boxes_image_must_be_known():
    maps = maps_at([(1, 2)])
    boxes = boxes_at([("image0", 8, 4, 4, 4)])
    boxes.attrs.clear()
    with pytest.raises(ValueError, match="image_px: the width of the image that the boxes were drawn on"):
        compare_with_boxes(maps, boxes, table_of(maps.images))
