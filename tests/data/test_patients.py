"""One patient however the number is written: one, or an error, never two without a word."""

import numpy as np
import pandas as pd
import pytest

from chexkeras import checks
from chexkeras.data.datasets.custom import load_table
from chexkeras.data.datasets.nih import load_nih
from chexkeras.data.image_table import ImageTable
from chexkeras.data.splits.splits import Splits
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.evaluation.scores import Scores

ONE = [[1, 1.0, " 1"], ["1", 1, "1\u200b"], ["\ufeff1", np.float32(1), "\xa01 "], [b"1", np.int8(1), "1\t"]]
EITHER = [
    ["1", "1.0"],
    ["1", "01"],
    [1, "00001"],
    ["1000", "1e3"],
    ["1E3", 1000],
    ["+1", "1"],
    ["1.50", "1.5"],
    ["1", "1,0"],
    ["\u0661", "1"],
]
ROUNDED = [["1.23E+05", "7"], ["2E+11"], ["1,2E+5"]]
TWO = [["1", "2"], ["p1", "1"], ["1a", "1"], ["1", "10"], ["12e5", "12"], ["P1", "p2"]]


def image_table(patients):
    return pd.DataFrame(
        {"image_id": [f"{row}.png" for row in range(len(patients))], "patient_id": pd.Series(patients, dtype=object)}
    ).assign(Edema=0.0)


def by_table(patients):
    return ImageTable.of(image_table(patients))["patient_id"]


def by_frame(patients):
    given = image_table(patients).rename(columns={"patient_id": "who", "image_id": "file"})
    return load_table(given, image_column="file", label_columns="Edema", patient_column="who", missing="keep")[
        "patient_id"
    ]


def by_scores(patients):
    return Scores.of(image_table(patients).assign(finding="Edema", label=1.0, score=0.5))["patient_id"]


WAYS = pytest.mark.parametrize("read", [by_table, by_frame, by_scores], ids=["table", "frame", "scores"])


@WAYS
@pytest.mark.parametrize("patients", ONE)
def test_one_patient_written_in_several_ways_is_one(read, patients):
    assert read(patients).tolist() == ["1"] * len(patients)


@WAYS
@pytest.mark.parametrize("patients", EITHER)
def test_what_may_be_one_patient_or_two_is_refused_with_both_names(read, patients):
    with pytest.raises(ValueError, match=r"holds both '.*' and '.*', which .*may be one (patient )?or two"):
        read(patients)


@WAYS
@pytest.mark.parametrize("patients", ROUNDED)
def test_numbers_that_a_spreadsheet_has_rounded_are_refused(read, patients):
    with pytest.raises(ValueError, match=r"E\+\d+', a number that a spreadsheet has rounded"):
        read(patients)


@WAYS
@pytest.mark.parametrize("patients", TWO)
def test_two_patients_stay_two(read, patients):
    assert read(patients).nunique() == 2


@pytest.mark.parametrize("missing", ["nan", "NaN", "None", "<NA>", "NaT", np.nan, None, pd.NA])
def test_what_was_written_for_a_missing_patient_is_no_patient(missing):
    assert checks.patient_identifiers(["7", missing], "patient_id").tolist() == ["7", None]
    for read in (by_frame, by_scores):
        with pytest.raises(ValueError, match="have no patient"):
            read(["7", missing])


def test_a_csv_is_judged_as_a_frame_is(tmp_path):
    for rows, message in (("a.png,1,0\nb.png,001,1\n", "one number"), ("a.png,1,0\nb.png,1.0,1\n", "decimal point")):
        (tmp_path / "own.csv").write_text(f"file,who,Edema\n{rows}")
        with pytest.raises(ValueError, match=message):
            load_table(
                tmp_path / "own.csv", image_column="file", label_columns="Edema", patient_column="who", missing="keep"
            )


def test_tables_put_together_after_they_were_checked_are_judged_when_they_are_split():
    first = ImageTable.of(image_table([str(number) for number in range(10)]))
    second = ImageTable.of(image_table([f"{number:03d}" for number in range(10)]).assign(Edema=1.0))
    second["image_id"] = "b" + second["image_id"]
    with pytest.raises(ValueError, match="one number and may be one patient or two"):
        split_by_patient(pd.concat([first, second], ignore_index=True), "Edema")


def test_an_assignment_of_ones_own_names_patients_as_the_table_does():
    table = ImageTable.of(image_table(["1", "2", "3"]))
    given = pd.DataFrame(
        {"image_id": table["image_id"], "patient_id": [1, 2.0, " 3"], "part": ["train", "validation", "test"]}
    )
    made = Splits("patient", 0, ("Edema",), (), table, given)
    assert made.assignment["patient_id"].tolist() == ["1", "2", "3"]
    with pytest.raises(ValueError, match="holds both"):
        Splits("patient", 0, ("Edema",), (), table, given.assign(patient_id=["1", "01", "3"]))


def test_numbers_of_nih_are_one_patient_with_zeros_before_and_decimals_behind(nih):
    path = nih.root / "Data_Entry_2017_v2020.csv"
    lines = path.read_text().splitlines()
    written = {1: "00000001", 2: "1.0", 3: "2", 4: "3.0"}
    for line, patient in written.items():
        cells = lines[line].split(",")
        lines[line] = ",".join([*cells[:3], patient, *cells[4:]])
    path.write_text("\n".join(lines))
    assert load_nih(nih.root)["patient_id"].tolist() == ["1", "1", "2", "3"]
