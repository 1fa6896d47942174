import re
from pathlib import Path

import pytest

from chexkeras import files
from chexkeras.report import model_card
from chexkeras.report.answers import Answers
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.lint.check import check_text
from chexkeras.report.model_card import card_text, write_model_card
from chexkeras.runs.run import Run

TEMPLATE = Path(model_card.__file__).parent / "templates" / model_card.TEMPLATE
SECTIONS = [
    "Model Details", "Intended Use", "Factors", "Metrics", "Evaluation Data", "Training Data",
    "Quantitative Analyses", "Ethical Considerations", "Recommendations",
]  # fmt: skip


def card(run, answers=None):
    """The card as one line per paragraph."""
    return " ".join(card_text(collect_facts(run, answers=answers)).split())


@pytest.fixture(scope="module")
def written(finished_run, tmp_path_factory):
    return write_model_card(finished_run, tmp_path_factory.mktemp("card") / "model_card.md")


def test_the_sections_stand_in_order_and_cautions_come_first(written):
    lines = written.read_text().splitlines()
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == SECTIONS
    assert lines[0].startswith("# Model Card: ")
    first_number = next(at for at, line in enumerate(lines) if "95 % CI" in line)
    assert lines[2] == "> **Caution.** Synthetic images, not clinical evidence."
    assert first_number > lines.index("## Quantitative Analyses")


def test_no_number_is_typed_into_the_template():
    text = TEMPLATE.read_text()
    assert re.findall(r".*\d.*", re.sub(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}", "", text, flags=re.DOTALL)) == []
    assert re.findall(r"\d", " ".join(re.findall(r"\{\{(.*?)\}\}", text, flags=re.DOTALL))) == []


def test_it_has_the_reports_numbers(written, finished_run):
    facts = collect_facts(Run.load(finished_run))
    text = written.read_text()
    for key in (
        "test.Effusion.auroc", "test.Effusion.sensitivity", "test.Effusion.specificity", "point.Effusion.threshold",
        "verdict.Effusion.sensitivity", "network.parameters", "data.test.images", "data.train.age_max",
        "groups.Effusion.view.0.specificity", "goal.sensitivity_above", "hash.model",
    ):  # fmt: skip
        assert facts[key].text in text, key


@pytest.mark.parametrize(("name", "change", "sentence"), [
    ("evaluation.json", lambda d: d["findings"][0]["auroc"].update(value=0.8765), "AUROC | 0.876 (95 % CI"),
    ("evaluation.json", lambda d: d["findings"][0]["specificity"].update(low=0.8123), "n = 101) | NOT ESTIMABLE |"),
    ("evaluation.json", lambda d: d["findings"][0]["auroc"].update(low=0.4), "better than chance was not shown"),
    ("evaluation.json", lambda d: d["findings"][0]["subgroups"][0]["groups"][0].update(n_images=777), "| 777 |"),
    ("operating_points.json", lambda d: d[0].update(threshold=0.4321), "score is at least 0.4321"),
    ("recipe.json", lambda d: d.update(image_size=161), "161 × 161 pixels"),
    ("stages.json", lambda d: d[-1].update(total_parameters=8_612_418), "8,612,418 parameters"),
    ("provenance.json", lambda d: d["cautions"].append("A case-control sample."), "> **Caution.** A case-control"),
])  # fmt: skip
def test_changing_one_number_in_the_run_folder_changes_the_sentence(name, change, sentence, run_folder):
    assert sentence not in card(Run.load(run_folder))
    document = files.read_json(run_folder / name)
    change(document)
    files.write_json(run_folder / name, document)
    assert sentence in card(Run.load(run_folder))


def test_answers_take_the_place_of_gaps(finished_run):
    run = Run.load(finished_run)
    assert "[SPONSOR TO COMPLETE: name of the device]" in card(run)
    answers = Answers({"device.name": "Night watch.", "goals.sensitivity_above": 0.5, "goals.specificity_above": 0.6})
    text = card(run, answers)
    assert "# Model Card: Night watch > **Caution.** Synthetic images" in text
    assert "sensitivity 0.50, specificity 0.60 (goal stated by the sponsor)" in text
    assert "performance goals: MET**" in text


def test_bad_leaky_and_synthetic_models_read_as_such(make_run):
    bad = card(make_run(skill=0.0, synthetic=False))
    assert "performance goals: NOT MET** On this evidence the model should not be used" in bad
    assert "An aim, not a demonstrated capability" in bad
    assert "text-mined from the radiology reports" in bad
    leaky = card(make_run(leaky=True, skill=5.0))
    assert "performance goals: NOT ESTIMABLE** The split is leaky" in leaky
    assert "| MET |" not in leaky
    assert "right by construction" in leaky


def test_a_model_of_an_earlier_stage_is_not_passed_off_as_the_last(run_folder):
    assert "was not kept" not in card(Run.load(run_folder))
    document = files.read_json(run_folder / "provenance.json")
    document["best"] = {"stage": "stage1", "epoch": 4}
    files.write_json(run_folder / "provenance.json", document)
    text = card(Run.load(run_folder))
    assert "epoch 4 of stage1, best on the validation part; what the stages after it trained was not kept" in text


def test_several_findings_are_told_apart(make_run):
    text = card(make_run(targets=("Effusion", "Pleural_Thickening"), dicom=False))
    assert "Call, Pleural Thickening" in text
    assert "Effusion by view" in text and "Pleural Thickening by view" in text


def test_the_checks_find_only_what_is_left_open(written, finished_run):
    assert {issue.rule for issue in check_text(written.read_text())} == {"open-field"}


def test_text_from_files_cannot_break_it(run_folder):
    document = files.read_json(run_folder / "provenance.json")
    document["cautions"].append("a|b <script>alert(1)</script>\n# Heading")
    files.write_json(run_folder / "provenance.json", document)
    text = card_text(collect_facts(Run.load(run_folder)))
    assert r"a\|b &lt;script>alert(1)&lt;/script> # Heading" in text
    assert "<script" not in text


def test_a_missing_file_is_named_and_leaves_the_old_card(run_folder, tmp_path):
    out = tmp_path / "model_card.md"
    out.write_text("the old card")
    (run_folder / "stages.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"stages\.json"):
        write_model_card(run_folder, out)
    assert out.read_text() == "the old card"
