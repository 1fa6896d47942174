"""What was found out about heat maps: whether they depend on the model, and how they agree with radiologists' boxes."""

import math
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from chexkeras.arguments import checked
from chexkeras.plain import PlainTable
from chexkeras.results.estimate import NOT_MEASURED, Estimate
from chexkeras.results.record import Record

DEPENDS, DOES_NOT, NOT_SHOWN = "depends on the model", "does not depend on the model", "not shown"
"""What the checks say of heat maps."""


@dataclass(frozen=True)
class RandomisedLevel(Record):
    """How alike heat maps are before and after a part of the network was randomised.

    Attributes:
        name: What was randomised, from the head down: "head", "head and upper half", "whole network"; or "labels
            permuted".
        rank_correlation: Mean over images of the absolute Spearman correlation of the cells, 0 to 1.
        similarity: Mean over images of the structural similarity (SSIM), -1 to 1.
    """

    name: str
    rank_correlation: Estimate
    similarity: Estimate


@dataclass(frozen=True)
class MapChecks(Record):
    """What heat maps must pass before they are believed.

    Attributes:
        finding: The finding whose maps were checked.
        method: The maps' method.
        layer: The layer they come from.
        n_images: Images checked.
        levels: What randomising the network from the head down did to the maps.
        deletion: Mean difference of the area under the curve of the logit as the hottest places are painted over
            first, less that in random order; below 0 where the maps find what the score rests on.
        insertion: Mean difference of the area as places are uncovered, hottest first; above 0 where the maps find it.
        most_alike: The mean rank correlation under a randomised network from which on maps do not depend on the model.
        verdict: `DEPENDS`, `DOES_NOT` or `NOT_SHOWN`.
        reason: Why, in words.
        seed: Of the draws.
        cautions: Sentences that a reader must see beside the result.
    """

    finding: str
    method: str
    layer: str
    n_images: int
    levels: tuple[RandomisedLevel, ...]
    deletion: Estimate
    insertion: Estimate
    most_alike: float
    verdict: str
    reason: str
    seed: int
    cautions: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Returns a few lines to read."""
        told = f"not shown to {DEPENDS.replace('depends', 'depend')}" if self.verdict == NOT_SHOWN else self.verdict
        lines = [f"Heat maps of {self.finding} by {self.method}, {self.n_images} images: {told} ({self.reason})"]
        lines += [f"  {level.name}: rank correlation {level.rank_correlation}" for level in self.levels]
        return "\n".join([*lines, f"  deletion less random order: {self.deletion}", f"  insertion: {self.insertion}"])


@dataclass(frozen=True)
class AgainstBaseline(Record, nan=("p_value",)):
    """Heat maps compared with a map that never saw the image, on the same images.

    Attributes:
        baseline: "mean box", "image centre" or "untrained network".
        hit_rate: Of the baseline.
        difference: Hit rate of the maps less that of the baseline, paired.
        p_value: That the two hit rates are equal; NaN where there is no test.
        verdict: "better than the mean box", "worse than the mean box", "not distinguishable from the mean box" or
            "not estimable".
    """

    baseline: str
    hit_rate: Estimate
    difference: Estimate
    p_value: float
    verdict: str


@dataclass(frozen=True)
class BoxAgreement(Record):
    """How the heat maps of one finding agree with radiologists' boxes.

    Attributes:
        finding: The finding.
        n_images: Images with a box.
        n_boxes: Boxes on them.
        n_patients: Patients of them.
        hit_rate: Share of images whose highest place lies in a box (the pointing game).
        inside: Mean share of what is above 0 in a map that lies in the boxes.
        box_share: Mean share of the image that the boxes cover: what `inside` would be for a map without structure.
        iou: Share of boxes that a region of the map meets with at least this intersection over union, by threshold.
        iobb: Share of boxes that a region of the map meets with at least this intersection over the region's own
            rectangle, by threshold.
        baselines: What points at these images without looking.
        mean_box_from: Which boxes the mean box was made of, in words.
    """

    finding: str
    n_images: int
    n_boxes: int
    n_patients: int
    hit_rate: Estimate
    inside: Estimate
    box_share: float
    iou: tuple[Estimate, ...]
    iobb: tuple[Estimate, ...]
    baselines: tuple[AgainstBaseline, ...]
    mean_box_from: str

    @property
    def verdict(self) -> str:
        """What the comparison with the mean box says."""
        return self.baselines[0].verdict if self.baselines else "not estimable"


@checked
@dataclass(frozen=True)
class Localization(Record):
    """How the heat maps of a run agree with boxes, finding by finding.

    Attributes:
        method: The maps' method.
        layer: The layer they come from.
        iou_thresholds: Of `BoxAgreement.iou`.
        iobb_thresholds: Of `BoxAgreement.iobb`.
        findings: One entry for each finding that has boxes.
        cautions: Sentences that a reader must see beside the result.
    """

    method: str
    layer: str
    iou_thresholds: tuple[float, ...]
    iobb_thresholds: tuple[float, ...]
    findings: tuple[BoxAgreement, ...]
    cautions: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Returns a table to read, one row for each finding and each way of pointing."""
        rows = []
        for entry in self.findings:
            counts = {"finding": entry.finding, "images": entry.n_images, "boxes": entry.n_boxes}
            own = {"map": self.method, "hit rate": str(entry.hit_rate), "difference": "", "verdict": ""}
            rows.append(counts | own)
            for other in entry.baselines:
                told = {"difference": str(other.difference), "verdict": other.verdict}
                rows.append(counts | {"map": other.baseline, "hit rate": str(other.hit_rate)} | told)
        return PlainTable(rows, columns=["finding", "images", "boxes", "map", "hit rate", "difference", "verdict"])

    def numbers(self) -> pd.DataFrame:
        """Returns a table for other programs, one row for each finding and each way of pointing, numbers as numbers.

        Returns:
            finding, images, boxes, map, hit_rate, hit_rate_low, hit_rate_high, difference (of the run's own maps less
            this), difference_low, difference_high, p_value, verdict.
        """
        rows = []
        for entry in self.findings:
            counts = {"finding": entry.finding, "images": entry.n_images, "boxes": entry.n_boxes}
            rows.append(counts | {"map": self.method} | _limits("hit_rate", entry.hit_rate))
            for other in entry.baselines:
                measured = _limits("hit_rate", other.hit_rate) | _limits("difference", other.difference)
                told = {"p_value": other.p_value, "verdict": other.verdict}
                rows.append(counts | {"map": other.baseline} | measured | told)
        return PlainTable(rows)

    def __str__(self) -> str:
        """Returns one line for each finding."""
        return "\n".join(
            f"{entry.finding}: hit rate {entry.hit_rate} on {entry.n_images} images, {entry.verdict}"
            for entry in self.findings
        )


def _limits(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


OUTCOMES = ("found", "missed", "false alarm", "correct negative")
"""What became of an image at the frozen threshold: positives called so or not, negatives called so or not."""

PATIENTS_NOT_KEPT = "images of patients are not kept with the run"
"""Why a run has no gallery of real images, unless it was asked for."""


@dataclass(frozen=True)
class HeatmapStudy(Record, nan=("threshold",)):
    """What was found out about the heat maps of a run's test images, for one finding.

    Attributes:
        finding: The finding.
        checks: Whether the maps depend on the model.
        localization: How they agree with radiologists' boxes; None where no test image has one.
        afroc: Area under the weighted AFROC curve of the maps' peaks, images with boxes against normal ones.
        examples: For each image of the gallery its image_id, what became of it ("found", "missed", "false alarm",
            "correct negative"), score and whether its highest place lies in a box (None without one); with a gallery
            its map, rows of numbers, and its boxes (left, top, width, height as shares of the image's side).
        boxes_from: File name of the boxes; empty where there were none.
        scores_fingerprint: Of the run's test scores.
        seed: Of all draws.
        cautions: Sentences that a reader must see beside a map.
        provenance: Versions and commit.
        threshold: The frozen threshold that parts the outcomes; NaN in files of earlier versions.
        gallery_sha256: Of the file of the gallery's images; empty where there is none.
        no_gallery: Why there is none, in words.
        part_of_output: Whether heat maps were drawn of the files whose results the run keeps: they are then part of
            what the device gives.
    """

    finding: str
    checks: MapChecks
    localization: Localization | None
    afroc: Estimate = NOT_MEASURED
    examples: tuple[dict[str, Any], ...] = ()
    boxes_from: str = ""
    scores_fingerprint: str = ""
    seed: int = 0
    cautions: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    threshold: float = math.nan
    gallery_sha256: str = ""
    no_gallery: str = ""
    part_of_output: bool = False

    def __str__(self) -> str:
        """Returns some lines to read."""
        found = [str(self.checks)]
        if self.localization is not None:
            found += [f"Against boxes: {self.localization}", f"Weighted AFROC of the maps' peaks: {self.afroc}"]
        return "\n".join(found)
