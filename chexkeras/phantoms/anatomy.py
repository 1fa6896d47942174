"""The body of a synthetic patient, and how it lies on one film.

Lengths are fractions of the film's width (about 42 cm); x runs from the viewer's left, y from the top. The patient's
right side is on the viewer's left.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Anatomy:
    """What a patient's films share.

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


def draw_anatomy(rng: np.random.Generator, sex: str, age_years: int) -> Anatomy:
    """Returns the anatomy of one patient.

    Args:
        rng: The patient's generator.
        sex: "M" or "F".
        age_years: Age at the first film.
    """
    # Python floats: NumPy 2 would let a NumPy float turn whole films into double precision.
    normal, uniform = rng.standard_normal(24).tolist(), rng.random(12).tolist()
    child = max(0.0, (16 - age_years) / 16)
    old = float(np.clip((age_years - 50) / 40, 0, 1))
    right_dome = 0.715 + 0.022 * normal[0]
    stoutness = float(np.clip(0.42 + 0.22 * normal[1], 0, 1))
    return Anatomy(
        chest_half_width=0.366 + 0.014 * normal[2] - 0.016 * (sex == "F") - 0.05 * child,
        apex=0.098 + 0.014 * normal[3] + 0.05 * child,
        domes=(right_dome, right_dome + 0.022 + 0.009 * normal[4]),
        angle=right_dome + 0.125 + 0.012 * normal[5],
        cage_power=2.8 + 0.25 * normal[6],
        heart_size=normal[7] + 0.4 * old,
        heart_tilt=float(np.clip(0.675 + 0.03 * normal[8], 0.6, 0.75)),
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
    )


@dataclass
class Pose:
    """How one film shows the anatomy; findings may still change it before it is drawn.

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
        contrast: Contrast of the film.
        offset: Brightness of the film.
        noise: Standard deviation of the noise in grey levels.
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


def draw_pose(rng: np.random.Generator, anatomy: Anatomy, view: str, severity: Mapping[str, float]) -> Pose:
    """Returns how one film shows the patient.

    AP films are taken lying or sitting, with the tube near and the heart far from the plate: the heart is magnified,
    the mediastinum wide, the breath shallow and scattered radiation lowers the contrast.

    Args:
        rng: The film's generator.
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
