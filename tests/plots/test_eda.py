import numpy as np
import pytest

from chexkeras import plots

SYNTHETIC = "Synthetic films, not clinical evidence."


def _texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize(
    "draw",
    [
        plots.prevalence,
        plots.age_sex,
        plots.views,
        plots.cooccurrence,
        plots.images_per_patient,
        plots.findings_per_image,
    ],
)
def test_every_figure_returns_the_axes_it_was_given_and_carries_the_caution(draw, table):
    import matplotlib.pyplot as plt

    ax = plt.figure().add_subplot()
    assert draw(table, ax=ax) is ax
    assert SYNTHETIC in _texts(ax)
    assert "10 images of 5 patients" in ax.get_title(loc="left")


@pytest.mark.parametrize("draw", [plots.prevalence, plots.age_sex, plots.views, plots.images_per_patient])
def test_a_table_that_is_not_synthetic_is_not_called_so(draw, table):
    table.attrs = {}
    assert SYNTHETIC not in _texts(draw(table))


def test_prevalence_is_the_share_of_images_with_a_known_label(table):
    ax = plots.prevalence(table, ["Effusion", "Mass"])
    assert [bar.get_width() for bar in ax.patches] == [2, 4]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Mass", "Effusion"]
    assert " 4 (44.4 %)" in _texts(ax)
    assert " 2 (20.0 %)" in _texts(ax)


def test_prevalence_of_a_finding_without_any_label_says_so(table):
    table["Hernia"] = np.nan
    assert " 0 (no known label)" in _texts(plots.prevalence(table, "Hernia"))


def test_an_unknown_finding_is_refused_with_the_nearest_name(table):
    with pytest.raises(ValueError, match="did you mean 'Effusion'"):
        plots.prevalence(table, "Efusion")


def test_age_bands_hold_every_image_with_an_age_and_count_the_others(table):
    ax = plots.age_sex(table)
    assert sum(bar.get_height() for bar in ax.patches) == 9
    assert "1 images without a plausible age" in ax.get_xlabel()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["female, n = 5", "male, n = 5"]


def test_views_split_by_a_finding_add_up(table):
    ax = plots.views(table, "Effusion")
    widths = [bar.get_width() for bar in ax.patches]
    assert sum(widths) == 10
    assert any("57.1 % positive" in text for text in _texts(ax))


def test_cooccurrence_is_a_share_of_the_rows_finding(table):
    ax = plots.cooccurrence(table, ["Effusion", "Mass", "Hernia"])
    shown = np.asarray(ax.images[0].get_array(), float)
    assert shown[0, 1] == pytest.approx(0.5)
    assert shown[1, 0] == pytest.approx(1.0)
    assert np.isnan(shown[0, 0])
    assert np.isnan(shown[2]).all()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Effusion (4)", "Mass (2)", "Hernia (0)"]


def test_images_per_patient_counts_patients(table):
    ax = plots.images_per_patient(table)
    assert [bar.get_height() for bar in ax.patches] == [5]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2"]


def test_the_last_bar_holds_everything_beyond(table):
    table["patient_id"] = ["a"] * 7 + ["b", "c", "c"]
    ax = plots.images_per_patient(table, most=3)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3+"]
    assert [bar.get_height() for bar in ax.patches] == [1, 1, 1]


def test_findings_per_image_count_images(table):
    ax = plots.findings_per_image(table)
    assert [bar.get_height() for bar in ax.patches] == [6, 2, 2]
