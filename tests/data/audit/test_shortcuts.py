import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest

from chexkeras.data.audit.shortcuts import SHORTCUTS, Features, Shortcut, shortcuts
from chexkeras.results import Estimate


def cohort(patients: int = 300, images: int = 2, seed: int = 0) -> pd.DataFrame:
    """Images whose finding has nothing to do with anything else in the table."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), images)
    count = len(patient)
    return pd.DataFrame(
        {
            "image_id": [f"{number:08d}.png" for number in range(count)],
            "patient_id": patient.astype(str),
            "age_years": rng.integers(20, 90, patients)[patient].astype(float),
            "sex": rng.choice(["M", "F"], patients)[patient],
            "view": rng.choice(["PA", "AP"], count),
            "width_px": rng.choice([2500, 2048], count),
            "height_px": 2048,
            "pixel_spacing_mm": 0.14,
            "Edema": (rng.random(count) < 0.3).astype(float),
        }
    )


def of(found, name, finding="Edema") -> Shortcut:
    (one,) = [shortcut for shortcut in found if (shortcut.name, shortcut.finding) == (name, finding)]
    return one


def test_a_view_alone_has_the_area_that_its_counts_give():
    table = cohort()
    table["view"] = np.where(np.random.default_rng(1).random(len(table)) < 0.25 + 0.4 * table["Edema"], "AP", "PA")
    found = of(shortcuts(table, "Edema"), "view")
    positive = table["Edema"] == 1
    ap = table["view"] == "AP"
    # Two kinds of image: AUROC = 1/2 + (share of AP among the positive - among the negative) / 2.
    by_hand = 0.5 + (ap[positive].mean() - ap[~positive].mean()) / 2
    assert found.auroc.value == pytest.approx(by_hand, abs=0.01)
    assert found.auroc.low < by_hand < found.auroc.high
    assert found.informative
    assert (found.positives, found.negatives) == (int(positive.sum()), int((~positive).sum()))


def test_one_fold_for_each_half_gives_the_mean_of_two_areas_computed_by_pairs():
    from sklearn.linear_model import LogisticRegression

    table = cohort(patients=60, images=2, seed=3)
    table["view"] = np.where(np.random.default_rng(2).random(120) < 0.3 + 0.5 * table["Edema"], "AP", "PA")
    found = of(shortcuts(table, "Edema", folds=2), "view")
    # A slow second way: refit on the images themselves, then count pairs within each fold.
    from chexkeras.data.audit import shortcuts as module

    labels = table["Edema"].to_numpy()
    patients = pd.factorize(table["patient_id"], sort=True)[0]
    fold = module._deal(patients, np.stack([labels == 1, labels == 0], axis=1), 2, 0)
    assert pd.Series(fold).groupby(patients).nunique().max() == 1
    right = total = 0.0
    for held in (fold == 0, fold == 1):
        one_hot = np.stack([table["view"] == "AP", table["view"] == "PA"], axis=1).astype(float)
        model = LogisticRegression().fit(one_hot[~held], labels[~held])
        score = model.decision_function(one_hot)[held]
        here = labels[held]
        pairs = list(itertools.product(score[here == 1], score[here == 0]))
        right += sum(1.0 if one > other else 0.5 if one == other else 0.0 for one, other in pairs)
        total += len(pairs)
    assert found.auroc.value == pytest.approx(right / total, abs=1e-12)


def test_fitting_to_counted_rows_is_fitting_to_the_images():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    values = rng.integers(0, 3, (400, 2)).astype(float)
    positive = rng.random(400) < 0.2 + 0.2 * values[:, 0]
    used = rng.random(400) < 0.7
    features = Features(values)
    assert len(features.rows) == 9
    expected = LogisticRegression(max_iter=1000).fit(values[used], positive[used])
    score = features.fit(positive & used, ~positive & used)
    np.testing.assert_allclose(score, values @ expected.coef_[0], atol=1e-3)


def test_what_has_nothing_to_do_with_the_finding_is_not_informative():
    found = [
        shortcut
        for seed in range(12)
        for shortcut in shortcuts(cohort(seed=seed), thumbnails=np.random.default_rng(seed).random((600, 8, 8)))
    ]
    assert len(found) == 48
    values = [shortcut.auroc.value for shortcut in found]
    # Ranking the images of all folds together would give less than 0.5 on average.
    assert np.mean(values) == pytest.approx(0.5, abs=0.012)
    assert sum(shortcut.informative for shortcut in found) <= 4


def test_a_patients_own_images_do_not_help():
    table = cohort(patients=150, images=4)
    # Every patient has an own size and an own label: a model that has seen the patient would know.
    number = table["patient_id"].astype(int)
    table["width_px"] = 1000 + number
    table["Edema"] = np.random.default_rng(5).integers(0, 2, 150)[number].astype(float)
    assert not of(shortcuts(table, "Edema"), "image size").informative


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("age and sex", lambda table: table.assign(age_years=table["age_years"] + 100 * 0 + 12 * table["Edema"])),
        ("age and sex", lambda table: table.assign(sex=np.where(table["Edema"] == 1, "F", table["sex"]))),
        ("image size", lambda table: table.assign(width_px=table["width_px"].where(table["Edema"] == 0, 3056))),
        ("image size", lambda table: table.assign(pixel_spacing_mm=0.14 + 0.03 * table["Edema"])),
    ],
)
def test_what_is_tied_to_the_finding_is_found_and_the_others_are_not(name, change):
    found = shortcuts(change(cohort()), "Edema")
    assert {shortcut.name for shortcut in found if shortcut.informative} == {name}


def test_ages_that_matter_in_the_middle_are_found():
    table = cohort(patients=600)
    table["Edema"] = table["age_years"].between(40, 60).astype(float)
    assert of(shortcuts(table, "Edema"), "age and sex").auroc.value > 0.9


def test_a_bright_corner_is_found_in_the_thumbnail_alone():
    table = cohort()
    pictures = np.random.default_rng(0).normal(100, 20, (len(table), 8, 8))
    pictures[:, 0, 0] += 15 * table["Edema"].to_numpy()
    found = shortcuts(table, "Edema", thumbnails=pictures)
    assert [shortcut.name for shortcut in found] == list(SHORTCUTS)
    assert [shortcut.name for shortcut in found if shortcut.informative] == ["thumbnail"]


def test_a_perfect_shortcut_has_an_interval():
    table = cohort()
    table["view"] = np.where(table["Edema"] == 1, "AP", "PA")
    area = of(shortcuts(table, "Edema"), "view").auroc
    assert area.value == area.high == 1 and 0.95 < area.low < 1
    assert "Newcombe" in area.method


def test_images_of_one_patient_widen_the_interval():
    table = cohort(patients=400, images=1)
    table["view"] = np.where(np.random.default_rng(1).random(400) < 0.3 + 0.4 * table["Edema"], "AP", "PA")
    repeated = pd.concat([table] * 4, ignore_index=True)
    once, four_times = (of(shortcuts(images, "Edema"), "view").auroc for images in (table, repeated))
    assert four_times.value == pytest.approx(once.value, abs=0.02)
    assert four_times.high - four_times.low == pytest.approx(once.high - once.low, rel=0.1)


def test_one_seed_gives_one_result_and_unknown_labels_count_for_nothing():
    table = cohort()
    first, again, other = (of(shortcuts(table, "Edema", seed=seed), "age and sex") for seed in (0, 0, 1))
    assert first == again != other
    table["Edema"] = table["Edema"].where(table.index % 3 > 0)
    table.loc[1, "Edema"] = 0.4
    found = of(shortcuts(table, "Edema"), "view")
    assert found.positives + found.negatives == found.auroc.n == int(table["Edema"].isin([0, 1]).sum())


def test_by_default_findings_with_fifty_images_of_each_class_are_measured():
    table = cohort()
    table["Mass"] = (table.index < 49).astype(float)
    table["Nodule"] = (table.index < 50).astype(float)
    table["Hernia"] = (table.index >= 49).astype(float)
    assert {shortcut.finding for shortcut in shortcuts(table)} == {"Edema", "Nodule"}
    assert {shortcut.finding for shortcut in shortcuts(table, ["mass", "edema"])} == {"Mass", "Edema"}
    assert shortcuts(table, ()) == ()


def test_what_cannot_be_measured_says_why():
    table = cohort().drop(columns=["age_years", "sex", "width_px"])
    table["view"] = "PA"
    table["Mass"] = (table["patient_id"].astype(int) < 9).astype(float)
    reasons = {(one.name, one.finding): one.auroc.reason for one in shortcuts(table, ["Edema", "Mass"])}
    assert reasons["view", "Edema"] == "all images have the same view"
    assert reasons["age and sex", "Edema"] == "the table has neither age_years nor sex"
    assert reasons["image size", "Edema"] == "the table has no columns width_px and height_px"
    table["view"] = cohort()["view"]
    found = of(shortcuts(table, "Mass"), "view", "Mass")
    assert found.auroc.reason == "one class has images of 9 patient(s) only"
    assert str(found) == "-" and not found.informative


def test_unknown_ages_and_blank_views_are_values_like_others():
    table = cohort()
    table.loc[table["Edema"] == 1, "age_years"] = np.nan
    table["view"] = table["view"].where(table["Edema"] == 0, None)
    found = shortcuts(table, "Edema")
    assert of(found, "view").auroc.value == of(found, "age and sex").auroc.value == 1


def test_a_shortcut_prints_its_interval_and_survives_json():
    found = Shortcut("view", "Edema", Estimate(0.61749, 0.58, 0.65, 0.95, 100, "m"), 40, 60)
    assert str(found) == "0.617 (0.580-0.650)*"
    data = json.loads(json.dumps(found.to_dict()))
    assert data["informative"] is True
    assert Shortcut.from_dict(data) == found
    assert not Shortcut("view", "Edema", Estimate(0.549, 0.54, 0.56, 0.95, 100, "m"), 40, 60).informative
    assert not Shortcut("view", "Edema", Estimate(0.60, 0.49, 0.7, 0.95, 100, "m"), 40, 60).informative
    assert not Shortcut("view", "Edema", Estimate.not_estimable("none"), 0, 60).informative


def test_bad_arguments_are_named():
    table = cohort()
    with pytest.raises(ValueError, match=r"lacks the column\(s\) patient_id; .* images of one patient would be in two"):
        shortcuts(table.drop(columns="patient_id"))
    with pytest.raises(ValueError, match=r"unknown finding 'Oedma'"):
        shortcuts(table, "Oedma")
    with pytest.raises(ValueError, match=r"thumbnails have shape \(3, 8, 8\); expected \(600, height, width\)"):
        shortcuts(table, thumbnails=np.zeros((3, 8, 8)))
    with pytest.raises(ValueError, match=r"folds=1 leaves no patients to fit to; give at least 2"):
        shortcuts(table, folds=1)
    with pytest.raises(ValueError, match=r"folds=0 must be a whole number"):
        shortcuts(table, folds=0)


@pytest.mark.realdata
def test_in_the_full_label_file_the_view_tells_what_its_counts_say(full_nih):
    found = shortcuts(full_nih)
    assert len(found) == 14 * 3 and all(shortcut.auroc.estimable for shortcut in found)
    ap = full_nih["view"] == "AP"
    for finding in ("Pneumonia", "Edema", "Fibrosis", "Hernia"):
        positive = full_nih[finding] == 1
        by_hand = 0.5 + abs(ap[positive].mean() - ap[~positive].mean()) / 2
        assert of(found, "view", finding).auroc.value == pytest.approx(by_hand, abs=0.004)
        assert of(found, "view", finding).informative
    assert not of(found, "view", "Cardiomegaly").informative
    assert math.isclose(of(found, "view", "Edema").auroc.value, 0.745, abs_tol=0.003)
