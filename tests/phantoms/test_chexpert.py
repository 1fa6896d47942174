"""The folder is CheXpert's, and its labels are what the images show, as a program that reads reports would put it."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.datasets.chexpert import load_chexpert
from chexkeras.data.datasets.labels import add_abnormal
from chexkeras.data.image_table import CASE_CONTROL_CAUTION, SYNTHETIC_CAUTION, source_of
from chexkeras.data.splits.splitters import official_split
from chexkeras.findings import CHEXPERT5, CHEXPERT14, NO_FINDING, SUPPORT_DEVICES
from chexkeras.phantoms import chexpert, make_chexpert_phantoms, make_phantoms
from chexkeras.phantoms import render as image_module
from chexkeras.phantoms.canvas import Canvas
from chexkeras.phantoms.cohort import make_cohort
from chexkeras.phantoms.render import draw

HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
ENRICHED = {"Edema": 0.2, "Atelectasis": 0.3, "Cardiomegaly": 0.2, "Consolidation": 0.2, "Pleural Effusion": 0.3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("chexpert")
    return make_chexpert_phantoms(root, images=120, size=64, seed=4, laterals=True, prevalence=ENRICHED, processes=1)


@pytest.fixture(scope="module")
def raw(folder):
    """Both label files as they are, with the image of each row."""
    table = pd.concat([pd.read_csv(folder / name).assign(file=name) for name in ("train.csv", "valid.csv")])
    return table.set_index(table["Path"].str.removeprefix("CheXpert-v1.0-small/"))


@pytest.fixture(scope="module")
def cohort():
    return {chexpert._path(image, "view1_frontal"): image for image in make_cohort(120, 4, {
        "Edema": 0.2, "Atelectasis": 0.3, "Cardiomegaly": 0.2, "Consolidation": 0.2, "Effusion": 0.3
    })}  # fmt: skip


def test_the_tables_are_in_chexperts_format(folder, raw):
    assert folder.name == "CheXpert-v1.0-small"
    for name in ("train.csv", "valid.csv"):
        assert (folder / name).read_text().splitlines()[0] == HEADER
    form = r"CheXpert-v1\.0-small/(train|valid)/patient\d{5}/study\d+/view(1_frontal|2_lateral)\.jpg"
    assert raw["Path"].str.fullmatch(form).all() and raw["Path"].is_unique
    assert set(raw["Sex"]) == {"Male", "Female"}
    assert raw["Age"].between(1, 90).all()
    frontal = raw["Frontal/Lateral"] == "Frontal"
    assert set(raw["Frontal/Lateral"]) == {"Frontal", "Lateral"}
    assert set(raw.loc[frontal, "AP/PA"]) == {"AP", "PA"} and raw.loc[~frontal, "AP/PA"].isna().all()
    assert (raw["file"].str.removesuffix(".csv") == raw.index.str.split("/").str[0]).all()
    assert frontal.sum() == 120 and (~frontal).sum() == (raw["AP/PA"] == "PA").sum()


def test_every_row_has_a_readable_gray_image_and_every_image_a_row(folder, raw):
    images = {str(path.relative_to(folder)) for path in folder.rglob("*.jpg")}
    assert images == set(raw.index)
    for name in images:
        with Image.open(folder / name) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "L", (64, 64))


def test_train_labels_are_present_absent_uncertain_or_blank_and_valid_labels_are_known(raw):
    train = raw.loc[raw["file"] == "train.csv", list(CHEXPERT14)]
    counts = pd.Series(train.to_numpy().ravel()).value_counts(dropna=False)
    assert set(counts.index.dropna()) == {1.0, 0.0, -1.0} and counts[np.nan] > counts[0.0] > 0
    assert not train[NO_FINDING].isin([0.0, -1.0]).any()
    valid = raw.loc[raw["file"] == "valid.csv", list(CHEXPERT14)]
    assert set(valid.to_numpy().ravel()) == {1.0, 0.0}


def test_no_finding_is_neither_a_finding_nor_an_open_question(raw):
    others = [name for name in CHEXPERT14 if name not in (NO_FINDING, SUPPORT_DEVICES)]
    assert ((raw[NO_FINDING] == 1) == ~raw[others].isin([1, -1]).any(axis=1)).all()
    assert (raw.loc[raw[NO_FINDING] == 1, SUPPORT_DEVICES] == 1).any()


@pytest.mark.parametrize(
    ("name", "shown_by"),
    [
        ("Cardiomegaly", {"Cardiomegaly"}), ("Lung Lesion", {"Mass", "Nodule"}), ("Pleural Effusion", {"Effusion"}),
        ("Lung Opacity", {"Infiltration", "Consolidation", "Pneumonia", "Edema"}), ("Atelectasis", {"Atelectasis"}),
        ("Pleural Other", {"Pleural_Thickening"}), ("Pneumothorax", {"Pneumothorax"}),
    ],
)  # fmt: skip
def test_a_label_is_what_the_image_shows_or_leaves_it_open(raw, cohort, name, shown_by):
    for image, radiograph in cohort.items():
        shown, mark = bool(shown_by & set(radiograph.labels)), raw.loc[image, name]
        if radiograph.test:
            assert mark == shown
        elif shown:
            assert mark in (1.0, -1.0)
        else:
            assert mark in (0.0, -1.0) or np.isnan(mark)


def test_devices_are_labelled_where_they_are_drawn(raw, cohort):
    drawn = {image: draw(radiograph, 4, 64).devices for image, radiograph in cohort.items()}
    assert 5 < sum(drawn.values()) < sum(radiograph.view == "AP" for radiograph in cohort.values())
    for image, radiograph in cohort.items():
        assert radiograph.view == "AP" or not drawn[image]
        if radiograph.test:
            assert raw.loc[image, SUPPORT_DEVICES] == drawn[image]
        else:
            assert raw.loc[image, SUPPORT_DEVICES] != (0.0 if drawn[image] else 1.0)


def test_devices_are_said_to_be_there_when_they_change_the_image(monkeypatch):
    images = [image for image in make_cohort(120, 1) if image.view == "AP"][:24]
    drawings = [draw(image, 1, 64) for image in images]
    tubes = image_module._tubes
    monkeypatch.setattr(image_module, "_tubes", lambda canvas, *others: tubes(Canvas(canvas.size), *others))
    changed = [
        bool((draw(image, 1, 64).pixels != drawing.pixels).any())
        for image, drawing in zip(images, drawings, strict=True)
    ]
    assert changed == [drawing.devices for drawing in drawings]
    assert any(changed) and not all(changed)


def test_devices_are_said_to_be_drawn_just_when_they_are():
    chest = SimpleNamespace(midline=[0.5], sign=lambda side: -1)
    said = []
    for seed in range(200):
        canvas = Canvas(16)
        said.append(image_module._tubes(canvas, chest, np.random.default_rng(seed)))
        assert said[-1] is not canvas.blank
    assert any(said) and not all(said)


def test_a_lateral_image_is_the_frontal_one_squeezed(folder, raw):
    image = raw.index[raw["Frontal/Lateral"] == "Lateral"][0]
    lateral = np.asarray(Image.open(folder / image)).astype(float)
    frontal = np.asarray(Image.open(folder / image.replace("view2_lateral", "view1_frontal"))).astype(float)
    assert lateral[:, :14].mean() < 3 and lateral[:, 50:].mean() < 3
    assert np.corrcoef(lateral[:, 16:48].ravel(), frontal.reshape(64, 32, 2).mean(axis=2).ravel())[0, 1] > 0.98


def test_the_loader_the_split_and_the_dual_task_take_it(folder):
    table = load_chexpert(folder.parent, uncertain="ones")
    assert len(table) == 120
    source = source_of(table)
    assert source.synthetic and source.cautions[:2] == (SYNTHETIC_CAUTION, CASE_CONTROL_CAUTION)
    assert len(load_chexpert(folder, views="all")) > 120
    splits = official_split(table, CHEXPERT5, validation=0.3)
    assert splits.test["image_id"].str.startswith("valid/").all()
    assert add_abnormal(table)["Abnormal"].isin([0, 1]).all()


def test_the_marker_counts_what_is_shown_and_left_open(folder, raw):
    marker = json.loads((folder / "PHANTOM.json").read_text())
    assert marker["caution"] == SYNTHETIC_CAUTION and marker["sampling"].startswith("case-control")
    assert marker["parameters"]["prevalence"]["Effusion"] == 0.3
    frontal = raw[raw["Frontal/Lateral"] == "Frontal"]
    counts = marker["counts"]
    assert counts["images"] == len(raw)
    assert counts["valid_images"] == (frontal["file"] == "valid.csv").sum()
    assert counts["uncertain"] == {name: int((frontal[name] == -1).sum()) for name in CHEXPERT14}
    assert counts["shown"]["Pleural Effusion"] == 36


def test_without_laterals_there_are_none(tmp_path):
    folder = make_chexpert_phantoms(tmp_path, images=6, size=64)
    assert len(list(folder.rglob("*_frontal.jpg"))) == 6
    assert not list(folder.rglob("*_lateral.jpg"))


def test_same_seed_gives_the_same_bytes_whatever_the_processes(tmp_path):
    one = make_chexpert_phantoms(tmp_path / "one", images=20, size=64, seed=9, processes=1)
    two = make_chexpert_phantoms(tmp_path / "two", images=20, size=64, seed=9, processes=2)
    contents = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (one, two)
    ]
    assert contents[0] == contents[1]


def test_a_folder_is_used_as_it_is_or_left_alone(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(chexpert, "draw_images", lambda *_: pytest.fail("drew images again"))
    options = {"images": 120, "size": 64, "seed": 4, "laterals": True, "prevalence": ENRICHED}
    assert make_chexpert_phantoms(folder.parent, **options) == folder
    with pytest.raises(FileExistsError, match=r"laterals: there True, asked False.*name another folder"):
        make_chexpert_phantoms(folder.parent, **{**options, "laterals": False})
    nih = make_phantoms(tmp_path / "CheXpert-v1.0-small", images=2, size=64, dicom=False)
    with pytest.raises(FileExistsError, match=r"layout: there None, asked 'chexpert'.*dicom: there False, asked None"):
        make_chexpert_phantoms(nih.parent, images=2, size=64)


def test_an_interrupted_call_leaves_nothing_behind(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(chexpert, "_marks", stop)
    with pytest.raises(KeyboardInterrupt):
        make_chexpert_phantoms(tmp_path / "images", images=3, size=64)
    assert list((tmp_path / "images").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 0}, "images=0"),
        ({"size": 63}, "size=63 px; phantoms need 64 to 4096"),
        ({"seed": -1}, "seed=-1 must be a whole number"),
        ({"processes": 0}, "processes=0"),
        ({"prevalence": {"Lung Opacity": 0.3}}, "unknown finding 'Lung Opacity'"),
        ({"prevalence": {"Effusion": 0.3, "Pleural Effusion": 0.2}}, "prevalence names Effusion twice"),
        ({"prevalence": {"Edema": 1.0}}, "strictly between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_chexpert_phantoms(tmp_path / "images", **{"images": 2, "size": 64, **options})
    assert list(tmp_path.iterdir()) == []
