import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.audit import duplicates
from chexkeras.data.audit.audit import CODES, audit
from chexkeras.data.audit.image_checks import image_facts
from chexkeras.data.datasets.nih import load_nih
from chexkeras.data.image_table import SYNTHETIC_CAUTION, TableSource, source_of
from chexkeras.data.splits.splitters import split_by_image, split_by_patient
from chexkeras.files import write_json


@pytest.fixture
def many(nih):
    """Thirty images of ten patients, all sound."""
    nih.rows = []
    for number in range(30):
        labels = "Infiltration" if number % 2 else "No Finding"
        nih.add(f"{number // 3 + 1:08d}_{number % 3:03d}.png", labels, sex="FM"[number // 3 % 2 == 0])
    nih.write()
    nih.write_images()
    return nih


def images(folder: Path) -> list[Path]:
    return sorted((folder / "images").glob("*.png"))


def codes(found) -> list[tuple[str, str]]:
    return list(zip(found.issues["code"], found.issues["image_id"], strict=True))


def damage(path: Path, how: str) -> None:
    """Breaks an image so that `how` is the code the audit must give it."""
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


def test_sound_images_have_no_issues(many):
    table = load_nih(many.root)
    found = audit(table, split_by_patient(table, "Infiltration"))
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
def test_images_that_cannot_be_used_raise_or_are_left_out(many, how, code):
    table = load_nih(many.root)
    image = table["image_id"].iloc[4]
    damage(Path(table["path"].iloc[4]), how)
    with pytest.raises(ValueError, match=rf"^1 of 30 images cannot be used: {image} \({code}: .* --missing skip\)"):
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
    for path in images(many.root)[:7]:
        path.write_text("no image")
    with pytest.raises(ValueError, match=r"^7 of 30 images") as e:
        audit(load_nih(many.root))
    assert str(e.value).count("unreadable") == 3 and "; ..." in str(e.value)


def test_details_name_no_folder(many):
    table = load_nih(many.root)
    for row, how in enumerate(["missing_file", "cut short", "no image", "empty", "broken chunk", "a folder"]):
        damage(Path(table["path"].iloc[row]), how)
    found = audit(table, missing="skip")
    assert len(found.issues) == 6
    assert str(many.root) not in json.dumps(found.to_dict()) + found.issues.to_csv() + repr(source_of(found.table))


def test_a_image_over_pillows_limit_is_not_decoded(many, monkeypatch):
    path = images(many.root)[0]
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20) % 200).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20 * 20 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        facts = image_facts(str(path))
    assert facts.problem == "unreadable" and "20 x 20 pixels, more than Pillow's safety limit of 399" in facts.detail
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert image_facts(str(path)).problem == "unreadable"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert image_facts(str(path)).problem == ""


def test_sizes_and_modes_that_differ_are_told(many, make_image):
    first, second, third, fourth = images(many.root)[:4]
    make_image(first, 1, size=(20, 16))
    make_image(second, 2, mode="RGBA")
    gray = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(np.dstack([gray, gray, gray[::-1]])).save(third)
    Image.fromarray(np.random.default_rng(0).integers(0, 65536, (16, 16), dtype=np.uint16)).save(fourth)
    found = audit(load_nih(many.root))
    # Sixteen bits of gray, the fourth, are gray.
    assert codes(found) == [("unusual_size", first.name), *(("not_grayscale", p.name) for p in (second, third))]
    assert found.issues["severity"].tolist() == ["warning", "note", "note"]
    assert found.issues["detail"].tolist() == [
        "20 x 16; most are 16 x 16",
        "gray pixels stored as RGBA",
        "colour pixels stored as RGB",
    ]


def test_equal_pixels_are_found_across_formats_patients_and_parts(many, make_image):
    table = load_nih(many.root)
    splits = split_by_patient(table, "Infiltration")
    train, test = splits.train, splits.test
    same_patient = train["path"].iloc[0], train["path"].iloc[1]
    across = train["path"].iloc[0], test["path"].iloc[0]
    for path, mode in zip({*same_patient, *across}, ("L", "RGB", "RGBA"), strict=True):
        make_image(Path(path), 77, mode=mode)
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


def test_images_of_equal_pixels_but_another_shape_are_no_duplicates(many):
    first, second = images(many.root)[:2]
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
    table["No Finding"] = 1.0 - table["Infiltration"]
    assert audit(table).issues.empty
    table.loc[1, "No Finding"] = 1.0
    assert codes(audit(table)) == [("label_contradiction", many.images[1])]


def test_patients_crossing_a_split_are_told_with_their_parts(many):
    table = load_nih(many.root)
    splits = split_by_image(table, "Infiltration")
    found = audit(table, splits)
    crossing = found.issues[found.issues["code"] == "patient_crosses_split"]
    assert len(crossing) == len(splits.crossing_patients) > 0
    first = splits.assignment[splits.assignment["patient_id"] == splits.crossing_patients[0]]
    counts = first["part"].value_counts(sort=False)
    detail = ", ".join(f"{part} {count}" for part, count in counts.items())
    assert crossing.iloc[0]["detail"] == f"patient {splits.crossing_patients[0]}: {detail}"
    assert "LEAKY split by image" in found.summary


def test_without_decoding_only_the_table_is_checked(many):
    images(many.root)[0].write_text("no image")
    table = load_nih(many.root).drop(columns="path")
    found = audit(table, decode=False)
    assert found.issues.empty and len(found.table) == 30
    assert "images not opened" in found.summary
    assert found.to_dict()["decoded"] is False


def test_processes_find_what_threads_find(many):
    damage(images(many.root)[3], "constant")
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
    damage(images(many.root)[29], "constant")
    facts = json.loads(json.dumps(audit(table, missing="skip").to_dict(), allow_nan=False))
    assert (facts["checked"], facts["images"], facts["patients"], facts["left_out"]) == (30, 29, 10, 1)
    assert facts["issues"]["implausible_age"]["count"] == 25
    assert len(facts["issues"]["implausible_age"]["examples"]) == 20
    assert facts["issues"]["constant"]["severity"] == "error"
    assert facts["demographics"]["age_years"] == {"min": 58, "median": 58, "max": 58, "unknown": 25}
    assert facts["demographics"]["sex"] == {"M": 15, "F": 14}
    assert facts["findings"]["Infiltration"] == {"positive": 14, "negative": 15, "unknown": 0}
    assert facts["label_release"] == facts["source"]["label_release"] == "unknown"
    assert facts["source"]["implausible_ages"] == 25


def test_the_summary_lists_the_gravest_first_and_the_page_says_the_same(many):
    write_json(many.root / "PHANTOM.json", {})
    damage(images(many.root)[29], "constant")
    many.rows[0] = many.rows[0].replace(",PA,", ",<b>,")
    many.write()
    found = audit(load_nih(many.root), missing="skip")
    lines = found.summary.splitlines()
    assert lines[0] == "chexkeras phantoms (labels: not applicable (synthetic))"
    assert lines[1] == "29 images of 10 patients; 1 left out"
    assert SYNTHETIC_CAUTION in lines
    assert lines[-2].split()[:3] == ["error", "constant", "1"]
    assert lines[-1].split()[:3] == ["note", "unknown_view", "1"]
    assert str(found) == found.summary
    page = found._repr_html_()
    assert SYNTHETIC_CAUTION in page and "unknown_view" in page and "&lt;B&gt;" in page and "<B>" not in page


def test_issues_come_the_gravest_first(many, make_image):
    many.rows[0] = many.rows[0].replace(",PA,", ",LL,")
    many.write()
    make_image(images(many.root)[1], 1, size=(20, 16))
    damage(images(many.root)[2], "constant")
    assert audit(load_nih(many.root), missing="skip").issues["severity"].tolist() == ["error", "warning", "note"]


def test_every_code_has_a_severity_and_the_errors_come_first():
    severities = [severity for severity, _ in CODES.values()]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)


# Near duplicates


def picture(seed: int) -> np.ndarray:
    """A 64 x 64 image that no other seed's image resembles."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8))
    return np.asarray(coarse.resize((64, 64), Image.Resampling.BICUBIC))


def draw(many, like: dict[int, int] | None = None) -> pd.DataFrame:
    """Draws every image; `like` makes one (by row) a brighter, noisier copy of another. Returns the table."""
    like = like or {}
    table = load_nih(many.root)
    for row, path in enumerate(table["path"]):
        pixels = picture(like.get(row, row)).astype(float)
        noise = np.random.default_rng(1000 + row).normal(0, 3, pixels.shape) + 5 if row in like else 0
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path)
    return table


def test_images_that_differ_have_no_near_duplicate(many):
    assert audit(draw(many)).issues.empty


def test_a_nearly_equal_image_of_the_same_patient_is_a_note(many):
    table = draw(many, like={1: 0})
    found = audit(table, split_by_patient(table, "Infiltration"))
    assert codes(found) == [("near_duplicate", many.images[1])]
    assert found.issues["severity"].tolist() == ["note"]
    assert found.issues["detail"].str.fullmatch(rf"like {many.images[0]} \(correlation 0\.99\d\d\)").all()


def test_a_nearly_equal_image_of_another_patient_and_in_another_part_is_a_warning(many):
    splits = split_by_patient(load_nih(many.root), "Infiltration")
    part_of = dict(zip(splits.assignment["image_id"], splits.assignment["part"], strict=True))
    parts = [part_of[image] for image in many.images]
    here = 0
    same_part = next(row for row in range(3, 30) if parts[row] == parts[here])
    elsewhere = next(row for row in range(3, 30) if parts[row] != parts[here])
    table = draw(many, like={same_part: here, elsewhere: here})
    found = audit(table, splits)
    told = {(row.code, row.image_id): (row.severity, row.detail) for row in found.issues.itertuples()}
    later = max(same_part, elsewhere)
    # The two copies lie in different parts as well, which is told of the later one.
    assert set(told) == {("near_duplicate_two_patients", many.images[row]) for row in (same_part, elsewhere)} | {
        ("near_duplicate_crosses_split", many.images[row]) for row in {elsewhere, later}
    }
    assert {severity for severity, _ in told.values()} == {"warning"}
    detail = told["near_duplicate_two_patients", many.images[min(same_part, elsewhere)]][1]
    patient = str(min(same_part, elsewhere) // 3 + 1)
    assert detail.startswith(f"patient {patient}; like {many.images[here]} of patient 1 (correlation 0.99")
    crossing = told["near_duplicate_crosses_split", many.images[elsewhere]][1]
    assert crossing.startswith(f"in {parts[elsewhere]}; ") and "correlation" in crossing
    assert told["near_duplicate_two_patients", many.images[later]][1].endswith(", and 1 more")


def test_of_several_nearly_equal_images_the_nearest_is_named(many):
    table = draw(many, like={7: 0, 20: 0})
    darker = np.asarray(Image.open(table["path"].iloc[7])) * 0.98
    Image.fromarray(darker.astype(np.uint8)).save(table["path"].iloc[20])
    found = audit(table).issues
    (detail,) = found.loc[found["image_id"] == many.images[20], "detail"]
    assert f"like {many.images[7]} of patient 3 (correlation 1.0000), and 1 more" in detail


def test_an_equal_image_is_not_told_again_as_nearly_equal(many):
    table = draw(many)
    Image.open(table["path"].iloc[0]).save(table["path"].iloc[1])
    assert codes(audit(table)) == [
        ("duplicate_labels_differ", many.images[1]),
        ("duplicate_pixels", many.images[1]),
    ]


def test_equal_images_with_other_labels_name_them(many):
    table = draw(many)
    Image.open(table["path"].iloc[0]).save(table["path"].iloc[1])
    found = audit(table)
    (detail,) = found.issues.loc[found.issues["code"] == "duplicate_labels_differ", "detail"]
    assert detail == f"Infiltration 1, not 0; same pixels as {many.images[0]}"
    table["Infiltration"] = 0.0
    assert codes(audit(table)) == [("duplicate_pixels", many.images[1])]


def test_images_that_are_all_alike_are_told_once(many, monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 100)
    found = audit(draw(many, like=dict.fromkeys(range(1, 30), 0)))
    assert codes(found) == [("films_too_alike", "")]
    assert found.issues["detail"].iloc[0].startswith("about 435 pairs among 30 images look alike")


# Other kinds of table


def test_lateral_views_and_devices_beside_no_finding_are_in_order(many):
    table = draw(many)
    table["view"] = np.where(table.index % 2, "LATERAL", "AP")
    table["No Finding"] = 1.0 - table["Infiltration"]
    table["Support Devices"] = 1.0
    assert audit(table).issues.empty
    table["Fracture"] = 0.0
    table.loc[2, "Fracture"] = 1.0
    assert codes(audit(table)) == [("label_contradiction", many.images[2])]


def test_blank_patients_repeated_names_and_two_sexes_are_told(many):
    table = draw(many)
    table.loc[4, "patient_id"] = ""
    table.loc[8, "sex"] = "F" if table.loc[8, "sex"] == "M" else "M"
    table.loc[20, "image_id"] = table.loc[19, "image_id"]
    found = audit(table)
    assert codes(found) == [
        ("repeated_image_id", many.images[19]),
        ("unknown_patient", many.images[4]),
        ("patient_two_sexes", many.images[6]),
    ]
    assert found.issues["detail"].tolist() == ["2 rows", "blank", "patient 3: M 2, F 1"]


def test_impossible_ages_of_any_table_are_told(many):
    table = draw(many)
    table.loc[:3, "age_years"] = [411.0, -1.0, np.nan, 120.0]
    assert codes(audit(table)) == [("implausible_age", image) for image in many.images[:3]]
    table["age_years"] = np.nan
    assert "age 30 unknown" in audit(table).summary
    assert audit(table).to_dict()["demographics"]["age_years"] == {"unknown": 30}


def test_dicom_files_go_through_the_gate(many, tmp_path):
    from chexkeras.phantoms import make_phantoms

    folder = make_phantoms(tmp_path / "phantoms", images=12, processes=1) / "dicom"
    table = draw(many)
    names = sorted(path.name for path in folder.iterdir())
    table = table.head(len(names)).assign(path=[str(folder / name) for name in names])
    found = audit(table, missing="skip")
    accepted = [image for image, name in zip(table["image_id"], names, strict=True) if name.startswith("accept")]
    assert found.table["image_id"].tolist() == accepted and len(accepted) > 3
    refused = found.issues[found.issues["code"] == "rejected_dicom"]
    assert len(refused) > 5 and refused["detail"].str.contains("ViewPosition").any()
    assert "not_grayscale" not in found.counts
    assert str(tmp_path) not in found.issues.to_csv()


# How the images were chosen


def chosen(share: float, images: int = 400, dataset: str = "NIH ChestX-ray14", **columns) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "image_id": [f"{number}.png" for number in range(images)],
            "patient_id": [str(number) for number in range(images)],
            "Pneumonia": (np.arange(images) < share * images).astype(float),
            **columns,
        }
    )
    table.attrs["source"] = TableSource(dataset=dataset, cautions=("Careful.",))
    return table


def test_a_case_control_sample_of_nih_is_told_with_both_shares():
    found = audit(chosen(0.5), decode=False, targets=())
    assert codes(found) == [("selected_sample", "")]
    assert found.issues["detail"].tolist() == ["Pneumonia on 50.0 % of these images, 1.3 % of the data set"]
    first, caution = source_of(found.table).cautions
    assert first == "Careful."
    assert "Pneumonia is on 50.0 % of these images, 1.3 % of the data set" in caution and "do not carry over" in caution
    assert (
        caution in found.summary and caution in found._repr_html_() and caution in found.to_dict()["source"]["cautions"]
    )


@pytest.mark.parametrize(("share", "images"), [(0.0128, 5000), (0.02, 40_000), (0.05, 40), (0.0, 400)])
def test_chance_and_small_differences_are_not_called_selection(share, images):
    found = audit(chosen(share, images), decode=False, targets=())
    assert found.issues.empty and source_of(found.table).cautions == ("Careful.",)


def test_a_finding_that_was_kept_out_is_selection_too():
    assert codes(audit(chosen(0.0, 5000), decode=False, targets=())) == [("selected_sample", "")]


def test_auditing_the_audited_table_adds_no_second_caution():
    once = audit(chosen(0.5), decode=False, targets=()).table
    assert source_of(audit(once, decode=False, targets=()).table).cautions == source_of(once).cautions


def test_images_of_another_source_are_compared_with_all_that_its_table_lists(tmp_path, make_image):
    table = chosen(0.1, dataset="own images", path="")
    for row in range(60):
        table.loc[row, "path"] = str(make_image(tmp_path / f"{row}.png", row))
    found = audit(table, missing="skip", targets=())
    (detail,) = found.issues.loc[found.issues["code"] == "selected_sample", "detail"]
    assert detail == "Pneumonia on 66.7 % of these images, 10.0 % of the data set"
    table["Pneumonia"] = (np.arange(400) % 10 == 0).astype(float)
    assert set(audit(table, missing="skip", targets=()).counts) == {"missing_file"}


# Shortcuts


def test_shortcuts_stand_in_the_summary_the_page_and_the_json(many):
    table = pd.concat([draw(many)] * 6, ignore_index=True)
    table["image_id"] = [f"{number}.png" for number in range(len(table))]
    table["patient_id"] = [str(number // 2) for number in range(len(table))]
    table["view"] = np.where(table["Infiltration"] == 1, "AP", "PA")
    found = audit(table)
    assert [one.name for one in found.shortcuts] == ["view", "age and sex", "image size", "thumbnail"]
    assert found.shortcuts[0].informative and not found.shortcuts[2].informative
    shown = found.shortcut_table()
    assert list(shown.columns) == ["finding", "view", "age and sex", "image size", "thumbnail"]
    assert shown["view"].iloc[0].startswith("1.000 (") and shown["view"].iloc[0].endswith(")*")
    assert shown["image size"].iloc[0] == "-"
    assert "1.000 (" in found.summary and "1.000 (" in found._repr_html_()
    told = json.loads(json.dumps(found.to_dict()["shortcuts"], allow_nan=True))
    assert [one["name"] for one in told] == ["view", "age and sex", "image size", "thumbnail"]
    assert told[0]["informative"] is True
    assert audit(table, targets=()).shortcuts == ()
    assert "shortcuts" not in audit(table, targets=()).summary


def test_the_sizes_of_opened_images_are_used_where_the_table_has_none(many, make_image):
    table = pd.concat([draw(many)] * 4, ignore_index=True)
    table["image_id"] = [f"{number}.png" for number in range(len(table))]
    table["patient_id"] = table["image_id"]
    for row in table.index[table["Infiltration"] == 1]:
        table.loc[row, "path"] = str(make_image(many.root / "large" / f"{row}.png", row, size=(32, 16)))
    (size,) = [
        one for one in audit(table.drop(columns=["width_px", "height_px"])).shortcuts if one.name == "image size"
    ]
    assert size.auroc.value == 1 and size.informative
    (size,) = [one for one in audit(table).shortcuts if one.name == "image size"]
    assert not size.informative


def test_an_unknown_target_is_refused_before_images_are_opened(many):
    table = load_nih(many.root)
    images(many.root)[0].unlink()
    with pytest.raises(ValueError, match=r"unknown finding 'Infiltraton'; did you mean 'Infiltration'"):
        audit(table, targets="Infiltraton")


@pytest.mark.realdata
def test_the_real_images_have_one_duplicate_and_shortcuts_and_are_a_case_control_sample(real_nih):
    found = audit(load_nih(real_nih, missing="skip"))
    assert found.counts == {"duplicate_pixels": 1, "selected_sample": 5}
    assert codes(found)[0] == ("duplicate_pixels", "00002658_002.png")
    assert found.sizes == (("320 x 320", 1000),)
    assert "Pneumonia is on 50.0 % of these images, 1.3 % of the data set" in source_of(found.table).cautions[-1]
    told = {one.name: one for one in found.shortcuts if one.finding == "Pneumonia"}
    # 342 of 500 images without and 225 of 500 with Pneumonia are AP: 1/2 + (342 - 225) / 1000 = 0.617.
    assert told["view"].auroc.value == pytest.approx(0.617, abs=0.002)
    assert told["view"].informative and told["thumbnail"].informative
    assert told["thumbnail"].auroc.value > 0.8


@pytest.mark.realdata
def test_the_small_real_images_are_gray_stored_in_colour(real_nih):
    found = audit(load_nih(real_nih, images="images_64", missing="skip"))
    assert found.counts == {"selected_sample": 1, "not_grayscale": 1000}
    stored = found.issues.loc[found.issues["code"] == "not_grayscale", "detail"].value_counts().to_dict()
    assert stored == {"gray pixels stored as RGB": 979, "gray pixels stored as RGBA": 21}


@pytest.mark.realdata
def test_the_full_label_file_has_no_label_issue_and_is_no_sample(full_nih):
    found = audit(full_nih, decode=False, targets="Pneumonia")
    assert found.issues.empty
    assert found.to_dict()["patients"] == 30_805
    assert source_of(found.table).cautions == ()
    assert [one.finding for one in found.shortcuts] == ["Pneumonia"] * 3


@pytest.mark.parametrize("name", ["image.jpg", "image.tif"])
def test_what_training_cannot_decode_is_unreadable(tmp_path, name):
    """CMYK, whose inks mean different things in different files, and other formats than PNG, JPEG and DICOM."""
    gray = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8))
    (gray.convert("CMYK") if name == "image.jpg" else gray).save(tmp_path / name)
    facts = image_facts(str(tmp_path / name))
    assert facts.problem == "unreadable"
    assert str(tmp_path) not in facts.detail
    if name == "image.jpg":
        assert "mode CMYK; grey or RGB was expected" in facts.detail
