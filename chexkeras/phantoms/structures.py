"""What every patient has: ribs, spine, clavicles, shoulder blades and arms; vessels, airways and gas in the stomach."""

import numpy as np
from numpy.typing import NDArray

from chexkeras.phantoms.anatomy import LEFT, RIGHT, Anatomy, Field, Geometry, Pose
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
        geometry: The image's borders and fields.
        anatomy: The patient.
        pose: The image.
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
    """Adds the vertebral column to a density field in place: bodies, discs between them, pedicles.

    Args:
        density: The density field, changed in place.
        geometry: The image's borders and fields.
        anatomy: The patient.
    """
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
    """Draws clavicles, shoulder blades and upper arms, cortex brighter than marrow.

    Args:
        canvas: Where to draw.
        geometry: The image's borders and fields.
        anatomy: The patient.
        pose: The image.
    """
    scale = pose.scale
    drop = 0.012 if pose.ap else 0.0
    for side in (RIGHT, LEFT):
        sign = geometry.sign(side)
        level, rise = anatomy.clavicle
        if pose.ap:
            level, rise = level - 0.012, rise + 0.008
        start = float(geometry.midline[geometry.column(level)])
        shoulder = start + sign * 0.395 * scale
        # Shoulder blade: over the lung on AP images, turned outwards on PA images.
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
    """Draws the vessel trees of both lungs: the same branches on every image of a patient.

    Args:
        canvas: Where to draw.
        geometry: The image's borders; the tree hangs on its hila.
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
    """Draws what holds air outside the lungs; the canvas is subtracted from the image.

    Args:
        canvas: Where to draw.
        geometry: The image's borders and fields.
        anatomy: The patient.
        pose: The image.
    """
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
