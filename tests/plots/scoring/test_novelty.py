import dataclasses
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from chexkeras.evaluation.novelty import fit_novelty, freeze
from chexkeras.plots import novelty_distances
from chexkeras.plots.scoring.novelty import novelty_rows
from chexkeras.results.novelty import GRID


@pytest.fixture(scope="module")
def novelty():
    rng = np.random.default_rng(0)
    length = GRID**2 + 9
    drawn = rng.normal(size=(600, length))
    changed = {"gray values inverted": -drawn[400:] + 3, "noise alone": 4 * rng.normal(size=(200, length))}
    return freeze(
        fit_novelty(drawn[:200], 64), drawn[200:400], test=drawn[400:], changed=changed, cautions=("Toy images.",)
    )


def test_every_group_has_its_line_median_and_share(novelty):
    ax = novelty_distances(novelty)
    labels = [label.get_text().split("\n")[0] for label in ax.get_yticklabels()]
    assert labels == ["validation", "test", "test, gray values inverted", "test, noise alone"]
    medians = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    groups = [novelty.validation, novelty.test, *(entry.percentiles for entry in novelty.changed)]
    np.testing.assert_allclose(medians, [row[50] for row in groups])
    assert any(line.get_linestyle() == "--" and line.get_xdata()[0] == novelty.threshold for line in ax.lines)
    ax.figure.canvas.draw()
    ticks = [label.get_text() for label in ax.get_xticklabels()]
    assert ticks and all(re.fullmatch(r"-?[\d.]+", text) for text in ticks), ticks
    assert f"{novelty.changed[1].flagged.value:.3f}" in ax.get_yticklabels()[3].get_text()
    plt.close(ax.figure)


def test_one_of_before_and_one_without_threshold(novelty):
    older = dataclasses.replace(novelty, changed=())
    assert [name for name, *_ in novelty_rows(older)] == ["validation", "test"]
    few = freeze(fit_novelty(np.random.default_rng(0).normal(size=(40, GRID**2 + 9)), 64), np.zeros((5, GRID**2 + 9)))
    ax = novelty_distances(few)
    assert "not estimable" in ax.get_yticklabels()[0].get_text()
    assert not [line for line in ax.lines if line.get_linestyle() == "--"]
    plt.close(ax.figure)
    with pytest.raises(ValueError, match="no distances"):
        novelty_distances(dataclasses.replace(novelty, validation=(), test=(), changed=()))
