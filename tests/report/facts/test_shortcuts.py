"""What report and model card say of the model beside shortcuts."""

import dataclasses

import pytest

from chexkeras.report import submission
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.model_card import write_model_card
from chexkeras.results import Estimate
from chexkeras.runs.run import SHORTCUTS

NOT_SHOWN = "Effusion: the model, AUROC"


def _text(run):
    return submission.preview(collect_facts(run)).text


def _section(text):
    return text[text.index("### The Model Beside Shortcuts") : text.index("## 9. ")]


def _with(run, **differences):
    """Keeps a study whose differences from the named shortcuts are replaced, each by value, low and high."""
    study = run.shortcuts
    entries = tuple(
        dataclasses.replace(
            entry, difference=Estimate(*differences[entry.shortcut.replace(" ", "_")], 0.95, 100, "paired DeLong")
        )
        if entry.shortcut.replace(" ", "_") in differences
        else entry
        for entry in study.entries
    )
    dataclasses.replace(study, entries=entries).save(run.folder / SHORTCUTS)


GOOD = dict.fromkeys(("view", "age_and_sex", "thumbnail", "all_together"), (0.1, 0.05, 0.15))


def test_every_shortcut_has_a_row_with_both_areas_the_difference_and_its_verdict(make_run):
    run = make_run(skill=1.0)
    section = _section(_text(run))
    for entry in run.shortcuts.entries:
        assert entry.verdict in section
    assert "| a thumbnail of 8 x 8 pixels | 0." in section
    assert "not estimable (all images have the same image size)" in section
    assert "fitted to the training images alone" in section
    # Numbers and their fact's source: shortcuts.json.
    assert collect_facts(run)["shortcuts.Effusion.rows"].file == "shortcuts.json"


def test_a_model_that_does_not_see_more_is_named_on_the_first_page_and_on_the_card(make_run, tmp_path):
    run = make_run()
    _with(run, **GOOD | {"thumbnail": (-0.02, -0.08, 0.04)})
    head, section = (text := _text(run))[: text.index("## Algorithm Description")], _section(text)
    assert "is not shown to see more than a thumbnail of 8 x 8 pixels, AUROC" in head
    assert "difference -0.020 (95 % CI -0.080 to +0.040)" in head
    assert "not shown to see more |" in section and "**Not shown to see more than a shortcut:** Effusion." in section
    card = write_model_card(run, tmp_path / "card.md").read_text(encoding="utf-8")
    assert "Measure the scores for Effusion on images of another source" in card
    assert "| Effusion | a thumbnail of 8 x 8 pixels |" in card
    assert "is not shown to see more than a thumbnail" in card


def test_a_model_that_sees_less_is_said_to(make_run):
    run = make_run()
    _with(run, **GOOD | {"thumbnail": (-0.1, -0.15, -0.05), "all_together": (-0.1, -0.15, -0.05)})
    (summary,) = collect_facts(run)["shortcuts.summary"].value
    assert "sees less than a thumbnail of 8 x 8 pixels" in summary
    assert "Nor is it shown to see more than view, age and sex, image size and thumbnail together" in summary


def test_a_model_that_sees_more_than_all_of_them_has_no_sentence_on_the_first_page(make_run):
    run = make_run()
    _with(run, **GOOD)
    facts = collect_facts(run)
    assert facts["shortcuts.summary"].value == [] and facts["shortcuts.failing"].value == []
    text = submission.preview(facts).text
    assert NOT_SHOWN not in text
    assert "Not shown to see more than a shortcut" not in text


@pytest.mark.parametrize("change", ["absent", "stale"])
def test_a_run_without_or_with_another_runs_comparison_says_so(make_run, change):
    run = make_run()
    if change == "absent":
        (run.folder / SHORTCUTS).unlink()
        expected = "Not compared: whether the model sees more"
    else:
        dataclasses.replace(run.shortcuts, scores_fingerprint="ab" * 32).save(run.folder / SHORTCUTS)
        expected = "NOT SHOWN: shortcuts.json was made on other scores than those on file."
    section = _section(_text(run))
    assert expected in section
    assert "| a thumbnail" not in section
    assert collect_facts(run)["shortcuts.summary"].value == []
