"""The heat maps of a run's test images, made, checked, compared with boxes, and kept with the run for its report."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from chexkeras import files, provenance
from chexkeras.arguments import checked
from chexkeras.checks import positive_int
from chexkeras.data.image_table import ImageTable
from chexkeras.data.pipeline import images_with_ids
from chexkeras.evaluation.readers.localization import afroc
from chexkeras.evaluation.scores import scores_fingerprint
from chexkeras.explanation.boxes import boxes_of, compare_with_boxes, hits, localization_study
from chexkeras.explanation.explain import explain
from chexkeras.explanation.heatmaps import Heatmaps, resized
from chexkeras.explanation.sanity_checks import check_maps
from chexkeras.inference.test_images import draw_patients, require_on_disk, rows_of
from chexkeras.results import Estimate, HeatmapStudy, Localization
from chexkeras.results.heatmaps import DEPENDS, OUTCOMES, PATIENTS_NOT_KEPT
from chexkeras.runs.analysis import one_finding
from chexkeras.runs.gallery import GALLERY, MOST_CELLS, MOST_SIDE_PX, write_gallery
from chexkeras.runs.run import HEATMAPS, Run
from chexkeras.runs.writer import refuse_second

if TYPE_CHECKING:
    from chexkeras.data.store.store import Store

_PART, _OF_EACH_OUTCOME, _MOST_TRAINING = "test", 3, 400


class StudiedMaps(NamedTuple):
    """A study, and what it was made of, for figures.

    Attributes:
        study: What was found out.
        maps: The heat maps of all images that were looked at.
        table: Their rows of the image table, with labels and paths.
    """

    study: HeatmapStudy
    maps: Heatmaps
    table: pd.DataFrame


@checked
def study_heatmaps(
    run: Run | str | Path,
    table: pd.DataFrame,
    *,
    finding: str | None = None,
    method: str = "gradcam",
    layer: str | None = None,
    boxes: pd.DataFrame | None = None,
    store: "Store | None" = None,
    images: int = 200,
    seed: int = 0,
    keep: bool = True,
    keep_images: bool | None = None,
    overwrite: bool = False,
) -> StudiedMaps:
    """Makes, checks and measures heat maps of a run's test images.

    All test images that have a box of the finding are used, and of the others about as many as asked for, whole
    patients drawn at random. The images of the gallery are drawn at random as well, up to three of each outcome: nobody
    picked them.

    Args:
        run: A run or its folder.
        table: The image table that the run was trained from: its test images, and for the check with permuted labels
            its training images, must be on disk or in the store.
        finding: One of the run's findings; None where there is one only.
        method: Of the maps, see `METHODS`.
        layer: Name of the layer; None takes the last one with rows and columns.
        boxes: Radiologists' boxes as `load_boxes` returns them; None where there are none.
        store: Images decoded before; None reads the files at `path`.
        images: About how many images without a box are looked at, at least 10.
        seed: Of all draws.
        keep: Whether the study becomes the run's ``heatmaps.json``, from which its report tells.
        keep_images: Whether the images of the gallery, reduced to the model's size, are kept with the run, for its
            report to draw; None keeps synthetic ones only. Nothing is kept of maps that do not depend on the model.
        overwrite: Whether an earlier study of the run may be replaced.

    Returns:
        The study with its maps and images.

    Raises:
        FileExistsError: If the run has been studied before.
        FileNotFoundError: If an image is not on disk, and no store is given.
        ValueError: If the finding, method or layer is unknown, or test images are not in the table.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    chosen = one_finding(run, finding)
    positive_int(images, "images", least=10)
    if keep:
        refuse_second(run, HEATMAPS, overwrite)
    saved = run.scores(_PART)
    of_finding = saved[saved["finding"] == chosen]
    drawn = boxes[boxes["finding"] == chosen] if boxes is not None else pd.DataFrame({"image_id": []})
    boxed = of_finding["image_id"].isin(drawn["image_id"].astype(str))
    others = draw_patients(of_finding[~boxed], images, seed) if (~boxed).any() else of_finding.head(0)
    wanted = pd.concat([of_finding.loc[boxed, "image_id"], others["image_id"]])
    rows = rows_of(wanted, table)
    if store is None:
        require_on_disk(rows)
    # Before anything expensive: what is asked of the checks must be possible.
    training = _training_rows(run, table, chosen, store, seed)
    maps = explain(run, rows, finding=chosen, method=method, layer=layer, store=store)
    checks = check_maps(
        run, rows, finding=chosen, method=method, layer=layer, train=training, store=store,
        images=min(50, max(10, images)), seed=seed,
    )  # fmt: skip
    localization: Localization | None = None
    area = Estimate.not_estimable("no test image has a box")
    if boxes is not None and boxed.any():
        localization = compare_with_boxes(maps, boxes, table)
        area = afroc(localization_study(maps, boxes, rows, chosen))
    (point,) = (each for each in run.operating_points if each.finding == chosen)
    synthetic = bool(run.provenance["source"]["synthetic"])
    examples = _examples(maps, of_finding, chosen, boxes, point.threshold, seed)
    if checks.verdict != DEPENDS:
        reason = "the maps were not shown to depend on the model"
    elif not (synthetic if keep_images is None else keep_images):
        reason = "it was not asked for" if synthetic else PATIENTS_NOT_KEPT
    else:
        reason = "" if examples else "no test image has a known label"
    study = HeatmapStudy(
        finding=chosen,
        checks=checks,
        localization=localization,
        afroc=area,
        examples=examples,
        boxes_from=str(boxes.attrs.get("source", "")) if boxes is not None else "",
        scores_fingerprint=scores_fingerprint(saved),
        seed=seed,
        cautions=maps.cautions,
        provenance=provenance.collect(),
        threshold=point.threshold,
        no_gallery=reason,
    )
    if keep:
        if not reason:
            study = _with_gallery(run, study, maps, rows, boxes, store)
        else:
            (run.folder / GALLERY).unlink(missing_ok=True)
        files.write_json(run.folder / HEATMAPS, study.to_dict())
    return StudiedMaps(study, maps, rows)


def _with_gallery(
    run: Run,
    study: HeatmapStudy,
    maps: Heatmaps,
    table: pd.DataFrame,
    boxes: pd.DataFrame | None,
    store: "Store | None",
) -> HeatmapStudy:
    """Keeps the images of the gallery with the run, and returns the study with their maps and boxes."""
    side = min(maps.image_px, MOST_SIDE_PX)
    names = [entry["image_id"] for entry in study.examples]
    shown = table.set_index("image_id", drop=False).loc[names]
    batches = images_with_ids(ImageTable.of(shown), image_size=maps.image_px, batch_size=len(names), store=store)
    pixels = np.concatenate([np.asarray(images) for images, _ in batches])[..., 0]
    reduced = [np.asarray(Image.fromarray(image.round().clip(0, 255).astype(np.uint8)).resize((side, side)))
               for image in pixels]  # fmt: skip
    examples = []
    for entry in study.examples:
        drawn = boxes_of(boxes, entry["image_id"], study.finding) if boxes is not None else np.empty((0, 4))
        heat = maps.maps[maps.images.index(entry["image_id"]), maps.column(study.finding)]
        cells = resized(heat, (min(heat.shape[0], MOST_CELLS), min(heat.shape[1], MOST_CELLS)))
        # Six digits draw the same picture.
        values = [[float(f"{value:.6g}") for value in row] for row in cells]
        examples.append(entry | {"map": values, "boxes": drawn.tolist()})
    digest = write_gallery(run.folder, np.stack(reduced))
    return replace(study, examples=tuple(examples), gallery_sha256=digest)


def _training_rows(
    run: Run, table: pd.DataFrame, finding: str, store: "Store | None", seed: int
) -> pd.DataFrame | None:
    """Returns some training images with a known label; None where those of one class are there only."""
    part = run.splits[run.splits["part"] == "train"]
    known = table[table["image_id"].astype(str).isin(part["image_id"]) & table[finding].isin([0, 1])]
    if store is None and "path" in known:
        known = known[[bool(path) and Path(path).is_file() for path in known["path"].fillna("").astype(str)]]
    if known[finding].nunique() < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(known))[:_MOST_TRAINING]
    return known.iloc[np.sort(order)]


def _examples(
    maps: Heatmaps, scores: pd.DataFrame, finding: str, boxes: pd.DataFrame | None, threshold: float, seed: int
) -> tuple[dict[str, Any], ...]:
    """Returns images of each outcome, drawn at random, those with a box first among the positives."""
    known = scores[scores["image_id"].isin(maps.images) & scores["label"].isin([0, 1])]
    hit = hits(maps, boxes, finding) if boxes is not None else {}
    rows = []
    for outcome in OUTCOMES:
        is_positive, is_called = outcome in OUTCOMES[:2], outcome in ("found", "false alarm")
        of_outcome = known[(known["label"] == is_positive) & ((known["score"] >= threshold) == is_called)]
        names = of_outcome["image_id"].to_numpy(dtype=object)[np.random.default_rng(seed).permutation(len(of_outcome))]
        for image in sorted(names, key=lambda name: name not in hit)[:_OF_EACH_OUTCOME]:
            rows.append(
                {"image_id": image, "outcome": outcome, "score": maps.score(image, finding), "hit": hit.get(image)}
            )
    return tuple(rows)
