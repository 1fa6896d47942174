"""How many pixels the files had that a run learnt from, and how far apart these lay; what is outside of that."""

import math
from dataclasses import dataclass

from chexkeras.arguments import checked
from chexkeras.results.record import Record

SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
"""At which shares of the training images quantiles are kept."""
TOLERANCE = 1.25
"""By which factor a file may lie beyond the middle 98 % of the training images."""
ENOUGH = 4
"""From so many times the model's side on, more pixels make no difference: all of them are averaged away."""
_LOW, _HIGH = SHARES.index(0.01), SHARES.index(0.99)


@checked
@dataclass(frozen=True)
class SourceResolution(Record):
    """The resolution of the files that a run learnt from, before they were brought to the model's size.

    Attributes:
        image_size: Height and width of the model's images, pixels.
        n_images: Training images whose size is known.
        short_side_px: Their shorter side at `SHARES`, pixels.
        n_spacings: Training images whose DICOM header gives the distance of pixels.
        spacing_mm: That distance at `SHARES`, mm; empty where no file gives one.
    """

    image_size: int
    n_images: int
    short_side_px: tuple[float, ...]
    n_spacings: int = 0
    spacing_mm: tuple[float, ...] = ()

    def refuse_impossible(self) -> None:
        """Checks what was read: quantiles that rise, above 0.

        Raises:
            ValueError: If something cannot be.
        """
        for name, row in (("short_side_px", self.short_side_px), ("spacing_mm", self.spacing_mm)):
            rises = list(row) == sorted(row) and all(0 < value < math.inf for value in row)
            if not rises or len(row) not in (len(SHARES), 0 if name == "spacing_mm" else len(SHARES)):
                raise ValueError(f"{name} holds no {len(SHARES)} rising quantiles above 0")
        if self.n_images < 1 or self.n_spacings < 0 or self.image_size < 1:
            raise ValueError("a count of images, or the image size, is below 1")

    @property
    def sides_px(self) -> tuple[float, float]:
        """Smallest and largest shorter side that the run has learnt from, with the tolerance; inf where none is."""
        highest = self.short_side_px[_HIGH] * TOLERANCE
        limit = math.inf if highest >= ENOUGH * self.image_size else highest
        return min(self.short_side_px[_LOW] / TOLERANCE, ENOUGH * self.image_size), limit

    @property
    def spacings_mm(self) -> tuple[float, float] | None:
        """Smallest and largest distance of pixels that it has learnt from, with the tolerance; None where unknown."""
        if not self.spacing_mm:
            return None
        return self.spacing_mm[_LOW] / TOLERANCE, self.spacing_mm[_HIGH] * TOLERANCE

    def outside(self, rows: int, columns: int, spacing_mm: float = math.nan) -> str:
        """Returns in words why an image's resolution is none that the run has learnt from; "" where it is.

        Args:
            rows: Height of the file's image, pixels.
            columns: Its width, pixels.
            spacing_mm: Distance of its pixels, mm; NaN where the file does not say, or it is an image file.
        """
        found, side, (low, high) = [], min(rows, columns), self.sides_px
        if not low <= side <= high:
            found.append(f"shorter side {side} px, of the training images {_span(*self._middle(self.short_side_px))}")
        spacings = self.spacings_mm
        if spacings is not None and not math.isnan(spacing_mm) and not spacings[0] <= spacing_mm <= spacings[1]:
            middle = _span(*self._middle(self.spacing_mm))
            found.append(f"pixel spacing {spacing_mm:.3g} mm, of the training images {middle}")
        return "; ".join(found)

    @staticmethod
    def _middle(row: tuple[float, ...]) -> tuple[float, float]:
        return row[_LOW], row[_HIGH]

    def __str__(self) -> str:
        """Returns what the run learnt from, as one sentence."""
        sides = _span(*self._middle(self.short_side_px))
        told = f"shorter side {sides} px (98 % of {self.n_images:,} images)"
        if not self.spacing_mm:
            return told
        return f"{told}; pixel spacing {_span(*self._middle(self.spacing_mm))} mm ({self.n_spacings:,} files)"


def _span(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
