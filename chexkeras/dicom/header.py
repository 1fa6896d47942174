"""Reading header values that may be missing, malformed or misplaced, without an exception for any of them."""

import math
import re
from typing import TYPE_CHECKING, Any

from chexkeras.dicom import privacy

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Far more than any text or list of numbers holds (PS3.5 6.2); only tables, in sequences and data, can be longer.
_LONGEST_VALUE = 2**16

# What people write where a value is missing.
_EMPTY_WORDS = frozenset({"", "UNKNOWN", "UNSPECIFIED", "NONE", "NULL", "NA", "N A"})


def fold(text: str) -> str:
    """Returns text in upper case with every run of other characters as one space, so that spellings compare equal.

    Example:
        >>> fold(" Chest_PA ")
        'CHEST PA'
    """
    return re.sub(r"[\W_]+", " ", text.upper()).strip()


def name_tag(keyword: str) -> str:
    """Returns a keyword with the number of its tag; anything else unchanged.

    Example:
        >>> name_tag("Modality"), name_tag("file")
        ('(0008,0060) Modality', 'file')
    """
    from pydicom.datadict import tag_for_keyword

    number = tag_for_keyword(keyword)
    return keyword if number is None else f"({number >> 16:04X},{number & 0xFFFF:04X}) {keyword}"


def _number(part: Any) -> float:
    try:
        return float(part)
    except privacy.tag_errors():
        return math.nan


class Header:
    """A view of a data set that answers with plain values and remembers what it could not read.

    Attributes:
        dataset: The data set.
        unreadable: Keywords whose value raised or has the wrong form, in the order they were met.
    """

    def __init__(self, dataset: "Dataset"):
        self.dataset = dataset
        self.unreadable: list[str] = []

    def _cannot_read(self, keyword: str) -> None:
        if keyword not in self.unreadable:
            self.unreadable.append(keyword)

    def has(self, keyword: str) -> bool:
        """Returns whether the tag is there, with or without a value."""
        return keyword in self.dataset

    def value(self, keyword: str) -> Any:
        """Returns the value, or None when the tag is missing, empty or unreadable."""
        with privacy.quiet():
            try:
                if self._is_too_long(keyword):
                    raise ValueError
                value = self.dataset[keyword].value if keyword in self.dataset else None
                if value is not None and not isinstance(value, (int, float)) and len(value) == 0:
                    value = None
            except privacy.tag_errors():
                self._cannot_read(keyword)
                value = None
        return value

    def _is_too_long(self, keyword: str) -> bool:
        """Returns whether a value is longer than any real one, before it is parted: millions of parts take minutes."""
        if keyword not in self.dataset or keyword.endswith(("Sequence", "Data")):
            return False
        stored = self.dataset.get_item(keyword)
        return (
            len(getattr(stored, "value", None) or b"") > _LONGEST_VALUE if getattr(stored, "is_raw", False) else False
        )

    def _parts(self, keyword: str) -> list[Any]:
        value = self.value(keyword)
        if value is None:
            return []
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            return [value]
        return list(value)

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Returns the values as stripped text, without the empty ones; none where a sequence stands for them."""
        from pydicom.dataset import Dataset

        parts = self._parts(keyword)
        if any(isinstance(part, Dataset) for part in parts):
            self._cannot_read(keyword)
            return ()
        texts = [part.decode("ascii", "replace") if isinstance(part, bytes) else str(part) for part in parts]
        stripped = (text.replace("\0", " ").strip() for text in texts)
        return tuple(text for text in stripped if text)

    def text(self, keyword: str) -> str:
        r"""Returns the values as one text, joined by ``\``; empty when there is none."""
        return "\\".join(self.texts(keyword))

    def word(self, keyword: str) -> str:
        """Returns the value folded (see `fold`); empty also when it only says that it is unknown."""
        folded = fold(self.text(keyword))
        return "" if folded in _EMPTY_WORDS else folded

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Returns the values as finite floats; empty when there is none, or when any is not a finite number."""
        found = self.numbers_or_nan(keyword)
        if not all(map(math.isfinite, found)):
            self._cannot_read(keyword)
            return ()
        return found

    def numbers_or_nan(self, keyword: str) -> tuple[float, ...]:
        """Returns the values as floats, NaN for each that is no number; empty when there is none."""
        return tuple(_number(part) for part in self._parts(keyword))

    def integer(self, keyword: str) -> int | None:
        """Returns the single whole number there, or None."""
        found = self.numbers(keyword)
        if not found:
            return None
        if len(found) > 1 or found[0] != int(found[0]):
            self._cannot_read(keyword)
            return None
        return int(found[0])

    def items(self, keyword: str) -> tuple["Header", ...]:
        """Returns the items of a sequence, each as a `Header`."""
        from pydicom.dataset import Dataset

        parts = self._parts(keyword)
        if not all(isinstance(part, Dataset) for part in parts):
            self._cannot_read(keyword)
            return ()
        return tuple(Header(part) for part in parts)

    def codes(self, keyword: str) -> tuple[str, ...]:
        """Returns the code values of a code sequence (PS3.3 8.8); codes are unique enough without their scheme."""
        return tuple(item.text("CodeValue") for item in self.items(keyword) if item.text("CodeValue"))

    @property
    def sop_class(self) -> str:
        """The SOP class UID, from the data set or else from the file meta information; empty when neither says."""
        meta = getattr(self.dataset, "file_meta", None)
        fallback = Header(meta).text("MediaStorageSOPClassUID") if meta is not None else ""
        return self.text("SOPClassUID") or fallback


def is_rgb(header: Header) -> bool:
    """Returns whether an image is described as RGB of 8 bits, which may be a grey image written three times.

    Source:
        PS3.3 C.7.6.3.1.1, C.7.6.3.1.2.
    """
    description = [header.integer(name) for name in ("SamplesPerPixel", "BitsAllocated", "BitsStored")]
    unsigned = header.integer("PixelRepresentation") in (None, 0)
    return header.word("PhotometricInterpretation") == "RGB" and description == [3, 8, 8] and unsigned
