"""Boxes of four data sets, in files laid out as they are published."""

import json

import numpy as np
import pandas as pd
import pytest

from chexkeras.data import load_boxes
from chexkeras.data.datasets.boxes import COLUMNS, CORRESPONDING, SQUARE_PX, decode_mask
from chexkeras.findings import ALL

RSNA = """patientId,x,y,width,height,Target
0004cfab-14fd-4e49-80ba-63a80b6bddd6,,,,,0
00436515-870c-4b36-a041-de91049b9ab4,264.0,152.0,213.0,379.0,1
00436515-870c-4b36-a041-de91049b9ab4,562.0,152.0,256.0,453.0,1
"""
VINDR = """image_id,rad_id,class_name,x_min,y_min,x_max,y_max
50a418190bc3fb1ef1633bf9678929b3,R11,No finding,,,,
9a5094b2563a1ef3ff50dc5c7ff71345,R10,Cardiomegaly,691.0,1375.0,1653.0,1831.0
9a5094b2563a1ef3ff50dc5c7ff71345,R8,Cardiomegaly,700.0,1380.0,1650.0,1830.0
9a5094b2563a1ef3ff50dc5c7ff71345,R10,Aortic enlargement,1052.0,715.0,1299.0,966.0
9a5094b2563a1ef3ff50dc5c7ff71345,R9,Pleural effusion,1789.0,1729.0,1875.0,1992.0
"""
OUTLINES = {
    "patient64541_study1_view1_frontal": {
        "img_size": [2000, 1000],
        "Pleural Effusion": [
            [[100.0, 200.0], [300.0, 250.0], [200.0, 600.0]], [[700.0, 0.0], [900.0, 0.0], [900.0, 400.0]],
        ],
        "Airspace Opacity": [[[0.0, 0.0], [500.0, 0.0], [500.0, 1000.0]]],
    }
}  # fmt: skip


def written(folder, name, text):
    path = folder / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def of(boxes, image, finding):
    rows = boxes[(boxes["image_id"] == image) & (boxes["finding"] == finding)]
    return rows[["x_px", "y_px", "width_px", "height_px"]].to_numpy().tolist()


def test_rsnas_boxes_are_as_they_stand_in_the_file(tmp_path):
    boxes = load_boxes(written(tmp_path, "stage_2_train_labels.csv", RSNA))
    assert tuple(boxes.columns) == COLUMNS and boxes.attrs["image_px"] == SQUARE_PX
    assert len(boxes) == 2 and set(boxes["finding"]) == {"Pneumonia"}
    assert of(boxes, "00436515-870c-4b36-a041-de91049b9ab4", "Pneumonia") == [
        [264, 152, 213, 379],
        [562, 152, 256, 453],
    ]


def test_vindrs_boxes_are_scaled_by_the_size_of_their_image_and_keep_their_reader(tmp_path):
    image = "9a5094b2563a1ef3ff50dc5c7ff71345"
    table = pd.DataFrame({"image_id": [f"{image}.dicom"], "width_px": [2048], "height_px": [2560]})
    path = written(tmp_path, "annotations_train.csv", VINDR)
    boxes = load_boxes(path, table=table)
    assert boxes["reader"].tolist() == ["R10", "R8", "R9"]
    assert boxes.attrs["left_out"] == {"no finding here means the same as Aortic enlargement": 1}
    (first, _) = of(boxes, f"{image}.dicom", "Cardiomegaly")
    np.testing.assert_allclose(first, [691 / 2, 1375 / 2.5, 962 / 2, 456 / 2.5])
    # One reader of three marked the effusion.
    agreed = load_boxes(path, table=table, least_readers=2)
    assert set(agreed["finding"]) == {"Cardiomegaly"} and len(agreed) == 2
    asked = load_boxes(path, table=table, findings=("Pleural Effusion", "Edema"))
    assert asked["finding"].tolist() == ["Pleural Effusion"]


def test_vindrs_test_part_and_kaggles_copy_have_other_columns(tmp_path):
    lines = VINDR.splitlines()
    test = "\n".join(",".join(cell for place, cell in enumerate(line.split(",")) if place != 1) for line in lines)
    image = "9a5094b2563a1ef3ff50dc5c7ff71345"
    table = pd.DataFrame({"image_id": [image], "width_px": [2048], "height_px": [2560]})
    boxes = load_boxes(written(tmp_path, "annotations_test.csv", test), table=table)
    assert len(boxes) == 3 and set(boxes["reader"]) == {""}
    frame = pd.read_csv(tmp_path / "annotations_test.csv").assign(class_id=3, rad_id="R1")
    frame.to_csv(tmp_path / "train.csv", index=False)
    assert load_boxes(tmp_path / "train.csv", table=table)["reader"].tolist() == ["R1"] * 3


def test_outlines_give_the_boxes_around_them(tmp_path):
    path = written(tmp_path, "gt_annotations_val.json", OUTLINES)
    boxes = load_boxes(path)
    name = "patient64541_study1_view1_frontal"
    # 1000 columns and 2000 rows become a square of 1024.
    np.testing.assert_allclose(
        of(boxes, name, "Effusion"),
        np.array([[100, 100, 200, 200], [700, 0, 200, 200]]) * 1.024,
    )
    np.testing.assert_allclose(of(boxes, name, "Lung Opacity"), np.array([[0, 0, 500, 500]]) * 1.024)
    table = pd.DataFrame(
        {"image_id": ["valid/patient64541/study1/view1_frontal.jpg", "valid/patient1/study1/view1.jpg"]}
    )
    found = load_boxes(path, table=table, findings=("Pleural Effusion",))
    assert found["image_id"].tolist() == ["valid/patient64541/study1/view1_frontal.jpg"] * 2
    assert set(found["finding"]) == {"Pleural Effusion"}


def encoded(mask):
    """Writes a mask as COCO's tools do, by a way of its own: run lengths, differences, groups of five bits."""
    flat = mask.T.ravel().astype(int)
    runs, value, length = [], 0, 0
    for pixel in flat:
        if pixel != value:
            runs.append(length)
            value, length = pixel, 0
        length += 1
    runs.append(length)
    text = ""
    for place, run in enumerate(runs):
        number = run - (runs[place - 2] if place > 2 else 0)
        while True:
            bits, number = number & 31, number >> 5
            more = not ((number == 0 and not bits & 16) or (number == -1 and bits & 16))
            text += chr(48 + bits + (32 if more else 0))
            if not more:
                break
    return {"size": list(mask.shape), "counts": text}


def test_masks_give_a_box_for_each_part(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((int(rng.integers(1, 70)), int(rng.integers(1, 70)))) < rng.random()
        np.testing.assert_array_equal(decode_mask(encoded(mask)), mask)
    # Published by COCO's tools for a mask of 3 x 3 with the middle column set: runs 3, 3, 3.
    assert decode_mask({"size": [3, 3], "counts": "333"}).astype(int).tolist() == [[0, 1, 0]] * 3
    mask = np.zeros((512, 256), bool)
    mask[10:20, 30:50] = mask[100:300, 0:5] = True
    path = written(tmp_path, "gt_segmentations_val.json", {"patient1_study1_view1_frontal": {"Edema": encoded(mask)}})
    boxes = load_boxes(path)
    assert of(boxes, "patient1_study1_view1_frontal", "Edema") == [[120, 20, 80, 20], [0, 200, 20, 400]]


def test_nihs_boxes_are_those_of_its_own_loader(tmp_path):
    text = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000001_000.png,Infiltrate,1.5,2,3,4,,,\n"
    path = written(tmp_path, "BBox_List_2017.csv", text)
    for given in (path, tmp_path):
        boxes = load_boxes(given)
        assert boxes.iloc[0].tolist() == ["00000001_000.png", "Infiltration", 1.5, 2.0, 3.0, 4.0, ""]
        assert boxes.attrs["image_px"] == 1024 and boxes.attrs["source"] == "BBox_List_2017.csv"


def test_every_finding_that_corresponds_is_one_that_is_known():
    meant = {name for table in CORRESPONDING.values() for name in table.values() if name is not None}
    assert meant <= set(ALL)
    # 22 findings that are boxed, 5 diseases of whole images, and none.
    assert len(CORRESPONDING["vindr"]) == 22 + 5 + 1


def test_images_that_are_not_in_the_table_are_named(tmp_path, capsys):
    more = RSNA + "other,1,2,3,4,1\n"
    path = written(tmp_path, "stage_2_train_labels.csv", more)
    table = pd.DataFrame({"image_id": ["00436515-870c-4b36-a041-de91049b9ab4.dcm"]})
    boxes = load_boxes(path, table=table)
    assert set(boxes["image_id"]) == {"00436515-870c-4b36-a041-de91049b9ab4.dcm"}
    assert boxes.attrs["left_out"] == {"1 images such as 'other' are not in the table": 1}
    assert "1 boxes left out: 1 images such as 'other'" in capsys.readouterr().err
    with pytest.raises(
        ValueError, match=r"no box is of an image of the table: boxes are of '00436515.*the table has 'a'"
    ):
        load_boxes(path, table=pd.DataFrame({"image_id": ["a"]}))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("labels.csv", "a,b\n1,2\n", "has the columns a, b; boxes are read as NIH, RSNA"),
        ("r.csv", RSNA.replace("264.0", "left"), "has a place or size that is no number"),
        ("r.csv", RSNA.replace("213.0", "0"), "has no width or height"),
        ("r.csv", RSNA.replace(",1\n", ",2\n"), "Target is neither 0 nor 1"),
        ("v.csv", VINDR, "does not say how large the images are; give table="),
        ("v.csv", VINDR.replace("Cardiomegaly", "Cardiomegalie"), "unknown finding 'Cardiomegalie'; did you mean"),
        ("c.json", {"a": {"img_size": [10, 10], "Edema": [[[1, 2, 3]]]}}, "is not as CheXlocalize publishes"),
        ("c.json", {"a": {"Edema": {"size": [3, 3], "counts": "33"}}}, "runs that do not fill a mask"),
        ("c.json", {"a": {"Edema": {"size": [10**6, 10**6], "counts": "33"}}}, "a mask of 1000000 x 1000000"),
        ("c.json", {"a": {"Edema": [[[1, 1], [5, 9]]]}}, "does not say how large the images are"),
        ("c.json", [1], "is not as CheXlocalize publishes"),
    ],
)
def test_a_file_that_is_not_as_published_is_refused_in_one_sentence(tmp_path, name, text, words):
    with pytest.raises(ValueError, match=words):
        load_boxes(written(tmp_path, name, text))


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="kind='coco'"):
        load_boxes(tmp_path, kind="coco")
    with pytest.raises(FileNotFoundError, match="BBox_List_2017"):
        load_boxes(tmp_path)
    with pytest.raises(FileNotFoundError, match="give the file of the boxes"):
        load_boxes(tmp_path / "gone.csv")
