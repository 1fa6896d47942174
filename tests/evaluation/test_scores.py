"""The table of scores: what is refused, and that a round trip through CSV changes nothing."""

import math

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.scores import COLUMNS, check_scores, read_scores, scores_fingerprint, write_scores


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "image_id": [f"{n:08d}_000.png" for n in range(6)] * 2,
            "patient_id": [f"{n:08d}" for n in range(6)] * 2,
            "finding": ["Pneumonia"] * 6 + ["Edema"] * 6,
            "label": [1, 0, 0, 1, math.nan, 0] * 2,
            "score": rng.random(12),
        }
    )


def test_a_good_table_comes_back_in_column_order_without_the_rest(scores):
    shuffled = scores.assign(view="PA", patient_id=lambda t: t["patient_id"].astype(int))[
        ["score", "view", "label", "finding", "patient_id", "image_id"]
    ]
    clean = check_scores(shuffled)
    assert tuple(clean.columns) == COLUMNS
    assert list(clean["patient_id"][:2]) == ["0", "1"]
    assert "view" in shuffled.columns


def test_reading_what_was_written_gives_the_same_floats_and_identifiers(scores, tmp_path):
    scores.loc[0, "score"] = 0.1 + 0.2
    scores.loc[1, "score"] = np.nextafter(0.7, 1)
    scores.loc[scores["patient_id"] == "00000002", "patient_id"] = "NA"
    back = read_scores(write_scores(tmp_path / "scores.csv", scores))
    pd.testing.assert_frame_equal(back, check_scores(scores), check_exact=True)
    assert scores_fingerprint(back) == scores_fingerprint(scores)


def test_patient_numbers_keep_their_leading_zeros(scores, tmp_path):
    back = read_scores(write_scores(tmp_path / "scores.csv", scores))
    assert list(back["patient_id"][:2]) == ["00000000", "00000001"]


def test_float32_scores_keep_their_fingerprint_through_csv(scores, tmp_path):
    scores["score"] = scores["score"].astype("float32")
    back = read_scores(write_scores(tmp_path / "scores.csv", scores))
    assert scores_fingerprint(back) == scores_fingerprint(scores)


def test_fingerprint_ignores_row_order_and_other_columns_but_nothing_else(scores):
    part = scores[scores["finding"] == "Pneumonia"]
    fingerprint = scores_fingerprint(part)
    assert scores_fingerprint(part.sample(frac=1, random_state=1).assign(view="PA")) == fingerprint
    for column, value in (("score", 0.5), ("label", 0.0), ("image_id", "other.png")):
        changed = part.copy()
        changed.loc[0, column] = value
        assert scores_fingerprint(changed) != fingerprint, column
    smallest = part.copy()
    smallest.loc[0, "score"] = np.nextafter(part.loc[0, "score"], 1)
    assert scores_fingerprint(smallest) != fingerprint


def test_fingerprint_of_several_findings_tells_them_apart(scores):
    swapped = scores.assign(finding=["Edema"] * 6 + ["Pneumonia"] * 6)
    assert scores_fingerprint(swapped) != scores_fingerprint(scores)


def test_fingerprint_is_the_same_tomorrow():
    table = pd.DataFrame({"image_id": ["a.png", "b.png"], "label": [1, math.nan], "score": [0.1, 0.25]})
    assert scores_fingerprint(table) == "7a3bd2a08f6ed2b8eae0e69edd9a5144194a527e846022cd499ca34fd9803d7e"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="label"), r"lacks the column\(s\) label"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: pd.concat([t, t.iloc[[7]]]), "00000001_000.png for Edema"),
        (lambda t: t.assign(patient_id=[*t["patient_id"][:-1], "x"]), "two patients, first 00000005_000.png"),
        (lambda t: t.assign(patient_id=[None, *t["patient_id"][1:]]), r"1 row\(s\) .* no patient_id"),
        (lambda t: t.assign(image_id=["", *t["image_id"][1:]]), "no image_id"),
        (lambda t: t.assign(label=t["label"].replace(0, -1)), "Pneumonia: labels must be 1, 0 or NaN"),
        (lambda t: t.assign(score=[*t["score"][:-1], math.nan]), "Edema: 1 of 6 scores are NaN"),
        (lambda t: t.assign(score=t["score"] * 6 - 3), "Pneumonia: scores run from .* look like logits"),
        (lambda t: t.assign(score="high"), "score column .* not numeric"),
    ],
)
def test_a_bad_table_is_refused_in_words(scores, change, message):
    with pytest.raises(ValueError, match=message):
        check_scores(change(scores))


def test_something_else_than_a_table_is_refused():
    with pytest.raises(TypeError, match="is a list"):
        check_scores([0.1, 0.2])


def test_a_missing_or_empty_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="scores: no file"):
        read_scores(tmp_path / "scores.csv")
    (tmp_path / "scores.csv").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        read_scores(tmp_path / "scores.csv")


def test_text_among_the_scores_of_a_file_is_refused(scores, tmp_path):
    scores.assign(score="high").to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(ValueError, match=r"scores\.csv: the score column is not numeric"):
        read_scores(tmp_path / "scores.csv")


def test_a_bad_table_is_not_written(scores, tmp_path):
    with pytest.raises(ValueError, match="look like logits"):
        write_scores(tmp_path / "scores.csv", scores.assign(score=2.0))
    assert not (tmp_path / "scores.csv").exists()
