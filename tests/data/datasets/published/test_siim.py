"""SIIM-ACR: outlines to labels, and what is refused."""

import pytest

import chexkeras as cx
from chexkeras.data import load_siim

ONE, TWO = "1.2.276.0.7230010.3.1.4.8323329.1.1", "1.2.276.0.7230010.3.1.4.8323329.2.1"
LABELS = f"ImageId, EncodedPixels\n{ONE}, 5 2 8 3\n{ONE}, 7 1\n{TWO}, -1\n"


def test_an_image_with_an_outline_is_positive(tmp_path):
    (tmp_path / "train-rle.csv").write_text(LABELS)
    table = cx.open_data(tmp_path, missing="keep")
    assert table["Pneumothorax"].tolist() == [1.0, 0.0]
    assert table.source.dataset == "SIIM-ACR Pneumothorax Segmentation"
    assert (
        "names do not tell which"
        in cx.data.shared_images(
            cx.data.ImageTable({"image_id": ["00000013_008.png"], "patient_id": ["13"]}), table
        ).undecided
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{LABELS}{ONE}, -1\n", "with an outline and without one"),
        (LABELS.replace(", -1", ", none"), "is neither -1 nor numbers"),
    ],
)
def test_malformed_tables_are_refused(tmp_path, text, message):
    (tmp_path / "train-rle.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_siim(tmp_path, missing="keep")
