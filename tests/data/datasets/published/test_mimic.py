"""MIMIC-CXR-JPG: two labellers, parts, views, patients' ages, releases, and what is refused."""

import numpy as np
import pytest

from chexkeras.data import load_mimic
from chexkeras.findings import CHEXPERT14

IDS = ["-".join([letter * 8] * 5) for letter in "abcde"]


def marks(**given):
    return ",".join(given.get(name.replace(" ", "_"), "") for name in CHEXPERT14)


@pytest.fixture
def folder(tmp_path):
    header = "subject_id,study_id," + ",".join(CHEXPERT14)
    for labeller, value in (("chexpert", "-1.0"), ("negbio", "1.0")):
        (tmp_path / f"mimic-cxr-2.0.0-{labeller}.csv").write_text(
            f"{header}\n10000001,50000001,{marks(Edema=value, Fracture='0.0')}\n"
            f"10000001,50000002,{marks(No_Finding='1.0')}\n"
            f"10000002,50000003,{marks(Edema='1.0')}\n"
        )
    rows = [("10000001", "50000001", "PA", "21800101"), ("10000001", "50000001", "LATERAL", "21800101"),
            ("10000001", "50000002", "AP", "21810101"), ("10000002", "50000003", "", "21500101"),
            ("10000003", "50000004", "PA", "21500101")]  # fmt: skip
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv").write_text(
        "dicom_id,subject_id,study_id,ViewPosition,Rows,Columns,StudyDate,StudyTime\n"
        + "".join(
            f"{name},{patient},{study},{view},2544,3056,{date},92000.5\n"
            for name, (patient, study, view, date) in zip(IDS, rows, strict=True)
        )
    )
    (tmp_path / "mimic-cxr-2.0.0-split.csv").write_text(
        "dicom_id,study_id,subject_id,split\n"
        + "".join(
            f"{name},{study},{patient},{part}\n"
            for name, (patient, study, *_), part in zip(
                IDS, rows, ("train", "train", "validate", "test", "test"), strict=True
            )
        )
    )
    return tmp_path


def test_studies_label_their_images(folder):
    table = load_mimic(folder, missing="keep", findings=["Edema", "No Finding"])
    assert table["image_id"].tolist() == [
        f"p10/p10000001/s50000001/{IDS[0]}.jpg", f"p10/p10000001/s50000002/{IDS[2]}.jpg",
        f"p10/p10000002/s50000003/{IDS[3]}.jpg",
    ]  # fmt: skip
    assert table["follow_up"].tolist() == [0, 1, 0]
    assert table["official_split"].tolist() == ["train_val", "train_val", "test"]
    assert table["uncertain"].tolist() == ["Edema", "", ""] and np.isnan(table["Edema"][0])
    assert table["width_px"].tolist() == [3056] * 3 and table["view"].tolist() == ["PA", "AP", ""]
    assert [image for image, _ in table.source.left_out] == [f"p10/p10000003/s50000004/{IDS[4]}.jpg"]
    assert table.source.label_release == "2.0.0, labels of chexpert"
    other = load_mimic(folder, missing="keep", labeller="negbio", views="all")
    assert other["Edema"].tolist() == [1, 1, 0, 1] and other["view"].tolist()[1] == "LATERAL"


def test_mimic_ivs_patients_bring_age_and_sex(folder):
    assert load_mimic(folder, missing="keep")["age_years"].isna().all()
    (folder / "patients.csv").write_text(
        "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod\n10000001,F,50,2178,2014 - 2016,\n"
        "10000002,M,40,2150,2014 - 2016,\n"
    )
    table = load_mimic(folder, missing="keep")
    assert table["age_years"].tolist() == [52, 53, 40] and table["sex"].tolist() == ["F", "F", "M"]


def test_missing_and_mixed_tables_are_told(folder):
    with pytest.raises(ValueError, match="labeller"):
        load_mimic(folder, labeller="chexbert")
    (folder / "mimic-cxr-2.1.0-split.csv").write_text((folder / "mimic-cxr-2.0.0-split.csv").read_text())
    with pytest.raises(ValueError, match="are of two releases"):
        load_mimic(folder, missing="keep")
    for name in ("mimic-cxr-2.1.0-split.csv", "mimic-cxr-2.0.0-split.csv"):
        (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"no mimic-cxr-2\.0\.0-split\.csv"):
        load_mimic(folder, missing="keep")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("metadata", "10000001", "../../etc", "is no identifier of MIMIC"),
        ("split", "validate", "holdout", "split is 'holdout'"),
        ("chexpert", "-1.0", "2.0", "'Edema' is '2.0'"),
    ],
)
def test_malformed_tables_are_refused(folder, file, old, new, message):
    path = folder / f"mimic-cxr-2.0.0-{file}.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        load_mimic(folder, missing="keep")
