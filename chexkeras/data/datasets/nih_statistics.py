"""What NIH ChestX-ray14 looks like in numbers: the margins that the synthetic cohort reproduces.

Every constant here was computed from NIH's ``Data_Entry_2017_v2020.csv`` (112,120 images of 30,805 patients). They are
summary numbers; no row of that file is stored.

Source: Wang et al., "ChestX-ray8", CVPR 2017; data provided by the NIH Clinical Center,
https://nihcc.app.box.com/v/ChestXray-NIHCC.
"""

import numpy as np

from chexkeras.findings import NIH14

PREVALENCE: dict[str, float] = dict(
    zip(
        NIH14,
        (
            *(0.10309, 0.02476, 0.11877, 0.17743, 0.05157, 0.05647, 0.01276),
            *(0.04729, 0.04163, 0.02054, 0.02244, 0.01504, 0.03019, 0.00202),
        ),
        strict=True,
    )
)
"""Share of images with each finding."""

AP_SHARE = 0.39966
MALE_SHARE = 0.56493
"""Shares of images, not of patients."""

MEAN_IMAGES_PER_PATIENT = 3.64
TEST_SHARE = 0.22829
"""Share of images in the official test list."""

PERSISTENCE = np.array(
    (0.53, 0.68, 0.64, 0.40, 0.72, 0.60, 0.45, 0.83, 0.55, 0.65, 0.79, 0.59, 0.55, 0.91, 0.72, 1.0, 1.0, 1.0)
)
"""Correlation of the latent variables between consecutive images of a patient: the 14 findings, AP view, male, age,
number of images (tetrachoric for the binary ones; 1 for what belongs to the patient)."""

# Tetrachoric (binary with binary), polyserial (binary with normal score) and normal-score correlations over images.
_LOWER_TRIANGLE = (
    (0.07,),
    (0.37, 0.39),
    (0.21, 0.05, 0.25),
    (0.06, -0.07, 0.20, 0.04),
    (-0.03, -0.07, 0.06, 0.12, 0.30),
    (0.14, 0.02, 0.12, 0.29, -0.01, -0.03),
    (0.10, -0.17, 0.15, 0.00, 0.12, 0.03, -0.09),
    (0.31, 0.08, 0.28, 0.14, 0.25, 0.12, 0.15, 0.00),
    (-0.02, 0.16, 0.23, 0.31, 0.02, 0.00, 0.56, -0.20, 0.11),
    (0.13, -0.06, 0.05, 0.00, 0.11, -0.04, -0.05, 0.51, 0.00, -0.09),
    (0.06, 0.04, -0.01, 0.04, 0.06, 0.12, -0.09, 0.00, 0.02, -0.19, -0.01),
    (0.10, 0.06, 0.23, 0.07, 0.24, 0.19, 0.02, 0.14, 0.13, -0.02, 0.14, 0.26),
    (0.11, 0.03, -0.05, -0.04, 0.13, -0.04, 0.00, -0.03, -0.11, -0.05, -0.03, 0.12, 0.02),
    (0.15, 0.04, 0.16, 0.22, -0.02, -0.08, 0.16, -0.05, 0.32, 0.53, 0.00, -0.27, -0.14, -0.23),
    (0.05, -0.10, -0.01, 0.02, 0.06, 0.02, 0.02, -0.06, 0.01, -0.04, 0.08, -0.02, 0.04, -0.11, 0.05),
    (0.12, 0.01, 0.11, -0.03, 0.05, 0.07, -0.05, -0.01, -0.01, -0.04, 0.09, 0.14, 0.10, 0.34, -0.05, 0.03),
    (0.14, 0.06, 0.28, 0.24, 0.08, 0.04, 0.18, 0.31, 0.29, 0.28, 0.20, -0.06, 0.09, -0.10, 0.54, 0.07, -0.01),
)


def latent_correlation() -> np.ndarray:
    """Returns the correlation of the 18 latent variables over images.

    Returns:
        Array (18, 18): 14 findings in the order of NIH14, AP view, male, age, number of images of the patient.
    """
    size = len(_LOWER_TRIANGLE) + 1
    matrix = np.eye(size)
    for index, row in enumerate(_LOWER_TRIANGLE, start=1):
        matrix[index, :index] = matrix[:index, index] = row
    return matrix


IMAGES_PER_PATIENT = (
    *((1, 0.5682), (2, 0.7017), (3, 0.7699), (4, 0.8130), (5, 0.8435), (6, 0.8690), (8, 0.9048), (10, 0.9278)),
    *((13, 0.9499), (16, 0.9636), (20, 0.9739), (25, 0.9821), (30, 0.9871), (40, 0.9924), (50, 0.9951)),
    *((70, 0.9985), (100, 0.9994), (184, 1.0)),
)
"""(n, share of PATIENTS with at most n images)."""

IMAGES_IN_PATIENT_OF = (
    *((1, 0.1561), (2, 0.2295), (3, 0.2857), (4, 0.3331), (5, 0.3749), (6, 0.4171), (8, 0.4903), (10, 0.5499)),
    *((13, 0.6217), (16, 0.6776), (20, 0.7300), (25, 0.7816), (30, 0.8196), (40, 0.8707), (50, 0.9036)),
    *((70, 0.9583), (100, 0.9794), (184, 1.0)),
)
"""(n, share of IMAGES whose patient has at most n images)."""

AGE_QUANTILES = (
    *((0.0, 1.0), (0.01, 8.0), (0.02, 11.0), (0.05, 18.0), (0.1, 23.0), (0.2, 31.0), (0.3, 38.0), (0.4, 44.0)),
    *((0.5, 49.0), (0.6, 53.0), (0.7, 57.0), (0.8, 61.0), (0.9, 67.0), (0.95, 72.0), (0.98, 76.0), (0.99, 79.0)),
    (1.0, 95.0),
)
"""(share, age in years) over images."""

ORIGINALS = {
    "PA": (
        (2992, 2991, 0.143, 0.45),
        (2500, 2048, 0.168, 0.14),
        (2048, 2500, 0.168, 0.11),
        (2021, 2021, 0.194311, 0.10),
        (2500, 2048, 0.171, 0.06),
        (2048, 2500, 0.171, 0.06),
        (2544, 3056, 0.139, 0.04),
        (3056, 2544, 0.139, 0.04),
    ),
    "AP": (
        (2500, 2048, 0.168, 0.53),
        (3056, 2544, 0.139, 0.31),
        (2500, 2048, 0.171, 0.11),
        (2048, 2500, 0.168, 0.04),
        (2544, 3056, 0.139, 0.01),
    ),
}
"""Per view: original width and height in pixels, pixel spacing in mm, share."""
