"""Thin things: vessels, bones' outlines, tubes and letters are lines, drawn twice as fine as the film and reduced."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Point = tuple[float, float]

# Strokes of the letters on film markers, in a box 1 high and 0.7 wide.
_STROKES: dict[str, tuple[tuple[Point, ...], ...]] = {
    "L": (((0, 0), (0, 1), (0.6, 1)),),
    "R": (((0, 1), (0, 0), (0.5, 0.05), (0.6, 0.25), (0.5, 0.45), (0, 0.5)), ((0.25, 0.5), (0.62, 1))),
    "A": (((0, 1), (0.32, 0), (0.64, 1)), ((0.12, 0.65), (0.52, 0.65))),
    "P": (((0, 1), (0, 0), (0.5, 0.05), (0.62, 0.27), (0.5, 0.5), (0, 0.53)),),
}


class Canvas:
    """A grayscale drawing in film coordinates (0 to 1), read as a float field of 0 to 1.

    Later strokes cover earlier ones; densities that add up belong on different canvases.

    Args:
        size: Pixels a side of the film.
        fine: How many times finer than the film to draw.
    """

    def __init__(self, size: int, fine: int = 2):
        self.size, self.fine = size, fine
        self._image = Image.new("L", (size * fine, size * fine), 0)
        self._draw = ImageDraw.Draw(self._image)
        self.blank = True

    def _scaled(self, points: Iterable[Point]) -> list[Point]:
        factor = self.size * self.fine
        return [(px * factor, py * factor) for px, py in points]

    def line(self, points: Iterable[Point], width: float, level: float) -> None:
        """Draws a line of a width (fraction of the film) and a level (0 to 1); thin lines fade instead of vanishing."""
        self.blank = False
        pixels = width * self.size * self.fine
        level = level * min(1.0, pixels)
        self._draw.line(self._scaled(points), fill=round(255 * level), width=max(1, round(pixels)), joint="curve")

    def lines(self, xy: NDArray[np.float64], width: float, level: float) -> None:
        """Draws many lines of one width; `xy` has shape (lines, points, 2)."""
        self.blank = False
        pixels = width * self.size * self.fine
        fill, thick = round(255 * level * min(1.0, pixels)), max(1, round(pixels))
        for line in (xy.reshape(len(xy), -1) * (self.size * self.fine)).tolist():
            self._draw.line(line, fill=fill, width=thick)

    def polygon(self, points: Iterable[Point], level: float) -> None:
        """Fills a polygon."""
        self.blank = False
        self._draw.polygon(self._scaled(points), fill=round(255 * level))

    def ellipse(self, center: Point, radii: Point, level: float) -> None:
        """Fills an ellipse."""
        self.blank = False
        (cx, cy), (rx, ry) = center, radii
        self._draw.ellipse(self._scaled([(cx - rx, cy - ry), (cx + rx, cy + ry)]), fill=round(255 * level))

    def letters(self, text: str, corner: Point, height: float, slant: float, level: float = 1.0) -> None:
        """Writes capital letters of a film marker."""
        for index, letter in enumerate(text):
            for stroke in _STROKES[letter]:
                points = [
                    (corner[0] + height * (px + index * 0.95 - slant * py), corner[1] + height * (py + slant * px))
                    for px, py in stroke
                ]
                self.line(points, height * 0.16, level)

    def field(self, blur: float = 0.0) -> NDArray[np.float32]:
        """Returns the drawing, shape (size, size), 0 to 1.

        Args:
            blur: Width over which edges are softened, a fraction of the film; less than half a pixel does nothing.
        """
        reduced = self._image.reduce(self.fine) if self.fine > 1 else self._image
        if blur * self.size >= 0.5:
            reduced = reduced.filter(ImageFilter.BoxBlur(blur * self.size))
        return np.asarray(reduced, np.float32) * np.float32(1 / 255)


def enlarge(field: NDArray[np.float32], size: int, *, smooth: bool = False) -> NDArray[np.float32]:
    """Returns a coarse field resampled to (size, size)."""
    method = Image.Resampling.BICUBIC if smooth else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(np.ascontiguousarray(field, np.float32)).resize((size, size), method))


def clouds(rng: np.random.Generator, cells: int, size: int) -> NDArray[np.float32]:
    """Returns smooth noise of mean 0 and standard deviation near 1, shape (size, size), with `cells` waves across."""
    return enlarge(rng.standard_normal((cells, cells), dtype=np.float32), size, smooth=True)
