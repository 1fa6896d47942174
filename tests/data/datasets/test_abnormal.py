"""Normal or abnormal, by hand on a few rows and by the counts of the real labels."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.data import image_table
from chexkeras.data.datasets.labels import add_abnormal
from chexkeras.data.image_table import TableSource
from chexkeras.findings import CHEXPERT14, NIH14, NO_FINDING


def frame(vocabulary, *rows):
    """Returns a table with these labels, 0 where a row says nothing."""
    table = pd.DataFrame([{**dict.fromkeys(vocabulary, 0.0), **row} for row in rows])
    table.insert(0, "image_id", [f"{number}.png" for number in range(len(rows))])
    table["official_split"] = ""
    table.attrs["source"] = TableSource("toy")
    return table


def test_any_finding_makes_a_image_abnormal_and_all_known_absent_normal():
    table = frame(NIH14, {}, {"Mass": 1.0}, {"Mass": np.nan}, {"Mass": np.nan, "Edema": 1.0}, {"Mass": 0.7})
    labelled = add_abnormal(table)
    np.testing.assert_equal(labelled["Abnormal"].tolist(), [0, 1, np.nan, 1, np.nan])
    assert labelled.columns.tolist() == [*table.columns[:-1], "Abnormal", "official_split"]
    assert labelled.attrs == table.attrs
    assert "Abnormal" not in table.columns
    assert image_table.finding_columns(labelled) == NIH14
    assert image_table.resolve_targets(labelled, ["abnormal", "Mass"]) == ("Abnormal", "Mass")


def test_no_finding_makes_a_image_normal_and_devices_make_none_abnormal():
    table = frame(
        CHEXPERT14,
        {NO_FINDING: 1.0, "Support Devices": 1.0},
        {NO_FINDING: 1.0, "Edema": np.nan},
        {NO_FINDING: 1.0, "Edema": 1.0},
        {"Support Devices": 1.0},
        {"Edema": np.nan},
        {"Fracture": 1.0, "Edema": np.nan},
    )
    np.testing.assert_equal(add_abnormal(table)["Abnormal"].tolist(), [0, 0, 1, 0, np.nan, 1])


def test_adding_twice_changes_nothing():
    once = add_abnormal(frame(NIH14, {}, {"Mass": 1.0}))
    pd.testing.assert_frame_equal(add_abnormal(once), once)


@pytest.mark.parametrize("names", [["Pneumonia"], ["Edema", "Pleural Effusion"], list(NIH14[:-1])])
def test_some_findings_alone_do_not_make_a_image_normal(names):
    with pytest.raises(ValueError, match=rf"the table holds {len(names)} of .*\({', '.join(names)}\).*findings="):
        add_abnormal(frame(names, {}))
    assert add_abnormal(frame(names, {}), names)["Abnormal"].tolist() == [0]


def test_labels_of_ones_own_are_all_there_is():
    table = frame(["Tuberculosis", "Silicosis"], {}, {"Silicosis": 1.0})
    assert add_abnormal(table)["Abnormal"].tolist() == [0, 1]


def test_findings_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="unknown finding 'Mass'"):
        add_abnormal(frame(["Edema"], {}), ["Mass"])
    with pytest.raises(ValueError, match="the table has no finding to tell normal from abnormal by"):
        add_abnormal(frame([NO_FINDING], {}))


@pytest.mark.realdata
def test_the_real_images_without_finding_are_the_published_60361(full_nih):
    """60,361 of 112,120 images carry "No Finding" in NIH's label file."""
    assert add_abnormal(full_nih)["Abnormal"].value_counts().to_dict() == {0.0: 60_361, 1.0: 112_120 - 60_361}
