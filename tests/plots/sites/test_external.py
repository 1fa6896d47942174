"""The run at other hospitals in one drawing."""

import pytest

from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.plots import external_forest
from chexkeras.results import Estimate
from chexkeras.runs.external import pool_external
from tests.made_external import made_external, made_scores

FINDING = "Pneumonia"


@pytest.fixture(scope="module")
def tests():
    internal = made_scores([FINDING], skill=2.0, seed=1)
    points = [choose_threshold(made_scores([FINDING], skill=2.0, seed=2), finding=FINDING)]
    made = [
        made_external(made_scores([FINDING], skill=skill, seed=seed), internal, points, name, cautions=("Synthetic.",))
        for name, skill, seed in (("north", 2.0, 3), ("south", 0.2, 4), ("west", 1.0, 5))
    ]
    home = made_external(made_scores([FINDING], skill=2.0, seed=6), internal, points, "home", same_source=True)
    return [*made, home]


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_each_site_stands_there_with_its_verdict_and_the_internal_test_above(tests):
    internal = Estimate(0.9, 0.86, 0.93, 0.95, 300, "m")
    (pooled,) = [entry for entry in pool_external(tests, FINDING) if entry.statistic == "AUROC"]
    ax = external_forest(tests, FINDING, internal, pooled=pooled)
    told = words(ax)
    for word in ("internal test", "north", "south", "west", "home (same source)", "mean of sites", "a new site"):
        assert word in told
    assert tests[1][FINDING].discrimination == "worse" and "worse" in told
    # Dashed: the internal test.
    assert any(line.get_xdata()[0] == 0.9 for line in ax.lines if len(set(line.get_xdata())) == 1)
    assert "0.05" in ax.get_xlabel()


def test_one_site_has_no_mean_and_other_findings_are_refused(tests):
    internal = Estimate(0.9, 0.86, 0.93, 0.95, 300, "m")
    ax = external_forest(tests[:1], FINDING, internal)
    assert "mean of sites" not in words(ax)
    with pytest.raises(ValueError, match="no external test has measured 'Edema'"):
        external_forest(tests, "Edema", internal)
