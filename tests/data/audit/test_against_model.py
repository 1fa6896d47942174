"""A model against shortcuts: fitted to training images alone, compared on the same test images."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from chexkeras.data.audit.against_model import NAMES, compare_with_shortcuts, shortcut_scores
from chexkeras.evaluation.comparison.paired_tests import auroc_difference
from chexkeras.evaluation.metrics import auc
from chexkeras.results import ShortcutStudy
from chexkeras.results.shortcuts import LESS, MORE, NOT_SHOWN, UNKNOWN


def _part(name, patients, seed):
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), 2)
    count = len(patient)
    return pd.DataFrame(
        {
            "image_id": [f"{name}{number}.png" for number in range(count)],
            "patient_id": [f"{name}{number}" for number in patient],
            "age_years": rng.integers(20, 90, patients)[patient].astype(float),
            "sex": rng.choice(["M", "F"], patients)[patient],
            "view": rng.choice(["PA", "AP"], count),
            "width_px": rng.choice([2500, 2048], count),
            "height_px": 2048,
            "pixel_spacing_mm": 0.14,
            "Edema": (rng.random(count) < 0.4).astype(float),
        }
    )


def _thumbnails(part, seed, told=3.0):
    """Noise, and one pixel that tells the finding as far as `told` says."""
    pictures = np.random.default_rng(seed).normal(100, 1, (len(part), 8, 8))
    pictures[:, 4, 4] += told * part["Edema"].to_numpy()
    return pictures


def _model(test, skill, seed=9):
    logit = np.random.default_rng(seed).normal(size=len(test)) + skill * test["Edema"]
    return pd.DataFrame(
        {"image_id": test["image_id"], "patient_id": test["patient_id"], "finding": "Edema", "label": test["Edema"],
         "score": 1 / (1 + np.exp(-logit))}
    )  # fmt: skip


@pytest.fixture(scope="module")
def parts():
    train, test = _part("a", 120, 0), _part("b", 80, 1)
    return train, test, (_thumbnails(train, 2), _thumbnails(test, 3))


def _by_name(study):
    return {entry.shortcut: entry for entry in study.entries}


def test_the_thumbnail_is_fitted_to_training_images_alone(parts):
    train, test, pictures = parts
    scores, _ = shortcut_scores(train, test, "Edema", thumbnails=pictures)
    flat = [each.reshape(len(each), -1) for each in pictures]
    mean, spread = flat[0].mean(axis=0), flat[0].std(axis=0)
    fitted = LogisticRegression(max_iter=1000).fit((flat[0] - mean) / spread, train["Edema"])
    by_hand = ((flat[1] - mean) / spread) @ fitted.coef_[0]
    assert auc(scores["label"], scores["thumbnail"]) == pytest.approx(auc(test["Edema"], by_hand), abs=0.01)
    assert np.corrcoef(scores["thumbnail"], by_hand)[0, 1] > 0.999


def test_what_the_test_part_shows_and_is_labelled_changes_no_fit(parts):
    train, test, pictures = parts
    before, _ = shortcut_scores(train, test, "Edema", thumbnails=pictures)
    # All labels the other way round, and the other half of the test images a hundred times as bright.
    other = test.assign(Edema=1 - test["Edema"])
    changed = pictures[1].copy()
    changed[::2] *= 100
    after, _ = shortcut_scores(train, other, "Edema", thumbnails=(pictures[0], changed))
    np.testing.assert_allclose(after["thumbnail"][1::2], before["thumbnail"][1::2], rtol=1e-9)
    for name in ("view", "age and sex", "image size"):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-9)


def test_verdicts_follow_the_interval_of_the_paired_difference(parts):
    train, test, pictures = parts
    scores, reasons = shortcut_scores(train, test, "Edema", thumbnails=pictures)
    verdicts = {}
    for skill in (0.3, 2.4, 6.0):
        model = _model(test, skill)
        entry = _by_name(compare_with_shortcuts(model, scores, reasons))["thumbnail"]
        again, p_value = auroc_difference(
            model["label"], model["score"], scores["thumbnail"], clusters=model["patient_id"]
        )
        assert (entry.difference, entry.p_value) == (again, p_value)
        verdicts[skill] = entry.verdict
    assert verdicts == {0.3: LESS, 2.4: NOT_SHOWN, 6.0: MORE}


def test_a_model_beside_what_tells_nothing_sees_more_and_all_together_see_what_one_does(parts):
    train, test, pictures = parts
    scores, reasons = shortcut_scores(train, test, "Edema", thumbnails=pictures)
    entries = _by_name(compare_with_shortcuts(_model(test, 2.0), scores, reasons, training={"Edema": len(train)}))
    assert tuple(entries) == NAMES
    for name in ("view", "age and sex", "image size"):
        assert entries[name].verdict == MORE
        assert not entries[name].fails
    assert entries["all together"].alone.value > 0.9
    assert {entry.n_training for entry in entries.values()} == {len(train)}


def test_without_images_the_thumbnail_alone_is_not_estimable(parts):
    train, test, _ = parts
    scores, reasons = shortcut_scores(train, test, "Edema")
    entries = _by_name(compare_with_shortcuts(_model(test, 2.0), scores, reasons))
    assert entries["thumbnail"].verdict == UNKNOWN
    assert entries["thumbnail"].alone.reason == "the images were not at hand"
    assert entries["all together"].difference.estimable


def test_what_cannot_be_fitted_says_why(parts):
    train, test, pictures = parts
    bare = ["image_id", "patient_id", "Edema"]
    scores, reasons = shortcut_scores(train[bare], test[bare], "Edema", thumbnails=pictures)
    assert reasons["Edema", "view"] == "the table has no column view"
    assert "fewer than two" in reasons["Edema", "all together"]
    same = train.assign(view="PA")
    assert shortcut_scores(same, test, "Edema")[1]["Edema", "view"] == "all images have the same view"
    few = train.assign(Edema=(train["patient_id"] == "a0").astype(float))
    scores, reasons = shortcut_scores(few, test, "Edema", thumbnails=pictures)
    assert reasons["Edema", "thumbnail"] == "one class has training images of 1 patient(s) only"
    assert scores["thumbnail"].isna().all()


def test_unknown_labels_are_neither_fitted_to_nor_compared_on(parts):
    train, test, pictures = parts
    unknown = np.arange(len(test)) % 3 == 0
    blank = test.assign(Edema=test["Edema"].where(~unknown))
    scores, reasons = shortcut_scores(train, blank, "Edema", thumbnails=pictures)
    assert len(scores) == (~unknown).sum()
    entry = _by_name(compare_with_shortcuts(_model(test, 2.0).assign(label=blank["Edema"]), scores, reasons))["view"]
    assert entry.difference.n == (~unknown).sum()


def test_scores_of_other_images_or_labels_are_refused(parts):
    train, test, _ = parts
    scores, reasons = shortcut_scores(train, test, "Edema")
    model = _model(test, 1.0)
    for wrong in (model.iloc[1:], model.assign(label=1 - model["label"])):
        with pytest.raises(ValueError, match="not the same images with the same labels"):
            compare_with_shortcuts(wrong, scores, reasons)
    with pytest.raises(ValueError, match="3 and 160 thumbnails of 240 training and 160 test images"):
        shortcut_scores(train, test, "Edema", thumbnails=(np.zeros((3, 8, 8)), np.zeros((160, 8, 8))))


def test_a_study_survives_json_and_is_a_table_with_its_cautions(parts):
    train, test, pictures = parts
    scores, reasons = shortcut_scores(train, test, "Edema", thumbnails=pictures)
    study = compare_with_shortcuts(_model(test, 0.3), scores, reasons, cautions=("Toy images.",))
    assert ShortcutStudy.from_dict(study.to_dict()) == study
    frame = study.to_frame()
    assert frame.attrs["cautions"] == ("Toy images.",)
    assert list(frame["the model"][frame["shortcut"] == "thumbnail"]) == [LESS]
    assert "sees less than a thumbnail of 8 x 8 pixels, AUROC" in str(study)
    with pytest.raises(ValueError, match="stands there twice"):
        ShortcutStudy("ab", study.entries + study.entries[:1])
    with pytest.raises(KeyError, match="there are: Edema"):
        study.of("Mass")
