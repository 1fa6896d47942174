import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from chexkeras import plots


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


def test_a_group_without_images_is_left_out_and_shares_that_do_not_fit_are_refused():
    assert len(plots.intensity_profile({**SHARES, "positive": None, "n_positive": 0}, "Mass").lines) == 1
    with pytest.raises(ValueError, match="2 positive shares do not fit 4 edges"):
        plots.intensity_profile({**SHARES, "positive": [0.5, 0.5]}, "Mass")
