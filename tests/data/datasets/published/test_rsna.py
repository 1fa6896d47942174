"""RSNA's challenge: boxes to labels, classes, the mapping to NIH, and what is refused."""

import json

import pytest

import chexkeras as cx
from chexkeras.data import load_rsna, shared_images
from chexkeras.data.datasets.custom import NO_PATIENTS_CAUTION
from chexkeras.data.image_table import NIH_IMAGE

A, B, C = (f"{letter * 8}-{letter * 4}-{letter * 4}-{letter * 4}-{letter * 12}" for letter in "abc")
LABELS = f"patientId,x,y,width,height,Target\n{A},1,2,3,4,1\n{A},9,2,3,4,1\n{B},,,,,0\n{C},,,,,0\n"
CLASSES = f"patientId,class\n{A},Lung Opacity\n{A},Lung Opacity\n{B},No Lung Opacity / Not Normal\n{C},Normal\n"
MAPPING = [{"subset_img_id": A, "img_id": "00000013_008.png"}, {"subset_img_id": B, "img_id": "00000013_026.png"},
           {"subset_img_id": C, "img_id": "00000014_000.png"}]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "stage_2_train_labels.csv").write_text(LABELS)
    (tmp_path / "stage_2_detailed_class_info.csv").write_text(CLASSES)
    (tmp_path / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(MAPPING))
    return tmp_path


def test_an_image_with_boxes_is_positive_and_patients_are_nihs(folder):
    table = cx.open_data(folder, missing="keep")
    assert table[["image_id", "patient_id", "follow_up", "Pneumonia"]].values.tolist() == [
        [A, "13", 8, 1.0], [B, "13", 26, 0.0], [C, "14", 0, 0.0]
    ]  # fmt: skip
    assert table[NIH_IMAGE].tolist() == ["00000013_008.png", "00000013_026.png", "00000014_000.png"]
    assert table["rsna_class"].tolist() == ["Lung Opacity", "No Lung Opacity / Not Normal", "Normal"]
    assert table.findings == ("Pneumonia",) and table.source.group_columns == ("rsna_class",)
    assert NO_PATIENTS_CAUTION not in table.source.cautions and len(table.source.files) == 3
    assert any("possible pneumonia" in caution for caution in table.source.cautions)


def test_its_images_are_known_among_nihs_by_the_mapping_alone(folder):
    (folder / "nih").mkdir()
    nih = cx.data.ImageTable.of(
        cx.data.ImageTable({"image_id": ["00000013_008.png"], "patient_id": ["13"], "Pneumonia": [1.0]})
    ).with_source(cx.data.TableSource("NIH ChestX-ray14"))
    mapped = shared_images(nih, load_rsna(folder, missing="keep"))
    assert dict(zip(mapped.rows["image_id"], mapped.rows["how"], strict=True)) == {A: "same image", B: "same patient"}
    (folder / "pneumonia-challenge-dataset-mappings_2018.json").unlink()
    table = load_rsna(folder, missing="keep")
    assert table["patient_id"].tolist() == [A, B, C] and NO_PATIENTS_CAUTION in table.source.cautions
    blind = shared_images(nih, table)
    assert blind.image_ids == () and "are images of NIH ChestX-ray14, and names do not tell which" in blind.undecided
    with pytest.raises(ValueError, match="names do not tell which"):
        blind.refuse()
    # The other way round, and against itself, where names tell.
    assert shared_images(table, nih).undecided
    assert not shared_images(table, table).undecided and len(shared_images(table, table).rows) == 3


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("stage_2_train_labels.csv", LABELS.replace(",,,,,0", ",,,,,maybe", 1), "Target is 'maybe' for b"),
        ("stage_2_train_labels.csv", LABELS + f"{A},,,,,0\n", "both with a box and without one"),
        ("stage_2_train_labels.csv", LABELS.replace("Target", "Goal"), r"lacks the column\(s\) Target"),
        ("stage_2_detailed_class_info.csv", CLASSES.replace("Normal", "Fine"), "/ Not Fine'"),
        ("stage_2_detailed_class_info.csv", CLASSES + f"{C},Lung Opacity\n", "is in two classes"),
        ("stage_2_detailed_class_info.csv", CLASSES.replace(f"{C},Normal", f"{C},Lung Opacity"), "contradict each"),
        ("pneumonia-challenge-dataset-mappings_2018.json", '[{"a": 1}]', "subset_img_id and img_id was expected"),
        ("pneumonia-challenge-dataset-mappings_2018.json", '[{"subset_img_id": "a", "img_id": "x.png"}]', "no name"),
    ],
)  # fmt: skip
def test_malformed_files_are_refused_in_words(folder, file, text, message):
    (folder / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_rsna(folder, missing="keep")
