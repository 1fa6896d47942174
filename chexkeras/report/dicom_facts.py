"""Facts on the DICOM files that the run scored or refused, and the rules that refuse them."""

from typing import Any

import pandas as pd

from chexkeras.report.facts import Facts, percent

_FILE = "dicom_results.csv"


def rules(profile: str = "clinical") -> pd.DataFrame | None:
    """Returns the rules of the DICOM gate as a table, or None where this installation has no gate."""
    try:
        from chexkeras.dicom.gate import rules_table
    except ImportError:
        return None
    return rules_table(profile)


def _reasons(per_file: pd.DataFrame, verdict: str) -> list[list[Any]]:
    codes = per_file.loc[per_file["verdict"] == verdict, "code"].fillna("").astype(str)
    counts = codes[codes != ""].value_counts()
    return [[code, int(n)] for code, n in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))]


def add_dicom(facts: Facts, results: pd.DataFrame | None) -> None:
    """Records how many files were accepted, accepted with a warning and rejected, and why."""
    facts.add("dicom", results is not None, file=_FILE, field="whether DICOM files were scored")
    table = rules()
    columns = [] if table is None else [str(column) for column in table.columns]
    rows = [] if table is None else [[str(value) for value in row] for row in table.to_numpy(dtype=object)]
    facts.add("dicom.rules", {"columns": columns, "rows": rows}, str(len(rows)), file="convention",
              field="rules_table of the DICOM gate, profile clinical")  # fmt: skip
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
    facts.add("dicom.scored", int(scored["file"].nunique()), file=_FILE, field="files with a score")
    facts.add("dicom.positive_calls", called, file=_FILE, field='rows with decision "positive"')
    seconds = pd.to_numeric(per_file["seconds"], errors="coerce").median() if total else float("nan")
    facts.add("dicom.seconds", seconds, f"{seconds:.2f} s", file=_FILE, field="median of seconds")
