"""Learns from a split's images what an image of the same kind looks like, and tells which others are unlike them.

Training does it once, at its end, on the images as the model gets them, before any of the model's own layers: whatever
the network does with exposure, an inverted film is noticed. Images are looked at, not scores: the measure is the same
whatever engine computes the scores.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.checks import probability
from chexkeras.data.image_layout import layouts_of
from chexkeras.data.pipeline import images_with_ids
from chexkeras.data.resolution import source_resolution
from chexkeras.data.splits.splits import PARTS, Splits
from chexkeras.data.store.store import Store
from chexkeras.evaluation.novelty import FEWEST, RATE, fit_novelty, freeze
from chexkeras.inference.ensemble import Ensemble
from chexkeras.inference.test_images import require_on_disk, rows_of
from chexkeras.models.scoring import require_image_table
from chexkeras.plain import PlainTable
from chexkeras.progress import say, track
from chexkeras.results.novelty import GRID, Novelty
from chexkeras.runs.run import NOVELTY, Run
from chexkeras.runs.writer import keep_novelty, refuse_second

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_IMAGES, _MOST_CHANGED = 5_000, 500
_BATCH = 64
_SAMPLED = "What training images look like was learnt from {n:,} of the {total:,} {part} images, drawn at random."

CHANGES: "dict[str, Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]]" = {
    "gray values inverted": lambda image, _: 255 - image,
    "turned by 90 degrees": lambda image, _: np.rot90(image).copy(),
    "upside down": lambda image, _: image[::-1].copy(),
    "noise alone": lambda image, noise: noise.uniform(0, 255, image.shape).astype(np.float32),
    "mirrored": lambda image, _: image[:, ::-1].copy(),
}
"""What is done to test images to show what the measure catches, and what it does not, by name."""


def learn_novelty(
    splits: Splits, image_size: int, store: Store | None = None, *, seed: int = 0, rate: float = RATE
) -> Novelty | None:
    """Learns what training images look like, and freezes on validation from where on an image is unlike them.

    Of a part with more than 5,000 images, so many are drawn at random.

    Args:
        splits: Which image belongs to which part.
        image_size: Height and width of the model's images, pixels.
        store: Images decoded before; None reads the files at `path`.
        seed: Decides which images are drawn, and which scale the measures.
        rate: Share of images like those of validation that may be flagged, in (0, 1).

    Returns:
        The measure; None where there are too few training images, or they are too small, to learn it from.
    """
    return _learn({name: splits.part(name) for name in PARTS}, image_size, store, seed, rate)


@checked
def measure_novelty(
    run: Run | str | Path,
    table: pd.DataFrame,
    *,
    store: Store | None = None,
    rate: float = RATE,
    keep: bool = True,
    overwrite: bool = False,
) -> Novelty:
    """Learns afterwards, for a run that has not, what its training images look like.

    Training does this at its end; runs of earlier versions lack it. The run's own parts and seed are used, so that
    nothing else changes: no score, no threshold of a finding.

    Args:
        run: The run or its folder.
        table: Image table that says where the run's images are; it may hold others.
        store: Images decoded before; None reads the files at `path`.
        rate: Share of images like those of validation that may be flagged, in (0, 1).
        keep: Whether the result becomes the run's ``novelty.json``; the resolution of the files is then recorded too,
            where the run does not say it.
        overwrite: Whether an earlier one of the run may be replaced.

    Returns:
        The measure.

    Raises:
        TypeError: If the table is no pandas DataFrame.
        FileExistsError: If the run has learnt it before.
        FileNotFoundError: If images are not on disk, and no store is given.
        ValueError: If images of the run are not in the table or twice, the rate is out of range, or there are too few
            training images, or they are too small.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    probability(rate, "rate", open_interval=True)
    if keep:
        refuse_second(run, NOVELTY, overwrite)
    rows = rows_of(run.table["image_id"], table, "images of the run")
    if store is None:
        require_on_disk(rows, "images of the run")
    own = run.table[["image_id", "patient_id", "part"]]
    rows = rows.drop(columns=["patient_id", "part"], errors="ignore").merge(own, on="image_id", validate="one_to_one")
    parts = {name: rows[rows["part"] == name] for name in PARTS}
    learnt = _learn(parts, run.recipe.image_size, store, run.recipe.seed, rate)
    if learnt is None:
        raise ValueError(
            f"{len(parts['train']):,} training images of {run.recipe.image_size} pixels are too few, or too small, to "
            f"learn what images like them look like; {FEWEST} of {GRID} pixels are the least."
        )
    if keep:
        resolution = source_resolution(parts["train"], run.recipe.image_size, seed=run.recipe.seed)
        keep_novelty(run, learnt, resolution)
    return learnt


def _learn(
    parts: Mapping[str, pd.DataFrame], image_size: int, store: Store | None, seed: int, rate: float
) -> Novelty | None:
    if image_size < GRID or len(parts["train"]) < FEWEST:
        say(f"too few training images ({len(parts['train']):,}) to learn what images like them look like")
        return None
    layouts, patients, cautions = {}, {}, []
    for name, part in parts.items():
        rows = part.sample(_MOST_IMAGES, random_state=seed) if len(part) > _MOST_IMAGES else part
        if len(rows) < len(part):
            cautions.append(_SAMPLED.format(n=len(rows), total=len(part), part=name))
        ids, layouts[name] = layouts_of_table(rows, image_size, store)
        patients[name] = rows.set_index(rows["image_id"].astype(str))["patient_id"].astype(str).loc[ids].tolist()
        if name == "test":
            tested = rows.set_index(rows["image_id"].astype(str)).loc[ids[:_MOST_CHANGED]].reset_index(drop=True)
    fitted = fit_novelty(layouts["train"], image_size, seed=seed)
    return freeze(
        fitted, layouts["validation"], rate=rate, test=layouts["test"], patients=patients["test"],
        cautions=tuple(cautions), changed=_changed(tested, image_size, store, seed),
    )  # fmt: skip


def _changed(rows: pd.DataFrame, image_size: int, store: Store | None, seed: int) -> "dict[str, NDArray[np.float64]]":
    """Returns the layouts of test images with each of `CHANGES` made to them, the images in the rows' order."""
    found: dict[str, list[Any]] = {name: [] for name in CHANGES}
    noise = np.random.default_rng(seed)
    batches = images_with_ids(rows, image_size=image_size, batch_size=_BATCH, store=store)
    for pixels, _ in track(batches, "changing test images", total=-(-len(rows) // _BATCH)):
        images = np.asarray(pixels)[..., 0]
        for name, change in CHANGES.items():
            found[name].append(layouts_of(np.stack([change(image, noise) for image in images])))
    return {name: np.concatenate(layouts) for name, layouts in found.items()}


def layouts_of_table(
    rows: pd.DataFrame, image_size: int, store: Store | None = None
) -> "tuple[list[str], NDArray[np.float64]]":
    """Returns the ids of a table's images, and the layout of each.

    Args:
        rows: Rows of an image table.
        image_size: Height and width of the model's images, pixels.
        store: Images decoded before; None reads the files at `path`.
    """
    ids: list[str] = []
    found: list[Any] = []
    batches = images_with_ids(rows, image_size=image_size, batch_size=_BATCH, store=store)
    for pixels, named in track(batches, "looking at what images look like", total=-(-len(rows) // _BATCH)):
        found.append(layouts_of(np.asarray(pixels)))
        ids += [value.decode() for value in named.numpy()]
    return ids, np.concatenate(found)


@checked
def find_unlike(run: Run | Ensemble | str | Path, table: pd.DataFrame, *, store: Store | None = None) -> pd.DataFrame:
    """Returns how unlike its training images a run finds the images of a table; files are told by `Predictor.predict`.

    An ensemble's image is unlike where any member says so: its share of false alarms is at most the sum of theirs.

    Args:
        run: A run, its folder, or an ensemble.
        table: Image table with `image_id`, `patient_id` and `path`.
        store: Images decoded before; None reads the files at `path`.

    Returns:
        One row for each image and run: image_id, run, novelty, novelty_threshold, most_like (which measure is largest),
        unlike (by this run), unlike_any (by any of them). Novelty and threshold are NaN where a run has not learnt it.

    Raises:
        TypeError: If the table is no pandas DataFrame.
        ValueError: If a run's novelty.json is damaged, or images cannot be read.
    """
    require_image_table(table)
    found_run = run if isinstance(run, (Run, Ensemble)) else Run.load(run)
    members = found_run.members if isinstance(found_run, Ensemble) else (found_run,)
    frames: list[pd.DataFrame] = []
    seen: dict[int, Any] = {}
    for member in members:
        novelty, size = member.novelty, member.recipe.image_size
        if size not in seen:
            seen[size] = layouts_of_table(table, size, store)
        ids, layouts = seen[size]
        frames.append(_told(member.folder.name, novelty, ids, layouts))
    found = pd.concat(frames, ignore_index=True)
    found["unlike_any"] = found.groupby("image_id")["unlike"].transform("any")
    return PlainTable(found)


def _told(name: str, novelty: Novelty | None, ids: list[str], layouts: "NDArray[np.float64]") -> pd.DataFrame:
    if novelty is None:
        nothing = {"novelty": np.nan, "novelty_threshold": np.nan, "most_like": "", "unlike": False}
        return pd.DataFrame({"image_id": ids, "run": name, **nothing})
    measures = novelty.measures(layouts)
    largest = measures.max(axis=1)
    return pd.DataFrame(
        {
            "image_id": ids,
            "run": name,
            "novelty": largest,
            "novelty_threshold": novelty.threshold,
            "most_like": [novelty.named(row) for row in measures],
            "unlike": novelty.unlike(largest),
        }
    )
