"""Made-up hospitals: other patients, other images, other labels, declared in one place."""

import json
from dataclasses import replace

import numpy as np
import pytest

from chexkeras.data import load_nih, source_of
from chexkeras.data.datasets import nih_statistics
from chexkeras.phantoms import HOSPITALS, make_phantoms
from chexkeras.phantoms.cohort import make_cohort
from chexkeras.phantoms.render import draw

USUAL, PORTABLE, SCREENING = (HOSPITALS[name] for name in ("usual", "portable", "screening"))


def cohort(hospital, images=200, seed=0, **asked):
    shares = hospital.shares(asked, nih_statistics.PREVALENCE)
    return hospital.labelled(make_cohort(images, hospital.seed_of(seed), shares), seed)


def share(images, finding):
    return sum(finding in dict(image.severity) for image in images) / len(images)


def test_the_usual_hospital_changes_nothing():
    assert cohort(USUAL) == make_cohort(200, 0)
    image = cohort(USUAL)[0]
    assert np.array_equal(draw(image, 0, 64).pixels, draw(image, 0, 64, USUAL).pixels)


def test_odds_are_others_and_what_is_asked_for_too():
    assert share(cohort(PORTABLE, Effusion=0.3), "Effusion") == pytest.approx(2 * 0.3 / (2 * 0.3 + 0.7), abs=0.01)
    assert share(cohort(SCREENING, Effusion=0.3), "Effusion") == pytest.approx(0.12 / (0.12 + 0.7), abs=0.01)


def test_labels_miss_what_is_drawn_and_name_what_is_not():
    images = cohort(replace(PORTABLE, missed=0.3, overcalled=0.1), images=1500, Effusion=0.3)
    drawn = np.array(["Effusion" in dict(image.severity) for image in images])
    said = np.array(["Effusion" in image.labels for image in images])
    assert said[drawn].mean() == pytest.approx(0.7, abs=0.06)
    assert said[~drawn].mean() == pytest.approx(0.1, abs=0.04)
    assert all(image.recorded is None for image in cohort(USUAL))


@pytest.mark.parametrize("name", [name for name in HOSPITALS if name != "usual"])
def test_the_same_patient_looks_otherwise_there(name):
    hospital = HOSPITALS[name]
    image = make_cohort(3, 0)[0]
    usual, there = draw(image, 0, 128), draw(image, 0, 128, hospital)
    assert usual.pixels.shape == there.pixels.shape and usual.boxes == there.boxes
    middle = (slice(32, 96), slice(32, 96))
    assert abs(float(usual.pixels[middle].mean()) - float(there.pixels[middle].mean())) > 2


def test_patients_of_one_number_are_other_people():
    first, second = make_cohort(20, USUAL.seed_of(0)), make_cohort(20, PORTABLE.seed_of(0))
    assert [image.age_years for image in first] != [image.age_years for image in second]


def test_a_folder_says_where_it_is_from(tmp_path):
    root = make_phantoms(tmp_path / "there", images=12, size=64, site="portable", dicom=False, processes=1)
    assert json.loads((root / "PHANTOM.json").read_text())["parameters"]["site"] == "portable"
    table = load_nih(root)
    source = source_of(table)
    assert source.dataset.endswith("site portable") and source.synthetic
    assert any("made-up hospital 'portable'" in caution for caution in source.cautions)
    assert set(table["width_px"]) == {1760}
    with pytest.raises(FileExistsError, match="site"):
        make_phantoms(root, images=12, size=64, dicom=False, processes=1)
    with pytest.raises(ValueError, match="site"):
        make_phantoms(tmp_path / "other", images=12, size=64, site="nowhere")
    home = make_phantoms(tmp_path / "home", images=12, size=64, dicom=False, processes=1)
    assert "site" not in json.loads((home / "PHANTOM.json").read_text())["parameters"]


def test_a_hostile_site_is_not_shown(tmp_path):
    root = make_phantoms(tmp_path / "there", images=12, size=64, site="portable", dicom=False, processes=1)
    marker = root / "PHANTOM.json"
    made = json.loads(marker.read_text())
    made["parameters"]["site"] = "<script>"
    marker.write_text(json.dumps(made))
    assert "script" not in str(source_of(load_nih(root)))
