"""Published readings: who read which images how, under which terms, and which labels mean the same.

Counts are our own, made from the published tables; where the publisher states another number, both are given.
"""

from chexkeras.data.datasets import correspondence
from chexkeras.evaluation.reference_standard.readings import ReadingsSource
from chexkeras.results import Estimate, FindingLabelQuality

_NIH_TERMS = (
    "The labels are for research and education, as their publisher states; the images are the NIH Clinical Center's, "
    "without restriction on use."
)

NIH_FOUR_FINDINGS = ReadingsSource(
    name="NIH images read again for four findings (Majkowska et al. 2020)",
    read_by="Each image was read by three radiologists, who were told age and view only and settled disagreements in "
    "up to five rounds; 11 board-certified radiologists for the images of NIH's test list, 13 radiologists and "
    "residents for those of its training list.",
    drawn="1,962 images of NIH's test list, on which each label is as frequent as on the whole list within 0.014, and "
    "2,414 of its training list (counted from the table; the publisher states 2,412).",
    terms=_NIH_TERMS,
    citation="Majkowska et al., Radiology 294, 2020, 421-431.",
    corresponds=(("Pneumothorax", ("Pneumothorax",)), ("Nodule or mass", ("Nodule", "Mass"))),
    differs=(
        ("Airspace opacity", "it may be Consolidation, Infiltration, Pneumonia, Edema or Atelectasis, and none of them "
                             "nor all together mean the same"),
        ("Fracture", "NIH has no such label"),
    ),
)  # fmt: skip
"""Google's readings of 4,376 images of NIH ChestX-ray14."""

NIH_ALL_FINDINGS = ReadingsSource(
    name="NIH images read again for all findings (Nabulsi et al. 2021)",
    read_by="The same five board-certified radiologists read every image independently, told age and view only.",
    drawn="The 810 PA images among the 1,962 of NIH's test list that were read for four findings.",
    terms=_NIH_TERMS,
    citation="Nabulsi et al., Scientific Reports 11, 2021, 15523.",
    corresponds=(("Pleural Thickening", ("Pleural_Thickening",)),),
    differs=(
        ("Abnormal", "it counts findings that NIH does not label"),
        ("Other", "NIH has no such label"),
    ),
)
"""Google's readings of 810 PA images of NIH ChestX-ray14 for its 14 findings."""

RSNA = ReadingsSource(
    name="RSNA Pneumonia Detection Challenge (Shih et al. 2019)",
    read_by="Radiologists marked opacities that may be pneumonia, on the image alone.",
    drawn="26,684 images of NIH ChestX-ray14, chosen for the challenge so that about half lack a finding by NIH's "
    "labels; pneumonia is far more frequent than in NIH.",
    terms="The challenge's rules: academic and non-commercial use; cite Shih et al. and the NIH Clinical Center.",
    citation="Shih et al., Radiology: Artificial Intelligence 1, 2019, e180041; images from Wang et al., CVPR 2017.",
    corresponds=correspondence.corresponding("rsna"),
    cautions=(
        "RSNA's readers marked opacities that may be pneumonia on the image alone; a report's pneumonia also rests on "
        "what is known of the patient.",
    ),
)
"""The challenge's boxes: an image with a box was read as possible pneumonia. Its images are images of NIH."""

VINDR = ReadingsSource(
    name="VinDr-CXR (Nguyen et al. 2022)",
    read_by="Each image was read by three of 17 radiologists, independently.",
    drawn="15,000 frontal images of adults from two hospitals in Vietnam, the training part of VinDr-CXR.",
    cautions=(
        "Which reader read an image tells what is on it: of the 7,406 images that none of R8, R9 and R10 read, 248 "
        "have any box, of the 5,501 that all three read 4,146 (counted). Readers must not be compared across "
        "panels, and Dawid and Skene's model, which takes images for shared out at random, does not hold.",
    ),
    terms="PhysioNet Credentialed Health Data License, or the rules of the VinBigData challenge.",
    citation="Nguyen et al., Scientific Data 9, 2022, 429.",
    corresponds=correspondence.corresponding("vindr"),
    differs=correspondence.differing("vindr"),
)
"""Three readers' boxes an image; an image without a box of a reader was read as "No finding" by him."""


def _measured(value: float, low: float, high: float, n: int) -> Estimate:
    return Estimate(value, low, high, 0.95, n, "label_quality on Majkowska et al.'s table, by patient")


NIH_LABELS = (
    FindingLabelQuality(
        "Pneumothorax", ("Pneumothorax",), 4376, 1695, 109, 129, 129, 4009,
        sensitivity=_measured(0.458, 0.389, 0.529, 238),
        specificity=_measured(0.969, 0.958, 0.977, 4138),
        ppv=_measured(0.458, 0.385, 0.533, 238),
        npv=_measured(0.969, 0.960, 0.976, 4138),
        kappa=_measured(0.427, 0.366, 0.492, 4376),
        perfect_auroc=_measured(0.713, 0.677, 0.748, 4376),
    ),
    FindingLabelQuality(
        "Nodule or mass", ("Nodule", "Mass"), 4376, 1695, 256, 199, 349, 3572,
        sensitivity=_measured(0.423, 0.375, 0.473, 605),
        specificity=_measured(0.947, 0.935, 0.957, 3771),
        ppv=_measured(0.563, 0.498, 0.626, 455),
        npv=_measured(0.911, 0.895, 0.925, 3921),
        kappa=_measured(0.413, 0.368, 0.460, 4376),
        perfect_auroc=_measured(0.737, 0.707, 0.765, 4376),
    ),
)  # fmt: skip
"""What NIH's labels are worth on the images that were read again: the 2020 revision's, numbers to three digits."""
