"""Which way the stored image lies: the directions of its rows and columns, and whether view and other tags agree."""

from chexkeras.dicom.attributes.evidence import TagEvidence
from chexkeras.dicom.header import Header

UPRIGHT = "L\\F"
"""Rows towards the patient's left and columns towards the feet: how frontal images are shown, PA and AP alike."""

# Of a patient seen from the front, upright, on the head or on a side; and of one seen from behind, or mirrored.
_FROM_THE_FRONT = (UPRIGHT, "R\\H", "F\\R", "H\\L")
_FROM_BEHIND = ("R\\F", "L\\H", "F\\L", "H\\R")


def find_orientation(header: Header, view: TagEvidence) -> str | None:
    r"""Returns which way a frontal image lies as stored.

    Only what the view can explain is believed. The detector sees a PA patient from behind, so that a PA image whose
    tag says mirrored is one that was never mirrored for display, unless the console says that it was (Field of View
    Horizontal Flip). No AP image comes mirrored from the detector; there, such a tag is taken for a wrong default.

    Args:
        header: The header.
        view: What `views.find_view` returned: a frontal view, about which tags may disagree.

    Returns:
        Empty where the image is upright or no tag says otherwise; a pair of directions like ``F\R``, of rows and of
        columns, where it must be turned; None where the tag cannot be right: the front or back of the patient, an
        oblique direction, one axis twice, one value of two, a mirrored image that is not PA by every tag, or an image
        of one side of the body.

    Source:
        PS3.3 C.7.6.1.1.1 (Patient Orientation), C.8.11.2 (Image Laterality), C.8.11.4 (Field of View Horizontal Flip).
    """
    stored = header.text("PatientOrientation").upper()
    if stored in ("", "L", UPRIGHT):
        return ""
    if header.word("ImageLaterality") in ("L", "R"):
        return None
    if stored in _FROM_BEHIND:
        is_pa = view.value == "PA" and not view.also_source
        return stored if is_pa and header.word("FieldOfViewHorizontalFlip") != "YES" else None
    return stored if stored in _FROM_THE_FRONT else None
