"""Who the synthetic patients are and what each of their images is said to show.

A Gaussian copula: every image has one latent normal number per finding, split into a part that belongs to the patient
(findings persist) and a part that belongs to the image. Correlations between the numbers give the co-occurrence, the
highest of them are the positives, and how far a number lies beyond the cut is the severity that is drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr, ndtri

from chexkeras.data.datasets import nih_statistics
from chexkeras.findings import NIH14

_FINDINGS = len(NIH14)
_VIEW, _SEX, _AGE, _COUNT = _FINDINGS, _FINDINGS + 1, _FINDINGS + 2, _FINDINGS + 3


@dataclass(frozen=True)
class PhantomImage:
    """One synthetic image before it is drawn.

    Attributes:
        patient: Patient number, from 1.
        follow_up: Number of the image within the patient, from 0.
        age_years: Age at this image.
        sex: "M" or "F".
        view: "PA" or "AP".
        severity: (finding, severity in (0, 1]) of every finding present, in the order of NIH14.
        original: Width and height of the pretended original in pixels, and its pixel spacing in mm.
        test: Whether the patient is in the test list.
        recorded: What the labels say where that is not what is drawn; None where it is.
    """

    patient: int
    follow_up: int
    age_years: int
    sex: str
    view: str
    severity: tuple[tuple[str, float], ...]
    original: tuple[int, int, float]
    test: bool
    recorded: tuple[str, ...] | None = None

    @property
    def image_id(self) -> str:
        """The file name in NIH's form."""
        return f"{self.patient:08d}_{self.follow_up:03d}.png"

    @property
    def labels(self) -> tuple[str, ...]:
        """The findings that the labels name, in the order of NIH14: those present, unless it is recorded otherwise."""
        return tuple(finding for finding, _ in self.severity) if self.recorded is None else self.recorded


def image_counts(images: int) -> np.ndarray:
    """Returns how many images each patient has, with NIH's long tail, adding up to `images`.

    A small cohort has no room for a patient with 184 images: nobody gets more than a twentieth of all (six at least).

    Args:
        images: Total number of images, at least 1.

    Returns:
        Integer array, one entry a patient, descending.
    """
    values, shares = np.array(nih_statistics.IMAGES_PER_PATIENT).T
    limit = max(6, images // 20)

    def counts(patients: int) -> np.ndarray:
        # Stratified quantiles instead of random draws: the mean is right in every cohort, not only on average.
        levels = (np.arange(patients) + 0.5) / patients
        drawn = np.ceil(np.interp(levels, np.concatenate([[0.0], shares]), np.concatenate([[0.0], values])) - 1e-9)
        return np.clip(drawn, 1, limit).astype(int)

    low, high = 1, images
    while low < high:
        middle = (low + high) // 2
        if counts(middle).sum() >= images:
            high = middle
        else:
            low = middle + 1
    result = np.sort(counts(low))[::-1]
    surplus = int(result.sum()) - images
    for index in range(len(result)):
        taken = min(surplus, int(result[index]) - 1)
        result[index] -= taken
        surplus -= taken
    return np.sort(result)[::-1]


@cache
def _factors() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splits the correlation over images into the patients' and the images' own parts.

    With the same correlation matrix K in both parts, images correlate as
    K * (sqrt(p_i p_j) + sqrt((1 - p_i)(1 - p_j))), p being the persistence; K follows by division.
    """
    p = nih_statistics.PERSISTENCE
    shrink = np.sqrt(np.outer(p, p)) + np.sqrt(np.outer(1 - p, 1 - p))
    kernel = nih_statistics.latent_correlation() / shrink
    np.fill_diagonal(kernel, 1.0)
    given_count = kernel[:_COUNT, _COUNT]
    conditional = kernel[:_COUNT, :_COUNT] - np.outer(given_count, given_count)
    own = kernel[: _VIEW + 1, : _VIEW + 1]
    return given_count, np.linalg.cholesky(conditional), np.linalg.cholesky(own)


def _latents(rng: np.random.Generator, counts: np.ndarray) -> np.ndarray:
    given_count, patient_root, image_root = _factors()
    values, shares = np.array(nih_statistics.IMAGES_IN_PATIENT_OF).T
    level = (
        np.interp(counts, values, shares) + np.interp(counts - 1, np.concatenate([[0], values]), [0.0, *shares])
    ) / 2
    score = ndtri(np.clip(level, 1e-4, 1 - 1e-4))
    shared = np.outer(score, given_count) + rng.standard_normal((len(counts), _COUNT)) @ patient_root.T
    own = rng.standard_normal((int(counts.sum()), _VIEW + 1)) @ image_root.T
    latent = np.repeat(shared, counts, axis=0)
    weight = nih_statistics.PERSISTENCE[: _VIEW + 1]
    latent[:, : _VIEW + 1] = latent[:, : _VIEW + 1] * np.sqrt(weight) + own * np.sqrt(1 - weight)
    return latent


def _top(values: np.ndarray, share: float) -> np.ndarray:
    """Returns which entries are the highest `share` of all: the margin is exact in every cohort."""
    wanted = round(share * len(values))
    chosen = np.zeros(len(values), bool)
    chosen[np.argsort(-values, kind="stable")[:wanted]] = True
    return chosen


def _severities(latent: np.ndarray, prevalence: Mapping[str, float]) -> np.ndarray:
    severities = np.zeros((len(latent), _FINDINGS))
    for index, finding in enumerate(NIH14):
        present = np.flatnonzero(_top(latent[:, index], prevalence[finding]))
        order = np.argsort(np.argsort(latent[present, index], kind="stable"), kind="stable")
        severities[present, index] = (order + 1) / (len(present) + 1)
    return severities


def _test_patients(rng: np.random.Generator, counts: np.ndarray) -> np.ndarray:
    """Returns which patients form the test list: about NIH's share of images, at least one where there are two."""
    in_test = np.zeros(len(counts), bool)
    wanted, taken = nih_statistics.TEST_SHARE * counts.sum(), 0
    for patient in rng.permutation(len(counts)):
        if taken >= wanted or in_test.sum() == len(counts) - 1:
            break
        if taken + counts[patient] <= 1.1 * wanted or taken == 0:
            in_test[patient] = True
            taken += counts[patient]
    return in_test


def make_cohort(images: int, seed: int, prevalence: Mapping[str, float] | None = None) -> tuple[PhantomImage, ...]:
    """Returns the radiographs of a synthetic cohort, patient by patient.

    Args:
        images: Number of radiographs, at least 1.
        seed: The cohort's seed.
        prevalence: Share of radiographs, in (0, 1), for findings that are to differ from NIH's; the others keep NIH's.

    Returns:
        The radiographs, in the order of their names.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed], spawn_key=(0,)))
    counts = rng.permutation(image_counts(images))
    latent = _latents(rng, counts)
    severities = _severities(latent, {**nih_statistics.PREVALENCE, **(prevalence or {})})
    views = np.where(_top(latent[:, _VIEW], nih_statistics.AP_SHARE), "AP", "PA")
    # Patients whole: a cut by count alone would fall between the radiographs of one of them.
    male = latent[:, _SEX] >= latent[_top(latent[:, _SEX], nih_statistics.MALE_SHARE), _SEX].min(initial=np.inf)
    levels, ages = np.array(nih_statistics.AGE_QUANTILES).T
    age = np.interp(ndtr(latent[:, _AGE]), levels, ages)
    in_test = _test_patients(rng, counts)
    drawn = rng.random(images)
    originals = {
        view: np.searchsorted(np.cumsum([kind[3] for kind in kinds])[:-1], drawn)
        for view, kinds in nih_statistics.ORIGINALS.items()
    }

    radiographs: list[PhantomImage] = []
    row = 0
    for patient, count in enumerate(counts, start=1):
        span = min(14.0, rng.exponential(1.8)) if count > 1 else 0.0
        for follow_up in range(count):
            view = str(views[row])
            width, height, spacing, _ = nih_statistics.ORIGINALS[view][originals[view][row]]
            years = age[row] + span * (follow_up / max(1, count - 1) - 0.5)
            present = tuple(
                (NIH14[index], float(severities[row, index])) for index in np.flatnonzero(severities[row]).tolist()
            )
            radiographs.append(
                PhantomImage(
                    patient=patient,
                    follow_up=follow_up,
                    age_years=int(min(max(years, 1.0), 95.0)),
                    sex="M" if male[row] else "F",
                    view=view,
                    severity=present,
                    original=(width, height, spacing),
                    test=bool(in_test[patient - 1]),
                )
            )
            row += 1
    return tuple(radiographs)
