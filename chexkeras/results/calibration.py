"""How far scores can be read as probabilities."""

from dataclasses import asdict, dataclass
from typing import Any

from chexkeras.results.estimate import Estimate


@dataclass(frozen=True)
class ReliabilityBin:
    """One group of images with neighbouring scores.

    Attributes:
        low: Smallest score in it.
        high: Largest score in it.
        n_images: How many images.
        n_positive: How many of them are positive.
        mean_score: What the model said on average.
        observed: The share of positives, what happened.
    """

    low: float
    high: float
    n_images: int
    n_positive: int
    mean_score: float
    observed: Estimate


@dataclass(frozen=True)
class Calibration:
    """How well scores agree with observed shares, for one finding on one split.

    Attributes:
        n_images: Images with a known label.
        n_positive: Positives among them.
        intercept: Calibration in the large: the shift of the log odds that the scores lack; 0 is perfect.
        slope: Of the log odds; 1 is perfect, below 1 the scores are too extreme.
        brier: Mean squared difference of score and label; 0 is perfect.
        reliability: Of the binned scores: squared distance to the observed shares, 0 is perfect.
        resolution: Of the binned scores: how far the bins' shares lie from the prevalence, larger is better.
        uncertainty: prevalence x (1 - prevalence), what no model can change.
        expected_calibration_error: Mean absolute distance of score and observed share over bins of equal size.
        bins: The reliability table.
        scores: Which scores were measured: "as the model gave them", or recalibrated and how.
    """

    n_images: int
    n_positive: int
    intercept: Estimate
    slope: Estimate
    brier: Estimate
    reliability: float
    resolution: float
    uncertainty: float
    expected_calibration_error: Estimate
    bins: tuple[ReliabilityBin, ...]
    scores: str = "as the model gave them"

    @property
    def skill(self) -> float:
        """The Brier skill score: 1 is perfect, 0 no better than always saying the prevalence."""
        return 1 - self.brier.value / self.uncertainty if self.uncertainty else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Calibration":
        """Rebuilds a calibration from `to_dict`; null numbers become NaN."""
        names = ("intercept", "slope", "brier", "expected_calibration_error")
        estimates = {name: Estimate.from_dict(data[name]) for name in names}
        numbers = {
            name: float("nan") if data[name] is None else data[name]
            for name in ("reliability", "resolution", "uncertainty")
        }
        bins = tuple(ReliabilityBin(**{**row, "observed": Estimate.from_dict(row["observed"])}) for row in data["bins"])
        return cls(**{**data, **estimates, **numbers, "bins": bins})
