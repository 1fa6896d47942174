import copy
import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data import image_table
from chexkeras.data.datasets.nih import load_boxes, load_nih
from chexkeras.data.image_table import CASE_CONTROL_CAUTION, SYNTHETIC_CAUTION, source_of
from chexkeras.files import sha256_file, write_json
from chexkeras.findings import NIH14

HEADER_SAMPLE = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y"
)


def test_the_table_has_the_agreed_columns_and_values(nih):
    table = load_nih(nih.root)
    assert list(table.columns) == [*image_table.METADATA, *NIH14, "official_split"]
    row = table.iloc[1]
    assert row["image_id"] == "00000001_001.png"
    assert row["path"] == str(nih.root / "images" / "00000001_001.png")
    assert (row["patient_id"], row["follow_up"], row["age_years"], row["sex"], row["view"]) == ("1", 1, 59.0, "M", "PA")
    assert (row["width_px"], row["height_px"], row["pixel_spacing_mm"]) == (2500, 2048, 0.168)
    assert [finding for finding in NIH14 if row[finding] == 1] == ["Cardiomegaly", "Emphysema"]
    assert row["official_split"] == ""
    assert all(table[finding].dtype == np.float64 for finding in NIH14)
    assert table["follow_up"].dtype == table["width_px"].dtype == np.int64
    assert table.loc[2, list(NIH14)].sum() == 0


def test_findings_chooses_and_orders_the_label_columns(nih):
    table = load_nih(nih.root, findings=["pneumonia", "Pleural Thickening"])
    assert image_table.finding_columns(table) == ("Pneumonia", "Pleural_Thickening")
    assert table["Pneumonia"].tolist() == [0, 0, 0, 1]
    assert image_table.finding_columns(load_nih(nih.root, findings=["Pleural Effusion"])) == ("Effusion",)
    with pytest.raises(ValueError, match=r"unknown finding 'Pnuemonia'; did you mean 'Pneumonia'"):
        load_nih(nih.root, findings=["Pnuemonia"])


# Header spellings


@pytest.mark.parametrize("row_end", ["", ","])
@pytest.mark.parametrize("header_end", ["", ","])
def test_a_trailing_comma_shifts_nothing(nih, header_end, row_end):
    expected = load_nih(nih.root)
    path = nih.root / "Data_Entry_2017_v2020.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header + header_end, *(row + row_end for row in rows)]))
    pd.testing.assert_frame_equal(load_nih(nih.root), expected)


def test_the_samples_header_and_values_are_read(nih):
    (nih.root / "Data_Entry_2017_v2020.csv").unlink()
    nih.rows = ["00000001_000.png,Edema,000,00000001,060Y,F,AP,3056,2544,0.139,0.139"]
    nih.write("sample_labels.csv", header=HEADER_SAMPLE, end="\r")
    row = load_nih(nih.root).iloc[0]
    assert (row["patient_id"], row["age_years"], row["width_px"], row["pixel_spacing_mm"]) == ("1", 60.0, 3056, 0.139)
    assert row["Edema"] == 1


def test_further_columns_are_ignored_wherever_they_stand(nih):
    expected = load_nih(nih.root)
    path = nih.root / "Data_Entry_2017_v2020.csv"
    path.write_text("".join(f"{number},{line}\n" for number, line in enumerate(path.read_text().splitlines())))
    pd.testing.assert_frame_equal(load_nih(nih.root), expected)


def test_patient_sex_and_a_byte_order_mark_are_accepted(nih):
    path = nih.root / "Data_Entry_2017_v2020.csv"
    path.write_text("\ufeff" + path.read_text().replace("Patient Gender", "Patient Sex"), encoding="utf-8")
    assert load_nih(nih.root)["sex"].tolist() == ["M", "M", "F", "F"]


def test_the_newest_label_file_wins_and_a_file_may_be_named(nih):
    nih.rows = nih.rows[:1]
    older = nih.write("Data_Entry_2017.csv", end=",")
    assert len(load_nih(nih.root)) == 4
    assert len(load_nih(older)) == 1


def test_a_missing_column_is_named(nih):
    path = nih.root / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace("Patient Age", "Years"))
    with pytest.raises(
        ValueError, match=r"Data_Entry_2017_v2020.csv lacks the column\(s\) Patient Age; its first line"
    ):
        load_nih(nih.root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lacks the column"),
        (HEADER_SAMPLE + "\n", "has a header and no rows"),
        (HEADER_SAMPLE.encode() + b"\n\xff\xfe", "is not UTF-8 text"),
    ],
    ids=["empty", "header only", "not text"],
)
def test_a_label_file_without_rows_is_refused(nih, content, message):
    path = nih.root / "Data_Entry_2017_v2020.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        load_nih(nih.root)


def test_an_image_named_twice_is_refused(nih):
    nih.rows.append(nih.rows[0])
    nih.write()
    with pytest.raises(ValueError, match=r"names 1 image\(s\) more than once, first '00000001_000.png'"):
        load_nih(nih.root)


def test_a_width_that_is_no_number_is_named_with_its_image(nih):
    nih.rows[2] = nih.rows[2].replace("2500", "wide")
    nih.write()
    with pytest.raises(ValueError, match=r"'OriginalImage\[Width' is 'wide' for 00000002_000.png"):
        load_nih(nih.root)


# Ages, sexes


def test_ages_in_every_unit_are_years_and_impossible_ones_are_counted(nih):
    nih.rows = []
    ages = ["58", "060Y", "006M", "013D", "002W", "0", "120", "121", "411Y", "-1", "old", ""]
    for number, age in enumerate(ages):
        nih.add(f"{number + 1:08d}_000.png", age=age)
    nih.write()
    table = load_nih(nih.root, missing="keep")
    expected = [58, 60, 0.5, 13 / 365.25, 14 / 365.25, 0, 120, *[np.nan] * 5]
    np.testing.assert_allclose(table["age_years"], expected)
    assert source_of(table).implausible_ages == 4


# Labels


def test_an_unknown_label_names_the_image_and_the_nearest_label(nih):
    nih.rows[1] = nih.rows[1].replace("Emphysema", "Emphisema")
    nih.write()
    with pytest.raises(
        ValueError, match=r"of 00000001_001.png .*unknown finding 'Emphisema'; did you mean 'Emphysema'"
    ):
        load_nih(nih.root)


def test_a_blank_label_is_refused(nih):
    nih.rows[0] = nih.rows[0].replace("Cardiomegaly", "")
    nih.write()
    with pytest.raises(ValueError, match=r"of 00000001_000.png .*the label is blank; write 'No Finding'"):
        load_nih(nih.root)


def test_a_contradiction_keeps_the_finding_and_is_remembered(nih):
    nih.rows[0] = nih.rows[0].replace("Cardiomegaly", "No Finding|Edema")
    nih.write()
    table = load_nih(nih.root)
    assert table.loc[0, "Edema"] == 1
    assert source_of(table).contradictory == ("00000001_000.png",)


# Images on disk


def move_images(nih, where):
    for number, image in enumerate(nih.images):
        target = nih.root / where(number) / image
        target.parent.mkdir(parents=True, exist_ok=True)
        (nih.root / "images" / image).rename(target)
    (nih.root / "images").rmdir()


@pytest.mark.parametrize(
    "where",
    [lambda number: f"images_{number + 1:03d}/images", lambda number: f"a/b{number % 2}/c", lambda number: "."],
    ids=["kaggle", "nested", "beside the label file"],
)
def test_images_are_found_in_every_layout(nih, where):
    move_images(nih, where)
    paths = load_nih(nih.root)["path"]
    assert all(os.path.isfile(path) for path in paths)
    assert [os.path.basename(path) for path in paths] == nih.images


def test_the_flat_folder_is_preferred_to_others_with_the_same_images(nih):
    nih.write_images("images_64")
    assert load_nih(nih.root)["path"].iloc[0] == str(nih.root / "images" / nih.images[0])


def test_images_names_a_folder_relative_or_absolute(nih, tmp_path):
    nih.write_images("images_64")
    nih.write_images("../elsewhere")
    assert load_nih(nih.root, images="images_64")["path"].iloc[0] == str(nih.root / "images_64" / nih.images[0])
    elsewhere = tmp_path / "elsewhere"
    assert load_nih(nih.root, images=elsewhere)["path"].iloc[0] == str(elsewhere / nih.images[0])
    with pytest.raises(FileNotFoundError, match="images: no folder at"):
        load_nih(nih.root, images="imagse")


def test_a_image_in_two_folders_names_both_and_the_way_out(nih):
    (nih.root / "images").rename(nih.root / "first")
    nih.write_images("second", nih.images[1:2])
    with pytest.raises(
        ValueError, match=r"00000001_001.png lies both in .*first and in .*second; .* with images= \(.* --images\)"
    ) as e:
        load_nih(nih.root)
    assert str(nih.root / "first") in str(e.value)


def test_folders_that_link_in_a_circle_end(nih):
    (nih.root / "images").rename(nih.root / "images")
    (nih.root / "images" / "again").symlink_to(nih.root, target_is_directory=True)
    assert len(load_nih(nih.root)) == 4


def test_a_link_to_itself_and_a_folder_that_is_closed_hide_no_other_image_and_the_folder_is_named(
    nih, monkeypatch, capsys
):
    images = nih.root / "images"
    (images / "loop.png").symlink_to("loop.png")
    (images / "closed\u202e").mkdir()
    scandir = os.scandir

    def guarded(path):
        if os.path.basename(path).startswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert len(load_nih(nih.root)) == 4
    told = capsys.readouterr().err
    assert f"1 folder below {str(images)!r} cannot be searched for images, first 'closed" in told
    assert r"'closed\u202e' (Permission denied)" in told
    images.rename(nih.root / "closed")
    with pytest.raises(PermissionError, match=r"the folder '.*closed' cannot be searched \(Permission denied\); ask"):
        load_nih(nih.root, images="closed")


def test_missing_images_are_counted_named_and_the_options_given(nih):
    for image in nih.images[1:]:
        (nih.root / "images" / image).unlink()
    with pytest.raises(FileNotFoundError) as e:
        load_nih(nih.root)
    message = str(e.value)
    assert message.startswith(
        f"3 of 4 images are missing in {nih.root / 'images'} (first: {', '.join(nih.images[1:])})"
    )
    assert all(option in message for option in ("images=", "missing='skip'", "missing='keep'"))


def test_missing_images_are_skipped_and_listed_or_kept(nih):
    (nih.root / "images" / nih.images[1]).unlink()
    skipped = load_nih(nih.root, missing="skip")
    assert skipped["image_id"].tolist() == [nih.images[0], *nih.images[2:]]
    assert skipped.index.tolist() == [0, 1, 2]
    assert source_of(skipped).left_out == ((nih.images[1], "image not found"),)
    kept = load_nih(nih.root, missing="keep")
    assert kept["path"].eq("").tolist() == [False, True, False, False]
    assert source_of(kept).left_out == ()


@pytest.mark.parametrize("missing", ["error", "skip"])
def test_no_images_at_all_is_an_error_unless_kept(nih, missing):
    for image in nih.images:
        (nih.root / "images" / image).unlink()
    with pytest.raises(FileNotFoundError, match=r"none of the 4 images is in .*nih \(first: 00000001_000.png"):
        load_nih(nih.root, missing=missing)
    assert load_nih(nih.root, missing="keep")["path"].eq("").all()


def test_an_unknown_way_with_missing_images_is_refused(nih):
    with pytest.raises(ValueError, match=r"missing='ignore'; .* Expected one of: error, skip, keep"):
        load_nih(nih.root, missing="ignore")


def test_a_missing_folder_label_file_or_content_is_said(tmp_path, nih):
    with pytest.raises(FileNotFoundError, match="root: no folder at"):
        load_nih(tmp_path / "absent")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match=r"root: the folder .*empty' is empty; expected Data_Entry_2017_v2020"):
        load_nih(empty)
    with pytest.raises(
        FileNotFoundError, match=r"no label file in .*images'.* There is one at .*Data_Entry_2017_v2020.csv"
    ):
        load_nih(nih.root / "images")
    with pytest.raises(FileNotFoundError, match=r"There is one at .*nih/Data_Entry_2017_v2020.csv': give its folder"):
        load_nih(tmp_path)


# Lists, source


def test_official_lists_are_read_and_an_overlap_refused(nih):
    nih.write_lists(nih.images[:2], nih.images[2:3])
    assert load_nih(nih.root)["official_split"].tolist() == ["train_val", "train_val", "test", ""]
    nih.write_lists(nih.images[:2], nih.images[1:])
    with pytest.raises(ValueError, match=r"00000001_001.png is in both train_val_list.txt and test_list.txt"):
        load_nih(nih.root)


def test_the_source_holds_the_fingerprints_and_survives_table_operations(nih):
    nih.write_lists(nih.images[:2], nih.images[2:])
    table = load_nih(nih.root)
    source = source_of(table)
    names = ["Data_Entry_2017_v2020.csv", "train_val_list.txt", "test_list.txt"]
    assert source.files == tuple((name, sha256_file(nih.root / name)) for name in names)
    assert source.dataset == "NIH ChestX-ray14"
    assert not source.synthetic and source.cautions == ()
    assert source_of(table[table["sex"] == "F"].copy()) is source
    assert copy.deepcopy(source) is source
    assert source.to_dict()["contradictory"] == 0


def test_phantoms_are_named_synthetic_and_enrichment_is_said(nih):
    write_json(nih.root / "PHANTOM.json", {"parameters": {"prevalence": {}}})
    source = source_of(load_nih(nih.root))
    assert (source.dataset, source.synthetic) == ("chexkeras phantoms", True)
    assert source.cautions == (SYNTHETIC_CAUTION,)
    assert "PHANTOM.json" in dict(source.files)
    write_json(nih.root / "PHANTOM.json", {"parameters": {"prevalence": {"Pneumonia": 0.5}}})
    assert source_of(load_nih(nih.root)).cautions == (SYNTHETIC_CAUTION, CASE_CONTROL_CAUTION)


# Label release


def release(nih):
    nih.write()
    return source_of(load_nih(nih.root, missing="keep")).label_release


def test_the_release_is_told_from_the_content(nih):
    assert release(nih) == "unknown"
    nih.add("00000150_002.png", "Atelectasis|Infiltration")
    assert release(nih) == "2017 release, first labels"
    nih.rows[-1] = nih.rows[-1].replace("Infiltration", "Infiltration|Pneumonia")
    assert release(nih) == "unknown"
    for number in range(1, 31):
        nih.add(f"00000999_{number:03d}.png")
    assert release(nih) == "2017 release, corrected labels"
    nih.rows[-1] = nih.rows[-1].replace("No Finding,30,", "No Finding,29,")
    assert release(nih) == "2020 revision"


def test_a_release_with_contrary_evidence_is_unknown(nih):
    nih.add("00000150_002.png", "Atelectasis|Infiltration")
    for number in range(1, 31):
        nih.add(f"00000999_{number:03d}.png")
    assert release(nih) == "2017 release, first labels"
    nih.add("00000193_019.png", "Pneumonia")
    assert release(nih) == "unknown"
    del nih.rows[-1]
    nih.rows[-1] = nih.rows[-1].replace("No Finding,30,", "No Finding,29,")
    assert release(nih) == "unknown"


# Boxes

BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def test_boxes_have_tidy_columns_and_canonical_findings(nih):
    path = nih.root / "BBox_List_2017.csv"
    path.write_text(f"{BOX_HEADER}\n00000001_000.png,Infiltrate,1.5,2,3,4\n00000002_000.png,Mass,5,6,7,8\n")
    boxes = load_boxes(nih.root)
    assert boxes.attrs["image_px"] == 1024
    assert list(boxes.columns) == ["image_id", "finding", "x_px", "y_px", "width_px", "height_px"]
    assert boxes.iloc[0].tolist() == ["00000001_000.png", "Infiltration", 1.5, 2.0, 3.0, 4.0]
    path.write_text(f"{BOX_HEADER}\n00000001_000.png,Infiltrate,1.5,2,3,4,,,\n")
    assert load_boxes(path).iloc[0].tolist() == ["00000001_000.png", "Infiltration", 1.5, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "has the columns a, b; expected Image Index"),
        (f"{BOX_HEADER}\nx.png,Mass,1,2,three,4\n", "width_px of x.png is not a number"),
        (f"{BOX_HEADER}\nx.png,Masss,1,2,3,4\n", "unknown finding 'Masss'"),
    ],
)
def test_a_malformed_box_list_is_refused(nih, content, message):
    (nih.root / "BBox_List_2017.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_boxes(nih.root)


def test_a_missing_box_list_says_where_it_was_expected(nih):
    with pytest.raises(FileNotFoundError, match=r"boxes: no file at .*BBox_List_2017.csv"):
        load_boxes(nih.root)


def test_loading_imports_no_tensorflow(nih):
    code = (
        "import sys; from chexkeras.data.datasets import nih; from chexkeras.data.splits import splits; "
        "from chexkeras.data.audit import audit; "
        f"nih.load_nih({str(nih.root)!r}); sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The real files


@pytest.mark.realdata
def test_the_full_label_file_has_its_published_counts(real_nih):
    started = time.process_time()
    table = load_nih(real_nih, missing="keep")
    seconds = time.process_time() - started
    assert len(table) == 112_120
    assert table["patient_id"].nunique() == 30_805
    assert source_of(table).label_release == "2020 revision"
    parts = table.groupby("official_split")
    assert parts.size().to_dict() == {"test": 25_596, "train_val": 86_524}
    assert parts["patient_id"].nunique().to_dict() == {"test": 2_797, "train_val": 28_008}
    patients = parts["patient_id"].agg(set)
    assert patients["test"].isdisjoint(patients["train_val"])
    assert table["Pneumonia"].sum() == 1_431
    assert table.loc[table["official_split"] == "test", "Pneumonia"].sum() == 555
    assert (table[list(NIH14)].sum(axis=1) == 0).sum() == 60_361
    assert (table["path"] != "").sum() == 1_000
    assert seconds < 2


@pytest.mark.realdata
def test_the_full_label_file_loads_in_600_megabytes(real_nih):
    # Not getrusage, whose peak a child takes over from the process that started it.
    code = (
        "import sys; from chexkeras.data.datasets.nih import load_nih; "
        f"load_nih({str(real_nih)!r}, missing='keep'); "
        "print('tensorflow' in sys.modules); "
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with_tensorflow, kilobytes = done.stdout.split()
    assert with_tensorflow == "False"
    assert 0 < int(kilobytes) < 600 * 1000


@pytest.mark.realdata
def test_the_sample_is_the_first_release(real_nih, full_nih):
    table = load_nih(real_nih / "sample_labels.csv", missing="keep")
    assert len(table) == 5_606
    assert source_of(table).label_release == "2017 release, first labels"
    assert source_of(table).implausible_ages == 1
    assert table["age_years"].isna().sum() == 1
    revised = full_nih.set_index("image_id").loc[table["image_id"], list(NIH14)]
    assert (revised.to_numpy() != table[list(NIH14)].to_numpy()).any(axis=1).sum() == 10


@pytest.mark.realdata
@pytest.mark.parametrize(("images", "count"), [(None, 1000), ("images_64", 1000)])
def test_the_real_images_are_found(real_nih, images, count):
    table = load_nih(real_nih, images=images, missing="skip")
    assert len(table) == count
    assert len(source_of(table).left_out) == 112_120 - count
    assert source_of(table).label_release == "2020 revision"


@pytest.mark.realdata
def test_the_real_images_have_their_stated_counts(real_nih):
    """A case-control sample: 500 images with Pneumonia, 500 without any finding."""
    table = load_nih(real_nih, missing="skip")
    ill = table["Pneumonia"] == 1
    assert (ill.sum(), (table[list(NIH14)].sum(axis=1) == 0).sum(), table["patient_id"].nunique()) == (500, 500, 682)
    assert ((table["view"] == "AP") & ill).sum() == 225
    assert ((table["view"] == "AP") & ~ill).sum() == 342
    assert ill[table["official_split"] == "test"].tolist() == [True] * 153


@pytest.mark.realdata
def test_the_small_and_the_original_real_images_have_their_stated_counts(real_nih):
    small = load_nih(real_nih, images="images_64", missing="skip")
    assert small["patient_id"].nunique() == 264
    assert (small[list(NIH14)].sum() >= 9).all()
    assert (small[list(NIH14)].sum(axis=1) == 0).sum() == 499
    originals = load_nih(real_nih, images="images_1024", missing="skip")
    boxes = load_boxes(real_nih)
    assert len(originals) == 46
    assert originals["image_id"].isin(boxes["image_id"]).sum() == 22
    assert boxes["image_id"].isin(originals["image_id"]).sum() == 24
    for path in originals["path"]:
        assert Image.open(path).size == (1024, 1024)


@pytest.mark.realdata
def test_the_real_boxes_have_their_published_counts(real_nih):
    boxes = load_boxes(real_nih)
    assert (len(boxes), boxes["image_id"].nunique(), boxes["finding"].nunique()) == (984, 880, 8)
    assert "Infiltration" in set(boxes["finding"])
    assert (boxes[["width_px", "height_px"]] > 0).all(axis=None)
    test_list = set((real_nih / "test_list.txt").read_text().split())
    assert set(boxes["image_id"]) <= test_list
