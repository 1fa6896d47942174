"""What tags answer to one question about an image, and the tags with free text that are asked last."""

import dataclasses

from chexkeras.dicom.attributes import descriptions
from chexkeras.dicom.header import Header

OF_THE_SERIES = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription")
"""Keywords of the tags that say what was meant to be exposed, the last by how the image is processed for it."""

OF_THE_STUDY = "StudyDescription"
"""Keyword of the tag that says as what the whole study was ordered."""


@dataclasses.dataclass(frozen=True)
class TagEvidence:
    """What the tags answer to one question about an image, and which of them.

    Attributes:
        value: The answer ("PA", "AP", "CHEST"); empty when it is not one of these or unknown.
        named: What was written, when it came from a coded tag; empty when nothing was, or only in free text.
        source: The keyword of the tag it came from; empty when no tag answered.
        also: The other coded answer, when two tags disagree; otherwise empty, also where free text disagrees.
        also_source: The keyword of the tag that disagrees; empty when none does.
        study: Whether the description of the whole study speaks of something else alone.
    """

    value: str = ""
    named: str = ""
    source: str = ""
    also: str = ""
    also_source: str = ""
    study: bool = False


def described(header: Header, keyword: str) -> str:
    """Returns the free text of a tag as plain words (see `descriptions.words_of`)."""
    return descriptions.words_of(header.text(keyword))
