"""What the report's section on ground truth says of readers who read test images again."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation import Readings, ReadingsSource
from chexkeras.report import submission
from chexkeras.report.facts.collect import collect_facts
from chexkeras.runs.analysis import evaluate_by_readers
from chexkeras.runs.run import READERS, Run


def section(run):
    text = submission.preview(collect_facts(run)).text
    return text[text.index("### 5. ") : text.index("### 6. ")]


def read_again(run, *, images=40):
    """Readings of some test images, every fifth against its label, and of two training images."""
    scores = run.scores("test").head(images)
    value = np.where(np.arange(len(scores)) % 5 == 0, 1 - scores["label"], scores["label"])
    table = pd.DataFrame({"image_id": scores["image_id"], "finding": "Effusion", "value": value})
    trained = run.splits.loc[run.splits["part"] == "train", ["image_id"]].head(2).assign(finding="Effusion", value=0)
    other = table.head(3).assign(finding="Fracture")
    source = ReadingsSource("readings for a test", citation="Nobody, 2026.", differs=(("Fracture", "no such label"),))
    return Readings.of(pd.concat([table, trained, other]), source)


def test_labels_and_scores_against_readers_stand_in_the_report(make_run):
    run = make_run(synthetic=False)
    found = evaluate_by_readers(run, read_again(run), keep=True)
    (entry,) = found.findings
    text = section(Run.load(run.folder))
    quality = entry.quality
    assert f"| Effusion | {quality.n_images} | {quality.both + quality.labelled_only} |" in text
    assert f"| {quality.ppv.value:.3f} (95 % CI" in text
    assert f"| AUROC | {entry.auroc_labels.value:.3f} (95 % CI" in text
    assert f"Effusion: the model {entry.verdict}." in text
    assert "2 further images that were read belong to other parts" in text
    assert "Not compared: Fracture: no such label." in text
    assert "No readings of this run's test images" not in text


def test_readings_for_other_scores_are_not_shown(make_run):
    run = make_run(synthetic=False)
    evaluate_by_readers(run, read_again(run), keep=True)
    path = run.folder / "scores_test.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, "score"] = "0.123"
    table.to_csv(path, index=False)
    text = section(Run.load(run.folder))
    assert "NOT SHOWN: readers.json was made for other scores" in text
    assert "against the readers" not in text


def test_a_run_on_nih_without_readings_says_so_and_what_is_known_of_the_labels(make_run):
    text = section(make_run(synthetic=False))
    assert "No readings of this run's test images were given" in text
    # Counts of Majkowska et al.'s table: 238 labelled, 238 by readers, 109 both.
    assert "| Pneumothorax | 4,376 | 238 | 238 | 109 | 0.458 (95 % CI 0.389" in text
    assert "| Nodule or Mass | 4,376 | 455 | 605 | 256 |" in text


@pytest.mark.parametrize("synthetic", [True])
def test_synthetic_labels_are_right_by_construction_and_nothing_else_is_said(make_run, synthetic):
    text = section(make_run(synthetic=synthetic))
    assert "right by construction" in text
    assert "read again" not in text and "Majkowska" not in text


def test_a_damaged_file_is_one_clear_error(make_run):
    run = make_run()
    (run.folder / READERS).write_text('{"readings": 1}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"readers.json of the run lacks.*--reference --keep --overwrite"):
        section(Run.load(run.folder))
