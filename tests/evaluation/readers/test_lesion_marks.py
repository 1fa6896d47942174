"""Which mark hits which lesion: edges, overlaps, several lesions, against plain loops."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.readers.lesion_marks import marks_from_peaks, match_marks, named_lesions
from chexkeras.evaluation.readers.localization import afroc
from chexkeras.evaluation.readers.localization_study import LocalizationStudy


def boxes(*rows):
    return pd.DataFrame(rows, columns=["image_id", "x_px", "y_px", "width_px", "height_px"])


def points(*rows):
    return pd.DataFrame(rows, columns=["image_id", "x_px", "y_px"])


def test_points_hit_boxes_edges_included():
    lesions = boxes(("a", 10, 20, 30, 40))
    marks = points(("a", 10, 20), ("a", 40, 60), ("a", 9.9, 30), ("a", 20, 60.1), ("b", 15, 30), ("a", np.nan, 30))
    assert match_marks(marks, lesions)["lesion"].tolist() == ["1", "1", None, None, None, None]


def test_of_several_boxes_the_one_with_the_nearest_centre_is_hit():
    lesions = boxes(("a", 0, 0, 100, 100), ("a", 60, 60, 20, 20)).assign(lesion=["large", "small"])
    marks = points(("a", 70, 70), ("a", 50, 50), ("a", 61, 61), ("a", 10, 90))
    assert match_marks(marks, lesions)["lesion"].tolist() == ["small", "large", "small", "large"]
    # As near to both: the first by name, whatever the order of rows.
    twins = boxes(("a", 0, 0, 20, 20), ("a", 10, 0, 20, 20)).assign(lesion=["y", "x"])
    for order in (twins, twins.iloc[::-1]):
        assert match_marks(points(("a", 15, 10)), order)["lesion"].tolist() == ["x"]


def test_boxes_hit_by_intersection_over_union():
    lesions = boxes(("a", 0, 0, 10, 10), ("a", 0, 8, 10, 10)).assign(lesion=["up", "down"])
    marks = boxes(("a", 0, 0, 10, 10), ("a", 5, 0, 10, 10), ("a", 0, 5, 10, 10), ("a", 90, 0, 5, 5))
    # With "up": 1, 50 / 150, 50 / 150; the third has 70 / 130 with "down".
    assert match_marks(marks, lesions, overlap=0.3)["lesion"].tolist() == ["up", "up", "down", None]
    assert match_marks(marks, lesions, overlap=0.5)["lesion"].tolist() == ["up", None, "down", None]
    assert match_marks(marks, lesions, overlap=1)["lesion"].tolist() == ["up", None, None, None]


def test_many_random_marks_agree_with_a_plain_loop():
    rng = np.random.default_rng(1)
    lesions = boxes(*((f"i{k % 6}", *rng.uniform(0, 60, 2), *rng.uniform(5, 40, 2)) for k in range(15)))
    lesions["lesion"] = [f"L{k}" for k in range(15)]
    marks = boxes(*((f"i{k % 7}", *rng.uniform(0, 80, 2), *rng.uniform(5, 40, 2)) for k in range(200)))
    for overlap in (None, 0.2):
        expected = []
        for _, mark in marks.iterrows():
            best, name = -np.inf, None
            for _, lesion in lesions[lesions["image_id"] == mark["image_id"]].iterrows():
                x, y, w, h = lesion[["x_px", "y_px", "width_px", "height_px"]]
                if overlap is None:
                    inside = x <= mark["x_px"] <= x + w and y <= mark["y_px"] <= y + h
                    score = -np.hypot(mark["x_px"] - x - w / 2, mark["y_px"] - y - h / 2)
                else:
                    wide = min(x + w, mark["x_px"] + mark["width_px"]) - max(x, mark["x_px"])
                    high = min(y + h, mark["y_px"] + mark["height_px"]) - max(y, mark["y_px"])
                    both = max(wide, 0) * max(high, 0)
                    score = both / (w * h + mark["width_px"] * mark["height_px"] - both)
                    inside = score >= overlap
                if inside and score > best:
                    best, name = score, lesion["lesion"]
            expected.append(name)
        assert match_marks(marks, lesions, overlap=overlap)["lesion"].tolist() == expected
        assert 10 < sum(name is not None for name in expected) < 190


def test_other_columns_and_rows_stay_as_they_are():
    marks = points(("b", 1, 1), ("a", 15, 30)).assign(rating=[0.1, 0.9], reader="A")
    marks.index = [7, 3]
    before = marks.copy()
    matched = match_marks(marks, boxes(("a", 10, 20, 30, 40)))
    pd.testing.assert_frame_equal(matched.drop(columns="lesion"), before)
    pd.testing.assert_frame_equal(marks, before)


def test_lesions_without_names_are_numbered_by_their_boxes():
    lesions = boxes(("b", 5, 5, 2, 2), ("a", 9, 1, 2, 2), ("a", 3, 8, 2, 2))
    assert named_lesions(lesions)["lesion"].tolist() == ["1", "2", "1"]
    shuffled = named_lesions(lesions.iloc[[2, 0, 1]])
    assert shuffled["lesion"].tolist() == ["1", "1", "2"]


def test_from_peaks_of_heat_maps_to_an_area():
    # Maps of 32 x 32 for images of 1024 x 1024; the peak at column 10, row 4 lies at (336, 144).
    lesions = boxes(("a", 300, 100, 80, 80), ("b", 0, 0, 50, 50))
    marks = marks_from_peaks(
        {"a": [[10, 4, 0.9], [30, 30, 0.4]], "b": [[20, 20, 0.5]], "c": [[1, 1, 0.6]], "d": []}, scale=32
    )
    matched = match_marks(marks, lesions)
    assert matched["lesion"].tolist() == ["1", None, None, None, None]
    images = pd.DataFrame({"image_id": list("abcd")})
    # The lesion of a beats both normal images; that of b was not marked, as d was not: a half of one of two.
    assert afroc(LocalizationStudy.of(matched, lesions, images)).value == pytest.approx((1 + 0.25) / 2)


def test_a_model_without_peaks_marks_nothing():
    marks = marks_from_peaks({"a": np.empty((0, 3)), "b": []}, reader="network")
    assert marks["rating"].isna().all()
    assert marks["reader"].tolist() == ["network"] * 2
    assert len(marks_from_peaks({})) == 0


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda: match_marks(points(("a", 1, 1)), boxes(("a", 1, 1, 0, 5))), ValueError, "a box has no area"),
        (lambda: match_marks(points(("a", 1, 1)), boxes(("a", 1, np.nan, 2, 5))), ValueError, "a lesion has no box"),
        (lambda: match_marks(points(("a", "left", 1)), boxes(("a", 1, 1, 2, 5))), ValueError, "must be numbers"),
        (lambda: match_marks(points(("a", 1, 1)), boxes(("a", 1, 1, 2, 5)), overlap=0.5), ValueError, "width_px"),
        (lambda: match_marks(points(("a", 1, 1)), boxes(("a", 1, 1, 2, 5)), overlap=0), ValueError, "overlap=0 would"),
        (lambda: match_marks(points(("a", 1, 1)), boxes(("a", 1, 1, 2, 5)), overlap=50), ValueError, "overlap=50"),
        (lambda: match_marks([], boxes(("a", 1, 1, 2, 5))), TypeError, "marks must be a table"),
        (lambda: named_lesions(pd.DataFrame({"image_id": ["a"], "lesion": [None]})), ValueError, "have no name"),
        (
            lambda: named_lesions(pd.DataFrame({"image_id": ["a", "a"], "lesion": [1, 1]})),
            ValueError,
            "first '1' in a",
        ),
        (lambda: marks_from_peaks({"a": [[1, 2]]}), ValueError, r"peaks of image a have shape \(1, 2\)"),
        (lambda: marks_from_peaks({"a": [["x", 2, 3]]}), ValueError, "peaks of image a are not numbers"),
        (lambda: marks_from_peaks({"a": [[1, 2, np.nan]]}), ValueError, "finite numbers"),
        (lambda: marks_from_peaks({"a": [[1, 2, 3]]}, scale=0), ValueError, "scale=0"),
        (lambda: marks_from_peaks([[1, 2, 3]]), TypeError, "peaks must be a dict"),
    ],
)
def test_bad_input_is_refused_in_words(ask, error, message):
    with pytest.raises(error, match=message):
        ask()
