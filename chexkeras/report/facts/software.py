"""Facts on the device as software: packages, failure modes seen, limits of the input, what to watch in use.

`bill_of_materials` lists its parts in CycloneDX: the model, every package that ran where it was trained, which of them
needs which, and the libraries of other languages inside them.
"""

import functools
import importlib.metadata
import json
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from chexkeras import provenance
from chexkeras.arguments import checked
from chexkeras.report.facts.facts import Facts, estimate_text, percent
from chexkeras.report.facts.run_reader import Documents

FILE = "sbom.cdx.json"
_ROOT = "chexkeras"


def components(
    packages: Mapping[str, str], bundled: Mapping[str, Mapping[str, str]] | None = None
) -> list[dict[str, Any]]:
    """Returns packages as CycloneDX components, chexkeras first and the others by name.

    Args:
        packages: Their names and versions.
        bundled: The libraries inside them, as `provenance.bundled`.

    Returns:
        Type, name, version and purl of each, the licence as its author declared it where the package is installed
        here too, and as components of it the libraries that it brings along.
    """
    found: list[dict[str, Any]] = []
    for name in sorted(packages, key=lambda name: (name != _ROOT, name)):
        purl = f"pkg:pypi/{name}@{packages[name]}"
        kind = "application" if name == _ROOT else "library"
        entry: dict[str, Any] = {"type": kind, "bom-ref": purl, "name": name, "version": packages[name], "purl": purl}
        licence = _licence(name)
        if licence:
            entry["licenses"] = [{"license": {"name": licence}}]
        inside = [
            {"type": "library", "bom-ref": f"{purl}#{library}", "name": library}
            | ({"version": version} if version else {})
            for library, version in (bundled or {}).get(name, {}).items()
        ]
        if inside:
            entry["components"] = inside
        found.append(entry)
    return found


@functools.cache
def _licence(name: str) -> str:
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    stated = [str(metadata[field]).strip() for field in ("License-Expression", "License") if field in metadata]
    licence = next(filter(None, stated), "")
    # Some packages put the whole text of their licence here.
    return licence if "\n" not in licence and len(licence) <= 80 else ""


def _model(facts: Facts) -> dict[str, Any]:
    digest = str(facts["hash.model"].value)
    entry: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{digest}",
        "name": str(facts["run.model"].value) or "model",
        "version": str(facts["run.created_utc"].value),
    }
    if digest:
        entry["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return entry


def _graph(facts: Facts, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns which part needs which, by their references; the model is what chexkeras runs."""
    references = {part["name"]: part["bom-ref"] for part in parts}
    needs = {
        references[name]: [references[needed] for needed in needed_by if needed in references]
        for name, needed_by in facts["sbom.depends"].value.items()
        if name in references
    }
    for part in parts:
        inside = [library["bom-ref"] for library in part.get("components", ())]
        if inside:
            needs[part["bom-ref"]] = [*needs.get(part["bom-ref"], ()), *inside]
    if _ROOT in references:
        needs[references[_ROOT]] = [_model(facts)["bom-ref"], *needs.get(references[_ROOT], ())]
    return [{"ref": reference, "dependsOn": needed} for reference, needed in sorted(needs.items())]


@checked
def bill_of_materials(facts: Facts) -> dict[str, Any]:
    """Returns the document: the packages that ran where the model was trained, which needs which, and the model.

    Args:
        facts: From `collect_facts`; of them the time of the run, its packages ("sbom"), the model's name and its
            fingerprint are used.
    """
    made = str(facts["run.created_utc"].value)
    parts = components(dict(facts["sbom.packages"].value), facts["sbom.bundled"].value)
    own = [part for part in parts if part["name"] == _ROOT]
    listed = [_model(facts), *(part for part in parts if part["name"] != _ROOT)]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([made, own, listed], sort_keys=True))
    metadata: dict[str, Any] = {"timestamp": made} if made else {}
    if own:
        metadata["component"] = own[0]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": metadata,
        "components": listed,
        "dependencies": _graph(facts, parts),
    }


_RESULTS, _SCORES = "dicom_results.csv", "scores_test.csv"
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MEBI = 2**20

WATCHED_IMAGES = 100
WATCH_TAIL = 0.00135
"""Chance to lie outside a control limit on one side when nothing has changed, as with three standard deviations.

Source: Shewhart's control chart for a share (p-chart), here with exact binomial limits.
"""


def _add_packages(facts: Facts, documents: Documents) -> None:
    packages = {str(name): str(version) for name, version in documents.pick("provenance.json", "packages", {}).items()}
    rows = [[name, version] for name, version in packages.items()]
    facts.add("software.packages", rows, "", file="provenance.json", field="packages: name and version")
    recorded = documents.pick("provenance.json", "installed", {})
    origin = "as installed where the model was trained"
    if not recorded:
        # A run of an earlier version recorded only the packages above.
        unsaid = (provenance.NOT_INSTALLED, provenance.UNKNOWN)
        known = {name: version for name, version in packages.items() if version not in unsaid}
        recorded = {**provenance.installed(), **known}
        origin = "those above as recorded with the run, the others as installed where this text was made"
    for name, here in (("depends", provenance.depends), ("bundled", provenance.bundled)):
        found = documents.pick("provenance.json", name, None)
        facts.add(f"sbom.{name}", here() if found is None else found, "", file="provenance.json", field=name)
    libraries = sum(len(inside) for inside in facts["sbom.bundled"].value.values())
    facts.add("sbom.libraries", libraries, file="provenance.json", field="bundled: libraries of all packages")
    listed = [[str(name), str(version)] for name, version in sorted(recorded.items())]
    facts.add("sbom.packages", listed, "", file="provenance.json", field="installed: name and version")
    facts.add("sbom.origin", origin, file="provenance.json", field="whether installed is recorded")
    facts.add("sbom.components", len(listed), file=FILE, field="packages, the application itself among them")


def _add_failures(facts: Facts) -> None:
    """Records each reason for which files were refused or passed with a warning, with the rule behind it."""
    if not facts["dicom"].value:
        facts.add("failures", [], "", file="convention", field="no DICOM file was scored")
        return
    rules = facts["dicom.rules"].value
    columns = rules["columns"]
    by_code = {row[columns.index("code")]: row for row in rules["rows"]}
    rows = []
    for verdict, effect in (
        ("reject", "not scored; stays in the usual reading order"),
        ("warn", "scored with a warning"),
    ):
        for codes, count in facts[f"dicom.{verdict}_reasons"].value:
            known = [by_code[code] for code in str(codes).split(";") if code in by_code]
            items = ", ".join(dict.fromkeys(row[columns.index("item")] for row in known)) or "not in this profile"
            wanted = "; ".join(row[columns.index("expected")] for row in known)
            rows.append([codes, items, wanted, count, effect])
    facts.add("failures", rows, "", file=_RESULTS, field="code of files rejected or with a warning, with its rule")


def _add_limits(facts: Facts) -> None:
    """Records within which limits files are read."""
    from chexkeras.dicom.profiles import find_profile
    from chexkeras.dicom.workers.pool import ISOLATED

    profile = find_profile(facts["dicom.profile"].value)
    where = f"DICOM profile {profile.name}"
    for name, value, text in (
        ("file_bytes", profile.maximum_file_bytes, f"{profile.maximum_file_bytes / _MEBI:g} MiB"),
        ("minimum_side", profile.minimum_side_px, f"{profile.minimum_side_px:,} px"),
        ("maximum_side", profile.maximum_side_px, f"{profile.maximum_side_px:,} px"),
        ("pixels", profile.maximum_pixels, f"{profile.maximum_pixels:,}"),
        ("aspect", profile.maximum_aspect, f"{profile.maximum_aspect:g}"),
    ):
        facts.add(f"limit.{name}", value, text, file="convention", field=f"{where}: {name}")
    for name, number, text in (
        ("memory", float(ISOLATED.memory_bytes), f"{ISOLATED.memory_bytes / _MEBI:,.0f} MiB"),
        ("seconds", float(ISOLATED.seconds), f"{ISOLATED.seconds:g} s"),
    ):
        facts.add(f"limit.{name}", number, text, file="convention", field=f"reading in worker processes: {name}")


def _add_decoders(facts: Facts, results: pd.DataFrame | None) -> None:
    """Records which decoders read the scored files."""
    rows: list[list[Any]] = []
    if results is not None:
        scored = results[pd.to_numeric(results["score"], errors="coerce").notna()].drop_duplicates("file")
        counts = scored["decoder"].astype(str).replace("", "not stated").value_counts()
        rows = [[str(name), int(n)] for name, n in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))]
    facts.add("decoders", rows, "", file=_RESULTS if results is not None else "convention",
              field="decoder of files with a score")  # fmt: skip


def _add_baselines(facts: Facts, scores: pd.DataFrame) -> None:
    """Records what drift would be measured against: scores, calls and refusals as they were here."""
    from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval, proportion_interval

    facts.add("baseline.quantiles", list(_QUANTILES), ", ".join(percent(q, 0) for q in _QUANTILES), file="convention",
              field="shown quantiles of scores")  # fmt: skip
    for finding in facts["evaluated"].value:
        rows = scores[scores["finding"] == finding]
        values = [float(value) for value in np.quantile(rows["score"], _QUANTILES)]
        key = f"baseline.{finding}"
        facts.add(f"{key}.scores", values, ", ".join(f"{value:.3f}" for value in values), file=_SCORES,
                  field=f"{finding}: quantiles of score")  # fmt: skip
        facts.add(f"{key}.images", len(rows), file=_SCORES, field=f"{finding}: rows")
        if not facts[f"point.{finding}"].value:
            continue
        called = rows["score"].to_numpy() >= facts[f"point.{finding}.threshold"].value
        share = clustered_proportion_interval(called, rows["patient_id"].to_numpy())
        facts.add(f"{key}.called", share, file=_SCORES, field=f"{finding}: share of scores at or above the threshold")
        _add_limits_of_calls(facts, key, finding, share.value)
    facts.add("baseline.watched", WATCHED_IMAGES, file="convention", field="images of one point of the control chart")
    facts.add("baseline.tail", WATCH_TAIL, f"{WATCH_TAIL * 100:g} %", file="convention",
              field="chance beyond each control limit, as three standard deviations")  # fmt: skip
    if facts["dicom"].value:
        files, refused = facts["dicom.files"].value, facts["dicom.reject"].value
        rate = proportion_interval(refused, files) if files else None
        text = estimate_text(rate) if rate is not None else "no file was offered"
        facts.add("baseline.rejected", rate, text, file=_RESULTS, field="share of files with verdict reject")


def _add_limits_of_calls(facts: Facts, key: str, finding: str, share: float) -> None:
    """Records between which counts positive calls stay by chance alone, with exact binomial limits."""
    from scipy import stats

    calls = stats.binom(WATCHED_IMAGES, share)
    low, high = int(calls.ppf(WATCH_TAIL)), int(calls.isf(WATCH_TAIL))
    field = f"{finding}: exact binomial limits at the share called positive"
    facts.add(f"{key}.low", low, file=_SCORES, field=f"{field}, lower")
    facts.add(f"{key}.high", high, file=_SCORES, field=f"{field}, upper")
    alarm = float(calls.cdf(low - 1) + calls.sf(high))
    facts.add(f"{key}.alarm", alarm, f"{alarm * 100:.2f} %", file=_SCORES, field=f"{field}: chance to lie outside")


def add_software(facts: Facts, documents: Documents, run: Any) -> None:
    """Records packages, failures, limits, decoders and baselines.

    Args:
        facts: Where they go; DICOM facts and thresholds are there already.
        documents: The run's files.
        run: The `Run`.
    """
    _add_packages(facts, documents)
    _add_failures(facts)
    _add_limits(facts)
    _add_decoders(facts, run.dicom_results)
    _add_baselines(facts, run.scores("test"))
