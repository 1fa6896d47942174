"""AFROC areas: a published example, five images by hand, double loops, ordinary areas, jackknives, coverage."""

import itertools

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.readers.localization import afroc, afroc_curve, afroc_figures
from chexkeras.evaluation.readers.localization_study import LocalizationStudy
from chexkeras.evaluation.uncertainty.delong import auc_covariance
from chexkeras.evaluation.uncertainty.intervals import auc_interval


def study_of(ratings, false, n_images, patients=None, weights=None):
    """Returns a study from lesions as (image, rating or None) and false marks as (image, rating)."""
    lesions = pd.DataFrame(
        [(f"i{image:03}", f"L{number}") for number, (image, _) in enumerate(ratings)], columns=["image_id", "lesion"]
    )
    if weights is not None:
        lesions["weight"] = weights
    marks = [(f"i{image:03}", rating, f"L{number}")
             for number, (image, rating) in enumerate(ratings) if rating is not None]  # fmt: skip
    marks += [(f"i{image:03}", rating, None) for image, rating in false]
    images = pd.DataFrame({"image_id": [f"i{image:03}" for image in range(n_images)]})
    if patients is not None:
        images["patient_id"] = patients
    return LocalizationStudy.of(pd.DataFrame(marks, columns=["image_id", "rating", "lesion"]), lesions, images)


@pytest.fixture
def chakraborty():
    """Four normal images and five with lesions, those of the chapter on empirical plots in Chakraborty's FROC book."""
    ratings = [(4, 0.9), (5, -0.2), (6, 1.6), (6, None), (7, 3), (7, 2), (8, 1), (8, 2.5), (8, 1)]
    false = [(1, 0.5), (2, 0.7), (2, 0.6), (3, -0.3), (4, 1.5)]
    return study_of(ratings, false, 9, weights=[1, 1, 0.1, 0.9, 0.9, 0.1, 0.3, 0.4, 0.3])


def test_the_areas_of_a_published_example_are_reproduced(chakraborty):
    # D. P. Chakraborty, The RJafroc Froc Book, "AFROC vs. wAFROC": 0.8472222 and 0.7425.
    assert afroc(chakraborty, weighted=False).value == pytest.approx(0.8472222, abs=5e-8)
    assert afroc(chakraborty).value == pytest.approx(0.7425, abs=1e-12)


def test_the_curve_of_the_published_example_is_reproduced(chakraborty):
    curve = afroc_curve(chakraborty)
    corners = [(0, 0), (0, 0.62), (0.5, 0.62), (0.5, 0.82), (0.75, 0.82), (1, 1)]
    points = list(zip(curve["false_positive_fraction"], curve["lesion_fraction"], strict=True))
    for corner in corners:
        assert any(point == pytest.approx(corner, abs=1e-12) for point in points)
    assert afroc_curve(chakraborty, weighted=False)["lesion_fraction"].tolist()[1:4] == pytest.approx(
        [1 / 9, 2 / 9, 3 / 9]
    )


def test_five_images_by_hand():
    # Normal: unmarked, .5, .3. One image with a lesion at .5 and one missed, one image with a lesion at .9.
    study = study_of([(3, 0.5), (3, None), (4, 0.9)], [(1, 0.5), (1, 0.2), (2, 0.3), (3, 0.8)], 5)
    # .5 beats two of three and ties with one: 2.5 / 3. The missed one ties with the unmarked image: .5 / 3. .9: 3 / 3.
    assert afroc(study).value == pytest.approx((0.5 * 2.5 / 3 + 0.5 * 0.5 / 3 + 1) / 2)
    assert afroc(study, weighted=False).value == pytest.approx((2.5 / 3 + 0.5 / 3 + 1) / 3)
    # On all images also .8 and an image without a false mark: .5 beats 3, ties 1; missed ties 2; .9 beats all of 5.
    assert afroc(study, false_positives_on="all").value == pytest.approx((0.5 * 3.5 / 5 + 0.5 * 1 / 5 + 1) / 2)
    assert afroc(study, false_positives_on="all").method.startswith("area under the weighted AFROC1 curve")


def drawn(seed, n_images=40, n_patients=None, coarse=True):
    """Returns lesions, false marks and patients of a reader with ties and unmarked lesions."""
    rng = np.random.default_rng(seed)
    lesions = [(image, None if rng.random() < 0.3 else rng.normal(1.2))
               for image in range(n_images // 2) for _ in range(1 + rng.poisson(0.7))]  # fmt: skip
    false = [(image, rng.normal()) for image in range(n_images) for _ in range(rng.poisson(0.8))]
    if coarse:
        lesions = [(image, None if rating is None else round(rating)) for image, rating in lesions]
        false = [(image, round(rating)) for image, rating in false]
    patients = None if n_patients is None else rng.integers(0, n_patients, n_images).astype(str)
    return lesions, false, patients


def slow_area(lesions, false, n_images, weights, weighted, everywhere):
    abnormal = {image for image, _ in lesions}
    highest = {image: max((rating for other, rating in false if other == image), default=-np.inf)
               for image in range(n_images) if everywhere or image not in abnormal}  # fmt: skip
    total = whole = 0.0
    for (image, rating), weight in zip(lesions, weights, strict=True):
        of_image = sum(w for (other, _), w in zip(lesions, weights, strict=True) if other == image)
        share = weight / of_image if weighted else 1.0
        for other in highest.values():
            own = -np.inf if rating is None else rating
            total += share * (1.0 if own > other else 0.5 if own == other else 0.0)
            whole += share
    return total / whole


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("where", ["normal", "all"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_area_is_that_of_a_double_loop_and_of_the_trapezoids(weighted, where, seed):
    lesions, false, _ = drawn(seed)
    weights = np.random.default_rng(seed).uniform(0.5, 2, len(lesions))
    study = study_of(lesions, false, 40, weights=weights)
    options = {"weighted": weighted, "false_positives_on": where}
    value = afroc(study, **options).value
    assert value == pytest.approx(slow_area(lesions, false, 40, weights, weighted, where == "all"), abs=1e-12)
    curve = afroc_curve(study, **options)
    assert np.trapezoid(curve["lesion_fraction"], curve["false_positive_fraction"]) == pytest.approx(value, abs=1e-12)
    assert (np.diff(curve["lesion_fraction"]) >= -1e-12).all()
    assert curve.iloc[0, 1:].tolist() == [0, 0]
    assert curve.iloc[-1, 1:].tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("n_patients", [None, 25])
def test_one_lesion_an_image_and_perfect_places_give_the_area_under_the_roc_curve(weighted, n_patients):
    rng = np.random.default_rng(7)
    ratings = np.round(rng.normal(size=60) + np.repeat([1.0, 0.0], 30), 1)
    patients = None if n_patients is None else rng.integers(0, n_patients, 60).astype(str)
    lesions = [(image, ratings[image]) for image in range(30)]
    study = study_of(lesions, [(image, ratings[image]) for image in range(30, 60)], 60, patients)
    found = afroc(study, weighted=weighted)
    expected = auc_interval(np.repeat([1, 0], 30), ratings, clusters=patients)
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high), abs=1e-9
    )


def two_by_two(seed, n_patients):
    """Returns a study of two readers in two modalities, its tables, and lists of what each marked."""
    rng = np.random.default_rng(seed)
    n_images = 60
    patients = rng.integers(0, n_patients, n_images).astype(str) if n_patients else np.arange(n_images).astype(str)
    images = pd.DataFrame({"image_id": [f"i{k:03}" for k in range(n_images)], "patient_id": patients})
    owners = [image for image in range(25) for _ in range(1 + rng.poisson(0.5))]
    lesions = pd.DataFrame({"image_id": [f"i{k:03}" for k in owners], "lesion": [str(k) for k in range(len(owners))]})
    seen = rng.normal(size=n_images)
    rows = []
    for reader, modality in itertools.product("AB", ("with", "without")):
        for number, image in enumerate(owners):
            rating = seen[image] + rng.normal(1.5)
            if rating > 0.5:
                rows.append((reader, modality, f"i{image:03}", rating, str(number)))
        for image in range(n_images):
            rows += [(reader, modality, f"i{image:03}", seen[image] * 0.5 + rng.normal(), None)
                     for _ in range(rng.poisson(0.7))]  # fmt: skip
    marks = pd.DataFrame(rows, columns=["reader", "modality", "image_id", "rating", "lesion"])
    return marks, lesions, images


@pytest.mark.parametrize(
    ("options", "n_patients"), [({}, None), ({"weighted": False}, 30), ({"false_positives_on": "all"}, 30)]
)
def test_figures_and_covariances_are_near_those_of_leaving_out_one_patient_after_another(options, n_patients):
    marks, lesions, images = two_by_two(3, n_patients)
    figures, covariance = afroc_figures(LocalizationStudy.of(marks, lesions, images), **options)
    left_out = []
    for patient in images["patient_id"].unique():
        kept = images[images["patient_id"] != patient]
        rest = [table[table["image_id"].isin(kept["image_id"])] for table in (marks, lesions)]
        left_out.append(afroc_figures(LocalizationStudy.of(*rest, kept), **options)[0].to_numpy())
    apart = np.array(left_out) - np.mean(left_out, axis=0)
    jackknife = (len(apart) - 1) / len(apart) * apart.T @ apart
    scale = np.sqrt(np.outer(np.diag(jackknife), np.diag(jackknife)))
    assert np.abs((covariance.to_numpy() - jackknife) / scale).max() < 0.12
    assert figures.index.tolist() == [("with", "A"), ("with", "B"), ("without", "A"), ("without", "B")]
    assert covariance.index.equals(figures.index)
    assert covariance.columns.equals(figures.index)
    assert np.linalg.eigvalsh(covariance).min() > -1e-12


def test_covariances_of_perfect_places_are_those_of_delong():
    rng = np.random.default_rng(2)
    positive = np.repeat([True, False], [20, 30])
    ratings = rng.normal(size=(2, 50)) + rng.normal(size=50) + 1.5 * positive
    images = pd.DataFrame({"image_id": [f"i{k:02}" for k in range(50)]})
    lesions = pd.DataFrame({"image_id": images["image_id"][:20], "lesion": "1"})
    marks = pd.concat([images.assign(reader=name, rating=row, lesion=np.where(positive, "1", None))
                       for name, row in zip("AB", ratings, strict=True)])  # fmt: skip
    figures, covariance = afroc_figures(LocalizationStudy.of(marks, lesions, images))
    areas, expected = auc_covariance(positive, ratings)
    assert figures.to_numpy() == pytest.approx(areas)
    assert covariance.to_numpy() == pytest.approx(expected)


def test_single_readers_agree_with_the_figures_of_all():
    study = LocalizationStudy.of(*two_by_two(4, 30))
    figures, _ = afroc_figures(study)
    for modality, reader in figures.index:
        assert afroc(study, reader=reader, modality=modality).value == figures[modality, reader]
    with pytest.raises(ValueError, match="more than one modality"):
        afroc(study, reader="A")
    with pytest.raises(ValueError, match="did you mean 'without'"):
        afroc(study, reader="A", modality="witout")


def test_the_order_of_rows_does_not_matter():
    tables = two_by_two(5, 20)
    shuffled = [table.sample(frac=1, random_state=8) for table in tables]
    first, second = (afroc_figures(LocalizationStudy.of(*each)) for each in (tables, shuffled))
    assert first[0].equals(second[0])
    assert first[1].equals(second[1])


def test_monotone_scales_do_not_matter():
    lesions, false, _ = drawn(6, coarse=False)
    plain = afroc(study_of(lesions, false, 40))
    cubed = [(image, None if rating is None else rating**3) for image, rating in lesions]
    assert afroc(study_of(cubed, [(image, rating**3) for image, rating in false], 40)) == plain


def test_extreme_readers():
    lesions = [(image, None) for image in range(12)]
    images = pd.DataFrame({"image_id": [f"i{k:03}" for k in range(30)]})
    table = pd.DataFrame({"image_id": images["image_id"][:12], "lesion": "1"})
    silent = LocalizationStudy.of(pd.DataFrame(columns=["image_id", "rating", "lesion"]), table, images)
    assert afroc(silent).value == pytest.approx(0.5)
    wrong = study_of(lesions, [(image, 1.0) for image in range(30)], 30)
    assert afroc(wrong).value == 0.0
    right = study_of([(image, 1.0) for image in range(12) for _ in range(3)], [(12, 0.5)], 30)
    found = afroc(right)
    assert found.value == 1.0
    assert found.low < 0.95
    assert found.high == 1.0
    assert "nothing varies" in found.method


def test_what_cannot_be_estimated_says_why():
    nothing = afroc(study_of([], [(0, 1.0)], 5))
    assert (nothing.estimable, nothing.reason) == (False, "no lesion")
    all_abnormal = study_of([(image, float(image)) for image in range(4)], [(0, 0.5)], 4)
    assert afroc(all_abnormal).reason.startswith("no normal image")
    assert afroc(all_abnormal, false_positives_on="all").estimable
    with pytest.raises(ValueError, match="cannot be estimated: no normal image"):
        afroc_figures(all_abnormal)
    with pytest.raises(ValueError, match="no AFROC curve: no lesion"):
        afroc_curve(study_of([], [(0, 1.0)], 5))
    one = study_of([(0, 1.0), (1, 2.0)], [(2, 0.5)], 4, patients=["p", "p", "q", "r"])
    with pytest.raises(ValueError, match="images for lesions come from one patient only"):
        afroc_figures(one)


def test_few_patients_are_told():
    found = afroc(study_of([(0, 1.0), (1, 2.0), (2, None)], [(3, 0.5)], 6, patients=list("ppqrst")))
    assert "interval approximate: worth 2 patients" in found.method
    assert "3 lesions in 3 of 6 images of 5 patients" in found.method


def replicates(rng, n_patients, n):
    """Returns a study of n readers whose patients are as many independent samples with one to three images each.

    A difficult patient has low ratings and false marks of high rating on all images.
    """
    owner = np.repeat(np.arange(n_patients), rng.integers(1, 4, n_patients))
    images = pd.DataFrame({"image_id": [f"i{k:05}" for k in range(len(owner))], "patient_id": owner.astype(str)})
    names = images["image_id"].to_numpy()
    lesion_image = np.repeat(np.flatnonzero(owner % 2 == 0), rng.integers(1, 3, np.sum(owner % 2 == 0)))
    labels = np.arange(len(lesion_image)).astype(str)
    marks = []
    for number in range(n):
        hard = rng.normal(size=n_patients)[owner] * 0.7
        rating = rng.normal(1.3, size=len(labels)) - hard[lesion_image]
        seen = rng.random(len(labels)) < 0.8
        false = np.repeat(np.arange(len(owner)), rng.poisson(0.6, len(owner)))
        false_rating = rng.normal(size=len(false)) + hard[false]
        marks.append(pd.DataFrame({
            "reader": f"r{number}",
            "image_id": np.concatenate([names[lesion_image][seen], names[false]]),
            "rating": np.concatenate([rating[seen], false_rating]),
            "lesion": [*labels[seen], *[None] * len(false)],
        }))  # fmt: skip
    lesions = pd.DataFrame({"image_id": names[lesion_image], "lesion": labels})
    return LocalizationStudy.of(pd.concat(marks), lesions, images)


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(9)
    large = replicates(rng, 900, 5)
    truth = np.mean([afroc(large, reader=reader).value for reader in large.readers])
    study = replicates(rng, 40, 300)
    intervals = [afroc(study, reader=reader) for reader in study.readers]
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.92 <= covered <= 0.995
    assert np.mean([interval.high - interval.low for interval in intervals]) < 0.35


def tables():
    images = pd.DataFrame({"image_id": ["a", "b"], "patient_id": ["p", "q"]})
    lesions = pd.DataFrame({"image_id": ["a"], "lesion": ["1"], "weight": [1.0]})
    marks = pd.DataFrame({"image_id": ["a", "b"], "rating": [1.0, 0.5], "lesion": ["1", None]})
    return {"marks": marks, "lesions": lesions, "images": images}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": lambda t: t.iloc[[0, 1, 1]]}, "1 image.s. stand twice in images, first b"),
        ({"images": lambda t: t.iloc[:0]}, "images is empty"),
        ({"images": lambda t: t.assign(patient_id=["p", None])}, "1 row.s. of images have no patient_id"),
        ({"images": lambda t: t.iloc[:1]}, "1 row.s. of marks belong to images that are not in the table"),
        ({"images": lambda t: t.iloc[1:]}, "1 row.s. of lesions belong to images"),
        ({"lesions": lambda t: t.iloc[[0, 0]]}, "name of another one of their image, first '1' in a"),
        ({"lesions": lambda t: t.assign(weight=0)}, "above 0"),
        ({"lesions": lambda t: t.assign(weight="heavy")}, "weight column of lesions is not numeric"),
        ({"lesions": lambda t: t.drop(columns="lesion")}, "Name the lesions"),
        ({"marks": lambda t: t.drop(columns="lesion")}, "the table of marks lacks the column.s. lesion"),
        ({"marks": lambda t: t.assign(lesion=["2", None])}, "hit a lesion that is not listed, first '2' in image a"),
        ({"marks": lambda t: t.assign(rating=[np.inf, 1])}, "ratings must be finite"),
        ({"marks": lambda t: t.assign(rating=[np.nan, 1])}, "a mark that hits a lesion has no rating"),
        ({"marks": lambda t: t.assign(reader=["A", "B"], modality=["x", "y"])}, "B marked nothing in x"),
    ],
)
def test_bad_tables_are_refused_in_words(change, message):
    changed = {name: change.get(name, lambda t: t)(table) for name, table in tables().items()}
    with pytest.raises(ValueError, match=message):
        LocalizationStudy.of(**changed)


def test_bad_arguments_are_refused_in_words():
    study = LocalizationStudy.of(**tables())
    with pytest.raises(ValueError, match="did you mean 'normal'"):
        afroc(study, false_positives_on="norml")
    with pytest.raises(ValueError, match="confidence=95"):
        afroc(study, confidence=95)
    with pytest.raises(TypeError, match="marks must be a table"):
        LocalizationStudy.of([], tables()["lesions"], tables()["images"])


def test_a_reader_who_marked_nothing_is_named_by_a_row_without_a_rating():
    given = tables()
    given["marks"] = pd.DataFrame({"image_id": ["a", "b"], "rating": [1.0, np.nan], "lesion": [1.0, np.nan],
                                   "reader": ["A", "B"]})  # fmt: skip
    study = LocalizationStudy.of(**given)
    # Lesion 1 became 1.0 beside the missing one, and is still lesion 1.
    assert afroc(study, reader="A").value == 1.0
    assert afroc(study, reader="B").value == 0.5
    assert str(study) == "2 readers, 1 modality, 2 images of 2 patients, 1 lesion in 1 image, 1 normal image"
