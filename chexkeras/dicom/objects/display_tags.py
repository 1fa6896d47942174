"""How a film's own tags show its values, as a presentation state must repeat it."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from chexkeras.dicom.header import Header
from chexkeras.dicom.pixels.display import is_inverted
from chexkeras.dicom.pixels.tables import LookupTable, read_table
from chexkeras.dicom.pixels.windows import WINDOWS

DISPLAY_KEYWORDS = (
    *("BitsStored", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape"),
)
"""Keywords of the tags that are looked at."""

_WHITE, _HIGHEST_SIGNED = 2**16 - 1, 2**15 - 1

Table = tuple[int, NDArray[np.uint16]]


@dataclasses.dataclass(frozen=True, eq=False)
class DisplayTags:
    """How stored values become shown ones, as far as the tags are usable.

    Attributes:
        rescale: Slope and intercept, or None.
        table: First mapped value and entries over all of 16 bits, or None: a VOI table; or, of a film with a modality
            table, what that table and the VOI table or window behind it make of stored values together.
        window: Center and width of the first usable window, or None.
        function: What the window does, as VOI LUT Function has it.
        inverted: Whether low values are white.
    """

    rescale: tuple[float, float] | None = None
    table: Table | None = None
    window: tuple[float, float] | None = None
    function: str = "LINEAR"
    inverted: bool = False


def display_tags(header: Header) -> DisplayTags:
    """Reads how a film is shown; what is unusable is left out.

    Args:
        header: Its header.

    Source:
        PS3.3 C.11.1.1, C.11.2.1: tables come before slope and window; the first alternative is the default.
    """
    modality, voi = _table(header, "ModalityLUTSequence"), _table(header, "VOILUTSequence")
    function = header.word("VOILUTFunction") or "LINEAR"
    function = function if function in WINDOWS else "LINEAR"
    window, inverted = _window(header, function), is_inverted(header, [])
    if modality is not None:
        return DisplayTags(table=_composed(header, modality, voi, window, function), inverted=inverted)
    table = None if voi is None else _placed(header, voi.first, voi.entries / (2.0**voi.bits - 1))
    return DisplayTags(
        rescale=_rescale(header),
        table=table,
        window=window if table is None else None,
        function=function.replace(" ", "_"),
        inverted=inverted,
    )


def _composed(
    header: Header,
    modality: LookupTable,
    voi: LookupTable | None,
    window: tuple[float, float] | None,
    function: str,
) -> Table | None:
    """Returns modality table and VOI step as one table of stored values."""
    if voi is not None:
        shown = voi.apply(modality.entries) / (2.0**voi.bits - 1)
    elif window is not None:
        shown = WINDOWS[function](modality.entries, *window)
    else:
        shown = modality.entries / (2.0**modality.bits - 1)
    return _placed(header, modality.first, shown)


def _placed(header: Header, first: int, shown: NDArray[np.float64]) -> Table | None:
    """Returns a table whose first mapped value has the sign of the stored values; None where none can be written."""
    if first > _HIGHEST_SIGNED and header.integer("PixelRepresentation") == 1:
        first -= 2**16
    fits = 0 <= first <= _WHITE or (-_HIGHEST_SIGNED <= first < 0 and len(shown) <= _HIGHEST_SIGNED)
    return (first, np.rint(shown * _WHITE).astype(np.uint16)) if fits else None


def _table(header: Header, keyword: str) -> LookupTable | None:
    depth = header.integer("BitsStored") or 16
    read = (read_table(item, depth) for item in header.items(keyword))
    return next((table for table in read if table is not None), None)


def _rescale(header: Header) -> tuple[float, float] | None:
    slope, intercept = header.numbers("RescaleSlope"), header.numbers("RescaleIntercept")
    if len(slope) > 1 or len(intercept) > 1 or not (slope or intercept) or slope == (0.0,):
        return None
    return (*slope, 1.0)[0], (*intercept, 0.0)[0]


def _window(header: Header, function: str) -> tuple[float, float] | None:
    least = 1.0 if function == "LINEAR" else 0.0
    pairs = zip(header.numbers_or_nan("WindowCenter"), header.numbers_or_nan("WindowWidth"), strict=False)
    usable = (
        (center, width)
        for center, width in pairs
        if math.isfinite(center) and math.isfinite(width) and width > 0 and width >= least
    )
    return next(usable, None)
