"""Heat maps as they are handed on: one for each image and finding, with the method and the layer they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from chexkeras.arguments import checked
from chexkeras.checks import nearest
from chexkeras.evaluation.readers.lesion_marks import marks_from_peaks
from chexkeras.plain import Described


@checked
@dataclass(frozen=True, eq=False)
class Heatmaps(Described):
    """Heat maps of some images.

    A map covers its image from edge to edge: the image was scaled to the model's square without padding, so that the
    map is scaled to the image's own rows and columns in the same way.

    Attributes:
        maps: float32 array (n_images, n_findings, rows, columns), at the layer's own resolution.
        scores: float32 array (n_images, n_findings), the model's probabilities.
        images: What each image is called, as text.
        findings: The findings, in order.
        method: Name of the method, see `explain.METHODS`.
        layer: Name of the layer; for occlusion "pixels".
        unit: What the values are: "logit" where they add up to (part of) the logit, otherwise "relative", and maps of
            two images cannot be compared.
        image_px: Height and width of the images that the model saw, pixels.
        cautions: Sentences that a reader must see beside a map.
    """

    maps: NDArray[np.float32] = field(repr=False)
    scores: NDArray[np.float32] = field(repr=False)
    images: tuple[str, ...]
    findings: tuple[str, ...]
    method: str
    layer: str
    unit: str
    image_px: int
    cautions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expected = (len(self.images), len(self.findings))
        if self.maps.ndim != 4 or self.maps.shape[:2] != expected or self.scores.shape != expected:
            raise ValueError(
                f"maps of shape {self.maps.shape} and scores of shape {self.scores.shape} do not fit "
                f"{expected[0]} image(s) and {expected[1]} finding(s)."
            )

    def __len__(self) -> int:
        return len(self.images)

    def of(self, image: str, finding: str | None = None, shape: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Returns the map of one image.

        Args:
            image: Its name, one of `images`.
            finding: One of `findings`; None where there is one only.
            shape: Rows and columns wanted, such as those of the image's file; None gives the size that the model saw.

        Returns:
            float32 array of that shape, interpolated linearly between the centres of the map's cells.

        Raises:
            ValueError: If there is no such image or finding, or several findings and none is named.
        """
        at = (self._image(image), self.column(finding))
        return resized(self.maps[at], shape or (self.image_px, self.image_px))

    def score(self, image: str, finding: str | None = None) -> float:
        """Returns the probability that the model gave an image.

        Args:
            image: Its name, one of `images`.
            finding: One of `findings`; None where there is one only.
        """
        return float(self.scores[self._image(image), self.column(finding)])

    def _image(self, image: str) -> int:
        if image not in self.images:
            raise ValueError(f"image={image!r} has no heat map here; {nearest(str(image), self.images)}")
        return self.images.index(image)

    def column(self, finding: str | None) -> int:
        """Returns the place of a finding.

        Args:
            finding: One of `findings`; None where there is one only.

        Raises:
            ValueError: If there is no such finding, or several and none is named.
        """
        if finding is None and len(self.findings) == 1:
            return 0
        if finding not in self.findings:
            raise ValueError(f"finding={finding!r}; the heat maps are of {', '.join(self.findings)}: name one of them.")
        return self.findings.index(finding)

    def only(self, images: Sequence[str]) -> "Heatmaps":
        """Returns the heat maps of some images, in the order given.

        Args:
            images: Names among `images`.
        """
        rows = [self._image(image) for image in images]
        return Heatmaps(
            self.maps[rows], self.scores[rows], tuple(images), self.findings, self.method, self.layer, self.unit,
            self.image_px, self.cautions,
        )  # fmt: skip

    def marks(self, finding: str | None = None, *, image_px: float | None = None, least: float = 0.25) -> pd.DataFrame:
        """Returns the peaks of the maps as marks, for a localisation study (`evaluation.afroc`).

        A peak is a cell above 0 that no neighbour exceeds. The highest peak of an image is rated with the image's
        score, the others with that share of it which they reach of the highest.

        Args:
            finding: One of `findings`; None where there is one only.
            image_px: Width of the square image that lesions are drawn on, pixels (1024 for NIH's boxes); None takes the
                size that the model saw.
            least: Peaks lower than this share of the highest are left out, 0 to 1.

        Returns:
            A table with reader (the method), image_id, x_px, y_px, rating; an image without a peak has one row without
            a rating.
        """
        column = self.column(finding)
        found = {
            image: _peaks(self.maps[row, column], float(self.scores[row, column]), least)
            for row, image in enumerate(self.images)
        }
        rows, columns = self.maps.shape[2:]
        if rows != columns:
            raise ValueError(f"maps of {rows} x {columns} cells: marks are made of square maps only.")
        return marks_from_peaks(found, scale=(image_px or self.image_px) / columns, reader=self.method)


def resized(heatmap: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Returns a map at another size, interpolated linearly between the centres of its cells.

    Args:
        heatmap: float32 array (rows, columns).
        shape: Rows and columns wanted, at least those of the map.

    Example:
        >>> resized(np.array([[0.0, 4.0]], np.float32), (1, 4)).tolist()
        [[0.0, 1.0, 3.0, 4.0]]
    """
    rows, columns = shape
    picture = Image.fromarray(np.ascontiguousarray(heatmap, dtype=np.float32))
    return np.asarray(picture.resize((columns, rows), Image.Resampling.BILINEAR), dtype=np.float32)


def _peaks(heatmap: NDArray[np.float32], score: float, least: float) -> NDArray[np.float64]:
    """Returns column, row and rating of each peak, shape (n, 3)."""
    highest = float(heatmap.max())
    if not highest > 0:
        return np.empty((0, 3))
    around = np.pad(heatmap, 1, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3))
    is_peak = (heatmap >= windows.max(axis=(2, 3))) & (heatmap > 0) & (heatmap >= least * highest)
    rows, columns = np.nonzero(is_peak)
    return np.column_stack([columns, rows, score * heatmap[rows, columns] / highest]).astype(np.float64)
