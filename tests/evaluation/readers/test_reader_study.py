"""The reader study as a table: what is accepted, what is refused and how, and which design is found in it."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.readers.reader_study import ReaderStudy, read_reader_study


def table(readers=("A", "B"), modalities=("aided", "unaided"), images=6, groups=None, seed=0):
    """Returns readings of images 0, 1, ...; a third of them positive; modalities of one group share their images."""
    rng, rows = np.random.default_rng(seed), []
    for number, modality in enumerate(modalities):
        first = images * (groups or (0,) * len(modalities))[number]
        for reader in readers:
            for image in range(first, first + images):
                rating = int(rng.integers(1, 6))
                rows.append({"reader": reader, "modality": modality, "image_id": f"i{image}",
                             "truth": int(image % 3 == 0), "rating": rating})  # fmt: skip
    return pd.DataFrame(rows)


def test_a_csv_with_other_column_names_is_read(tmp_path):
    path = tmp_path / "study.csv"
    given = table().rename(columns={"modality": "treatment", "image_id": " case"}).assign(comment="x")
    # As a spreadsheet writes it: with a byte order mark.
    given.to_csv(path, index=False, encoding="utf-8-sig")
    study = read_reader_study(path, columns={"modality": "treatment", "image_id": "case"})
    assert str(study) == "2 readers, 2 modalities, 6 images of 6 patients (2 positive), fully crossed"
    assert study.readers == ("A", "B")
    assert study.modalities == ("aided", "unaided")
    pd.testing.assert_frame_equal(study.to_frame(), ReaderStudy.of(table()).to_frame())


def test_names_are_text_without_spaces_around_them_and_numbers_count_as_numbers():
    given = table(readers=(10, 9, 2)).astype({"reader": object})
    given.loc[given["reader"] == 9, "reader"] = " 9 "
    assert ReaderStudy.of(given).readers == ("2", "9", "10")


def test_a_patient_written_in_two_ways_is_one():
    given = table(modalities=("film",)).assign(patient_id=[1, 2, 3, 4, 5, 6, 1.0, "2 ", 3, 4, 5, 6])
    assert str(ReaderStudy.of(given)).startswith("2 readers, 1 modality, 6 images of 6 patients")
    with pytest.raises(ValueError, match=r"patient_id holds both '1' and '1.0'"):
        ReaderStudy.of(given.assign(patient_id=["1", "2", "3", "4", "5", "6", "1.0", "2", "3", "4", "5", "6"]))


def test_identifiers_in_a_csv_keep_their_zeros(tmp_path):
    given = table(readers=("01", "1")).assign(image_id=lambda rows: "NA" + rows["image_id"].str[1:])
    given.to_csv(tmp_path / "study.csv", index=False)
    assert read_reader_study(tmp_path / "study.csv").readers == ("01", "1")


def test_the_order_of_rows_does_not_matter():
    given = table(images=9)
    one, other = ReaderStudy.of(given), ReaderStudy.of(given.sample(frac=1, random_state=4))
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame())


def test_a_study_is_made_again_from_its_own_rows():
    study = ReaderStudy.of(table())
    pd.testing.assert_frame_equal(ReaderStudy.of(study.to_frame()).to_frame(), study.to_frame())


def test_readings_lie_image_by_image_for_every_reader():
    given = table()
    parts = ReaderStudy.of(given.sample(frac=1, random_state=1)).readings()
    assert [part.modality for part in parts] == ["aided", "unaided"]
    part = parts[1]
    own = given[(given["modality"] == "unaided") & (given["reader"] == "B")].sort_values("image_id")
    np.testing.assert_array_equal(part.ratings[1], own["rating"])
    np.testing.assert_array_equal(part.positive, own["truth"] == 1)


@pytest.mark.parametrize(
    ("groups", "design"),
    [((0, 0, 0), "fully crossed"), ((0, 1, 2), "nested in modality"), ((0, 1, 1), "partly nested")],
)
def test_the_design_is_found_in_the_patients(groups, design):
    study = ReaderStudy.of(table(modalities=("a", "b", "c"), groups=groups))
    assert study.design == design
    assert study.cautions == ()
    shared = {part.modality: set(part.patient.tolist()) for part in study.readings()}
    assert (shared["b"] == shared["c"]) == (groups[1] == groups[2])


def test_other_images_of_the_same_patients_are_a_crossed_design():
    given = table(groups=(0, 1))
    given["patient"] = "p" + (given["image_id"].str[1:].astype(int) % 6).astype(str)
    assert ReaderStudy.of(given).design == "nested in modality"
    assert ReaderStudy.of(given, columns={"patient_id": "patient"}).design == "fully crossed"


def test_one_modality_is_a_design_of_its_own():
    assert ReaderStudy.of(table(modalities=("film",))).design == "single modality"


def test_modalities_that_share_some_patients_are_told():
    given = table()
    study = ReaderStudy.of(given[(given["modality"] == "aided") | (given["image_id"] != "i5")])
    assert study.design == "partly nested"
    assert study.cautions == ("aided and unaided share 5 of 6 patients; the others were seen in one of them only.",)


def test_a_reader_who_left_out_images_is_named_with_what_to_do():
    given = table()
    given.loc[(given["reader"] == "B") & (given["modality"] == "aided") & given["image_id"].isin(["i1", "i4"]),
              "rating"] = np.nan  # fmt: skip
    with pytest.raises(ValueError, match=r"B lacks 2 of 6 images in aided, first i1\. .* missing=\"drop\""):
        ReaderStudy.of(given)
    study = ReaderStudy.of(given, missing="drop")
    assert str(study).startswith("2 readers, 2 modalities, 4 images")
    assert study.design == "fully crossed"
    assert study.cautions[0].startswith("2 of 6 images were left out because some readers had not read them")


def test_an_empty_reading_in_a_csv_is_one_not_made(tmp_path):
    given = table().astype({"rating": object})
    given.loc[0, "rating"] = "NA"
    given.to_csv(tmp_path / "study.csv", index=False)
    with pytest.raises(ValueError, match="A lacks 1 of 6 images in aided, first i0"):
        read_reader_study(tmp_path / "study.csv")


def test_a_reader_who_read_nothing_in_a_modality_is_refused():
    given = table()
    given = given[(given["reader"] == "A") | (given["modality"] == "aided")]
    with pytest.raises(ValueError, match="B read nothing in unaided; every reader must read in every modality"):
        ReaderStudy.of(given, missing="drop")


def test_findings_are_taken_apart():
    given = pd.concat([table().assign(finding="Edema"), table(seed=1).assign(finding="Effusion")])
    study = ReaderStudy.of(given)
    assert study.findings == ("Edema", "Effusion")
    assert "2 findings" in str(study)
    with pytest.raises(ValueError, match=r"study.of_finding\(...\), or analyse all together with mrmc_all"):
        study.readings()
    one = study.of_finding("Effusion").readings()[0]
    np.testing.assert_array_equal(one.ratings, ReaderStudy.of(table(seed=1)).readings()[0].ratings)
    with pytest.raises(ValueError, match="did you mean 'Effusion'"):
        study.of_finding("Efusion")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop(columns="truth"), "lacks the column.* truth"),
        (lambda rows: rows.iloc[:0], "has no rows"),
        (lambda rows: rows.assign(rating=np.nan), "has no rating"),
        (lambda rows: rows.assign(reader=[" ", *rows["reader"][1:]]), "1 row.* have no reader"),
        (lambda rows: rows.assign(image_id=[None, *rows["image_id"][1:]]), "1 row.* have no image_id"),
        (lambda rows: rows.assign(truth=[2, *rows["truth"][1:]]), "no truth of 1 or 0, first 2 for image i0"),
        (lambda rows: rows.assign(truth=[None, *rows["truth"][1:]]), "no truth of 1 or 0, first nan for image i0"),
        (lambda rows: rows.assign(truth=[1 - rows["truth"][0], *rows["truth"][1:]]), "more than one truth, first i0"),
        (lambda rows: rows.assign(rating=["high", *rows["rating"][1:]]), "rating column .* is not numeric"),
        (lambda rows: rows.assign(rating=[np.inf, *rows["rating"][1:]]), "ratings must be finite"),
        (lambda rows: pd.concat([rows, rows[:1]]), "1 reading.* stand twice, first that of image i0 by reader A in"),
        (lambda rows: rows.assign(patient_id=range(len(rows))), "more than one patient_id, first i0"),
    ],
)  # fmt: skip
def test_what_is_no_reader_study_is_refused(spoil, message):
    with pytest.raises(ValueError, match=message):
        ReaderStudy.of(spoil(table()))


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(TypeError, match="table must be a table"):
        ReaderStudy.of([1, 2])
    with pytest.raises(ValueError, match="key of columns='reeder'; did you mean 'reader'"):
        ReaderStudy.of(table(), columns={"reeder": "reader"})
    with pytest.raises(ValueError, match=r"lacks the column.* case"):
        ReaderStudy.of(table(), columns={"image_id": "case"})
    with pytest.raises(ValueError, match="missing='skip'"):
        ReaderStudy.of(table(), missing="skip")
    with pytest.raises(FileNotFoundError, match="reader study: no file"):
        read_reader_study(tmp_path / "nothing.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        read_reader_study(tmp_path / "empty.csv")


def test_what_a_caller_does_to_the_rows_does_not_reach_the_study():
    study = ReaderStudy.of(table())
    rows = study.to_frame()
    rows["rating"] = 0
    assert study.to_frame()["rating"].max() > 1


def test_numbers_too_long_for_python_to_read_stand_in_their_order():
    names = ("9" * 5000, "1" + "0" * 5000, "reader 9", "reader 10")
    assert ReaderStudy.of(table(readers=names)).readers == names


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("truth", "yes", "truth column.*give 1 where the finding is there and 0 where not"),
        ("rating", "1,5", "rating column.*decimals with a point"),
        ("rating", pd.Timestamp("2020-01-01"), "rating column.*not numeric: it holds datetime64"),
        ("rating", 1j, "rating column.*not numeric: it holds complex128"),
        ("rating", 10**400, "rating column.*not numeric"),
    ],
)
def test_what_is_no_number_is_refused_with_what_to_write(column, value, message):
    given = table()
    given[column] = pd.Series([value] * len(given), dtype=object if column == "truth" or value == 10**400 else None)
    with pytest.raises(ValueError, match=message):
        ReaderStudy.of(given)


def test_a_column_that_stands_twice_is_refused():
    given = table()
    with pytest.raises(ValueError, match="more than one column for rating"):
        ReaderStudy.of(pd.concat([given, given[["rating"]]], axis=1))


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_file_with_other_separators_says_which(tmp_path, mark, name):
    table().to_csv(tmp_path / "study.csv", sep=mark, index=False)
    with pytest.raises(ValueError, match=f"separates its columns by {name}; save it with commas"):
        read_reader_study(tmp_path / "study.csv")


def test_a_finding_cannot_be_chosen_where_none_is_named():
    with pytest.raises(ValueError, match="has no column finding"):
        ReaderStudy.of(table()).of_finding("Effusion")
