"""What the page tells of a run: the same numbers as the library's, no identifier, and JSON both ways."""

import json

import numpy as np
import pytest

from chexkeras.evaluation.clinical_use.deployment import deployment_from_outcomes
from chexkeras.evaluation.clinical_use.triage import triage_effect
from chexkeras.page.document import CURVE_POINTS, PageDocument, anonymous, told
from chexkeras.results import Estimate
from tests.page.drawn import drawn_scores


def test_document_is_json_both_ways(document, tmp_path):
    document.save(tmp_path / "page.json")
    # As text: what is not estimable is NaN, which equals nothing.
    assert str(PageDocument.read(tmp_path / "page.json").to_dict()) == str(document.to_dict())


def test_no_identifier_is_in_it(document):
    written = json.dumps(document.to_dict())
    assert "CANARY" in str(drawn_scores(2, 2).iloc[0]["image_id"])
    assert "CANARY" not in written and "CANARY" not in json.dumps(document.shown())


def test_what_a_call_means_is_what_the_library_says_on_the_scores_themselves(document):
    test, point = drawn_scores(2, 2), document.points[0]
    made = deployment_from_outcomes(
        test["label"], test["score"] >= point.threshold, 0.07, clusters=test["patient_id"].astype(str)
    )
    found = document.meaning(0.07)["Effusion"]
    assert found["ppv"] == told(made.ppv)
    assert found["npv"] == told(made.npv)
    assert found["false_positives"] == told(made.false_positives_per_1000, digits=0)


def test_rarer_findings_make_positive_calls_worth_less(document):
    def ppv(share):
        return float(document.meaning(share)["Effusion"]["ppv"].split()[0])

    assert ppv(0.01) < ppv(0.1) < ppv(0.5)


def test_curve_goes_up_to_and_holds_the_frozen_threshold(document):
    points = document.curves[0].points
    assert [point.frozen for point in points].count(True) == 1
    assert len(points) <= CURVE_POINTS
    frozen = next(point for point in points if point.frozen)
    assert frozen.threshold == document.points[0].threshold
    assert frozen.sensitivity.value == pytest.approx(document.points[0].sensitivity.value)
    assert np.all(np.diff([point.sensitivity.value for point in points]) <= 0)
    assert np.all(np.diff([point.specificity.value for point in points]) >= 0)


def test_calls_in_a_thousand_follow_from_both_rates(document):
    point = document.curves[0].points[10]
    share = 0.2
    expected = 1000 * (share * point.sensitivity.value + (1 - share) * (1 - point.specificity.value))
    words = document.meaning(share)["Effusion"]["curve"][10]
    assert float(words.split()[0]) == round(expected)
    low, high = (float(part) for part in words.split("CI ")[1].rstrip(")").split(" to "))
    worst = 1000 * (share * point.sensitivity.high + (1 - share) * (1 - point.specificity.low))
    assert low < expected < high <= worst + 0.5


def test_waiting_times_are_those_of_the_library(document):
    entry = document.evaluation["Effusion"]
    effect = triage_effect(
        entry.sensitivity, entry.specificity, 0.1, arrivals_per_hour=5, reads_per_hour=6, readers=1,
        discipline="non-pre-emptive",
    )  # fmt: skip
    assert str(effect) in document.waiting("Effusion", 0.1, 5, 6, 1)


def test_test_results_do_not_depend_on_what_is_set(document):
    before = document.shown()["findings"][0]["measures"]
    document.meaning(0.4)
    assert document.shown()["findings"][0]["measures"] == before


def test_groups_of_a_few_images_are_not_published(document):
    for entry in anonymous(document).evaluation.findings:
        assert all(group.n_images >= 5 for analysis in entry.subgroups for group in analysis.groups)


def test_what_cannot_be_estimated_says_why():
    assert told(Estimate.not_estimable("no positives")) == "not estimable: no positives"


@pytest.mark.keras
def test_document_of_a_run_and_of_others_beside_it(toy_run, toy_document):
    assert toy_document.points == toy_run.operating_points
    assert toy_document.evaluation == toy_run.evaluation
    assert "never checked" in toy_document.maps.reason
    with_another = PageDocument.of(toy_run, [toy_run])
    assert [entry.finding for entry in with_another.beside] == ["Effusion", "Effusion"]
    assert [entry.name for entry in with_another.beside] == [toy_run.folder.name, f"{toy_run.folder.name} (2)"]
    # The same scores: neither better nor worse.
    assert with_another.beside[0].verdict == ""
    assert with_another.beside[1].verdict in ("not distinguishable", "not estimable")
