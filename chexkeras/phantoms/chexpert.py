"""Writing a synthetic cohort as a folder that looks like a download of CheXpert, uncertain and blank labels included.

What the images show comes from the same cohort as the phantoms in NIH's layout; `_TRUTH` says which of CheXpert's
observations that is. Two observations need saying: Support Devices are the tubes, lines and leads that are drawn on AP
images; Fracture is not drawn at all, its labels are random, so no model can learn it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.findings import CHEXPERT14, NO_FINDING, SUPPORT_DEVICES
from chexkeras.phantoms.cohort import PhantomImage
from chexkeras.phantoms.folder import make_folder
from chexkeras.phantoms.render import PlannedImage, draw_images

FOLDER = "CheXpert-v1.0-small"
_HEADER = ",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT14))
_SEX = {"M": "Male", "F": "Female"}
_OLDEST = 90
"""CheXpert writes 90 for everyone of 90 or more."""

_FRACTURES = 0.04
_OPACITIES = ("Infiltration", "Consolidation", "Pneumonia", "Edema")


def _any(*names: str, from_severity: float = 0.0) -> Callable[[Mapping[str, float]], bool]:
    return lambda severity: any(severity.get(name, -1.0) >= from_severity for name in names)


_TRUTH: dict[str, Callable[[Mapping[str, float]], bool]] = {
    # A heart that is enlarged enough widens the whole silhouette.
    "Enlarged Cardiomediastinum": _any("Cardiomegaly", from_severity=0.5),
    "Cardiomegaly": _any("Cardiomegaly"),
    "Lung Opacity": _any(*_OPACITIES),
    "Lung Lesion": _any("Mass", "Nodule"),
    "Edema": _any("Edema"),
    "Consolidation": _any("Consolidation"),
    "Pneumonia": _any("Pneumonia"),
    "Atelectasis": _any("Atelectasis"),
    "Pneumothorax": _any("Pneumothorax"),
    "Pleural Effusion": _any("Effusion"),
    "Pleural Other": _any("Pleural_Thickening"),
}
"""Which of CheXpert's observations an image shows, given the severities of its NIH findings. Emphysema, Fibrosis and
Hernia are drawn too and have no name in CheXpert."""

_LEFT_OPEN = {"Atelectasis": 0.4, "Consolidation": 0.5, "Pneumonia": 0.5}
_USUALLY_LEFT_OPEN = 0.15
"""Share of positive images whose label is uncertain: reports leave these three findings open far more often."""

_WRONGLY_LEFT_OPEN = 0.03
_DENIED = 0.2
"""Shares of negative images whose label is uncertain, and 0; the rest are blank."""


@checked
def make_chexpert_phantoms(
    folder: str | Path,
    *,
    images: int = 600,
    size: int = 320,
    seed: int = 0,
    laterals: bool = False,
    prevalence: Mapping[str, float] | None = None,
    processes: int | None = None,
) -> Path:
    """Writes synthetic chest radiographs in the exact layout of CheXpert-v1.0-small.

    The folder gets ``CheXpert-v1.0-small`` with ``train.csv``, ``valid.csv``, JPEG radiographs such as
    ``train/patient00001/study1/view1_frontal.jpg``, and ``PHANTOM.json``, which marks it as synthetic. Labels of
    ``train.csv`` are 1.0, 0.0, -1.0 (uncertain) or blank, as a program that reads reports leaves them: a positive image
    is 1.0 or uncertain, a negative one mostly blank. Labels of ``valid.csv`` are the truth, 1.0 or 0.0. Synthetic
    radiographs, not clinical evidence.

    A folder already made with the same parameters is used as it is; see `make_phantoms`.

    Args:
        folder: Where to write; its parents are made if needed.
        images: Exact number of frontal radiographs, at least 1.
        size: Pixels a side, 64 to 4096.
        seed: Whole number; the same seed gives the same radiographs and labels, whatever `processes`.
        laterals: Whether PA radiographs get a lateral one beside them, as CheXpert's often do. It is the frontal
            drawing at half its width: it has the place and the label of a lateral image and shows none of its anatomy.
        prevalence: Share of radiographs, strictly between 0 and 1, for NIH's findings to enrich, in any spelling, for
            example ``{"Pleural Effusion": 0.3}``. The folder is then recorded as a case-control sample.
        processes: Worker processes; None takes all cores from 200 radiographs on, else one.

    Returns:
        The folder ``CheXpert-v1.0-small`` in `folder`.

    Raises:
        ValueError: If an argument is out of range or a finding is unknown.
        FileExistsError: If the folder holds something else, or phantoms made with other parameters.
        NotADirectoryError: If it is a file.
    """

    def fill(temporary: Path, cohort: Sequence[PhantomImage], workers: int | None) -> tuple[str, dict[str, Any]]:
        planned = [entry for image in cohort for entry in _planned(image, laterals)]
        drawn = draw_images(planned, seed, size, temporary, workers)
        truth = _truth(cohort, [drawn[_path(image, "view1_frontal")].devices for image in cohort], seed)
        marks = _with_truth(cohort, _marks(cohort, truth, seed), truth)
        for file, valid in (("train.csv", False), ("valid.csv", True)):
            lines = [
                _line(entry, labels)
                for image, labels in zip(cohort, marks, strict=True)
                if image.test == valid
                for entry in _planned(image, laterals)
            ]
            files.write_text(temporary / file, "".join(f"{line}\n" for line in (_HEADER, *lines)))
        return "chexkeras phantoms in CheXpert's layout", {
            "images": len(planned),
            "patients": len({image.patient for image in cohort}),
            "valid_images": sum(image.test for image in cohort),
            "shown": dict(zip(CHEXPERT14, truth.sum(axis=0).tolist(), strict=True)),
            "uncertain": dict(zip(CHEXPERT14, (marks == -1).sum(axis=0).tolist(), strict=True)),
        }

    return make_folder(
        checks.typed_path(folder, "folder") / FOLDER,
        fill,
        images=images,
        size=size,
        seed=seed,
        prevalence=prevalence,
        processes=processes,
        layout={"layout": "chexpert"},
        laterals=laterals,
    )


def _path(image: PhantomImage, view: str) -> str:
    part = "valid" if image.test else "train"
    return f"{part}/patient{image.patient:05d}/study{image.follow_up + 1}/{view}.jpg"


def _planned(image: PhantomImage, laterals: bool) -> list[PlannedImage]:
    frontal = PlannedImage(image, _path(image, "view1_frontal"))
    with_lateral = laterals and image.view == "PA"
    return [frontal, PlannedImage(image, _path(image, "view2_lateral"), squeezed=True)] if with_lateral else [frontal]


def _truth(images: Sequence[PhantomImage], devices: Sequence[bool], seed: int) -> np.ndarray:
    """Returns what each image shows: booleans (n_images, 14), in the order of CHEXPERT14."""
    truth = np.zeros((len(images), len(CHEXPERT14)), dtype=bool)
    severities = [dict(image.severity) for image in images]
    for name, is_shown in _TRUTH.items():
        truth[:, CHEXPERT14.index(name)] = [is_shown(severity) for severity in severities]
    rng = np.random.default_rng(np.random.SeedSequence([seed], spawn_key=(2,)))
    truth[:, CHEXPERT14.index("Fracture")] = rng.random(len(images)) < _FRACTURES
    truth[:, CHEXPERT14.index(NO_FINDING)] = ~truth.any(axis=1)
    # Last: devices alone leave an image without finding.
    truth[:, CHEXPERT14.index(SUPPORT_DEVICES)] = devices
    return truth


def observations(image: PhantomImage) -> dict[str, bool]:
    """Returns which of CheXpert's observations an image shows, besides devices and what is not drawn.

    Args:
        image: The image.
    """
    severity = dict(image.severity)
    return {name: is_shown(severity) for name, is_shown in _TRUTH.items()}


def report_marks(images: Sequence[PhantomImage], devices: Sequence[bool], seed: int) -> np.ndarray:
    """Returns the labels that a program finds in reports: 1, 0, -1 (uncertain), or NaN for a blank.

    Args:
        images: The cohort.
        devices: Whether tubes, lines or leads were drawn on each image.
        seed: The cohort's seed.

    Returns:
        Float array (n_images, 14), in the order of CHEXPERT14.
    """
    return _marks(images, _truth(images, devices, seed), seed)


def label_lines(
    images: Sequence[PhantomImage], devices: Sequence[bool], seed: int, folder: str
) -> dict[str, list[str]]:
    """Returns the lines of the label files, header first, by file name.

    Args:
        images: The cohort.
        devices: Whether tubes, lines or leads were drawn on each image.
        seed: The cohort's seed.
        folder: The folder that the paths begin with.
    """
    truth = _truth(images, devices, seed)
    marks = _with_truth(images, _marks(images, truth, seed), truth)
    lines: dict[str, list[str]] = {"train.csv": [_HEADER], "valid.csv": [_HEADER]}
    for image, labels in zip(images, marks, strict=True):
        for entry in _planned(image, False):
            lines["valid.csv" if image.test else "train.csv"].append(_line(entry, labels, folder))
    return lines


def _with_truth(images: Sequence[PhantomImage], marks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns the marks, the truth in place of them for the images of valid.csv."""
    test = np.array([image.test for image in images])
    return np.where(test[:, None], truth.astype(float), marks)


def _marks(images: Sequence[PhantomImage], truth: np.ndarray, seed: int) -> np.ndarray:
    """Returns the labels as CheXpert's program writes them: 1, 0, -1, or NaN for a blank."""
    drawn = np.random.default_rng(np.random.SeedSequence([seed], spawn_key=(3,))).random(truth.shape)
    left_open = np.array([_LEFT_OPEN.get(name, _USUALLY_LEFT_OPEN) for name in CHEXPERT14])
    of_positives = np.where(drawn < left_open, -1.0, 1.0)
    of_negatives = np.where(
        drawn < _WRONGLY_LEFT_OPEN, -1.0, np.where(drawn < _WRONGLY_LEFT_OPEN + _DENIED, 0.0, np.nan)
    )
    read = np.where(truth, of_positives, of_negatives)
    # Nothing present and nothing left open, devices aside: that is how the label No Finding comes about.
    place = CHEXPERT14.index(NO_FINDING)
    others = [index for index, name in enumerate(CHEXPERT14) if name not in (NO_FINDING, SUPPORT_DEVICES)]
    read[:, place] = np.where(np.isin(read[:, others], (1.0, -1.0)).any(axis=1), np.nan, 1.0)
    return read


def _line(planned: PlannedImage, labels: np.ndarray, folder: str = FOLDER) -> str:
    image = planned.image
    view = ("Lateral", "") if planned.squeezed else ("Frontal", image.view)
    described = (f"{folder}/{planned.path}", _SEX[image.sex], str(min(image.age_years, _OLDEST)), *view)
    return ",".join((*described, *("" if np.isnan(label) else f"{label:.1f}" for label in labels)))
