"""The model beside shortcuts, and how bright images are, as drawings."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from chexkeras import plots
from chexkeras.results import AgainstShortcut, Estimate, ShortcutStudy


@pytest.fixture
def on_disk(table, tmp_path):
    """Four Effusion images of gray 200, five others of gray 50, one with an unknown label."""
    for row, image_id, positive in zip(table.index, table["image_id"], table["Effusion"] == 1, strict=True):
        path = tmp_path / image_id
        Image.fromarray(np.full((32, 32), 200 if positive else 50, np.uint8)).save(path)
        table.loc[row, "path"] = str(path)
    return table


def test_each_group_peaks_at_its_gray_level_and_unknown_labels_are_left_out(on_disk):
    ax = plt.figure().add_subplot()
    assert plots.intensity_histogram(on_disk, "effusion", ax=ax) is ax
    without, with_finding = ax.lines
    for line, gray in ((without, 50), (with_finding, 200)):
        levels, shares = line.get_data()
        assert abs(levels[np.argmax(shares)] - gray) <= 4
        assert np.sum(shares) == pytest.approx(100)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["no Effusion, n = 5", "Effusion, n = 4"]
    assert "Synthetic images, not clinical evidence." in [text.get_text() for text in ax.texts]


def test_at_most_so_many_images_are_opened_and_the_legend_says_of_how_many(on_disk):
    ax = plots.intensity_histogram(on_disk, "Effusion", most=2)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["no Effusion, n = 2 of 5", "Effusion, n = 2 of 4"]


def test_a_finding_that_no_image_shows_leaves_one_curve(on_disk):
    ax = plots.intensity_histogram(on_disk, "Hernia")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no Hernia, n = 10"]


def test_images_without_a_file_and_unknown_findings_are_refused(table):
    with pytest.raises(FileNotFoundError, match="has no file"):
        plots.intensity_histogram(table, "Effusion")
    with pytest.raises(ValueError, match="did you mean 'Effusion'"):
        plots.intensity_histogram(table, "Efusion")


SHARES = {"bins": [0, 64, 128, 256], "positive": [0.1, 0.3, 0.6], "negative": [0.5, 0.5, 0.0], "n_positive": 7,
          "n_negative": 1200}  # fmt: skip


def test_kept_shares_are_drawn_at_the_middle_of_their_bins_per_gray_level():
    ax = plots.intensity_profile(SHARES, "Pleural_Thickening", note="Synthetic images.")
    without, with_finding = ax.lines
    np.testing.assert_allclose(with_finding.get_data(), [[32, 96, 192], [10 / 64, 30 / 64, 60 / 128]])
    np.testing.assert_allclose(without.get_ydata(), [50 / 64, 50 / 64, 0])
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["no Pleural Thickening, n = 1,200", "Pleural Thickening, n = 7"]
    assert "Synthetic images." in [text.get_text() for text in ax.texts]


def test_black_air_does_not_press_all_other_grays_flat_and_the_legend_says_how_high_it_reaches():
    bins = list(range(0, 257, 32))
    airy = {"bins": bins, "positive": [0.65, *[0.05] * 7], "negative": [0.72, *[0.04] * 7], "n_positive": 9}
    ax = plots.intensity_profile({**airy, "n_negative": 9}, "Mass")
    assert ax.get_ylim()[1] == pytest.approx(1.3 * 5 / 32)
    assert ax.get_legend().get_title().get_text() == "mean image\nbeyond the axis: black 2.25"
    even = plots.intensity_profile({**airy, "n_negative": 9, "positive": [1 / 8] * 8, "negative": None}, "Mass")
    assert even.get_ylim()[1] > 1.2 * 12.5 / 32 and even.get_legend().get_title().get_text() == "mean image"


def test_a_group_without_images_is_left_out_and_shares_that_do_not_fit_are_refused():
    assert len(plots.intensity_profile({**SHARES, "positive": None, "n_positive": 0}, "Mass").lines) == 1
    with pytest.raises(ValueError, match="2 positive shares do not fit 4 edges"):
        plots.intensity_profile({**SHARES, "positive": [0.5, 0.5]}, "Mass")


def _study(findings=("Edema",)):
    model = Estimate(0.9, 0.85, 0.94, 0.95, 200, "DeLong")
    alone = Estimate(0.7, 0.6, 0.8, 0.95, 200, "DeLong")
    none = Estimate.not_estimable("all images have the same image size", n=200)
    rows = []
    for finding in findings:
        for name, value in (("view", 0.3), ("age and sex", 0.25), ("image size", None), ("thumbnail", -0.02)):
            difference = none if value is None else Estimate(value, value - 0.06, value + 0.06, 0.95, 200, "paired")
            rows.append(AgainstShortcut(finding, name, model, none if value is None else alone, difference, 0.1, 500))
    return ShortcutStudy("ab", tuple(rows), ("Toy images.",))


def _words(ax):
    return " ".join(text.get_text() for text in ax.texts)


def test_each_shortcut_has_its_interval_and_its_verdict_in_words():
    _, ax = plt.subplots(figsize=(8, 4))
    assert plots.shortcut_comparison(_study(), ax=ax) is ax
    assert "−0.020 (−0.080 to +0.040)  not shown to see more" in _words(ax)
    assert "+0.300 (+0.240 to +0.360)  sees more" in _words(ax)
    assert "all images have the same image size" in _words(ax)
    assert "model 0.900" in ax.get_xlabel()
    low, high = ax.get_xlim()
    assert low < -0.08 and high > 0.36
    plt.close("all")


def test_several_findings_stand_under_their_headings_and_one_can_be_chosen():
    study = _study(("Edema", "Pleural_Thickening"))
    words = _words(plots.shortcut_comparison(study))
    assert "Edema" in words and "Pleural thickening" in words.replace("Thickening", "thickening")
    one = plots.shortcut_comparison(study, "Edema")
    assert "Edema" in one.get_title(loc="left") + one.get_title()
    plt.close("all")


def test_what_is_no_comparison_is_refused_in_a_sentence():
    with pytest.raises(TypeError, match=r"measure_shortcuts\(run, table\)"):
        plots.shortcut_comparison(None)
    with pytest.raises(ValueError, match="there are: Edema"):
        plots.shortcut_comparison(_study(), "Mass")
