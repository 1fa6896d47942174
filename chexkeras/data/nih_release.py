"""Which release of NIH's labels a table holds, told from its content and not from its file's name."""

import re
from collections.abc import Sequence

REVISION_2020 = "2020 revision"
CORRECTED_2017 = "2017 release, corrected labels"
FIRST_2017 = "2017 release, first labels"
RELEASE_2017 = "2017 release"
UNKNOWN = "unknown"

# Films whose labels NIH changed between its first release (of which Kaggle's sample is a part) and the corrected one:
# each gained the finding named here.
_GAINED = {
    "00000150_002.png": "Pneumonia",
    "00000193_019.png": "Pneumonia",
    "00007444_003.png": "Pneumonia",
    "00010815_006.png": "Atelectasis",
    "00011151_004.png": "Mass",
    "00011831_008.png": "Pneumonia",
    "00011832_002.png": "Nodule",
    "00019765_010.png": "Pneumonia",
    "00020065_008.png": "Mass",
    "00022727_000.png": "Infiltration",
    "00027464_033.png": "Cardiomegaly",
    "00029808_003.png": "Pneumonia",
}
_NAME = re.compile(r"\d{8}_(\d{3})\.")
# With 27 % of the later films renumbered, this many that all agree are the 2020 revision once in 10,000.
_ENOUGH_FILMS = 30


def label_release(image_ids: Sequence[str], labels: Sequence[str], follow_up: Sequence[int]) -> str:
    """Names the release.

    Two things tell the releases apart. The first labels lack findings that the corrected ones have (the twelve films
    above; Pneumonia on 1,431 films against 1,353). And the 2020 revision renumbered the follow-ups: before it, the
    follow-up was always the number in the file's name, since then it differs on 22 % of films.

    Args:
        image_ids: File names such as ``00000001_000.png``.
        labels: Label text such as ``Cardiomegaly|Emphysema``.
        follow_up: Follow-up numbers.

    Returns:
        "2020 revision", "2017 release, corrected labels", "2017 release, first labels", "2017 release" when no film
        tells which labels, or "unknown" when the evidence is missing or speaks both ways.
    """
    numbers = [int(match[1]) if (match := _NAME.match(image)) else None for image in image_ids]
    renumbered = any(number is not None and number != given for number, given in zip(numbers, follow_up, strict=True))
    later = sum(number is not None and number > 0 for number in numbers)
    has_gained = [
        _GAINED[image] in text.split("|") for image, text in zip(image_ids, labels, strict=True) if image in _GAINED
    ]
    if has_gained and not any(has_gained):
        return UNKNOWN if renumbered else FIRST_2017
    if has_gained and not all(has_gained):
        return UNKNOWN
    if renumbered:
        return REVISION_2020
    if later < _ENOUGH_FILMS:
        return UNKNOWN
    return CORRECTED_2017 if has_gained else RELEASE_2017
