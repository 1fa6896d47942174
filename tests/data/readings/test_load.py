"""Files of readings: each published layout as a small file, tables of one's own, and what is wrong with them."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.data import load_readings
from chexkeras.evaluation import Readings, fleiss_kappa

FOUR = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],Fracture,Pneumothorax,Airspace opacity,Nodule or mass\n"
    "00000013_008.png,No Finding,8,13,60,M,AP,3056,2544,0.139,0.139,NO,NO,YES,NO\n"
    "00000013_026.png,Cardiomegaly|Emphysema,26,13,57,M,AP,2500,2048,0.168,0.168,NO,YES,NO,NO\n"
)


def write(tmp_path, text, name="readings.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_nih_images_read_again_for_four_findings(tmp_path):
    readings = load_readings(write(tmp_path, FOUR))
    assert readings.source.citation.startswith("Majkowska")
    assert readings.findings == ("Fracture", "Pneumothorax", "Airspace opacity", "Nodule or mass")
    assert readings.consensus("Pneumothorax").to_dict() == {"00000013_008.png": 0.0, "00000013_026.png": 1.0}
    assert readings.source.labels_of("Nodule or mass") == ("Nodule", "Mass")
    assert readings.source.labels_of("Airspace opacity") == ()
    assert [name for name, _ in readings.source.files] == ["readings.csv"]


def test_each_readers_own_readings_hedged_ones_left_open(tmp_path):
    text = (
        "Image ID,Patient ID,Set ID,Reader ID,Fracture,Pneumothorax,Airspace opacity,Nodule/mass\n"
        "a.png,1,test,11,NO,YES,NO,HEDGE\na.png,1,test,12,NO,YES,NO,YES\na.png,1,test,13,YES,NO,NO,YES\n"
    )
    readings = load_readings(write(tmp_path, text))
    assert readings.readers == ("11", "12", "13")
    assert np.isnan(readings.ratings("Nodule or mass").loc["a.png", "11"])
    together = {how: readings.consensus("Pneumothorax", how)["a.png"] for how in ("majority", "any", "all")}
    assert together == {"majority": 1.0, "any": 1.0, "all": 0.0}


def test_all_findings_by_five_readers(tmp_path):
    names = ["Abnormal", "Atelectasis", "Cardiomegaly", "Effusion", "Hernia", "Pleural Thickening", "Other"]
    lines = [",".join(["Image ID", "Patient ID", "Reader ID", *names])]
    lines += [f"b.png,2,{reader},YES,NO,NO,YES,NO,{'YES' if reader > 2 else 'NO'},NO" for reader in range(5)]
    readings = load_readings(write(tmp_path, "\n".join(lines)))
    assert readings.source.citation.startswith("Nabulsi")
    assert readings.source.labels_of("Pleural Thickening") == ("Pleural_Thickening",)
    assert readings.source.labels_of("Abnormal") == ()
    assert readings.consensus("Pleural Thickening")["b.png"] == 0.0
    assert readings.consensus("Effusion")["b.png"] == 1.0


def test_an_image_with_a_box_of_rsna_is_read_as_possible_pneumonia_under_its_name_at_nih(tmp_path):
    boxes = write(
        tmp_path, "patientId,x,y,width,height,Target\nu-1,,,,,0\nu-2,1,2,3,4,1\nu-2,5,6,7,8,1\nu-3,,,,,0\n"
    )  # fmt: skip
    mapping = write(tmp_path, "subset_img_id,img_id,SOPInstanceUID\nu-1,00000001_000.png,1\nu-2,00000002_000.png,2\n",
                    "mapping.csv")  # fmt: skip
    readings = load_readings(boxes)
    assert readings.consensus("Possible pneumonia").to_dict() == {"u-1": 0.0, "u-2": 1.0, "u-3": 0.0}
    named = load_readings(boxes, image_ids=mapping)
    assert named.consensus("Possible pneumonia").to_dict() == {"00000001_000.png": 0.0, "00000002_000.png": 1.0}
    assert named.source.labels_of("Possible pneumonia") == ("Pneumonia",)


def test_a_reader_of_vindr_who_drew_no_box_said_that_it_is_not_there(tmp_path):
    text = (
        "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
        "v,No finding,14,R1,,,,\nv,Cardiomegaly,3,R2,1,2,3,4\nv,Nodule/Mass,8,R2,1,2,3,4\nv,Nodule/Mass,8,R2,5,6,7,8\n"
        "v,Cardiomegaly,3,R3,1,2,3,4\n"
    )
    readings = load_readings(write(tmp_path, text))
    assert readings.ratings("Cardiomegaly").loc["v"].to_dict() == {"R1": 0.0, "R2": 1.0, "R3": 1.0}
    assert readings.consensus("Cardiomegaly")["v"] == 1.0
    assert readings.consensus("Nodule/Mass")["v"] == 0.0


def test_a_table_of_ones_own_by_several_readers(tmp_path):
    text = "image_id,reader,Edema,Mass\nx,A,1,0\nx,B,0,0\ny,A,1,\ny,B,1,0\n"
    readings = load_readings(write(tmp_path, text))
    assert readings.readers == ("A", "B")
    edema = readings.consensus("Edema")
    assert np.isnan(edema["x"]) and edema["y"] == 1.0
    assert readings.consensus("Mass")["y"] == 0.0
    assert len(readings) == 8
    assert fleiss_kappa(readings.ratings("Edema")).n == 2


def test_files_of_one_kind_are_put_together_and_others_refused(tmp_path):
    first = write(tmp_path, FOUR, "test_labels.csv")
    second = write(tmp_path, FOUR.replace("00000013", "00000014"), "validation_labels.csv")
    assert len(load_readings([first, second]).images) == 4
    with pytest.raises(ValueError, match="of different kinds"):
        load_readings([first, write(tmp_path, "image_id,Edema\nx,1\n", "own.csv")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,Edema\nx,2\n", r"'Edema' is '2' for x .*1, 0 or blank"),
        ("image_id,Edema,note\nx,1,unclear\n", "'note' is 'unclear' for x.*Leave out columns that are no finding"),
        ("name,Edema\nx,1\n", "has no column image_id"),
        ("image_id,reader\nx,A\n", "has no column with a finding"),
        ("image_id,Edema\nx,1\nx,0\n", "stand there twice, first that of reader on x for Edema"),
        ("image_id,Edema\n", "no rows"),
        ("image_id,Edema\n,1\n", "have no image_id"),
    ],
)
def test_a_file_that_is_no_table_of_readings_is_refused_in_words(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_readings(write(tmp_path, text))


def test_a_mapping_that_names_no_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match="names none of the 2 images"):
        load_readings(write(tmp_path, FOUR), image_ids={"other": "x"})
    with pytest.raises(ValueError, match="lacks the columns subset_img_id and img_id"):
        load_readings(write(tmp_path, FOUR), image_ids=write(tmp_path, "a,b\n1,2\n", "mapping.csv"))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nosuch"):
        load_readings(tmp_path / "nosuch.csv")


def test_readers_who_are_not_equally_good_are_weighed():
    draw = np.random.default_rng(0)
    truth = draw.random(300) < 0.4
    rows = []
    for reader, wrong in (("A", 0.03), ("B", 0.4), ("C", 0.4)):
        value = np.where(draw.random(300) < wrong, ~truth, truth).astype(int)
        rows.append(
            pd.DataFrame({"image_id": np.arange(300).astype(str), "finding": "Edema", "reader": reader, "value": value})
        )
    readings = Readings.of(pd.concat(rows))
    right = {
        how: (readings.consensus("Edema", how)[np.arange(300).astype(str)].to_numpy() == truth).mean()
        for how in ("majority", "dawid_skene")
    }
    assert right["dawid_skene"] > right["majority"] + 0.05


@pytest.mark.parametrize("how", ["majority", "any", "all"])
def test_one_reading_an_image_stands_whatever_the_rule(how):
    readings = Readings.of(pd.DataFrame({"image_id": ["x", "y"], "finding": "Edema", "value": [1, 0]}))
    assert readings.consensus("Edema", how).to_list() == [1.0, 0.0]
