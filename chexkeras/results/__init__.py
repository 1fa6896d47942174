"""What evaluation hands on: numbers that carry their interval, thresholds that carry their rule, and their JSON."""

from chexkeras.results.calibration import Calibration, ReliabilityBin
from chexkeras.results.comparison import Comparison
from chexkeras.results.deployment import Deployment
from chexkeras.results.estimate import Estimate
from chexkeras.results.evaluation import Evaluation
from chexkeras.results.finding import FindingEvaluation
from chexkeras.results.operating_point import OperatingPoint
from chexkeras.results.robustness import PerturbationEffect, Robustness
from chexkeras.results.subgroups import Interaction, Subgroup, SubgroupAnalysis

__all__ = [
    "Calibration",
    "Comparison",
    "Deployment",
    "Estimate",
    "Evaluation",
    "FindingEvaluation",
    "Interaction",
    "OperatingPoint",
    "PerturbationEffect",
    "ReliabilityBin",
    "Robustness",
    "Subgroup",
    "SubgroupAnalysis",
]
