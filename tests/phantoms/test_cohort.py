"""The synthetic cohort reproduces NIH's margins; the numbers compared with were computed from Data_Entry_2017_v2020."""

import numpy as np
import pytest

from chexkeras.data.datasets import nih_statistics
from chexkeras.findings import NIH14
from chexkeras.phantoms.cohort import image_counts, make_cohort

LARGE = 20_000


@pytest.fixture(scope="module")
def images():
    return make_cohort(LARGE, seed=0)


@pytest.fixture(scope="module")
def labels(images):
    return np.array([[finding in image.labels for finding in NIH14] for image in images])


def _of(finding):
    return NIH14.index(finding)


@pytest.mark.parametrize("images", [1, 2, 7, 40, 600, 5001])
def test_the_cohort_has_exactly_the_images_asked_for(images):
    assert image_counts(images).sum() == images
    assert len(make_cohort(images, seed=3)) == images


def test_images_per_patient_have_nih_mean_median_and_tail():
    counts = image_counts(112_120)
    assert counts.mean() == pytest.approx(nih_statistics.MEAN_IMAGES_PER_PATIENT, rel=0.03)
    assert np.median(counts) == 1
    assert (counts == 1).mean() == pytest.approx(0.568, abs=0.01)
    assert np.quantile(counts, 0.99) == pytest.approx(35, abs=4)
    assert counts.max() > 150


def test_a_small_cohort_is_not_swallowed_by_one_patient():
    assert image_counts(100).max() <= 6


def test_every_prevalence_is_exact(labels):
    for index, finding in enumerate(NIH14):
        assert labels[:, index].sum() == round(nih_statistics.PREVALENCE[finding] * LARGE)


def test_number_of_findings_per_image_follows_nih(labels):
    published = (0.538, 0.276, 0.128, 0.043, 0.011)
    shares = np.bincount(labels.sum(1), minlength=5)[:5] / LARGE
    assert shares == pytest.approx(published, abs=0.03)


@pytest.mark.parametrize(
    ("given", "other", "published"),
    [
        ("Pneumonia", "Infiltration", 0.423),
        ("Pneumonia", "Edema", 0.238),
        ("Pneumonia", "Effusion", 0.188),
        ("Effusion", "Atelectasis", 0.246),
        ("Cardiomegaly", "Effusion", 0.383),
        ("Emphysema", "Pneumothorax", 0.297),
        ("Consolidation", "Effusion", 0.276),
        ("Edema", "Pneumothorax", 0.014),
    ],
)
def test_findings_occur_together_as_often_as_in_nih(labels, given, other, published):
    share = labels[labels[:, _of(given)], _of(other)].mean()
    assert share == pytest.approx(published, abs=0.13)


def test_view_is_associated_with_the_findings_of_the_very_ill(images, labels):
    ap = np.array([image.view == "AP" for image in images])
    assert ap.mean() == pytest.approx(nih_statistics.AP_SHARE, abs=0.001)
    for finding, published in {"Edema": 0.88, "Consolidation": 0.67, "Pneumonia": 0.56, "Fibrosis": 0.17}.items():
        assert ap[labels[:, _of(finding)]].mean() == pytest.approx(published, abs=0.13)


def test_age_and_sex_follow_nih(images):
    ages = np.array([image.age_years for image in images])
    assert np.median(ages) == pytest.approx(49, abs=2)
    assert ages.std() == pytest.approx(16.6, abs=1.5)
    assert ages.min() >= 1 and ages.max() <= 95
    assert np.mean([image.sex == "M" for image in images]) == pytest.approx(nih_statistics.MALE_SHARE, abs=0.005)


def test_findings_persist_between_images_of_a_patient(images, labels):
    patient = np.array([image.patient for image in images])
    same = patient[1:] == patient[:-1]
    before, after = labels[:-1][same], labels[1:][same]
    published = {"Effusion": 0.487, "Pneumothorax": 0.556, "Infiltration": 0.388, "Pneumonia": 0.13}
    for finding, share in published.items():
        index = _of(finding)
        assert after[before[:, index], index].mean() == pytest.approx(share, abs=0.1)


def test_patients_keep_sex_and_list_and_never_grow_younger(images):
    by_patient = {}
    for image in images:
        by_patient.setdefault(image.patient, []).append(image)
    assert list(by_patient) == sorted(by_patient)
    for group in by_patient.values():
        assert len({(image.sex, image.test) for image in group}) == 1
        assert [image.follow_up for image in group] == list(range(len(group)))
        ages = [image.age_years for image in group]
        assert ages == sorted(ages)


def test_the_test_list_has_nih_share_of_images(images):
    assert np.mean([image.test for image in images]) == pytest.approx(nih_statistics.TEST_SHARE, abs=0.01)


def test_enriching_a_finding_changes_it_and_leaves_the_others(labels):
    enriched = make_cohort(2000, seed=0, prevalence={"Pneumonia": 0.3})
    counts = {finding: sum(finding in image.labels for image in enriched) for finding in NIH14}
    assert counts["Pneumonia"] == 600
    assert counts["Effusion"] == round(nih_statistics.PREVALENCE["Effusion"] * 2000)


def test_a_seed_decides_the_cohort():
    assert make_cohort(50, seed=5) == make_cohort(50, seed=5)
    assert make_cohort(50, seed=5) != make_cohort(50, seed=6)


def test_the_latent_correlation_is_a_correlation():
    matrix = nih_statistics.latent_correlation()
    assert matrix.shape == (18, 18)
    assert np.linalg.eigvalsh(matrix).min() > 0
    assert (np.diag(matrix) == 1).all()
