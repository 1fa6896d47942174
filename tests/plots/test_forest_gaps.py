"""The forest of groups whose intervals hold together."""

import numpy as np
import pytest

from chexkeras.plots import gaps_forest
from chexkeras.results import Estimate, GroupValue, SubgroupGaps

FEW = Estimate.not_estimable("too few: 4 positives, at least 10 are needed")


@pytest.fixture
def gaps():
    groups = (
        GroupValue("F", 120, 60, 30, 90, Estimate(0.8, 0.65, 0.92)),
        GroupValue("M", 1300, 70, 40, 1260, Estimate(0.6, 0.4, 0.75)),
        GroupValue("X", 9, 8, 4, 5, FEW),
    )
    return SubgroupGaps(
        "Edema", "sex", "auroc", Estimate(0.72, 0.66, 0.78), groups, "F", "M", Estimate(0.2, 0.02, 0.37), 0.06,
        Estimate(0.12, 0.0, 0.3), n_unknown=12,
    )  # fmt: skip


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_groups_stand_with_their_simultaneous_intervals_and_the_gap_below(gaps):
    ax = gaps_forest(gaps)
    drawn = {round(box[0].get_ydata()[0]): box for box in ax.containers}
    assert [box[0].get_xdata()[0] for box in drawn.values()] == [0.72, 0.8, 0.6]
    (bar,) = drawn[3][2]
    np.testing.assert_allclose(bar.get_segments()[0][:, 0], [0.4, 0.75])
    assert {"all images", "sex", "female", "male", "X", "0.800 (0.650–0.920)", "too few: 4 positives"} <= set(texts(ax))
    assert {"not known", "12", "in no group", "AUROC (95 % CI)"} <= set(texts(ax))
    assert "female lies 0.200 (0.020–0.370) above male; by chance alone 0.060 on average" in ax.get_xlabel()


def test_without_a_gap_the_reason_stands_there(gaps):
    none = Estimate.not_estimable("1 group is large enough to estimate specificity, at least 2 are needed")
    bare = SubgroupGaps("Edema", "sex", "specificity", FEW, gaps.groups[2:], "", "", none, float("nan"), none)
    ax = gaps_forest(bare, note="Synthetic images.")
    assert "no gap: 1 group is large enough" in ax.get_xlabel()
    assert "negative" in texts(ax)
    assert not ax.containers
    shown = [text.get_text() for text in ax.figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any("Synthetic images." in text for text in shown)
