"""The body of a synthetic patient, how it lies on one image, and the curves and fields that follow.

Lengths are fractions of the exposed field's width (about 31 cm); x runs from the viewer's left, y from the top. The
field lies somewhere on the plate, whose width is that of the image (about 42 cm). The patient's right side is on the
viewer's left. A border is a function of y (chest wall, heart) or of x (diaphragm), so an image
costs a few passes over its pixels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIELD = 0.74
"""Width of the exposed field as a share of the plate's.

The rest of the plate is black, and where the field lies on it differs by almost a quarter of the plate from patient to
patient: what shows at a place of a thumbnail says little, while the heart beside the chest around it says all.
"""
_FIELD_SPREAD, _STANCE_SPREAD = 0.02, 0.015


@dataclass(frozen=True)
class Anatomy:
    """What a patient's images share.

    Attributes:
        chest_half_width: Largest half width of the inner rib cage.
        apex: Height of the lung apices.
        domes: Heights of the right and the left diaphragm dome.
        angle: Height of the costophrenic angles.
        cage_power: How fast the rib cage widens below the apex.
        heart_size: Standard normal number; becomes the cardiothoracic ratio.
        heart_tilt: How much of the heart lies to the patient's left, 0 to 1.
        knob: Bulge of the aortic knob.
        mediastinum: Half width of the upper mediastinum.
        rib_spacing: Distance between ribs.
        rib_slope: How far, in rib spacings, posterior ribs fall from spine to chest wall.
        rib_phase: Where the first rib lies, in rib spacings.
        rib_density: How bright ribs are.
        clavicle: Height of the inner end of the clavicles and their rise to the outer end.
        lean: Sideways lean and curvature of the spine.
        girth: Half width of the trunk below the arms.
        stoutness: Thickness of soft tissue, 0 thin to 1 obese.
        breasts: Size of breast shadows, 0 where there are none.
        lung_air: How dark the lungs are.
        vessel_gain: How bright lung vessels are.
        gas: Position and size of the gastric bubble.
        vessels: Seed of the vessel tree and of the lung texture.
        exposure: Offset and contrast of the department's style.
        stance: Where the field lies on the plate, from left to right and from top to bottom, each from 0 to 1.
    """

    chest_half_width: float
    apex: float
    domes: tuple[float, float]
    angle: float
    cage_power: float
    heart_size: float
    heart_tilt: float
    knob: float
    mediastinum: float
    rib_spacing: float
    rib_slope: float
    rib_phase: float
    rib_density: float
    clavicle: tuple[float, float]
    lean: tuple[float, float]
    girth: float
    stoutness: float
    breasts: float
    lung_air: float
    vessel_gain: float
    gas: tuple[float, float, float]
    vessels: int
    exposure: tuple[float, float]
    stance: tuple[float, float]


def draw_anatomy(rng: np.random.Generator, sex: str, age_years: int) -> Anatomy:
    """Returns the anatomy of one patient.

    Args:
        rng: The patient's generator.
        sex: "M" or "F".
        age_years: Age at the first image.
    """
    # Python floats: NumPy 2 would let a NumPy float turn whole images into double precision.
    normal, uniform = rng.standard_normal(24).tolist(), rng.random(12).tolist()
    child = max(0.0, (16 - age_years) / 16)
    old = float(np.clip((age_years - 50) / 40, 0, 1))
    right_dome = 0.715 + 0.022 * normal[0]
    stoutness = float(np.clip(0.42 + 0.22 * normal[1], 0, 1))
    return Anatomy(
        chest_half_width=0.366 + 0.018 * normal[2] - 0.016 * (sex == "F") - 0.05 * child,
        apex=0.098 + 0.014 * normal[3] + 0.05 * child,
        domes=(right_dome, right_dome + 0.022 + 0.009 * normal[4]),
        angle=right_dome + 0.125 + 0.012 * normal[5],
        cage_power=2.8 + 0.25 * normal[6],
        heart_size=normal[7] + 0.4 * old,
        heart_tilt=float(np.clip(0.675 + 0.05 * normal[8], 0.58, 0.78)),
        knob=float(np.clip(0.018 + 0.006 * normal[9] + 0.012 * old - 0.008 * child, 0.004, 0.05)),
        mediastinum=0.054 + 0.005 * normal[10] + 0.008 * stoutness,
        rib_spacing=0.0690 + 0.0035 * normal[11] - 0.006 * child,
        rib_slope=1.75 + 0.28 * normal[12],
        rib_phase=uniform[0],
        rib_density=0.086 + 0.012 * normal[13] - 0.012 * old,
        clavicle=(0.198 + 0.010 * normal[14], 0.042 + 0.014 * normal[15]),
        lean=(0.012 * normal[16], 0.006 * normal[17]),
        girth=0.412 + 0.012 * normal[18] + 0.075 * stoutness - 0.03 * child,
        stoutness=stoutness,
        breasts=float(np.clip(0.6 + 0.3 * normal[19], 0.15, 1.2)) if sex == "F" and age_years > 12 else 0.0,
        lung_air=0.66 + 0.03 * normal[20] - 0.05 * stoutness,
        vessel_gain=float(np.clip(1.0 + 0.18 * normal[21], 0.6, 1.5)),
        gas=(0.64 + 0.06 * uniform[1], 0.055 + 0.03 * uniform[2], 0.5 + 0.5 * uniform[3]),
        vessels=int(rng.integers(2**31)),
        exposure=(0.028 * normal[22], float(np.clip(1.0 + 0.07 * normal[23], 0.8, 1.2))),
        stance=(float(rng.random()), float(rng.random())),
    )


@dataclass
class Pose:
    """How one image shows the anatomy; findings may still change it before it is drawn.

    Attributes:
        ap: Whether the view is AP.
        center: x of the midline, and its lean.
        lift: How much higher the diaphragm stands than on a full inspiration.
        scale: Magnification.
        ratio: Cardiothoracic ratio.
        mediastinum: Half width of the upper mediastinum.
        domes: Heights of the right and the left dome.
        angles: Heights of the right and the left costophrenic angle.
        flatness: 0 for round domes, 1 for a flat diaphragm.
        shift: Sideways displacement of heart and mediastinum.
        air: How dark the lungs are, right and left.
        vessel_gain: How bright vessels are.
        contrast: Contrast of the image.
        offset: Brightness of the image.
        noise: Standard deviation of the noise in grey levels.
        field: (left, top, width) of the exposed field, fractions of the plate; it is as high as wide.
    """

    ap: bool
    center: tuple[float, float, float]
    lift: float
    scale: float
    ratio: float
    mediastinum: float
    domes: list[float]
    angles: list[float]
    flatness: float
    shift: float
    air: list[float]
    vessel_gain: float
    contrast: float
    offset: float
    noise: float
    field: tuple[float, float, float]


def draw_pose(rng: np.random.Generator, anatomy: Anatomy, view: str, severity: Mapping[str, float]) -> Pose:
    """Returns how one image shows the patient.

    AP images are taken lying or sitting, with the tube near and the heart far from the plate: the heart is magnified,
    the mediastinum wide, the breath shallow and scattered radiation lowers the contrast.

    Args:
        rng: The image's generator.
        anatomy: The patient.
        view: "PA" or "AP".
        severity: Findings present; cardiomegaly and emphysema set the heart's size, emphysema the diaphragm.
    """
    normal, uniform = rng.standard_normal(12).tolist(), rng.random(4).tolist()
    ap = view == "AP"
    lift = 0.008 * abs(normal[0]) + (0.060 + 0.024 * normal[1] if ap else 0.0)
    # A logistic curve keeps every heart without cardiomegaly below a ratio of 0.5, whatever the normal number.
    size = 1 / (1 + math.exp(-(0.9 * anatomy.heart_size + 0.25 * normal[2])))
    ratio = 0.382 + 0.112 * size + (0.016 if ap else 0.0)
    if "Cardiomegaly" in severity:
        ratio = 0.501 + 0.13 * severity["Cardiomegaly"] + 0.015 * size + (0.012 if ap else 0.0)
    if "Edema" in severity and "Cardiomegaly" not in severity:
        ratio = min(0.492, ratio + 0.012)
    pose = Pose(
        ap=ap,
        center=(0.5 + 0.010 * normal[3], anatomy.lean[0] + 0.008 * normal[4], anatomy.lean[1]),
        lift=lift,
        scale=float(np.clip(1.0 + 0.018 * normal[5] + (0.02 if ap else 0.0), 0.93, 1.07)),
        ratio=float(ratio),
        mediastinum=anatomy.mediastinum * (1.22 if ap else 1.0),
        domes=[height - lift for height in anatomy.domes],
        angles=[anatomy.angle - 0.85 * lift] * 2,
        flatness=0.0,
        shift=0.0,
        air=[anatomy.lung_air - (0.07 if ap else 0.0) + 0.012 * normal[6]] * 2,
        vessel_gain=anatomy.vessel_gain * (1.12 if ap else 1.0),
        contrast=anatomy.exposure[1] * (0.86 if ap else 1.0) * float(np.clip(1 + 0.04 * normal[7], 0.85, 1.15)),
        offset=anatomy.exposure[0] + 0.02 * normal[8] + (0.015 if ap else 0.0),
        noise=1.6 + 1.2 * uniform[0] + (1.0 if ap else 0.0),
        # A generator of its own: what is drawn on the image does not depend on where it lies.
        field=_draw_field(rng.spawn(1)[0], anatomy),
    )
    if "Emphysema" in severity:
        degree = 0.4 + 0.6 * severity["Emphysema"]
        pose.flatness = 0.9 * degree
        pose.domes = [height + 0.055 * degree for height in pose.domes]
        pose.angles = [height + 0.030 * degree for height in pose.angles]
        pose.air = [air + 0.065 * degree for air in pose.air]
        pose.vessel_gain *= 1 - 0.45 * degree
        if "Cardiomegaly" not in severity:
            pose.ratio = float(pose.ratio * (1 - 0.16 * degree))
    return pose


def _draw_field(rng: np.random.Generator, anatomy: Anatomy) -> tuple[float, float, float]:
    """Returns where the exposed field lies: about where it did on the patient's other images."""
    numbers = rng.random(3)
    width = FIELD + _FIELD_SPREAD * (2 * numbers[0] - 1)
    left, top = (
        float(np.clip(place * (1 - width) + _STANCE_SPREAD * (2 * number - 1), 0, 1 - width))
        for place, number in zip(anatomy.stance, numbers[1:], strict=True)
    )
    return left, top, float(width)


Field = NDArray[np.float32]
RIGHT, LEFT = 0, 1


@dataclass
class Geometry:
    """Borders of one image, and the fields that follow from them.

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
        """Returns the index of the column at x, within the image.

        Args:
            x: Position from the left, a fraction of the image.
        """
        return int(np.clip(x * self.size, 0, self.size - 1))

    def sign(self, side: int) -> int:
        """Returns -1 for the patient's right (viewer's left) and +1 for the left.

        Args:
            side: RIGHT or LEFT.
        """
        return -1 if side == RIGHT else 1

    def place(self, side: int, outward: float, y: float) -> tuple[float, float]:
        """Returns (x, y) of a point given by side, share of the way to the chest wall, and height.

        Args:
            side: RIGHT or LEFT.
            outward: Share of the way from the midline to the chest wall.
            y: Height, a fraction of the image from its top.
        """
        row = self.column(y)
        distance = outward * float(self.wall[side][row])
        return float(self.midline[row]) + self.sign(side) * distance, y

    def lung_top(self, side: int) -> float:
        """Returns the height of the lung apex.

        Args:
            side: RIGHT or LEFT.
        """
        rows = np.flatnonzero(self.wall[side] > self.border[side])
        return float(self.y[rows[0]]) if len(rows) else 0.2

    def dome(self, side: int) -> float:
        """Returns the height of the diaphragm's dome.

        Args:
            side: RIGHT or LEFT.
        """
        columns = self.x < self.midline[-1] if side == RIGHT else self.x > self.midline[-1]
        return float(self.diaphragm[columns].min())

    def angle(self, side: int) -> float:
        """Returns the height of the costophrenic angle: where the diaphragm meets the chest wall.

        Args:
            side: RIGHT or LEFT.
        """
        widest = float(self.wall[side].max())
        return float(self.diaphragm[self.column(float(self.midline[-1]) + self.sign(side) * widest)])


def smoothed(values: Any, width: int) -> Field:
    """Returns a curve averaged over `width` neighbours; its ends are continued flat.

    Args:
        values: The curve, shape (n,).
        width: How many neighbours; below 2 nothing is averaged.
    """
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
    """Returns borders and fields of an image.

    Args:
        size: Pixels a side.
        anatomy: The patient.
        pose: The image, already changed by the findings that change shapes.
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
