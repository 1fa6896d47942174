"""A run's model against what could be read of its test images without looking for disease.

Training does this when it ends (`training.finish`); here it is done for a run that was trained before, or whose images
are needed again for their thumbnails.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from chexkeras import files, provenance
from chexkeras.arguments import checked
from chexkeras.data.audit.against_model import (
    KEYS,
    NAMES,
    compare_with_shortcuts,
    fit_thumbnails,
    shortcut_scores,
)
from chexkeras.data.audit.fingerprints import FingerprintsTaken
from chexkeras.data.audit.image_checks import blurred, thumbnail
from chexkeras.data.audit.shortcuts import known_labels
from chexkeras.data.pipeline import images_with_ids
from chexkeras.data.store.store import Store
from chexkeras.inference.test_images import require_on_disk, rows_of
from chexkeras.progress import track
from chexkeras.results import ShortcutStudy
from chexkeras.runs.external import THUMBNAIL_SHORTCUT
from chexkeras.runs.run import SHORTCUT_SCORES, SHORTCUTS, Run
from chexkeras.runs.writer import keep_fingerprints

_BATCH = 64
_NO_IMAGES = "The images were not at hand, so the model was not compared with a thumbnail of them."


@checked
def measure_shortcuts(
    run: Run | str | Path,
    table: pd.DataFrame | None = None,
    *,
    store: Store | None = None,
    keep: bool = True,
    overwrite: bool = False,
) -> ShortcutStudy:
    """Compares a run's model with view, age and sex, image size and a thumbnail of 8 x 8 pixels, and all of them.

    A logistic regression on each is fitted to the run's training part alone and scores the run's test images, on which
    it is compared with the model: paired, with the images of a patient taken together.

    Args:
        run: The run or its folder.
        table: Image table that says where the run's training and test images are; it may hold others. None compares
            with what the run itself keeps of them, which is everything but thumbnails. Where it holds the validation
            images too, an older run that keeps no fingerprints of its images gets them, by which an external test finds
            copies.
        store: Images decoded before; None reads the files at `path`.
        keep: Whether the result becomes the run's ``shortcuts.json`` and ``shortcut_scores.csv``, from which its report
            tells.
        overwrite: Whether an earlier comparison of the run may be replaced.

    Returns:
        The comparison.

    Raises:
        TypeError: If the table is no pandas DataFrame.
        FileExistsError: If the run has been compared before.
        FileNotFoundError: If images are not on disk, and no store is given.
        ValueError: If images of the run are not in the table or twice.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    if keep and not overwrite and (run.folder / SHORTCUTS).exists():
        raise FileExistsError(
            f"the run {str(run.folder)!r} has been compared with shortcuts before ({SHORTCUTS}); overwrite=True "
            "replaces that comparison."
        )
    parts = [run.table[run.table["part"] == name] for name in ("train", "test")]
    thumbnails, taken = None, FingerprintsTaken()
    every = run.table["image_id"].astype(str)
    lacking = keep and table is not None and run.fingerprints is None
    if lacking and table is not None:
        lacking = bool(every.isin(set(table["image_id"].astype(str))).all())
    if table is not None:
        wanted = run.table if lacking else pd.concat(parts)
        rows = rows_of(wanted["image_id"], table)
        if store is None:
            require_on_disk(rows)
        seen = thumbnails_of(rows, run.recipe.image_size, store, beside=taken if lacking else None)
        thumbnails = tuple(np.stack([seen[image_id] for image_id in part["image_id"]]) for part in parts)
    study, scored = against_shortcuts(
        parts[0], parts[1], run.scores("test"), run.recipe.targets, run.cautions, thumbnails
    )
    if keep:
        write_study(run.folder, study, scored)
        if thumbnails is not None:
            write_thumbnails(run.folder, parts[0], run.recipe.targets, thumbnails[0])
        if lacking:
            keep_fingerprints(run, taken.of(every.tolist()))
    return study


def against_shortcuts(
    train: pd.DataFrame,
    test: pd.DataFrame,
    scores: pd.DataFrame,
    targets: tuple[str, ...],
    cautions: tuple[str, ...],
    thumbnails: tuple[np.ndarray, ...] | None,
) -> tuple[ShortcutStudy, pd.DataFrame]:
    """Returns a model beside shortcuts, and the shortcuts' scores of the test images.

    Args:
        train: Image table of the training part.
        test: Image table of the test part.
        scores: The model's test scores, a long table.
        targets: The findings, in output order.
        cautions: Sentences to show beside the numbers.
        thumbnails: Of the training and of the test images; None where there are no images.
    """
    pair = None if thumbnails is None else (thumbnails[0], thumbnails[1])
    scored, reasons = shortcut_scores(train, test, targets, thumbnails=pair)
    told = (*cautions, _NO_IMAGES) if thumbnails is None else cautions
    study = compare_with_shortcuts(
        scores,
        scored,
        reasons,
        training={name: int((~np.isnan(known_labels(train[name]))).sum()) for name in targets},
        cautions=tuple(dict.fromkeys(told)),
    )
    return ShortcutStudy(study.scores_fingerprint, study.entries, study.cautions, provenance.collect()), scored


def thumbnails_of(
    rows: pd.DataFrame,
    image_size: int,
    store: Store | None = None,
    *,
    beside: Callable[[list[str], np.ndarray], None] | None = None,
) -> dict[str, np.ndarray]:
    """Returns thumbnails of 8 x 8 pixels, gray values 0-255, by image id; as the model's own pixels show the image.

    Args:
        rows: Rows of an image table.
        image_size: Height and width of the model's images, pixels.
        store: Images decoded before; None reads the files at `path`.
        beside: Called with the ids and the pixels (n, side, side, 1), gray values 0-255, of every batch: what else is
            looked at needs no pass of its own.
    """
    found: dict[str, np.ndarray] = {}
    batches = images_with_ids(rows, image_size=image_size, batch_size=_BATCH, store=store)
    for pixels, ids in track(batches, "looking at thumbnails", total=-(-len(rows) // _BATCH)):
        seen, names = np.asarray(pixels), [name.decode() for name in ids.numpy()]
        found |= dict(zip(names, blurred(np.stack([thumbnail(image[..., 0]) for image in seen])), strict=True))
        if beside is not None:
            beside(names, seen)
    return found


def write_study(folder: Path, study: ShortcutStudy, scored: pd.DataFrame) -> None:
    """Writes a comparison with shortcuts into a run folder, its scores first.

    Args:
        folder: The run folder.
        study: The comparison.
        scored: From `data.audit.against_model.shortcut_scores`.
    """
    files.write_csv(folder / SHORTCUT_SCORES, scored[[*KEYS, *NAMES]])
    study.save(folder / SHORTCUTS)


def write_thumbnails(folder: Path, train: pd.DataFrame, targets: tuple[str, ...], thumbnails: np.ndarray) -> None:
    """Writes the shortcut that thumbnails are into a run folder: at another hospital it is asked again.

    Args:
        folder: The run folder.
        train: Image table of the training part.
        targets: The findings.
        thumbnails: Of the training images, from `thumbnails_of`.
    """
    fit_thumbnails(train, targets, thumbnails).save(folder / THUMBNAIL_SHORTCUT)
