"""The figures of an image table, drawn from NIH's full label file: they show its published counts."""

import matplotlib
import matplotlib.pyplot as plt
import pytest

from chexkeras import plots
from chexkeras.plots.dataset import findings_with, prevalence_by_age

matplotlib.use("Agg")
pytestmark = pytest.mark.realdata


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def named(ax, bars) -> dict[str, float]:
    """Returns the length of each horizontal bar by its label."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    return {name: bar.get_width() for name, bar in zip(names, bars, strict=True)}


def test_the_14_findings_are_counted(full_nih):
    ax = plots.prevalence(full_nih)
    assert ax.get_title(loc="left") == "Findings in 112,120 images of 30,805 patients"
    # Data_Entry_2017_v2020.csv, counted with grep.
    assert named(ax, ax.patches) == {
        "Atelectasis": 11_559, "Cardiomegaly": 2_776, "Effusion": 13_317, "Infiltration": 19_894, "Mass": 5_782,
        "Nodule": 6_331, "Pneumonia": 1_431, "Pneumothorax": 5_302, "Consolidation": 4_667, "Edema": 2_303,
        "Emphysema": 2_516, "Fibrosis": 1_686, "Pleural Thickening": 3_385, "Hernia": 227,
    }  # fmt: skip


def test_pneumonia_comes_with_what_is_published(full_nih):
    ax = findings_with(full_nih, "Pneumonia")
    shares = named(ax, ax.containers[0].patches)
    assert {name: round(shares[name], 1) for name in ("Infiltration", "Edema", "Effusion")} == {
        "Infiltration": 42.3,
        "Edema": 23.8,
        "Effusion": 18.8,
    }
    assert list(shares)[-3:] == ["Effusion", "Edema", "Infiltration"]


def test_ages_and_sexes_views_and_images_per_patient_add_up(full_nih):
    ax = plots.age_sex(full_nih)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["female, n = 48,780", "male, n = 63,340"]
    assert sum(bar.get_height() for bars in ax.containers for bar in bars.patches) == 112_120
    ax = plots.images_per_patient(full_nih)
    assert sum(bar.get_height() for bar in ax.patches) == 30_805
    ax = plots.findings_per_image(full_nih)
    assert [bar.get_height() for bar in ax.patches][:2] == [60_361, 30_963]
    ax = prevalence_by_age(full_nih, "Pneumonia")
    images = [int(label.get_text().split("\n")[1].replace(",", "")) for label in ax.get_xticklabels()]
    assert sum(images) == 112_120
    ax = plots.views(full_nih, "Pneumonia")
    assert [sum(bar.get_width() for bar in bars.patches) for bars in ax.containers] == [1_431, 110_689]
