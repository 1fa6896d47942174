"""The images of another hospital: decoded once, and looked at once for all that needs no model."""

import contextlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chexkeras.data.audit.fingerprints import FingerprintsTaken
from chexkeras.data.image_layout import layouts_of
from chexkeras.data.image_table import ImageTable
from chexkeras.data.store.prepare import prepare
from chexkeras.data.store.store import Store
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.inference.shortcuts import thumbnails_of
from chexkeras.results import Estimate, Novelty


@contextlib.contextmanager
def decoded_images(table: ImageTable, image_size: int, store: Store | None) -> Iterator[Store]:
    """Yields the images decoded once, those that were refused listed with their reasons.

    Args:
        table: Image table of the other data set.
        image_size: Height and width of the model's images, pixels.
        store: Images decoded before, in that size; None decodes each file once, into a temporary folder.

    Raises:
        ValueError: If the store lacks images, or holds them in another size.
    """
    if store is not None:
        store.require_size(image_size)
        store.rows(table.loc[~table["image_id"].isin(list(store.left_out)), "image_id"])
        yield store
        return
    with tempfile.TemporaryDirectory(prefix="chexkeras-external-") as folder:
        yield prepare(table, Path(folder) / "store", size=image_size, missing="skip")


class LookedAt(NamedTuple):
    """What one look at the images gave: thumbnails by image id, which are unlike the training images, fingerprints."""

    thumbnails: dict[str, np.ndarray]
    unlike: dict[str, bool]
    fingerprints: FingerprintsTaken


def look_at(kept: ImageTable, image_size: int, store: Store, novelty: Novelty | None) -> LookedAt:
    """Looks at every image once; none is told as unlike where the run has no measure of it, or no threshold.

    Args:
        kept: Image table of those that could be decoded.
        image_size: Height and width of the model's images, pixels.
        store: Where they are.
        novelty: The run's measure of what its images look like; None where it keeps none.
    """
    by_image: dict[str, bool] = {}
    taken = FingerprintsTaken()

    def beside(ids: list[str], pixels: np.ndarray) -> None:
        taken(ids, pixels)
        if novelty is not None and not math.isnan(novelty.threshold):
            by_image.update(zip(ids, novelty.unlike(novelty.of(layouts_of(pixels))).tolist(), strict=True))

    return LookedAt(thumbnails_of(kept, image_size, store, beside=beside), by_image, taken)


def share_unlike(kept: ImageTable, by_image: dict[str, bool], novelty: Novelty | None) -> Estimate:
    """Returns which share of the images is unlike the training images, or why that cannot be said.

    Args:
        kept: Image table of those that are measured.
        by_image: From `look_at`, by image id.
        novelty: The run's measure of what its images look like; None where it keeps none.
    """
    if novelty is None or math.isnan(novelty.threshold):
        why = (
            "the run keeps no measure of what its images look like"
            if novelty is None
            else (f"the run has no threshold, {novelty.false_alarms.reason}")
        )
        return Estimate.not_estimable(f"not measured: {why}", n=len(kept))
    flagged = np.array([by_image[name] for name in kept["image_id"].astype(str)])
    return clustered_proportion_interval(flagged, kept["patient_id"].to_numpy())
