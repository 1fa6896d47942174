import json
import math
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from chexkeras import files
from chexkeras.findings import NIH14
from chexkeras.report.answers import load_answers
from chexkeras.report.facts import software
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.facts.facts import Facts, printed
from chexkeras.report.facts.run_reader import REQUIRED_FILES, check_complete
from chexkeras.results import Estimate
from chexkeras.runs.run import Run


@pytest.fixture(scope="module")
def facts(finished_run):
    return collect_facts(Run.load(finished_run))


def _resolve(document, path):
    for name, position in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        document = document[int(position)] if position else document[name]
    return document


def _same(value, stored):
    if isinstance(value, Estimate):
        value = value.to_dict()
    if isinstance(value, dict) and isinstance(stored, dict):
        return value.keys() == stored.keys() and all(_same(value[key], stored[key]) for key in value)
    if isinstance(value, float) and math.isnan(value):
        return stored is None
    if isinstance(value, (list, tuple)):
        return list(value) == list(stored)
    return value == stored


def test_what_a_fact_says_of_its_origin_is_true(facts, finished_run):
    checked = 0
    for key, fact in facts.items():
        if fact.file.endswith(".json") and fact.text and re.fullmatch(r"[\w.\[\]]+", fact.field):
            try:
                stored = _resolve(json.loads((finished_run / fact.file).read_text()), fact.field)
            except (KeyError, IndexError):
                # An optional field that this run lacks.
                assert fact.value in ("", None, False, 0, {}) or key == "recipe.optimizer", key
                continue
            assert _same(fact.value, stored), key
            checked += 1
    assert checked > 80


OUTSIDE = {"convention", "regulation", software.FILE}


def test_every_fact_names_a_file_of_the_run_or_what_else_it_rests_on(facts, finished_run):
    for key, fact in facts.items():
        assert fact.file in OUTSIDE or (finished_run / fact.file).is_file(), key
        assert fact.field, key


def test_with_answers_every_fact_still_names_where_it_comes_from(finished_run, answered):
    for key, fact in collect_facts(Run.load(finished_run), answers=load_answers(answered)).items():
        stated = fact.file in OUTSIDE or (answered.parent / fact.file).is_file()
        assert stated or (finished_run / fact.file).is_file(), key


def test_saved_facts_are_strict_json_with_value_text_and_origin(facts, tmp_path):
    stored = json.loads(facts.save(tmp_path / "facts.json").read_text())
    assert list(stored) == list(facts)
    assert stored["test.Effusion.sensitivity"]["file"] == "evaluation.json"
    assert stored["test.Effusion.sensitivity"]["field"] == "findings[0].sensitivity"
    assert set(stored["test.Effusion.auroc"]["value"]) >= {"value", "low", "high", "n"}


def test_an_unknown_key_gets_the_nearest(facts):
    with pytest.raises(KeyError, match=r"test\.Effusion\.sensitivity"):
        facts["test.Effusion.sensitvity"]


def test_a_key_is_recorded_once():
    facts = Facts()
    facts.add("a", 1, file="f", field="x")
    with pytest.raises(ValueError, match="twice"):
        facts.add("a", 2, file="f", field="x")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (True, "yes"),
        (0.8, "0.8"),
        (1e-5, "0.00001"),
        (0.0, "0"),
        (None, "not stated"),
        (float("nan"), "not stated"),
        ("", "not stated"),
        (["a", 2], "a, 2"),
        (Estimate(0.5, 0.4, 0.6, n=1000), "0.500 (95 % CI 0.400–0.600; n = 1,000)"),
        (Estimate.not_estimable("no positives"), "not estimable (no positives)"),
    ],
)
def test_values_print_as_a_reader_expects(value, text):
    assert printed(value) == text


@pytest.mark.parametrize("name", REQUIRED_FILES)
def test_a_missing_file_is_named(name, run_folder):
    (run_folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(name)):
        check_complete(run_folder)


def test_a_run_without_a_test_part_is_not_called_damaged(run_folder):
    splits = pd.read_csv(run_folder / "splits.csv", dtype=str)
    splits.assign(part=splits["part"].replace("test", "train")).to_csv(run_folder / "splits.csv", index=False)
    for name in ("evaluation.json", "scores_test.csv"):
        (run_folder / name).unlink()
    run = Run.load(run_folder)
    for ask in (lambda: check_complete(run_folder), lambda: run.evaluation, lambda: run.scores("test")):
        with pytest.raises(FileNotFoundError, match=r"no test part.*estimated by the folds"):
            ask()
    (run_folder / "history.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no history\.csv"):
        run.history  # noqa: B018 - only asked for


def test_the_model_may_be_missing_where_that_is_said(run_folder):
    stated = files.read_json(run_folder / "provenance.json")["model"]["sha256"]
    (run_folder / "model.keras").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.keras.*--without-model"):
        collect_facts(Run.load(run_folder))
    facts = collect_facts(Run.load(run_folder), without_model=True)
    assert facts["hash.model"].value == stated
    assert not facts["model.at_hand"].value
    assert facts["check.model"].text == "not checked: the model file itself was not at hand"
    assert not any("model in the run folder" in caution for caution in facts["cautions"].value)
    (run_folder / "stages.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"stages\.json") as caught:
        check_complete(run_folder, without_model=True)
    assert "--without-model" not in str(caught.value)


def test_a_model_that_is_there_is_checked_even_if_it_might_be_missing(run_folder):
    (run_folder / "model.keras").write_bytes(b"another model")
    assert "NO" in collect_facts(Run.load(run_folder), without_model=True)["check.model"].text


def test_a_missing_field_names_file_and_field(run_folder):
    stages = json.loads((run_folder / "stages.json").read_text())
    del stages[0]["trainable_parameters"]
    (run_folder / "stages.json").write_text(json.dumps(stages))
    with pytest.raises(ValueError, match=r"stages\.json .*\[0\]\.trainable_parameters"):
        collect_facts(Run.load(run_folder))


def test_impact_is_counted_on_a_thousand_images_by_hand(facts):
    entry = facts["test.Effusion.sensitivity"].value
    share = facts["test.Effusion.prevalence"].value.value
    missed = facts["impact.Effusion.false_negatives"].value
    assert missed.value == pytest.approx(1000 * share * (1 - entry.value))
    assert missed.low == pytest.approx(1000 * share * (1 - entry.high))
    assert missed.high == pytest.approx(1000 * share * (1 - entry.low))
    alarms = facts["impact.Effusion.false_positives"].value
    count = facts["test.Effusion.false_positives"].value
    # At the test part's own prevalence, false alarms per image are just their count over all images.
    assert alarms.value == pytest.approx(1000 * count / facts["test.Effusion.n_images"].value)


def test_patients_in_two_parts_are_found_in_the_split_itself(make_run):
    facts = collect_facts(make_run(leaky=True))
    assert facts["split.leaky"].value is True
    assert facts["split.leaked_patients"].value > 0
    assert facts["cautions"].value[0].startswith("LEAKY")


def test_untrained_base_and_few_positives_become_cautions(make_run):
    cautions = " ".join(collect_facts(make_run(weights=None, prevalence=0.09, patients=150))["cautions"].value)
    assert "untrained" in cautions
    assert "too few to judge" in cautions


def test_facts_need_neither_tensorflow_nor_matplotlib(finished_run):
    code = (
        "import sys\n"
        "from chexkeras import plots\n"
        "from chexkeras.report import submission\n"
        "from chexkeras.report.facts.collect import collect_facts\n"
        "from chexkeras.runs.run import Run\n"
        f"collect_facts(Run.load({str(finished_run)!r}))\n"
        "heavy = {'tensorflow', 'keras', 'torch', 'matplotlib', 'seaborn'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_negatives_without_any_other_finding_are_called_chosen_controls(run_folder):
    table = pd.read_csv(run_folder / "table.csv", dtype={"patient_id": str})
    table.loc[table["Effusion"] == 0, [name for name in NIH14 if name != "Effusion"]] = 0.0
    table.to_csv(run_folder / "table.csv", index=False)
    cautions = " ".join(collect_facts(Run.load(run_folder))["cautions"].value)
    assert "chosen controls" in cautions


def _cautions_with_others(run_folder, others):
    """Returns the cautions of a run whose table has these other findings and no more."""
    table = pd.read_csv(run_folder / "table.csv", dtype={"patient_id": str})
    table = table.drop(columns=[name for name in NIH14 if name != "Effusion"])
    for name, values in others(table).items():
        table[name] = values
    table.to_csv(run_folder / "table.csv", index=False)
    return " ".join(collect_facts(Run.load(run_folder))["cautions"].value)


def test_a_table_with_one_label_says_nothing_on_how_its_negatives_were_chosen(run_folder):
    assert "chosen controls" not in _cautions_with_others(run_folder, lambda table: {})


def test_other_findings_are_those_of_the_table_and_not_of_one_data_set(run_folder):
    # CheXpert's findings, of which NIH has none.
    cautions = _cautions_with_others(
        run_folder, lambda table: {"Lung Opacity": (table.index % 3 == 0).astype(float), "Fracture": 0.0}
    )
    assert "chosen controls" not in cautions


def test_negatives_are_controls_only_as_far_as_their_other_findings_are_known(run_folder):
    def nothing_known(table):
        return {"Lung Opacity": float("nan"), "Fracture": 0.0}

    def some_known(table):
        known = table.index.isin(table.index[table["Effusion"] == 0][:7])
        return {"Lung Opacity": np.where(known, 0.0, np.nan), "Fracture": 0.0}

    whole = (run_folder / "table.csv").read_bytes()
    assert "chosen controls" not in _cautions_with_others(run_folder, nothing_known)
    (run_folder / "table.csv").write_bytes(whole)
    cautions = _cautions_with_others(run_folder, some_known)
    assert "none of the 7 negative images whose other findings are known shows any other finding" in cautions


def test_the_population_is_no_wider_than_data_and_dicom_checks_allow(facts):
    assert facts["population.youngest"].value == facts["dicom.youngest"].value > facts["data.all.age_min"].value
    assert facts["population.oldest"].value == facts["data.all.age_max"].value < facts["dicom.oldest"].value
