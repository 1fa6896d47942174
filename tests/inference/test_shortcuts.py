"""A finished run beside shortcuts: what training keeps of it, made again from the files and from the images."""

import shutil

import numpy as np
import pandas as pd
import pytest

from chexkeras.data.audit.against_model import compare_with_shortcuts
from chexkeras.inference.shortcuts import measure_shortcuts
from chexkeras.runs.run import SHORTCUT_SCORES, SHORTCUTS, Run

pytestmark = pytest.mark.keras


@pytest.fixture
def copied(toy_run, tmp_path):
    return Run.load(shutil.copytree(toy_run.folder, tmp_path / "copied"))


def test_training_leaves_the_comparison_of_every_shortcut(toy_run):
    study = toy_run.shortcuts
    verdicts = {entry.shortcut: entry.verdict for entry in study.entries}
    assert list(verdicts) == ["view", "age and sex", "image size", "thumbnail", "all together"]
    # Toy patients with the finding are all of one sex, their images have a bright square, and all have one size.
    (thumbnail,) = (entry for entry in study.entries if entry.shortcut == "thumbnail")
    assert thumbnail.alone.value > 0.95
    assert verdicts["image size"] == "not estimable"
    assert study.cautions == toy_run.cautions
    assert len(study.failing) > 0


def test_the_comparison_is_made_again_from_the_scores_that_were_kept(toy_run):
    study = toy_run.shortcuts
    kept = pd.read_csv(toy_run.folder / SHORTCUT_SCORES, dtype={"image_id": str, "patient_id": str})
    again = compare_with_shortcuts(toy_run.scores("test"), kept, cautions=study.cautions)
    for one, other in zip(study.entries, again.entries, strict=True):
        assert one.verdict == other.verdict
        if one.difference.estimable:
            assert one.difference.value == pytest.approx(other.difference.value, abs=1e-9)
            assert one.difference.low == pytest.approx(other.difference.low, abs=1e-9)
    assert again.scores_fingerprint == study.scores_fingerprint


def test_measured_again_with_its_images_it_is_what_training_kept(copied, toy):
    before = copied.shortcuts
    with pytest.raises(FileExistsError, match="overwrite=True"):
        measure_shortcuts(copied, toy)
    again = measure_shortcuts(copied, toy, overwrite=True)
    for one, other in zip(before.entries, again.entries, strict=True):
        assert one.alone.estimable == other.alone.estimable
        assert np.isclose(one.alone.value, other.alone.value, atol=1e-6, equal_nan=True)
    assert str(copied.shortcuts) == str(again)


def test_a_run_from_before_has_none_and_gets_one_without_its_images(copied):
    for name in (SHORTCUTS, SHORTCUT_SCORES):
        (copied.folder / name).unlink()
    assert copied.shortcuts is None
    study = measure_shortcuts(copied)
    by_name = {entry.shortcut: entry for entry in study.entries}
    assert by_name["thumbnail"].alone.reason == "the images were not at hand"
    assert by_name["age and sex"].alone.value > 0.95
    assert any("not compared with a thumbnail" in caution for caution in study.cautions)
    assert str(copied.shortcuts) == str(study)


def test_other_images_and_absent_ones_are_refused(copied, toy):
    with pytest.raises(ValueError, match="are not in the table"):
        measure_shortcuts(copied, toy.iloc[:3], overwrite=True)
    with pytest.raises(FileNotFoundError, match="not on disk"):
        measure_shortcuts(copied, toy.assign(path="nowhere.png"), overwrite=True)


def test_a_damaged_comparison_says_which_file(copied):
    (copied.folder / SHORTCUTS).write_text('{"entries": []}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"shortcuts\.json of the run lacks"):
        _ = copied.shortcuts
