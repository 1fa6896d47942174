"""Codes of findings: SNOMED CT, RadLex and DICOM's own, one for each finding of NIH ChestX-ray14 and of CheXpert.

A finding is coded by the narrowest concept that is not narrower than the label. Where no concept names the label
alone, a wider one stands with the site, or a code of this package's own scheme, which the object declares. A label of
one's own gets such a code, too. The meaning is the coding scheme's; the label as the run spells it stands beside it.

Source:
    SNOMED CT International Edition; RadLex 4.3; PS3.16 Annex D and CID 6102 (DCM codes); labels as Wang et al., CVPR
    2017, and Irvin et al., AAAI 2019, define them.
"""

import hashlib
import re
from typing import NamedTuple

from chexkeras.arguments import checked
from chexkeras.findings import ABNORMAL, ALL, NO_FINDING, canonical

SNOMED, RADLEX, DICOM, OWN = "SCT", "RADLEX", "DCM", "99CHEXKERAS"
"""Designators of coding schemes (PS3.16 Table 8-1); the last is private, as "99" says."""

EXACT, WIDER, OWN_SCHEME = "exact", "wider", "own"
"""How a code fits its label: it means the same, it means more, or no public code was found."""

_LONGEST_CODE, _LONGEST_MEANING = 16, 64


class CodeTriplet(NamedTuple):
    """A coded concept (PS3.3 8.8).

    Attributes:
        value: The code.
        scheme: The coding scheme's designator.
        meaning: What it means, as the scheme says.
    """

    value: str
    scheme: str
    meaning: str


class FindingCode(NamedTuple):
    """How a finding is coded.

    Attributes:
        code: The code that is used.
        fit: `EXACT`, `WIDER` or `OWN_SCHEME`.
        radlex: RadLex's concept of the same, where there is one; "" where none was found.
        site: Where it is, as far as the label says.
        note: What a reader must know of the choice; empty where nothing.
    """

    code: CodeTriplet
    fit: str
    radlex: str
    site: CodeTriplet
    note: str = ""


CHEST = CodeTriplet("816094009", SNOMED, "Chest")
_LUNG = CodeTriplet("39607008", SNOMED, "Lung")
_PLEURA = CodeTriplet("3120008", SNOMED, "Pleura")
_HEART = CodeTriplet("80891009", SNOMED, "Heart")
_MEDIASTINUM = CodeTriplet("72410000", SNOMED, "Mediastinum")
_DIAPHRAGM = CodeTriplet("5798000", SNOMED, "Diaphragm")


def _snomed(value: str, meaning: str) -> CodeTriplet:
    return CodeTriplet(value, SNOMED, meaning)


def _own(value: str, meaning: str) -> CodeTriplet:
    return CodeTriplet(value, OWN, meaning)


_EFFUSION = FindingCode(_snomed("60046008", "Pleural effusion"), EXACT, "RID34539", _PLEURA)

FINDING_CODES: dict[str, FindingCode] = {
    "Atelectasis": FindingCode(_snomed("46621007", "Atelectasis"), EXACT, "RID28493", _LUNG),
    "Cardiomegaly": FindingCode(
        _snomed("8186001", "Cardiomegaly"), EXACT, "", _HEART, "RadLex 4.3 has no such concept"
    ),
    "Effusion": _EFFUSION,
    "Infiltration": FindingCode(
        _snomed("409609008", "Radiologic infiltrate of lung"), EXACT, "", _LUNG,
        "radiologists no longer use the word for one thing; the label is the word of the reports",
    ),
    "Mass": FindingCode(_snomed("309529002", "Lung mass"), EXACT, "RID39056", _LUNG),
    "Nodule": FindingCode(_snomed("786838002", "Nodule of lung"), EXACT, "RID50149", _LUNG),
    "Pneumonia": FindingCode(_snomed("233604007", "Pneumonia"), EXACT, "RID5350", _LUNG),
    "Pneumothorax": FindingCode(_snomed("36118008", "Pneumothorax"), EXACT, "RID5352", _PLEURA),
    "Consolidation": FindingCode(_snomed("95436008", "Lung consolidation"), EXACT, "RID43255", _LUNG),
    "Edema": FindingCode(_snomed("19242006", "Pulmonary edema"), EXACT, "RID4866", _LUNG),
    "Emphysema": FindingCode(_snomed("87433001", "Pulmonary emphysema"), EXACT, "RID4799", _LUNG),
    "Fibrosis": FindingCode(_snomed("51615001", "Pulmonary fibrosis"), EXACT, "RID3820", _LUNG),
    "Pleural_Thickening": FindingCode(
        CodeTriplet("RID28509", RADLEX, "thickening"), WIDER, "RID28509", _PLEURA, "of the pleura, as the site says"
    ),
    "Hernia": FindingCode(
        _snomed("39839004", "Diaphragmatic hernia"), EXACT, "", _DIAPHRAGM, "hiatal hernias are most of them"
    ),
    NO_FINDING: FindingCode(
        _own("NO_FINDING", "No finding of the label vocabulary"), OWN_SCHEME, "", CHEST,
        "SNOMED CT's Normal would say more: findings that are no labels may be there",
    ),
    "Enlarged Cardiomediastinum": FindingCode(
        _own("ENLARGED_CM", "Enlarged cardiomediastinum"), OWN_SCHEME, "", _MEDIASTINUM,
        "RadLex 4.3 has no such concept",
    ),
    "Lung Opacity": FindingCode(
        CodeTriplet("112001", DICOM, "Opacity"), WIDER, "RID28530", _LUNG, "of the lung, as the site says"
    ),
    "Lung Lesion": FindingCode(
        _snomed("52988006", "Lesion"), WIDER, "RID38780", _LUNG, "nodule or mass, as CheXpert has it; of the lung"
    ),
    "Pleural Effusion": _EFFUSION,
    "Pleural Other": FindingCode(
        _own("PLEURAL_OTHER", "Pleural abnormality other than effusion"), OWN_SCHEME, "", _PLEURA,
        "thickening, plaques and scars together",
    ),
    "Fracture": FindingCode(_snomed("125605004", "Fracture of bone"), EXACT, "RID4650", CHEST),
    "Support Devices": FindingCode(
        CodeTriplet("RID29033", RADLEX, "medical device"), WIDER, "RID29033", CHEST,
        "tubes, lines, pacemakers and other devices on the film",
    ),
    ABNORMAL: FindingCode(
        _snomed("263654008", "Abnormal"), WIDER, "RID28453", CHEST, "any finding of the label vocabulary"
    ),
}  # fmt: skip
"""Every finding that the package knows by name, with its code."""


@checked
def finding_code(finding: str) -> FindingCode:
    """Returns how a finding is coded.

    Args:
        finding: A finding as a run spells it. One that is in no vocabulary gets a code of this package's scheme, the
            same each time.

    Example:
        >>> finding_code("pleural effusion").code
        CodeTriplet(value='60046008', scheme='SCT', meaning='Pleural effusion')
        >>> finding_code("Tuberculosis").code
        CodeTriplet(value='TUBERCULOSIS', scheme='99CHEXKERAS', meaning='Tuberculosis')
    """
    try:
        return FINDING_CODES[canonical(finding, ALL)]
    except ValueError:
        value = re.sub(r"[^A-Z0-9]+", "_", finding.upper()).strip("_")
        if not value or len(value) > _LONGEST_CODE:
            # Of names that do not fit, the fingerprint tells one from the other.
            value = f"F{hashlib.sha256(finding.encode()).hexdigest()[:12].upper()}"
        return FindingCode(_own(value, finding[:_LONGEST_MEANING]), OWN_SCHEME, "", CHEST, "a label of the run's own")
