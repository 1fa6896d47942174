"""Every public plot with the longest names and cautions: no text covered or cut, whoever made the axes."""

import inspect

import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from chexkeras import plots
from chexkeras.plots import style
from chexkeras.plots.cautions import kinds, short_line
from chexkeras.plots.layout.measures import shortened, text_inches, wrapped
from tests.plots.legible import every_plot
from tests.plots.legible.legibility import faults


def _drawn(result):
    first = result[0] if isinstance(result, tuple) else result
    return first.get_figure(root=True)


@pytest.mark.parametrize("name", every_plot.names())
def test_on_a_figure_of_its_own_no_text_is_covered_or_cut(name):
    given, settings = every_plot.arguments(name)
    assert faults(_drawn(getattr(plots, name)(*given, **settings)), least_share=0.3) == []


def _panels(name, places):
    """Returns the axes that a plot is given: as many as it draws on."""
    parameters = inspect.signature(getattr(plots, name)).parameters
    if "axes" in parameters:
        return {"axes": tuple(places[:2])}
    assert "ax" in parameters, f"plots.{name} takes no axes of one's own: give it ax=, or axes= for several panels"
    return {"ax": places[0]}


@pytest.mark.parametrize("name", every_plot.names())
def test_in_a_panel_of_a_grid_three_inches_wide_no_text_is_covered_or_cut(name):
    drawn, places = plt.subplots(2, 2, figsize=(6.0, 5.0), layout="constrained")
    given, settings = every_plot.arguments(name)
    getattr(plots, name)(*given, **settings, **_panels(name, list(places.ravel())))
    assert faults(drawn) == []


@pytest.mark.parametrize("part", ["figure", "part of a figure"])
@pytest.mark.parametrize("name", every_plot.names())
def test_a_plot_draws_where_it_is_told_and_returns_that(name, part):
    """On axes given no figure is made, nothing is drawn elsewhere, and what is returned is what was given."""
    if part == "figure":
        whole = Figure(figsize=(16, 12))
        places = list(whole.subplots(2, 2).ravel())
    else:
        whole = Figure(figsize=(16, 12), layout="constrained")
        places = list(whole.subfigures(1, 2)[1].subplots(2, 2).ravel())
    given, settings = every_plot.arguments(name)
    panels = _panels(name, places)
    before = {ax: len(ax.findobj()) for ax in whole.axes}
    result = getattr(plots, name)(*given, **settings, **panels)
    (wanted,) = panels.values()
    assert result == wanted
    assert plt.get_fignums() == []
    used = wanted if isinstance(wanted, tuple) else (wanted,)
    for ax, count in before.items():
        # Ticks are made when they are looked at, so a panel that nothing was drawn on still has no text of its own.
        if ax not in used:
            assert not ax.lines and not ax.patches and not ax.texts and not ax.images and not ax.get_legend(), name
            assert not ax.get_title(loc="left")
        else:
            assert len(ax.findobj()) != count or ax.lines
    for made in set(whole.axes) - set(before):
        assert made.figure is used[0].figure


def test_every_plot_names_its_axes_in_the_same_words():
    for name in every_plot.names():
        function = getattr(plots, name)
        parameters = inspect.signature(function).parameters
        key = "axes" if "axes" in parameters else "ax"
        parameter = parameters[key]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is None, name
        begins = "axes: Two axes to draw on" if key == "axes" else "ax: Axes "
        (line,) = [line.strip() for line in function.__doc__.splitlines() if line.strip().startswith(f"{key}: ")]
        assert line.startswith(begins) and line.endswith("a new figure by default."), line
        returns = function.__doc__.split("Returns:\n")[1].strip()
        assert returns.startswith(("The axes", "Both axes", "The upper axes")), name


def test_a_panel_without_a_layout_is_drawn_too():
    _, places = plt.subplots(1, 2)
    given, settings = every_plot.arguments("roc")
    ax = plots.roc(*given, **settings, ax=places[0])
    (note,) = [text for text in ax.texts if text.get_label() == "caution"]
    assert note.get_window_extent().x1 <= ax.figure.bbox.width / 2 + 2


def test_where_the_cautions_do_not_fit_their_kinds_are_named_the_gravest_first():
    assert kinds(every_plot.CAUTIONS)[0][0] == "case-control sample"
    assert short_line(every_plot.CAUTIONS, 20, 10) == (
        "Case-control sample; chosen controls; untrained base; shortcuts in the data; see cautions"
    )
    leaky = (
        "LEAKY: 3 of 9 test patients also have images in another part.",
        "Synthetic images, not clinical evidence.",
    )
    assert short_line(leaky, 4, 10) == "Leaky split; synthetic images; see cautions"
    assert short_line(leaky, 3, 10) == "Leaky split; 1 more; see cautions"
    assert short_line(leaky[1:], 4, 10) == leaky[1]
    assert short_line(("Ask the author of the table what the column named of means; nobody here knows.",), 2, 10) == (
        "1 caution; see cautions"
    )
    assert short_line((), 4, 10) == ""


@pytest.mark.parametrize("inches", [0.8, 1.5, 2.5, 4.0, 7.0])
def test_the_line_of_cautions_fits_its_room(inches):
    ax = Figure(figsize=(9, 2)).subplots()
    for number in range(1, len(every_plot.CAUTIONS) + 1):
        line = short_line(every_plot.CAUTIONS[:number], inches, 10)
        drawn = ax.text(0, 0, line, fontsize=10, fontstyle="italic")
        assert drawn.get_window_extent().width / 100 <= inches or line == "See cautions"


def test_words_are_measured_as_they_are_drawn():
    with style.house_style():
        ax = Figure(figsize=(9, 2)).subplots()
        for text, weight in (("AUROC 0.853 (95 % CI 0.790–0.898)", "normal"), ("Pleural Thickening", "bold")):
            drawn = ax.text(0, 0, text, fontsize=9, fontweight=weight).get_window_extent().width / 100
            assert drawn <= text_inches(text, 9, weight=weight) <= 1.12 * drawn
    assert "".join(wrapped("two-stage_densenet121_seed0_and_more", 1.0, 10)) == "two-stage_densenet121_seed0_and_more"
    assert wrapped("two-stage_densenet121", 1.2, 10) == ["two-stage_", "densenet121"]
    assert all(text_inches(line, 10) <= 1.0 for line in wrapped("one two three four five six seven", 1.0, 10))
    assert shortened("Enlarged Cardiomediastinum", 1.0, 10).endswith("…")
    assert shortened("Mass", 1.0, 10) == "Mass"


def test_legends_below_a_drawing_cover_no_data():
    given, settings = every_plot.arguments("score_histogram")
    ax = plots.score_histogram(*given, **settings)
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().y1 < ax.xaxis.label.get_window_extent().y0


def test_the_measure_of_legibility_finds_what_it_is_for():
    drawn = Figure(figsize=(3, 2))
    ax = drawn.subplots()
    assert faults(drawn) == []
    ax.text(0.5, 0.5, "one")
    ax.text(0.52, 0.5, "other")
    assert faults(drawn) == ["'one' runs into 'other'"]
    ax.texts[1].set_position((0.5, 0.75))
    assert faults(drawn) == []
    ax.set_title("a title that is far too long for a figure as narrow as this one is")
    assert any("leaves the canvas" in fault for fault in faults(drawn))
    ax.set_title("")
    ax.set_xticks([0.4, 0.5], ["a long label", "another one"])
    assert faults(drawn) == ["'a long label' runs into 'another one'"]
    ax.set_xticks([0.4, 0.5], ["a long label", "another one"], rotation=90)
    drawn.set_size_inches(3, 5)
    drawn.subplots_adjust(bottom=0.4)
    assert faults(drawn) == []
    ax.set_xticks([])
    ax.set_position((0.4, 0.4, 0.2, 0.5))
    assert faults(drawn, least_share=0.3) == ["the drawing has 20% of the width and 50% of the height"]
    assert isinstance(ax, Axes) and all(isinstance(text, Text) for text in ax.texts)
