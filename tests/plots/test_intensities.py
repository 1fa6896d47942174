import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from chexkeras import plots


@pytest.fixture
def on_disk(table, tmp_path):
    """Four Effusion films of gray 200, five others of gray 50, one with an unknown label."""
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
    assert "Synthetic films, not clinical evidence." in [text.get_text() for text in ax.texts]


def test_at_most_so_many_films_are_opened_and_the_legend_says_of_how_many(on_disk):
    ax = plots.intensity_histogram(on_disk, "Effusion", most=2)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["no Effusion, n = 2 of 5", "Effusion, n = 2 of 4"]


def test_a_finding_that_no_film_shows_leaves_one_curve(on_disk):
    ax = plots.intensity_histogram(on_disk, "Hernia")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no Hernia, n = 10"]


def test_films_without_a_file_and_unknown_findings_are_refused(table):
    with pytest.raises(FileNotFoundError, match="has no file"):
        plots.intensity_histogram(table, "Effusion")
    with pytest.raises(ValueError, match="did you mean 'Effusion'"):
        plots.intensity_histogram(table, "Efusion")
