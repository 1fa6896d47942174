"""Free-response operating points by hand, against plain counts, and how often their intervals cover."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from chexkeras.evaluation.readers.froc import MOST_POINTS, Froc, froc
from chexkeras.evaluation.readers.localization_study import LocalizationStudy
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval, proportion_interval


@pytest.fixture
def study():
    """Two abnormal images with three lesions, three normal ones, of four patients."""
    images = pd.DataFrame({"image_id": list("abcde"), "patient_id": list("pqrst")})
    lesions = pd.DataFrame({"image_id": list("aab"), "lesion": list("121")})
    marks = pd.DataFrame(
        [("a", 4, "1"), ("a", 2, "1"), ("a", 1, "2"), ("b", 3, None), ("c", 3, None), ("c", 1, None), ("d", 2, None)],
        columns=["image_id", "rating", "lesion"],
    )
    return LocalizationStudy.of(marks, lesions, images)


def test_points_by_hand(study):
    points = froc(study).to_frame()
    assert points["threshold"].tolist() == [4, 3, 2, 1]
    assert points["lesion_fraction"].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3])
    # The second mark on lesion 1 of image a is no false mark.
    assert points["false_marks"].tolist() == pytest.approx([0, 2 / 5, 3 / 5, 4 / 5])
    on_normal = froc(study, false_positives_on="normal").to_frame()
    assert on_normal["false_marks"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_the_best_point_within_a_number_of_false_marks(study):
    curve = froc(study)
    assert curve.at(0.4).threshold == 4
    assert curve.at(0.8).threshold == 1
    assert froc(study, [3]).at(0.1) is None


def test_thresholds_that_are_given_are_used_from_the_highest_down(study):
    assert [point.threshold for point in froc(study, [1.5, 9, 1.5]).points] == [9, 1.5]
    nothing = froc(study, [9]).points[0]
    assert nothing.lesion_fraction.value == nothing.false_marks.value == 0
    assert nothing.false_marks.high == pytest.approx(-np.log(0.025) / 5)


def test_the_share_of_lesions_has_the_interval_of_a_clustered_proportion(study):
    point = froc(study, [1]).points[0]
    expected = clustered_proportion_interval([True, True, False], ["p", "p", "q"])
    assert (point.lesion_fraction.low, point.lesion_fraction.high) == (expected.low, expected.high)
    assert "3 lesions of 2 patients" in point.lesion_fraction.method
    assert point.lesion_fraction.n == 3


def test_curves_are_json_both_ways(study):
    curve = froc(study)
    assert Froc.from_dict(curve.to_dict()) == curve
    assert curve.reader == "model"
    assert str(curve.points[0]).startswith("marks >= 4: 0.333 (95 % CI ")


def of_counts(counts, owner):
    """Returns a study whose images have so many false marks, and one lesion on an image that has none."""
    images = pd.DataFrame({"image_id": [f"i{k:04}" for k in range(len(counts))], "patient_id": owner.astype(str)})
    marks = pd.DataFrame({"image_id": np.repeat(images["image_id"], counts), "rating": 1.0, "lesion": None})
    lesions = pd.DataFrame({"image_id": ["i0000"], "lesion": ["1"]})
    return LocalizationStudy.of(marks, lesions, images)


def test_many_independent_counts_have_garwoods_limits():
    counts = np.repeat([0, 1, 2, 3], [380, 400, 160, 60])
    found = froc(of_counts(counts, np.arange(1000)), [1]).points[0].false_marks
    assert found.value == pytest.approx(0.9)
    # 900 marks; their variance of .79 is that of 900 x .9 / .79 Poisson events, whose limits chi-square gives.
    events = 900 * 0.9 / counts.var(ddof=1) * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 999)) ** 2
    expected = [
        0.9 * stats.chi2.ppf(0.025, 2 * events) / (2 * events),
        0.9 * stats.chi2.ppf(0.975, 2 * events + 2) / (2 * events),
    ]
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-6)


def test_showing_every_image_of_a_patient_again_tells_nothing_new():
    rng = np.random.default_rng(1)
    counts = rng.poisson(1.0, 60)
    once = froc(of_counts(counts, np.arange(60)), [1]).points[0].false_marks
    thrice = froc(of_counts(np.tile(counts, 3), np.tile(np.arange(60), 3)), [1]).points[0].false_marks
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), rel=0.03)


def test_images_that_all_have_one_false_mark_keep_an_interval():
    found = froc(of_counts(np.ones(30, dtype=int), np.arange(30)), [1]).points[0].false_marks
    assert found.low < 0.75
    assert found.high > 1.3


@pytest.mark.parametrize(("n_patients", "images_each", "spread"), [(60, 1, 0.5), (30, 3, 0.5), (40, 1, 0.0)])
def test_intervals_cover_as_often_as_they_say(n_patients, images_each, spread):
    rng = np.random.default_rng(4)
    owner = np.repeat(np.arange(n_patients), images_each)
    names = np.array([f"i{k:03}" for k in range(len(owner))])
    marks = []
    for number in range(200):
        # As many samples of patients as readers.
        rate = 0.8 * np.exp(spread * rng.normal(size=n_patients) - spread**2 / 2)[owner]
        marks.append(pd.DataFrame({"image_id": np.repeat(names, rng.poisson(rate)), "reader": f"r{number}"}))
    images = pd.DataFrame({"image_id": names, "patient_id": owner.astype(str)})
    lesions = pd.DataFrame({"image_id": names[:1], "lesion": "1"})
    study = LocalizationStudy.of(pd.concat(marks).assign(rating=1, lesion=None), lesions, images)
    found = [froc(study, [1], reader=reader).points[0].false_marks for reader in study.readers]
    assert 0.92 <= np.mean([interval.low <= 0.8 <= interval.high for interval in found]) <= 0.995


def test_a_continuous_scale_is_thinned_out():
    rng = np.random.default_rng(3)
    images = pd.DataFrame({"image_id": [f"i{k:03}" for k in range(400)]})
    marks = images.assign(rating=rng.normal(size=400), lesion=None)
    lesions = pd.DataFrame({"image_id": ["i000"], "lesion": ["1"]})
    points = froc(LocalizationStudy.of(marks, lesions, images)).points
    assert len(points) == MOST_POINTS
    assert points[0].threshold == marks["rating"].max()
    assert points[-1].threshold == marks["rating"].min()


def test_without_lesions_the_false_marks_are_still_counted():
    images = pd.DataFrame({"image_id": ["a", "b"]})
    marks = pd.DataFrame({"image_id": ["a"], "rating": [1], "lesion": [None]})
    lesions = pd.DataFrame({"image_id": [], "lesion": []})
    study = LocalizationStudy.of(marks, lesions, images)
    point = froc(study).points[0]
    assert point.lesion_fraction.reason == "no lesion"
    assert point.false_marks.value == 0.5
    all_abnormal = LocalizationStudy.of(marks, pd.DataFrame({"image_id": ["a", "b"], "lesion": "1"}), images)
    empty = froc(all_abnormal, false_positives_on="normal").points[0]
    assert empty.false_marks.reason == "no image whose false marks count"


def test_independent_lesions_have_clopper_pearsons_limits(study):
    single = LocalizationStudy.of(
        pd.DataFrame({"image_id": ["a"], "rating": [1], "lesion": ["1"]}),
        pd.DataFrame({"image_id": list("abc"), "lesion": "1"}),
        pd.DataFrame({"image_id": list("abcd")}),
    )
    found, expected = froc(single).points[0].lesion_fraction, proportion_interval(1, 3)
    assert (found.low, found.high) == (expected.low, expected.high)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"thresholds": ["high"]}, "but holds 'high', text"),
        ({"thresholds": [np.nan]}, "must be finite"),
        ({"false_positives_on": "some"}, "Expected one of: normal, all"),
        ({"confidence": 1}, "confidence=1"),
        ({"reader": "B"}, "reader='B'"),
    ],
)
def test_bad_arguments_are_refused_in_words(study, arguments, message):
    with pytest.raises(ValueError, match=message):
        froc(study, **arguments)
