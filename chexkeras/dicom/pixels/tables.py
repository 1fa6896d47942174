"""Modality and VOI tables: the entry for each value, and the range that the entries were written for."""

import dataclasses

import numpy as np

from chexkeras.dicom.header import Header

_DEPTHS = range(8, 17)
# How near the largest entry comes to the end of a range that it was written for.
_NEAR = 15 / 16
# Entries take so many bits fewer than declared only by mistake: what they show is darker than a quarter of white.
_SPARE_BITS = 2
# A table of so many entries is smooth; in a shorter one a step can be meant.
_SMOOTH_FROM = 256


@dataclasses.dataclass(frozen=True, eq=False)
class LookupTable:
    """A table that replaces values by its entries.

    Attributes:
        entries: (n,), float, 0 or more.
        first: The value that becomes the first entry, as written.
        bits: The bits that the entries were written for: white is 2**bits - 1.
        declared_bits: The bits that the descriptor says.
    """

    entries: np.ndarray
    first: int
    bits: int
    declared_bits: int

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Returns the entry for each value: before the first one the first, after the last one the last.

        The first value mapped has 16 bits, whose sign is that of the values; read with the other sign it is 65,536 too
        large or too small. It is taken as written unless the table covers more of the values the other way.

        Args:
            values: Every value that can occur, float.

        Source:
            PS3.3 C.11.1.1.1, C.11.2.1.1 (first value mapped, and its sign).
        """
        low, high = float(values.min()), float(values.max())

        def covered(first: int) -> float:
            return max(0.0, min(high, first + self.entries.size - 1) - max(low, first) + 1)

        other = self.first + 65536 if self.first < 0 else self.first - 65536 if self.first > 32767 else self.first
        first = max((self.first, other), key=covered)
        return self.entries[np.clip(np.rint(values) - first, 0, self.entries.size - 1).astype(np.int64)]


def read_table(item: Header, bits_stored: int) -> LookupTable | None:
    """Returns the table in an item of a modality or VOI LUT sequence; None where it is unusable.

    The descriptor's bits are those of the range that the entries are shown over; some consoles write the size of a
    stored entry there, 16, whatever the range. The entries are believed, not the descriptor, where that is sure:

    * the largest entry is 2**k - 1 for a k of 8 or more, as in a table made for k bits;
    * or it takes at least two bits fewer than declared, so that nothing would be brighter than a quarter of white, and
      either takes the bits that the image stores or lies within a sixteenth of the end of the bits that it takes;
    * or it does not fit into the bits declared.

    A table that jumps by more than half of its range between two neighbours is unusable: its entries are of the wrong
    sign, or out of order.

    Any other table is shown over its declared range, however dark that is: one that ends at an odd place may be meant
    to be dark.

    Args:
        item: The item.
        bits_stored: Bits Stored of the image.

    Source:
        PS3.3 C.11.1.1 and C.11.2.1.1: descriptor (entries, 0 meaning 65,536; first value mapped; bits per entry).
    """
    descriptor = item.numbers("LUTDescriptor")
    if len(descriptor) != 3:
        return None
    count, first, declared = int(descriptor[0]) % 65536 or 65536, int(descriptor[1]), int(descriptor[2])
    if declared not in _DEPTHS:
        return None
    entries = _entries(item, count)
    if count == 65535 < entries.size:
        # 65,536 does not fit into the descriptor's 16 bits, and 0 is not known to all for it.
        count = 65536
    if entries.size < count:
        return None
    entries = entries[:count].astype(np.float64)
    # Entries are never signed, whatever their value representation says (PS3.3 C.11.1.1.1).
    entries[entries < 0] += 65536
    if _is_torn(entries):
        return None
    bits = _bits_of_range(float(entries.max()), declared, bits_stored)
    return LookupTable(np.clip(entries, 0, 2**bits - 1), first, bits, declared)


def _is_torn(entries: np.ndarray) -> bool:
    """Returns whether neighbouring values would be shown as black and white, as where entries have the wrong sign.

    Near its ends a table may jump, as from a black surround to the brightest value of a falling table; one of few
    entries is all steps.
    """
    inner = entries[entries.size // 16 : entries.size - entries.size // 16]
    return entries.size >= _SMOOTH_FROM and bool(np.abs(np.diff(inner)).max() > np.ptp(entries) / 2)


def _entries(item: Header, count: int) -> np.ndarray:
    data = item.value("LUTData")
    if not isinstance(data, bytes):
        return np.asarray(item.numbers("LUTData"))
    little = getattr(item.dataset, "original_encoding", (None, True))[1] is not False
    words = np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2" if little else ">u2")
    # Entries in OW are 16-bit words, but 8-bit entries may be packed two to a word, the first in its lower half.
    return words if words.size >= count else _packed(words, data)


def _packed(words: np.ndarray, data: bytes) -> np.ndarray:
    entries = words.astype("<u2").view("u1")
    return entries if len(data) % 2 == 0 else np.append(entries, data[-1])


def _bits_of_range(largest: float, declared: int, bits_stored: int) -> int:
    taken = int(largest).bit_length()
    if largest > 2**declared:
        # One more than the largest number is a slip of rounding, which is cut off.
        return min(taken, _DEPTHS[-1])
    is_full = largest == 2**taken - 1
    is_near = taken == bits_stored or largest >= _NEAR * 2**taken
    is_sure = is_full or (declared - taken >= _SPARE_BITS and is_near)
    return taken if _DEPTHS[0] <= taken < declared and is_sure else declared
