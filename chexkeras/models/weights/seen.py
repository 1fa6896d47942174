"""Which images weights have seen, and whether a run measures on them: leaky, as a split by image is."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

NIH, CHEXPERT, MIMIC, PADCHEST, OPEN_I = "NIH ChestX-ray14", "CheXpert", "MIMIC-CXR", "PadChest", "Open-i"

_COLLECTIONS: tuple[tuple[str, str], ...] = (
    # RSNA's pneumonia challenge, SIIM's pneumothorax challenge and Google's readings are of NIH's images (Shih et al.,
    # Radiology: Artificial Intelligence 2019; Filice et al., J Digit Imaging 2020; Majkowska et al., Radiology 2020).
    (r"chest[ -]?x-?ray ?-?(8|14)|\bnih\b|\brsna\b|\bsiim\b", NIH),
    (r"chexpert", CHEXPERT),
    (r"\bmimic\b", MIMIC),
    (r"padchest", PADCHEST),
    (r"open-?i\b|indiana", OPEN_I),
    (r"vindr|vinbig", "VinDr-CXR"),
    (r"\bbrax\b", "BRAX"),
    (r"\bjsrt\b", "JSRT"),
    (r"montgomery", "Montgomery County"),
    (r"shenzhen", "Shenzhen"),
    (r"imagenet", "ImageNet"),
)
"""Words in a data set's name, and the collection that its images belong to."""


@dataclass(frozen=True)
class Seen:
    """A data set whose images weights were trained on.

    Attributes:
        dataset: Its name, such as "NIH ChestX-ray14".
        untouched: Which part of it was left alone: "official test" for its official test part; "" for none.
        statement: What the publisher says of it, quoted, or that nothing is said.
        where: Where that stands.
    """

    dataset: str
    untouched: str = ""
    statement: str = "not stated by the publisher"
    where: str = ""

    def __post_init__(self) -> None:
        if self.untouched not in ("", "official test"):
            raise ValueError(f"untouched={self.untouched!r} must be 'official test' or ''.")

    def to_dict(self) -> dict[str, str]:
        """Returns the fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Overlap:
    """What a run measures on images that its weights have seen.

    Attributes:
        part: "test" where the test images are among them or may be, "validation" where these are known to be left
            alone and the others are not, "unknown" where it cannot be told.
        caution: The sentence to show beside every number.
    """

    part: str
    caution: str


def collections(name: str) -> frozenset[str]:
    """Returns the collections that a data set's images belong to, by its name; none where the name says nothing.

    Args:
        name: `TableSource.dataset`, or the name of a data set in words.

    Example:
        >>> sorted(collections("RSNA Pneumonia Detection Challenge"))
        ['NIH ChestX-ray14']
    """
    return frozenset(collection for pattern, collection in _COLLECTIONS if re.search(pattern, name, re.IGNORECASE))


def overlap(
    title: str, seen: Sequence[Seen] | None, dataset: str, *, synthetic: bool = False, split: str = "patient"
) -> Overlap | None:
    """Says whether weights have seen the images that a run measures on.

    Args:
        title: What the weights are called, for the sentence.
        seen: What they were trained on; None where nobody says.
        dataset: `TableSource.dataset` of the images.
        synthetic: Whether the images are phantoms, which no published weights have seen.
        split: How the images are divided: "patient", "official", "image" or "official_image".

    Returns:
        What is to be said, or None where the images are others.
    """
    if synthetic:
        return None
    if seen is None:
        caution = (
            f"Which images {title} were trained on is not stated: those measured here may be among them, and results "
            "then better than on new patients."
        )
        return Overlap("unknown", caution)
    measured = collections(dataset)
    shared = [entry for entry in seen if collections(entry.dataset) & measured or entry.dataset == dataset]
    if shared:
        return _shared(title, shared, official=split in ("official", "official_image"))
    chests = [entry.dataset for entry in seen if collections(entry.dataset) != {"ImageNet"}]
    if measured or not chests:
        return None
    return Overlap(
        "unknown",
        f"The image table does not say which data set its images are of. If they are of {_words(chests)}, {title} were "
        "trained on them, and results are better than on new patients.",
    )


def _shared(title: str, shared: Sequence[Seen], official: bool) -> Overlap:
    names = _words(list(dict.fromkeys(entry.dataset for entry in shared)))
    said = "; ".join(dict.fromkeys(f"{entry.statement} ({entry.where})" if entry.where else entry.statement
                                   for entry in shared))  # fmt: skip
    if official and all(entry.untouched == "official test" for entry in shared):
        return Overlap(
            "validation",
            f"LEAKY weights between pretraining and validation: {title} were trained on images of {names} outside its "
            f"official test part, so the epoch kept and the thresholds were chosen on images that they have seen. The "
            f"test part is none of them: {said}.",
        )
    return Overlap(
        "test",
        f"LEAKY weights: {title} were trained on images of {names}, and test images measured here are among them or "
        f"may be: {said}. What is measured can be better than on new patients and proves nothing.",
    )


def overlap_of_record(
    record: Mapping[str, Any], dataset: str, *, synthetic: bool = False, split: str = "patient"
) -> Overlap | None:
    """Says the same from what a run recorded of its weights, for images other than the run's own.

    Args:
        record: "weights" of provenance.json.
        dataset: `TableSource.dataset` of the images that are measured.
        synthetic: Whether they are phantoms.
        split: How they are divided.

    Returns:
        As `overlap`; None where the record says nothing of what was seen.
    """
    if "seen" not in record:
        return None
    listed = record["seen"]
    seen = None if listed is None else [Seen(**entry) for entry in listed]
    return overlap(str(record.get("title", "the weights")), seen, dataset, synthetic=synthetic, split=split)


def _words(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
