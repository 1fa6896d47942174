"""Open-I's Indiana University collection: reports with their images, labelled by MeSH headings.

Source:
    Demner-Fushman et al., "Preparing a collection of radiology examinations for distribution and retrieval", Journal of
    the American Medical Informatics Association 23, 2016, 304-310; openi.nlm.nih.gov.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from chexkeras import checks, files
from chexkeras import findings as vocabulary
from chexkeras.arguments import checked
from chexkeras.data.datasets import _csv
from chexkeras.data.datasets._files import (
    MISSING,
    assemble,
    fingerprint_of_folder,
    locate_images,
    refuse_missing,
    source_of_folder,
)
from chexkeras.data.datasets.entries import OPENI
from chexkeras.data.datasets.published import common
from chexkeras.data.image_table import ImageTable

PROJECTIONS_FILE = "indiana_projections.csv"
UNKNOWN_VIEWS_CAUTION = "The views of {count:,} images are not known: lateral images may be among them."
_MOST_XML_BYTES = 2**20
# The report's number may stand twice before the image's own.
_NAME = re.compile(r"(?:CXR(?:\d+_(?=\d+_IM))?)?(\d+)(_IM-[\d-]+)")
_PROJECTIONS = {"frontal": "", "lateral": common.LATERAL}
# A report that has only these says nothing of the findings.
_NOTHING_SAID = frozenset({"", "no indexing", "technical quality of image unsatisfactory"})
_NORMAL = "normal"


@checked
def load_openi(
    root: str | Path,
    *,
    images: str | Path | None = None,
    views: Literal["frontal", "lateral", "all"] = "frontal",
    missing: Literal["error", "skip", "keep"] = "error",
    findings: Iterable[str] | None = None,
) -> ImageTable:
    """Loads Open-I's Indiana University collection as one row per image. What the reports say in words is not read.

    All images of a report have its labels, the headings that people gave it.

    Args:
        root: The folder that holds ``ecgen-radiology`` with its XML reports, or Kaggle's ``indiana_reports.csv`` with
            ``indiana_projections.csv`` beside it; or that folder of reports or that CSV itself.
        images: The folder of the images (PNG, or DICOM), absolute or relative to `root`; None looks everywhere below
            `root`.
        views: "frontal", "lateral" or "all". Kaggle's table and DICOM headers say the view; with XML reports and PNG
            nothing does, and every image counts as frontal, with a caution.
        missing: What to do with rows whose image is not there: "error"; "skip" drops them and lists them in the
            source's ``left_out``; "keep" leaves them with an empty path.
        findings: Which findings become columns; None takes all that mean the same as one known here.

    Returns:
        A table with image_id (``CXR10_IM-0002-1001``), path, patient_id (``CXR10``: each report is of another patient),
        follow_up (the image's number in its report), age_years, sex, width_px, height_px and pixel_spacing_mm (from
        DICOM headers, where they say), view ("PA", "AP", "LATERAL" or ""), one float column per finding (1, 0, or NaN
        for a report without headings) and official_split (""). ``attrs["source"]`` is its `TableSource`.

    Raises:
        FileNotFoundError: If the folder, the reports, all images, or (with missing="error") any image is missing.
        ValueError: If a report or table is malformed, a finding is not labelled, or an image lies in two folders.
    """
    checks.one_of(missing, MISSING, "missing")
    checks.one_of(views, common.VIEWS, "views")
    wanted = common.columns_asked(findings, OPENI.vocabulary, OPENI.owner)
    path = checks.typed_path(root, "root")
    reports = path if path.is_dir() and path.name in OPENI.label_files else common.label_file(root, OPENI)
    folder = reports.parent
    if reports.is_dir():
        rows, read = _of_reports(reports), [fingerprint_of_folder(reports, "*.xml")]
        label_files: list[Path] = []
    else:
        rows, label_files, read = _of_tables(reports), [reports, folder / PROJECTIONS_FILE], []
    _csv.refuse_repeated(rows["image_id"], reports.name)
    rows["path"] = _paths(folder, rows, images)
    facts = pd.DataFrame(common.in_headers(rows["path"].tolist()))
    rows = pd.concat([rows, facts.drop(columns="view")], axis=1)
    rows["view"] = np.where(facts["view"] == "", rows["view"], facts["view"])
    # What stands before the filter: a frontal image of Kaggle's table is known to be one.
    unknown = int(((rows["view"] == "") & ~rows["frontal"]).sum())
    rows = common.of_views(rows, views, OPENI.owner)
    fix = "Give the folder of the images with images= (on the command line --images)"
    refuse_missing(rows["image_id"].tolist(), rows["path"].tolist(), missing, str(images or folder), fix)
    labels = _labels(rows["headings"], wanted)
    told = ("patient_id", "view", "sex", "age_years", "width_px", "height_px", "pixel_spacing_mm")
    described: dict[str, Any] = {name: rows[name] for name in told}
    described["follow_up"] = common.follow_ups(rows["patient_id"].tolist())
    table, left_out = assemble(rows["image_id"].tolist(), rows["path"].tolist(), described, labels, missing)
    source = source_of_folder(
        folder,
        label_files,
        OPENI.source_name,
        "headings given by people",
        "chexkeras phantoms in Open-I's layout",
        (UNKNOWN_VIEWS_CAUTION.format(count=unknown),) if unknown and views != "all" else (),
        left_out=left_out,
        views=views,
    )
    table.attrs["source"] = source.reading_too(read)
    return table


def _of_reports(folder: Path) -> pd.DataFrame:
    """Reads the XML reports: each image with the headings of its report."""
    found = []
    for file in sorted(folder.glob("*.xml"), key=lambda path: (len(path.name), path.name)):
        files.readable(file, _MOST_XML_BYTES)
        content = file.read_bytes()
        # Entities can make a small file large in memory; no report declares any.
        if b"<!" in content.replace(b"<!--", b""):
            raise ValueError(f"{file.name} declares entities, which no report of Open-I does; download it again.")
        try:
            report = ElementTree.fromstring(content)
        except ElementTree.ParseError as error:
            raise ValueError(f"{file.name} is no XML report ({error}); download the reports again.") from None
        headings = frozenset(_term(each.text or "") for each in report.iter("major"))
        names = [str(each.get("id", "")) for each in report.iter("parentImage")]
        found += [(*_identity(name, file.name), name, "", False, headings) for name in names]
    if not found:
        raise FileNotFoundError(f"no XML report with an image in {str(folder)!r}; unpack NLMCXR_reports.tgz there.")
    return pd.DataFrame(found, columns=["image_id", "patient_id", "name", "view", "frontal", "headings"])


def _of_tables(reports: Path) -> pd.DataFrame:
    """Reads Kaggle's two tables."""
    projections = reports.parent / PROJECTIONS_FILE
    checks.existing_file(projections, PROJECTIONS_FILE, f"put it beside {reports.name}: it names the images.")
    headings = common.read_text(reports, {"uid": "uid", "MeSH": "headings"})
    _csv.refuse_repeated(headings["uid"], reports.name)
    by_report = dict(zip(headings["uid"], headings["headings"], strict=True))
    images = common.read_text(projections, {"uid": "uid", "filename": "name", "projection": "projection"})
    without = ~images["uid"].isin(list(by_report))
    if without.any():
        raise ValueError(
            f"{PROJECTIONS_FILE} names the report {images['uid'][without].iloc[0]!r}, which {reports.name} lacks; take "
            "both from one download."
        )
    found = []
    for uid, name, projection in images[["uid", "name", "projection"]].itertuples(index=False):
        view = _PROJECTIONS.get(projection.casefold())
        if view is None:
            raise ValueError(
                f"{PROJECTIONS_FILE}: projection is {projection!r} for {name}; expected Frontal or Lateral."
            )
        terms = frozenset(_term(each) for each in by_report[uid].split(";"))
        found.append((*_identity(name, PROJECTIONS_FILE), name, view, not view, terms))
    return pd.DataFrame(found, columns=["image_id", "patient_id", "name", "view", "frontal", "headings"])


def _identity(name: str, file: str) -> tuple[str, str]:
    """Returns the id of an image and its patient's from a name of any layout.

    Example:
        >>> _identity("10_IM-0002-1001.dcm.png", "indiana_projections.csv")
        ('CXR10_IM-0002-1001', 'CXR10')
    """
    match = _NAME.match(name)
    if match is None:
        raise ValueError(f"{file}: {name[:80]!a} is no name of an image of Open-I, such as CXR10_IM-0002-1001.")
    return f"CXR{match[1]}{match[2]}", f"CXR{match[1]}"


def _paths(folder: Path, rows: pd.DataFrame, images: str | Path | None) -> list[str]:
    """Returns the file of each image, which each layout calls otherwise; the layout of most is taken."""
    image_ids = rows["image_id"].tolist()
    layouts = (
        [name if name.endswith(".png") else f"{name}.png" for name in rows["name"]],
        [f"{image.removeprefix('CXR')}.dcm" for image in image_ids],
    )
    best: list[str] = [""] * len(image_ids)
    for names in layouts:
        found, _ = locate_images(folder, set(names), images)
        paths = [found.get(name, "") for name in names]
        if sum(map(bool, paths)) > sum(map(bool, best)):
            best = paths
    return best


def _term(text: str) -> str:
    return " ".join(text.split()).casefold()


def _labels(headings: pd.Series, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Returns a column per finding; NaN where a report has no heading that says anything."""
    meant = common.meant_by("openi")
    rows = np.zeros((len(headings), len(wanted)))
    known: dict[frozenset[str], np.ndarray] = {}
    for row, terms in enumerate(headings):
        if terms not in known:
            known[terms] = _row(terms, meant, wanted)
        rows[row] = known[terms]
    return {name: rows[:, column] for column, name in enumerate(wanted)}


def _row(terms: frozenset[str], meant: dict[str, tuple[str, ...]], wanted: tuple[str, ...]) -> np.ndarray:
    if terms <= _NOTHING_SAID:
        return np.full(len(wanted), np.nan)
    shown = {vocabulary.NO_FINDING} if terms == {_NORMAL} else set()
    for term in terms:
        heading, *qualifiers = (part.strip() for part in term.split("/"))
        for key in (heading, *(f"{heading}/{qualifier}" for qualifier in qualifiers)):
            shown.update(meant.get(key, ()))
    return np.asarray([name in shown for name in wanted], dtype=float)
