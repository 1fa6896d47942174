"""A report of files that do not belong together gives no verdict, and damaged files are named."""

import pandas as pd
import pytest

from chexkeras import files
from chexkeras.data import image_table
from chexkeras.data.datasets.custom import NO_PATIENTS_CAUTION
from chexkeras.report import submission
from chexkeras.report.facts import integrity
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.model_card import card_text
from chexkeras.runs.run import Run


def _facts(folder):
    return collect_facts(Run.load(folder))


def _json(path, change):
    document = files.read_json(path)
    change(document)
    files.write_json(path, document)


def _csv(path, change):
    change(table := pd.read_csv(path, dtype=str, keep_default_na=False))
    table.to_csv(path, index=False)


def test_an_untouched_run_belongs_together(finished_run):
    facts = _facts(finished_run)
    assert integrity.wrong_numbers(Run.load(finished_run)) == []
    assert (facts["check.numbers"].text, facts["check.split"].text) == ("yes", "yes")
    assert facts["verdict.invalid"].value == ""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d["sensitivity"].update(value=0.97, low=0.9, high=0.99), "Effusion: sensitivity"),
        (lambda d: d["specificity"].update(low=0.81, value=0.9, high=0.95), "Effusion: specificity"),
        (lambda d: d["sensitivity"].update(low=d["sensitivity"]["low"] + 1e-6), "Effusion: sensitivity"),
        (lambda d: d["auroc"].update(value=d["auroc"]["value"] + 1e-6), "Effusion: auroc"),
        (lambda d: d["auroc"].update(low=d["auroc"]["low"] + 1e-6), "Effusion: auroc"),
        (lambda d: d["ppv"].update(value=0.5, low=0.4, high=0.6), "Effusion: ppv"),
        (lambda d: d["mcc"].update(value=0.5, low=0.4, high=0.6), "Effusion: mcc"),
        (lambda d: d["average_precision"].update(value=0.5, low=0.4, high=0.6), "Effusion: average_precision"),
        (lambda d: d["subgroups"][0]["groups"][0].update(n_positive=3), "Effusion: groups by sex"),
        (lambda d: d.update(true_positives=d["true_positives"] + 1), "Effusion: true_positives"),
        (lambda d: d.update(n_positive=d["n_positive"] + 1), "Effusion: n_positive"),
    ],
)
def test_an_edited_evaluation_gets_no_verdict(change, named, run_folder):
    _json(run_folder / "evaluation.json", lambda document: change(document["findings"][0]))
    facts = _facts(run_folder)
    assert facts["check.numbers"].text == f"NO: {named}"
    assert facts["verdict"].text == "NOT ESTIMABLE"
    assert "evaluation.json are not those of the scores" in facts["verdict.Effusion.sensitivity.reason"].text
    assert any("no verdict is given" in caution for caution in facts["cautions"].value)


@pytest.mark.parametrize("name", ["average_precision", "ppv", "mcc"])
def test_what_too_few_patients_leave_without_a_number_contradicts_nothing(name, run_folder):
    nothing = {"value": None, "low": None, "high": None, "method": "", "reason": "images of 1 patient only"}
    _json(run_folder / "evaluation.json", lambda document: document["findings"][0][name].update(nothing))
    assert _facts(run_folder)["check.numbers"].text == "yes"


def test_other_scores_get_no_verdict(run_folder):
    _csv(run_folder / "scores_test.csv", lambda table: table.__setitem__("score", table["score"].str[:5]))
    assert _facts(run_folder)["verdict.invalid"].text == "the test scores on file are not the scores that were measured"


def _to_test(table):
    patient = table.loc[table["part"] == "train", "patient_id"].iloc[0]
    table.loc[table["patient_id"] == patient, "part"] = "test"


def test_a_changed_image_table_and_a_history_cut_short_are_noticed(run_folder):
    whole = image_table.fingerprint(Run.load(run_folder).table.drop(columns="part"))
    _json(run_folder / "splits.json", lambda record: record.update(table_fingerprint=whole))
    epochs = len(Run.load(run_folder).history)
    _json(run_folder / "stages.json", lambda stages: [stage.update(epochs_run=epochs // 2) for stage in stages])
    facts = _facts(run_folder)
    assert (facts["check.table"].text, facts["check.history"].text) == ("yes", "yes")
    _csv(run_folder / "table.csv", lambda table: table.__setitem__("sex", "F"))
    lines = (run_folder / "history.csv").read_text().splitlines(keepends=True)
    (run_folder / "history.csv").write_text("".join(lines[:-1]))
    facts = _facts(run_folder)
    assert facts["check.table"].text == "NO: table.csv was changed, its rows have another fingerprint"
    assert facts["check.history"].text.startswith("NO: ")
    assert "not the one that was split" in facts["verdict.Effusion.sensitivity.reason"].text
    assert sum("provenance table" in caution for caution in facts["cautions"].value) >= 2


def test_a_patient_in_two_parts_makes_a_split_leaky_whatever_is_stated(run_folder):
    path = run_folder / "splits.csv"
    splits = pd.read_csv(path, dtype=str)
    patient = splits.loc[splits["part"] == "train", "patient_id"].iloc[0]
    splits.loc[splits.index[splits["part"] == "test"][0], "patient_id"] = patient
    splits.to_csv(path, index=False)
    facts = collect_facts(Run.load(run_folder))
    assert (facts["split.shared_patients"].value, facts["split.leaky"].value) == (1, True)


def test_rows_of_another_split_get_no_verdict_whatever_fingerprint_is_stated(run_folder):
    _csv(run_folder / "splits.csv", _to_test)
    facts = _facts(run_folder)
    assert facts["check.split"].text == "NO: splits.csv was changed, its rows have another fingerprint"
    assert facts["verdict"].text == "NOT ESTIMABLE"


def test_a_table_with_other_parts_than_the_split_gets_no_verdict(run_folder):
    _csv(run_folder / "table.csv", _to_test)
    facts = _facts(run_folder)
    assert facts["check.split"].text.startswith("NO: splits.csv and table.csv differ in ")
    assert facts["verdict"].text == "NOT ESTIMABLE"


def test_unknown_patients_are_not_said_to_be_kept_apart(run_folder):
    _json(run_folder / "provenance.json", lambda d: d["source"]["cautions"].append(NO_PATIENTS_CAUTION))
    facts = _facts(run_folder)
    text, card = submission.preview(facts).text, card_text(facts)
    for shown in (" ".join(text.split()), " ".join(card.split())):
        assert "split by patient" not in shown
        assert "disjoint by patient" not in shown
        assert "no patient has images in two parts" not in shown
        assert f"images of {Run.load(run_folder).table['patient_id'].nunique()} patients" not in shown
        assert "cannot be shown" in shown
    assert facts["verdict"].text == "NOT ESTIMABLE"
    assert facts["verdict.invalid"].text.startswith("patients are not known")


def test_columns_that_were_not_given_are_not_recorded(run_folder):
    def blank(table):
        table[["sex", "view", "age_years"]] = ""

    _csv(run_folder / "table.csv", blank)
    facts = _facts(run_folder)
    for text in (submission.preview(facts).text, card_text(facts)):
        assert "not stated to not stated" not in text
        assert "not stated view" not in text
        assert "0 (0.0 %)" not in text
        assert "| Sex, images | not recorded |" in text
        assert "| Age, years | not recorded |" in text


def test_a_profile_of_the_users_own_falls_back_to_the_clinical_rules(run_folder):
    _csv(run_folder / "dicom_results.csv", lambda table: table.__setitem__("profile", "my hospital"))
    facts = _facts(run_folder)
    assert facts["dicom.profile"].text == "clinical"
    assert "profile of the user's own, 'my hospital'" in submission.preview(facts).text


def _emptied(path):
    path.write_text("{}" if path.suffix == ".json" else "", encoding="utf-8")


def _cut(path):
    """Keeps the header and the first cell of the first row."""
    header, row, *_ = path.read_text(encoding="utf-8").splitlines()
    path.write_text(f"{header}\n{row.split(',')[0]}\n", encoding="utf-8")


TABLES = ["history.csv", "table.csv", "splits.csv", "left_out.csv", "scores_test.csv", "scores_validation.csv"]
DOCUMENTS = ["evaluation.json", "provenance.json", "stages.json", "audit.json", "operating_points.json", "splits.json"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [*((name, _emptied) for name in (*TABLES, *DOCUMENTS, "recipe.json")), *((name, _cut) for name in TABLES)],
)
def test_a_damaged_file_is_named(name, damage, run_folder):
    damage(run_folder / name)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        _facts(run_folder)


def test_an_estimate_outside_its_interval_is_named(run_folder):
    _json(run_folder / "evaluation.json", lambda d: d["findings"][0]["sensitivity"].update(value=0.99, high=0.9))
    with pytest.raises(ValueError, match=r"evaluation\.json .* sensitivity of Effusion, 0\.99, lies outside"):
        _facts(run_folder)


def test_a_split_that_leaks_between_training_and_validation_alone_is_told_apart(make_run):
    """The test list was held out by patient: its images are new, the thresholds are not to be trusted."""
    run = make_run()
    splits, table = (pd.read_csv(run.folder / name, dtype=str, keep_default_na=False) for name in
                     ("splits.csv", "table.csv"))  # fmt: skip
    rows = splits.index[(splits["part"] == "train") & splits["patient_id"].duplicated(keep=False)]
    for frame, name in ((splits, "splits.csv"), (table, "table.csv")):
        frame.loc[rows[0], "part"] = "validation"
        frame.to_csv(run.folder / name, index=False)
    for name, at in (("splits.json", ()), ("provenance.json", ("split",))):
        document = files.read_json(run.folder / name)
        place = document[at[0]] if at else document
        place.update(kind="official_image", leaky=True, fingerprint=files.sha256_table(splits))
        files.write_json(run.folder / name, document)
    facts = collect_facts(Run.load(run.folder))
    assert facts["split.leaky"].value and facts["split.test_held_out"].value
    assert facts["cautions"].value[0].startswith("LEAKY between training and validation")
    text = " ".join(submission.preview(facts).text.split())
    assert "leaky between training and validation: the thresholds were chosen on patients learnt from" in text
    assert "Validation is not independent of training; the test part is." in text
    assert "The test part is not independent" not in text and "test patients also have images" not in text
    assert "| MET |" not in text


def test_a_split_by_image_leaks_into_the_test_part(make_run):
    facts = collect_facts(make_run(leaky=True))
    assert not facts["split.test_held_out"].value
    text = " ".join(submission.preview(facts).text.split())
    assert "The test part is not independent of training." in text
    assert "between training and validation" not in text


def test_limits_of_another_version_are_told_from_edited_numbers(run_folder):
    def other_method(entry):
        entry["sensitivity"].update(low=entry["sensitivity"]["low"] + 0.01, method="Clopper-Pearson of another version")

    _json(run_folder / "evaluation.json", lambda document: other_method(document["findings"][0]))
    facts = _facts(run_folder)
    assert facts["check.numbers"].text == "NO: Effusion: sensitivity, limits by another version's method"
    assert facts["check.limits"].value is True
    assert any("another version of chexkeras" in caution for caution in facts["cautions"].value)
    assert "another version" in facts["verdict.Effusion.sensitivity.reason"].text
