"""One's own table of images: every column it may have, and every way it may be wrong."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.data import image_table
from chexkeras.data.audit.audit import audit
from chexkeras.data.datasets.custom import NO_PATIENTS_CAUTION, load_table
from chexkeras.data.image_table import source_of
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.files import sha256_file

CSV = """file,person,pneumonia,Tuberculosis,projection,gender,years
a.png,00012,1,0,pa,Female,58
sub/b.jpg,00012,0,,AP,m,006M
c.dcm,7,,1,,Unknown,411Y
"""
ASK = {"image_column": "file", "label_columns": ["pneumonia", "Tuberculosis"]}
ALL = {**ASK, "patient_column": "person", "view_column": "projection", "sex_column": "gender", "age_column": "years"}


@pytest.fixture
def csv(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/b.jpg", "c.dcm"):
        (tmp_path / name).write_bytes(b"an image")
    path = tmp_path / "images.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def frame():
    return pd.DataFrame({"file": ["a.png", "b.png"], "person": [12, 7], "Edema": [1, 0]})


def load_frame(frame, **options):
    options = {"label_columns": "Edema", "missing": "keep", **options}
    return load_table(frame, image_column="file", **options)


def test_the_table_has_the_agreed_columns_and_values(csv):
    table = load_table(csv, **ALL)
    assert list(table.columns) == [*image_table.METADATA, "Pneumonia", "Tuberculosis", "official_split"]
    assert table["image_id"].tolist() == ["a.png", "sub/b.jpg", "c.dcm"]
    assert table["path"].tolist() == [str(csv.parent / image) for image in table["image_id"]]
    assert table["patient_id"].tolist() == ["00012", "00012", "7"]
    assert table["follow_up"].tolist() == [0, 1, 0]
    np.testing.assert_equal(table["age_years"].tolist(), [58, 0.5, np.nan])
    assert table["sex"].tolist() == ["F", "M", ""]
    assert table["view"].tolist() == ["PA", "AP", ""]
    np.testing.assert_equal(table[["Pneumonia", "Tuberculosis"]].to_numpy(), [[1, 0], [0, np.nan], [np.nan, 1]])
    source = source_of(table)
    assert (source.dataset, source.files) == ("images.csv", (("images.csv", sha256_file(csv)),))
    assert (source.implausible_ages, source.cautions, source.synthetic) == (1, (), False)


def test_without_patients_each_image_is_its_own_and_the_caution_says_so(csv):
    table = load_table(csv, **ASK)
    assert table["patient_id"].tolist() == table["image_id"].tolist()
    assert source_of(table).cautions == (NO_PATIENTS_CAUTION,)
    assert table["sex"].tolist() == table["view"].tolist() == ["", "", ""]
    assert table["age_years"].isna().all() and source_of(table).implausible_ages == 0


def test_a_data_frame_gives_the_same_as_its_csv(csv):
    frame = pd.read_csv(csv, dtype={"person": str})
    table = load_table(frame.set_index(np.array([5, 5, 9])), root=csv.parent, **ALL)
    pd.testing.assert_frame_equal(table, load_table(csv, **ALL))
    assert source_of(table).dataset == "own table" and source_of(table).files == ()


def test_numbers_in_a_frame_are_text_without_a_decimal_point(frame):
    table = load_frame(frame.assign(person=[12.0, 7.0]), patient_column="person")
    assert table["patient_id"].tolist() == ["12", "7"]
    table = load_frame(frame.assign(years=[58.5, np.nan]), age_column="years")
    np.testing.assert_equal(table["age_years"].tolist(), [58.5, np.nan])


def test_the_table_can_be_split_and_audited(csv, make_image):
    rows = [f"image{n}.png,{n // 2},{n % 4 // 2},0" for n in range(24)]
    csv.write_text("file,person,pneumonia,Tuberculosis\n" + "\n".join(rows))
    for number in range(24):
        make_image(csv.parent / f"image{number}.png", seed=number)
    table = load_table(csv, **ASK, patient_column="person")
    checked = audit(table, split_by_patient(table, "Pneumonia", validation=0.25, test=0.25))
    assert len(checked.table) == 24 and "patient_crosses_split" not in checked.counts


# Paths


def test_paths_begin_at_root_or_are_absolute(csv, tmp_path):
    images = tmp_path / "elsewhere"
    images.mkdir()
    csv.rename(images / "images.csv")
    ways = r"begin at with root= \(.* --images\), or keep the rows without images with missing='keep'\.$"
    with pytest.raises(FileNotFoundError, match=rf"none of the 3 images is in .*elsewhere.*{ways}"):
        load_table(images / "images.csv", **ASK)
    below = load_table(images / "images.csv", root=tmp_path, **ASK)
    assert below["image_id"].tolist() == ["a.png", "sub/b.jpg", "c.dcm"]
    (images / "images.csv").write_text(CSV.replace("a.png", f"{tmp_path}/a.png"))
    table = load_table(images / "images.csv", root=tmp_path, **ASK)
    assert table["image_id"].tolist() == below["image_id"].tolist()
    assert table["path"].tolist() == below["path"].tolist()


def test_absolute_paths_outside_root_are_named_from_the_folder_they_share(csv, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    absolute = CSV.replace("a.png", f"{tmp_path}/a.png").replace("sub/b.jpg", f"{tmp_path}/sub/b.jpg")
    csv.write_text(absolute.replace("c.dcm", f"{tmp_path}/c.dcm"))
    assert load_table(csv, root=other, **ASK)["image_id"].tolist() == ["a.png", "sub/b.jpg", "c.dcm"]


@pytest.mark.parametrize("path", ["../a.png", "sub/../../a.png", "/data/../a.png"])
def test_a_path_out_of_the_folder_is_refused(csv, path):
    csv.write_text(CSV.replace("a.png", path))
    with pytest.raises(
        ValueError, match=r"images.csv: '.*a.png' \(and 0 more\) leads out of .*with root= \(.* --images\)"
    ):
        load_table(csv, **ASK, missing="keep")


def test_a_image_without_or_with_a_repeated_name_is_refused(csv):
    csv.write_text(CSV.replace("sub/b.jpg", ""))
    with pytest.raises(ValueError, match=r"images.csv: row 2 names no image file; fill it in or drop the row"):
        load_table(csv, **ASK)
    csv.write_text(CSV.replace("sub/b.jpg", "./a.png"))
    with pytest.raises(ValueError, match=r"images.csv names 1 image\(s\) more than once, first 'a.png'"):
        load_table(csv, **ASK)


def test_missing_images_are_an_error_left_out_or_kept(csv):
    (csv.parent / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 images are missing in .*first: a.png.* --missing skip\)"):
        load_table(csv, **ASK)
    skipped = load_table(csv, **ASK, missing="skip")
    assert skipped["image_id"].tolist() == ["sub/b.jpg", "c.dcm"]
    assert source_of(skipped).left_out == (("a.png", "image not found"),)
    assert load_table(csv, **ASK, missing="keep")["path"].tolist()[0] == ""


# Labels


def test_labels_may_be_renamed_and_known_findings_get_their_spelling(frame):
    named = load_frame(frame, label_columns={"Edema": "pleural effusion"})
    assert image_table.label_columns(named) == ("Pleural Effusion",)
    assert image_table.label_columns(load_frame(frame.assign(normal=[0, 1]), label_columns=["normal"])) == ("normal",)


@pytest.mark.parametrize(
    "values", [[True, False], ["1", "0"], ["True", "False"], [1.0, 0.0], [1, 0], ["1.0", " 0 "]], ids=str
)
def test_ones_noughts_and_truths_are_labels(frame, values):
    assert load_frame(frame.assign(Edema=values))["Edema"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("blank", [None, np.nan, "", " ", pd.NA, "NA", "nan"])
def test_a_blank_label_is_unknown(frame, blank):
    table = load_frame(frame.assign(Edema=pd.Series([1, blank], dtype=object)))
    np.testing.assert_equal(table["Edema"].tolist(), [1.0, np.nan])
    assert table["Edema"].dtype == np.float64


@pytest.mark.parametrize("value", [-1, 2, 0.5, "yes", "positive", np.inf])
def test_any_other_label_is_refused_with_what_to_do(frame, value):
    with pytest.raises(
        ValueError, match=rf"own table: 'Edema' is '?{value}'? for b.png.*Write 1 for present.*blank, 1 o"
    ):
        load_frame(frame.assign(Edema=pd.Series([1, value], dtype=object)))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("Pnuemonia", r"lacks the column\(s\) Pnuemonia|did you mean 'Pneumonia'"),
        ([], "no finding given"),
        (["Edema", "Edema2"], r"own table lacks the column\(s\) Edema2; it has: file, person, Edema"),
        ({"Edema": "Pneumo"}, "did you mean 'Pneumonia' or 'Pneumothorax'"),
        ({"Edema": "view"}, r"the label 'view' has the name of a column .* --label-columns COLUMN=NAME\)"),
        ({"Edema": "Mass", "person": "mass"}, "more than once: Mass"),
    ],
)
def test_label_columns_that_cannot_be_are_refused(frame, labels, message):
    with pytest.raises(ValueError, match=message):
        load_frame(frame, label_columns=labels)


def test_findings_in_words_become_a_column_each(frame):
    words = ["Edema|covid", "No Finding", "", "infiltrate | pleural effusion"]
    frame = pd.DataFrame({"file": list("abcd"), "said": words})
    table = load_frame(frame, label_columns="said", separator="|")
    assert image_table.label_columns(table) == ("Infiltration", "Edema", "Pleural Effusion", "covid")
    nan = np.nan
    np.testing.assert_equal(table["Edema"].tolist(), [1, 0, nan, 0])
    np.testing.assert_equal(table["covid"].tolist(), [1, 0, nan, 0])
    np.testing.assert_equal(table["Infiltration"].tolist(), [0, 0, nan, 1])


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (
            ["Edema", "Pnuemonia"],
            {},
            r"own table: findings 'Pnuemonia' of b: unknown finding 'Pnuemonia'; did you mean",
        ),
        (["Edema", "No Finding|Mass"], {}, r"'No Finding\|Mass' lists No Finding beside a finding; correct the row"),
        (["No Finding", ""], {}, "own table lists no finding at all"),
        (["Edema", "Mass"], {"label_columns": ["said", "file"]}, r"separator='\|' with 2 label columns"),
        (["Edema", "Mass"], {"separator": ""}, r"separator='' with 1 label columns"),
    ],
)
def test_words_that_cannot_be_read_are_refused(words, options, message):
    frame = pd.DataFrame({"file": ["a", "b"], "said": words})
    with pytest.raises(ValueError, match=message):
        load_frame(frame, **{"label_columns": "said", "separator": "|", **options})


# Patients, and the file itself


def test_a_image_without_its_patient_is_refused(csv):
    csv.write_text(CSV.replace("c.dcm,7", "c.dcm,"))
    with pytest.raises(
        ValueError, match=r"images.csv: 1 image\(s\) have no patient in 'person', first 'c.dcm'; fill it in"
    ):
        load_table(csv, **ALL)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"images.csv lacks the column\(s\) file|has a header and no rows"),
        ("file,pneumonia,Tuberculosis\n", "has a header and no rows"),
        ("file:pneumonia\na.png:1\n", r"images.csv lacks the column\(s\) file, pneumonia"),
        ("file;pneumonia\na.png;1\n", r"images.csv lacks the column\(s\) Tuberculosis; it has: file, pneumonia"),
        ("file,file,pneumonia,Tuberculosis\na,b,1,1\n", "images.csv has more than one column for file"),
        (b"file\n\xff\xfe\n", r"images.csv is not UTF-8 text: byte \d is 0xff. Save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(csv, content, message):
    csv.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        load_table(csv, **ASK)


def test_a_column_of_which_nothing_is_understood_is_refused(frame):
    """Otherwise a report would say of every image that its age or sex was not recorded."""
    with pytest.raises(ValueError, match=r"table: none of the 2 values of 'who' is understood as a sex.*'weiblich'"):
        load_frame(frame.assign(who=["weiblich", "männlich"]), sex_column="who")
    with pytest.raises(ValueError, match=r"none of the 1 values of 'born' is understood as an age.*060Y"):
        load_frame(frame.assign(born=["1961-04-12", ""]), age_column="born")
    some = frame.assign(who=["female", "männlich"], born=["58", "unknown"])
    assert load_frame(some, sex_column="who", age_column="born")["sex"].tolist() == ["F", "MÄNNLICH"]
    nothing = frame.assign(who=["", "Unknown"], born=[None, "NaN"])
    assert load_frame(nothing, sex_column="who", age_column="born")["age_years"].isna().all()


def test_the_row_numbers_that_pandas_writes_are_ignored(csv):
    expected = load_table(csv, **ALL)
    pd.read_csv(csv, dtype=str).to_csv(csv)
    pd.testing.assert_frame_equal(load_table(csv, **ALL), expected)


def test_other_ways_to_go_wrong_are_said(csv, frame):
    with pytest.raises(FileNotFoundError, match=r"table: no file at '.*absent.csv'"):
        load_table(csv.parent / "absent.csv", **ASK)
    with pytest.raises(FileNotFoundError, match="root: no folder at"):
        load_table(csv, root=csv.parent / "absent", **ASK)
    with pytest.raises(TypeError, match="table must be a path or a table"):
        load_table([], **ASK)
    with pytest.raises(ValueError, match="own table has no rows"):
        load_frame(frame.head(0))
    with pytest.raises(ValueError, match=r"images.csv lacks the column\(s\) patient; it has: file, person"):
        load_table(csv, **ASK, patient_column="patient")
    with pytest.raises(ValueError, match="missing='ignore'"):
        load_frame(frame, missing="ignore")


def test_further_columns_group_the_images_and_stay_text():
    frame = pd.DataFrame({"file": ["a.png", "b.png", "c.png"], "Edema": [1, 0, 1], "Scanner": [1, 2, None],
                          "Where": ["North ", "", "South"]})  # fmt: skip
    table = load_table(
        frame, image_column="file", label_columns="Edema", missing="keep",
        group_columns={"manufacturer": "Scanner", "hospital": "Where"},
    )  # fmt: skip
    assert table["manufacturer"].tolist() == ["1", "2", ""]
    assert table["hospital"].tolist() == ["North", "", "South"]
    assert table.labels == ("Edema",)
    assert table.source.group_columns == ("manufacturer", "hospital")
    assert table.source.to_dict()["group_columns"] == ["manufacturer", "hospital"]
    assert table[table["Edema"] == 1].source.group_columns == table.source.group_columns


@pytest.mark.parametrize(
    ("group_columns", "message"),
    [({"site": "Nowhere"}, "Nowhere"), ({"view": "Scanner"}, "is taken"), ({"Edema": "Scanner"}, "is taken"),
     ({"the site": "Scanner"}, "letters, digits"), ({"site": "file"}, "60 different values")],
)  # fmt: skip
def test_group_columns_that_cannot_be_are_refused(group_columns, message):
    frame = pd.DataFrame({"file": [f"{number}.png" for number in range(60)], "Edema": 1, "Scanner": "A"})
    with pytest.raises(ValueError, match=message):
        load_table(frame, image_column="file", label_columns="Edema", missing="keep", group_columns=group_columns)
