"""What makes the accuracies of several readers vary: the variance components of Obuchowski and Rockette's model."""

from dataclasses import dataclass

from chexkeras.results.record import Record


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
