"""Every fact of a report, in its order."""

from typing import Any

from chexkeras.checks import one_of
from chexkeras.report import (
    calibration_facts,
    comparison_facts,
    crosswalk_facts,
    data_facts,
    dicom_facts,
    integrity,
    performance_facts,
    planning_facts,
    reader_facts,
    regulation_facts,
    robustness_facts,
    software_facts,
    subgroup_facts,
    training_facts,
    triage_facts,
)
from chexkeras.report.answers import FILE as ANSWERS_FILE
from chexkeras.report.answers import Answers
from chexkeras.report.facts import Facts
from chexkeras.report.goals import PerformanceGoals
from chexkeras.report.run_files import Documents, ReadOnce, check_complete


def collect_facts(
    run: Any,
    goals: PerformanceGoals | None = None,
    answers: Answers | None = None,
    *,
    without_model: bool = False,
) -> Facts:
    """Reads every number of the report from a run, and what its author stated.

    Args:
        run: A `Run`.
        goals: What performance is asked for; by default the goals in `answers`, or the conventional ones.
        answers: From `load_answers`; None for a report without answers.
        without_model: Whether the model file may be missing from the run folder.

    Returns:
        The facts, in the order of the report.

    Raises:
        FileNotFoundError: If a file of the run folder, or one that the answers name, is missing.
        ValueError: If a file lacks a field, or the answers do not fit the run.
    """
    folder = check_complete(run.folder, without_model=without_model)
    run = run if isinstance(run, ReadOnce) else ReadOnce(run)
    documents = Documents(run)
    splits = run.splits
    facts = Facts()
    stated = Answers() if answers is None else answers
    if goals is not None and stated.goals() is not None:
        raise ValueError(f"performance goals are given twice, by goals=... and in {ANSWERS_FILE}; give them once.")
    wanted = goals or stated.goals() or PerformanceGoals()
    evaluated = [entry.finding for entry in run.evaluation.findings]
    for finding in stated.prevalences:
        one_of(finding, evaluated, f"finding of [prevalence] in {ANSWERS_FILE}")
    for key, value in stated.values.items():
        facts.add(f"answer.{key}", value, file=ANSWERS_FILE, field=key)
    data_facts.add_provenance(facts, documents)
    data_facts.add_file_checks(facts, folder)
    integrity.add_split_check(facts, run, splits)
    data_facts.add_split(facts, documents, splits)
    data_facts.add_data(facts, documents, run.table, run.left_out)
    training_facts.add_training(facts, documents, run.history)
    performance_facts.add_performance(facts, documents, run, wanted)
    performance_facts.add_deployment(facts, run, stated)
    training_facts.add_intensities(facts, run)
    dicom_facts.add_dicom(facts, run.dicom_results, run.table)
    subgroup_facts.add_subgroups(facts, documents, run, wanted.fewest_positives)
    calibration_facts.add_calibration(facts, documents, run, stated)
    triage_facts.add_processing_time(facts, run.dicom_results)
    triage_facts.add_waiting(facts, stated)
    planning_facts.add_planning(facts, stated)
    comparison_facts.add_comparison(facts, run, stated)
    robustness_facts.add_robustness(facts, run)
    reader_facts.add_readers(facts, run, stated)
    software_facts.add_software(facts, documents, run)
    regulation_facts.add_regulation(facts)
    crosswalk_facts.add_crosswalk(facts)
    data_facts.add_cautions(facts, run)
    return facts
