"""How well one finding is recognised on one split."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from chexkeras.results.calibration import Calibration
from chexkeras.results.deployment import Deployment
from chexkeras.results.estimate import NOT_MEASURED, Estimate
from chexkeras.results.operating_point import OperatingPoint
from chexkeras.results.subgroups import SubgroupAnalysis


@dataclass(frozen=True)
class FindingEvaluation:
    """How well one finding is recognised on one split.

    Attributes:
        finding: The finding.
        n_images: Images with a known label.
        n_patients: Patients among them.
        n_positive: Images labelled positive.
        n_negative: Images labelled negative.
        prevalence: Share of positives.
        auroc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve, as average precision; compare with `prevalence`.
        operating_point: The frozen threshold, or None where none was chosen.
        true_positives: Count at the operating point, likewise the three below; None without one.
        sensitivity: At the operating point, likewise the eight below; not estimable without one.
        specificity: Share of negatives called negative.
        ppv: Positive predictive value among these images, whatever sampling made their prevalence.
        npv: Negative predictive value, likewise.
        likelihood_ratio_positive: sensitivity / (1 - specificity).
        likelihood_ratio_negative: (1 - sensitivity) / specificity.
        accuracy: Share of images called rightly.
        f1: Harmonic mean of PPV and sensitivity; it holds at this prevalence only.
        mcc: Matthews correlation coefficient, -1 to 1.
        deployment: What the threshold would mean at stated prevalences.
        calibration: How far the scores can be read as probabilities; None where that was not measured.
        subgroups: One entry for each column asked for.
    """

    finding: str
    n_images: int
    n_patients: int
    n_positive: int
    n_negative: int
    prevalence: Estimate
    auroc: Estimate
    average_precision: Estimate
    operating_point: OperatingPoint | None
    true_positives: int | None
    false_negatives: int | None
    false_positives: int | None
    true_negatives: int | None
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    likelihood_ratio_positive: Estimate = NOT_MEASURED
    likelihood_ratio_negative: Estimate = NOT_MEASURED
    accuracy: Estimate = NOT_MEASURED
    f1: Estimate = NOT_MEASURED
    mcc: Estimate = NOT_MEASURED
    deployment: tuple[Deployment, ...] = ()
    calibration: Calibration | None = None
    subgroups: tuple[SubgroupAnalysis, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "FindingEvaluation":
        """Rebuilds the evaluation from `to_dict`; what an older version did not measure stays unmeasured."""
        estimates = {
            field.name: Estimate.from_dict(data[field.name])
            for field in fields(cls)
            if field.type is Estimate and field.name in data
        }
        point, calibration = data["operating_point"], data.get("calibration")
        return cls(
            **{
                **data,
                **estimates,
                "operating_point": point and OperatingPoint.from_dict(point),
                "deployment": tuple(Deployment.from_dict(entry) for entry in data.get("deployment", ())),
                "calibration": calibration and Calibration.from_dict(calibration),
                "subgroups": tuple(SubgroupAnalysis.from_dict(entry) for entry in data.get("subgroups", ())),
            }
        )
