"""Findings around the lung: heart, pleura and diaphragm.

Each function draws one finding at its site and returns its boxes.
"""

import numpy as np

from chexkeras.data.phantom.geometry import LEFT, RIGHT, Field
from chexkeras.data.phantom.layers import Box, Layers, Site


def cardiomegaly(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
    """Nothing more to draw: the pose has widened the heart."""
    return [layers.geometry.heart]


def effusion(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
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


def pneumothorax(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
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


def pleural_thickening(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
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


def hernia(layers: Layers, site: Site, severity: float, rng: np.random.Generator) -> list[Box]:
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
