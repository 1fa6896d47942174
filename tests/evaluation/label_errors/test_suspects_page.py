"""The page of suspect labels: offline, with nothing of a file taken for markup, and a CSV that is read again."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import chexkeras as cx
from chexkeras.evaluation.cross_validation.fold_scores import FILE
from chexkeras.runs.suspects import suspects_of


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    names = ["</script><b>.png", *(f"i{at}.png" for at in range(79))]
    label = (rng.random(80) < 0.4).astype(float)
    label[0] = 1.0
    score = np.clip(0.2 + 0.6 * label + 0.1 * rng.normal(size=80), 0, 1)
    score[0] = 0.01
    return cx.evaluation.find_suspects(
        pd.DataFrame({"image_id": names, "patient_id": names, "finding": "Mass", "label": label, "score": score}),
        thresholds=pd.Series(np.full(80, 0.5)), cautions=["<i>Synthetic</i>"],
    )  # fmt: skip


def test_the_page_needs_no_network_and_takes_text_for_text(tmp_path, found):
    page = cx.report.write_suspects(found, tmp_path / "out").read_text()
    assert not re.search(r"https?://|<script src|<link|@import", page)
    assert "default-src 'none'" in page
    assert page.count("</script>") == 2
    assert "&lt;i&gt;Synthetic&lt;/i&gt;" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert data["rows"][0]["image_id"] == "</script><b>.png"
    assert data["rows"][0]["threshold"] == 0.5


def test_images_are_inline_where_they_can_be_read_and_neighbours_beside(tmp_path, found):
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "one.png")
    (tmp_path / "two.png").write_bytes(b"no image")
    table = pd.DataFrame({"image_id": ["</script><b>.png", "i1.png"], "patient_id": ["a", "b"],
                          "path": [str(tmp_path / "one.png"), str(tmp_path / "two.png")]})  # fmt: skip
    page = cx.report.write_suspects(found, tmp_path / "out", table=table, neighbours=lambda _: ["i1.png"]).read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert data["images"]["</script><b>.png"].startswith("data:image/jpeg;base64,")
    assert data["images"]["i1.png"] == ""
    assert data["rows"][0]["near"] == ["i1.png"]


def test_the_csv_is_read_again_once_it_is_filled_in(tmp_path, found):
    cx.report.write_suspects(found, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "suspects.csv", dtype=str, keep_default_na=False)
    assert list(table.columns) == ["image_id", "finding", "label", "proposed", "your_label", "note", "read_by"]
    assert (table["your_label"] == "").all()
    table.loc[0, "your_label"] = "0"
    table.to_csv(tmp_path / "filled.csv", index=False)
    labels = found.table[["image_id", "label"]].rename(columns={"label": "Mass"})
    images = cx.data.ImageTable.of(labels.assign(patient_id=labels["image_id"]))
    made = cx.data.apply_corrections(images, tmp_path / "filled.csv")
    assert (made["Mass"] != images["Mass"]).sum() == 1


def test_what_was_filled_in_is_not_replaced_unasked(tmp_path, found):
    cx.report.write_suspects(found, tmp_path / "out")
    with pytest.raises(FileExistsError, match="holds suspect labels already"):
        cx.report.write_suspects(found, tmp_path / "out")
    cx.report.write_suspects(found, tmp_path / "out", overwrite=True)


def test_a_folder_of_something_else_is_refused(tmp_path, found):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else already"):
        cx.report.write_suspects(found, tmp_path)


def test_a_cross_validation_is_judged_by_the_mean_of_its_trainings(tmp_path):
    from chexkeras import files
    from tests.evaluation.cross_validation.made_folds import out_of_fold

    table = out_of_fold(seeds=2)
    files.write_csv(tmp_path / FILE, table)
    files.write_json(tmp_path / "cross_validation.json", {"cautions": ["Synthetic images."]})
    found = suspects_of(tmp_path)
    first = found.table.iloc[0]
    assert first["score"] == pytest.approx(table.loc[table["image_id"] == first["image_id"], "score"].mean())
    assert found.cautions[0] == "Synthetic images."
    assert len(found.table) == table["image_id"].nunique()
