"""What is told of the data sets, and that names mean one thing wherever they are read."""

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.data import list_data_sets, list_findings
from chexkeras.data.datasets import correspondence
from chexkeras.data.datasets.boxes import CORRESPONDING
from chexkeras.data.datasets.entries import DATA_SETS
from chexkeras.data.readings import sources
from chexkeras.findings import ALL, NIH14


def test_every_published_data_set_is_listed():
    listed = list_data_sets()
    assert listed["name"].tolist() == [
        "NIH", "CheXpert", "RSNA", "PadChest", "VinDr-CXR", "Open-I", "MIMIC-CXR-JPG", "SIIM-ACR"
    ]  # fmt: skip
    assert (listed != "").drop(columns="images_of").all().all()
    of_nih = dict(zip(listed["name"], listed["labels"], strict=True))
    assert of_nih["NIH"] == of_nih["PadChest"] == ", ".join(NIH14)
    assert of_nih["VinDr-CXR"].count(",") == 10 and "Mass" not in of_nih["VinDr-CXR"]


def test_what_names_mean_is_told_with_the_reason():
    found = list_findings("padchest").set_index("name")
    assert found.loc["pulmonary mass", "nih"] == "Mass"
    assert found.loc["subcutaneous emphysema"].tolist() == ["", "", "air below the skin, not Emphysema of the lung"]
    assert found.loc["hydropneumothorax", "here"] == "Pneumothorax, Effusion"
    chexpert = list_findings("CheXpert").set_index("name")
    assert chexpert.loc["Pleural Effusion", "nih"] == "Effusion" and chexpert.loc["Pleural Other", "nih"] == ""
    with pytest.raises(ValueError, match="'Padchset' is no data set; did you mean 'PadChest'"):
        list_findings("Padchset")


@pytest.mark.parametrize("data_set", sorted(correspondence.MEANINGS))
def test_a_name_means_a_known_finding_or_says_why_not(data_set):
    meanings = correspondence.MEANINGS[data_set]
    for name, meaning in meanings.items():
        assert set(meaning.columns) <= set(ALL) and set(meaning.nih) <= set(NIH14), name
        assert bool(meaning.nih) != bool(meaning.why), name
        # A label of NIH's that means the same is the finding itself, or one of those it sums up.
        assert meaning.here in meaning.nih or meaning.here not in NIH14, name
    assert len({name.casefold() for name in meanings}) == len(meanings)


def test_loaders_boxes_and_readings_read_one_table():
    for kind in ("rsna", "vindr"):
        labelled = dict(correspondence.corresponding(kind))
        source = {"rsna": sources.RSNA, "vindr": sources.VINDR}[kind]
        assert dict(source.corresponds) == labelled
        assert CORRESPONDING[kind] == correspondence.here(kind)
        entry = next(entry for entry in DATA_SETS if entry.meanings == kind)
        assert set(entry.vocabulary) == {name for name in correspondence.here(kind).values() if name}
    assert sources.VINDR.labels_of("Nodule/Mass") == ("Nodule", "Mass") and CORRESPONDING["vindr"]["nodule/mass"]


def test_the_command_lists_them_and_their_findings():
    shown = CliRunner().invoke(app, ["datasets"])
    assert shown.exit_code == 0 and all(f"{name}: " in shown.output for name in list_data_sets()["name"])
    one = CliRunner().invoke(app, ["datasets", "vindr-cxr"])
    assert one.exit_code == 0 and "Nodule/Mass" in one.output and "interstitial lung disease" in one.output
    wrong = CliRunner().invoke(app, ["datasets", "nothing"])
    assert wrong.exit_code != 0
