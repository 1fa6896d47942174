"""Open-I: headings to labels, names of all layouts, views, and hostile reports."""

import numpy as np
import pytest
from PIL import Image

import chexkeras as cx
from chexkeras.data import load_openi

REPORT = """<?xml version="1.0"?>
<eCitation><AbstractText Label="FINDINGS">Mr Secret</AbstractText><MeSH>{}</MeSH>{}</eCitation>"""


def report(folder, number, terms, images):
    folder.mkdir(exist_ok=True)
    majors = "".join(f"<major>{term}</major>" for term in terms)
    pictures = "".join(f'<parentImage id="{name}"/>' for name in images)
    (folder / f"{number}.xml").write_text(REPORT.format(majors, pictures))


def test_headings_become_labels(tmp_path):
    below = tmp_path / "ecgen-radiology"
    report(below, 1, ["Cardiac Shadow/enlarged/mild", "Thickening/pleura/right"], ["CXR1_1_IM-0001-3001"])
    report(below, 2, ["normal"], ["CXR2_IM-0652-1001", "CXR2_IM-0652-2001"])
    report(below, 3, ["No Indexing"], ["CXR3_IM-1384-1001"])
    report(below, 4, ["Hernia, Hiatal/large", "Cardiac Shadow/borderline", "Thickening/fissure"], ["CXR4_IM-2050-1001"])
    report(below, 5, ["Opacity/lung"], [])
    table = cx.open_data(tmp_path, missing="keep")
    assert table["image_id"].tolist() == [
        "CXR1_IM-0001-3001", "CXR2_IM-0652-1001", "CXR2_IM-0652-2001", "CXR3_IM-1384-1001", "CXR4_IM-2050-1001"
    ]  # fmt: skip
    assert table["patient_id"].tolist() == ["CXR1", "CXR2", "CXR2", "CXR3", "CXR4"]
    shown = [[name for name in table.findings if entry[name] == 1] for entry in table.to_dict("records")]
    assert shown == [["Cardiomegaly", "Pleural_Thickening"], [], [], [], ["Hernia"]]
    assert table["No Finding"].tolist()[:3] == [0, 1, 1] and np.isnan(table["Hernia"][3])
    assert table.source.cautions == ("The views of 5 images are not known: lateral images may be among them.",)
    assert "Secret" not in table.to_csv()
    first = table.source.files
    report(below, 2, ["Mass"], ["CXR2_IM-0652-1001"])
    assert cx.open_data(tmp_path, missing="keep").source.files != first


def test_kaggles_tables_say_the_views(tmp_path):
    (tmp_path / "indiana_reports.csv").write_text(
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n1,normal,normal,x,y,z,Mr Secret,fine\n"
        '2,"Pulmonary Atelectasis/base;Nodule/lung",a,x,y,z,f,i\n'
    )
    (tmp_path / "indiana_projections.csv").write_text(
        "uid,filename,projection\n1,1_IM-0001-4001.dcm.png,Frontal\n1,1_IM-0001-3001.dcm.png,Lateral\n"
        "2,2_IM-0652-1001.dcm.png,Frontal\n"
    )
    pictures = tmp_path / "images" / "images_normalized"
    pictures.mkdir(parents=True)
    for name in ("1_IM-0001-4001", "2_IM-0652-1001"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(pictures / f"{name}.dcm.png")
    table = cx.open_data(tmp_path)
    assert table["image_id"].tolist() == ["CXR1_IM-0001-4001", "CXR2_IM-0652-1001"]
    assert table[["Atelectasis", "Nodule", "No Finding"]].values.tolist() == [[0, 0, 1], [1, 1, 0]]
    assert table.source.cautions == () and all(path.endswith(".dcm.png") for path in table["path"])
    assert load_openi(tmp_path, missing="keep", views="lateral")["view"].tolist() == ["LATERAL"]
    (tmp_path / "indiana_projections.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"put it beside indiana_reports\.csv"):
        load_openi(tmp_path, missing="keep")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE a [<!ENTITY b "cccc">]><a>&b;</a>', "declares entities"),
        ("<a><b></a>", "is no XML report"),
        ('<a><parentImage id="../../etc/passwd"/></a>', "is no name of an image of Open-I"),
        ("<a>" + " " * 2**20 + "</a>", "bytes|MB|large"),
    ],
)
def test_hostile_reports_are_refused(tmp_path, text, message):
    (tmp_path / "ecgen-radiology").mkdir()
    (tmp_path / "ecgen-radiology" / "1.xml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_openi(tmp_path, missing="keep")


def test_a_folder_without_reports_is_told(tmp_path):
    (tmp_path / "ecgen-radiology").mkdir()
    with pytest.raises(FileNotFoundError, match="no XML report with an image"):
        load_openi(tmp_path, missing="keep")
