"""Whether the files of a run belong together: what they state is counted again from the rows that they hold."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from chexkeras import files
from chexkeras.data import image_table
from chexkeras.data.datasets.custom import NO_PATIENTS_CAUTION
from chexkeras.report.facts.facts import Facts
from chexkeras.results import Estimate, FindingEvaluation

TOLERANCE = 1e-9
"""How far a stated number may lie from the one counted again: the rounding of floats, no more."""

ANOTHER_VERSION = "limits by another version's method"
"""What is said of a rate whose value is that of its rows, but whose limits were computed otherwise."""

_RATES = ("ppv", "npv", "likelihood_ratio_positive", "likelihood_ratio_negative", "accuracy", "f1", "mcc")
"""Of a finding at its threshold, besides the sensitivity and the specificity, which the verdict rests on."""

_CELLS = ("true_positives", "false_negatives", "false_positives", "true_negatives")
_KEYS = ["image_id", "patient_id", "part"]


def _differ(stated: Estimate, again: Estimate) -> bool:
    if not again.estimable or not stated.estimable:
        return stated.estimable != again.estimable
    return any(
        not math.isclose(getattr(stated, name), getattr(again, name), rel_tol=0, abs_tol=TOLERANCE)
        for name in ("value", "low", "high")
    )


def _wrong_of(entry: FindingEvaluation, rows: pd.DataFrame, threshold: float | None) -> list[str]:
    """Returns the names of a finding's numbers that are not those of its rows."""
    from chexkeras.evaluation.metrics import auc, average_precision
    from chexkeras.evaluation.rates import rates
    from chexkeras.evaluation.uncertainty.intervals import auc_interval

    rows = rows[rows["label"].notna()]
    positive = int((rows["label"] == 1).sum())
    counts = {
        "n_images": len(rows), "n_patients": int(rows["patient_id"].nunique()), "n_positive": positive,
        "n_negative": len(rows) - positive,
    }  # fmt: skip
    wrong = [name for name, count in counts.items() if getattr(entry, name) != count]
    area = auc(rows["label"], rows["score"]) if len(rows) else math.nan
    if not _same_value(entry.auroc, area):
        wrong.append("auroc")
    elif entry.auroc.estimable:
        whole = auc_interval(
            rows["label"], rows["score"], clusters=rows["patient_id"], confidence=entry.auroc.confidence
        )
        wrong += _wrong_limits("auroc", entry.auroc, whole)
    # What too few patients leave without a number is stated as such, whatever its rows give.
    if 0 < positive < len(rows) and entry.average_precision.estimable:
        precision = average_precision(rows["label"], rows["score"])
        wrong += [] if _same_value(entry.average_precision, precision) else ["average_precision"]
    if len(rows) and entry.prevalence.estimable:
        wrong += [] if _same_value(entry.prevalence, positive / len(rows)) else ["prevalence"]
    if threshold is None:
        return wrong + [name for name in _CELLS if getattr(entry, name) is not None]
    if not len(rows):
        return wrong
    called = rows["score"].to_numpy() >= threshold
    again = rates(rows["label"], called, clusters=rows["patient_id"], confidence=entry.sensitivity.confidence)
    wrong += [name for name in _CELLS if getattr(entry, name) != getattr(again, name)]
    # The verdict rests on the limits, so they are compared as well as the value.
    for name in ("sensitivity", "specificity"):
        wrong += _wrong_limits(name, getattr(entry, name), getattr(again, name))
    # Versions before these were measured have none of them.
    others = [name for name in _RATES if getattr(entry, name).estimable]
    wrong += [name for name in others if not _same_value(getattr(entry, name), getattr(again, name).value)]
    return wrong


def _wrong_limits(name: str, stated: Estimate, measured: Estimate) -> list[str]:
    """Returns the name of a number whose value or limits differ; whose limits are by another method, with that said."""
    if not _differ(stated, measured):
        return []
    same_method = not _same_value(stated, measured.value) or stated.method == measured.method
    return [name if same_method else f"{name}, {ANOTHER_VERSION}"]


def _same_value(stated: Estimate, value: float) -> bool:
    """Returns whether a stated number is the one counted again, whatever its limits."""
    return not _differ(Estimate(stated.value, 0.0, 0.0), Estimate(value, 0.0, 0.0))


def _wrong_groups(entry: FindingEvaluation, rows: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Returns the columns of a finding whose groups are not those of its rows, where the table still tells them."""
    from chexkeras.evaluation.group_columns import any_known
    from chexkeras.evaluation.subgroups import subgroup_analysis

    rows = rows[rows["label"].notna()]
    wrong = []
    for stated in entry.subgroups:
        if stated.column not in table.columns or not rows["image_id"].isin(table["image_id"]).all():
            continue
        if not any_known(table.loc[table["image_id"].isin(rows["image_id"]), stated.column]):
            continue
        again = subgroup_analysis(rows, table, column=stated.column, point=entry.operating_point)
        sizes = [
            [(group.level, group.n_images, group.n_patients, group.n_positive, group.n_negative) for group in groups]
            for groups in (stated.groups, again.groups)
        ]
        values = [
            (getattr(group, name), getattr(same, name))
            for group, same in zip(stated.groups, again.groups, strict=False)
            for name in ("auroc", "sensitivity", "specificity")
        ]
        if sizes[0] != sizes[1] or any(
            one.estimable and other.estimable and not _same_value(one, other.value) for one, other in values
        ):
            wrong.append(f"groups by {stated.column}")
    return wrong


def wrong_numbers(run: Any) -> list[str]:
    """Returns what evaluation.json states otherwise than the test scores and the frozen thresholds give.

    Counts must agree exactly, numbers within `TOLERANCE`, the AUROC, sensitivity and specificity with their limits;
    of groups their sizes and values.

    Args:
        run: A `Run`.

    Returns:
        For example ["Effusion: sensitivity"]; empty where everything agrees.
    """
    scores = run.scores("test")
    thresholds = {point.finding: point.threshold for point in run.operating_points}
    stated = {entry.finding for entry in run.evaluation.findings}
    wrong = [f"{name}: not evaluated" for name in scores["finding"].unique() if name not in stated]
    for entry in run.evaluation.findings:
        rows = scores[scores["finding"] == entry.finding]
        found = _wrong_of(entry, rows, thresholds.get(entry.finding))
        # Groups of other rows, or by another threshold, are not measured again.
        found = found or _wrong_groups(entry, rows, run.table)
        wrong += [f"{entry.finding}: {name}" for name in found]
    return wrong


def split_trouble(splits: pd.DataFrame, table: pd.DataFrame, fingerprints: Iterable[str]) -> str:
    """Returns why the rows of splits.csv are not the split that was trained on; "" where they are.

    Args:
        splits: The rows of splits.csv, all text.
        table: The run's image table with `part`.
        fingerprints: What splits.json and provenance.json state; "" where nothing was recorded.
    """
    stated = set(filter(None, fingerprints))
    if len(stated) > 1:
        return "it is another split"
    if stated and files.sha256_table(splits) not in stated:
        return "splits.csv was changed, its rows have another fingerprint"
    rows, images = (set(frame[_KEYS].astype(str).itertuples(index=False, name=None)) for frame in (splits, table))
    if rows != images or len(splits) != len(table):
        return f"splits.csv and table.csv differ in {max(len(rows ^ images), 1):,} rows of image, patient and part"
    return ""


def patients_known(run: Any) -> bool:
    """Returns whether the image table named patients; without, every image counts as a patient of its own."""
    source = run.provenance.get("source", {}).get("cautions", ())
    return NO_PATIENTS_CAUTION not in (*source, *run.cautions, *run.evaluation.cautions)


def add_split_check(facts: Facts, run: Any, splits: pd.DataFrame) -> None:
    """Records whether split, image table and epochs are those of the training, and whether patients are known."""
    recorded = run.split_record["fingerprint"]
    trained = facts["hash.split"].value
    trouble = split_trouble(splits, run.table, (recorded, trained))
    text = "yes" if recorded or trained else "not known: no fingerprint was recorded"
    facts.add(
        "check.split",
        not trouble,
        f"NO: {trouble}" if trouble else text,
        file="splits.csv",
        field="fingerprint and rows, against splits.json, provenance.json and table.csv",
    )
    stated = run.split_record.get("table_fingerprint", "")
    same = not stated or image_table.fingerprint(run.table.drop(columns="part")) == stated
    text = "yes" if stated else "not known: no fingerprint was recorded"
    facts.add("check.table", same, text if same else "NO: table.csv was changed, its rows have another fingerprint",
              file="table.csv", field="fingerprint of the rows, against splits.json")  # fmt: skip
    run_epochs = [stage.get("epochs_run") for stage in run.stages]
    told, epochs = None if None in run_epochs else sum(run_epochs), len(run.history)
    text = "yes" if told is not None else "not known: no numbers of epochs were recorded"
    same = told in (None, epochs)
    facts.add("check.history", same, text if same else f"NO: {epochs} rows for {told} epochs",
              file="history.csv", field="epochs, against stages.json")  # fmt: skip
    facts.add("patients.known", patients_known(run), file="provenance.json", field="source.cautions: patients known")


def add_number_check(facts: Facts, run: Any) -> None:
    """Records whether the numbers of evaluation.json are those of the scores on file."""
    wrong = wrong_numbers(run)
    facts.add("check.limits", bool(wrong) and all(entry.endswith(ANOTHER_VERSION) for entry in wrong),
              file="evaluation.json", field="whether only the method of the limits differs")  # fmt: skip
    shown = ", ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
    facts.add(
        "check.numbers",
        not wrong,
        f"NO: {shown}" if wrong else "yes",
        file="evaluation.json",
        field="counts, rates, areas and groups, against scores_test.csv, operating_points.json and table.csv",
    )


def no_verdict(facts: Facts) -> str:
    """Returns why this run can give no verdict, whatever its numbers; "" where it can."""
    reasons = (
        (
            facts["split.leaky"].value and facts["split.test_held_out"].value,
            "the split is leaky between training and validation: the thresholds were chosen on patients learnt from",
        ),
        (facts["split.leaky"].value, "the split is leaky: patients of the test part also have images in another part"),
        (
            facts["weights.seen_here"].value == "test",
            "LEAKY weights: those that training started from have seen images of the test part, or may have",
        ),
        (
            facts["weights.seen_here"].value == "validation",
            "LEAKY weights: those that training started from have seen the images on which the thresholds were chosen",
        ),
        (not facts["check.split"].value, "the split in the run folder is not the one that was trained on"),
        (not facts["check.table"].value, "the image table in the run folder is not the one that was split"),
        (not facts["check.test_scores"].value, "the test scores on file are not the scores that were measured"),
        (not facts["check.thresholds"].value, "the thresholds on file are not the thresholds that were measured"),
        (not facts["check.model"].value, "the model in the run folder is not the one that was measured"),
        (facts["check.limits"].value, "the limits in evaluation.json are those of another version of chexkeras"),
        (not facts["check.numbers"].value, "the numbers in evaluation.json are not those of the scores on file"),
        (
            not facts["patients.known"].value,
            "patients are not known, so it cannot be shown that the test part has no patient in common with another",
        ),
    )
    return next((reason for found, reason in reasons if found), "")
