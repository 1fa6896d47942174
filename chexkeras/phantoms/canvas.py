"""What is drawn on: lines twice as fine as the image for thin things, and coarse and fine fields for findings.

Vessels, outlines of bones, tubes and letters are lines on a `Canvas`; a finding draws on `Layers`, at its `Site`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from chexkeras.findings import NIH14
from chexkeras.phantoms.anatomy import LEFT, RIGHT, Field, Geometry

Point = tuple[float, float]

# Strokes of the letters on image markers, in a box 1 high and 0.7 wide.
_STROKES: dict[str, tuple[tuple[Point, ...], ...]] = {
    "L": (((0, 0), (0, 1), (0.6, 1)),),
    "R": (((0, 1), (0, 0), (0.5, 0.05), (0.6, 0.25), (0.5, 0.45), (0, 0.5)), ((0.25, 0.5), (0.62, 1))),
    "A": (((0, 1), (0.32, 0), (0.64, 1)), ((0.12, 0.65), (0.52, 0.65))),
    "P": (((0, 1), (0, 0), (0.5, 0.05), (0.62, 0.27), (0.5, 0.5), (0, 0.53)),),
}


class Canvas:
    """A grayscale drawing in image coordinates (0 to 1), read as a float field of 0 to 1.

    Later strokes cover earlier ones; densities that add up belong on different canvases.

    Args:
        size: Pixels a side of the image.
        fine: How many times finer than the image to draw.
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
        """Draws a line of a width (fraction of the image) and a level (0 to 1); thin lines fade.

        Args:
            points: (x, y) of its corners, fractions of the image.
            width: A fraction of the image.
            level: Brightness, 0 to 1.
        """
        self.blank = False
        pixels = width * self.size * self.fine
        level = level * min(1.0, pixels)
        self._draw.line(self._scaled(points), fill=round(255 * level), width=max(1, round(pixels)), joint="curve")

    def lines(self, xy: NDArray[np.float64], width: float, level: float) -> None:
        """Draws many lines of one width; `xy` has shape (lines, points, 2).

        Args:
            xy: Corners, shape (lines, points, 2), fractions of the image.
            width: A fraction of the image.
            level: Brightness, 0 to 1.
        """
        self.blank = False
        pixels = width * self.size * self.fine
        fill, thick = round(255 * level * min(1.0, pixels)), max(1, round(pixels))
        for line in (xy.reshape(len(xy), -1) * (self.size * self.fine)).tolist():
            self._draw.line(line, fill=fill, width=thick)

    def polygon(self, points: Iterable[Point], level: float) -> None:
        """Fills a polygon.

        Args:
            points: (x, y) of its corners, fractions of the image.
            level: Brightness, 0 to 1.
        """
        self.blank = False
        self._draw.polygon(self._scaled(points), fill=round(255 * level))

    def ellipse(self, center: Point, radii: Point, level: float) -> None:
        """Fills an ellipse.

        Args:
            center: (x, y), fractions of the image.
            radii: Half its width and height, fractions of the image.
            level: Brightness, 0 to 1.
        """
        self.blank = False
        (cx, cy), (rx, ry) = center, radii
        self._draw.ellipse(self._scaled([(cx - rx, cy - ry), (cx + rx, cy + ry)]), fill=round(255 * level))

    def letters(self, text: str, corner: Point, height: float, slant: float, level: float = 1.0) -> None:
        """Writes capital letters of an image marker.

        Args:
            text: Letters of L, R, A and P.
            corner: (x, y) of the upper left corner, fractions of the image.
            height: A fraction of the image.
            slant: Slope of the line of writing.
            level: Brightness, 0 to 1.
        """
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
            blur: Width over which edges are softened, a fraction of the image; less than half a pixel does nothing.
        """
        reduced = self._image.reduce(self.fine) if self.fine > 1 else self._image
        if blur * self.size >= 0.5:
            reduced = reduced.filter(ImageFilter.BoxBlur(blur * self.size))
        return np.asarray(reduced, np.float32) * np.float32(1 / 255)


def enlarge(field: NDArray[np.float32], size: int, *, smooth: bool = False) -> NDArray[np.float32]:
    """Returns a coarse field resampled to (size, size).

    Args:
        field: The coarse field.
        size: Pixels a side wanted.
        smooth: Whether to resample bicubic instead of bilinear.
    """
    method = Image.Resampling.BICUBIC if smooth else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(np.ascontiguousarray(field, np.float32)).resize((size, size), method))


def clouds(rng: np.random.Generator, cells: int, size: int) -> NDArray[np.float32]:
    """Returns smooth noise of mean 0 and standard deviation near 1, shape (size, size), with `cells` waves across.

    Args:
        rng: Decides the noise.
        cells: Waves across the image.
        size: Pixels a side.
    """
    return enlarge(rng.standard_normal((cells, cells), dtype=np.float32), size, smooth=True)


Box = tuple[float, float, float, float]
"""left, top, right, bottom as fractions of the image."""


@dataclass(frozen=True)
class Site:
    """Where in this patient a finding sits; the same on all images.

    Attributes:
        side: RIGHT or LEFT.
        both: Whether the other side is affected too.
        along: Position between midline and chest wall, 0 to 1.
        height: Position between apex and diaphragm, 0 to 1.
        shape: Four more numbers in 0 to 1, for the finding's own use.
    """

    side: int
    both: bool
    along: float
    height: float
    shape: tuple[float, float, float, float]

    @property
    def sides(self) -> tuple[int, ...]:
        """The affected sides, the first one most."""
        return (self.side, 1 - self.side) if self.both else (self.side,)


def site_of(seed: int, patient: int, finding: str) -> Site:
    """Returns where a finding sits in a patient.

    Args:
        seed: The cohort's seed.
        patient: The patient's number.
        finding: One of NIH14.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, patient], spawn_key=(2, NIH14.index(finding))))
    numbers = rng.random(8)
    return Site(
        side=RIGHT if numbers[0] < 0.55 else LEFT,
        both=bool(numbers[1] < 0.3),
        along=float(numbers[2]),
        height=float(numbers[3]),
        shape=(float(numbers[4]), float(numbers[5]), float(numbers[6]), float(numbers[7])),
    )


@dataclass
class Layers:
    """What findings draw on. Coarse fields have half the image's resolution.

    Attributes:
        geometry: The image's borders and fields.
        haze: Share of the lung's air replaced, coarse.
        lucency: Air added, coarse.
        vessels: Share of vessels still seen, coarse.
        density: Density added to the image, full resolution.
        strands: Lines within the lungs.
        crisp: Thin bright lines anywhere, such as a visceral pleura.
        outward: `geometry.outward`, coarse.
        lung: `geometry.lung`, coarse.
        x: Columns, coarse, shape (1, n).
        y: Rows, coarse, shape (n, 1).
    """

    geometry: Geometry
    haze: Field
    lucency: Field
    vessels: Field
    density: Field
    strands: Canvas
    crisp: Canvas
    outward: Field
    lung: Field
    x: Field
    y: Field

    def side(self, side: int) -> NDArray[np.bool_]:
        """Returns which coarse pixels lie on one side.

        Args:
            side: RIGHT or LEFT.
        """
        right = self.geometry.right[::2, ::2]
        return right if side == RIGHT else ~right

    def oval(self, center: tuple[float, float], radii: tuple[float, float], tilt: float = 0.0) -> Field:
        """Returns squared elliptical distance from a centre, coarse: 1 on the ellipse.

        Args:
            center: (x, y), fractions of the image.
            radii: Half its width and height, fractions of the image.
            tilt: Radians.
        """
        dx, dy = self.x - center[0], self.y - center[1]
        if tilt:
            cosine, sine = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
            dx, dy = dx * cosine + dy * sine, dy * cosine - dx * sine
        return (dx * (1 / radii[0])) ** 2 + (dy * (1 / radii[1])) ** 2

    def add_haze(self, haze: NDArray[Any]) -> None:
        """Lays an opacity over the others: what one leaves of the air, the next reduces further.

        Args:
            haze: Share of the air it replaces, coarse, 0 to 1.
        """
        self.haze += (1 - self.haze) * np.clip(haze, 0, 0.98)

    def box(self, mask: NDArray[np.bool_]) -> list[Box]:
        """Returns the box around a coarse mask, none when it is all but empty.

        Args:
            mask: Booleans, coarse.
        """
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows) < 2 or len(columns) < 2:
            return []
        step = 2 / self.geometry.size
        return [
            (
                float(columns[0] * step),
                float(rows[0] * step),
                float(min(1, (columns[-1] + 1) * step)),
                float(min(1, (rows[-1] + 1) * step)),
            )
        ]


def blank_layers(geometry: Geometry) -> Layers:
    """Returns layers without any finding.

    Args:
        geometry: The image's borders and fields.
    """
    lung = geometry.lung[::2, ::2]
    return Layers(
        geometry=geometry,
        haze=np.zeros(lung.shape, np.float32),
        lucency=np.zeros(lung.shape, np.float32),
        vessels=np.ones(lung.shape, np.float32),
        density=np.zeros(geometry.lung.shape, np.float32),
        strands=Canvas(geometry.size),
        crisp=Canvas(geometry.size),
        outward=geometry.outward[::2, ::2],
        lung=lung,
        x=geometry.x[None, ::2],
        y=geometry.y[::2, None],
    )


def within_lung(geometry: Geometry, side: int, along: float, height: float, low: float = 0.15, high: float = 0.9):
    """Returns a point of one lung that is outside the heart: along 0 to 1 outwards, height 0 to 1 downwards.

    Args:
        geometry: The image's borders and fields.
        side: RIGHT or LEFT.
        along: 0 next to the heart to 1 near the chest wall.
        height: 0 to 1, from `low` to `high`.
        low: Share of the way from apex to dome at which height 0 lies.
        high: Share of the way from apex to dome at which height 1 lies.
    """
    top, dome = geometry.lung_top(side), geometry.dome(side)
    y = top + (low + (high - low) * height) * (dome - top)
    row = geometry.column(y)
    inner = float(geometry.border[side][row]) / max(float(geometry.wall[side][row]), 1e-3)
    inner = min(inner + 0.12, 0.8)
    return geometry.place(side, inner + (0.90 - inner) * along, y)
