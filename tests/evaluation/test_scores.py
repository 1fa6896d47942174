"""The table of scores: what is refused, and that a round trip through CSV changes nothing."""

import math
import pickle

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.calibration.prior_shift import estimate_prevalence, shift_probabilities
from chexkeras.evaluation.clinical_use.decision_curve import decision_curve
from chexkeras.evaluation.metrics import confusion
from chexkeras.evaluation.scores import (
    COLUMNS,
    Scores,
    patient_numbers,
    read_scores,
    scores_fingerprint,
    write_scores,
)
from chexkeras.evaluation.uncertainty.intervals import auc_interval


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
    clean = Scores.of(shuffled)
    assert tuple(clean.columns) == COLUMNS
    assert list(clean["patient_id"][:2]) == ["0", "1"]
    assert "view" in shuffled.columns


def test_reading_what_was_written_gives_the_same_floats_and_identifiers(scores, tmp_path):
    scores.loc[0, "score"] = 0.1 + 0.2
    scores.loc[1, "score"] = np.nextafter(0.7, 1)
    scores.loc[scores["patient_id"] == "00000002", "patient_id"] = "NA"
    back = read_scores(write_scores(tmp_path / "scores.csv", scores))
    pd.testing.assert_frame_equal(back, Scores.of(scores), check_exact=True)
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
        Scores.of(change(scores))


def test_something_else_than_a_table_is_refused():
    with pytest.raises(TypeError, match="not a list"):
        Scores.of([0.1, 0.2])


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


def test_checked_scores_enter_again_without_a_new_check(scores, monkeypatch):
    checked = Scores.of(scores)
    part = checked.of_finding("Edema")
    monkeypatch.setattr("chexkeras.evaluation.scores.known_labels", None)
    assert Scores.of(checked) is checked
    assert Scores.of(part) is part
    assert Scores.of(checked.copy()) is not checked
    with pytest.raises(TypeError):
        Scores.of(scores)


@pytest.mark.parametrize(
    "select",
    [
        lambda t: t[t["score"] > 0.5],
        lambda t: t[(t["finding"] == "Edema").to_numpy()],
        lambda t: t.labelled(),
        lambda t: t.of_finding("Pneumonia"),
        lambda t: t.copy(),
        lambda t: t.by_finding()["Edema"],
    ],
)
def test_rows_of_scores_are_scores(scores, select):
    rows = select(Scores.of(scores))
    assert type(rows) is Scores
    assert Scores.of(rows) is rows
    pd.testing.assert_frame_equal(pd.DataFrame(rows), select(Scores.of(scores)), check_frame_type=False)


@pytest.mark.parametrize(
    "derive",
    [
        lambda t: t[["image_id", "score"]],
        lambda t: t.drop(columns="label"),
        lambda t: t.rename(columns={"score": "logit"}),
        lambda t: t.assign(score=t["score"] * 20),
        lambda t: pd.concat([t, t]),
        lambda t: t.merge(t[["image_id", "score"]], on="image_id"),
        lambda t: t.groupby("finding")[["score"]].mean(),
        lambda t: t.pivot(index="image_id", columns="finding", values="score"),
        lambda t: t.head(3),
        lambda t: t[:3],
        lambda t: t.loc[t["score"] > 0.5],
        lambda t: t.sort_values("score"),
        lambda t: t.reset_index(),
        lambda t: t.copy(deep=False),
        lambda t: t.set_index("image_id"),
        lambda t: t.T,
    ],
)
def test_whatever_else_pandas_makes_of_scores_is_a_plain_table(scores, derive):
    checked = Scores.of(scores)
    assert type(derive(checked)) is pd.DataFrame
    assert Scores.of(checked) is checked
    pd.testing.assert_frame_equal(derive(checked), derive(pd.DataFrame(checked)))


def _assign(table, key, value):
    table[key] = value


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize(
    "change",
    [
        lambda t: _assign(t, "score", 20.0),
        lambda t: setattr(t, "score", 20.0),
        lambda t: _assign(t.loc, (0, "score"), 20.0),
        lambda t: _assign(t.iloc, (0, 4), 20.0),
        lambda t: _assign(t.at, (0, "score"), 20.0),
        lambda t: _assign(t.iat, (0, 4), 20.0),
        lambda t: t.isetitem(4, 20.0),
        lambda t: t.fillna({"label": 5.0}, inplace=True),
        lambda t: t.drop(columns="label", inplace=True),
        lambda t: t.rename(columns={"label": "truth"}, inplace=True),
        lambda t: t.pop("label"),
        lambda t: t.update(pd.DataFrame({"score": [20.0]})),
    ],
)
def test_scores_changed_in_place_are_checked_again(scores, change):
    table = Scores.of(scores)
    change(table)
    with pytest.raises(ValueError, match=r"look like logits|lacks the column|labels must be"):
        Scores.of(table)


def test_changing_a_column_taken_out_leaves_the_scores_as_they_were(scores):
    table = Scores.of(scores)
    before = table.fingerprint
    column = table["score"]
    column.iloc[0] = 20.0
    assert table.fingerprint == before


def test_scores_survive_pickling_and_are_checked_when_they_come_back(scores, monkeypatch):
    table = Scores.of(scores)
    back = pickle.loads(pickle.dumps(table))
    assert type(back) is Scores
    assert back.fingerprint == table.fingerprint == scores_fingerprint(scores)
    pd.testing.assert_frame_equal(Scores.of(back), table)
    monkeypatch.setattr("chexkeras.evaluation.scores.known_labels", None)
    with pytest.raises(TypeError):
        Scores.of(back)


def test_scores_show_and_save_like_any_table(scores, tmp_path):
    table, plain = Scores.of(scores), pd.DataFrame(Scores.of(scores))
    assert (repr(table), table._repr_html_()) == (repr(plain), plain._repr_html_())
    table.to_csv(tmp_path / "scores.csv", index=False)
    assert read_scores(tmp_path / "scores.csv").fingerprint == table.fingerprint
    assert Scores.of(table) is table


def test_arrays_hold_the_images_with_a_known_label(scores):
    found = Scores.of(scores).of_finding("Edema").arrays()
    assert found.positive.tolist() == [True, False, False, True, False]
    assert found.patient.tolist() == ["00000000", "00000001", "00000002", "00000003", "00000005"]
    assert found.score.tolist() == scores["score"][[6, 7, 8, 9, 11]].tolist()


def test_the_finding_meant_is_the_only_one_or_the_one_named(scores):
    table = Scores.of(scores)
    assert table.findings == ("Pneumonia", "Edema")
    assert table.only_finding("Edema", "threshold") == "Edema"
    assert table.of_finding("Edema").only_finding(None, "threshold") == "Edema"
    with pytest.raises(ValueError, match=r"2 findings \(Pneumonia, Edema\).* its own threshold"):
        table.only_finding(None, "threshold")
    with pytest.raises(ValueError, match="finding='Mass'"):
        table.only_finding("Mass", "threshold")


def mixed_patients():
    """50 patients of two images, on one row a whole number, on the other a float or a text with a blank."""
    return [(int, float, lambda n: f"{n} ")[row % 3](row // 2) for row in range(100)]


def test_a_patient_written_in_two_ways_is_one_patient():
    patients = np.repeat(np.arange(50), 2)
    kept = np.ones(100, dtype=bool)
    for given in (mixed_patients(), np.array(mixed_patients(), dtype=object), pd.Series(mixed_patients())):
        assert patient_numbers(given, kept).max() == 49
    assert patient_numbers(patients * 1.0, kept).tolist() == patients.tolist()
    assert patient_numbers(pd.Series(patients, dtype="Int64"), kept).max() == 49
    with pytest.raises(ValueError, match=r"clusters holds both '1' and '1.0'"):
        patient_numbers(["1", "1.0", "2"], np.ones(3, dtype=bool))
    with pytest.raises(ValueError, match="2 of 3 clusters are missing"):
        patient_numbers(["1", " ", None], np.ones(3, dtype=bool))


def test_an_interval_is_as_wide_however_patients_are_written():
    rng = np.random.default_rng(0)
    labels = np.r_[np.ones(40), np.zeros(60)]
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.15), 0, 1)
    plain = auc_interval(labels, scores, clusters=np.arange(100) // 2)
    assert auc_interval(labels, scores, clusters=mixed_patients()) == plain
    assert "of 50 patients" in plain.method


def test_a_table_put_together_of_others_keeps_its_patients(scores):
    numbers = [int, float, str, lambda n: f" {n}"]
    mixed = scores.assign(patient_id=[numbers[row % 4](row % 3) for row in range(12)], image_id=[*range(6), *"012345"])
    clean = Scores.of(mixed.assign(patient_id=[*mixed["patient_id"][:6]] * 2))
    assert sorted(set(clean["patient_id"])) == ["0", "1", "2"]
    assert clean["image_id"].tolist() == [*"012345"] * 2
    raw = mixed.assign(image_id=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0] * 2)
    assert scores_fingerprint(raw) == scores_fingerprint(clean)
    with pytest.raises(ValueError, match=r"patient_id holds both '1' and '1.0'"):
        Scores.of(scores.assign(patient_id=["1", "1.0", "2", "3", "4", "5"] * 2))
    with pytest.raises(ValueError, match=r"12 row\(s\) .* no patient_id"):
        Scores.of(scores.assign(patient_id=" "))


def test_what_rounding_put_outside_0_and_1_is_drawn_in_and_logits_are_refused(scores):
    scores.loc[0, "score"], scores.loc[1, "score"] = 1 + 1e-12, -1e-7
    scores.loc[2, "score"] = np.float32(1.0000001)
    clean = Scores.of(scores)
    assert clean["score"][:3].tolist() == [1.0, 0.0, 1.0]
    assert clean["score"][3:].tolist() == scores["score"][3:].tolist()
    assert Scores.of(clean) is clean
    with pytest.raises(ValueError, match="look like logits"):
        Scores.of(scores.assign(score=[1 + 1e-5, *scores["score"][1:]]))
    labels, given = [1, 0, 1, 0], [1 + 1e-9, -1e-9, 0.7, 0.4]
    exact = np.clip(given, 0, 1)
    assert confusion(labels, given, 1.0) == confusion(labels, exact, 1.0)
    assert decision_curve(labels, given, thresholds=[0.5]).to_dict() == (
        decision_curve(labels, exact, thresholds=[0.5]).to_dict()
    )
    assert shift_probabilities(given, from_prevalence=0.5, to_prevalence=0.1).tolist() == (
        shift_probabilities(exact, from_prevalence=0.5, to_prevalence=0.1).tolist()
    )
    moved = estimate_prevalence(given, train_prevalence=0.5, replicates=5).scores
    assert moved.min() >= 0 and moved.max() <= 1
    with pytest.raises(ValueError, match="look like logits"):
        confusion(labels, [1.1, 0.1, 0.7, 0.4], 0.5)
