"""What is drawn is what the labels say, measured on the pixels where that is possible."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.audit.shortcuts import shortcuts
from chexkeras.findings import NIH14
from chexkeras.phantoms.cohort import PhantomImage, make_cohort
from chexkeras.phantoms.render import render

SIZE = 128


def _image(patient=1, follow_up=0, view="PA", sex="M", age_years=50, **severity):
    present = tuple((finding, severity[finding]) for finding in NIH14 if finding in severity)
    return PhantomImage(patient, follow_up, age_years, sex, view, present, (2992, 2991, 0.143), False)


def _pair(finding, severity=0.8, patient=1, **options):
    """Returns an image with a finding and the same image without it, as float, and the finding's boxes in pixels."""
    ill, boxes = render(_image(patient, **options, **{finding: severity}), 0, SIZE)
    well, _ = render(_image(patient, **options), 0, SIZE)
    pixels = [tuple(int(np.clip(round(side * SIZE), 0, SIZE)) for side in box) for box in boxes[finding]]
    return ill.astype(float), well.astype(float), pixels


def _exposed(pixels):
    """Returns (left, top, right, bottom) of the exposed field in pixels: around it the plate is black."""
    seen = pixels > 8
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _middle(pixels):
    """Returns where the field's middle lies from left to right, as a fraction of the image."""
    left, _, right, _ = _exposed(pixels)
    return (left + right) / 2 / len(pixels)


def _inside(image, box):
    left, top, right, bottom = box
    return image[top:bottom, left:right]


@pytest.mark.parametrize("size", [64, 97, 256])
@pytest.mark.parametrize("view", ["PA", "AP"])
def test_a_image_has_the_shape_and_range_of_an_8_bit_image(size, view):
    pixels, boxes = render(_image(view=view), 0, size)
    assert pixels.shape == (size, size)
    assert pixels.dtype == np.uint8
    assert pixels.min() < 15 and pixels.max() > 215
    assert boxes == {}


def test_a_image_depends_on_its_own_seed_alone():
    first, second = _image(1, Effusion=0.5), _image(2, view="AP")
    alone, _ = render(second, 0, SIZE)
    render(first, 0, SIZE)
    again, _ = render(second, 0, SIZE)
    other, _ = render(second, 1, SIZE)
    np.testing.assert_array_equal(alone, again)
    assert (alone != other).mean() > 0.5


@pytest.mark.parametrize("finding", NIH14)
@pytest.mark.parametrize("severity", [0.05, 1.0])
def test_every_finding_has_a_box_within_the_image(finding, severity):
    for patient in range(1, 6):
        _, boxes = render(_image(patient, **{finding: severity}), 0, 256)
        assert boxes[finding]
        for left, top, right, bottom in boxes[finding]:
            assert 0 <= left < right <= 1.001
            assert 0 <= top < bottom <= 1.001


@pytest.mark.parametrize("finding", ["Infiltration", "Mass", "Nodule", "Pneumonia", "Consolidation", "Effusion"])
def test_an_opacity_is_brighter_than_the_same_lung_without_it(finding):
    differences = []
    for patient in range(1, 6):
        ill, well, boxes = _pair(finding, patient=patient)
        differences += [(_inside(ill, box) - _inside(well, box)).mean() for box in boxes]
    assert min(differences) > 3
    assert np.mean(differences) > 8


@pytest.mark.parametrize("finding", ["Mass", "Nodule", "Pneumonia", "Consolidation", "Pleural_Thickening"])
def test_a_finding_changes_the_image_inside_its_box_far_more_than_elsewhere(finding):
    ill, well, boxes = _pair(finding, patient=2)
    change = np.abs(ill - well)
    outside = np.ones_like(change, bool)
    for left, top, right, bottom in boxes:
        outside[top:bottom, left:right] = False
    inside = np.mean([_inside(change, box).mean() for box in boxes])
    assert inside > 3 * change[outside].mean()


def test_a_pneumothorax_is_darker_and_without_vessels():
    ill, well, boxes = _pair("Pneumothorax", patient=3)
    assert len(boxes) == 1
    left, top, right, bottom = boxes[0]
    # The outer half of the upper part: air beyond the visceral pleura.
    columns = slice(left, (left + right) // 2) if left < SIZE // 2 else slice((left + right) // 2, right)
    rows = slice(top + (bottom - top) // 6, top + (bottom - top) // 2)
    assert np.percentile(ill[rows, columns], 25) < np.percentile(well[rows, columns], 25)


def _cardiothoracic_ratio(image):
    from chexkeras.phantoms import render as module

    seen = []
    original = module.build_geometry

    def spy(*arguments):
        seen.append(original(*arguments))
        return seen[-1]

    module.build_geometry = spy
    try:
        render(image, 0, 64)
    finally:
        module.build_geometry = original
    geometry = seen[0]
    return (geometry.heart[2] - geometry.heart[0]) / (2 * max(wall.max() for wall in geometry.wall))


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_cardiomegaly_and_nothing_else_exceeds_a_ratio_of_one_half(view):
    for patient in range(1, 40):
        assert _cardiothoracic_ratio(_image(patient, view=view)) < 0.5
        assert _cardiothoracic_ratio(_image(patient, view=view, Cardiomegaly=0.01 + patient / 50)) > 0.5


def test_nodules_stay_below_30_mm_and_masses_above():
    # An image is about 420 mm wide; a box is a tenth wider than what it holds.
    for patient in range(1, 15):
        for severity in (0.02, 1.0):
            _, boxes = render(_image(patient, Nodule=severity, Mass=severity), 0, 64)
            assert all((box[2] - box[0]) / 1.1 * 420 < 30 for box in boxes["Nodule"])
            assert all((box[2] - box[0]) / 1.1 * 420 > 30 for box in boxes["Mass"])


def test_ap_images_show_a_larger_heart_and_less_contrast():
    heart, contrast = {}, {}
    for view in ("PA", "AP"):
        images = [_image(patient, view=view) for patient in range(1, 13)]
        heart[view] = np.mean([_cardiothoracic_ratio(image) for image in images])
        contrast[view] = np.mean([render(image, 0, 64)[0][16:48, 12:52].std() for image in images])
    assert heart["AP"] > heart["PA"] + 0.01
    assert contrast["AP"] < contrast["PA"]


def test_the_heart_lies_on_the_viewers_right():
    for patient in range(1, 9):
        pixels, boxes = render(_image(patient, Cardiomegaly=0.6), 0, SIZE)
        (left, _, right, _), middle = boxes["Cardiomegaly"][0], _middle(pixels)
        assert right - middle > 1.2 * (middle - left)


def test_images_of_a_patient_resemble_each_other_more_than_images_of_others():
    def small(patient, follow_up):
        pixels, _ = render(_image(patient, follow_up), 0, 64)
        return (pixels - pixels.mean()).ravel() / pixels.std()

    first = np.stack([small(patient, 0) for patient in range(1, 13)])
    second = np.stack([small(patient, 1) for patient in range(1, 13)])
    alike = first @ second.T / first.shape[1]
    assert np.mean(np.argmax(alike, axis=1) == np.arange(12)) > 0.35  # by chance: 0.08
    assert np.diag(alike).mean() > alike[~np.eye(12, dtype=bool)].mean() + 0.01


def test_a_finding_stays_on_its_side_on_the_next_image():
    for patient in range(1, 8):
        sides = []
        for follow_up in (0, 1):
            pixels, boxes = render(_image(patient, follow_up, Mass=0.5), 0, 64)
            sides.append(boxes["Mass"][0][0] < _middle(pixels))
        assert sides[0] == sides[1]


def _field_of(pixels, size):
    """Returns the exposed field alone, at another size."""
    return np.asarray(Image.fromarray(pixels).crop(_exposed(pixels)).resize((size, size), Image.Resampling.BOX), float)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_size_of_the_heart_cannot_be_read_from_a_thumbnail_of_the_plate(seed):
    images = make_cohort(500, seed=seed, prevalence={"Cardiomegaly": 0.3})
    table = pd.DataFrame(
        {
            "image_id": [image.image_id for image in images],
            "patient_id": [str(image.patient) for image in images],
            "Cardiomegaly": [float("Cardiomegaly" in image.labels) for image in images],
        }
    )
    drawn = [render(image, seed, 64)[0] for image in images]
    plates = np.stack([pixels.reshape(8, 8, 8, 8).mean((1, 3)) for pixels in drawn])
    fields = np.stack([_field_of(pixels, 8) for pixels in drawn])
    plate, field = (
        next(each for each in shortcuts(table, "Cardiomegaly", thumbnails=pictures) if each.name == "thumbnail")
        for pictures in (plates, fields)
    )
    assert plate.auroc.value < 0.8
    # It is there to be seen by whoever finds the chest on the plate.
    assert field.auroc.value > 0.9


def test_boxes_lie_around_what_is_drawn_wherever_the_field_is():
    for patient in range(1, 7):
        ill, well, boxes = _pair("Mass", patient=patient)
        change = np.abs(ill - well)
        left, top, right, bottom = boxes[0]
        rows, columns = np.unravel_index(np.argsort(change.ravel())[-20:], change.shape)
        assert ((rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)).mean() > 0.9


def test_the_field_lies_elsewhere_on_another_patients_plate_and_about_there_on_the_next_image():
    places = np.array([[_exposed(render(_image(patient, number), 0, SIZE)[0])[:2] for number in (0, 1)]
                       for patient in range(1, 25)]) / SIZE  # fmt: skip
    assert np.ptp(places[:, 0], axis=0).min() > 0.15
    assert np.abs(places[:, 0] - places[:, 1]).max() < 0.1


def test_the_task_can_be_learned_and_a_leaky_split_looks_better():
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, KFold
    from sklearn.pipeline import make_pipeline

    images = make_cohort(300, seed=0, prevalence={"Pneumonia": 0.35})
    labels = np.array(["Pneumonia" in image.labels for image in images])
    patients = np.array([image.patient for image in images])
    pixels = np.stack([_field_of(render(image, 0, 88)[0], 32).ravel() for image in images]) / 255
    areas = {}
    for kind, folds in {"patient": GroupKFold(4), "image": KFold(4, shuffle=True, random_state=0)}.items():
        scores = np.empty(len(images))
        for train, test in folds.split(pixels, labels, patients if kind == "patient" else None):
            model = make_pipeline(PCA(60, random_state=0), LogisticRegression(C=0.3, max_iter=400))
            scores[test] = model.fit(pixels[train], labels[train]).predict_proba(pixels[test])[:, 1]
        areas[kind] = roc_auc_score(labels, scores)
    assert areas["patient"] > 0.75
    assert areas["image"] > areas["patient"] + 0.02
