"""Each loader on generated images in the exact layout: opened, audited, split and decoded."""

import shutil

import numpy as np
import pytest

import chexkeras as cx
from chexkeras.data.datasets.registry import DATA_SETS, data_set_of, recognise
from chexkeras.data.image_table import SYNTHETIC_CAUTION
from chexkeras.dicom import is_dicom
from chexkeras.phantoms import LAYOUTS, make_phantoms

DICOM = {"rsna", "siim", "vindr", "openi"}
OWNERS = {
    "rsna": "RSNA", "siim": "SIIM-ACR", "vindr": "VinDr-CXR", "padchest": "PadChest", "openi": "Open-I",
    "mimic": "MIMIC-CXR-JPG", "chexpert_batches": "CheXpert",
}  # fmt: skip


def test_every_data_set_has_a_layout():
    owners = {entry.owner for entry in DATA_SETS if entry.phantoms} - {"NIH"}
    assert owners == set(OWNERS.values()) and set(OWNERS) == set(LAYOUTS)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_layout_is_opened_audited_split_and_decoded(layout, layouts, tmp_path):
    root = layouts(layout)
    assert recognise(root).owner == OWNERS[layout]
    table = cx.open_data(root)
    source = table.source
    assert source.synthetic and source.cautions[0] == SYNTHETIC_CAUTION and source.files
    assert source.dataset.startswith("chexkeras phantoms in ")
    assert len(table) > 20 and table["image_id"].is_unique
    assert {str(path).endswith((".dcm", ".dicom")) for path in table["path"]} == {layout in DICOM}
    assert all(is_dicom(path) == (layout in DICOM) for path in table["path"])
    assert set(table["view"]) <= {"PA", "AP", ""} and set(table["sex"]) <= {"M", "F", ""}
    assert table["age_years"].dropna().between(0, 100).all()
    target = "Pneumothorax" if "Pneumothorax" in table.findings else "Pneumonia"
    assert set(np.unique(table[target].dropna())) == {0.0, 1.0}
    audited = cx.audit(table, targets=[])
    told = set(audited.issues["code"])
    assert not told & {"missing_file", "unreadable", "rejected_dicom", "constant"}, audited.issues.head().to_string()
    splits = cx.split_by_patient(audited.table, target, seed=0)
    parts = {part: set(splits.part(part)["patient_id"]) for part in ("train", "validation", "test")}
    assert not parts["train"] & (parts["validation"] | parts["test"])
    few = audited.table.head(6)
    store = cx.prepare(few, tmp_path / "store", size=64)
    pixels = store.read(store.rows(few["image_id"]))
    assert pixels.shape == (6, 64, 64) and pixels.dtype == np.uint8 and (pixels.std(axis=(1, 2)) > 5).all()


def test_the_same_seed_gives_the_same_bytes_and_others_are_refused(tmp_path, layouts):
    made = layouts("mimic")
    again = make_phantoms(
        tmp_path / "again", layout="mimic", images=40, size=64, seed=3, processes=1,
        prevalence={"Pneumonia": 0.3, "Pneumothorax": 0.3, "Effusion": 0.3, "Cardiomegaly": 0.3},
    )  # fmt: skip
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((made / file).read_bytes() == (again / file).read_bytes() for file in files)
    with pytest.raises(FileExistsError, match="layout: there 'mimic', asked 'rsna'"):
        make_phantoms(again, layout="rsna", images=40, size=64, seed=3)
    with pytest.raises(ValueError, match="layout"):
        make_phantoms(tmp_path / "other", layout="nothing")


def test_two_data_sets_in_one_folder_are_told(tmp_path, layouts):
    for layout in ("rsna", "siim"):
        for file in layouts(layout).glob("*.csv"):
            shutil.copy(file, tmp_path)
    with pytest.raises(ValueError, match=r"holds label files of RSNA .* and of SIIM-ACR"):
        cx.open_data(tmp_path)


def test_an_option_of_another_data_set_is_refused(layouts):
    with pytest.raises(ValueError, match=r"labeller='negbio'.*is for MIMIC-CXR-JPG's layout, but"):
        cx.open_data(layouts("vindr"), labeller="negbio")
    with pytest.raises(ValueError, match="RSNA does not label it: unknown finding 'Edema'"):
        cx.data.load_rsna(layouts("rsna"), findings=["Edema"])


def test_a_folder_too_high_is_told_where_the_label_file_is(tmp_path, layouts):
    below = tmp_path / "archive"
    below.mkdir()
    shutil.copy(layouts("rsna") / "stage_2_train_labels.csv", below)
    with pytest.raises(FileNotFoundError, match=r"There is one at .*archive/stage_2_train_labels.csv"):
        cx.open_data(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"There is one in .*archive': give that folder"):
        cx.data.load_rsna(tmp_path)
    with pytest.raises(FileNotFoundError, match="none of the 40 images"):
        cx.open_data(below)
    assert len(cx.open_data(below, missing="keep")) == 40


def test_label_files_of_common_names_are_found_one_folder_below(tmp_path, layouts):
    for layout, file in (("siim", "train-rle.csv"), ("vindr", "annotations/image_labels_train.csv")):
        place = tmp_path / layout / "archive" / file
        place.parent.mkdir(parents=True)
        shutil.copy(layouts(layout) / file, place)
        with pytest.raises(FileNotFoundError, match=r"There is one at .*: give its folder"):
            cx.open_data(tmp_path / layout)
    (tmp_path / "other" / "below").mkdir(parents=True)
    (tmp_path / "other" / "below" / "train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FileNotFoundError, match="Give the folder that holds it"):
        cx.open_data(tmp_path / "other")


def test_phantoms_are_told_by_each_folder_of_the_batches(layouts):
    top = layouts("chexpert_batches")
    first = top / "CheXpert-v1.0 batch 1 (validate & csv)"
    for root in (top, first):
        table = cx.open_data(root)
        assert table.source.synthetic and len({path.split("batch ")[1][0] for path in table["path"]}) == 4


def test_rsnas_phantoms_and_nihs_of_the_same_seed_are_the_same_images(tmp_path, layouts):
    nih = make_phantoms(
        tmp_path / "nih", images=40, size=256, seed=3, dicom=False, processes=1,
        prevalence={"Pneumonia": 0.3, "Pneumothorax": 0.3, "Effusion": 0.3, "Cardiomegaly": 0.3},
    )  # fmt: skip
    mine, theirs = cx.open_data(nih).head(12), cx.open_data(layouts("rsna"))
    shared = cx.data.shared_images(mine, theirs, pixels="always")
    by_name = dict(zip(theirs["nih_image_id"], theirs["image_id"], strict=True))
    found = dict(zip(shared.rows["other_image_id"], shared.rows["image_id"], strict=True))
    assert found == {name: by_name[name] for name in mine["image_id"]}


def test_a_table_says_which_data_set_it_is_of():
    for entry in DATA_SETS:
        if entry.source_name:
            assert data_set_of(entry.source_name) is entry
            assert entry.size and entry.page.startswith("https://") and entry.layouts and entry.license
