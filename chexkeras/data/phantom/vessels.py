"""Lung vessels branching from the hila, trachea and main bronchi, gas in the stomach."""

import numpy as np
from numpy.typing import NDArray

from chexkeras.data.phantom.geometry import LEFT, RIGHT, Geometry
from chexkeras.phantoms.anatomy import Anatomy, Pose
from chexkeras.phantoms.canvas import Canvas

_TRUNKS = np.deg2rad([-86, -68, -47, -24, -2, 18, 36, 52, 66, 79])
_REACH = np.array([0.20, 0.20, 0.18, 0.16, 0.16, 0.18, 0.21, 0.24, 0.25, 0.23])


def _within_lung(geometry: Geometry, side: int, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns which points lie between the mediastinum and the chest wall, above the diaphragm."""
    last = geometry.size - 1
    rows = np.clip((points[:, 1] * geometry.size).astype(int), 0, last)
    columns = np.clip((points[:, 0] * geometry.size).astype(int), 0, last)
    distance = geometry.sign(side) * (points[:, 0] - geometry.midline[rows])
    inside = (distance > 0.9 * geometry.border[side][rows]) & (distance < geometry.wall[side][rows])
    return inside & (points[:, 1] < geometry.diaphragm[columns] + 0.03)


def draw_vessels(canvas: Canvas, geometry: Geometry, anatomy: Anatomy) -> None:
    """Draws the vessel trees of both lungs: the same branches on every film of a patient.

    Args:
        canvas: Where to draw.
        geometry: The film's borders; the tree hangs on its hila.
        anatomy: The patient; its vessel seed decides the branches.
    """
    rng = np.random.default_rng(anatomy.vessels)
    for side in (RIGHT, LEFT):
        sign = geometry.sign(side)
        hilum = np.array(geometry.hila[side])
        angle = _TRUNKS + 0.16 * rng.standard_normal(len(_TRUNKS))
        length = 0.42 * _REACH * np.clip(1 + 0.30 * rng.standard_normal(len(_TRUNKS)), 0.4, 1.7)
        # Trunks leave the hilum one below the other, not from a single point.
        start = hilum + np.stack([np.full(len(angle), 0.004 * sign), 0.055 * (np.sin(angle) + 0.2)], 1)
        generations = []
        for generation in range(5):
            bend = 0.34 * rng.standard_normal(len(angle))
            middle = start + 0.5 * length[:, None] * np.stack([sign * np.cos(angle), np.sin(angle)], 1)
            end = middle + 0.5 * length[:, None] * np.stack([sign * np.cos(angle + bend), np.sin(angle + bend)], 1)
            branches = np.stack([start, middle, end], 1)
            generations.append(branches[_within_lung(geometry, side, end)])
            spread = (0.24 + 0.05 * generation) * (1 + 0.3 * rng.standard_normal(len(angle)))
            angle = np.concatenate([angle + bend + spread, angle + bend - 0.8 * spread])
            length = np.concatenate([length, length]) * np.clip(
                0.74 + 0.24 * rng.standard_normal(2 * len(length)), 0.25, 1.3
            )
            start = np.concatenate([end, end])
        widths, levels = (0.0105, 0.0075, 0.0052, 0.0036, 0.0025), (0.62, 0.60, 0.56, 0.48, 0.36)
        for tree, width, level in reversed(list(zip(generations, widths, levels, strict=True))):
            canvas.lines(tree, width, level)
        # The pulmonary artery fills the hilum.
        for step, radius in ((0.0, 0.021), (0.028, 0.019), (0.055, 0.014)):
            center = (float(hilum[0] + sign * (0.004 + 0.15 * step)), float(hilum[1] + step - 0.008))
            canvas.ellipse(center, (radius * 0.8, radius), 0.55)


def draw_airways(canvas: Canvas, geometry: Geometry, anatomy: Anatomy, pose: Pose) -> None:
    """Draws what holds air outside the lungs; the canvas is subtracted from the film."""
    carina = anatomy.apex + 0.235 - 0.5 * pose.lift
    row = geometry.column(carina)
    middle = float(geometry.midline[row]) - 0.004 + 0.5 * pose.shift
    top = float(geometry.midline[0])
    canvas.line([(top, 0.0), (middle, carina)], 0.036, 0.85)
    canvas.line([(middle, carina - 0.012), (middle - 0.075, carina + 0.065)], 0.022, 0.50)
    canvas.line([(middle, carina - 0.012), (middle + 0.085, carina + 0.055)], 0.019, 0.46)
    x, radius, gain = anatomy.gas
    # Gas rises to the vault of the stomach, right under the diaphragm; a little more lies in the bowel.
    vault = float(geometry.diaphragm[geometry.column(x) : geometry.column(x + radius) + 1].max()) + 0.040
    canvas.ellipse((x + 0.3 * radius, vault), (radius, 0.026), 1.0 * gain)
    canvas.ellipse((x + 0.2 * radius, vault + 0.012), (radius * 0.7, 0.022), 0.9 * gain)
    rng = np.random.default_rng([anatomy.vessels, 2])
    for _ in range(rng.integers(0, 6)):
        center = (x + 0.10 * rng.standard_normal(), vault + 0.07 + 0.12 * rng.random())
        canvas.ellipse(
            center, (0.012 + 0.02 * rng.random(), 0.009 + 0.012 * rng.random()), (0.3 + 0.4 * rng.random()) * gain
        )
