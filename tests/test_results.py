"""Results: what a reader sees, and JSON both ways, NaN included."""

import json
import math

import pytest

from chexkeras.results import Estimate, Evaluation, FindingEvaluation, OperatingPoint

AUROC = Estimate(0.8734, 0.8123, 0.9171, n=120, method="DeLong")
NOTHING = Estimate.not_estimable("no positives", n=7)


def operating_point(**changes):
    fields = {
        "finding": "Pneumonia",
        "threshold": 0.1 + 0.2,
        "rule": "sensitivity",
        "target": 0.8,
        "chosen_on": "validation",
        "scores_fingerprint": "ab" * 32,
        "n_positive": 20,
        "n_negative": 100,
        "sensitivity": Estimate(0.8, 0.56, 0.94, n=20, method="Clopper-Pearson"),
        "specificity": NOTHING,
        "note": "It guarantees nothing.",
    }
    return OperatingPoint(**{**fields, **changes})


def finding_evaluation(finding="Pneumonia", point=None, **changes):
    counts = (16, 4, 30, 70) if point else (None,) * 4
    names = ("prevalence", "auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv")
    return FindingEvaluation(
        finding=finding,
        n_images=120,
        n_patients=80,
        n_positive=20,
        n_negative=100,
        operating_point=point,
        true_positives=counts[0],
        false_negatives=counts[1],
        false_positives=counts[2],
        true_negatives=counts[3],
        **{**dict.fromkeys(names, AUROC), **changes},
    )


@pytest.fixture
def evaluation():
    findings = (
        finding_evaluation("Pneumonia", operating_point(), npv=NOTHING),
        finding_evaluation("Edema", sensitivity=NOTHING),
    )
    return Evaluation("test", "cd" * 32, findings, ("Synthetic images, not clinical evidence.",))


def test_an_estimate_reads_as_value_and_interval():
    assert str(AUROC) == "0.873 (95 % CI 0.812-0.917)"
    assert str(Estimate(0.5, 0.25, 0.75, confidence=0.975)) == "0.500 (97.5 % CI 0.250-0.750)"


def test_what_cannot_be_estimated_reads_as_its_reason():
    assert not NOTHING.estimable
    assert str(NOTHING) == "not estimable: no positives"
    assert all(math.isnan(number) for number in (NOTHING.value, NOTHING.low, NOTHING.high))


def test_results_are_frozen():
    with pytest.raises(AttributeError):
        AUROC.value = 1.0
    with pytest.raises(AttributeError):
        operating_point().threshold = 0.5


@pytest.mark.parametrize("estimate", [AUROC, NOTHING])
def test_estimate_survives_a_dictionary(estimate):
    assert repr(Estimate.from_dict(estimate.to_dict())) == repr(estimate)


def test_operating_point_survives_json_with_its_exact_threshold():
    point = operating_point(target=None)
    text = json.dumps(point.to_dict()).replace("NaN", "null")
    back = OperatingPoint.from_dict(json.loads(text))
    assert back.threshold == 0.30000000000000004
    assert repr(back) == repr(point)
    assert back.inequality == "score >= threshold"


def test_evaluation_survives_strict_json_including_what_is_nan_or_none(evaluation, tmp_path):
    path = evaluation.save(tmp_path / "new folder" / "evaluation.json")
    assert "NaN" not in path.read_text()
    back = Evaluation.load(path)
    assert repr(back) == repr(evaluation)
    assert math.isnan(back["Pneumonia"].npv.value)
    assert back["Edema"].operating_point is None
    assert back["Edema"].true_positives is None
    assert isinstance(back.cautions, tuple)


def test_a_finding_that_was_not_evaluated_is_named_with_those_that_were(evaluation):
    assert evaluation["Edema"].finding == "Edema"
    with pytest.raises(KeyError, match=r"'Mass' was not evaluated; .* There are: Pneumonia, Edema"):
        evaluation["Mass"]


def test_the_table_for_readers_has_an_interval_or_a_reason_in_every_cell(evaluation):
    frame = evaluation.to_frame().set_index("finding")
    assert list(frame.index) == ["Pneumonia", "Edema"]
    assert frame.loc["Pneumonia", "AUROC"] == "0.873 (95 % CI 0.812-0.917)"
    assert frame.loc["Pneumonia", "NPV"] == "not estimable: no positives"
    assert list(frame["threshold"]) == ["0.3", "none chosen"]


def test_the_notebook_view_shows_split_and_cautions_and_escapes_them(evaluation):
    view = Evaluation("te<st", "", evaluation.findings, ("a < b",))._repr_html_()
    assert "te&lt;st part" in view
    assert "<strong>Caution:</strong> a &lt; b" in view
    assert "0.873" in view


def test_an_interval_that_few_patients_carry_says_so_beside_the_number():
    method = "Clopper-Pearson at the effective sample size 6.1; 90 images of 12 patients; interval approximate: worth 8"
    few = Estimate(0.9, 0.6, 0.99, n=90, method=f"{method} patients, clustered by patient; seed 0")
    assert few.caution == "approximate: worth 8 patients"
    assert str(few) == "0.900 (95 % CI 0.600-0.990; approximate: worth 8 patients)"
    assert Estimate(0.9, 0.6, 0.99, n=90, method="Clopper-Pearson").caution == ""
    assert Estimate.not_estimable("no positives", method=few.method).caution == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold": "0.5"}, "threshold is a str, a number was expected"),
        ({"threshold": True}, "threshold is true or false, a number was expected"),
        ({"threshold": None}, "threshold is null"),
        ({"threshold": -0.1}, "outside of the scores"),
        ({"n_positive": 2.5}, "n_positive is a float, a whole number was expected"),
        ({"finding": ["a"]}, "finding is a list, text was expected"),
        ({"sensitivity": [1, 2]}, "data must be a dict, not a list"),
        ({"sensitivity": {"value": {}, "low": 0, "high": 1}}, "value is a dict, a number was expected"),
        ({"sensitivity": {"value": 1, "low": 0, "high": 1, "confidence": 95}}, "has the confidence 95"),
    ],
)
def test_values_of_another_kind_are_refused_when_read(change, said):
    with pytest.raises(ValueError, match=said):
        OperatingPoint.from_dict(operating_point().to_dict() | change)
