import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.plots import file_images, file_scores
from chexkeras.plots.cautions import kinds
from chexkeras.results import AbstainBand, Estimate

CAUTION = "Case-control sample of toy images: prevalence does not carry over."


@pytest.fixture
def point():
    return choose_threshold(None, rule="fixed", target=0.5, finding="Mass")


@pytest.fixture
def results(tmp_path):
    scores = {"a.png": 0.2, "b.png": 0.55, "c.png": 0.9}
    for name in scores:
        noise = np.random.default_rng(len(name)).integers(0, 256, (300, 300)).astype(np.uint8)
        slope = np.linspace(0, 255, 300)[:, None] * np.ones((1, 300))
        Image.fromarray((0.2 * noise + 0.8 * slope).astype(np.uint8)).save(tmp_path / name)
    rows = [{"file": name, "verdict": "warn", "code": "no_header", "finding": "Mass", "score": score,
             "decision": "positive" if score >= 0.5 else "negative"} for name, score in scores.items()]  # fmt: skip
    rows.append({"file": "refused", "verdict": "reject", "code": "unreadable", "finding": "", "decision": ""})
    return pd.DataFrame(rows)


def texts(ax):
    return " ".join(text.get_text() for text in [*ax.texts, ax.title, ax.xaxis.label, *ax.figure.texts])


def test_every_scored_file_has_its_place_and_the_figure_its_caution(results, point):
    ax = file_scores(results, point, note=CAUTION)
    ax.figure.canvas.draw()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a.png", "b.png", "c.png"]
    dots = {line.get_ydata()[0]: line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"}
    assert dots == {2: 0.2, 1: 0.55, 0: 0.9}
    assert "positive 2, negative 1" in texts(ax) and kinds([CAUTION])[0][0].lower() in texts(ax).lower()
    plt.close(ax.figure)


def test_results_that_a_run_keeps_are_drawn_as_well(results, point):
    kept = results.assign(score=results["score"].astype(str))
    ax = file_scores(kept, point)
    assert [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"] == [0.2, 0.55, 0.9]
    plt.close(ax.figure)


def test_what_is_left_open_is_told(results, point):
    nothing = Estimate.not_estimable("not asked")
    band = AbstainBand(0.45, 0.6, "share", 0.1, nothing, nothing)
    results.loc[1, "decision"] = "uncertain"
    ax = file_scores(results, dataclasses.replace(point, abstain=band))
    assert "positive 1, negative 1, uncertain 1" in texts(ax)
    plt.close(ax.figure)


def test_images_stand_with_score_and_decision(results, point, tmp_path):
    ax = file_images(tmp_path, results, point, most=2, note=CAUTION)
    assert len(ax.images) == 2 and "Mass 0.550: positive" in texts(ax) and "c.png" not in texts(ax)
    ax.figure.canvas.draw()
    assert kinds([CAUTION])[0][0].lower() in texts(ax).lower()
    plt.close(ax.figure)


def test_nothing_to_draw_is_refused(results, point, tmp_path):
    with pytest.raises(ValueError, match="no file was scored for Mass"):
        file_scores(results[results["verdict"] == "reject"], point)
    with pytest.raises(ValueError, match="more than one figure holds"):
        file_images(tmp_path, results, point, most=100)
    with pytest.raises(ValueError, match="decision"):
        file_scores(results.drop(columns="decision"), point)
    with pytest.raises(FileNotFoundError):
        file_images(tmp_path / "nowhere", results, point)
