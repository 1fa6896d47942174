"""Every number from DICOM files, readers or another run says what it was measured on."""

import shutil

import pandas as pd
import pytest

from chexkeras import files
from chexkeras.report import submission
from chexkeras.report.answers import load_answers
from chexkeras.report.facts.bias.sources import ALL, NONE, NOT_RECORDED, SOME, kind_of_files
from chexkeras.report.facts.collect import collect_facts


def _results(run, **changes):
    path = run.folder / "dicom_results.csv"
    pd.read_csv(path, dtype=str, keep_default_na=False).assign(**changes).to_csv(path, index=False)


def _text(run, answers=None):
    facts = collect_facts(run, answers=answers)
    return facts, " ".join(submission.preview(facts).text.split())


PLACES = (
    "Of 9 synthetic DICOM files offered to this run",
    "Offered to this run: 9 synthetic DICOM files.",
    "2 of 9 synthetic DICOM files",
    "files that were scored (synthetic files)",
    "Processing time, median | 0.10 s (synthetic files)",
    "(synthetic files)",
)


def test_synthetic_files_scored_by_a_run_on_real_images_are_named_beside_every_number_and_at_the_head(make_run):
    run = make_run(synthetic=False)
    _, before = _text(run)
    assert "synthetic" not in before.casefold()
    _results(run, synthetic="yes")
    facts, text = _text(run)
    for place in PLACES:
        assert place in text, place
    assert "Share of DICOM files refused | 0.333" in text
    rate = text[text.index("Share of DICOM files refused") :][:120]
    assert rate.count("(synthetic files)") == 1
    (caution,) = [each for each in facts["cautions"].value if "DICOM files" in each]
    assert caution.startswith("The DICOM files scored with this run are synthetic, unlike the images")
    assert caution in text
    # Only the files are: nothing says that of the images.
    assert facts["source.synthetic"].value is False
    assert "copies of radiographs of this data set" not in text


def test_real_files_scored_by_a_run_on_phantoms_are_not_called_synthetic(make_run):
    run = make_run(synthetic=True)
    _, before = _text(run)
    assert "9 synthetic DICOM files" in before and "copies of radiographs of this data set" in before
    _results(run, synthetic="no")
    facts, text = _text(run)
    assert "synthetic DICOM files" not in text and "(synthetic files)" not in text
    assert "copies of radiographs of this data set" not in text
    assert "not marked as synthetic, unlike the images" in text
    assert facts["dicom.synthetic"].value == NONE


def test_results_of_an_earlier_version_say_that_it_was_not_recorded(make_run):
    run = make_run(synthetic=False)
    path = run.folder / "dicom_results.csv"
    pd.read_csv(path).drop(columns="synthetic").to_csv(path, index=False)
    facts, text = _text(run)
    assert facts["dicom.synthetic"].value == NOT_RECORDED
    assert "9 DICOM files (whether synthetic was not recorded)" in text


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("a", "", "yes"), ("b", "view", "yes")], (ALL, 2)),
        # A web page and an empty file have no header that could say so.
        ([("a", "", "yes"), ("b", "not_dicom", "no"), ("c", "unreadable", "no")], (ALL, 1)),
        ([("a", "", "yes"), ("b", "view", "no")], (SOME, 1)),
        ([("a", "", "no"), ("b", "not_dicom", "no")], (NONE, 0)),
        ([("a", "", ""), ("b", "", "")], (NOT_RECORDED, 0)),
        ([("a", "", "yes"), ("a", "", "yes")], (ALL, 1)),
    ],
)
def test_files_are_counted_once_and_those_without_a_header_left_open(rows, expected):
    assert kind_of_files(pd.DataFrame(rows, columns=["file", "code", "synthetic"])) == expected


def test_readings_of_images_that_are_not_the_runs_say_so(make_run, tmp_path):
    run = make_run()
    ids = run.table["image_id"].tolist()[:20]
    answers = tmp_path / "submission.toml"
    answers.write_text('[readers]\nfile = "calls.csv"\nfinding = "Effusion"\n', encoding="utf-8")
    for images, expected in (
        (ids, "The images that were read are this run's own, and synthetic"),
        ([*ids[:15], *(f"film{number}.png" for number in range(5))], "5 of the 20 images that were read are not among"),
    ):
        calls = [number % 2 for number in range(20)]
        pd.DataFrame({"image_id": images, "A": calls, "B": calls, "C": calls[::-1]}).to_csv(
            tmp_path / "calls.csv", index=False
        )
        _, text = _text(run, load_answers(answers))
        assert expected in text


def test_a_run_that_learnt_from_another_source_is_named_where_it_is_compared(make_run, tmp_path):
    run = make_run()
    answers = tmp_path / "submission.toml"
    answers.write_text(f'[comparison]\nrun = "{run.folder}2"\n', encoding="utf-8")
    shutil.copytree(run.folder, f"{run.folder}2")
    _, same = _text(run, load_answers(answers))
    assert "not what they learnt from" not in same
    path = run.folder.with_name(f"{run.folder.name}2") / "provenance.json"
    document = files.read_json(path)
    document["source"] |= {"dataset": "NIH ChestX-ray14", "synthetic": False}
    files.write_json(path, document)
    _, text = _text(run, load_answers(answers))
    assert "was trained on NIH ChestX-ray14 (not synthetic), this run on chexkeras phantoms (synthetic)" in text
