"""The folder is NIH's, byte-identical for a seed, written whole or not at all."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.image_table import SYNTHETIC_CAUTION
from chexkeras.findings import NIH14, canonical
from chexkeras.phantoms import make_phantoms, nih
from chexkeras.phantoms.folder import GENERATOR_VERSION

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("phantom") / "images", images=60, size=64, seed=4, processes=1)


def _contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_table_is_in_nih_format(folder):
    assert (folder / "Data_Entry_2017.csv").read_text().splitlines()[0] == NIH_HEADER
    table = pd.read_csv(folder / "Data_Entry_2017.csv")
    assert len(table) == 60
    assert table["Image Index"].str.fullmatch(r"\d{8}_\d{3}\.png").all()
    assert table["Image Index"].is_unique
    assert (table["Image Index"].str[:8].astype(int) == table["Patient ID"]).all()
    assert (table["Image Index"].str[9:12].astype(int) == table["Follow-up #"]).all()
    assert set(table["View Position"]) == {"PA", "AP"}
    assert set(table["Patient Gender"]) == {"M", "F"}
    labels = {label for cell in table["Finding Labels"] for label in cell.split("|")}
    assert labels <= {*NIH14, "No Finding"}


def test_every_row_has_a_readable_image_and_every_image_a_row(folder):
    table = pd.read_csv(folder / "Data_Entry_2017.csv")
    assert {path.name for path in (folder / "images").iterdir()} == set(table["Image Index"])
    for name in table["Image Index"]:
        with Image.open(folder / "images" / name) as image:
            assert image.mode == "L" and image.size == (64, 64)


def test_the_official_lists_part_the_images_by_patient(folder):
    train = (folder / "train_val_list.txt").read_text().split()
    test = (folder / "test_list.txt").read_text().split()
    table = pd.read_csv(folder / "Data_Entry_2017.csv")
    assert sorted(train + test) == sorted(table["Image Index"])
    assert not {name[:8] for name in train} & {name[:8] for name in test}


def test_boxes_are_in_nih_format_and_belong_to_positive_test_images(tmp_path):
    folder = make_phantoms(tmp_path / "images", images=80, size=64, prevalence={"Infiltration": 0.5}, dicom=False)
    lines = (folder / "BBox_List_2017.csv").read_text().splitlines()
    assert lines[0] == "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    boxes = pd.read_csv(folder / "BBox_List_2017.csv")
    labels = pd.read_csv(folder / "Data_Entry_2017.csv").set_index("Image Index")["Finding Labels"]
    test = set((folder / "test_list.txt").read_text().split())
    assert "Infiltrate" in set(boxes["Finding Label"]) and "Infiltration" not in set(boxes["Finding Label"])
    for row in boxes.itertuples(index=False):
        image_id, finding, x, y, width, height = row[:6]
        assert image_id in test
        assert canonical(finding) in labels[image_id].split("|")
        assert x >= 0 and x + width <= 1024.01 and width > 0
        assert y >= 0 and y + height <= 1024.01 and height > 0


def test_the_marker_says_what_the_images_are(folder):
    marker = json.loads((folder / "PHANTOM.json").read_text())
    assert marker["caution"] == SYNTHETIC_CAUTION
    assert marker["parameters"] == {"images": 60, "size": 64, "seed": 4, "dicom": True, "prevalence": {}}
    assert marker["counts"]["images"] == 60
    assert marker["generator_version"] == GENERATOR_VERSION


def test_an_enriched_sample_is_recorded_as_case_control(tmp_path):
    folder = make_phantoms(tmp_path / "images", images=20, size=64, prevalence={"pneumonia": 0.3}, dicom=False)
    marker = json.loads((folder / "PHANTOM.json").read_text())
    assert marker["sampling"].startswith("case-control")
    assert marker["parameters"]["prevalence"] == {"Pneumonia": 0.3}
    assert marker["counts"]["Pneumonia"] == 6


def test_same_seed_gives_the_same_bytes_whatever_the_processes(tmp_path):
    one = make_phantoms(tmp_path / "one", images=20, size=64, seed=9, dicom=False, processes=1)
    two = make_phantoms(tmp_path / "two", images=20, size=64, seed=9, dicom=False, processes=2)
    assert _contents(one) == _contents(two)


def test_another_seed_gives_other_images(folder, tmp_path):
    other = make_phantoms(tmp_path / "other", images=5, size=64, seed=5, dicom=False)
    name = "00000001_000.png"
    first, second = (np.asarray(Image.open(root / "images" / name)) for root in (folder, other))
    assert (first != second).mean() > 0.5


def test_a_folder_with_the_same_parameters_is_used_as_it_is(folder, monkeypatch):
    monkeypatch.setattr(nih, "draw_images", lambda *_: pytest.fail("drew images again"))
    assert make_phantoms(folder, images=60, size=64, seed=4) == folder


def test_other_parameters_are_refused_and_the_folder_is_left_alone(folder):
    before = _contents(folder)
    with pytest.raises(FileExistsError, match=r"images: there 60, asked 61.*name another folder"):
        make_phantoms(folder, images=61, size=64, seed=4)
    assert _contents(folder) == before


def test_a_folder_of_something_else_is_never_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("two years of work")
    with pytest.raises(FileExistsError, match=r"holds no PHANTOM\.json"):
        make_phantoms(tmp_path, images=2, size=64)
    assert _contents(tmp_path) == {"thesis.txt": b"two years of work"}


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "images").write_text("x")
    with pytest.raises(NotADirectoryError, match="is a file"):
        make_phantoms(tmp_path / "images", images=2, size=64)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "images").mkdir()
    assert (make_phantoms(tmp_path / "images", images=2, size=64, dicom=False) / "PHANTOM.json").is_file()


def test_an_interrupted_call_leaves_nothing_behind(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(nih, "_box_lines", stop)
    with pytest.raises(KeyboardInterrupt):
        make_phantoms(tmp_path / "images", images=3, size=64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 0}, "images=0"),
        ({"images": 2.5}, "images=2.5"),
        ({"size": 63}, "size=63"),
        ({"size": True}, "size=True"),
        ({"seed": -1}, "seed=-1"),
        ({"processes": 0}, "processes=0"),
        ({"prevalence": {"Pnuemonia": 0.3}}, "did you mean 'Pneumonia'"),
        ({"prevalence": {"Pneumonia": 1.0}}, "strictly between 0 and 1"),
        ({"prevalence": {"Pneumonia": 0}}, "strictly between 0 and 1"),
        ({"prevalence": {"Pneumonia": 0.3, "pneumonia": 0.2}}, "twice"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_phantoms(tmp_path / "images", **{"images": 2, "size": 64, **options})
    assert list(tmp_path.iterdir()) == []


def test_one_image_is_enough(tmp_path):
    folder = make_phantoms(tmp_path / "images", images=1, size=64)
    assert len(list((folder / "images").iterdir())) == 1
