"""From stored values to what a viewer shows: 0 black, 255 white, in the sense of MONOCHROME2.

Every step of the chain maps one grey value to one, so the chain is worked out once for each possible stored value (at
most 65,536 of them) and then looked up for every pixel. The order of the steps is that of PS3.4 N.2.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from chexkeras.dicom.header import Header, is_rgb
from chexkeras.dicom.pixels import decoding
from chexkeras.dicom.profiles import REQUIRED, STEPS, USUAL_STEPS, PixelSteps
from chexkeras.dicom.rejection import DicomRejected

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


_LUT_DEPTHS = range(8, 17)
# Where an image says no window: a marker of lead or a broken cell of the detector is no reason to show the rest grey.
_SHOWN_PERCENTILES = (0.5, 99.5)


@dataclasses.dataclass(frozen=True, eq=False)
class Rendered:
    """Display pixels and how they came about.

    Attributes:
        pixels: (rows, columns), uint8; 0 is black, 255 is white.
        warnings: Codes of the rules on pixel data and display that the image breaks.
        decoder: What decoded the stored values.
        padding_fraction: Share of the pixels that is padding, 0 to 1.
        steps: The steps of `STEPS` that were taken, in order.
        window: Which of the file's VOI tables, or where there is no usable one of its windows, was used, the first
            being 1; 0 for none.
    """

    pixels: np.ndarray = dataclasses.field(repr=False)
    warnings: tuple[str, ...]
    decoder: str
    padding_fraction: float
    steps: tuple[str, ...]
    window: int


def render(dataset: "Dataset", steps: PixelSteps = USUAL_STEPS) -> Rendered:
    """Returns the image as a viewer shows it, with the warnings met on the way.

    Args:
        dataset: A single-frame grey image with its file meta information.
        steps: Which steps of the chain are taken.

    Returns:
        The pixels, 0 black to 255 white, and how they came about.

    Raises:
        DicomRejected: If the pixel data cannot be decoded, or a required step does not apply.

    Source:
        PS3.4 N.2.1 (order of the transformations); PS3.3 C.11.1, C.11.2, C.7.6.3.1.2, C.7.5.1.1.2.
    """
    stored = decoding.stored_values(dataset)
    header = Header(dataset)
    # The chain is that of grey images; RGB is stored as it is to be shown (PS3.3 C.11.1, C.11.2.1).
    is_grey = not is_rgb(header)
    taken, warnings = dict.fromkeys(STEPS, False), list(stored.warnings)
    # The stored values become row numbers of the table, in place: an image can have 50 million of them.
    index = stored.values
    index -= stored.lowest
    domain = np.arange(stored.lowest, stored.highest + 1, dtype=np.float64)

    padding = np.zeros(domain.size, dtype=bool)
    if is_grey and steps.takes("padding"):
        padding = padding_mask(header, stored, warnings)
        taken["padding"] = bool(padding.any())
    values, depth = domain, stored.bits
    if is_grey and steps.takes("modality"):
        values, depth, taken["modality"] = modality_values(header, domain, warnings)
    # A window is meant for rescaled values; without these it would show anything.
    has_values = "modality_lut_invalid" not in warnings
    shown, window = voi_values(header, values, warnings) if is_grey and has_values and steps.takes("voi") else (None, 0)
    taken["voi"] = shown is not None
    if shown is None:
        if depth <= 8:
            # Rescaling is linear, so that the range of the stored bits is the range of the domain's two ends.
            tabled = taken["modality"] and header.has("ModalityLUTSequence")
            low, high = (0.0, 2.0**depth - 1) if tabled else (values.min(), values.max())
        else:
            warnings.append("window_missing")
            low, high = _range_in_use(values, index, padding)
        shown = np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros(domain.size)
    if is_grey and steps.takes("inversion") and is_inverted(header, warnings):
        shown, taken["inversion"] = 1.0 - shown, True
    _check_required(steps, taken)
    shown = np.where(padding, 0.0, shown)
    table = np.rint(shown * 255.0).astype(np.uint8)
    fraction = float(padding[index].mean()) if taken["padding"] else 0.0
    used = tuple(step for step in STEPS if taken[step])
    return Rendered(table[index], tuple(dict.fromkeys(warnings)), stored.decoder, fraction, used, window)


def _check_required(steps: PixelSteps, taken: dict[str, bool]) -> None:
    for step, clause in STEPS.items():
        if steps.choice(step) == REQUIRED and not taken[step]:
            raise DicomRejected.because("pixel_step", "", f"an image to which the step {step!r} applies ({clause})")


def _range_in_use(values: np.ndarray, index: np.ndarray, padding: np.ndarray) -> tuple[float, float]:
    """Returns the range of modality values to show: percentiles of those in the image, padding left out.

    Where nearly all pixels have one value, it is the smallest and the largest one that occurs.
    """
    counts = np.zeros(values.size, dtype=np.int64)
    for row in index:
        # One row at a time: numpy makes 64-bit numbers of what it counts, 400 MB for a large image.
        np.add.at(counts, row, 1)
    counts[padding] = 0
    if not counts.any():
        return float(values.min()), float(values.max())
    low, high = percentiles(values, counts, _SHOWN_PERCENTILES)
    return (low, high) if high > low else percentiles(values, counts, (0.0, 100.0))


def percentiles(values: np.ndarray, counts: np.ndarray, shares: tuple[float, float]) -> tuple[float, float]:
    """Returns two percentiles of values that occur several times.

    Args:
        values: Distinct values, in any order.
        counts: How often each occurs; not all 0.
        shares: The two percentages, 0 to 100.

    Returns:
        For each, the smallest value that at least this share of all values does not exceed.

    Source:
        Hyndman and Fan, The American Statistician 1996; 50: 361, definition 1.

    Example:
        >>> percentiles(np.array([7.0, 3.0, 5.0]), np.array([1, 98, 1]), (0.5, 99.0))
        (3.0, 5.0)
    """
    order = np.argsort(values, kind="stable")
    order = order[counts[order] > 0]
    reached = np.cumsum(counts[order])
    places = (np.searchsorted(reached, reached[-1] * share / 100.0) for share in shares)
    low, high = (float(values[order][place]) for place in places)
    return low, high


def padding_mask(header: Header, stored: decoding.StoredPixels, warnings: list[str]) -> np.ndarray:
    """Returns which stored values are padding and take no part in the chain; they are shown black.

    Args:
        header: The header.
        stored: The stored values, for their range.
        warnings: Codes are appended here.

    Returns:
        One bool for each possible stored value, the lowest first.

    Source:
        PS3.3 C.7.5.1.1.2 (Pixel Padding Value and Range Limit, in stored values, both included).
    """
    domain = np.arange(stored.lowest, stored.highest + 1)
    names = ("PixelPaddingValue", "PixelPaddingRangeLimit")
    ends = [header.integer(name) for name in names]
    if any(
        end is None and (header.text(name) or name in header.unreadable) for name, end in zip(names, ends, strict=True)
    ):
        warnings.append("padding_invalid")
    # A signed value written as an unsigned one is a common slip; 16 bits hold either.
    known = [end - 65536 if stored.lowest < 0 and end > 32767 else end for end in ends if end is not None]
    if ends[0] is None:
        return np.zeros(domain.size, dtype=bool)
    return (domain >= min(known)) & (domain <= max(known))


def modality_values(header: Header, values: np.ndarray, warnings: list[str]) -> tuple[np.ndarray, int, bool]:
    """Applies the modality table, or rescale slope and intercept.

    Args:
        header: The header.
        values: Stored values, float.
        warnings: Codes are appended here.

    Returns:
        The modality values, float; the bits they were described with; and whether anything was applied.

    Source:
        PS3.3 C.11.1.1.
    """
    items = header.items("ModalityLUTSequence")
    depth = header.integer("BitsStored") or 16
    if items:
        table = _lookup(items[0])
        if table is not None:
            return _apply_lookup(values, table), table[2], True
        warnings.append("modality_lut_invalid")
        return values, depth, False
    slope, intercept = header.numbers("RescaleSlope"), header.numbers("RescaleIntercept")
    if not slope and not intercept and not (header.has("RescaleSlope") and header.text("RescaleSlope")):
        return values, depth, False
    if len(slope) != 1 or slope[0] == 0 or len(intercept) != 1:
        warnings.append("modality_lut_invalid")
        return values, depth, False
    return values * slope[0] + intercept[0], depth, True


def voi_values(header: Header, values: np.ndarray, warnings: list[str]) -> tuple[np.ndarray | None, int]:
    """Applies the first usable VOI table or else the first usable window.

    Args:
        header: The header.
        values: Modality values, float.
        warnings: Codes are appended here.

    Returns:
        The shown values, 0 to 1, float, None where there is neither, or none that is usable; and the number of the
        table or window, the first being 1.

    Source:
        PS3.3 C.11.2.1: the items of the sequence and the windows are alternatives; the first one is the default.
    """
    tables = [_lookup(item) for item in header.items("VOILUTSequence")]
    if tables:
        place, table = next(((place, table) for place, table in enumerate(tables) if table is not None), (0, None))
        if place or table is None:
            warnings.append("window_other" if place else "voi_lut_invalid")
        if table is not None:
            return _apply_lookup(values, table) / (2.0 ** table[2] - 1), place + 1
    if not header.has("WindowCenter") and not header.has("WindowWidth"):
        return None, 0
    function = header.word("VOILUTFunction") or "LINEAR"
    if function not in WINDOWS:
        warnings.append("voi_function_unknown")
        function = "LINEAR"
    # The function LINEAR divides by the width less one (PS3.3 C.11.2.1.2.1).
    least = 1.0 if function == "LINEAR" else 0.0
    windows = zip(header.numbers_or_nan("WindowCenter"), header.numbers_or_nan("WindowWidth"), strict=False)
    for place, (center, width) in enumerate(windows):
        if math.isfinite(center) and math.isfinite(width) and width > 0 and width >= least:
            if place:
                warnings.append("window_other")
            return WINDOWS[function](values, center, width), place + 1
    warnings.append("window_invalid")
    return None, 0


def _lookup(item: Header) -> tuple[np.ndarray, int, int] | None:
    """Returns a table's entries, the first value mapped and its bits; None where the table is unusable.

    Source:
        PS3.3 C.11.1.1 and C.11.2.1.1: descriptor (entries, 0 meaning 65,536; first value mapped; bits per entry).
    """
    descriptor = item.numbers("LUTDescriptor")
    if len(descriptor) != 3:
        return None
    count, first, bits = int(descriptor[0]) % 65536 or 65536, int(descriptor[1]), int(descriptor[2])
    data = item.value("LUTData")
    if isinstance(data, bytes):
        # Entries in OW are 16-bit words, but 8-bit entries may be packed two to a word.
        wide = len(data) >= 2 * count
        little = getattr(item.dataset, "original_encoding", (None, True))[1] is not False
        entries = np.frombuffer(data, dtype=("<u2" if little else ">u2") if wide else "u1")
    else:
        numbers = item.numbers("LUTData")
        entries = np.asarray(numbers)
    if bits not in _LUT_DEPTHS or entries.size < count:
        return None
    return np.clip(entries[:count].astype(np.float64), 0, 2**bits - 1), first, bits


def _apply_lookup(values: np.ndarray, table: tuple[np.ndarray, int, int]) -> np.ndarray:
    entries, first, _ = table
    if first > 32767 and values.min() < 0:
        first -= 65536
    # Values before the first entry take the first one, values after the last entry the last one.
    return entries[np.clip(np.rint(values).astype(np.int64) - first, 0, entries.size - 1)]


def is_inverted(header: Header, warnings: list[str]) -> bool:
    """Returns whether low values are to be shown white.

    MONOCHROME1 and the shape INVERSE say the same thing, and a digital radiograph must carry both or neither; together
    they mean one inversion. Where they disagree, the one that asks for an inversion is believed, with a warning.

    Args:
        header: The header.
        warnings: Codes are appended here.

    Source:
        PS3.3 C.7.6.3.1.2 (MONOCHROME1), C.8.11.3.1.2 (Presentation LUT Shape).
    """
    is_first = header.word("PhotometricInterpretation") == "MONOCHROME1"
    shape = header.word("PresentationLUTShape")
    if shape in ("IDENTITY", "INVERSE") and is_first != (shape == "INVERSE"):
        warnings.append("presentation_conflict")
    return is_first or shape == "INVERSE"


def linear_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Returns the values seen through a LINEAR window, 0 to 1.

    The half and the one belong to it: with center 128 and width 256, 0 becomes 0 and 255 becomes 1.

    Args:
        values: Modality values.
        center: Window Center.
        width: Window Width, at least 1.

    Source:
        PS3.3 C.11.2.1.2.1.
    """
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0.0, 1.0)


def linear_exact_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Returns the values seen through a LINEAR_EXACT window, 0 to 1.

    Args:
        values: Modality values.
        center: Window Center.
        width: Window Width, above 0.

    Source:
        PS3.3 C.11.2.1.3.2.
    """
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def sigmoid_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Returns the values seen through a SIGMOID window, 0 to 1.

    Args:
        values: Modality values.
        center: Window Center, shown as one half.
        width: Window Width, above 0.

    Source:
        PS3.3 C.11.2.1.3.1.
    """
    # Beyond 700 the exponential overflows, and the value is 0 or 1 in any case.
    return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))


WINDOWS: dict[str, Callable[[np.ndarray, float, float], np.ndarray]] = {
    "LINEAR": linear_window,
    "LINEAR EXACT": linear_exact_window,
    "SIGMOID": sigmoid_window,
}
"""The functions by the folded value of VOI LUT Function."""
