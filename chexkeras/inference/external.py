"""A run at another hospital: its frozen model and thresholds on images of another data set, and nothing chosen anew."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from chexkeras import files, provenance
from chexkeras.arguments import checked
from chexkeras.checks import identifiers, one_of, positive_int, probability
from chexkeras.data.audit.against_model import KEYS, NAMES, compare_with_shortcuts, shortcut_scores
from chexkeras.data.audit.fingerprints import Fingerprints, FingerprintsTaken
from chexkeras.data.audit.shared_images import SharedImages, identities, shared_images
from chexkeras.data.audit.shortcuts import known_labels, shortcuts
from chexkeras.data.audit.table_checks import selection
from chexkeras.data.datasets.custom import NO_PATIENTS_CAUTION
from chexkeras.data.datasets.registry import data_set_of, open_data
from chexkeras.data.image_table import PHANTOM_FILE, ImageTable
from chexkeras.data.splits.splitters import assign_parts, checked_for_split
from chexkeras.data.store.store import Store
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.external import against_internal, forecast_adjustment
from chexkeras.evaluation.group_columns import columns_to_measure
from chexkeras.evaluation.scores import Scores, write_scores
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.inference.site_images import decoded_images, look_at, share_unlike
from chexkeras.inference.test_images import require_on_disk, rows_of
from chexkeras.models.scoring import predict_scores, require_image_table
from chexkeras.models.weights.seen import Overlap, overlap_of_record
from chexkeras.results import (
    ExternalTest,
    LocalAdjustment,
    OperatingPoint,
    ShortcutStudy,
    SiteShortcut,
)
from chexkeras.results.external import copies_sentence, site_name
from chexkeras.results.shortcuts import TOGETHER
from chexkeras.runs.external import (
    EXTERNAL,
    TEST_FILE,
    TEST_SCORES,
    TEST_SHORTCUTS,
    external_scores,
    read_external,
    refuse_taken,
    thumbnail_shortcut,
)
from chexkeras.runs.run import MODEL, Run
from chexkeras.runs.run_files import fields_of

MARGIN, OPERATING_MARGIN = 0.05, 0.1
"""Losses of AUROC, and of sensitivity and specificity, from which on they matter where nothing else is stated."""

_FEWEST_PATIENTS = 10
# Of images that are nearly the same as one of the run: fewer may be chance among many, more are the run's own source.
_MOST_BY_CHANCE = 0.01
_NO_FINGERPRINTS = (
    "Only names and patient ids were compared with those of the run, not pixels: the run keeps no fingerprints of its "
    "images, so copies of them under other names would not be noticed, and that this is another source is not shown. "
    "chexkeras.inference.measure_shortcuts(run, table, overwrite=True) makes them."
)
_KEPT_NONE = "the run keeps no thumbnail of its training images: measure_shortcuts(run, table, overwrite=True) makes it"


@checked
def evaluate_external(
    run: Run | str | Path,
    data: pd.DataFrame | str | Path,
    *,
    name: str | None = None,
    findings: Mapping[str, str] | None = None,
    overlap: Literal["error", "leave_out"] = "error",
    home: pd.DataFrame | None = None,
    store: Store | None = None,
    margin: float = MARGIN,
    operating_margin: float = OPERATING_MARGIN,
    batch_size: int | None = None,
    seed: int = 0,
    keep: bool = True,
    overwrite: bool = False,
) -> ExternalTest:
    """Measures a finished run on the images of another hospital, as it would be used there.

    The model, its thresholds, the shortcuts that were fitted to its training images, and from where on an image is
    unlike these, are frozen; each image is scored once. Images whose pixels are those of images of the run, or nearly
    so, are left out and counted whatever they are called, with the other images of their patients; see
    `ExternalTest.n_copies`. Beside the external test itself, and apart from it, stands what
    a threshold and a recalibration chosen on half of the patients there give on the other half.

    Args:
        run: The run or its folder.
        data: Image table of the other data set, or its folder, which `open_data` then opens as it comes.
        name: What the site is called, 1 to 40 letters, digits, ``_``, ``-`` or ``.``; None makes it of the data set's
            name. It becomes the folder ``external/<name>/`` of the run.
        findings: Where the other data set calls a finding otherwise: its label column, by the run's finding, such as
            {"Effusion": "Pleural Effusion"}. Spellings that mean the same are found without it.
        overlap: What to do with images of patients who are in the run's own data: "error" refuses, "leave_out" leaves
            them out and counts them. Images of published data sets are known by their names wherever they lie;
            otherwise identifiers are compared within one source, since between sources the same number is another
            person.
        home: Image table that says where the run's own images are, for a run that keeps no fingerprints of them:
            copies are then searched for by the pixels of both, and treated as `overlap` says. None compares names,
            patients, and the fingerprints that the run keeps; without these a caution says what was not compared.
        store: Images of the other data set decoded before, in the model's size; None decodes each file once, into a
            temporary folder of as many bytes as the images have pixels in that size.
        margin: Loss of AUROC from which on a loss matters, in (0, 1); state it before looking.
        operating_margin: The same for sensitivity and specificity at the frozen threshold, in (0, 1).
        batch_size: Images a batch; the recipe's by default.
        seed: Of the halving of patients for the forecast of an adjustment; a whole number from 0.
        keep: Whether the result becomes part of the run, from which its report tells.
        overwrite: Whether an earlier test of that name may be replaced.

    Returns:
        The test; its `leading` verdict is one of "holds", "worse", "not shown" and "not estimable".

    Raises:
        TypeError: If the table is no pandas DataFrame.
        FileExistsError: If the run has a test of that name.
        FileNotFoundError: If images are not on disk, and no store is given.
        OSError: If nothing can be written into the run.
        ValueError: If the data set has none of the run's findings, only one class of them, no patients, or images or
            patients of the run; if more than half of the images are copies of the run's own; if a file of the run is
            damaged; if a name, margin or seed is out of range.

    Source:
        Collins et al., TRIPOD+AI, BMJ 385, 2024 (external evaluation of a frozen model); Newcombe, Statistics in
        Medicine 17, 1998 (difference of independent samples).
    """
    run = run if isinstance(run, Run) else Run.load(run)
    one_of(overlap, ("error", "leave_out"), "overlap")
    margins = (
        probability(margin, "margin", open_interval=True),
        probability(operating_margin, "operating_margin", open_interval=True),
    )
    seed = positive_int(seed, "seed", least=0)
    size = run.recipe.batch_size if batch_size is None else positive_int(batch_size, "batch_size")
    called = None if name is None else site_name(name)
    if called is not None and keep:
        refuse_taken(run, called, overwrite)
    table = data if isinstance(data, pd.DataFrame) else open_data(data)
    called = called or default_name(table)
    if keep:
        refuse_taken(run, called, overwrite)
    site = _site(run, table, called, dict(findings or {}), overlap, home)
    points = [point for point in run.checked_points() if point.finding in site.labels]
    internal, novelty, fingerprints = run.scores("test"), run.novelty, run.fingerprints
    if store is None:
        require_on_disk(site.table)
    model = run.load_model()
    targets = run.recipe.targets
    with decoded_images(site.table, model.input_shape[1], store) as decoded:
        refused = site.table["image_id"].map(decoded.left_out)
        kept = ImageTable(site.table[refused.isna()].reset_index(drop=True))
        kept.attrs = dict(site.table.attrs)
        _refuse_one_class(kept, site, "that could be decoded")
        seen = look_at(kept, model.input_shape[1], decoded, novelty)
        site, kept = _without_copies(site, kept, called, fingerprints, seen.fingerprints)
        every = predict_scores(model, kept, targets, batch_size=size, store=decoded)
    found, unlike = seen.thumbnails, share_unlike(kept, seen.unlike, novelty)
    thumbnails = np.stack([found[image_id] for image_id in kept["image_id"]])
    scores = Scores.of(every[every["finding"].isin(list(site.labels))])
    compared, scored = _against_home(run, kept, scores, site, thumbnails)
    measured = evaluate(
        scores,
        points,
        split=f"{called} (external)",
        cautions=site.cautions,
        table=kept,
        subgroups=columns_to_measure(kept, kept.source.group_columns),
    )
    test = ExternalTest(
        name=called,
        dataset=kept.source.dataset,
        label_release=kept.source.label_release,
        files=kept.source.files,
        synthetic=kept.source.synthetic,
        same_source=site.same_source or site.holds_own,
        n_listed=len(site.table) + site.n_overlap,
        n_images=len(kept),
        n_patients=int(kept["patient_id"].nunique()),
        n_overlap=site.n_overlap,
        copies_searched=site.copies_searched,
        n_copies=site.n_copies,
        n_beside_copies=site.n_beside_copies,
        refused=clustered_proportion_interval(refused.notna().to_numpy(), site.table["patient_id"].to_numpy()),
        refused_reasons=tuple((str(code), int(count)) for code, count in refused.dropna().value_counts().items()),
        unlike_training=unlike,
        margin=margins[0],
        operating_margin=margins[1],
        findings=against_internal(
            scores,
            internal,
            points,
            labels=site.labels,
            name=called,
            margins=margins,
            same_source=site.same_source,
            seen_by_weights=site.seen_by_weights,
        ),
        left_out=site.left_out,
        evaluation=measured,
        shortcuts=compared,
        site_shortcuts=_site_shortcuts(kept, site, thumbnails, seed),
        adjustments=_adjustments(scores, kept, points, seed),
        scores_fingerprint=scores.fingerprint,
        internal_fingerprint=internal.fingerprint,
        model_sha256=files.sha256_file(run.folder / MODEL),
        cautions=site.cautions,
        provenance=provenance.collect(),
    )
    if keep:
        _write(run, test, scores, scored)
    return test


def default_name(table: pd.DataFrame) -> str:
    """Returns a name for the external test on a table: its data set's, in small letters.

    Args:
        table: An image table.

    Example:
        >>> default_name(pd.DataFrame({"image_id": ["a"], "patient_id": ["1"]}))
        'own-table'
    """
    require_image_table(table)
    words = re.sub(r"[^a-z0-9]+", "-", ImageTable.of(table).source.dataset.casefold()).strip("-")
    return site_name(words[:40].strip("-") or "external")


@dataclass(frozen=True)
class _Site:
    """The images of another hospital, before one of them was opened, and which were then found to be the run's own.

    Attributes:
        table: Those to score, their labels under the run's own names.
        labels: The column of the data set, by the finding of the run.
        left_out: Findings of the run that are not measured, each with the reason.
        same_source: Whether they are of the data set that the run learnt from.
        seen_by_weights: Whether the weights that the run began with have seen images of that data set.
        n_overlap: Images left out because of patients of the run.
        copies_searched: Whether copies of the run's images were searched for by their pixels.
        cautions: Sentences to show beside every number.
        n_copies: Images whose pixels are those of images of the run, or nearly so.
        n_beside_copies: Other images of the patients of those.
        holds_own: Whether these say that the images are of the run's own source, whatever they are called.
    """

    table: ImageTable
    labels: dict[str, str]
    left_out: tuple[tuple[str, str], ...]
    same_source: bool
    seen_by_weights: bool
    n_overlap: int
    copies_searched: bool
    cautions: tuple[str, ...]
    n_copies: int = 0
    n_beside_copies: int = 0
    holds_own: bool = False


def _site(
    run: Run, given: pd.DataFrame, name: str, wanted: dict[str, str], overlap: str, home: pd.DataFrame | None
) -> _Site:
    require_image_table(given)
    table = ImageTable.of(given)
    if NO_PATIENTS_CAUTION in table.source.cautions:
        raise ValueError(
            f"{table.source.dataset} does not say whose image is whose: whether its patients are those of the run "
            "cannot be told, and intervals would be too narrow. Load it with patient_column=... (on the command line "
            "--patient-column); where each image is of another patient, name the column of the images."
        )
    labels, lacking = _labels(run, table, wanted)
    if not labels:
        raise ValueError(
            f"{table.source.dataset} has none of the run's findings ({', '.join(run.recipe.targets)}); it labels: "
            f"{', '.join(table.labels) or 'nothing'}. Where one means the same, say which: "
            f"findings={{'{run.recipe.targets[0]}': ...}} (on the command line --finding {run.recipe.targets[0]}=...)."
        )
    for finding, column in labels.items():
        if finding != column:
            table = ImageTable(table.assign(**{finding: known_labels(table[column])}))
    table, _ = checked_for_split(table, tuple(labels))
    known = table[list(labels)].notna().any(axis=1)
    unlabelled = int((~known).sum())
    same = _same_source(run, table)
    told = _told_by_names(run, table, home)
    shared = _shared(run, table, same) | table["image_id"].isin(told.image_ids)
    if (shared.any() or told.undecided) and overlap == "error":
        first = f", first {table.loc[shared, 'image_id'].iloc[0]}" if shared.any() else ""
        raise ValueError(
            f"{int(shared.sum()):,} of the {len(table):,} images are of patients (or are images) of the run "
            f"itself{first}: the model may have seen them. {told.undecided} Leave out what is known to be shared: "
            "overlap='leave_out' (on the command line --overlap leave_out), or give other images."
        )
    kept = ImageTable(table[known & ~shared].reset_index(drop=True))
    if kept.empty:
        raise ValueError(
            f"none of the {len(table):,} images is left: {int(shared.sum()):,} are of patients of the run, and "
            f"{unlabelled:,} have no known label of {', '.join(labels)}."
        )
    kept.attrs = dict(table.attrs)
    cautions = list(run.cautions)
    if same:
        cautions.append(
            f"Not external: the images of {name!r} are of {table.source.dataset}, the source that the run was trained "
            "on. Other patients, the same hospitals."
        )
    seen = _seen_by_weights(run, table)
    cautions += [f"{name}: {seen.caution}"] if seen is not None else []
    cautions += [f"{name}: {caution}" for caution in table.source.cautions]
    _, selected = selection(kept, table)
    cautions += [f"{name}: {selected}"] if selected else []
    compared = told.pixels_compared or run.fingerprints is not None
    cautions += [] if compared else [f"{name}: {_NO_FINGERPRINTS}"]
    if told.undecided:
        cautions.append(f"{name}: patients of the run may be among these. {told.undecided}")
    if unlabelled:
        cautions.append(f"{name}: {unlabelled:,} images without a known label of {', '.join(labels)} were not scored.")
    overlapping, told_of = int((shared & known).sum()), tuple(dict.fromkeys(cautions))
    leaky = seen is not None and seen.part == "test"
    site = _Site(kept, labels, tuple(lacking), same, leaky, overlapping, compared, told_of)
    _refuse_one_class(kept, site, "that are left" if shared.any() else "with a known label")
    return site


def _labels(run: Run, table: ImageTable, wanted: dict[str, str]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Returns the column of each of the run's findings, and why there is none for the others."""
    for finding in wanted:
        one_of(finding, run.recipe.targets, "finding of findings")
    found, lacking = {}, []
    for finding in run.recipe.targets:
        if finding in wanted:
            found[finding] = table.targets(wanted[finding])[0]
            continue
        try:
            found[finding] = table.targets(finding)[0] if table.labels else ""
        except ValueError:
            lacking.append((finding, f"{table.source.dataset} does not label it"))
    return {finding: column for finding, column in found.items() if column}, lacking


def _same_source(run: Run, table: ImageTable) -> bool:
    """Returns whether images are of the data set that the run learnt from.

    A public data set is known by its name, or by those of its images, whoever lists them, and data sets of one
    another's images are one. Two tables of one's own may be called images.csv at two hospitals; they are one source if
    they are one file, or name an image in common.
    """
    home, there = run.provenance["source"], table.source
    if set(dict(there.files).values()) & set(home["files"].values()):
        return True
    mine = set(str(home["dataset"]).split(" and "))
    mine |= {entry.images_of for entry in map(data_set_of, mine) if entry is not None and entry.images_of}
    entry = data_set_of(there.dataset)
    if entry is not None:
        return bool({there.dataset, entry.images_of} & mine)
    if float(identities(table)["owner"].isin(mine).mean()) > 0.5:
        return True
    return there.dataset == home["dataset"] and bool(
        set(identifiers(table["image_id"], "image_id")) & set(run.splits["image_id"])
    )


def _seen_by_weights(run: Run, table: ImageTable) -> Overlap | None:
    """Returns what is to be said where the weights that the run began with have seen images of a data set.

    It is known by its name, and by those of its images: a list of one's own may hold published ones.
    """
    owners = sorted(set(identities(table)["owner"]) - {""})
    described = " and ".join(dict.fromkeys((table.source.dataset, *owners)))
    with fields_of("provenance.json"):
        return overlap_of_record(run.provenance.get("weights") or {}, described, synthetic=table.source.synthetic)


def _told_by_names(run: Run, table: ImageTable, home: pd.DataFrame | None) -> SharedImages:
    """Returns which images published names, or pixels where the run's images are at hand, tell to be the run's own."""
    mine = ImageTable.of(run.table)
    if home is not None:
        mine = ImageTable(rows_of(mine["image_id"], home))
        mine.attrs = dict(home.attrs)
        require_on_disk(mine)
    return shared_images(mine, table)


def _shared(run: Run, table: ImageTable, same: bool) -> "pd.Series[bool]":
    """Returns which images, or whose patients, are the run's own. Between sources numbers mean different people."""
    marks = [dict(read).get(PHANTOM_FILE) for read in (run.provenance["source"]["files"], table.source.files)]
    # Phantoms that were made anew, from another seed, are other people with the same numbers.
    if not same or (all(marks) and marks[0] != marks[1]):
        return pd.Series(False, index=table.index)
    # What was listed and left out, such as the rest of a data set of which only some files were there, was not seen.
    return table["image_id"].isin(set(run.splits["image_id"])) | table["patient_id"].isin(set(run.splits["patient_id"]))


def _refuse_one_class(table: ImageTable, site: _Site, which: str) -> None:
    counts = {name: (int((table[name] == 1).sum()), int((table[name] == 0).sum())) for name in site.labels}
    if not any(min(both) for both in counts.values()):
        told = ", ".join(
            f"{name} {with_it:,} with and {without:,} without" for name, (with_it, without) in counts.items()
        )
        raise ValueError(
            f"{table.source.dataset} has images of one class only ({told}, of those {which}): nothing can be ranked. "
            "Give images with and without the finding."
        )


def _without_copies(
    site: _Site, kept: ImageTable, name: str, own: Fingerprints | None, taken: FingerprintsTaken
) -> tuple[_Site, ImageTable]:
    """Returns what is left without the run's own images, known by their pixels, and without their patients' others."""
    if own is None:
        return site, kept
    same, near = own.known_in(taken.of(kept["image_id"].astype(str).tolist()))
    copies = same | near
    if not copies.any():
        return site, kept
    if copies.mean() > 0.5:
        raise ValueError(
            f"{int(copies.sum()):,} of the {len(kept):,} images of {name!r} are images of this run: their pixels are "
            "the same, or nearly so, whatever they are called, and that is no test at another hospital; give images "
            "that the run has not seen."
        )
    # Under whatever number: the patients of these images are patients of the run.
    gone = kept["patient_id"].isin(set(kept.loc[copies, "patient_id"])).to_numpy() | copies
    beside = int(gone.sum() - copies.sum())
    holds_own = bool(same.any() or copies.mean() > _MOST_BY_CHANCE)
    cautions = [*site.cautions, f"{name}: {copies_sentence(int(copies.sum()), beside)}"]
    if holds_own and not site.same_source:
        cautions.append(
            f"Not external: images of this run were among those of {name!r}, so the others are likely of the source "
            "that the run was trained on."
        )
    left = ImageTable(kept[~gone].reset_index(drop=True))
    left.attrs = dict(kept.attrs)
    found = replace(
        site, cautions=tuple(cautions), n_copies=int(copies.sum()), n_beside_copies=beside, holds_own=holds_own
    )
    _refuse_one_class(left, found, "that are no copies of images of the run")
    return found, left


def _against_home(
    run: Run, kept: ImageTable, scores: Scores, site: _Site, thumbnails: np.ndarray
) -> tuple[ShortcutStudy, pd.DataFrame]:
    """Returns the model beside the shortcuts of its training images, and their scores of the images there."""
    train = run.table[run.table["part"] == "train"]
    names = tuple(site.labels)
    scored, reasons = shortcut_scores(train, kept, names)
    fitted = thumbnail_shortcut(run)
    values = pd.Series(np.nan, index=scored.index)
    for finding in names:
        rows = scored["finding"] == finding
        if fitted is not None and finding in fitted.coefficients:
            by_image = pd.Series(fitted.scores(finding, thumbnails), index=kept["image_id"].to_numpy())
            values[rows] = by_image.reindex(scored.loc[rows, "image_id"]).to_numpy()
        else:
            reasons[finding, "thumbnail"] = _KEPT_NONE if fitted is None else fitted.reasons.get(finding, _KEPT_NONE)
        reasons[finding, TOGETHER] = "thumbnail and the others were not fitted together at home"
    scored = scored.assign(thumbnail=values, **{TOGETHER: np.nan})
    training = {name: int((~np.isnan(known_labels(train[name]))).sum()) for name in names}
    return compare_with_shortcuts(scores, scored, reasons, training=training, cautions=site.cautions), scored


def _site_shortcuts(kept: ImageTable, site: _Site, thumbnails: np.ndarray, seed: int) -> tuple[SiteShortcut, ...]:
    """Returns what shortcuts tell there by themselves; none where there are too few patients to fit to."""
    if kept["patient_id"].nunique() < _FEWEST_PATIENTS:
        return ()
    measured = shortcuts(kept, tuple(site.labels), thumbnails=thumbnails, seed=seed)
    return tuple(SiteShortcut(entry.name, entry.finding, entry.auroc) for entry in measured)


def _adjustments(
    scores: Scores, kept: ImageTable, points: list[OperatingPoint], seed: int
) -> tuple[LocalAdjustment, ...]:
    """Returns what adjusting to the site would give: chosen on half of its patients, measured on the others."""
    names = tuple(point.finding for point in points)
    if not names or kept["patient_id"].nunique() < 2:
        return ()
    parts = assign_parts(kept, names, {"fit": 0.5, "measure": 0.5}, seed, "patient")
    return forecast_adjustment(scores, points, set(kept.loc[parts == "fit", "image_id"]))


def _write(run: Run, test: ExternalTest, scores: Scores, scored: pd.DataFrame) -> None:
    """Writes the folder of a test, whole or not at all, and reads it again: what cannot be read is no evidence."""
    with files.replacing_folder(run.folder / EXTERNAL / test.name) as folder:
        folder.mkdir()
        write_scores(folder / TEST_SCORES, scores)
        files.write_csv(folder / TEST_SHORTCUTS, scored[[*KEYS, *NAMES]])
        test.save(folder / TEST_FILE)
    read_external(run, test.name)
    external_scores(run, test.name)
