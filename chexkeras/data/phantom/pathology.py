"""The 14 findings: what each does to a film, and the box around it.

A finding may change shapes before the film is drawn (`reshape`), and then adds opacities, lucencies and lines to the
layers (`draw_findings`). Which side and which lobe belong to the patient, so a finding stays where it was; its
extent follows the severity of the film.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chexkeras.data.phantom.anatomy import Pose
from chexkeras.data.phantom.canvas import Canvas, clouds
from chexkeras.data.phantom.geometry import LEFT, RIGHT, Field, Geometry
from chexkeras.findings import NIH14

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

    def add_haze(self, haze: Field) -> None:
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


def reshape(pose: Pose, severity: Mapping[str, float], sites: Mapping[str, Site]) -> None:
    """Changes the shapes that findings change: loss of volume raises the diaphragm and draws the mediastinum over."""
    if "Atelectasis" in severity:
        side, degree = sites["Atelectasis"].side, 0.3 + 0.7 * severity["Atelectasis"]
        pose.domes[side] -= 0.040 * degree
        pose.angles[side] -= 0.012 * degree
        pose.shift += (-0.012 if side == RIGHT else 0.012) * degree
    if "Fibrosis" in severity:
        pose.domes = [height - 0.018 * severity["Fibrosis"] for height in pose.domes]
    if "Edema" in severity:
        pose.vessel_gain *= 1.15
    if "Pneumothorax" in severity and severity["Pneumothorax"] > 0.8:
        pose.shift += 0.012 if sites["Pneumothorax"].side == RIGHT else -0.012


def _within(geometry: Geometry, side: int, along: float, height: float, low: float = 0.15, high: float = 0.9):
    """Returns a point of one lung that is outside the heart: along 0 to 1 outwards, height 0 to 1 downwards."""
    top, dome = geometry.lung_top(side), geometry.dome(side)
    y = top + (low + (high - low) * height) * (dome - top)
    row = geometry.column(y)
    inner = float(geometry.border[side][row]) / max(float(geometry.wall[side][row]), 1e-3)
    inner = min(inner + 0.12, 0.8)
    return geometry.place(side, inner + (0.90 - inner) * along, y)


def _atelectasis(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    geometry = layers.geometry
    degree = 0.35 + 0.65 * severity
    x, y = _within(geometry, site.side, 0.25 + 0.4 * site.along, 0.72 + 0.25 * site.height)
    total = np.zeros_like(layers.haze)
    for index in range(1 + round(2 * severity)):
        length = (0.06 + 0.045 * degree) * (1 - 0.15 * index)
        tilt = geometry.sign(site.side) * (0.10 + 0.45 * site.shape[index % 4]) + 0.05 * rng.standard_normal()
        center = (x + 0.012 * rng.standard_normal(), y - 0.034 * index)
        distance = layers.oval(center, (length, 0.0065 + 0.006 * degree), tilt)
        total = np.maximum(total, (0.42 + 0.4 * degree) * np.exp(-(distance**1.5)))
    if severity > 0.45:
        # Beyond bands: the base loses volume and turns dense next to the heart.
        base = layers.oval((x - geometry.sign(site.side) * 0.05, geometry.dome(site.side) + 0.01), (0.13, 0.075))
        total = np.maximum(total, (0.35 + 0.4 * (severity - 0.45)) * np.exp(-base) * layers.side(site.side))
    layers.add_haze(total)
    return layers.box((total > 0.22) & (layers.lung > 0.04))


def _cardiomegaly(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    return [layers.geometry.heart]


def _effusion(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    geometry = layers.geometry
    boxes: list[Box] = []
    for order, side in enumerate(site.sides):
        degree = severity * (1 - 0.35 * order)
        columns = layers.side(side)
        angle = float(geometry.diaphragm[columns.any(0).repeat(2)[: geometry.size]].max())
        wall_level = angle - (0.085 + 0.28 * degree + 0.01 * rng.standard_normal())
        # The meniscus: highest at the chest wall, sagging inwards, climbing again towards the heart when large.
        share = np.minimum(layers.outward, 1)
        sag = (0.075 + 0.03 * site.shape[0]) * (1 - share) ** 0.7 * 1.6
        surface = wall_level + sag - 0.05 * degree * (1 - share) ** 4
        fluid = np.clip((layers.y - surface) * (1 / 0.035), 0, 1) * columns
        layers.add_haze(0.97 * fluid)
        layers.lucency -= 0.05 * fluid
        boxes += layers.box((fluid > 0.4) & (layers.lung > 0.03))
    return boxes


def _infiltration(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    geometry = layers.geometry
    total = np.zeros_like(layers.haze)
    for order, side in enumerate(site.sides):
        for index in range(1 + round(1.5 * severity)):
            x, y = _within(geometry, side, site.shape[index], (site.height + 0.37 * index) % 1, 0.25, 0.95)
            radii = (0.055 + 0.035 * site.shape[3], 0.065 + 0.045 * site.shape[2])
            patch = np.exp(-layers.oval((x, y), radii, 0.5 * (site.along - 0.5)))
            total = np.maximum(total, patch * (1 - 0.2 * order))
    texture = 1 + 0.30 * clouds(rng, 22, len(total))
    layers.add_haze((0.20 + 0.22 * severity) * total * np.clip(texture, 0.3, 1.8))
    return layers.box((total > 0.45) & (layers.lung > 0.04))


def _nodule_at(layers: Layers, x: float, y: float, radius: float, density: float, lobes: NDArray[np.float64]) -> Box:
    """Adds a ball, lobulated where `lobes` are not zero, to the full-resolution density."""
    geometry = layers.geometry
    reach = radius * 1.5 + 2 / geometry.size
    rows = slice(geometry.column(y - reach), geometry.column(y + reach) + 1)
    columns = slice(geometry.column(x - reach), geometry.column(x + reach) + 1)
    dx, dy = geometry.x[None, columns] - x, geometry.y[rows, None] - y
    angle = np.arctan2(dy, dx)
    edge = radius * (1 + sum(size * np.cos((index + 2) * angle + 6 * size) for index, size in enumerate(lobes)))
    share = np.clip(1.02 - (dx * dx + dy * dy) / (edge * edge), 0, None)
    layers.density[rows, columns] += (density * np.sqrt(share) * np.minimum(share * 6, 1)).astype(np.float32)
    return (max(0.0, x - radius * 1.1), max(0.0, y - radius * 1.1), x + radius * 1.1, y + radius * 1.1)


def _mass(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    # Above 30 mm: a film is about 420 mm wide, so a diameter from 0.08.
    radius = 0.041 + 0.038 * severity
    x, y = _within(layers.geometry, site.side, 0.15 + 0.6 * site.along, site.height, 0.2, 0.85)
    lobes = 0.05 * (np.array(site.shape[:3]) - 0.3)
    return [_nodule_at(layers, x, y, radius, 0.24 + 0.10 * severity, lobes)]


def _nodule(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    boxes = []
    for index in range(1 + (site.shape[0] > 0.75)):
        radius = 0.0135 + 0.017 * severity * (1 - 0.3 * index)
        side = site.side if index == 0 else 1 - site.side
        x, y = _within(layers.geometry, side, (site.along + 0.4 * index) % 1, (site.height + 0.3 * index) % 1)
        boxes.append(_nodule_at(layers, x, y, radius, 0.19 + 0.10 * severity, np.zeros(1)))
    return boxes


def _bronchogram(layers: Layers, start: tuple[float, float], toward: tuple[float, float], seed: float) -> Field:
    """Returns the air-filled bronchi within an opacity, coarse: branches from the hilum into it."""
    canvas = Canvas(len(layers.haze), 2)
    direction = np.arctan2(toward[1] - start[1], toward[0] - start[0])
    reach = float(np.hypot(toward[0] - start[0], toward[1] - start[1]))
    stem = (start[0] + 0.45 * reach * np.cos(direction), start[1] + 0.45 * reach * np.sin(direction))
    for index in range(6):
        angle = direction + 0.36 * (index - 2.5) + 0.3 * (seed - 0.5)
        path, length = [start, stem], reach * (0.26 + 0.06 * ((index * 7 + round(9 * seed)) % 3))
        for bend in (0.0, 0.25, -0.15):
            angle += bend * (1 if index % 2 else -1)
            path.append((path[-1][0] + length * np.cos(angle), path[-1][1] + length * np.sin(angle)))
            length *= 0.7
        canvas.line(path, 0.0085 - 0.0006 * index, 1.0)
    return canvas.field()


def _lobe(layers: Layers, site: Site, severity: float) -> tuple[Field, tuple[float, float]]:
    """Returns the share of a lobe that is filled, coarse, and its centre: sharp at a fissure, soft elsewhere."""
    geometry, side = layers.geometry, site.side
    top, dome = geometry.lung_top(side), geometry.dome(side)
    fissure = top + (0.46 + 0.06 * site.shape[1]) * (dome - top)
    upper = site.height < 0.38
    grown = 0.75 + 0.45 * severity
    if upper:
        x, y = geometry.place(side, 0.62, fissure - 0.075)
        radii = (0.135 * grown, 0.125 * grown)
    else:
        x, y = geometry.place(side, 0.62 + 0.08 * site.along, dome - 0.055 - 0.05 * site.shape[0])
        radii = (0.14 * grown, 0.135 * grown)
    distance = layers.oval((x, y), radii)
    filled = np.clip(1.35 - distance, 0, 1) * layers.side(side)
    border = fissure - 0.10 * (layers.outward - 0.5)
    if upper:
        filled = filled * np.clip((border - layers.y) * 70 + 0.5, 0, 1)
    return filled, (x, y)


def _pneumonia(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    boxes: list[Box] = []
    for order, side in enumerate(site.sides[: 1 + (severity > 0.6)]):
        place = Site(side, False, site.along, (site.height + 0.4 * order) % 1, site.shape)
        filled, center = _lobe(layers, place, severity * (1 - 0.5 * order))
        patchy = np.clip(0.85 + 0.34 * clouds(rng, 14, len(filled)), 0.25, 1.3)
        opacity = (0.50 + 0.30 * severity) * filled * patchy
        opacity -= 0.18 * filled * _bronchogram(layers, layers.geometry.hila[side], center, site.shape[2])
        layers.add_haze(opacity)
        boxes += layers.box((filled > 0.5) & (layers.lung > 0.05))
    return boxes


def _pneumothorax(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    geometry, side = layers.geometry, site.side
    top, angle = geometry.lung_top(side), float(geometry.diaphragm.max())
    widest = 0.14 + 0.34 * severity
    # Air collects at the apex of an upright patient, and further down as it grows.
    length = (0.30 + 0.75 * severity) * (angle - top)

    def gap(y: Field) -> Field:
        depth = np.clip((y - top) / length, 0, 1)
        return widest * (1 - depth**1.6) * (1 + 0.10 * np.sin(9 * depth + 6 * site.shape[0]))

    beyond = (layers.outward > 1 - gap(layers.y)) & layers.side(side) & (layers.y < top + length)
    lucent = beyond & (layers.outward < 1.0) & (layers.lung > 0.02)
    layers.vessels[beyond] = 0.0
    layers.lucency += (0.13 + 0.04 * severity) * lucent
    rest = layers.side(side) & ~beyond
    layers.add_haze((0.10 + 0.14 * severity) * rest.astype(np.float32))
    levels = np.linspace(top + 0.012, top + 0.97 * length, 40).astype(np.float32)
    points = [geometry.place(side, float(1 - width), float(y)) for y, width in zip(levels, gap(levels), strict=True)]
    layers.crisp.line(points, 0.0050, 0.85)
    return layers.box(lucent)


def _consolidation(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    filled, center = _lobe(layers, site, 0.15 + 0.55 * severity)
    opacity = (0.74 + 0.18 * severity) * np.minimum(1.5 * filled, 1)
    opacity -= 0.26 * filled * _bronchogram(layers, layers.geometry.hila[site.side], center, site.shape[2])
    layers.add_haze(opacity)
    return layers.box((filled > 0.35) & (layers.lung > 0.05))


def _edema(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    geometry = layers.geometry
    wings = np.zeros_like(layers.haze)
    for side in (RIGHT, LEFT):
        x, y = geometry.hila[side]
        center = (x + geometry.sign(side) * 0.055, y + 0.055)
        wing = np.exp(
            -layers.oval(center, (0.10 + 0.035 * severity, 0.17 + 0.04 * severity), geometry.sign(side) * 0.3)
        )
        wings = np.maximum(wings, wing * layers.side(side))
        # Kerley B lines: short, horizontal, touching the pleura above the costophrenic angle.
        levels = geometry.dome(side) - 0.005 + 0.0125 * np.arange(7) - 0.02
        for level in levels + 0.002 * rng.standard_normal(7):
            ends = [geometry.place(side, share, float(level)) for share in (0.90 + 0.015 * rng.random(), 0.985)]
            layers.crisp.line(ends, 0.0028, 0.42 + 0.25 * severity)
    texture = np.clip(0.9 + 0.28 * clouds(rng, 26, len(wings)), 0.3, 1.5)
    layers.add_haze((0.36 + 0.30 * severity) * wings * texture + 0.08 * (layers.lung > 0))
    return layers.box((wings > 0.4) & (layers.lung > 0.04))


def _emphysema(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    geometry = layers.geometry
    for index in range(round(3 * severity)):
        x, y = _within(geometry, index % 2, 0.5 + 0.5 * site.shape[index], 0.1 + 0.3 * site.shape[3 - index], 0.05, 0.9)
        bulla = layers.oval((x, y), (0.030 + 0.02 * severity, 0.036 + 0.02 * severity))
        layers.vessels *= 1 - 0.9 * (bulla < 1)
        layers.lucency += 0.035 * (bulla < 1)
    return layers.box(layers.lung > 0.12)


def _fibrosis(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    geometry = layers.geometry
    boxes: list[Box] = []
    for side in (RIGHT, LEFT):
        count = round(70 + 110 * severity)
        top, dome = geometry.lung_top(side), geometry.dome(side)
        y = dome + 0.07 - (dome - top) * (0.32 + 0.22 * severity) * rng.beta(1.1, 1.8, count)
        along = 0.45 + 0.53 * rng.beta(2.0, 1.1, count)
        starts = np.array([geometry.place(side, float(a), float(b)) for a, b in zip(along, y, strict=True)])
        # A net rather than a brush: short lines in three directions, a sixth of a circle apart.
        angle = rng.integers(0, 3, count) * (np.pi / 3) + 0.25 * rng.standard_normal(count)
        step = (0.011 + 0.010 * rng.random(count))[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        layers.strands.lines(np.stack([starts - step, starts + step], 1), 0.0030, 0.42 + 0.25 * severity)
        left, right = float(starts[:, 0].min()), float(starts[:, 0].max())
        boxes.append((max(0.0, left), float(y.min()), min(1.0, right), min(1.0, float(y.max()))))
        base = layers.oval(((left + right) / 2, dome), (0.16, 0.10)) < 1
        layers.add_haze(0.10 * (base & layers.side(side)).astype(np.float32))
    return boxes


def _pleural_thickening(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    geometry = layers.geometry
    boxes: list[Box] = []
    for side in site.sides:
        top, dome = geometry.lung_top(side), geometry.dome(side)
        apical = site.height < 0.45
        center = top if apical else top + (0.45 + 0.35 * site.along) * (dome - top)
        spread = 0.07 + 0.05 * severity if apical else 0.10 + 0.09 * severity
        wave = 1 + 0.25 * np.sin(70 * layers.y + 6 * site.shape[0]) * site.shape[1]
        width = (0.065 + 0.085 * severity) * np.exp(-(((layers.y - center) / spread) ** 2)) * wave
        band = np.clip((layers.outward - (1 - width)) * 45, 0, 1) * layers.side(side) * (width > 0.012)
        if apical:
            cap = 0.014 + 0.020 * severity
            band = np.maximum(band, np.clip((top + cap - layers.y) * 90, 0, 1) * layers.side(side))
        layers.add_haze((0.62 + 0.25 * severity) * band)
        boxes += layers.box((band > 0.5) & (layers.lung > 0.02) & (layers.outward < 1))
    return boxes


def _hernia(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    geometry = layers.geometry
    radius = 0.055 + 0.035 * severity
    y = min(geometry.dome(RIGHT), geometry.dome(LEFT)) - 0.01 - 0.02 * site.along
    x = float(geometry.midline[geometry.column(y)]) + 0.045 + 0.04 * (site.shape[0] - 0.4)
    distance = ((geometry.x[None, :] - x) / (1.15 * radius)) ** 2 + ((geometry.y[:, None] - y) / radius) ** 2
    level = y - radius * (0.15 + 0.25 * site.shape[1])
    inside = np.clip((1 - distance) * 3, 0, 1)
    # Gas above, fluid below, and a wall around both.
    gas = inside * np.clip((level - geometry.y[:, None]) * 130, 0, 1)
    rim = np.exp(-(((distance - 0.97) * 7) ** 2))
    layers.density += (0.08 * inside - 0.20 * gas + 0.06 * rim).astype(np.float32)
    return [(x - 1.15 * radius, y - radius, x + 1.15 * radius, y + radius)]


_DRAW: dict[str, Callable[[Layers, Site, float, np.random.Generator], list[Box]]] = {
    "Atelectasis": _atelectasis,
    "Cardiomegaly": _cardiomegaly,
    "Effusion": _effusion,
    "Infiltration": _infiltration,
    "Mass": _mass,
    "Nodule": _nodule,
    "Pneumonia": _pneumonia,
    "Pneumothorax": _pneumothorax,
    "Consolidation": _consolidation,
    "Edema": _edema,
    "Emphysema": _emphysema,
    "Fibrosis": _fibrosis,
    "Pleural_Thickening": _pleural_thickening,
    "Hernia": _hernia,
}


def draw_findings(
    layers: Layers, severity: Mapping[str, float], sites: Mapping[str, Site], rng: np.random.Generator
) -> dict[str, list[Box]]:
    """Draws the findings of a film onto its layers.

    Args:
        layers: The film's layers, changed in place.
        severity: Severity, in (0, 1], of every finding present.
        sites: Where each sits.
        rng: The film's generator.

    Returns:
        The boxes of every finding, as fractions of the film.
    """
    return {finding: _DRAW[finding](layers, sites[finding], degree, rng) for finding, degree in severity.items()}
