"""Ribs, spine, clavicles, shoulder blades and arms."""

import numpy as np

from chexkeras.data.phantom.geometry import LEFT, RIGHT, Field, Geometry
from chexkeras.phantoms.anatomy import Anatomy, Pose
from chexkeras.phantoms.canvas import Canvas

_STEPS = 128


def _rib_profile(width: float, edge: float) -> Field:
    """Returns the density across one rib spacing: a tube whose cortex shows as two brighter lines."""
    position = (np.arange(_STEPS) + 0.5) / _STEPS - 0.5
    across = np.abs(position) / (width / 2)
    inside = 1 / (1 + np.exp((across - 1) * 14))
    cortex = np.exp(-(((across - 0.86) / 0.16) ** 2))
    return (inside * 0.60 + edge * cortex).astype(np.float32)


_POSTERIOR, _ANTERIOR = _rib_profile(0.37, 0.55), _rib_profile(0.42, 0.45)


def rib_field(geometry: Geometry, anatomy: Anatomy, pose: Pose) -> Field:
    """Returns the density of the ribs.

    A rib is a band of constant phase: height divided by the rib spacing, bent by the way to the chest wall. Posterior
    ribs fall outwards from the spine, anterior ribs fall inwards from the chest wall and end in invisible cartilage.

    Args:
        geometry: The film's borders and fields.
        anatomy: The patient.
        pose: The film.
    """
    u = geometry.outward
    spacing = anatomy.rib_spacing * (1.0 - 0.35 * pose.lift)
    # Spacing widens downwards; a lung full of air spreads the ribs flat.
    height = (geometry.y - anatomy.apex) / spacing
    height = (height - 0.010 * height**2 + anatomy.rib_phase + 8).astype(np.float32)
    slope = np.float32(anatomy.rib_slope * (1 - 0.25 * pose.flatness) * (0.85 if pose.ap else 1.0))
    inner = np.minimum(u, 1.06)
    squared = inner * inner
    posterior = height[:, None] - slope * squared * (0.35 + 0.65 * squared) + np.float32(0.35) * inner
    anterior = height[:, None] + np.float32(2.1) * (1 - inner) - slope - np.float32(0.45)
    last = np.interp(geometry.y, [0.0, 0.68, 0.86], [1.0, 0.95, 0.15]).astype(np.float32)[:, None]
    caged = (u < 1.055).astype(np.float32) * last
    back = _POSTERIOR[(posterior * _STEPS).astype(np.int32) & (_STEPS - 1)]
    back *= np.minimum(inner * 2.5, 1)
    front = _ANTERIOR[(anterior * _STEPS).astype(np.int32) & (_STEPS - 1)]
    front *= np.clip((inner - 0.42) * 3.0, 0, 0.9)
    back += front
    back *= caged * (1 - 0.55 * geometry.mediastinal)
    # Seen edge on along the chest wall, ribs and muscle form a bright rim.
    rim = np.clip(1 - np.abs(u - 1.02) * 16, 0, 1)
    return np.float32(anatomy.rib_density) * (back + 0.34 * rim * last)


def spine_field(density: Field, geometry: Geometry, anatomy: Anatomy) -> None:
    """Adds the vertebral column to a density field in place: bodies, discs between them, pedicles."""
    width = 0.042
    left = geometry.column(float(geometry.midline.min()) - 1.6 * width)
    right = geometry.column(float(geometry.midline.max()) + 1.6 * width) + 1
    across = geometry.distance[:, left:right] / width
    column = np.clip((1.15 - across) * 3.2, 0, 1)
    phase = (geometry.y / (anatomy.rib_spacing * 0.98) + anatomy.rib_phase) % 1
    disc = 1 - 0.45 * np.exp(-(((phase - 0.5) / 0.13) ** 2))
    pedicle_rows = np.exp(-(((phase - 0.02) / 0.11) ** 2)) + np.exp(-(((phase - 1.02) / 0.11) ** 2))
    pedicles = np.exp(-(((across - 0.62) / 0.17) ** 2)) * pedicle_rows[:, None]
    visible = np.interp(geometry.y, [0, 0.3, 0.6, 1.0], [1.1, 0.9, 0.7, 0.8])[:, None]
    spine = (0.050 * column * disc[:, None] + 0.035 * pedicles + 0.015 * column) * visible
    density[:, left:right] += spine.astype(np.float32)


def draw_bones(canvas: Canvas, geometry: Geometry, anatomy: Anatomy, pose: Pose) -> None:
    """Draws clavicles, shoulder blades and upper arms, cortex brighter than marrow."""
    scale = pose.scale
    drop = 0.012 if pose.ap else 0.0
    for side in (RIGHT, LEFT):
        sign = geometry.sign(side)
        level, rise = anatomy.clavicle
        if pose.ap:
            level, rise = level - 0.012, rise + 0.008
        start = float(geometry.midline[geometry.column(level)])
        shoulder = start + sign * 0.395 * scale
        # Shoulder blade: over the lung on AP films, turned outwards on PA films.
        inner = start + sign * (0.27 if pose.ap else 0.355) * scale
        tip = (inner + sign * 0.035, 0.46 + drop)
        blade = [
            (shoulder - sign * 0.01, 0.155 + drop),
            (inner - sign * 0.005, 0.20 + drop),
            (inner, 0.30 + drop),
            tip,
            (tip[0] + sign * 0.028, 0.43 + drop),
            (shoulder - sign * 0.005, 0.25 + drop),
        ]
        canvas.polygon(blade, 0.20)
        canvas.line([*blade[1:], blade[0]], 0.0065, 0.46)
        # Humerus, hanging beside the chest.
        head = (shoulder + sign * 0.035, 0.185 + drop)
        elbow = (shoulder + sign * (0.075 if pose.ap else 0.26), 1.05 if pose.ap else 0.72)
        canvas.line([head, elbow], 0.048, 0.50)
        canvas.line([head, elbow], 0.030, 0.36)
        canvas.ellipse(head, (0.043, 0.046), 0.48)
        canvas.ellipse(head, (0.037, 0.040), 0.40)
        end = (shoulder - sign * 0.008, level - rise)
        bent = np.linspace(0, 1, 12)
        x = start + sign * 0.030 + (end[0] - start - sign * 0.030) * bent
        y = level + (end[1] - level) * bent + 0.011 * np.sin(2 * np.pi * bent) * (0.6 if pose.ap else 1.0)
        path = list(zip(x.tolist(), y.tolist(), strict=True))
        canvas.line(path, 0.0290, 0.68)
        canvas.line(path, 0.0175, 0.46)
        canvas.ellipse(path[0], (0.0165, 0.0150), 0.52)
        canvas.line([(end[0] - sign * 0.01, end[1]), (end[0] + sign * 0.04, end[1] + 0.02)], 0.024, 0.55)
