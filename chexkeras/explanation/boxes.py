"""Heat maps against radiologists' boxes, and against what points at the same place without looking at the image."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.comparison.paired_tests import paired_proportions
from chexkeras.evaluation.readers.lesion_marks import BOX, match_marks
from chexkeras.evaluation.readers.localization_study import LocalizationStudy
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval, mean_interval
from chexkeras.explanation.heatmaps import Heatmaps
from chexkeras.results import AgainstBaseline, BoxAgreement, Estimate, Localization

IOU_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
IOBB_THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""The thresholds of Wang et al., CVPR 2017, table 3 and its supplement."""

# A region is what reaches this share of the map's highest value: the upper of the two levels of Wang et al., section
# 4.2 of the supplement, 180 of 255.
_REGION = 180 / 255
# The image's centre as a map: a bell this wide, as a share of the image's side.
_BELL = 1 / 6
_FIX = "Boxes have one row each: image_id, finding, x_px, y_px, width_px, height_px, as load_boxes returns them."


@checked
def compare_with_boxes(
    maps: Heatmaps,
    boxes: pd.DataFrame,
    table: pd.DataFrame,
    *,
    untrained: Heatmaps | None = None,
    image_px: float | None = None,
    confidence: float = 0.95,
) -> Localization:
    """Returns how heat maps agree with boxes, finding by finding, beside maps that never saw the image.

    Only images that have a box of the finding count; images of one patient agree, which the intervals allow for. The
    mean box is the average of the boxes of other images, of patients who have no map here; where there are none, for
    each patient of those of the other patients.

    Args:
        maps: Heat maps, of images with and without boxes.
        boxes: All boxes there are: image_id, finding, x_px, y_px (upper left corner), width_px, height_px.
        table: An image table that holds the images of the maps and, for the mean box, of the other boxes: image_id and
            patient_id.
        untrained: Maps of the same images and findings by a network that learnt nothing, as a further baseline.
        image_px: Width of the square image that the boxes were drawn on, pixels; None takes `boxes.attrs["image_px"]`,
            1024 for NIH's boxes.
        confidence: Coverage, in (0, 1).

    Returns:
        One entry for each finding of the maps that has boxes on them.

    Raises:
        ValueError: If a column is missing, no map's image has a box, or the size of the boxes' image is not known.

    Source:
        Zhang et al., IJCV 126, 2018 (pointing game); Wang et al., CVPR 2017 (IoU and IoBB); Wang et al., CVPR Workshops
        2020 (share inside, "energy-based pointing game").
    """
    checks.probability(confidence, "confidence", open_interval=True)
    checks.require_columns(boxes, ("image_id", "finding", *BOX), "the table of boxes", _FIX)
    checks.require_columns(table, ("image_id", "patient_id"), "the image table", "Load it with open_data.")
    side = _side(boxes, image_px)
    patients = dict(
        zip(table["image_id"].astype(str), checks.identifiers(table["patient_id"], "patient_id"), strict=True)
    )
    lacking = [image for image in maps.images if image not in patients]
    if lacking:
        raise ValueError(f"{len(lacking)} image(s) with a map, such as {lacking[0]}, are not in the table.")
    placed = boxes.assign(image_id=boxes["image_id"].astype(str))
    placed[list(BOX)] = placed[list(BOX)].to_numpy(float) * (maps.image_px / side)
    entries = []
    for finding in maps.findings:
        drawn = placed[(placed["finding"] == finding) & placed["image_id"].isin(patients)]
        shown = drawn[drawn["image_id"].isin(maps.images)]
        if len(shown):
            entries.append(_compared(maps, finding, shown, drawn, patients, untrained, confidence))
    if not entries:
        raise ValueError(
            f"no image with a heat map has a box of {', '.join(maps.findings)}; explain images that are in the table "
            "of boxes."
        )
    return Localization(maps.method, maps.layer, IOU_THRESHOLDS, IOBB_THRESHOLDS, tuple(entries), maps.cautions)


@checked
def localization_study(
    maps: Heatmaps, boxes: pd.DataFrame, table: pd.DataFrame, finding: str, *, image_px: float | None = None
) -> LocalizationStudy:
    """Returns the peaks of maps as marks on lesions, for `evaluation.afroc` (weighted AFROC) and `evaluation.froc`.

    Images with a box of the finding are abnormal, images whose label says that the finding is absent are normal; others
    are left out, as nobody knows where their finding lies.

    Args:
        maps: Heat maps of both kinds of images.
        boxes: Boxes as `compare_with_boxes` takes them.
        table: Image table with image_id, patient_id and the finding's label.
        finding: The finding.
        image_px: Width of the square image that the boxes were drawn on; None takes `boxes.attrs["image_px"]`.

    Raises:
        ValueError: If a column is missing, the size of the boxes' image is not known, or no image is left.
    """
    checks.require_columns(table, ("image_id", "patient_id", finding), "the image table", "Load it with open_data.")
    side = _side(boxes, image_px)
    lesions = boxes[(boxes["finding"] == finding) & boxes["image_id"].isin(maps.images)]
    known = table[table["image_id"].isin(maps.images)]
    read = known[(known[finding] == 0) | known["image_id"].isin(lesions["image_id"])]
    if read.empty or lesions.empty:
        raise ValueError(f"no image with a heat map has a box of {finding}, or its label says nothing of {finding}.")
    marks = maps.only(list(read["image_id"])).marks(finding, image_px=side)
    lesions = lesions[["image_id", *BOX]]
    return LocalizationStudy.of(match_marks(marks, lesions), lesions, read[["image_id", "patient_id"]])


def hits(maps: Heatmaps, boxes: pd.DataFrame, finding: str, *, image_px: float | None = None) -> dict[str, bool]:
    """Returns for each image that has a box of a finding whether its map's highest place lies in one.

    Args:
        maps: Heat maps.
        boxes: Boxes as `compare_with_boxes` takes them.
        finding: One of the maps' findings.
        image_px: Width of the square image that the boxes were drawn on; None takes `boxes.attrs["image_px"]`.
    """
    scale = maps.image_px / _side(boxes, image_px)
    shown = boxes[(boxes["finding"] == finding) & boxes["image_id"].astype(str).isin(maps.images)]
    return {
        str(image): _hits(maps.of(str(image), finding), part[list(BOX)].to_numpy(float) * scale)
        for image, part in shown.groupby("image_id")
    }


def boxes_of(boxes: pd.DataFrame, image: str, finding: str, *, image_px: float | None = None) -> NDArray[np.float64]:
    """Returns the boxes of an image and a finding: left, top, width, height as shares of the side, shape (n, 4).

    Args:
        boxes: Boxes as `compare_with_boxes` takes them.
        image: The image's name.
        finding: The finding.
        image_px: Width of the square image that the boxes were drawn on; None takes `boxes.attrs["image_px"]`.
    """
    shown = boxes[(boxes["finding"] == finding) & (boxes["image_id"].astype(str) == image)]
    return np.asarray(shown[list(BOX)].to_numpy(float) / _side(boxes, image_px))


def _side(boxes: pd.DataFrame, image_px: float | None) -> float:
    side = image_px if image_px is not None else boxes.attrs.get("image_px")
    if side is None or not side > 0:
        raise ValueError("image_px: the width of the image that the boxes were drawn on is not known; give it (1024).")
    return float(side)


class _Pointed(NamedTuple):
    """What a map achieves on each image or box."""

    hit: NDArray[np.bool_]
    inside: NDArray[np.float64]
    iou: NDArray[np.float64]
    iobb: NDArray[np.float64]


def _compared(
    maps: Heatmaps,
    finding: str,
    shown: pd.DataFrame,
    drawn: pd.DataFrame,
    patients: dict[str, object],
    untrained: Heatmaps | None,
    confidence: float,
) -> BoxAgreement:
    images = list(dict.fromkeys(shown["image_id"]))
    of_image = {image: part[list(BOX)].to_numpy(float) for image, part in shown.groupby("image_id")}
    boxes = [of_image[image] for image in images]
    owner = np.array([patients[image] for image in images], dtype=object)
    box_owner = np.repeat(owner, [len(each) for each in boxes])
    own = _point(lambda image: maps.of(image, finding), images, boxes)
    mean_box, mean_box_from = _mean_boxes(images, owner, drawn, patients, maps)
    baselines: list[tuple[str, Callable[[str], NDArray[np.float32]]]] = []
    if mean_box:
        baselines.append(("mean box", mean_box.__getitem__))
    centre = _bell(maps.image_px)
    baselines.append(("image centre", lambda _: centre))
    if untrained is not None:
        baselines.append(("untrained network", lambda image: untrained.of(image, finding)))

    def rate(hits: NDArray[np.bool_], whose: NDArray[np.object_]) -> Estimate:
        return clustered_proportion_interval(hits, whose, confidence=confidence)

    compared = [_against(name, _point(of, images, boxes).hit, own.hit, owner, confidence) for name, of in baselines]
    share = np.mean([_mask(each, maps.image_px).mean() for each in boxes])
    return BoxAgreement(
        finding=finding,
        n_images=len(images),
        n_boxes=len(shown),
        n_patients=len(set(owner.tolist())),
        hit_rate=rate(own.hit, owner),
        inside=mean_interval(own.inside, clusters=owner, bounds=(0.0, 1.0), confidence=confidence),
        box_share=float(share),
        iou=tuple(rate(own.iou >= least, box_owner) for least in IOU_THRESHOLDS),
        iobb=tuple(rate(own.iobb >= least, box_owner) for least in IOBB_THRESHOLDS),
        baselines=tuple(compared),
        mean_box_from=mean_box_from,
    )


def _against(
    name: str, hits: NDArray[np.bool_], own: NDArray[np.bool_], owner: NDArray[np.object_], confidence: float
) -> AgainstBaseline:
    difference, p_value = paired_proportions(own, hits, clusters=owner, confidence=confidence)
    if not difference.estimable:
        verdict = "not estimable"
    elif difference.low > 0 or difference.high < 0:
        verdict = f"{'better' if difference.low > 0 else 'worse'} than the {name}"
    else:
        verdict = f"not distinguishable from the {name}"
    rate = clustered_proportion_interval(hits, owner, confidence=confidence)
    return AgainstBaseline(name, rate, difference, p_value, verdict)


def _mean_boxes(
    images: Sequence[str], owner: NDArray[np.object_], drawn: pd.DataFrame, patients: dict[str, object], maps: Heatmaps
) -> tuple[dict[str, NDArray[np.float32]], str]:
    """Returns for each image the average of the boxes of others, and which these are; empty where there are none."""
    whose = np.array([patients[image] for image in drawn["image_id"]], dtype=object)
    here = {patients[image] for image in maps.images}
    rows = drawn[list(BOX)].to_numpy(float)
    elsewhere = np.array([patient not in here for patient in whose], dtype=bool)
    if elsewhere.any():
        average = _average(rows[elsewhere], maps.image_px)
        return dict.fromkeys(images, average), f"{int(elsewhere.sum())} boxes of patients who have no heat map here"
    if len(set(whose.tolist())) < 2:
        return {}, "none: all boxes are of one patient"
    of_others = {patient: _average(rows[whose != patient], maps.image_px) for patient in dict.fromkeys(owner.tolist())}
    made = {image: of_others[patient] for image, patient in zip(images, owner.tolist(), strict=True)}
    return made, f"for each patient the boxes of the other patients, {len(rows)} in all"


def _average(rows: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    total = np.zeros((side, side))
    for row in rows:
        total += _mask(row[np.newaxis], side)
    return (total / len(rows)).astype(np.float32)


def _bell(side: int) -> NDArray[np.float32]:
    along = (np.arange(side) + 0.5) / side - 0.5
    squared = along[:, np.newaxis] ** 2 + along[np.newaxis] ** 2
    return np.exp(-squared / (2 * _BELL**2)).astype(np.float32)


def _mask(rows: NDArray[np.float64], side: int) -> NDArray[np.bool_]:
    """Returns which pixels have their centre in a box, bool array (side, side)."""
    centre = np.arange(side) + 0.5
    inside = np.zeros((side, side), dtype=bool)
    for left, top, width, height in rows:
        across, down = ((centre >= start) & (centre < start + size) for start, size in ((left, width), (top, height)))
        inside |= down[:, np.newaxis] & across[np.newaxis]
    return inside


def _point(
    of: Callable[[str], NDArray[np.float32]], images: Sequence[str], boxes: Sequence[NDArray[np.float64]]
) -> _Pointed:
    hit, inside, iou, iobb = [], [], [], []
    for image, rows in zip(images, boxes, strict=True):
        heat = of(image)
        mask = _mask(rows, heat.shape[0])
        positive = np.maximum(heat, 0.0)
        total = float(positive.sum())
        hit.append(_hits(heat, rows))
        inside.append(float(positive[mask].sum()) / total if total > 0 else 0.0)
        regions = _regions(heat)
        for row in rows:
            overlaps = [_overlap(region, row) for region in regions] or [(0.0, 0.0)]
            iou.append(max(each[0] for each in overlaps))
            iobb.append(max(each[1] for each in overlaps))
    return _Pointed(np.array(hit), np.array(inside), np.array(iou), np.array(iobb))


def _hits(heat: NDArray[np.float32], rows: NDArray[np.float64]) -> bool:
    """Returns whether the middle of the map's highest places lies in a box; a map that does not vary hits nothing."""
    if heat.max() <= heat.min():
        return False
    top, left = np.nonzero(heat >= heat.max())
    x, y = float(left.mean()) + 0.5, float(top.mean()) + 0.5
    return any(row[0] <= x <= row[0] + row[2] and row[1] <= y <= row[1] + row[3] for row in rows)


def _regions(heat: NDArray[np.float32]) -> list[tuple[float, float, float, float]]:
    """Returns the rectangles around what reaches the share `_REGION` of the highest value: left, top, width, height."""
    from scipy import ndimage

    if not heat.max() > 0:
        return []
    labelled, _ = ndimage.label(heat >= _REGION * heat.max())
    return [
        (across.start, down.start, across.stop - across.start, down.stop - down.start)
        for down, across in ndimage.find_objects(labelled)
    ]


def _overlap(region: tuple[float, float, float, float], box: NDArray[np.float64]) -> tuple[float, float]:
    """Returns intersection over union, and intersection over the region's own area."""
    across, down = (
        min(region[axis] + region[axis + 2], box[axis] + box[axis + 2]) - max(region[axis], box[axis])
        for axis in (0, 1)
    )
    both = max(across, 0.0) * max(down, 0.0)
    own = region[2] * region[3]
    return both / (own + box[2] * box[3] - both), both / own
