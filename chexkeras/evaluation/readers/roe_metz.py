"""Simulated reader studies after Roe and Metz: for planning a study, and to prove that an analysis does what it says.

A rating is a sum of normal effects: of the reader, of what the reader gains by the modality, of the image, of what the
image loses or gains by the modality, of how this reader sees this image, and of what is left. Effects of readers are
drawn separately for positive and negative images, so readers differ in how well they discriminate.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.readers.figures_of_merit import figures_with_covariance
from chexkeras.evaluation.readers.obuchowski_rockette import ROLES, OrhModel
from chexkeras.evaluation.readers.reader_study import PARTLY, ModalityReadings, ReaderStudy, design_of
from chexkeras.evaluation.uncertainty.limits import clopper_pearson, logit_limits
from chexkeras.evaluation.uncertainty.worth import student_quantile
from chexkeras.results import Estimate
from chexkeras.results.record import Record

STRUCTURES = ("HL", "LL", "HH", "LH")
"""Roe and Metz's structures: first the correlation of readers' ratings, then the variance between readers; H high, L
low."""

_IMAGES = {"H": (0.3, 0.3, 0.2, 0.2), "L": (0.1, 0.1, 0.2, 0.6)}
_SEPARATIONS, _HIGH, _LOW = (0.75, 1.5, 2.5), (0.011, 0.030, 0.056), 0.0055


@checked(fields=True)
@dataclass(frozen=True)
class RatingModel(Record):
    """The variances of the effects that make a rating.

    Attributes:
        reader: Between readers, for positive and for negative images each.
        modality_reader: Of what readers gain by a modality, for positive and for negative images each.
        image: Of images; this and the following three are parts of 1.
        modality_image: Of what an image gains by a modality.
        reader_image: Of how a reader sees an image, in whatever modality.
        rest: Of what is left.
        patient: Which part of the variance of images, and of what they gain by a modality, the images of one patient
            share, in [0, 1].
    """

    reader: float
    modality_reader: float
    image: float
    modality_image: float
    reader_image: float
    rest: float
    patient: float = 0.5

    def __post_init__(self) -> None:
        parts = (self.image, self.modality_image, self.reader_image, self.rest)
        if min(self.reader, self.modality_reader, *parts) < 0 or abs(sum(parts) - 1) > 1e-9:
            raise ValueError(
                "variances must be at least 0, and image, modality_image, reader_image and rest must add up to 1; "
                f"got {self.reader:g} and {self.modality_reader:g}, and {', '.join(f'{part:g}' for part in parts)}."
            )
        checks.probability(self.patient, "patient")

    @classmethod
    def roe_metz(cls, structure: str, auroc: float) -> "RatingModel":
        """Returns one of Roe and Metz's structures.

        They give a high variance between readers for areas of about .70, .86 and .96; between these it is interpolated
        along the distance of the classes, beyond them it stays.

        Args:
            structure: One of `STRUCTURES`.
            auroc: The area around which readers vary, in [0.5, 1).

        Raises:
            ValueError: If the structure is unknown.

        Source:
            Roe & Metz, Academic Radiology 4, 1997 (298-303), table 1.

        Example:
            >>> RatingModel.roe_metz("LH", 0.9615).reader
            0.056
        """
        from scipy import special

        checks.one_of(structure, STRUCTURES, "structure")
        separation = math.sqrt(2) * float(special.ndtri(auroc))
        reader = _LOW if structure[1] == "L" else float(np.interp(separation, _SEPARATIONS, _HIGH))
        return cls(reader, reader, *_IMAGES[structure[0]])


@checked
def simulate_reader_study(
    auroc: Mapping[str, float],
    *,
    readers: int = 5,
    images: tuple[int, int] = (50, 50),
    images_each: int = 1,
    model: RatingModel | str = "HH",
    groups: Sequence[int] | None = None,
    seed: int = 0,
) -> ReaderStudy:
    """Returns a simulated reader study with known areas under the ROC curve.

    Args:
        auroc: The expected area of a reader drawn at random, in each modality by its name, each in [0.5, 1).
        readers: How many readers.
        images: How many positive and how many negative images in each modality.
        images_each: How many images a patient has, all positive or all negative; must divide both numbers of images.
        model: The variances of ratings, or one of Roe and Metz's structures: "HL", "LL", "HH", "LH" (first the
            correlation of ratings, then the variance between readers; high or low).
        groups: Which group of patients each modality shows, for example (0, 1, 1) where the first has patients of its
            own and the other two share theirs; None where all show the same.
        seed: One seed, one study.

    Returns:
        Ratings between 0 and 100.

    Raises:
        ValueError: If an argument is out of range, or numbers do not fit each other.

    Source:
        Roe & Metz, Academic Radiology 4, 1997 (298-303).

    Example:
        >>> print(simulate_reader_study({"aided": 0.9, "unaided": 0.8}, readers=3, images=(10, 20)))
        3 readers, 2 modalities, 30 images of 30 patients (10 positive), fully crossed
    """
    from scipy import special

    design = _Design.of(auroc, readers, images, images_each, model, groups)
    parts = design.draw(np.random.default_rng(checks.positive_int(seed, "seed", least=0)))
    truth = np.where(np.arange(sum(images)) < images[0], 1, 0)
    tables = []
    for number, part in enumerate(parts):
        group = design.groups[number]
        first = group * sum(images)
        shape = (readers, sum(images))
        # Half-way between the classes lies 50.
        ratings = 100 * special.ndtr(part.ratings - np.mean(design.separations) / 2)
        columns = {
            "reader": np.repeat([f"reader {reader + 1}" for reader in range(readers)], shape[1]),
            "modality": part.modality,
            "image_id": np.tile([f"image {first + image + 1:05d}" for image in range(shape[1])], readers),
            "patient_id": np.tile([f"patient {patient + 1:05d}" for patient in part.patient], readers),
            "truth": np.tile(truth, readers),
            "rating": ratings.ravel(),
        }
        tables.append(pd.DataFrame(columns))
    return ReaderStudy.of(pd.concat(tables, ignore_index=True))


@checked
def simulate_reader_study_power(
    auroc: Mapping[str, float],
    *,
    readers: int = 5,
    images: tuple[int, int] = (50, 50),
    model: RatingModel | str = "HH",
    margin: float = 0.0,
    studies: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Returns how often a reader study shows the first of two modalities to be better, or not inferior, by simulation.

    `power_reader_study` says so by formula, from variance components that are taken as known; here they are estimated
    anew in every study, as they will be. Each study is analysed by `mrmc` with random readers and images, DeLong
    covariances and 95 % intervals.

    Args:
        auroc: The expected area of a reader drawn at random, in each of two modalities by its name, each in [0.5, 1);
            the first is the one to be shown better or not inferior. With equal areas and margin 0 this is the error
            that is made on one side.
        readers: How many readers, at least 2.
        images: How many positive and how many negative images, each of one patient, read in both modalities.
        model: The variances of ratings, or one of Roe and Metz's structures: "HL", "LL", "HH", "LH" (first the
            correlation of ratings, then the variance between readers; high or low).
        margin: The whole interval of first minus second must lie above minus this; 0 asks for superiority.
        studies: How many studies are simulated.
        seed: One seed, one result.

    Returns:
        The share of studies, with Clopper-Pearson's interval for the simulation's own error; `n` counts studies.

    Raises:
        ValueError: If there are not two modalities, or an argument is out of range.

    Example:
        >>> power = simulate_reader_study_power({"aided": 0.9, "unaided": 0.75}, readers=8, images=(60, 60), studies=40)
        >>> power.value > 0.8
        True
    """
    if len(auroc) != 2:
        raise ValueError(f"auroc names {len(auroc)} modalities; the power of comparing two is computed.")
    if margin:
        checks.probability(margin, "margin", open_interval=True)
    checks.positive_int(readers, "readers", least=2)
    checks.positive_int(studies, "studies")
    intervals = simulated_intervals(auroc, readers=readers, images=images, model=model, studies=studies, seed=seed)
    shown = int((intervals[:, 1] > -margin).sum())
    low, high = clopper_pearson(shown, studies, 0.95)
    what = f"not inferior by {margin:g}" if margin else "better"
    method = f"share of {studies} simulated studies that show the first modality {what}, Clopper-Pearson, seed {seed}"
    return Estimate(shown / studies, low, high, 0.95, studies, method)


def simulated_intervals(
    auroc: Mapping[str, float],
    *,
    readers: int,
    images: tuple[int, int],
    images_each: int = 1,
    model: RatingModel | str = "HH",
    groups: Sequence[int] | None = None,
    studies: int,
    seed: int = 0,
    covariance: str = "delong",
    roles: tuple[str, str] = ("random", "random"),
) -> NDArray[np.float64]:
    """Returns what simulated studies find: of the first two modalities the difference, of the first the mean.

    Args:
        auroc: The expected area of a reader drawn at random, in each modality by its name, each in [0.5, 1).
        readers: How many readers.
        images: How many positive and how many negative images in each modality.
        images_each: How many images a patient has; must divide both numbers of images.
        model: The variances of ratings, or one of Roe and Metz's structures.
        groups: Which group of patients each modality shows; None where all show the same.
        studies: How many studies are simulated.
        seed: One seed, one result.
        covariance: "delong", "unbiased" or "jackknife".
        roles: Whether readers, and whether images, are "random" or "fixed" in the analysis.

    Returns:
        Shape (studies, 8): difference with lower and upper 95 % limit, p-value of the test that all modalities are
        equal, lower and upper 95 % limit of the mean of the first modality, and these on the logit scale.

    Raises:
        ValueError: If an argument is out of range.
    """
    for role in roles:
        checks.one_of(role, ROLES, "roles")
    design = _Design.of(auroc, readers, images, images_each, model, groups)
    rng = np.random.default_rng(checks.positive_int(seed, "seed", least=0))
    made = np.empty((studies, 8))
    difference, mean = np.zeros((2, len(auroc)))
    difference[:2] = 1.0, -1.0
    mean[0] = 1.0
    for study in range(studies):
        parts = design.draw(rng)
        figures = figures_with_covariance(parts, "auroc", None, covariance)
        pooled = design_of(parts) != PARTLY
        found = OrhModel.of(figures, readers=roles[0], images=roles[1], pooled=pooled)
        limits = []
        for weights, alone in ((difference, False), (mean, True)):
            spread = found.spread(weights, alone=alone)
            half = student_quantile(0.95, spread.degrees) * math.sqrt(spread.variance)
            value = float((weights @ figures.values).mean())
            limits += [value, value - half, value + half]
        on_logits = logit_limits(value, math.sqrt(spread.variance), 0.95, degrees=spread.degrees)
        made[study] = *limits[:3], found.overall().p_value, *limits[4:], *on_logits
    return made


@dataclass(frozen=True)
class _Design:
    """A study to be simulated, checked."""

    modalities: tuple[str, ...]
    separations: tuple[float, ...]
    readers: int
    images: tuple[int, int]
    images_each: int
    model: RatingModel
    groups: tuple[int, ...]

    @classmethod
    def of(
        cls,
        auroc: Mapping[str, float],
        readers: int,
        images: tuple[int, int],
        images_each: int,
        model: RatingModel | str,
        groups: Sequence[int] | None,
    ) -> "_Design":
        from scipy import special

        if not isinstance(auroc, Mapping) or not auroc:
            raise ValueError(f'auroc={auroc!r}; areas by the modality\'s name were expected, such as {{"aided": 0.9}}.')
        for name, area in auroc.items():
            if not checks.probability(area, f"auroc of {name}", open_interval=True) >= 0.5:
                raise ValueError(f"auroc of {name} is {area:g}; it must be at least 0.5 and below 1.")
        checks.positive_int(readers, "readers")
        checks.positive_int(images_each, "images_each")
        for number, what in zip(images, ("positive", "negative"), strict=True):
            checks.positive_int(number, f"number of {what} images", least=2 * images_each)
            if number % images_each:
                raise ValueError(f"{number} {what} images do not make patients with {images_each} images each.")
        places = tuple(groups) if groups is not None else (0,) * len(auroc)
        if len(places) != len(auroc) or set(places) != set(range(max(places) + 1)):
            raise ValueError(
                f"groups={groups}; one number for each of {len(auroc)} modalities was expected, counted from 0."
            )
        mean = float(np.mean(list(auroc.values())))
        chosen = RatingModel.roe_metz(model, mean) if isinstance(model, str) else model
        scale = math.sqrt(2 * (1 + chosen.reader + chosen.modality_reader))
        apart = tuple(scale * float(special.ndtri(area)) for area in auroc.values())
        return cls(tuple(map(str, auroc)), apart, readers, tuple(images), images_each, chosen, places)  # type: ignore[arg-type]

    def draw(self, rng: np.random.Generator) -> tuple[ModalityReadings, ...]:
        """Returns the readings of one study, on the scale of the effects."""
        n, model, each = sum(self.images), self.model, self.images_each
        n_groups, n_modalities = max(self.groups) + 1, len(self.modalities)
        positive = np.arange(n) < self.images[0]
        owner, side = np.arange(n) // each, positive.astype(np.int64)

        def of_images(shape: tuple[int, ...], variance: float, shared: float) -> NDArray[np.float64]:
            own = rng.normal(scale=math.sqrt(variance * (1 - shared)), size=(*shape, n))
            return own + rng.normal(scale=math.sqrt(variance * shared), size=(*shape, n // each))[..., owner]

        # Of readers: one effect for negative images, one for positive ones.
        of_readers = rng.normal(scale=math.sqrt(model.reader), size=(self.readers, 2))
        gains = rng.normal(scale=math.sqrt(model.modality_reader), size=(n_modalities, self.readers, 2))
        image = of_images((n_groups,), model.image, model.patient)
        modality_image = of_images((n_modalities,), model.modality_image, model.patient)
        reader_image = rng.normal(scale=math.sqrt(model.reader_image), size=(n_groups, self.readers, n))
        rest = rng.normal(scale=math.sqrt(model.rest), size=(n_modalities, self.readers, n))
        parts = []
        for number, group in enumerate(self.groups):
            ratings = self.separations[number] * positive + (of_readers + gains[number])[:, side]
            ratings = ratings + image[group] + modality_image[number] + reader_image[group] + rest[number]
            patients = (group * (n // each) + owner).astype(np.int64)
            parts.append(ModalityReadings(self.modalities[number], positive, patients, ratings))
        return tuple(parts)
