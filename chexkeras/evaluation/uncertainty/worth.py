"""What patients are worth: how many independent patients tell as much, and the degrees of freedom that follow.

Where one patient has 100 images and fifty have one, a share over images rests on about two patients, however many there
are. A variance that is estimated from so few is itself uncertain: Student's t at one degree of freedom less than the
patients are worth makes up for it. All intervals and tests that rest on patients take their degrees from here.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def kish(owner: NDArray[np.int64]) -> float:
    """Returns how many patients with equally many images would tell as much as these if the images of each agreed.

    Args:
        owner: Shape (n,), the patient number of each image, 0 or above; not all numbers need occur.

    Returns:
        (sum m)^2 / sum m^2 over the patients' numbers of images m: at most the number of patients, at least 1; 0 for
        no image.

    Source:
        Kish, Survey Sampling, 1965.

    Example:
        >>> kish(np.array([0, 1, 2, 3])), round(kish(np.array([0] * 9 + [1, 2, 3])), 2)
        (4.0, 1.71)
    """
    if not len(owner):
        return 0.0
    images = np.bincount(owner).astype(np.float64)
    return float(images.sum() ** 2 / (images**2).sum())


def satterthwaite(variances: Sequence[float], worths: Sequence[float]) -> float:
    """Returns the degrees of freedom of a sum of variances that were each estimated from few patients.

    Args:
        variances: The parts of a variance, at least 0.
        worths: What the patients behind each part are worth, see `kish`; each is counted as at least 2.

    Returns:
        At least 1; infinite where all variances are 0.

    Source:
        Satterthwaite, Biometrics Bulletin 2, 1946.

    Example:
        >>> round(satterthwaite([1.0, 1.0], [11, 11]), 1), round(satterthwaite([1.0, 0.0], [11, 400]), 1)
        (20.0, 10.0)
    """
    parts = np.asarray(variances, dtype=np.float64)
    degrees = np.maximum(np.asarray(worths, dtype=np.float64) - 1, 1.0)
    below = float((parts**2 / degrees).sum())
    return float(parts.sum() ** 2 / below) if below > 0 else math.inf


def student_quantile(confidence: float, degrees: float) -> float:
    """Returns the quantile of a two-sided interval by Student's t.

    Args:
        confidence: Coverage, in (0, 1).
        degrees: Of freedom, above 0; infinite for the normal distribution.

    Example:
        >>> round(student_quantile(0.95, 10), 3), round(student_quantile(0.95, math.inf), 3)
        (2.228, 1.96)
    """
    from scipy import special

    upper = 0.5 + confidence / 2
    return float(special.ndtri(upper) if math.isinf(degrees) else special.stdtrit(degrees, upper))
