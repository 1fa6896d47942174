import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.audit import CODES, audit
from chexkeras.data.film_facts import film_facts
from chexkeras.data.nih import load_nih
from chexkeras.data.source import SYNTHETIC_CAUTION, source_of
from chexkeras.data.splits import split_by_image, split_by_patient
from chexkeras.files import write_json


@pytest.fixture
def many(nih):
    """Thirty films of ten patients, all sound."""
    nih.rows = []
    for number in range(30):
        labels = "Pneumonia" if number % 2 else "No Finding"
        nih.add(f"{number // 3 + 1:08d}_{number % 3:03d}.png", labels, sex="F" if number % 2 else "M")
    nih.write()
    nih.write_films()
    return nih


def films(folder: Path) -> list[Path]:
    return sorted((folder / "images").glob("*.png"))


def codes(found) -> list[tuple[str, str]]:
    return list(zip(found.issues["code"], found.issues["image_id"], strict=True))


def damage(path: Path, how: str) -> None:
    """Breaks a film so that `how` is the code the audit must give it."""
    if how == "missing_file":
        path.unlink()
    elif how == "constant":
        Image.new("L", (16, 16), 7).save(path)
    elif how == "cut short":
        path.write_bytes(path.read_bytes()[:120])
    elif how == "no image":
        path.write_text("<html>not found</html>")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "broken chunk":
        content = bytearray(path.read_bytes())
        content[18] ^= 0xFF
        path.write_bytes(bytes(content))
    elif how == "a folder":
        path.unlink()
        path.mkdir()


def test_sound_films_have_no_issues(many):
    table = load_nih(many.root)
    found = audit(table, split_by_patient(table, "Pneumonia"))
    assert found.issues.empty and list(found.issues.columns) == ["code", "image_id", "severity", "detail"]
    pd.testing.assert_frame_equal(found.table, table)
    assert source_of(found.table) is source_of(table)
    assert found.sizes == (("16 x 16", 30),)
    assert found.summary.endswith("no issues")


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("missing_file", "missing_file"),
        ("constant", "constant"),
        ("cut short", "unreadable"),
        ("no image", "unreadable"),
        ("empty", "unreadable"),
        ("broken chunk", "unreadable"),
        ("a folder", "unreadable"),
    ],
)
def test_films_that_cannot_be_used_raise_or_are_left_out(many, how, code):
    table = load_nih(many.root)
    image = table["image_id"].iloc[4]
    damage(Path(table["path"].iloc[4]), how)
    with pytest.raises(ValueError, match=rf"^1 of 30 films cannot be used: {image} \({code}: .*missing='skip'"):
        audit(table)
    found = audit(table, missing="skip")
    assert codes(found) == [(code, image)]
    assert found.issues["severity"].tolist() == ["error"]
    assert image not in set(found.table["image_id"]) and len(found.table) == 29
    assert found.table.index.tolist() == list(range(29))
    ((left_out, reason),) = source_of(found.table).left_out
    assert left_out == image and reason.startswith(f"{code}: ")
    assert source_of(table).left_out == ()


def test_the_error_lists_the_first_few_only(many):
    for path in films(many.root)[:7]:
        path.write_text("no film")
    with pytest.raises(ValueError, match=r"^7 of 30 films") as e:
        audit(load_nih(many.root))
    assert str(e.value).count("unreadable") == 3 and "; ..." in str(e.value)


def test_details_name_no_folder(many):
    table = load_nih(many.root)
    for row, how in enumerate(["missing_file", "cut short", "no image", "empty", "broken chunk", "a folder"]):
        damage(Path(table["path"].iloc[row]), how)
    found = audit(table, missing="skip")
    assert len(found.issues) == 6
    assert str(many.root) not in json.dumps(found.to_dict()) + found.issues.to_csv() + repr(source_of(found.table))


def test_a_film_over_pillows_limit_is_not_decoded(many, monkeypatch):
    path = films(many.root)[0]
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20) % 200).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20 * 20 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        facts = film_facts(str(path))
    assert facts.problem == "unreadable" and "20 x 20 pixels, more than Pillow's safety limit of 399" in facts.detail
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert film_facts(str(path)).problem == "unreadable"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert film_facts(str(path)).problem == ""


def test_sizes_and_modes_that_differ_are_told(many, make_film):
    first, second, third, fourth = films(many.root)[:4]
    make_film(first, 1, size=(20, 16))
    make_film(second, 2, mode="RGBA")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(third)
    Image.fromarray(np.random.default_rng(0).integers(0, 65536, (16, 16), dtype=np.uint16)).save(fourth)
    found = audit(load_nih(many.root))
    assert codes(found) == [("unusual_size", first.name), *(("not_grayscale", p.name) for p in (second, third, fourth))]
    assert found.issues["severity"].tolist() == ["warning", "note", "note", "note"]
    assert found.issues["detail"].tolist()[:3] == [
        "20 x 16; most are 16 x 16",
        "gray pixels stored as RGBA",
        "colour pixels stored as RGB",
    ]
    assert found.issues["detail"].iloc[3].startswith("gray pixels stored as I")


def test_equal_pixels_are_found_across_formats_patients_and_parts(many, make_film):
    table = load_nih(many.root)
    splits = split_by_patient(table, "Pneumonia")
    train, test = splits.train, splits.test
    same_patient = train["path"].iloc[0], train["path"].iloc[1]
    across = train["path"].iloc[0], test["path"].iloc[0]
    for path, mode in zip({*same_patient, *across}, ("L", "RGB", "RGBA"), strict=True):
        make_film(Path(path), 77, mode=mode)
    found = audit(table, splits)
    order = sorted(os.path.basename(path) for path in {*same_patient, *across})
    first, later = order[0], order[1:]
    assert {image for code, image in codes(found) if code == "duplicate_pixels"} == set(later)
    crossing = found.issues[found.issues["code"] == "same_image_two_patients"]
    patient = dict(zip(table["image_id"], table["patient_id"], strict=True))
    assert set(crossing["image_id"]) == {image for image in later if patient[image] != patient[first]}
    assert (
        len(crossing) and crossing["detail"].str.contains(f"same pixels as {first} of patient {patient[first]}").all()
    )
    assert set(found.issues.loc[found.issues["code"] == "duplicate_crosses_split", "image_id"]) == set(
        crossing["image_id"]
    )


def test_films_of_equal_pixels_but_another_shape_are_no_duplicates(many):
    first, second = films(many.root)[:2]
    pixels = np.random.default_rng(0).integers(0, 256, 256, dtype=np.uint8)
    Image.fromarray(pixels.reshape(8, 32)).save(first)
    Image.fromarray(pixels.reshape(32, 8)).save(second)
    assert set(audit(load_nih(many.root)).counts) == {"unusual_size"}


def test_labels_ages_sexes_and_views_are_told(many):
    many.rows[0] = many.rows[0].replace("No Finding", "No Finding|Edema")
    many.rows[1] = many.rows[1].replace(",58,", ",411Y,")
    many.rows[2] = many.rows[2].replace(",M,PA,", ",,LL,")
    many.write()
    found = audit(load_nih(many.root))
    assert codes(found) == [
        ("label_contradiction", many.images[0]),
        ("implausible_age", many.images[1]),
        ("unknown_sex", many.images[2]),
        ("unknown_view", many.images[2]),
    ]
    assert found.issues["detail"].tolist()[2:] == ["blank", "'LL'"]
    assert len(found.table) == 30


def test_a_tables_own_no_finding_column_is_compared_with_its_findings(many):
    table = load_nih(many.root)
    table["No Finding"] = 1.0 - table["Pneumonia"]
    assert audit(table).issues.empty
    table.loc[1, "No Finding"] = 1.0
    assert codes(audit(table)) == [("label_contradiction", many.images[1])]


def test_patients_crossing_a_split_are_told_with_their_parts(many):
    table = load_nih(many.root)
    splits = split_by_image(table, "Pneumonia")
    found = audit(table, splits)
    crossing = found.issues[found.issues["code"] == "patient_crosses_split"]
    assert len(crossing) == len(splits.crossing_patients) > 0
    first = splits.assignment[splits.assignment["patient_id"] == splits.crossing_patients[0]]
    counts = first["part"].value_counts(sort=False)
    detail = ", ".join(f"{part} {count}" for part, count in counts.items())
    assert crossing.iloc[0]["detail"] == f"patient {splits.crossing_patients[0]}: {detail}"
    assert "LEAKY split by image" in found.summary


def test_without_decoding_only_the_table_is_checked(many):
    films(many.root)[0].write_text("no film")
    table = load_nih(many.root).drop(columns="path")
    found = audit(table, decode=False)
    assert found.issues.empty and len(found.table) == 30
    assert "films not opened" in found.summary
    assert found.to_dict()["decoded"] is False


def test_processes_find_what_threads_find(many):
    damage(films(many.root)[3], "constant")
    table = load_nih(many.root)
    in_threads, in_processes = audit(table, missing="skip"), audit(table, missing="skip", processes=2)
    pd.testing.assert_frame_equal(in_threads.issues, in_processes.issues)
    assert in_threads.to_dict() == in_processes.to_dict()


def test_bad_arguments_are_named(many):
    table = load_nih(many.root)
    with pytest.raises(ValueError, match=r"missing='keep'; .* Expected one of: error, skip"):
        audit(table, missing="keep")
    with pytest.raises(ValueError, match=r"processes=0 must be a whole number of at least 1"):
        audit(table, processes=0)
    with pytest.raises(ValueError, match=r"the table lacks the column\(s\) path"):
        audit(table.drop(columns="path"))


def test_the_json_holds_counts_examples_and_demographics(many):
    for row in range(25):
        many.rows[row] = many.rows[row].replace(",58,", ",-1,")
    many.write()
    table = load_nih(many.root)
    damage(films(many.root)[29], "constant")
    facts = json.loads(json.dumps(audit(table, missing="skip").to_dict(), allow_nan=False))
    assert (facts["checked"], facts["images"], facts["patients"], facts["left_out"]) == (30, 29, 10, 1)
    assert facts["issues"]["implausible_age"]["count"] == 25
    assert len(facts["issues"]["implausible_age"]["examples"]) == 20
    assert facts["issues"]["constant"]["severity"] == "error"
    assert facts["demographics"]["age_years"] == {"min": 58, "median": 58, "max": 58, "unknown": 25}
    assert facts["demographics"]["sex"] == {"M": 15, "F": 14}
    assert facts["findings"]["Pneumonia"] == {"positive": 14, "negative": 15, "unknown": 0}
    assert facts["label_release"] == facts["source"]["label_release"] == "unknown"
    assert facts["source"]["implausible_ages"] == 25


def test_the_summary_lists_the_gravest_first_and_the_page_says_the_same(many):
    write_json(many.root / "PHANTOM.json", {})
    damage(films(many.root)[29], "constant")
    many.rows[0] = many.rows[0].replace(",PA,", ",<b>,")
    many.write()
    found = audit(load_nih(many.root), missing="skip")
    lines = found.summary.splitlines()
    assert lines[0] == "chexkeras phantoms (labels: not applicable (synthetic))"
    assert lines[1] == "29 films of 10 patients; 1 left out"
    assert SYNTHETIC_CAUTION in lines
    assert lines[-2].split()[:3] == ["error", "constant", "1"]
    assert lines[-1].split()[:3] == ["note", "unknown_view", "1"]
    assert str(found) == found.summary
    page = found._repr_html_()
    assert SYNTHETIC_CAUTION in page and "unknown_view" in page and "&lt;B&gt;" in page and "<B>" not in page


def test_issues_come_the_gravest_first(many, make_film):
    many.rows[0] = many.rows[0].replace(",PA,", ",LL,")
    many.write()
    make_film(films(many.root)[1], 1, size=(20, 16))
    damage(films(many.root)[2], "constant")
    assert audit(load_nih(many.root), missing="skip").issues["severity"].tolist() == ["error", "warning", "note"]


def test_every_code_has_a_severity_and_the_errors_come_first():
    severities = [severity for severity, _ in CODES.values()]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)


@pytest.mark.realdata
def test_the_real_films_are_sound_and_quickly_audited(real_nih):
    table = load_nih(real_nih, missing="skip")
    started = time.process_time()
    found = audit(table)
    assert time.process_time() - started < 10
    assert codes(found) == [("duplicate_pixels", "00002658_002.png")]
    assert found.sizes == (("320 x 320", 1000),)


@pytest.mark.realdata
def test_the_small_real_films_are_gray_stored_in_colour(real_nih):
    found = audit(load_nih(real_nih, images="images_64", missing="skip"))
    assert found.counts == {"not_grayscale": 1000}
    stored = found.issues["detail"].value_counts().to_dict()
    assert stored == {"gray pixels stored as RGB": 979, "gray pixels stored as RGBA": 21}


@pytest.mark.realdata
def test_the_full_label_file_has_no_label_issue(full_nih):
    found = audit(full_nih, decode=False)
    assert found.issues.empty
    assert found.to_dict()["patients"] == 30_805
