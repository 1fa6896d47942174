import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from chexkeras import plots


@pytest.fixture
def history() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "stage": ["stage1"] * 3 + ["stage2"] * 2,
            "epoch": [1, 2, 3, 1, 2],
            "global_epoch": [1, 2, 3, 4, 5],
            "loss": [0.9, 0.8, 0.7, 0.6, 0.5],
            "val_loss": [0.95, 0.9, 0.85, 0.8, 0.82],
            "val_auroc": [0.6, 0.7, 0.72, 0.8, 0.78],
        }
    )


def _line(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def test_losses_above_and_auroc_below_over_all_epochs(history):
    upper = plots.training_curves(history)
    lower = upper.figure.axes[-1]
    assert list(_line(upper, "training").get_ydata()) == [0.9, 0.8, 0.7, 0.6, 0.5]
    assert list(_line(upper, "validation").get_xdata()) == [1, 2, 3, 4, 5]
    assert list(_line(lower, "validation").get_ydata()) == [0.6, 0.7, 0.72, 0.8, 0.78]


def test_the_boundary_stands_between_the_stages_in_both_panels(history):
    upper = plots.training_curves(history)
    for panel in (upper, upper.figure.axes[-1]):
        assert list(_line(panel, "_stage boundary").get_xdata()) == [3.5, 3.5]
    assert {"stage1", "stage2"} <= {text.get_text() for text in upper.texts}


def test_one_stage_has_no_boundary(history):
    upper = plots.training_curves(history[history["stage"] == "stage1"])
    assert not [line for line in upper.lines if line.get_label() == "_stage boundary"]


def test_the_kept_epoch_is_marked_whatever_its_auroc(history):
    lower = plots.training_curves(history, kept=2).figure.axes[-1]
    (star,) = [line for line in lower.lines if str(line.get_label()).startswith("kept")]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (2, history["val_auroc"].iloc[1])
    with pytest.raises(ValueError, match="kept=99 is no epoch of this history, which has 1 to"):
        plots.training_curves(history, kept=99)


def test_without_a_kept_epoch_the_largest_auroc_is_marked(history):
    lower = plots.training_curves(history).figure.axes[-1]
    best = _line(lower, "largest: 0.800, epoch 4")
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (4, 0.8)


def test_the_panels_stay_in_the_room_of_the_axes_given(history):
    drawn, panels = plt.subplots(1, 2)
    assert plots.training_curves(history, ax=panels[0]) is panels[0]
    lower = drawn.axes[-1]
    assert lower.get_position().x1 < panels[1].get_position().x0
    assert lower.get_position().y1 <= panels[0].get_position().y0


def test_axes_placed_by_hand_are_divided_too(history):
    drawn = plt.figure()
    ax = drawn.add_axes((0.1, 0.1, 0.4, 0.8))
    plots.training_curves(history, ax=ax)
    assert drawn.axes[-1].get_position().y1 <= ax.get_position().y0


def test_epochs_without_auroc_are_drawn_without_a_best(history):
    history["val_auroc"] = np.nan
    lower = plots.training_curves(history).figure.axes[-1]
    assert not [line for line in lower.lines if str(line.get_label()).startswith(("largest", "kept"))]


def test_no_epoch_and_missing_columns_are_refused(history):
    with pytest.raises(ValueError, match="no epoch"):
        plots.training_curves(history.iloc[:0])
    with pytest.raises(ValueError, match="val_auroc"):
        plots.training_curves(history.drop(columns="val_auroc"))


def test_the_note_stands_on_the_figure(history):
    ax = plots.training_curves(history, note="Synthetic images, not clinical evidence.")
    assert "Synthetic images, not clinical evidence." in [text.get_text() for text in ax.texts]
