import json
import shutil

from chexkeras.report.facts.dicom import add_novelty
from chexkeras.report.facts.facts import Facts
from chexkeras.runs.run import NOVELTY, Run
from tests.report.conftest import write_novelty


def facts_of(folder):
    facts = Facts()
    add_novelty(facts, Run.load(folder))
    return facts


def test_a_run_that_has_learnt_it_says_how_often_it_is_wrong(small_run):
    facts = facts_of(small_run)
    assert facts["novelty"].value
    assert facts["novelty.n_validation"].text == "150"
    assert facts["novelty.false_alarms"].text.startswith("0.007 (95 % CI 0.000")
    assert facts["novelty.on_test"].value.n == 60
    assert facts["novelty.threshold"].file == NOVELTY


def test_one_that_has_not_says_so(finished_run):
    facts = facts_of(finished_run)
    assert not facts["novelty"].value
    assert "not measured" in facts["novelty.reason"].text
    assert "novelty.threshold" not in facts


def test_too_few_validation_images_are_no_threshold(small_run, tmp_path):
    folder = shutil.copytree(small_run, tmp_path / "run")
    write_novelty(folder, validation=50)
    assert json.loads((folder / NOVELTY).read_text())["threshold"] is None
    facts = facts_of(folder)
    assert not facts["novelty"].value
    assert "at least 99 are needed" in facts["novelty.reason"].text
