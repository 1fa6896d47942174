import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from chexkeras import plots
from chexkeras.data.audit.audit import audit
from chexkeras.data.audit.shortcuts import Shortcut
from chexkeras.plots.dataset import findings_with, prevalence_by_age
from chexkeras.plots.shortcuts import shortcuts
from chexkeras.results import Estimate

SYNTHETIC = "Synthetic images, not clinical evidence."


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
    shown = np.ma.filled(ax.collections[0].get_array().astype(float), np.nan).reshape(3, 3)
    assert shown[0, 1] == pytest.approx(50)
    assert shown[1, 0] == pytest.approx(100)
    assert np.isnan(shown[0, 0])
    assert np.isnan(shown[2]).all()
    assert {"50", "100"} <= set(_texts(ax))
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


def test_bars_of_age_and_sex_belong_to_their_sex(table):
    ax = plots.age_sex(table, bin_years=50)
    by_word = {bars.get_label(): [bar.get_height() for bar in bars.patches] for bars in ax.containers}
    # Images 1 to 9 have ages 14, 23, 32, 41, 50, 59, 68, 77, 86, by turns male and female.
    assert by_word == {"female, n = 5": [2, 2], "male, n = 5": [2, 3]}
    first, second = (bars.patches[0].get_x() for bars in reversed(ax.containers))
    assert first < second


def test_a_table_without_ages_and_one_of_another_sex_are_drawn(table):
    known = table["age_years"].copy()
    table["age_years"] = np.nan
    ax = plots.age_sex(table)
    # No empty axis, which would look like a measurement of nothing.
    assert not ax.axison and any("no image has a plausible age" in text for text in _texts(ax))
    table["sex"], table["age_years"] = "O", known
    ax = plots.age_sex(table)
    assert sum(bar.get_height() for bar in ax.patches) == 9
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["sex not known, n = 10"]
    assert ax.get_title(loc="left").startswith("Age: ")
    table.loc[:4, "sex"] = "F"
    words = [text.get_text() for text in plots.age_sex(table).get_legend().get_texts()]
    assert words == ["female, n = 5", "sex not known, n = 5"]


def test_prevalence_by_age_counts_known_labels_and_lets_a_patients_images_agree(table):
    ax = prevalence_by_age(table, "effusion", bin_years=50)
    # Known labels with an age: images 1 to 4 (14 to 41 years, 3 positive) and 5 to 8 (none positive).
    points = [container.lines[0].get_data() for container in ax.containers]
    assert [(x[0], y[0]) for x, y in points] == [(0, pytest.approx(75.0)), (1, pytest.approx(0.0))]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0-49\n4", "50-99\n4"]
    assert ax.get_legend().get_texts()[0].get_text() == "all ages: 44.4 %"
    assert "1 images without a plausible age" in ax.get_xlabel()
    low, high = ax.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert low < 75 < high and high - low > 60
    assert SYNTHETIC in _texts(ax)


def test_the_interval_of_a_handful_of_images_does_not_set_the_scale(table):
    many = pd.concat([table.assign(age_years=20.0)] * 100, ignore_index=True)
    many["patient_id"] = [str(number) for number in range(len(many))]
    many = pd.concat([many, table.head(1).assign(age_years=95.0, Effusion=0.0)], ignore_index=True)
    assert prevalence_by_age(many, "Effusion").get_ylim()[1] < 65


def test_findings_with_a_finding_are_shares_of_the_images_with_and_without_it(table):
    table.loc[4:5, "Mass"] = 1.0
    table.loc[0, "Edema"] = np.nan
    table.loc[1, "Edema"] = 1.0
    ax = findings_with(table, "effusion")
    with_it, without = ax.containers
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert with_it.patches[names.index("Mass")].get_width() == pytest.approx(50)
    assert with_it.patches[names.index("Edema")].get_width() == pytest.approx(100 / 3)
    assert without.patches[names.index("Mass")].get_width() == pytest.approx(40)
    assert names[-2:] == ["Edema", "Mass"] and "Effusion" not in names
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert told == ["with Effusion, n = 4", "without Effusion, n = 5"]
    assert SYNTHETIC in _texts(ax)


def test_a_finding_alone_has_no_companions(table):
    with pytest.raises(ValueError, match=r"no finding besides Effusion; load it with all its findings"):
        findings_with(table[["patient_id", "Effusion"]], "Effusion")


def test_tables_with_labels_of_their_own_are_drawn_by_their_own_names(table):
    own = table.rename(columns={"Effusion": "Pleural Effusion", "Mass": "Lung Opacity"})
    names = [label.get_text() for label in plots.prevalence(own).get_yticklabels()]
    assert {"Pleural Effusion", "Lung Opacity"} <= set(names)


def _shortcut(name, value, low, finding="Edema"):
    return Shortcut(name, finding, Estimate(value, low, value + 0.05, 0.95, 100, "made up"), 40, 60)


def test_shortcuts_are_drawn_with_their_intervals_and_filled_where_informative():
    ax = plt.figure().add_subplot()
    found = [_shortcut("view", 0.62, 0.57), _shortcut("age and sex", 0.54, 0.49)]
    assert shortcuts(found, ax=ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["view", "age and sex"]
    points = [container.lines[0] for container in ax.containers]
    assert [point.get_xdata()[0] for point in points] == [0.62, 0.54]
    assert points[0].get_markerfacecolor() == points[0].get_color()
    assert points[1].get_markerfacecolor() == "white"
    ends = [container.lines[2][0].get_segments()[0][:, 0].tolist() for container in ax.containers]
    np.testing.assert_allclose(ends, [[0.57, 0.67], [0.49, 0.59]])
    assert " 0.620 (0.570-0.670)*" in _texts(ax)


def test_several_findings_stand_one_below_the_other():
    found = [_shortcut(name, 0.6, 0.55, finding) for finding in ("Edema", "Mass") for name in ("view", "thumbnail")]
    ax = shortcuts(found)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Edema", "Mass"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["view", "thumbnail"]
    places = [container.lines[0].get_ydata()[0] for container in ax.containers]
    assert places == sorted(places) and abs(places[0]) < 0.5 < places[2] < 1.5


def test_what_is_not_estimable_says_why_and_nothing_measured_is_refused():
    nothing = Shortcut("view", "Edema", Estimate.not_estimable("all images have the same view"), 40, 60)
    ax = shortcuts([nothing, _shortcut("image size", 0.6, 0.55)])
    assert "not estimable: all images have the same view" in _texts(ax)
    with pytest.raises(ValueError, match=r"no shortcuts of 'Mass' were measured \(there are: Edema\)"):
        shortcuts([nothing], "Mass")
    with pytest.raises(ValueError, match=r"no shortcuts were measured \(there are: none\); .*audit\(table, targets="):
        shortcuts([])


def test_the_shortcuts_of_an_audit_carry_its_cautions(table):
    many = pd.concat([table] * 12, ignore_index=True)
    many["image_id"] = many["patient_id"] = [str(number) for number in range(len(many))]
    many.attrs = table.attrs
    assert SYNTHETIC in _texts(shortcuts(audit(many, decode=False, targets="Effusion"), "Effusion"))
