"""What a contrast of modalities varies by when readers and patients vary: Obuchowski and Rockette's model.

Two things vary: another panel of readers would do better or worse, and another sample of patients would be easier or
more difficult. The first shows in how far the readers differ among themselves; the second, since all readers saw the
same patients, only in the covariances of their figures (`figures_of_merit`).

Everything is said of contrasts of modalities: one modality alone, or one minus another. For a contrast, let s^2 be the
variance over readers of their own values, and c the covariance of two readers' values. The readers' mean then varies by
s^2 / r + max(c, 0). With the mean squares and covariances of Obuchowski and Rockette these are, for a difference,
s^2 = 2 MS(TR) and c = 2 (Cov2 - Cov3); for one modality alone s^2 = MS(R) and c = Cov2. Degrees of freedom are Hillis'.

Where all modalities show the same patients, or each has its own, all pairs of modalities are alike, and what they vary
by is averaged over them. Where some modalities share patients and others do not, a pair that shares them is compared
more precisely than one that does not; every pair then rests on its own two modalities alone.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chexkeras.evaluation.readers.figures_of_merit import Figures
from chexkeras.results.reader_study import OverallTest, VarianceComponents

ROLES = ("random", "fixed")
"""Whether a result is to hold for others like these, or for these alone."""

NOTHING = 1e-24
"""A variance below this is rounding."""


class ContrastSpread(NamedTuple):
    """How the readers' mean of a contrast varies.

    Attributes:
        variance: Of the mean.
        degrees: Of freedom of that variance; infinite where it counts as known.
        readers: s^2, the variance over readers; NaN for one reader.
        images: c, the covariance of two readers' values, before negative ones are taken for 0; NaN where unknown.
    """

    variance: float
    degrees: float
    readers: float
    images: float


@dataclass(frozen=True)
class OrhModel:
    """The figures of a study with what they vary by; makes the spread of any contrast of modalities.

    Attributes:
        values: Shape (modalities, readers).
        same: Shape (modalities, modalities), mean covariances of one reader's figures.
        between: Shape (modalities, modalities), mean covariances of two readers' figures; NaN for one reader.
        readers: One of `ROLES`.
        images: One of `ROLES`.
        pooled: Whether all pairs of modalities are alike.
    """

    values: NDArray[np.float64]
    same: NDArray[np.float64]
    between: NDArray[np.float64]
    readers: str
    images: str
    pooled: bool

    @classmethod
    def of(cls, figures: Figures, *, readers: str, images: str, pooled: bool) -> "OrhModel":
        """Returns the model of a study.

        Args:
            figures: Of all readers in all modalities, with covariances.
            readers: "random", or "fixed"; one reader is fixed.
            images: "random", or "fixed".
            pooled: Whether all pairs of modalities are alike.
        """
        n_modalities, n_readers = figures.values.shape
        blocks = figures.covariance.reshape(n_modalities, n_readers, n_modalities, n_readers)
        same = np.einsum("ijkj->ik", blocks) / n_readers
        between = np.full_like(same, np.nan)
        if n_readers > 1:
            between = (blocks.sum(axis=(1, 3)) - n_readers * same) / (n_readers * (n_readers - 1))
        return cls(figures.values, same, between, readers, images, pooled)

    @property
    def ms_modality(self) -> float:
        """The mean square between modalities."""
        return self.values.shape[1] * float(self.values.mean(axis=1).var(ddof=1))

    @property
    def ms_reader(self) -> float:
        """The mean square between readers; NaN for one."""
        if self.values.shape[1] == 1:
            return math.nan
        return self.values.shape[0] * float(self.values.mean(axis=0).var(ddof=1))

    @property
    def ms_interaction(self) -> float:
        """The mean square of what readers gain by modalities; NaN for one reader or modality."""
        n_modalities, n_readers = self.values.shape
        if min(n_modalities, n_readers) == 1:
            return math.nan
        centred = self.values - self.values.mean(axis=1, keepdims=True)
        centred = centred - centred.mean(axis=0)
        return float((centred**2).sum()) / ((n_modalities - 1) * (n_readers - 1))

    def spread(self, weights: NDArray[np.float64], *, alone: bool = False) -> ContrastSpread:
        """Returns how the readers' mean of a contrast varies.

        Args:
            weights: Shape (modalities,), summing to 0 unless `alone`.
            alone: Whether the contrast rests on its own modalities alone, even if pairs are alike.
        """
        n_modalities, n_readers = self.values.shape
        pooled = self.pooled and not alone
        same, between = (_alike(matrix) if pooled else matrix for matrix in (self.same, self.between))
        of_images = float(weights @ between @ weights)
        of_readers, degrees = math.nan, math.nan
        if n_readers > 1:
            of_readers, degrees = float((weights @ self.values).var(ddof=1)), n_readers - 1.0
            if pooled:
                of_readers = float(weights @ weights) * self.ms_interaction
                degrees *= n_modalities - 1
            of_readers = of_readers if of_readers > NOTHING else 0.0
        if self.readers == "fixed":
            together = 0.0 if n_readers == 1 else (n_readers - 1) * max(of_images, 0.0)
            variance = (float(weights @ same @ weights) + together) / n_readers
            return ContrastSpread(variance, math.inf, of_readers, of_images)
        if self.images == "fixed":
            return ContrastSpread(of_readers / n_readers, degrees, of_readers, math.nan)
        scale = of_readers + n_readers * max(of_images, 0.0)
        degrees = scale**2 / (of_readers**2 / degrees) if of_readers > 0 else math.inf
        return ContrastSpread(scale / n_readers, degrees, of_readers, of_images)

    def overall(self) -> OverallTest:
        """Returns the test that all modalities are equal.

        Where pairs of modalities differ in precision, the degrees of freedom are Box's, as for any mean square whose
        parts vary unequally.
        """
        from scipy import special

        n_modalities, n_readers = self.values.shape
        centre = np.eye(n_modalities) - 1 / n_modalities
        freedom = n_modalities - 1.0
        if self.readers == "fixed":
            value = self._chi_square(centre)
            p_value = float(special.chdtrc(freedom, value)) if not math.isnan(value) else math.nan
            return OverallTest("chi-square", value, freedom, math.nan, p_value, p_value)
        of_readers, of_images, of_parts = self.ms_interaction, 0.0, (n_readers - 1) * freedom
        if self.images == "random":
            of_images = n_readers * max(float((centre * self.between).sum()) / freedom, 0.0)
            if not self.pooled:
                parts = self._between_readers()
                of_parts = (n_readers - 1) * _box(centre @ parts)
                freedom = _box(centre @ (parts / n_readers + (self.between if of_images > 0 else 0.0)))
        scale = of_readers + of_images
        if not scale > NOTHING:
            return OverallTest("F", math.nan, freedom, math.nan, math.nan, math.nan)
        degrees = scale**2 / (of_readers**2 / of_parts) if of_readers > NOTHING else math.inf
        value = self.ms_modality / scale
        p_value = float(special.chdtrc(freedom, freedom * value))
        if not math.isinf(degrees):
            p_value = float(special.fdtrc(freedom, degrees, value))
        return OverallTest("F", value, freedom, degrees, p_value, p_value)

    def _between_readers(self) -> NDArray[np.float64]:
        """Returns the covariance over readers of their own values, as the model has it."""
        apart = self.same - self.between
        n_modalities = len(apart)
        expected = float(((np.eye(n_modalities) - 1 / n_modalities) * apart).sum()) / (n_modalities - 1)
        return apart + max(self.ms_interaction - expected, 0.0) * np.eye(n_modalities)

    def _chi_square(self, centre: NDArray[np.float64]) -> float:
        n_modalities, n_readers = self.values.shape
        if self.pooled:
            spread = self.spread(np.array([1.0, -1.0] + [0.0] * (n_modalities - 2)))
            scale = n_readers * spread.variance / 2
            return (n_modalities - 1) * self.ms_modality / scale if scale > NOTHING else math.nan
        together = self.same / n_readers
        if n_readers > 1:
            together = together + (n_readers - 1) / n_readers * self.between
        means, covariance = centre @ self.values.mean(axis=1), centre @ together @ centre
        if np.linalg.matrix_rank(covariance, hermitian=True) < n_modalities - 1:
            return math.nan
        return float(means @ np.linalg.pinv(covariance, hermitian=True) @ means)

    def components(self, shares: NDArray[np.bool_]) -> VarianceComponents:
        """Returns what the figures vary by; a negative variance is left negative.

        Args:
            shares: Shape (modalities, modalities), which modalities share patients.
        """
        n_modalities = len(self.values)
        pairs = ~np.eye(n_modalities, dtype=bool)
        cov2 = float(np.diag(self.between).mean())
        error = float(np.diag(self.same).mean())
        if n_modalities == 1:
            return VarianceComponents(self.ms_reader - error + cov2, math.nan, error, math.nan, cov2, math.nan)
        cov1, cov3 = float(self.same[pairs].mean()), float(self.between[pairs].mean())
        reader = (self.ms_reader - self.ms_interaction) / n_modalities - cov1 + cov3
        interaction = self.ms_interaction - error + cov1 + cov2 - cov3
        if not shares[pairs].any():
            return VarianceComponents(reader, interaction, error, math.nan, cov2, math.nan)
        # Modalities without a common patient add nothing to the sums, and say nothing of the covariance of others.
        sharing = float(shares[pairs].mean())
        return VarianceComponents(reader, interaction, error, cov1 / sharing, cov2, cov3 / sharing)


def _alike(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns a matrix whose diagonal and whose other entries are all their means."""
    n = len(matrix)
    apart = float(matrix[~np.eye(n, dtype=bool)].mean()) if n > 1 else 0.0
    return np.full((n, n), apart) + (float(np.diag(matrix).mean()) - apart) * np.eye(n)


def _box(matrix: NDArray[np.float64]) -> float:
    """Returns the degrees of freedom of a sum of squares with the eigenvalues of this matrix."""
    return float(np.trace(matrix) ** 2 / np.trace(matrix @ matrix))
