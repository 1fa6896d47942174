"""The 14 findings: which shapes they change, who draws them, and the boxes around them.

A finding may change shapes before the film is drawn (`reshape`), and then adds opacities, lucencies and lines to the
layers (`draw_findings`). Which side and which lobe belong to the patient, so a finding stays where it was; its
extent follows the severity of the film.
"""

from collections.abc import Callable, Mapping

import numpy as np

from chexkeras.data.phantom.chest_findings import cardiomegaly, effusion, hernia, pleural_thickening, pneumothorax
from chexkeras.data.phantom.geometry import RIGHT
from chexkeras.data.phantom.layers import Box, Layers, Site
from chexkeras.data.phantom.lung_findings import (
    atelectasis,
    consolidation,
    edema,
    emphysema,
    fibrosis,
    infiltration,
    mass,
    nodule,
    pneumonia,
)
from chexkeras.phantoms.anatomy import Pose


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


_DRAW: dict[str, Callable[[Layers, Site, float, np.random.Generator], list[Box]]] = {
    "Atelectasis": atelectasis,
    "Cardiomegaly": cardiomegaly,
    "Effusion": effusion,
    "Infiltration": infiltration,
    "Mass": mass,
    "Nodule": nodule,
    "Pneumonia": pneumonia,
    "Pneumothorax": pneumothorax,
    "Consolidation": consolidation,
    "Edema": edema,
    "Emphysema": emphysema,
    "Fibrosis": fibrosis,
    "Pleural_Thickening": pleural_thickening,
    "Hernia": hernia,
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
