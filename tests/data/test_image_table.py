"""Which columns of an image table are labels, and how targets are looked up in them."""

import pandas as pd
import pytest

from chexkeras.data import image_table


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "image_id": ["a"], "age_years": [50.0], "width_px": [1024], "No Finding": [0.0], "Pleural Effusion": [1.0],
            "Tuberculosis": [0.0], "Abnormal": [1.0], "ward": ["A"], "icu": [True], "official_split": [""],
            "uncertain": [""],
        }
    )  # fmt: skip


def test_labels_are_the_numeric_columns_that_do_not_describe_the_image(table):
    assert image_table.label_columns(table) == ("No Finding", "Pleural Effusion", "Tuberculosis", "Abnormal")
    assert image_table.finding_columns(table) == ("Pleural Effusion", "Tuberculosis")


def test_targets_are_found_in_any_spelling_of_their_finding(table):
    assert image_table.resolve_targets(table, "effusion") == ("Pleural Effusion",)
    assert image_table.resolve_targets(table, ["tuberculosis", "no_finding"]) == ("Tuberculosis", "No Finding")
    assert image_table.resolve_targets(table, (name for name in ["Abnormal"])) == ("Abnormal",)


def test_a_target_that_is_no_label_is_refused(table):
    with pytest.raises(ValueError, match=r"unknown finding 'Pneumonia'.*Known findings: No Finding, Pleural Effusion"):
        image_table.resolve_targets(table, "Pneumonia")
    with pytest.raises(ValueError, match=r"unknown finding 'icu'"):
        image_table.resolve_targets(table, "icu")
    with pytest.raises(ValueError, match=r"no column 'Abnormal'; add_abnormal\(table\) derives it"):
        image_table.resolve_targets(table.drop(columns="Abnormal"), ["Tuberculosis", "Abnormal"])
    with pytest.raises(ValueError, match=r"the table has no label column \(it has: image_id, ward\)"):
        image_table.resolve_targets(table[["image_id", "ward"]], "Edema")


def test_the_fingerprint_minds_labels_and_marks_and_not_where_images_lie(table):
    moved = table.assign(path="elsewhere")
    assert image_table.fingerprint(moved) == image_table.fingerprint(table)
    assert image_table.fingerprint(table.assign(uncertain="Tuberculosis")) != image_table.fingerprint(table)
