"""Every fact of a report, in its order."""

from typing import TYPE_CHECKING

from chexkeras.arguments import checked
from chexkeras.checks import one_of
from chexkeras.report.answers import Answers
from chexkeras.report.facts import (
    calibration,
    comparison,
    data,
    dicom,
    heatmaps,
    integrity,
    performance,
    regulation,
    software,
    study,
    subgroups,
    training,
)
from chexkeras.report.facts.bias import ground_truth, sources
from chexkeras.report.facts.bias.external import add_external
from chexkeras.report.facts.bias.shortcuts import add_shortcuts
from chexkeras.report.facts.facts import Facts
from chexkeras.report.facts.run_reader import Documents, ReadOnce, check_complete
from chexkeras.report.goals import PerformanceGoals

if TYPE_CHECKING:
    from chexkeras.runs.run import Run


@checked
def collect_facts(
    run: "Run | ReadOnce",
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
        raise ValueError(f"performance goals are given twice, by goals=... and in {stated.name}; give them once.")
    wanted = goals or stated.goals() or PerformanceGoals()
    evaluated = [entry.finding for entry in run.evaluation.findings]
    for finding in stated.prevalences:
        one_of(finding, evaluated, f"finding of [prevalence] in {stated.name}")
    for key, value in stated.values.items():
        facts.add(f"answer.{key}", value, file=stated.name, field=key)
    data.add_provenance(facts, documents)
    data.add_file_checks(facts, folder)
    integrity.add_split_check(facts, run, splits)
    data.add_split(facts, documents, splits)
    data.add_data(facts, documents, run.table, run.left_out)
    training.add_training(facts, documents, run.history)
    performance.add_performance(facts, documents, run, wanted)
    performance.add_deployment(facts, run, stated)
    add_shortcuts(facts, run)
    add_external(facts, run)
    training.add_intensities(facts, run)
    dicom.add_dicom(facts, run.dicom_results, run.table)
    sources.add_file_origin(facts, run.dicom_results)
    subgroups.add_subgroups(facts, documents, run, wanted.fewest_positives)
    calibration.add_calibration(facts, documents, run, stated)
    study.add_processing_time(facts, run.dicom_results)
    study.add_waiting(facts, stated)
    study.add_planning(facts, stated)
    comparison.add_comparison(facts, run, stated)
    comparison.add_robustness(facts, run)
    dicom.add_novelty(facts, run)
    dicom.add_resolution(facts, run)
    heatmaps.add_heatmaps(facts, run)
    ground_truth.add_ground_truth(facts, run)
    comparison.add_readers(facts, run, stated)
    comparison.add_reader_study(facts, run, stated)
    software.add_software(facts, documents, run)
    regulation.add_regulation(facts)
    regulation.add_crosswalk(facts)
    data.add_cautions(facts, run)
    return facts
