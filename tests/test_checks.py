"""Argument checks: each returns a clean value or says what came, what was expected and how to fix it."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chexkeras import checks


def test_one_of_returns_the_value_or_names_the_choices():
    assert checks.one_of("b", ("a", "b"), "letter") == "b"
    with pytest.raises(ValueError, match=r"letter='gama'; did you mean 'gamma.\?.* Expected one of: alpha, gamma"):
        checks.one_of("gama", ("alpha", "gamma"), "letter")
    with pytest.raises(ValueError, match="nothing similar is known"):
        checks.one_of("zzz", ("alpha",), "letter")


def test_nearest_ignores_case():
    assert checks.nearest("EDEMA", ["Edema", "Mass"]) == "did you mean 'Edema'?"


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25)])
def test_a_probability_is_returned_as_a_float(value):
    assert checks.probability(value, "target") == float(value)
    assert type(checks.probability(value, "target")) is float


@pytest.mark.parametrize("value", [-0.1, 1.1, 90, math.nan, math.inf, "many", "0.5", None])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(ValueError, match="target="):
        checks.probability(value, "target")


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0])
def test_an_open_interval_excludes_its_ends(value):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        checks.probability(value, "confidence", open_interval=True)


@pytest.mark.parametrize("value", [1, 7, np.int64(7)])
def test_a_positive_whole_number_is_returned_as_an_int(value):
    assert type(checks.positive_int(value, "batch_size")) is int


@pytest.mark.parametrize("value", [0, -1, 2.0, "2", True, None, math.nan])
def test_what_is_no_positive_whole_number_is_refused(value):
    with pytest.raises(ValueError, match=r"batch_size=.* whole number of at least 1"):
        checks.positive_int(value, "batch_size")


def test_all_missing_columns_are_named_at_once():
    frame = pd.DataFrame({"a": [1], "b": [2]})
    checks.require_columns(frame, ["a", "b"], "table", "")
    with pytest.raises(ValueError, match=r"scores\.csv lacks the column\(s\) c, d; it has: a, b\. Export it again\."):
        checks.require_columns(frame, ["a", "c", "d"], "scores.csv", "Export it again.")


def test_a_folder_must_exist_and_be_a_folder(tmp_path):
    assert checks.existing_folder(str(tmp_path), "root") == tmp_path
    with pytest.raises(FileNotFoundError, match=r"root: no folder at .*missing"):
        checks.existing_folder(tmp_path / "missing", "root")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file, a folder was expected"):
        checks.existing_folder(tmp_path / "file", "root")


def test_a_file_must_exist_and_be_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    assert checks.existing_file(str(tmp_path / "file"), "weights") == tmp_path / "file"
    for wrong in (tmp_path / "missing", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"weights: no file at .*; download it first\."):
            checks.existing_file(wrong, "weights", "download it first.")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, and another folder to be in."""
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def test_a_tilde_that_was_typed_means_the_home_folder(home):
    assert checks.typed_path("~/images", "root") == home / "images"
    assert checks.typed_path("~", "root") == home
    # No such user: nothing to expand, and no error of another kind.
    assert checks.typed_path("~no such user/a.png", "root").parts[-2:] == ("~no such user", "a.png")
    for given in ("images", Path("images"), home / "~"):
        assert checks.typed_path(given, "root") == Path(given)


def test_a_folder_whose_name_begins_with_a_tilde_is_taken_by_its_name(home):
    Path("~", "images").mkdir(parents=True)
    assert checks.typed_path("~/images", "root") == Path("~/images").absolute()
    (home / "images").mkdir()
    with pytest.raises(ValueError, match=r"root: '~/images' is here under this name, and in a home folder too"):
        checks.typed_path("~/images", "root")
    typed = checks.typed_path("./~/images", "root")
    assert typed == checks.typed_path(typed, "root") == Path("~/images").absolute()


def test_a_path_that_exists_is_checked_as_it_is_written(home):
    (home / "a.png").write_text("")
    for check in (checks.existing_file, checks.existing_folder):
        with pytest.raises(FileNotFoundError):
            check("~/a.png", "path")
    Path("~").mkdir()
    Path("~/a.png").write_text("")
    assert checks.existing_file("~/a.png", "path") == Path("~/a.png")
    assert checks.existing_folder("~", "path") == Path("~")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 1.0, "1", " 1 ", np.int8(1), np.float64(1)], ["1"] * 6),
        (pd.Series([7, None, 8]), ["7", None, "8"]),
        (pd.Series([7, None, 8], dtype="Int64"), ["7", None, "8"]),
        (np.array(["a ", "\ta", "b"]), ["a", "a", "b"]),
        (["001", "1", "1.5", 1.5, "v1.0"], ["001", "1", "1.5", "1.5", "v1.0"]),
        ([b"p7", "p7"], ["p7", "p7"]),
        (["1.0", "2.0"], ["1.0", "2.0"]),
        (pd.Categorical(["x", None, "x "]), ["x", None, "x"]),
        ([" ", ""], ["", ""]),
    ],
)
def test_identifiers_are_text_and_each_is_written_one_way(values, expected):
    assert checks.identifiers(values, "patient_id").tolist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "1.0"], "patient_id holds both '1' and '1.0', which may be one or two; write each identifier in one way"),
        (["2.00", "2.0"], "holds both '2.0' and '2.00'"),
        (np.array([1.0, np.inf]), "the number inf, which a float64 does not tell from its neighbours; read the column"),
        (np.array([2.0**54]), "1.80144e.16, which a float64"),
        (np.array([2.0**26], dtype=np.float32), "6.71089e.07, which a float32"),
        ([["a"], ["b"]], "neither text nor numbers"),
        (np.zeros((2, 2)), r"shape \(2, 2\); expected one column"),
        ("abc", r"shape \(\); expected one column"),
    ],
)
def test_identifiers_that_could_be_one_or_two_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        checks.identifiers(values, "patient_id")


@pytest.mark.parametrize(
    "values",
    [["yes", "no"], {1: 2}, {0.5}, [[1], [2, 3]], [1j, 2], np.array([1j]), pd.to_datetime(["2020-01-01"]), [10**400]],
)
def test_what_is_no_number_is_refused_by_name(values):
    with pytest.raises(ValueError, match="scores are"):
        checks.numbers(values, "scores")


def test_numbers_are_float64_whatever_holds_them():
    for values in ([True, 0], ("1", "0"), pd.Series([1, 0], dtype="Int64"), pd.Series([1, 0]).astype("category")):
        assert checks.numbers(values, "labels").tolist() == [1.0, 0.0]
    assert math.isnan(checks.numbers(pd.Series([pd.NA], dtype="Int64"), "labels")[0])


def test_a_column_that_is_needed_stands_once():
    frame = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "b"])
    checks.require_columns(frame, ["a"], "the table", "")
    with pytest.raises(ValueError, match=r"the table has more than one column for b; keep one of each\."):
        checks.require_columns(frame, ["a", "b"], "the table", "")
