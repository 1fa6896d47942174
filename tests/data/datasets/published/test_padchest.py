"""PadChest: lists of terms to labels, views, ages, packed tables, and what is refused."""

import gzip

import numpy as np
import pytest

import chexkeras as cx
from chexkeras.data import load_padchest
from chexkeras.phantoms.layouts import _PADCHEST_COLUMNS

NAME = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
COLUMNS = _PADCHEST_COLUMNS.split(",")


def row(name, labels, *, patient="900", view="PA", sex="F", birth="1960.0", date="20150101"):
    values = dict.fromkeys(COLUMNS, "None") | {
        "": "0", "ImageID": name, "Labels": f'"{labels}"', "PatientID": patient, "Projection": view,
        "PatientSex_DICOM": sex, "PatientBirth": birth, "StudyDate_DICOM": date, "Report": " nombr secret ",
        "Manufacturer_DICOM": "Maker", "MethodLabel": "Physician",
    }  # fmt: skip
    return ",".join(values[column] for column in COLUMNS)


ROWS = [
    row("1234567890_a.png", "['pleural effusion', 'hydropneumothorax']"),
    row("1234567890_b.png", "['normal']", view="AP_horizontal"),
    row("1234567890_c.png", "['unchanged']", patient="901"),
    row("1234567890_d.png", "['laminar atelectasis', 'alveolar pattern', ' ']", patient="901"),
    row("1234567890_e.png", "['subcutaneous emphysema']", view="L", patient="902"),
    row("1234567890_f.png", "['normal']", view="EXCLUDE", patient="903"),
    row("1234567890_g.png", "", view="UNK", patient="904", sex="nan", birth="2030.0"),
]


def written(folder, rows, name=NAME):
    text = "\n".join([",".join(COLUMNS), *rows]) + "\n"
    if name.endswith(".gz"):
        (folder / name).write_bytes(gzip.compress(text.encode()))
    else:
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", [NAME, f"{NAME}.gz"])
def test_terms_become_labels_and_views_are_chosen(tmp_path, name):
    table = cx.open_data(written(tmp_path, ROWS, name), missing="keep")
    by_name = {image[-5]: entry for image, entry in zip(table["image_id"], table.to_dict("records"), strict=True)}
    assert sorted(by_name) == ["a", "b", "c", "d", "g"]
    assert [by_name["a"][each] for each in ("Effusion", "Pneumothorax", "Edema", "No Finding")] == [1, 1, 0, 0]
    assert by_name["b"]["No Finding"] == 1 and by_name["b"]["view"] == "AP"
    # A report that only says "unchanged", or nothing, says nothing of findings.
    assert all(np.isnan(by_name[each]["Effusion"]) for each in "cg")
    assert by_name["d"]["Atelectasis"] == 1 and by_name["d"]["Consolidation"] == 0
    assert by_name["a"]["age_years"] == 55 and np.isnan(by_name["g"]["age_years"]) and by_name["g"]["sex"] == ""
    assert by_name["a"]["follow_up"] == 0 and by_name["b"]["follow_up"] == 1
    assert table.source.implausible_ages == 1 and table.source.left_out[0][0] == "1234567890_f.png"
    assert table.source.label_release == "01.02.19"
    assert "secret" not in table.to_csv()
    lateral = load_padchest(tmp_path, missing="keep", views="lateral")
    assert lateral["view"].tolist() == ["LATERAL"] and lateral["Emphysema"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("1234567890_a.png", "normal")], "is no list of labels"),
        ([row("1234567890_a.png", "['normal")], "is no list of labels"),
        ([row("1234567890_a.png", "['normal']", view="XX")], "Projection is 'XX' in 1"),
        ([ROWS[0], ROWS[0]], "more than once"),
        ([ROWS[4]], "none of PadChest's 1 images is frontal"),
    ],
)
def test_malformed_tables_are_refused(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        load_padchest(written(tmp_path, rows), missing="keep")


def test_a_packed_table_that_is_cut_short_or_far_too_large_is_refused(tmp_path, monkeypatch):
    written(tmp_path, ROWS * 200, f"{NAME}.gz")
    file = tmp_path / f"{NAME}.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read as a CSV"):
        load_padchest(tmp_path, missing="keep")
    file.write_bytes(whole)
    monkeypatch.setattr("chexkeras.data.datasets._csv._MOST_UNPACKED_BYTES", 1000)
    with pytest.raises(ValueError, match="unpacks to more than"):
        load_padchest(tmp_path, missing="keep")
