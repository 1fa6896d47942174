import matplotlib.pyplot as plt
import numpy as np
import pytest

from chexkeras.evaluation.metrics import roc_curve
from chexkeras.evaluation.readers.mrmc import mrmc
from chexkeras.evaluation.readers.reader_study import ReaderStudy
from chexkeras.evaluation.readers.roe_metz import simulate_reader_study
from chexkeras.plots import plot_reader_study, reader_forest, reader_roc, style
from chexkeras.plots.forest import difference_text
from chexkeras.plots.readers.reader_study import average_roc


@pytest.fixture
def study():
    made = simulate_reader_study({"aided": 0.9, "unaided": 0.8}, readers=4, images=(15, 20), seed=2)
    rows = made.to_frame()
    return ReaderStudy.of(rows.assign(rating=np.ceil(rows["rating"] / 20)))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def drawn(ax):
    """Returns {row: (value, low, high)} of a forest."""
    found = {}
    for box in ax.containers:
        ends = box[2][0].get_segments()[0][:, 0]
        found[round(box[0].get_ydata()[0])] = (box[0].get_xdata()[0], *ends)
    return found


def test_every_reader_has_a_curve_in_every_modality(study):
    ax = reader_roc(study)
    thin = [line for line in ax.lines if line.get_label() == "_reader"]
    assert len(thin) == 8
    rows = study.to_frame()
    own = rows[(rows["modality"] == "unaided") & (rows["reader"] == "reader 2")]
    expected = roc_curve(own["truth"], own["rating"])
    np.testing.assert_allclose(thin[5].get_xydata(), np.column_stack(expected[:2]))


def test_the_area_under_the_average_is_the_average_of_the_areas(study):
    result = mrmc(study)
    ax = reader_roc(study, result)
    for entry in result.means:
        (line,) = [line for line in ax.lines if str(line.get_label()).startswith(f"{entry.modality}\n")]
        x, y = line.get_data()
        assert (np.diff(x) >= -1e-12).all()
        assert (np.diff(y) >= -1e-12).all()
        assert np.trapezoid(y, x) == pytest.approx(entry.estimate.value)
        assert line.get_label().endswith(f"mean AUROC {style.interval_text(entry.estimate)}")


def test_the_average_of_curves_that_rise_straight_up_lies_between_them():
    steep, flat = roc_curve([1, 1, 0, 0], [4, 3, 2, 1])[:2], roc_curve([1, 0], [1, 1])[:2]
    x, y = average_roc([steep, flat])
    # Where both add up to 1 the perfect curve has (0, 1) and chance (.5, .5).
    place = np.flatnonzero(np.isclose(x + y, 1.0))
    assert (x[place][0], y[place][0]) == pytest.approx((0.25, 0.75))
    assert np.trapezoid(y, x) == pytest.approx(0.75)


def test_areas_stand_in_the_legend_though_another_figure_was_analysed(study):
    legend = reader_roc(study, mrmc(study, "sensitivity", threshold=3)).get_legend()
    area = mrmc(study).means[0].estimate
    assert legend.get_texts()[0].get_text() == f"aided\nmean AUROC {style.interval_text(area)}"
    assert legend.get_title().get_text() == "4 readers: thin each, thick their average"


def test_every_reader_stands_with_the_gain_and_all_of_them_below(study):
    result = mrmc(study)
    ax = reader_forest(result)
    found = drawn(ax)
    for row, entry in enumerate(result.reader_differences):
        difference = entry.difference
        assert found[row] == pytest.approx((difference.value, difference.low, difference.high))
        assert {entry.reader, difference_text(difference)} <= set(texts(ax))
    together = result.differences[0].difference
    assert found[4] == pytest.approx((together.value, together.low, together.high))
    assert ax.containers[-1][0].get_marker() == "D"
    assert any(text.startswith(f"{difference_text(together)}, p = ") for text in texts(ax))
    assert ax.get_xlabel() == "AUROC: aided − unaided\naided is better to the right of 0"


def test_a_difference_is_drawn_the_way_round_it_is_asked_for(study):
    result = mrmc(study)
    one, other = drawn(reader_forest(result)), drawn(reader_forest(result, "unaided", "aided", margin=0.05))
    for row, (value, low, high) in one.items():
        assert other[row] == pytest.approx((-value, -high, -low))


def test_the_margin_is_a_line(study):
    ax = reader_forest(mrmc(study), margin=0.05)
    assert any(line.get_label() == "margin −0.05" and line.get_xdata()[0] == -0.05 for line in ax.lines)
    assert "dashed: the stated margin of 0.05" in ax.get_xlabel()


def test_both_drawings_stand_side_by_side(study):
    result = mrmc(study, readers="fixed")
    left, right = plot_reader_study(study, result)
    assert left.get_title(loc="left") == "ROC of the readers"
    assert right.get_title(loc="left") == "What readers gain"
    # The caution stands once above both.
    assert left.figure.get_suptitle() == "Few readers; approximate intervals; see cautions"
    assert "these 4 readers" in texts(right)
    axes = plt.subplots(1, 2)[1]
    assert plot_reader_study(study, axes=tuple(axes)) == tuple(axes)


def test_long_names_widen_the_figure_and_not_narrow_the_curves(study):
    rows = study.to_frame()
    long = ReaderStudy.of(rows.assign(reader=rows["reader"] + " of the department of thoracic radiology"))
    widths = []
    for made in (study, long):
        left, right = plot_reader_study(made)
        left.figure.draw_without_rendering()
        widths.append(left.get_window_extent().width)
        inside = [text.get_window_extent() for text in right.texts]
        assert min(box.x0 for box in inside) > left.get_window_extent().x1
        assert max(box.x1 for box in inside) <= left.figure.bbox.x1 + 1
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_what_cannot_be_drawn_is_refused(study):
    rows = study.to_frame()
    with pytest.raises(ValueError, match="one modality only"):
        plot_reader_study(ReaderStudy.of(rows[rows["modality"] == "aided"]))
    with pytest.raises(ValueError, match="name both modalities"):
        reader_forest(mrmc(study), "aided")
    with pytest.raises(ValueError, match="second='unaded'; did you mean 'unaided'"):
        reader_forest(mrmc(study), "aided", "unaded")
    many = simulate_reader_study({f"m{number}": 0.8 for number in range(7)}, readers=2, images=(5, 5))
    with pytest.raises(ValueError, match="7 modalities were read; at most 6"):
        reader_roc(many)
