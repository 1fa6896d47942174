import json

import pytest

from chexkeras.node.drift import CALLS, REFUSALS, SCORES, Chart, DriftWatch, charts_of
from chexkeras.report.facts.software import WATCHED_IMAGES


def record(score=None, finding="Effusion"):
    if score is None:
        return {"verdict": "reject", "findings": []}
    return {"verdict": "accept", "findings": [{"finding": finding, "score": score}]}


CALLED = Chart(CALLS, "Effusion", 0.3, 500, 17, 44, level=0.5)
REFUSED = Chart(REFUSALS, "", 0.1, 100, 2, 21)


def test_block_inside_its_limits_does_not_alarm_and_one_outside_does(tmp_path):
    watch = DriftWatch((CALLED,), tmp_path)
    assert watch.points() == [(CALLED, None, False)]
    watch.add([record(0.9)] * 30 + [record(0.1)] * (WATCHED_IMAGES - 30))
    assert watch.points() == [(CALLED, 30, False)]
    watch.add([record(0.9)] * 60 + [record(0.1)] * (WATCHED_IMAGES - 60))
    assert watch.points() == [(CALLED, 60, True)]
    watch.add([record(0.1)] * WATCHED_IMAGES)
    assert watch.points() == [(CALLED, 0, True)]


def test_threshold_itself_counts_as_positive(tmp_path):
    watch = DriftWatch((CALLED,), tmp_path)
    watch.add([record(0.5)] * 20 + [record(0.4999)] * (WATCHED_IMAGES - 20))
    assert watch.points()[0][1] == 20


def test_refused_films_count_on_their_own_chart_alone(tmp_path):
    watch = DriftWatch((CALLED, REFUSED), tmp_path)
    watch.add([record()] * 40 + [record(0.9)] * 60)
    points = {chart.kind: (count, alarm) for chart, count, alarm in watch.points()}
    assert points == {CALLS: (None, False), REFUSALS: (40, True)}


def test_counts_go_on_after_the_process(tmp_path):
    DriftWatch((CALLED,), tmp_path).add([record(0.9)] * 60)
    watch = DriftWatch((CALLED,), tmp_path)
    watch.add([record(0.1)] * (WATCHED_IMAGES - 60))
    assert watch.points() == [(CALLED, 60, True)]


@pytest.mark.parametrize("content", ["", "[]", "{", json.dumps({CALLED.key: [1, 2]})])
def test_damaged_counts_begin_anew(tmp_path, content):
    (tmp_path / "drift.json").write_text(content)
    assert DriftWatch((CALLED,), tmp_path).points() == [(CALLED, None, False)]


def test_charts_are_those_of_the_report(toy_run):
    from chexkeras.report import collect_facts

    facts, charts = collect_facts(toy_run), {chart.kind: chart for chart in charts_of(toy_run)}
    called = charts[CALLS]
    assert called.share == pytest.approx(facts["baseline.Effusion.called"].value.value)
    assert (called.low, called.high) == tuple(facts[f"baseline.Effusion.{name}"].value for name in ("low", "high"))
    assert called.images == charts[SCORES].images == facts["baseline.Effusion.images"].value
    assert charts[SCORES].level == pytest.approx(facts["baseline.Effusion.scores"].value[2])
    assert REFUSALS not in charts
