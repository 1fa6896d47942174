"""Facts on where the run and its data come from: provenance, split, patients, findings, and what was left out."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from chexkeras import files
from chexkeras.data.image_table import finding_columns, source_of
from chexkeras.data.joint import SITE
from chexkeras.evaluation.group_columns import ADULT_AGE_YEARS, columns_to_measure, overview_groups
from chexkeras.findings import ABNORMAL
from chexkeras.report.facts.facts import (
    NOT_RECORDED,
    NOT_STATED,
    UNKNOWN_NUMBER,
    Facts,
    estimate_text,
    percent,
)
from chexkeras.report.facts.run_reader import MODEL, Documents
from chexkeras.report.markdown import Marked, as_code, escaped
from chexkeras.results import Estimate
from chexkeras.results.shortcuts import SHORTCUT_WORDS

PARTS = ("train", "validation", "test")
NIH_REFERENCE = (
    "Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM. ChestX-ray8: Hospital-scale Chest X-ray Database and "
    "Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases. CVPR 2017"
)

_PROVENANCE = "provenance.json"


def add_provenance(facts: Facts, documents: Documents) -> None:
    """Records who made the run from what."""
    documents.add(facts, "run.name", "recipe.json", "name", default="")
    for key in ("created_utc", "git_commit", "python", "platform", "precision"):
        documents.add(facts, f"run.{key}", _PROVENANCE, key, default="")
    seconds = documents.pick(_PROVENANCE, "seconds", None)
    facts.add(
        "run.minutes",
        seconds,
        NOT_STATED if seconds is None else f"{seconds / 60:.1f} minutes",
        file=_PROVENANCE,
        field="seconds",
    )
    packages = documents.pick(_PROVENANCE, "packages", {})
    version = str(packages.get("chexkeras", NOT_STATED))
    facts.add("run.version", version, file=_PROVENANCE, field="packages.chexkeras")
    others = ", ".join(f"{name} {version}" for name, version in packages.items() if name != "chexkeras")
    facts.add("run.packages", packages, others, file=_PROVENANCE, field="packages")
    for key in ("dataset", "label_release"):
        documents.add(facts, f"source.{key}", _PROVENANCE, f"source.{key}", default="")
    documents.add(facts, "source.synthetic", _PROVENANCE, "source.synthetic", default=False)
    documents.add(facts, "source.implausible_ages", _PROVENANCE, "source.implausible_ages", default=0)
    hashes = documents.pick(_PROVENANCE, "source.files", {})
    listed = dict(hashes) if isinstance(hashes, dict) else {str(name): str(digest) for name, digest in hashes}
    listing = Marked("; ".join(f"{escaped(name)} {as_code(digest[:16])}" for name, digest in listed.items()))
    facts.add("source.files", listed, listing or NOT_STATED, file=_PROVENANCE, field="source.files")
    for key, path in (("hash.table", "split.table_fingerprint"), ("hash.split", "split.fingerprint")):
        digest = documents.pick(_PROVENANCE, path, "") or ""
        facts.add(key, digest, as_code(digest[:16]) if digest else NOT_STATED, file=_PROVENANCE, field=path)
    documents.add(facts, "run.weights", _PROVENANCE, "weights.origin", default="")
    # Whether the weights that training started from have seen images that are measured; "" in runs of before.
    documents.add(facts, "weights.seen_here", _PROVENANCE, "weights.seen_here", default="")
    documents.add(facts, "weights.normalisation", _PROVENANCE, "weights.normalisation", default="")
    documents.add(facts, "weights.conversion", _PROVENANCE, "weights.conversion", default="")
    digest = documents.pick(_PROVENANCE, "model.sha256", "") or ""
    text = as_code(digest[:16]) if digest else NOT_STATED
    facts.add("hash.model", digest, text, file=_PROVENANCE, field="model.sha256")
    documents.add(facts, "run.model", _PROVENANCE, "model.name", default="")
    documents.add(facts, "run.parameters", _PROVENANCE, "model.parameters", default=None)
    best = documents.pick(_PROVENANCE, "best", {})
    text = f"epoch {best['epoch']} of {best['stage']}" if best.get("stage") else NOT_STATED
    facts.add("run.best", best, text, file=_PROVENANCE, field="best")
    # The further epochs of a run say their rank; a run's own model is the best.
    rank = int(best.get("rank", 1))
    facts.add("run.rank", rank, file=_PROVENANCE, field="best.rank, 1 where none is stated")
    chosen = "best on the validation part" if rank == 1 else f"number {rank} on the validation part"
    if documents.pick(_PROVENANCE, "given.model", None):
        chosen = "as it was given; trained elsewhere"
    facts.add("run.chosen", chosen, file=_PROVENANCE, field="best.rank in words")
    facts.add("convention.fingerprint", "SHA-256, first 16 digits", file="convention", field="printed fingerprints")
    facts.add("reference.nih", NIH_REFERENCE, file="convention", field="the data set's paper")


def add_file_checks(facts: Facts, folder: Path) -> None:
    """Records whether the model in the folder is that of the run."""
    stated = facts["hash.model"].value
    at_hand = (folder / MODEL).is_file()
    facts.add("model.at_hand", at_hand, file=MODEL, field="whether the file was there when this text was made")
    agree = bool(stated) and at_hand and files.sha256_file(folder / MODEL) == stated
    text = "yes" if agree else "NO: it is another file" if stated else "not known: no fingerprint was recorded"
    if not at_hand:
        text = "not checked: the model file itself was not at hand"
    known = bool(stated) and at_hand
    facts.add("check.model", agree or not known, text, file=MODEL, field="SHA-256, against provenance.json")


def add_split(facts: Facts, documents: Documents, splits: pd.DataFrame) -> None:
    """Records how the parts were made, and counts from splits.csv itself whether they share patients."""
    known = bool(facts["patients.known"].value)
    for key in ("kind", "seed"):
        documents.add(facts, f"split.{key}", _PROVENANCE, f"split.{key}", default="")
    described = str(documents.pick(_PROVENANCE, "split.description", ""))
    shown = None if known else described.replace("split by patient", "split by image (patients are not known)")
    documents.add(facts, "split.description", _PROVENANCE, "split.description", shown, default="")
    pairs = splits[["patient_id", "part"]].drop_duplicates()
    parts = pairs["patient_id"].value_counts()
    several = set(parts.index[parts > 1])
    tested = set(pairs.loc[pairs["part"] == "test", "patient_id"])
    shared, leaked = len(several), len(several & tested)
    stated = bool(documents.pick(_PROVENANCE, "split.leaky", False))
    text = None if known else "not known"
    facts.add("split.shared_patients", shared, text, file="splits.csv", field="patients found in more than one part")
    facts.add("split.leaked_patients", leaked, text, file="splits.csv", field="test patients found in another part")
    facts.add("split.test_patients", len(tested), text, file="splits.csv", field="patients of the test part")
    facts.add(
        "split.leaky", stated or shared > 0, file="splits.csv", field="any patient in two parts, or stated to be so"
    )
    # A test list held out by patient stays a test, however the other images were divided.
    held_out = documents.pick(_PROVENANCE, "split.kind", "") == "official_image" and not leaked
    facts.add("split.test_held_out", held_out, file="splits.csv", field="leaky between training and validation only")


def _where(part: str) -> str:
    return "all images" if part == "all" else f"images of the {part} part"


def _add_part(facts: Facts, part: str, rows: pd.DataFrame, targets: list[str]) -> None:
    def add(name: str, value: Any, text: str | None = None, field: str = "") -> None:
        facts.add(f"data.{part}.{name}", value, text, file="table.csv", field=f"{field or name}: {_where(part)}")

    images, patients = len(rows), int(rows["patient_id"].nunique())
    named = bool(facts["patients.known"].value)
    add("images", images)
    add("patients", patients, None if named else UNKNOWN_NUMBER)
    mean = images / patients if patients and named else math.nan
    text = f"{mean:.2f}" if patients else NOT_STATED
    add("images_per_patient", mean, text if named else "not known", field="images / patients")
    ages = rows["age_years"].dropna()
    for name, value in (("age_min", ages.min()), ("age_median", ages.median()), ("age_max", ages.max())):
        missing = None if len(ages) else NOT_RECORDED
        add(name, float(value) if len(ages) else math.nan, missing, field=f"age_years, {name[4:]}")
    add("age_missing", int(rows["age_years"].isna().sum()), field="age_years missing")
    minors = int((ages < ADULT_AGE_YEARS).sum())
    add("below_adult", minors, field=f"age_years < {ADULT_AGE_YEARS}")
    for code, name in (("F", "female"), ("M", "male")):
        count = int((rows["sex"] == code).sum())
        text = f"{count:,} ({percent(count / images if images else math.nan)})"
        add(name, count, text if rows["sex"].isin(("F", "M")).any() else NOT_RECORDED, field=f"sex {code}")
    views = {str(view): int(count) for view, count in rows["view"].value_counts().sort_index(ascending=False).items()}
    text = ", ".join(f"{view} {count:,} ({percent(count / images)})" for view, count in views.items())
    add("views", views, text or NOT_RECORDED, field="view")
    for finding in targets:
        known, positive = int(rows[finding].notna().sum()), int((rows[finding] == 1).sum())
        share = positive / known if known else math.nan
        field = f"{finding} = 1"
        add(f"{finding}.positive", positive, field=field)
        add(f"{finding}.unknown", images - known, field=f"{finding} missing")
        add(f"{finding}.prevalence", share, f"{positive:,} of {known:,} ({percent(share)})", field=field)
        held = int(rows.loc[rows[finding] == 1, "patient_id"].nunique())
        add(f"{finding}.positive_patients", held, None if named else UNKNOWN_NUMBER, field=f"patients with {field}")


def add_data(facts: Facts, documents: Documents, table: pd.DataFrame, left_out: pd.DataFrame) -> None:
    """Records counts, ages, sex, views and prevalence of each part, subgroups of the test part, and exclusions."""
    targets = [str(name) for name in documents.pick("recipe.json", "targets")]
    named = [name.replace("_", " ") for name in targets]
    text = " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))
    facts.add("targets", targets, text, file="recipe.json", field="targets")
    parts = [part for part in PARTS if (table["part"] == part).any()]
    facts.add("parts", parts, file="table.csv", field="part")
    for part in (*parts, "all"):
        _add_part(facts, part, table if part == "all" else table[table["part"] == part], targets)
    for finding in targets:
        _add_negatives(facts, table, finding)
    kinds = sorted({str(view) for view in table["view"].dropna()}, reverse=True)
    facts.add("data.view_names", kinds, " and ".join(kinds) or "view not recorded", file="table.csv", field="view")
    facts.add("convention.adult_age", ADULT_AGE_YEARS, file="convention", field="FDA's age from which adults count")
    _add_subgroups(facts, table[table["part"] == "test"], targets)
    reasons = left_out["reason"].astype(str).value_counts() if len(left_out) else pd.Series(dtype=int)
    rows = [
        [reason, int(count)] for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], str(item[0])))
    ]
    issues = documents.pick("audit.json", "issues", {}) or {}
    found = [[code, issue["severity"], issue["meaning"], int(issue["count"])] for code, issue in issues.items()]
    facts.add("audit.issues", found, "", file="audit.json", field="issues")
    documents.add(facts, "audit.checked", "audit.json", "checked", default=None)
    _add_sites(facts, documents)
    facts.add("data.left_out", len(left_out), file="left_out.csv", field="rows")
    facts.add("data.left_out_reasons", rows, "", file="left_out.csv", field="reason")


def _add_sites(facts: Facts, documents: Documents) -> None:
    """Records what tells the site of an image best, and what the site alone tells of each finding."""
    measured = [
        (str(entry["name"]), str(entry["finding"]), Estimate.from_dict(entry["auroc"]))
        for entry in documents.pick("audit.json", "sites", []) or []
    ]
    best: dict[str, tuple[str, Estimate]] = {}
    for name, finding, area in measured:
        if name in SHORTCUT_WORDS and area.estimable:
            known = best.get(finding)
            if known is None or area.value > known[1].value:
                best[finding] = (SHORTCUT_WORDS[name], area)
    told = [f"{site}, by {words}: {estimate_text(area)}" for site, (words, area) in best.items()]
    facts.add("audit.sites", told, "; ".join(told), file="audit.json", field="sites: the best shortcut to each")
    labels = [f"{finding.replace('_', ' ')}: {estimate_text(area)}" for name, finding, area in measured if name == SITE]
    facts.add("audit.site_labels", labels, "; ".join(labels) or "not estimable", file="audit.json",
              field="sites: what the site tells of each finding")  # fmt: skip


def _add_negatives(facts: Facts, table: pd.DataFrame, finding: str) -> None:
    """Records how many of a finding's negative images show anything else: none at all means chosen controls."""
    # The negatives of "Abnormal" show nothing else by definition, which says nothing of how they were chosen.
    others = [name for name in finding_columns(table) if name != finding] if finding != ABNORMAL else []
    negative = table[table[finding] == 0]
    shown = (negative[others] == 1).any(axis=1)
    # A negative image of which another finding is not known may be of either kind.
    known = shown | negative[others].notna().all(axis=1) if others else shown
    facts.add(f"data.{finding}.negatives", len(negative), file="table.csv", field=f"{finding} = 0: all images")
    facts.add(f"data.{finding}.negatives_known", int(known.sum()), file="table.csv",
              field=f"{finding} = 0, known to show another finding or none: all images")  # fmt: skip
    facts.add(
        f"data.{finding}.negatives_ill",
        int(shown.sum()),
        file="table.csv",
        field=f"{finding} = 0 with another finding: all images",
    )


def _add_subgroups(facts: Facts, test: pd.DataFrame, targets: list[str]) -> None:
    """Records how many test images, and how many positives, each subgroup has."""
    groups = [
        group
        for name in columns_to_measure(test, source_of(test).group_columns)
        for group in overview_groups(test[name], name)
    ]
    rows = [
        {"name": name, "images": int(mask.sum()), **{f: int((test.loc[mask, f] == 1).sum()) for f in targets}}
        for name, mask in groups
    ]
    facts.add("subgroups", rows, "", file="table.csv", field="images and positives of the test part by group")


def add_cautions(facts: Facts, run: Any) -> None:
    """Records every sentence that a reader must see before any number: the run's own and those computed here."""
    found: list[str] = []
    if facts["split.leaky"].value and facts["split.test_held_out"].value:
        found.append(
            "LEAKY between training and validation: patients have images in both, so the epoch kept and the thresholds "
            "were chosen on images that resemble the training images. No test patient has an image in another part."
        )
    elif facts["split.leaky"].value:
        shared = facts["split.leaked_patients"].text
        found.append(
            f"LEAKY: {shared} of {facts['split.test_patients'].text} test patients also have images in another part. "
            "What is measured on it can be better than on new patients and proves nothing."
        )
    source = run.provenance.get("source", {}).get("cautions", ())
    found += [*source, *run.cautions, *run.provenance.get("cautions", ()), *run.evaluation.cautions]
    weights = facts["recipe.weights"].value
    if weights is None and not any("untrained" in caution.casefold() for caution in found):
        found.append("The network's base started untrained: no pretrained weights were used.")
    if not facts["check.test_scores"].value or not facts["check.validation_scores"].value:
        found.append("The scores on file are not the scores that were measured; see the provenance table.")
    if not facts["check.split"].value:
        found.append("The split in the run folder is not the one that was trained on; see the provenance table.")
    if not facts["check.table"].value:
        found.append("The image table in the run folder is not the one that was split; see the provenance table.")
    if not facts["check.history"].value:
        found.append("The epochs in history.csv are not those that stages.json tells of; see the provenance table.")
    if facts["check.limits"].value:
        found.append(
            "The limits in evaluation.json were computed by another version of chexkeras, which may have taken few "
            "patients for more than they are worth; no verdict is given. Measure the run's scores again with "
            "cx.evaluate and save the result as evaluation.json."
        )
    elif not facts["check.numbers"].value:
        found.append(
            "The numbers in evaluation.json are not those of the scores and thresholds on file; no verdict is given, "
            "see the provenance table."
        )
    if not facts["check.model"].value:
        found.append("The model in the run folder is not the one that was measured; see the provenance table.")
    if not facts["check.thresholds"].value:
        found.append("A threshold in evaluation.json differs from operating_points.json: the run folder is mixed up.")
    few = facts["goal.fewest_positives"].value
    for finding in facts["targets"].value:
        known = facts[f"data.{finding}.negatives_known"]
        if known.value and not facts[f"data.{finding}.negatives_ill"].value:
            all_known = known.value == facts[f"data.{finding}.negatives"].value
            of_which = "" if all_known else "whose other findings are known "
            found.append(
                f"{finding.replace('_', ' ')}: none of the {known.text} negative images {of_which}"
                "shows any other finding. The negatives are chosen controls, so how the "
                "device fares on images with other diseases was not measured."
            )
        positives = facts[f"test.{finding}.n_positive"]
        if positives.value < few:
            images = "image" if positives.value == 1 else "images"
            found.append(
                f"{finding.replace('_', ' ')}: only {positives.text} positive test {images}, too few to judge (fewer "
                f"than {few})."
            )
    found += [
        *facts["shortcuts.summary"].value,
        *facts["external.worse"].value,
        *filter(None, [facts["dicom.origin_note"].value]),
    ]
    unique = list(dict.fromkeys(found))
    facts.add(
        "cautions", unique, "", file="provenance.json", field="cautions, with those computed from the other files"
    )
    facts.add("cautions.count", len(unique), file="provenance.json", field="cautions at the head, how many")
    facts.add("cautions.data", list(dict.fromkeys(source)), "", file="provenance.json", field="source.cautions")
