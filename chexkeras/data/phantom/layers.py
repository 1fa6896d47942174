"""What findings are drawn on: coarse and fine fields over one film, and where in the patient a finding sits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chexkeras.data.phantom.geometry import LEFT, RIGHT, Field, Geometry
from chexkeras.findings import NIH14
from chexkeras.phantoms.canvas import Canvas

Box = tuple[float, float, float, float]
"""left, top, right, bottom as fractions of the film."""


@dataclass(frozen=True)
class Site:
    """Where in this patient a finding sits; the same on all films.

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
    """Returns where a finding sits in a patient."""
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
    """What findings draw on. Coarse fields have half the film's resolution.

    Attributes:
        geometry: The film's borders and fields.
        haze: Share of the lung's air replaced, coarse.
        lucency: Air added, coarse.
        vessels: Share of vessels still seen, coarse.
        density: Density added to the film, full resolution.
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
        """Returns which coarse pixels lie on one side."""
        right = self.geometry.right[::2, ::2]
        return right if side == RIGHT else ~right

    def oval(self, center: tuple[float, float], radii: tuple[float, float], tilt: float = 0.0) -> Field:
        """Returns squared elliptical distance from a centre, coarse: 1 on the ellipse."""
        dx, dy = self.x - center[0], self.y - center[1]
        if tilt:
            cosine, sine = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
            dx, dy = dx * cosine + dy * sine, dy * cosine - dx * sine
        return (dx * (1 / radii[0])) ** 2 + (dy * (1 / radii[1])) ** 2

    def add_haze(self, haze: NDArray[Any]) -> None:
        """Lays an opacity over the others: what one leaves of the air, the next reduces further."""
        self.haze += (1 - self.haze) * np.clip(haze, 0, 0.98)

    def box(self, mask: NDArray[np.bool_]) -> list[Box]:
        """Returns the box around a coarse mask, none when it is all but empty."""
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
    """Returns layers without any finding."""
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
    """Returns a point of one lung that is outside the heart: along 0 to 1 outwards, height 0 to 1 downwards."""
    top, dome = geometry.lung_top(side), geometry.dome(side)
    y = top + (low + (high - low) * height) * (dome - top)
    row = geometry.column(y)
    inner = float(geometry.border[side][row]) / max(float(geometry.wall[side][row]), 1e-3)
    inner = min(inner + 0.12, 0.8)
    return geometry.place(side, inner + (0.90 - inner) * along, y)
