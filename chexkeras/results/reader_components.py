"""What makes the accuracies of several readers vary: the variance components of Obuchowski and Rockette's model."""

import math
from dataclasses import dataclass
from typing import Protocol

from chexkeras.arguments import checked
from chexkeras.checks import came
from chexkeras.results.record import Record


class _Components(Protocol):
    """What the analysis of a reader study says its figures vary by."""

    @property
    def reader(self) -> float: ...
    @property
    def modality_reader(self) -> float: ...
    @property
    def error(self) -> float: ...
    @property
    def cov1(self) -> float: ...
    @property
    def cov2(self) -> float: ...
    @property
    def cov3(self) -> float: ...


class _Pilot(Protocol):
    """A reader study that was analysed: its components, and the patients they belong to."""

    @property
    def components(self) -> _Components: ...
    @property
    def n_patients(self) -> int: ...


@checked
@dataclass(frozen=True)
class ReaderVarianceComponents(Record, nan=("treatment_reader", "error", "cov1", "cov2", "cov3")):
    """Variance components of a figure of merit that every reader has in every modality, on the same cases.

    The model of the estimated figure of reader j in modality i is ``mean + modality_i + reader_j + (modality x
    reader)_ij + error_ij``. Readers differ, which more readers make up for; errors come from the cases, which more
    cases make up for, and errors of figures from the same cases are correlated. A multi-reader study estimates the
    components, and the next study is planned with them.

    Attributes:
        treatment_reader: Variance of the interaction of modality and reader, in squared units of the figure; estimates
            may be negative.
        error: Variance of the error with `n_cases` cases.
        cov1: Covariance of the errors of one reader in two modalities.
        cov2: Covariance of the errors of two readers in one modality.
        cov3: Covariance of the errors of two readers in two modalities.
        n_cases: Cases that the error and its covariances belong to; they shrink in proportion as cases are added.
        reader: Variance of readers; needed only where one modality is compared with a value. None where unknown.

    Source:
        Obuchowski & Rockette, Communications in Statistics - Simulation and Computation 24, 1995; Hillis, Statistics in
        Medicine 26, 2007.

    Example:
        >>> pilot = ReaderVarianceComponents(0.0002, 0.0008, 0.0003, 0.0003, 0.0002, n_cases=114)
        >>> pilot.cov2 - pilot.cov3 < pilot.error
        True
    """

    treatment_reader: float
    error: float
    cov1: float
    cov2: float
    cov3: float
    n_cases: int
    reader: float | None = None

    @classmethod
    def of(cls, pilot: _Pilot) -> "ReaderVarianceComponents":
        """Returns the components of a pilot study, to plan the next one with.

        Args:
            pilot: The result of `mrmc`: of two modalities that showed the same patients, for a comparison of such two;
                of one modality, for a claim on such a one.

        Returns:
            The components, with the pilot's patients as cases; a covariance that the pilot has not stays NaN.
        """
        if not hasattr(pilot, "components"):
            raise TypeError(f"pilot is {came(pilot)}; the result of mrmc(study) was expected.")
        found = pilot.components
        # One modality alone has no interaction apart from the readers themselves.
        interaction = 0.0 if math.isnan(found.modality_reader) else found.modality_reader
        reader = None if math.isnan(found.reader) else found.reader
        return cls(interaction, found.error, found.cov1, found.cov2, found.cov3, pilot.n_patients, reader)
