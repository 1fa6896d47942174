"""The published tables of readings, where the machine has them: their counts, and what NIH's labels are worth."""

import os
from pathlib import Path

import pytest

from chexkeras.data import load_readings
from chexkeras.evaluation import label_quality

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def folder():
    given = os.environ.get("CHEXKERAS_TEST_READINGS")
    if not given:
        pytest.skip("CHEXKERAS_TEST_READINGS is not set: no published readings on this machine")
    return Path(given)


def one(folder, pattern):
    found = sorted(folder.glob(pattern))
    if not found:
        pytest.skip(f"no {pattern} in {folder}")
    return found[0]


def test_nih_labels_against_the_images_read_again(folder, full_nih):
    readings = load_readings(one(folder, "google2019_nih-chest-xray-labels.csv"))
    assert len(readings.images) == 4_376
    found = label_quality(full_nih, readings)
    told = {entry.finding: entry for entry in found.findings}
    # Counted from the table with awk.
    pneumothorax = told["Pneumothorax"]
    assert (pneumothorax.both, pneumothorax.labelled_only, pneumothorax.read_only) == (109, 129, 129)
    assert round(pneumothorax.sensitivity.value, 2) == round(pneumothorax.ppv.value, 2) == 0.46
    lesion = told["Nodule or mass"]
    assert (lesion.both, lesion.labelled_only, lesion.read_only) == (256, 199, 349)
    assert (round(lesion.sensitivity.value, 2), round(lesion.ppv.value, 2)) == (0.42, 0.56)
    assert [finding for finding, _ in found.left_out] == ["Fracture", "Airspace opacity"]


def test_vindr_has_three_readers_an_image(folder):
    readings = load_readings(one(folder, "vinbigdata-train.csv"))
    assert (len(readings.images), len(readings.readers), len(readings.findings)) == (15_000, 17, 14)
    assert (readings.ratings("Cardiomegaly").notna().sum(axis=1) == 3).all()
    assert int(readings.consensus("Cardiomegaly").sum()) == 1_817


def test_rsna_has_its_positive_images(folder):
    readings = load_readings(one(folder, "*stage_2_train_labels.csv"))
    assert len(readings.images) == 26_684
    assert int(readings.consensus("Possible pneumonia").sum()) == 6_012
