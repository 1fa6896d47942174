"""What an audit tells of the table: labels, patients, ages, sexes, views, a split, and how the images were chosen."""

from collections.abc import Iterator

import pandas as pd

from chexkeras import findings
from chexkeras.data.audit.result import AuditIssue
from chexkeras.data.datasets import nih_statistics
from chexkeras.data.datasets._csv import MAX_AGE_YEARS
from chexkeras.data.datasets.registry import NIH
from chexkeras.data.image_table import ImageTable
from chexkeras.data.splits.splits import Splits

SEXES = ("M", "F")
VIEWS = ("PA", "AP", "LATERAL")

_GROSS = 2.0
_CHANCE = 1e-6
_NAMED = 3


def table_issues(table: ImageTable) -> Iterator[AuditIssue]:
    """Yields what is contradictory, impossible or missing in an image table.

    Args:
        table: The image table.
    """
    counts = table["image_id"].value_counts(sort=False)
    for image, count in counts[counts > 1].items():
        yield AuditIssue("repeated_image_id", str(image), f"{count} rows")
    yield from _contradictions(table)
    nameless = table["patient_id"].isna() | (table["patient_id"].astype(str).str.strip() == "")
    for image in table["image_id"][nameless]:
        yield AuditIssue("unknown_patient", image, "blank")
    if "age_years" in table.columns:
        ages = table["age_years"]
        for image in table["image_id"][~ages.between(0, MAX_AGE_YEARS)]:
            yield AuditIssue("implausible_age", image, f"blank, or outside 0 to {MAX_AGE_YEARS:g} years")
    if "sex" in table.columns:
        yield from _two_sexes(table[table["sex"].isin(SEXES) & ~nameless])
    yield from _outside(table, "sex", SEXES)
    yield from _outside(table, "view", VIEWS)


def _contradictions(table: ImageTable) -> Iterator[AuditIssue]:
    contradictory = set(table.source.contradictory)
    if findings.NO_FINDING in table.columns:
        # CheXpert's No Finding leaves devices out: an image may show a pacemaker and nothing else.
        labels = [name for name in table.findings if name != findings.SUPPORT_DEVICES]
        both = (table[findings.NO_FINDING] == 1) & (table[labels] == 1).any(axis=1)
        contradictory |= set(table["image_id"][both])
    if contradictory:
        for image in table["image_id"][table["image_id"].isin(contradictory)]:
            yield AuditIssue("label_contradiction", image, f"{findings.NO_FINDING} together with a finding")


def _two_sexes(known: pd.DataFrame) -> Iterator[AuditIssue]:
    several = known.groupby("patient_id")["sex"].transform("nunique") > 1
    for patient, rows in known[several].groupby("patient_id", sort=False):
        counts = ", ".join(f"{sex} {count}" for sex, count in rows["sex"].value_counts(sort=False).items())
        yield AuditIssue("patient_two_sexes", rows["image_id"].iloc[0], f"patient {patient}: {counts}")


def _outside(table: pd.DataFrame, column: str, known: tuple[str, ...]) -> Iterator[AuditIssue]:
    if column not in table.columns:
        return
    odd = table[~table[column].isin(known)]
    for image, value in zip(odd["image_id"], odd[column], strict=True):
        yield AuditIssue(f"unknown_{column}", image, f"{value!r}" if isinstance(value, str) and value else "blank")


def split_issues(splits: Splits) -> Iterator[AuditIssue]:
    """Yields the patients with images in several parts.

    Args:
        splits: The split.
    """
    assignment = splits.assignment[splits.assignment["patient_id"].isin(splits.crossing_patients)]
    for patient, rows in assignment.groupby("patient_id", sort=False):
        counts = ", ".join(f"{part} {count}" for part, count in rows["part"].value_counts(sort=False).items())
        yield AuditIssue("patient_crosses_split", rows["image_id"].iloc[0], f"patient {patient}: {counts}")


def selection(table: ImageTable, listed: ImageTable) -> tuple[list[AuditIssue], str]:
    """Tells whether images were chosen by their findings: whether a finding is far commoner or rarer than it should be.

    NIH's images are compared with the whole of NIH ChestX-ray14, however they came to be fewer; those of another source
    with all images that its table lists. "Far" is twice as common or half, and not by chance (binomial test, 1 in a
    million).

    Args:
        table: The images that are left.
        listed: The audited table, of which `table` is a part.

    Returns:
        One issue per finding, and the sentence to show beside every number; "" when there is none.
    """
    from scipy import stats

    names = table.findings
    whole = {name: float((listed[name] == 1).sum() / max(listed[name].notna().sum(), 1)) for name in names}
    if table.source.dataset == NIH.source_name:
        whole |= {name: nih_statistics.PREVALENCE[name] for name in whole if name in nih_statistics.PREVALENCE}
    far: list[tuple[float, str, str]] = []
    for name, expected in whole.items():
        positive, known = int((table[name] == 1).sum()), int(table[name].notna().sum())
        if not known or not 0 < expected < 1:
            continue
        share = positive / known
        gross = not expected / _GROSS < share < expected * _GROSS
        if gross and stats.binomtest(positive, known, expected).pvalue < _CHANCE:
            odds = (positive + 0.5) / (known - positive + 0.5) * (1 - expected) / expected
            ratio = max(odds, 1 / odds)
            far.append((ratio, name, f"on {share * 100:.1f} % of these images, {expected * 100:.1f} % of the data set"))
    if not far:
        return [], ""
    issues = [AuditIssue("selected_sample", "", f"{name} {told}") for _, name, told in far]
    worst = [f"{name.replace('_', ' ')} is {told}" for _, name, told in sorted(far, reverse=True)[:_NAMED]]
    return issues, (
        f"Not a random sample of the data set (a case-control sample, for example): {'; '.join(worst)}. Predictive "
        "values and calibration do not carry over to other populations."
    )
