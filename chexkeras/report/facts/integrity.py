"""Whether the files of a run belong together: what they state is counted again from the rows that they hold."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from chexkeras import files
from chexkeras.data.datasets.custom import NO_PATIENTS_CAUTION
from chexkeras.report.facts.facts import Facts
from chexkeras.results import Estimate, FindingEvaluation

TOLERANCE = 1e-9
"""How far a stated number may lie from the one counted again: the rounding of floats, no more."""

ANOTHER_VERSION = "limits by another version's method"
"""What is said of a rate whose value is that of its rows, but whose limits were computed otherwise."""

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
    from chexkeras.evaluation.metrics import auc
    from chexkeras.evaluation.rates import rates

    rows = rows[rows["label"].notna()]
    positive = int((rows["label"] == 1).sum())
    counts = {
        "n_images": len(rows), "n_patients": int(rows["patient_id"].nunique()), "n_positive": positive,
        "n_negative": len(rows) - positive,
    }  # fmt: skip
    wrong = [name for name, count in counts.items() if getattr(entry, name) != count]
    area = auc(rows["label"], rows["score"]) if len(rows) else math.nan
    if _differ(Estimate(entry.auroc.value, 0.0, 0.0), Estimate(area, 0.0, 0.0)):
        wrong.append("auroc")
    if threshold is None:
        return wrong + [name for name in _CELLS if getattr(entry, name) is not None]
    if not len(rows):
        return wrong
    called = rows["score"].to_numpy() >= threshold
    again = rates(rows["label"], called, clusters=rows["patient_id"], confidence=entry.sensitivity.confidence)
    wrong += [name for name in _CELLS if getattr(entry, name) != getattr(again, name)]
    # The verdict rests on the limits, so they are compared as well as the value.
    for name in ("sensitivity", "specificity"):
        stated, measured = getattr(entry, name), getattr(again, name)
        if _differ(stated, measured):
            of_value = _differ(Estimate(stated.value, 0.0, 0.0), Estimate(measured.value, 0.0, 0.0))
            same_method = of_value or stated.method == measured.method
            wrong.append(name if same_method else f"{name}, {ANOTHER_VERSION}")
    return wrong


def wrong_numbers(run: Any) -> list[str]:
    """Returns what evaluation.json states otherwise than the test scores and the frozen thresholds give.

    Counts must agree exactly, AUROC, sensitivity and specificity (with their limits) within `TOLERANCE`.

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
        wrong += [f"{entry.finding}: {name}" for name in _wrong_of(entry, rows, thresholds.get(entry.finding))]
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
    """Records whether splits.csv holds the split that was trained on, and whether patients are known."""
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
        field="counts, AUROC, sensitivity and specificity, against scores_test.csv and operating_points.json",
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
