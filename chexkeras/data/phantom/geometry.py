"""From anatomy and pose to curves, and from curves to the fields every layer of a film is drawn with.

A border is a function of y (chest wall, heart) or of x (diaphragm), so a film costs a few passes over its pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chexkeras.phantoms.anatomy import Anatomy, Pose

Field = NDArray[np.float32]
RIGHT, LEFT = 0, 1


@dataclass
class Geometry:
    """Borders of one film, and the fields that follow from them.

    Attributes:
        size: Pixels a side.
        x: Column positions, shape (size,).
        y: Row positions, shape (size,).
        midline: x of the spine per row.
        wall: Distance of the inner chest wall from the midline per row, right and left.
        border: Distance of the heart and mediastinal border from the midline per row, right and left.
        diaphragm: Height of the diaphragm per column.
        heart: (left, top, right, bottom) of the heart shadow.
        hila: (x, y) of the right and the left hilum.
        distance: |x - midline| per pixel.
        right: Whether a pixel lies on the patient's right side.
        outward: distance / wall per pixel: 0 on the midline, 1 on the chest wall.
        lung: Thickness of aerated lung per pixel, 0 to 1.
        mediastinal: Share of the beam taken by heart and mediastinum, 0 to 1.
    """

    size: int
    x: Field
    y: Field
    midline: Field
    wall: tuple[Field, Field]
    border: tuple[Field, Field]
    diaphragm: Field
    heart: tuple[float, float, float, float]
    hila: tuple[tuple[float, float], tuple[float, float]]
    distance: Field
    right: NDArray[np.bool_]
    outward: Field
    lung: Field
    mediastinal: Field

    def column(self, x: float) -> int:
        """Returns the index of the column at x, within the film."""
        return int(np.clip(x * self.size, 0, self.size - 1))

    def sign(self, side: int) -> int:
        """Returns -1 for the patient's right (viewer's left) and +1 for the left."""
        return -1 if side == RIGHT else 1

    def place(self, side: int, outward: float, y: float) -> tuple[float, float]:
        """Returns (x, y) of a point given by side, share of the way to the chest wall, and height."""
        row = self.column(y)
        distance = outward * float(self.wall[side][row])
        return float(self.midline[row]) + self.sign(side) * distance, y

    def lung_top(self, side: int) -> float:
        """Returns the height of the lung apex."""
        rows = np.flatnonzero(self.wall[side] > self.border[side])
        return float(self.y[rows[0]]) if len(rows) else 0.2

    def dome(self, side: int) -> float:
        """Returns the height of the diaphragm's dome."""
        columns = self.x < self.midline[-1] if side == RIGHT else self.x > self.midline[-1]
        return float(self.diaphragm[columns].min())

    def angle(self, side: int) -> float:
        """Returns the height of the costophrenic angle: where the diaphragm meets the chest wall."""
        widest = float(self.wall[side].max())
        return float(self.diaphragm[self.column(float(self.midline[-1]) + self.sign(side) * widest)])


def smoothed(values: Any, width: int) -> Field:
    """Returns a curve averaged over `width` neighbours; its ends are continued flat."""
    if width < 2:
        return np.asarray(values, np.float32)
    padded = np.pad(np.asarray(values, np.float32), (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.full(width, 1 / width, np.float32), mode="valid").astype(np.float32)


def _bump(y: Field, center: float, spread: float) -> Field:
    return np.exp(-(((y - center) / spread) ** 2)).astype(np.float32)


def _soft_maximum(a: Field, b: Field) -> Field:
    """Returns the larger of two curves, without a corner where they cross."""
    return (0.5 * (a + b + np.sqrt((a - b) ** 2 + 0.0004))).astype(np.float32)


def _wall(y: Field, anatomy: Anatomy, pose: Pose, side: int) -> Field:
    top = anatomy.apex + (0.006 if side == RIGHT else 0.0)
    depth = np.clip((y - top) / (pose.angles[side] - top), 0, 1.25)
    rise = (1 - np.clip(1 - depth, 0, 1) ** anatomy.cage_power) ** 0.5
    narrowing = 1 - 0.05 * np.clip(depth - 0.8, 0, 1) ** 2 / 0.04
    return (anatomy.chest_half_width * pose.scale * rise * narrowing).astype(np.float32)


def _borders(y: Field, anatomy: Anatomy, pose: Pose, widest: float) -> tuple[Field, Field, float, float]:
    """Returns the right and left borders of mediastinum and heart, and the heart's top and bottom."""
    bottom = max(pose.domes) + 0.062
    top = bottom - 0.40 - 0.12 * (pose.ratio - 0.42)
    total = pose.ratio * 2 * widest
    left, right = total * anatomy.heart_tilt, total * (1 - anatomy.heart_tilt)
    position = np.clip((y - top) / (bottom - top), 0, 1.3)
    # The left ventricle is widest low, the right atrium in the middle; both end under the diaphragm.
    ventricle = np.where(
        position < 0.84,
        np.sin(np.pi / 2 * np.clip(position / 0.84, 0, 1)) ** 1.55,
        np.sqrt(np.clip(1 - ((position - 0.84) / 0.24) ** 2, 0, 1)),
    )
    atrium = np.clip(1 - ((position - 0.70) / 0.55) ** 2, 0, 1) ** 0.8
    upper = pose.mediastinum
    # Neck vessels spread above the arch: this also rounds off the apices of the lungs.
    opening = 0.085 * np.exp(-np.clip(y - anatomy.apex, 0, None) / 0.028)
    base = upper + opening + 0.006 * _bump(y, 0.2, 0.1)
    arch = anatomy.apex + 0.20 - 0.3 * pose.lift
    side_left = np.maximum(base * 0.98 + anatomy.knob * 1.3 * _bump(y, arch, 0.036), 0.0)
    side_left = side_left + (0.012 + 0.02 * max(0.0, pose.ratio - 0.4)) * _bump(y, arch + 0.085, 0.035)
    side_right = base * 0.92 + 0.007 * _bump(y, arch + 0.05, 0.08)
    border_left = _soft_maximum(side_left, left * ventricle) - 0.004
    border_right = _soft_maximum(side_right, right * atrium) - 0.004
    return border_right.astype(np.float32), border_left.astype(np.float32), top, bottom


def _diaphragm(x: Field, anatomy: Anatomy, pose: Pose, walls: tuple[float, float], middle: float) -> Field:
    height = np.empty_like(x)
    tendon = max(pose.domes) + 0.016 - 0.012 * pose.flatness
    for side in (RIGHT, LEFT):
        chosen = x < middle if side == RIGHT else x >= middle
        share = np.abs(x[chosen] - middle) / walls[side]
        peak = 0.50 if side == RIGHT else 0.54
        outer = np.clip((share - peak) / (1 - peak), 0, 1.3)
        inner = np.clip((peak - share) / peak, 0, 1)
        drop = pose.angles[side] - pose.domes[side]
        curve = drop * (1 - pose.flatness * 0.35) * outer ** (2.6 - 0.8 * pose.flatness)
        # Both domes meet in the central tendon, hidden by the heart.
        height[chosen] = pose.domes[side] + curve + (tendon - pose.domes[side]) * inner**1.8
    return height


def build_geometry(size: int, anatomy: Anatomy, pose: Pose) -> Geometry:
    """Returns borders and fields of a film.

    Args:
        size: Pixels a side.
        anatomy: The patient.
        pose: The film, already changed by the findings that change shapes.
    """
    x = ((np.arange(size) + 0.5) / size).astype(np.float32)
    y = x.copy()
    lean = pose.center[0] + pose.center[1] * (y - 0.5) + pose.center[2] * np.sin(5 * y)
    midline: Field = lean.astype(np.float32)
    walls = (_wall(y, anatomy, pose, RIGHT), _wall(y, anatomy, pose, LEFT))
    widest = float(max(walls[0].max(), walls[1].max()))
    border_right, border_left, top, bottom = _borders(y, anatomy, pose, widest)
    if pose.shift:
        # A shifted mediastinum moves both borders the same way; the spine stays.
        border_right = np.maximum(border_right - pose.shift, 0.012)
        border_left = np.maximum(border_left + pose.shift, 0.012)
    row = int(np.clip((pose.angles[0] - 0.02) * size, 0, size - 1))
    middle = float(midline[row])
    diaphragm = _diaphragm(x, anatomy, pose, (float(walls[0][row]), float(walls[1][row])), middle)

    offset = x[None, :] - midline[:, None]
    right = offset < 0
    distance = np.abs(offset)
    wall = np.where(right, walls[0][:, None], walls[1][:, None])
    border = np.where(right, border_right[:, None], border_left[:, None])
    outward: Field = distance / np.maximum(wall, 1e-3).astype(np.float32)
    squared = np.minimum(outward, 1) ** 2
    thickness = np.sqrt(1 - squared * squared)
    share = np.minimum(distance / border, 1)
    mediastinal = np.sqrt(1 - share * share)
    below = np.clip((y[:, None] - diaphragm[None, :]) * (1 / 0.10), 0, 1)
    # The chest is shallow at the apices and deep at the bases.
    deep = np.interp(y, [0.08, 0.16, 0.28, 0.45, 0.75], [0.66, 0.78, 0.90, 1.0, 1.06]).astype(np.float32)
    below = np.sqrt(below)
    lung = thickness * (1 - np.minimum(1.15 * mediastinal, 1)) * (1 - below) * deep[:, None]
    # Under the diaphragm the heart's outline is lost in the liver and the spleen.
    mediastinal = np.maximum(mediastinal, below * thickness)

    heart_rows = (y > top + 0.02) & (y < max(pose.domes))
    heart = (
        middle - float(border_right[heart_rows].max()),
        top + 0.03,
        middle + float(border_left[heart_rows].max()),
        bottom - 0.03,
    )
    hilum = anatomy.apex + 0.315 - 0.5 * pose.lift
    hilum_row = int(np.clip(hilum * size, 0, size - 1))
    center = float(midline[hilum_row])
    hila = (
        (center - float(border_right[hilum_row]) - 0.012, hilum),
        (center + float(border_left[hilum_row]) + 0.006, hilum - 0.018),
    )
    return Geometry(
        size=size,
        x=x,
        y=y,
        midline=midline,
        wall=walls,
        border=(border_right, border_left),
        diaphragm=diaphragm,
        heart=heart,
        hila=hila,
        distance=distance,
        right=right,
        outward=outward,
        lung=lung,
        mediastinal=mediastinal,
    )
