"""Every section that has numbers follows the files it rests on: one number changed there, and its sentence changes."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from chexkeras import files
from chexkeras.evaluation.calibration.recalibration import FILE, fit_recalibration, save_recalibrations
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.group_columns import columns_to_measure
from chexkeras.report import submission
from chexkeras.report.answers import load_answers
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.facts.run_reader import REQUIRED_FILES
from chexkeras.runs.run import Run

HEAD, CAUTIONS = 0, 99
CHECKS, PROVENANCE = "A", "B"


def sections(text):
    """Returns the report's sections by number, each as one line: 0 is its head, 99 the cautions, A and B appendices."""
    parts = re.split(r"^#{2,3} (?:(\d+)\. .*|(Data Cautions)|Appendix ([A-Z])\. .*)$", text, flags=re.MULTILINE)
    found = {HEAD: " ".join(parts[0].split())}
    for number, cautions, letter, body in zip(parts[1::4], parts[2::4], parts[3::4], parts[4::4], strict=True):
        found[CAUTIONS if cautions else letter or int(number)] = " ".join(body.split())
    return found


def _sections(folder, answers=None):
    facts = collect_facts(Run.load(folder), answers=answers and load_answers(answers))
    return sections(submission.preview(facts).text)


def _json(change):
    def edit(path):
        document = files.read_json(path)
        change(document)
        files.write_json(path, document)

    return edit


def _csv(change):
    def edit(path):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        change(table)
        table.to_csv(path, index=False)

    return edit


def _cell(row, column, value):
    return _csv(lambda table: table.__setitem__(column, table[column].where(table.index != row, value)))


def _move_a_patient(table):
    rows = table.index[table["patient_id"].duplicated(keep=False) & (table["part"] == "test")]
    table.loc[rows[0], "part"] = "train"


def _finding(**changes):
    return _json(lambda document: document["findings"][0].update(changes))


def _measure(name, **changes):
    return _json(lambda document: document["findings"][0][name].update(changes))


# File, what is changed in it, and by section what must stand there afterwards and did not before.
CHANGES = [
    ("recipe.json", _json(lambda d: d.update(image_size=161)), {2: "161 × 161 pixels"}),
    ("recipe.json", _json(lambda d: d.update(batch_size=77, seed=7)),
     {PROVENANCE: "| Seed | 7 |", 3: "Batch size: 77", 13: "seed 7 is recorded"}),
    ("recipe.json", _json(lambda d: d["stages"][1].update(learning_rate=0.00003)), {3: "0.00003 in stage2"}),
    ("recipe.json", _json(lambda d: d["stages"][1].update(optimizer="adamw", weight_decay=0.017)),
     {3: "AdamW, weight decay 0.017 in stage2"}),
    ("recipe.json", _json(lambda d: d["augment"].update(rotation_degrees=9.0)), {3: "at most 9 degrees"}),
    ("provenance.json", _json(lambda d: d.update(seconds=600)), {PROVENANCE: "trained in 10.0 minutes"}),
    ("provenance.json", _json(lambda d: d["cautions"].append("A case-control sample of 77.")),
     {HEAD: "> **Caution.** A case-control sample of 77.",
      1: "- The cautions at the head of this document (2) hold for all of it.",
      20: "the cautions at the head of this document (2) |",
      CAUTIONS: "- The cautions at the head of this document (2) hold for every number"}),
    ("provenance.json", _json(lambda d: d["source"].update(implausible_ages=17)), {4: "treated as unknown: 17."}),
    ("provenance.json", _json(lambda d: d["packages"].update(keras="9.9.9")), {15: "| keras | 9.9.9 |"}),
    ("provenance.json", _json(lambda d: d["model"].update(sha256="ab" * 32)),
     {15: "checked here: NO", 17: "`abababababababab`", 20: "`abababababababab`"}),
    ("stages.json", _json(lambda d: d[1].update(trainable_parameters=3517314)), {2: "3,517,314"}),
    ("stages.json", _json(lambda d: d[1].update(total_parameters=8612418)),
     {2: "8,612,418 parameters", 7: "8,612,418 parameters", 15: "8,612,418 parameters"}),
    ("history.csv", _cell(2, "val_auroc", "0.9876"), {3: "0.988 (epoch 3)"}),
    ("splits.csv", _csv(_move_a_patient), {4: "**LEAKY:** patients with images in more than one part: 1;",
                                           22: "The split is leaky"}),
    ("splits.json", _json(lambda d: d.update(fingerprint="00" * 32)),
     {HEAD: "measured: split (it is another split)", PROVENANCE: "NO: it is another split"}),
    ("table.csv", _cell(0, "age_years", "97.0"), {1: "to 97 years of age in all parts together"}),
    ("table.csv", _csv(lambda t: t.__setitem__("Effusion", t["Effusion"].where(t.index > 2, ""))), {5: "| 3 |"}),
    ("left_out.csv", _csv(lambda t: t.__setitem__("reason", "blank")), {4: "| blank | 3 |"}),
    ("audit.json", _json(lambda d: d["issues"]["unreadable"].update(count=23)), {4: "cannot be decoded | 23 |"}),
    ("model.keras", lambda path: path.write_bytes(b"another model"),
     {HEAD: "measured: model (it is another file", PROVENANCE: "NO: it is another file", 15: "NO",
      8: "Sensitivity: NOT ESTIMABLE (the model in the run folder is not"}),
    ("scores_validation.csv", _cell(0, "score", "0.123"),
     {HEAD: "measured: validation scores (", PROVENANCE: "validation: NO"}),
    ("scores_test.csv", _cell(0, "score", "0.123"), {HEAD: "test scores (", PROVENANCE: "| test: NO"}),
    ("scores_test.csv", _csv(lambda t: t.__setitem__("score", "0.5")),
     {10: None, 19: "0.500, 0.500, 0.500, 0.500, 0.500"}),
    ("operating_points.json", _json(lambda d: d[0].update(threshold=0.2345, n_positive=991)),
     {HEAD: "differs from operating_points.json", PROVENANCE: "| NO: they differ |", 3: "at least 0.2345",
      8: "threshold 0.2345", 19: None,
      20: "at least 0.2345"}),
    ("operating_points.json", _json(lambda d: d[0].update(n_positive=991)), {3: "991 positive"}),
    ("evaluation.json", _measure("sensitivity", value=0.9512, low=0.8765),
     {1: None, 3: "**0.951 (95 % CI 0.876", 6: "0.951 (95 % CI 0.876", 7: "0.951 (95 % CI 0.876", 18: None,
      8: "Sensitivity: NOT ESTIMABLE (the numbers in evaluation.json", 20: "0.951 (95 % CI 0.876",
      22: "| Effusion | NOT ESTIMABLE | NOT ESTIMABLE |"}),
    ("evaluation.json", _measure("auroc", low=0.456), {7: "0.456", 8: "not distinguishable from chance"}),
    ("evaluation.json", _finding(false_negatives=4321), {8: "4,321 false negative", 16: "4,321 of"}),
    ("evaluation.json", _measure("ppv", value=0.1111, low=0.1), {1: "agree with the label is 0.111"}),
    ("evaluation.json", _json(lambda d: d["findings"][0]["subgroups"][0]["groups"][0].update(n_positive=3)),
     {9: "too few: 3 positive"}),
    ("evaluation.json", _json(lambda d: d["findings"][0]["subgroups"][0]["interactions"][1].update(p_adjusted=0.0123)),
     {1: "sensitivity by sex", 9: "0.012", 20: "sensitivity by sex"}),
    ("evaluation.json", _json(lambda d: d["findings"][0]["calibration"]["slope"].update(value=1.2345)),
     {10: "| 1.23 (95 % CI"}),
    ("dicom_results.csv", _cell(0, "verdict", "reject"),
     {1: "4 (44.4 %) were rejected", 2: "rejected: 4", 19: "0.444 (95 % CI"}),
    ("dicom_results.csv", _cell(6, "code", "view"), {1: "`view` 3", 16: "3 of 9 synthetic DICOM files"}),
    ("dicom_results.csv", _csv(lambda t: t.__setitem__("seconds", "0.37")),
     {2: "0.37 s", 11: "0.37 s", 20: "0.37 s"}),
    ("shortcuts.json", _json(lambda d: d["entries"][3]["difference"].update(value=0.0123, low=-0.0456)),
     {HEAD: "is not shown to see more than a thumbnail of 8 x 8 pixels", 8: "+0.012 (95 % CI -0.046 to"}),
    ("shortcuts.json", _json(lambda d: d.update(scores_fingerprint="00" * 32)),
     {8: "NOT SHOWN: shortcuts.json was made on other scores"}),
    ("robustness.json", _json(lambda d: d["effects"][0]["comparisons"][0]["difference"].update(value=0.0123)),
     {13: "+0.012 (95 % CI"}),
    ("robustness.json", _json(lambda d: d.update(n_images=77, n_images_in_part=78)),
     {13: "Of the 78 test images, whole patients were drawn at random."}),
    ("robustness.json", _json(lambda d: d.update(scores_fingerprint="00" * 32)),
     {13: "NOT SHOWN: robustness.json was measured on other scores"}),
    ("dicom_results.csv", _csv(lambda t: t.__setitem__("profile", "course")),
     {17: "1 px to 10,000 px", CHECKS: "rules of the profile `course`"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def before(finished_run):
    return _sections(finished_run)


@pytest.mark.parametrize(("name", "edit", "wanted"), CHANGES)
def test_changing_one_number_in_the_run_folder_changes_the_sentence(name, edit, wanted, run_folder, before):
    edit(run_folder / name)
    after = _sections(run_folder)
    for section, sentence in wanted.items():
        assert after[section] != before[section], section
        assert sentence is None or (sentence in after[section] and sentence not in before[section]), section


def _toml(old, new):
    def edit(path):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


ANSWERS = "answers/submission.toml"
# Likewise with every question answered: files beside submission.toml, and the recalibration saved with the run.
STATED = [
    (ANSWERS, _toml("Effusion = 0.05", "Effusion = 0.07"),
     {1: "Where 7 % of the radiographs show Effusion", 6: "at a prevalence of 7.00 %", 8: "stated prevalence of 7 %",
      10: "at a prevalence of 7.00 %", 11: None}),
    (ANSWERS, _toml("sensitivity_above = 0.80", "sensitivity_above = 0.77"),
     {6: "above 0.77 for the sensitivity", 18: "above 0.77 for the sensitivity"}),
    (ANSWERS, _toml("expected_specificity = 0.87", "expected_specificity = 0.85"),
     {6: "494 without the finding", 18: ": 494."}),
    (ANSWERS, _toml("arrivals_per_hour = 12.0", "arrivals_per_hour = 9.0"), {11: "busy 60 % of the time"}),
    (ANSWERS, _toml("[0.05, 0.1, 0.2]", "[0.05, 0.17]"), {10: "| 0.17 |"}),
    (ANSWERS, _toml('rest = "Stated', '# rest = "Stated'), {HEAD: "for the sponsor: 1.", 21: "open fields in 21"}),
    ("answers/runs/other/scores_test.csv", _csv(lambda t: t.__setitem__("score", "0.5")), {12: "0.500"}),
    ("answers/readers.csv", lambda path: pd.read_csv(path).head(50).to_csv(path, index=False),
     {5: "Readers called 50 images", 14: "3 readers on 50 images"}),
    (f"run/{FILE}", _json(lambda d: d[0].update(intercept=-3.0)), {10: None}),
]  # fmt: skip


@pytest.fixture(scope="module")
def answered_run(finished_run, answered, tmp_path_factory):
    """A folder with a recalibrated run and the answers to every question."""
    folder = tmp_path_factory.mktemp("answered")
    shutil.copytree(finished_run, folder / "run")
    save_recalibrations(folder / "run", fit_recalibration(Run.load(finished_run).scores("validation")))
    shutil.copytree(answered.parent, folder / "answers")
    return folder


@pytest.fixture(scope="module")
def before_answered(answered_run):
    return _sections(answered_run / "run", answered_run / ANSWERS)


@pytest.mark.parametrize(("name", "edit", "wanted"), STATED)
def test_changing_one_answer_changes_the_sentence(name, edit, wanted, answered_run, before_answered, tmp_path):
    folder = shutil.copytree(answered_run, tmp_path / "copy")
    edit(folder / name)
    after = _sections(folder / "run", folder / ANSWERS)
    for section, sentence in wanted.items():
        assert after[section] != before_answered[section], section
        assert sentence is None or (sentence in after[section] and sentence not in before_answered[section]), section


def test_every_section_with_a_number_and_every_file_is_covered_by_a_change(before_answered):
    covered = {section for _, _, wanted in (*CHANGES, *STATED) for section in wanted}
    assert covered >= {number for number, text in before_answered.items() if re.search(r"\d", text)}
    assert {name for name, _, _ in CHANGES} >= set(REQUIRED_FILES)


def test_a_report_with_every_question_answered_has_no_open_field(answered_run, before_answered):
    facts = collect_facts(Run.load(answered_run / "run"), answers=load_answers(answered_run / ANSWERS))
    page = submission.preview(facts)
    assert page.open_fields == []
    assert "SPONSOR TO COMPLETE" not in page.text
    assert set(before_answered) == {*range(23), CAUTIONS, CHECKS, PROVENANCE}


def test_recalibrated_scores_are_those_of_the_saved_line(answered_run):
    """Independently: the Brier score of the line applied by hand to the log odds."""
    run = Run.load(answered_run / "run")
    (saved,) = run.recalibrations
    scores = run.scores("test")
    odds = np.log(scores["score"] / (1 - scores["score"]))
    by_hand = ((1 / (1 + np.exp(-(saved.intercept + saved.slope * odds))) - scores["label"]) ** 2).mean()
    facts = collect_facts(run)
    assert facts["recalibrated.Effusion.brier"].value.value == pytest.approx(by_hand)
    assert facts["shift.Effusion.from"].value == pytest.approx(run.scores("validation")["label"].mean())


NOT_MEASURED_BEFORE = (
    "likelihood_ratio_positive", "likelihood_ratio_negative", "accuracy", "f1", "mcc", "deployment", "calibration",
    "subgroups",
)  # fmt: skip


def test_a_run_evaluated_by_an_earlier_version_says_what_was_not_measured(run_folder):
    def earlier(document):
        document.pop("macro_auroc")
        for entry in document["findings"]:
            for name in NOT_MEASURED_BEFORE:
                entry.pop(name)

    _json(earlier)(run_folder / "evaluation.json")
    found = _sections(run_folder)
    assert "| F score | not estimable (not measured) |" in found[8]
    assert "Performance by sex, age and view was not measured when this run was evaluated." in found[9]
    assert "Calibration was not measured when this run was evaluated" in found[10]
    assert "must not be read as probabilities" in found[10]


def _kept_from_stage1(folder):
    _json(lambda d: d.update(best={"stage": "stage1", "epoch": 4}))(folder / "provenance.json")
    return _sections(folder)


def test_a_model_kept_from_an_earlier_stage_is_not_described_as_the_last(run_folder, before):
    assert "The model kept is that of epoch 5 of stage2: it had 3,517,313 trainable parameters" in before[2]
    assert "not kept" not in before[2] + before[3]
    found = _kept_from_stage1(run_folder)
    assert "The model kept is that of epoch 4 of stage1: it had 1,574,913 trainable parameters" in found[2]
    assert "What was run after it (stage2) was not kept" in found[2]
    assert "Of the stages that were run, stage2 was not kept" in found[3]
    assert "as stage1 left it, with 1,574,913 trainable parameters" in found[3]


def test_a_run_that_does_not_say_which_epoch_was_kept_says_nothing_of_it(run_folder):
    _json(lambda d: d.pop("best"))(run_folder / "provenance.json")
    found = _sections(run_folder)
    assert "The model kept" not in found[2] and "not kept" not in found[3]


def test_cautions_stand_in_full_once(before):
    assert [number for number, text in before.items() if "Synthetic images, not clinical evidence." in text] == [HEAD]
    assert "- The caution at the head of this document (1) holds for all of it." in before[1]


def test_what_perfect_scores_would_have_is_a_number(before):
    for row in ("Intercept (calibration in the large) | 0 |", "Slope | 1 |", "Brier score | 0 |", "10 bins | 0 |"):
        assert row in before[10], row


def test_dicom_limits_read_as_sizes(before):
    assert "at most 256 MiB" in before[CHECKS] and "at most 50,000,000 pixels" in before[CHECKS]
    assert "268435456" not in before[CHECKS]


def test_no_sentence_says_the_same_twice_or_leaves_a_plural_open(before):
    text = " ".join(before.values())
    assert "(s)" not in text
    assert "- [SPONSOR TO COMPLETE: clinical confounders" in before[1]
    assert "| Device | not named yet, see the head of this document; chexkeras" in before[20]


def test_sexes_are_written_out(before):
    assert "| female |" in before[9] and "| male |" in before[9]
    assert not re.search(r"\| [FM] \|", before[9])


def test_empty_groups_take_no_row(run_folder):
    table = pd.read_csv(run_folder / "table.csv")
    table["age_years"] = 40.0
    table.to_csv(run_folder / "table.csv", index=False)
    found = _sections(run_folder)
    assert "| 22 to 64 years |" in found[1]
    assert "| younger than 22 years |" not in found[1] and "| 65 years and older |" not in found[1]
    empty = _json(lambda d: d["findings"][0]["subgroups"][1]["groups"][0].update(n_images=0, n_positive=0))
    level = files.read_json(run_folder / "evaluation.json")["findings"][0]["subgroups"][1]["groups"][0]["level"]
    assert f"| {level} |" in found[9]
    empty(run_folder / "evaluation.json")
    assert f"| {level} |" not in _sections(run_folder)[9]


def test_a_further_column_is_a_group_in_every_section_and_no_longer_missing(run_folder):
    before = _sections(run_folder)
    assert "Not in the table of this run: race, ethnicity, site and manufacturer." in before[9]
    table = pd.read_csv(run_folder / "table.csv", dtype={"patient_id": str})
    table["manufacturer"] = ["1", "2"] * (len(table) // 2) + ["1"] * (len(table) % 2)
    table.to_csv(run_folder / "table.csv", index=False)
    _json(lambda d: d["source"].update(group_columns=["manufacturer"]))(run_folder / "provenance.json")
    run = Run.load(run_folder)
    assert set(run.table["manufacturer"]) == {"1", "2"}
    columns = columns_to_measure(run.table)
    assert columns == ("sex", "age_years", "view", "manufacturer")
    evaluate(run.scores("test"), run.operating_points, table=run.table, subgroups=columns).save(
        run_folder / "evaluation.json"
    )
    found = _sections(run_folder)
    assert "Not in the table of this run: race, ethnicity and site." in found[9]
    assert "the finding by sex, age, view and manufacturer," in found[9]
    assert "| manufacturer | Images |" in found[9]
    assert "| manufacturer 1 |" in found[1]
    assert "Not in the data: race, ethnicity and site." in found[1]
