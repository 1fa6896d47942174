"""Learns from a split's images what an image of the same kind looks like, and tells which others are unlike them.

Training does it once, at its end, on the images as the model gets them, before any of the model's own layers: whatever
the network does with exposure, an inverted film is noticed. Images are looked at, not scores: the measure is the same
whatever engine computes the scores.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.data.image_layout import layouts_of
from chexkeras.data.pipeline import images_with_ids
from chexkeras.data.splits.splits import Splits
from chexkeras.data.store.store import Store
from chexkeras.evaluation.novelty import FEWEST, RATE, fit_novelty, freeze
from chexkeras.inference.ensemble import Ensemble
from chexkeras.models.scoring import require_image_table
from chexkeras.plain import PlainTable
from chexkeras.progress import say, track
from chexkeras.results.novelty import GRID, Novelty
from chexkeras.runs.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_IMAGES = 5_000
_BATCH = 64
_SAMPLED = "What training images look like was learnt from {n:,} of the {total:,} {part} images, drawn at random."


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
    if image_size < GRID or len(splits.train) < FEWEST:
        say(f"too few training images ({len(splits.train):,}) to learn what images like them look like")
        return None
    layouts, patients, cautions = {}, {}, []
    for name in ("train", "validation", "test"):
        part = splits.part(name)
        rows = part.sample(_MOST_IMAGES, random_state=seed) if len(part) > _MOST_IMAGES else part
        if len(rows) < len(part):
            cautions.append(_SAMPLED.format(n=len(rows), total=len(part), part=name))
        ids, layouts[name] = layouts_of_table(rows, image_size, store)
        patients[name] = rows.set_index(rows["image_id"].astype(str))["patient_id"].astype(str).loc[ids].tolist()
    fitted = fit_novelty(layouts["train"], image_size, seed=seed)
    return freeze(
        fitted, layouts["validation"], rate=rate, test=layouts["test"], patients=patients["test"],
        cautions=tuple(cautions),
    )  # fmt: skip


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
