"""The 14 findings: which shapes they change, who draws them, and the boxes around them.

A finding may change shapes before the image is drawn (`reshape`), and then adds opacities, lucencies and lines to the
layers (`draw_findings`). Which side and which lobe belong to the patient, so a finding stays where it was; its
extent follows the severity of the image.

Each of the functions below draws one finding: on an image's `layers`, at its `site`, as far as its `severity` in (0, 1]
goes, with what is random drawn from `rng`. It returns the finding's boxes, fractions of the image. Findings of the lung
itself come first, those of heart, pleura and diaphragm after them.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from chexkeras.phantoms.anatomy import FIELD, LEFT, RIGHT, Field, Pose
from chexkeras.phantoms.canvas import Box, Canvas, Layers, Site, clouds, within_lung


def _atelectasis(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """Plate-like bands in the lower lung; when severe, a dense base that lost its volume."""
    geometry = layers.geometry
    degree = 0.35 + 0.65 * severity
    x, y = within_lung(geometry, site.side, 0.25 + 0.4 * site.along, 0.72 + 0.25 * site.height)
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
    return layers.box((total > 0.18) & (layers.lung > 0.04))


def _infiltration(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """One to three faint, ill-defined patches."""
    geometry = layers.geometry
    total = np.zeros_like(layers.haze)
    for order, side in enumerate(site.sides):
        for index in range(1 + round(1.5 * severity)):
            x, y = within_lung(geometry, side, site.shape[index], (site.height + 0.37 * index) % 1, 0.25, 0.95)
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
    """One lobulated ball above 30 mm."""
    # Above 30 mm: a plate is about 420 mm wide, so a diameter from 0.08 of it.
    radius = (0.041 + 0.038 * severity) / FIELD
    x, y = within_lung(layers.geometry, site.side, 0.15 + 0.6 * site.along, site.height, 0.2, 0.85)
    lobes = 0.05 * (np.array(site.shape[:3]) - 0.3)
    return [_nodule_at(layers, x, y, radius, 0.24 + 0.10 * severity, lobes)]


def _nodule(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """One or two round balls below 30 mm."""
    boxes = []
    for index in range(1 + (site.shape[0] > 0.75)):
        radius = (0.0135 + 0.017 * severity * (1 - 0.3 * index)) / FIELD
        side = site.side if index == 0 else 1 - site.side
        x, y = within_lung(layers.geometry, side, (site.along + 0.4 * index) % 1, (site.height + 0.3 * index) % 1)
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
    grown = 0.84 + 0.42 * severity
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
    """A lobe filled in patches, some bronchi still holding air; on both sides when severe."""
    boxes: list[Box] = []
    for order, side in enumerate(site.sides[: 1 + (severity > 0.5)]):
        place = Site(side, False, site.along, (site.height + 0.4 * order) % 1, site.shape)
        filled, center = _lobe(layers, place, severity * (1 - 0.5 * order))
        patchy = np.clip(0.92 + 0.24 * clouds(rng, 30, len(filled)), 0.3, 1.3)
        opacity = (0.54 + 0.34 * severity) * np.minimum(1.25 * filled, 1) * patchy
        opacity -= 0.18 * filled * _bronchogram(layers, layers.geometry.hila[side], center, site.shape[2])
        layers.add_haze(opacity)
        boxes += layers.box((filled > 0.5) & (layers.lung > 0.05))
    return boxes


def _consolidation(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """A dense lobe in which the bronchi stand out as dark branches."""
    filled, center = _lobe(layers, site, 0.15 + 0.55 * severity)
    opacity = (0.74 + 0.18 * severity) * np.minimum(1.5 * filled, 1)
    opacity -= 0.26 * filled * _bronchogram(layers, layers.geometry.hila[site.side], center, site.shape[2])
    layers.add_haze(opacity)
    return layers.box((filled > 0.35) & (layers.lung > 0.05))


def _edema(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """Bat wings around both hila and Kerley B lines above both costophrenic angles."""
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
    """Bullae; dark lungs, flat diaphragm and narrow heart come from the pose."""
    geometry = layers.geometry
    for index in range(round(3 * severity)):
        x, y = within_lung(
            geometry, index % 2, 0.5 + 0.5 * site.shape[index], 0.1 + 0.3 * site.shape[3 - index], 0.05, 0.9
        )
        bulla = layers.oval((x, y), (0.030 + 0.02 * severity, 0.036 + 0.02 * severity))
        layers.vessels *= 1 - 0.9 * (bulla < 1)
        layers.lucency += 0.035 * (bulla < 1)
    return layers.box(layers.lung > 0.12)


def _fibrosis(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """A net of fine lines at both bases, densest near the pleura."""
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


def _cardiomegaly(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """Nothing more to draw: the pose has widened the heart."""
    return [layers.geometry.heart]


def _effusion(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """Fluid that blunts the costophrenic angle and rises along the chest wall in a meniscus."""
    geometry = layers.geometry
    boxes: list[Box] = []
    for order, side in enumerate(site.sides):
        degree = severity * (1 - 0.35 * order)
        columns = layers.side(side)
        wall_level = geometry.angle(side) - (0.10 + 0.25 * degree + 0.01 * float(rng.standard_normal()))
        # The meniscus: highest at the chest wall, sagging inwards, climbing again towards the heart when large.
        share = np.minimum(layers.outward, 1)
        sag = (0.075 + 0.03 * site.shape[0]) * (1 - share) ** 0.7 * 1.6
        surface = wall_level + sag - 0.05 * degree * (1 - share) ** 4
        fluid = np.clip((layers.y - surface) * (1 / 0.035), 0, 1) * columns
        layers.add_haze(0.97 * fluid)
        layers.lucency -= 0.05 * fluid
        boxes += layers.box((fluid > 0.4) & (layers.lung > 0.03))
    return boxes


def _pneumothorax(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """Dark air without vessels around a lung whose visceral pleura shows as a thin line."""
    geometry, side = layers.geometry, site.side
    top, angle = geometry.lung_top(side), geometry.angle(side)
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


def _pleural_thickening(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """A dense band along the chest wall, or a cap over the apex."""
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
        boxes += layers.box((band > 0.3) & (layers.lung > 0.01) & (layers.outward < 1))
    return boxes


def _hernia(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """A round shadow behind the heart with gas above a level of fluid."""
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


def reshape(pose: Pose, severity: Mapping[str, float], sites: Mapping[str, Site]) -> None:
    """Changes the shapes that findings change: loss of volume raises the diaphragm and draws the mediastinum over.

    Args:
        pose: The image, changed in place.
        severity: Severity, in (0, 1], of every finding present.
        sites: Where each sits.
    """
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
    """Draws the findings of an image onto its layers.

    Args:
        layers: The image's layers, changed in place.
        severity: Severity, in (0, 1], of every finding present.
        sites: Where each sits.
        rng: The image's generator.

    Returns:
        The boxes of every finding, as fractions of the image.
    """
    return {finding: _DRAW[finding](layers, sites[finding], degree, rng) for finding, degree in severity.items()}
