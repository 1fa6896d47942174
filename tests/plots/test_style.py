import matplotlib
import matplotlib.pyplot as plt
import pytest

from chexkeras.plots import style
from chexkeras.results import Estimate


def _caution(ax):
    return [text.get_text() for text in ax.texts if text.get_label() == "caution"]


def test_house_style_leaves_the_callers_settings_as_they_were():
    matplotlib.rcParams["font.size"] = 17.0
    try:
        with style.house_style():
            assert matplotlib.rcParams["font.size"] == 10
        assert matplotlib.rcParams["font.size"] == 17.0
    finally:
        matplotlib.rcdefaults()
        matplotlib.use("Agg")


def test_a_session_that_turns_interactive_while_a_figure_is_drawn_stays_so():
    """Jupyter turns pyplot interactive with the first figure; undone, it would show no other."""
    try:
        with style.house_style():
            matplotlib.interactive(True)
        assert matplotlib.is_interactive()
    finally:
        matplotlib.interactive(False)


def test_axes_given_are_used_and_no_figure_is_made():
    ax = plt.figure().add_subplot()
    assert style.axes(ax) is ax
    assert len(plt.get_fignums()) == 1


def test_figures_of_the_report_are_unknown_to_pyplot():
    _, panels = style.figure(2, 3)
    assert len(panels) == 6
    assert plt.get_fignums() == []


def test_a_tables_own_cautions_are_found_and_an_empty_note_silences_them(table):
    assert style.cautions(None, table) == ("Synthetic images, not clinical evidence.",)
    assert style.cautions("", table) == ()
    assert style.cautions(["a", "b"], table) == ("a", "b")


LONG = ("Untrained backbone: the frozen convolutions keep random weights, as this sentence says at length.", "Ask us.")


def test_the_caution_stands_between_title_and_drawing_and_overlaps_neither():
    drawn, (ax,) = style.figure(width=3.0, height=3.0)
    style.title(ax, "A title of so many words that it takes two lines", LONG)
    drawn.draw_without_rendering()
    (note,) = [text for text in ax.texts if text.get_label() == "caution"]
    assert note.get_text() == "Untrained base; 1 more; see cautions"
    box, heading = note.get_window_extent(), ax._left_title.get_window_extent()
    assert box.y0 >= ax.get_window_extent().y1
    # The title with loc="left" is a text of its own.
    assert " ".join(ax.get_title(loc="left").split()) == "A title of so many words that it takes two lines"
    assert "\n" in ax.get_title(loc="left") and heading.x1 <= drawn.bbox.width
    assert box.y1 <= heading.y0 + 1
    assert box.x0 == pytest.approx(heading.x0, abs=2)


@pytest.mark.parametrize("columns", [1, 2])
def test_long_tick_labels_cut_no_caution(columns):
    """The drawing is left a third of the panel; the caution still has all of it."""
    drawn, panels = style.figure(columns=columns, width=5.0, height=3.0)
    for ax in panels:
        ax.set_yticks([0, 1], ["a label that takes more than half of the whole panel", "short"])
        style.title(ax, "Title", ("Synthetic images. " * 10, *LONG))
    drawn.draw_without_rendering()
    edges = [number * drawn.bbox.width / columns for number in range(columns + 1)]
    for ax, left, right in zip(panels, edges[:-1], edges[1:], strict=True):
        (note,) = [text for text in ax.texts if text.get_label() == "caution"]
        assert note.get_text() == "Synthetic images; untrained base; 1 more; see cautions"
        box = note.get_window_extent()
        assert ax.get_window_extent().width < 0.45 * (right - left)
        assert left <= box.x0 and box.x1 <= right
        assert box.width > ax.get_window_extent().width
        assert box.y1 <= ax._left_title.get_window_extent().y0 + 1


def test_cautions_on_wide_figures_are_as_large_on_paper_as_on_narrow_ones():
    for width in (6.8, 9.2, 16.8):
        drawn, _ = style.figure(columns=2, width=width / 2, height=6)
        style.figure_note(drawn, ("A sentence to warn the reader of these numbers, as long as they come. " * 3,))
        assert "\n" not in drawn.get_suptitle()
        printed = min(0.7, 6.8 / width)
        assert drawn._suptitle.get_fontsize() * printed >= 6.99
        drawn.draw_without_rendering()
        box = drawn._suptitle.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= drawn.bbox.width


def test_without_cautions_nothing_is_written():
    _, (ax,) = style.figure()
    style.title(ax, "Title")
    assert _caution(ax) == []


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.5, 0.4, 0.6, n=10), "0.500 (95 % CI 0.400–0.600)"),
        (Estimate(0.5, 0.4, 0.6, confidence=0.9), "0.500 (90 % CI 0.400–0.600)"),
        (Estimate.not_estimable("one class"), "not estimable"),
    ],
)
def test_estimates_are_written_with_their_interval(estimate, text):
    assert style.interval_text(estimate) == text


def test_colours_differ_in_lightness_enough_for_grey_print():
    from matplotlib.colors import to_rgb

    grey = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in map(to_rgb, (style.INK, style.BLUE, style.SKY))]
    assert grey[1] - grey[0] > 0.1
    assert grey[2] - grey[1] > 0.1


def test_saving_settles_the_layout_so_that_labels_are_inside(tmp_path):
    drawn, (ax,) = style.figure(width=3, height=2)
    ax.set_ylabel("a label\nof two lines")
    style.save(drawn, tmp_path / "figure.png", dpi=50)
    assert (tmp_path / "figure.png").stat().st_size > 0
    drawn.draw_without_rendering()
    assert ax.yaxis.label.get_window_extent().x0 >= 0


def test_a_figure_that_is_cropped_to_what_is_drawn_keeps_its_whole_caution():
    # Narrower than its caution, as square drawings are; notebooks crop every figure so.
    ax = style.axes(None, 5.6, 5.6)
    ax.plot([0, 1], [0, 1])
    ax.set_box_aspect(2)
    notes = ("A case-control sample.", "An untrained base.", "A thumbnail tells the classes apart as well.")
    style.title(ax, "Narrow", notes)
    (caution,) = [text for text in ax.texts if text.get_label() == "caution"]
    kept = ax.figure.get_tightbbox().transformed(ax.figure.dpi_scale_trans)
    shown = caution.get_window_extent()
    assert shown.width > ax.get_window_extent().width
    assert kept.x0 <= shown.x0 + 1 and kept.x1 >= shown.x1 - 1
    caution.remove()
    assert ax.figure.get_tightbbox().width < kept.width / ax.figure.dpi
