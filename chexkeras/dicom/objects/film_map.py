"""A heat map as objects show it: contours on the film, in the film's own pixels, upright or as stored."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from chexkeras.arguments import checked
from chexkeras.dicom.pixels.upright import stored_points, swaps_sides

LEVEL = 0.5
"""Contours are drawn at this share of a map's highest value."""

_FEWEST_POINTS = 4
_MOST_POINTS = 1000
_BEHIND = 1e-6


@checked
@dataclasses.dataclass(frozen=True, eq=False)
class FilmMap:
    """The heat map of one finding on one film.

    Attributes:
        finding: The finding.
        heat: float32 array (rows, columns) of any size, which covers the upright film from edge to edge; what is below
            0 speaks against the finding.
        method: How it was made.
        note: What must stand beside it.
    """

    finding: str
    heat: NDArray[np.float32] = dataclasses.field(repr=False)
    method: str
    note: str

    def __post_init__(self) -> None:
        if self.heat.ndim != 2 or min(self.heat.shape) < 2 or not np.isfinite(self.heat).all():
            raise ValueError(
                f"a heat map of shape {self.heat.shape} came; finite values (rows, columns) were expected."
            )

    def levels(self) -> NDArray[np.float32]:
        """Returns the map as shares of its highest value, 0 to 1; all 0 where it is nowhere above 0."""
        above = np.maximum(self.heat, 0).astype(np.float32)
        highest = float(above.max())
        return above / highest if highest > 0 else above

    def contours(self, shape: tuple[int, int]) -> list[NDArray[np.float64]]:
        """Returns closed lines round where the map reaches `LEVEL` of its highest value.

        Args:
            shape: Rows and columns of the upright film.

        Returns:
            Arrays (n, 2) of column and row in the upright film, 0 to its columns and rows, the last point the first
            again; none where the map is nowhere above 0.
        """
        from contourpy import contour_generator

        levels = self.levels()
        if not levels.any():
            return []
        # The outer cells reach to the edge; a rim of 0 right behind it closes lines along the edge.
        rimmed = np.pad(np.pad(levels, 1, mode="edge"), 1)
        y, x = (_grid(cells, side) for cells, side in zip(levels.shape, shape, strict=True))
        lines = [np.asarray(line, np.float64) for line in contour_generator(x, y, rimmed).lines(LEVEL)]
        kept = (np.clip(line, 0.0, (shape[1], shape[0])) for line in lines if len(line) >= _FEWEST_POINTS)
        return [_thinned(line) for line in kept if np.ptp(line, axis=0).min() > 0]

    def stored_contours(self, turned: str, shape: tuple[int, int]) -> list[NDArray[np.float64]]:
        r"""Returns the contours in the film as stored.

        Args:
            turned: How the stored film lay where it was turned upright to be scored, like ``F\R``; or empty.
            shape: Rows and columns of the film as stored.
        """
        upright = shape[::-1] if swaps_sides(turned) else shape
        return [stored_points(line, turned, upright) for line in self.contours(upright)]


def _grid(cells: int, side: int) -> NDArray[np.float64]:
    """Returns where the values of a row or column lie: behind the edge, on it, at each cell's centre, and so on."""
    centres = (np.arange(cells) + 0.5) / cells * side
    return np.concatenate([[-_BEHIND, 0.0], centres, [float(side), side + _BEHIND]])


def _thinned(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns a line with at most so many points as viewers draw quickly, closed as before."""
    if len(line) <= _MOST_POINTS:
        return line
    kept = line[np.linspace(0, len(line) - 1, _MOST_POINTS).round().astype(int)]
    kept[-1] = kept[0]
    return kept
