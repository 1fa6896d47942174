"""Facts on the DICOM files that the run scored or refused, and the rules that refuse them."""

import math
import re
from typing import Any

import pandas as pd

from chexkeras.report.facts.facts import Facts, percent

_FILE = "dicom_results.csv"
_CLINICAL = "clinical"
_MEBI = 2**20
_LIST_OF_WORDS = 120
"""What a rule expects is a list of words from this many characters on: a table of rules refers to it."""


def in_units(expected: str) -> str:
    """Returns what a rule expects, large numbers with thousands commas and bytes in MiB.

    Example:
        >>> in_units("at most 268435456 bytes"), in_units("at most 50000000 pixels")
        ('at most 256 MiB', 'at most 50,000,000 pixels')
    """
    text = re.sub(r"(\d+) bytes", lambda found: _mebibytes(int(found[1])), expected)
    return re.sub(r"\d{5,}", lambda found: f"{int(found[0]):,}", text)


def _mebibytes(count: int) -> str:
    return f"{count // _MEBI} MiB" if count % _MEBI == 0 else f"{count} bytes"


def _gate(facts: Facts, table: pd.DataFrame, profile_name: str) -> None:
    """Records the rules of the DICOM gate in the profile that was used, and which ages it lets pass."""
    from chexkeras.dicom.profiles import PROFILES, find_profile, rules_table

    known = profile_name in PROFILES
    profile = find_profile(profile_name if known else _CLINICAL)
    note = (
        ""
        if known
        else (
            f"The DICOM files were checked under a profile of the user's own, {profile_name!r}, whose rules this run "
            f"does not hold; the rules shown are those of the profile {_CLINICAL}."
        )
    )
    facts.add("dicom.profile_note", note, note, file=_FILE, field="profile, where it is not one of chexkeras' own")
    rules = rules_table(profile)
    where = f"rules_table of the DICOM gate, profile {profile.name}"
    plain = {
        "columns": [str(c) for c in rules.columns],
        "rows": [
            [in_units(str(value)) if column == "expected" else str(value) for column, value in row.items()]
            for row in rules.to_dict("records")
        ],
    }
    facts.add("dicom.rules", plain, str(len(rules)), file="convention", field=where)
    counted = rules.groupby("item", sort=False)["severity"]
    items = [[str(item), int((kinds == "reject").sum()), int((kinds == "warn").sum())] for item, kinds in counted]
    facts.add("dicom.items", items, "", file="convention", field=f"{where}: rules by item and severity")
    expected = [(str(row["item"]), in_units(str(row["expected"]))) for row in rules.to_dict("records")]
    words = [list(entry) for entry in dict.fromkeys(expected) if len(entry[1]) >= _LIST_OF_WORDS]
    facts.add("dicom.words", words, "", file="convention", field=f"{where}: item and expected, where it is a long list")
    facts.add("dicom.profile", profile.name, file="convention", field=where)
    youngest, oldest = profile.minimum_age_years, profile.maximum_age_years
    facts.add("dicom.youngest", youngest, f"{youngest:g}", file="convention", field=f"minimum_age_years, {where}")
    facts.add("dicom.oldest", oldest, f"{oldest:g}", file="convention", field=f"maximum_age_years, {where}")
    ages = table["age_years"].dropna()
    for name, value in (
        ("youngest", max(youngest, ages.min()) if len(ages) else youngest),
        ("oldest", min(oldest, ages.max()) if len(ages) else oldest),
    ):
        facts.add(f"population.{name}", float(value), f"{value:g}", file="table.csv",
                  field=f"age_years: all images, as far as the DICOM checks let them pass, {name}")  # fmt: skip
    below = int((table["age_years"] < youngest).sum())
    facts.add("dicom.below_youngest", below, file="table.csv", field=f"age_years < {youngest:g}: all images")
    test = int((table.loc[table["part"] == "test", "age_years"] < youngest).sum())
    facts.add("dicom.below_youngest_test", test, file="table.csv", field=f"age_years < {youngest:g}: test part")


def _reasons(per_file: pd.DataFrame, verdict: str) -> list[list[Any]]:
    codes = per_file.loc[per_file["verdict"] == verdict, "code"].fillna("").astype(str)
    counts = codes[codes != ""].value_counts()
    return [[code, int(n)] for code, n in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))]


def add_dicom(facts: Facts, results: pd.DataFrame | None, table: pd.DataFrame) -> None:
    """Records how many files were accepted, accepted with a warning and rejected, and why."""
    facts.add("dicom", results is not None, file=_FILE, field="whether DICOM files were scored")
    _gate(facts, table, _CLINICAL if results is None or results.empty else str(results["profile"].iloc[0]))
    if results is None:
        return
    per_file = results.drop_duplicates("file")
    total = len(per_file)
    facts.add("dicom.files", total, file=_FILE, field="files")
    for verdict in ("accept", "warn", "reject"):
        count = int((per_file["verdict"] == verdict).sum())
        text = f"{count:,} ({percent(count / total)})" if total else "0"
        facts.add(f"dicom.{verdict}", count, text, file=_FILE, field=f"files with verdict {verdict}")
    facts.add("dicom.reject_reasons", _reasons(per_file, "reject"), "", file=_FILE, field="code of rejected files")
    facts.add("dicom.warn_reasons", _reasons(per_file, "warn"), "", file=_FILE, field="code of files with a warning")
    # Read with its blanks kept as text, a column of numbers may hold both.
    scored = results[pd.to_numeric(results["score"], errors="coerce").notna()]
    called = int((scored["decision"] == "positive").sum())
    uncertain = int((scored["decision"] == "uncertain").sum())
    facts.add("dicom.uncertain_calls", uncertain, file=_FILE, field='rows with decision "uncertain"')
    facts.add("dicom.scored", int(scored["file"].nunique()), file=_FILE, field="files with a score")
    facts.add("dicom.positive_calls", called, file=_FILE, field='rows with decision "positive"')
    # A refused file is done in milliseconds; counted in, it would hide what a scored one takes.
    timed = pd.to_numeric(scored.drop_duplicates("file")["seconds"], errors="coerce").median()
    text = "not measured, none was scored" if pd.isna(timed) else f"{timed:.2f} s"
    facts.add("dicom.seconds", timed, text, file=_FILE, field="median of seconds, files with a score")


def add_resolution(facts: Facts, run: Any) -> None:
    """Records the resolution of the files that the model learnt from, and from where on another one is told.

    Args:
        facts: Where they go.
        run: The `Run`.
    """
    found, file = run.resolution, "provenance.json"
    facts.add("resolution", found is not None, file=file, field="whether resolution is there")
    if found is None:
        return
    low, high = found.sides_px
    sides = f"{low:.0f} px and more" if math.isinf(high) else f"{low:.0f} to {high:.0f} px"
    facts.add("resolution.learnt", str(found), file=file, field="resolution")
    facts.add("resolution.sides", [low, high], sides, file=file, field="resolution.short_side_px with a tolerance")
    near = found.spacings_mm
    text = "" if near is None else f"{near[0]:.3g} to {near[1]:.3g} mm"
    facts.add("resolution.spacings", list(near or ()), text, file=file, field="resolution.spacing_mm with a tolerance")


_NOVELTY = "novelty.json"


def add_novelty(facts: Facts, run: Any) -> None:
    """Records the threshold from which on an image is called unlike the training images, and its false alarms.

    Args:
        facts: Where they go.
        run: The `Run`.

    Raises:
        ValueError: If novelty.json is damaged or of another version.
    """
    novelty = run.novelty
    frozen = novelty is not None and not math.isnan(novelty.threshold)
    file = _NOVELTY if novelty else "convention"
    facts.add("novelty", frozen, file=file, field="whether a threshold was frozen on validation")
    reason = "not measured in this run" if novelty is None else novelty.false_alarms.reason
    facts.add("novelty.reason", "" if frozen else reason, file=file, field="false_alarms.reason")
    if not frozen:
        return
    for name, value, text in (
        ("threshold", novelty.threshold, f"{novelty.threshold:.3g}"),
        ("rate", novelty.rate, f"{novelty.rate:g}"),
        ("n_validation", novelty.n_validation, None),
        ("n_training", novelty.n_training, None),
        ("false_alarms", novelty.false_alarms, None),
        ("on_test", novelty.on_test, None),
    ):
        facts.add(f"novelty.{name}", value, text, file=_NOVELTY, field=name)
    mistakes = [entry.name for entry in novelty.mistakes]
    facts.add("novelty.mistakes", mistakes, ", ".join(mistakes), file=_NOVELTY, field="mistakes")
