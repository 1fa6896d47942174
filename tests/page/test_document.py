"""What the page tells of a run: the same numbers as the library's, no identifier, and JSON both ways."""

import json
from dataclasses import replace

import numpy as np
import pytest

from chexkeras.evaluation.clinical_use.deployment import deployment_from_outcomes
from chexkeras.evaluation.clinical_use.triage import triage_effect
from chexkeras.page.document import CURVE_POINTS, PageDocument, anonymous
from chexkeras.page.shown import told
from chexkeras.report.facts.collect import collect_facts
from chexkeras.results import Estimate, Interaction, Subgroup, SubgroupAnalysis
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


def grouped(document):
    """The document with two groups, one of them of a few images."""
    entry = document.evaluation["Effusion"]
    rates = (Estimate(0.8, 0.6, 0.9, n=12), Estimate.not_estimable("too few"), entry.specificity)
    groups = (Subgroup("F", 12, 9, 2, 10, *rates), Subgroup("M", 4, 4, 1, 3, *rates))
    analysis = SubgroupAnalysis("sex", groups, (Interaction("auroc", 0.04, 0.08, "Wald"),), 3)
    made = replace(entry, subgroups=(analysis,))
    return replace(document, evaluation=replace(document.evaluation, findings=(made,)))


def test_groups_are_shown_with_every_number_as_text_and_to_draw(document):
    shown = document.shown()["findings"][0]
    entry = document.evaluation["Effusion"]
    assert shown["all"]["auroc"] == {
        "words": told(entry.auroc),
        "drawn": [pytest.approx(number, abs=1e-6) for number in (entry.auroc.value, entry.auroc.low, entry.auroc.high)],
    }
    (analysis,) = grouped(document).shown()["findings"][0]["subgroups"]
    assert (analysis["column"], analysis["unknown"]) == ("sex", 3)
    assert [group["level"] for group in analysis["groups"]] == ["female", "male"]
    assert analysis["groups"][0]["auroc"]["drawn"] == [0.8, 0.6, 0.9]
    assert analysis["groups"][0]["sensitivity"] == {"words": "not estimable: too few", "drawn": None}
    assert analysis["differ"] == {"auroc": "p = 0.08 after Holm's correction"}


def test_groups_of_a_few_images_are_not_published(document):
    (analysis,) = anonymous(grouped(document)).evaluation["Effusion"].subgroups
    assert [(group.level, group.n_images) for group in analysis.groups] == [("F", 12)]


def test_what_cannot_be_estimated_says_why():
    assert told(Estimate.not_estimable("no positives")) == "not estimable: no positives"


@pytest.mark.keras
def test_document_of_a_run_and_of_others_beside_it(toy_run, toy_document):
    assert toy_document.points == toy_run.operating_points
    assert toy_document.evaluation == toy_run.evaluation
    # The cautions and the verdict are those of the report.
    told = collect_facts(toy_run)
    assert list(toy_document.cautions) == told["cautions"].value and set(toy_run.cautions) <= set(toy_document.cautions)
    assert toy_document.facts["Performance goals"].startswith(told["verdict"].value)
    assert "never checked" in toy_document.maps.reason
    shown = toy_document.shown()["maps"]["reason"]
    assert shown.startswith("No heat maps") and shown.endswith("first.") and "unchecked" not in shown
    with_another = PageDocument.of(toy_run, [toy_run])
    assert [entry.finding for entry in with_another.beside] == ["Effusion", "Effusion"]
    assert [entry.name for entry in with_another.beside] == [toy_run.folder.name, f"{toy_run.folder.name} (2)"]
    # The same scores: neither better nor worse.
    assert with_another.beside[0].verdict == "" and with_another.beside[0].difference is None
    assert with_another.beside[1].difference.value == 0
    assert with_another.beside[1].verdict in ("not distinguishable", "not estimable")
