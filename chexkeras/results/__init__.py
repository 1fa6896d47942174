"""What evaluation hands on: numbers that carry their interval, thresholds that carry their rule, and their JSON."""

from chexkeras.results.comparison import Comparison
from chexkeras.results.cross_validation.cross_validated import (
    CrossValidated,
    CrossValidatedFinding,
    FoldResult,
    FoldSpread,
)
from chexkeras.results.cross_validation.fold_comparison import FoldComparison
from chexkeras.results.estimate import AbstainBand, Estimate, OperatingPoint
from chexkeras.results.evaluation import (
    Calibration,
    Deployment,
    Evaluation,
    FindingEvaluation,
    Interaction,
    ReliabilityBin,
    SelectivePrediction,
    Subgroup,
    SubgroupAnalysis,
)
from chexkeras.results.external import ExternalFinding, ExternalTest, LocalAdjustment, SiteShortcut
from chexkeras.results.gaps import (
    EqualizedOdds,
    GroupAgainstRest,
    GroupRates,
    GroupValue,
    SubgroupGaps,
    SubgroupNonInferiority,
)
from chexkeras.results.heatmaps import (
    AgainstBaseline,
    BoxAgreement,
    HeatmapStudy,
    Localization,
    MapChecks,
    RandomisedLevel,
)
from chexkeras.results.novelty import ChangedImages, Likeness, Mistake, Novelty
from chexkeras.results.operating_region import PartialArea, PartialAreaDifference, RateAtTarget
from chexkeras.results.reader_components import ReaderVarianceComponents
from chexkeras.results.reader_study import (
    ModalityDifference,
    ModalityMean,
    MrmcResult,
    OverallTest,
    ReaderDifference,
    ReaderFigure,
    VarianceComponents,
)
from chexkeras.results.reference import AgainstReaders, FindingAgainstReaders, FindingLabelQuality, LabelQuality
from chexkeras.results.resolution import SourceResolution
from chexkeras.results.robustness import PerturbationEffect, Robustness
from chexkeras.results.shortcuts import AgainstShortcut, ShortcutStudy, ThumbnailShortcut

__all__ = [
    "AbstainBand",
    "AgainstBaseline",
    "AgainstReaders",
    "AgainstShortcut",
    "BoxAgreement",
    "Calibration",
    "ChangedImages",
    "Comparison",
    "CrossValidated",
    "CrossValidatedFinding",
    "Deployment",
    "EqualizedOdds",
    "Estimate",
    "Evaluation",
    "ExternalFinding",
    "ExternalTest",
    "FindingAgainstReaders",
    "FindingEvaluation",
    "FindingLabelQuality",
    "FoldComparison",
    "FoldResult",
    "FoldSpread",
    "GroupAgainstRest",
    "GroupRates",
    "GroupValue",
    "HeatmapStudy",
    "Interaction",
    "LabelQuality",
    "Likeness",
    "LocalAdjustment",
    "Localization",
    "MapChecks",
    "Mistake",
    "ModalityDifference",
    "ModalityMean",
    "MrmcResult",
    "Novelty",
    "OperatingPoint",
    "OverallTest",
    "PartialArea",
    "PartialAreaDifference",
    "PerturbationEffect",
    "RandomisedLevel",
    "RateAtTarget",
    "ReaderDifference",
    "ReaderFigure",
    "ReaderVarianceComponents",
    "ReliabilityBin",
    "Robustness",
    "SelectivePrediction",
    "ShortcutStudy",
    "SiteShortcut",
    "SourceResolution",
    "Subgroup",
    "SubgroupAnalysis",
    "SubgroupGaps",
    "SubgroupNonInferiority",
    "ThumbnailShortcut",
    "VarianceComponents",
]
