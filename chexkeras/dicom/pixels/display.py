"""From stored values to what a viewer shows: 0 black, 255 white, in the sense of MONOCHROME2.

Every step of the chain maps one grey value to one, so the chain is worked out once for each possible stored value (at
most 65,536 of them) and then looked up for every pixel. The order of the steps is that of PS3.4 N.2.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from chexkeras.dicom.header import Header, is_rgb
from chexkeras.dicom.pixels import decoding
from chexkeras.dicom.pixels.contrast import contrast_of_counts, percentiles, used_levels, value_counts
from chexkeras.dicom.pixels.padding import padding_mask
from chexkeras.dicom.pixels.tables import LookupTable, read_table
from chexkeras.dicom.pixels.windows import WINDOWS, usable_windows
from chexkeras.dicom.profiles import REQUIRED, STEPS, USUAL_STEPS, PixelSteps
from chexkeras.dicom.rejection import DicomRejected

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


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
        window: Which of the file's VOI tables or of its windows was used, the first being 1; 0 for none.
        shown_by: Keyword of the tag that says so: "VOILUTSequence" or "WindowWidth"; empty for none.
        grey_counts: (256,), how many pixels have each grey value, padding left out.
        stored_levels: How many stored values are in use, counted as `contrast.Contrast.grey_levels` are.
    """

    pixels: np.ndarray = dataclasses.field(repr=False)
    warnings: tuple[str, ...]
    decoder: str
    padding_fraction: float
    steps: tuple[str, ...]
    window: int
    shown_by: str
    grey_counts: np.ndarray = dataclasses.field(repr=False)
    stored_levels: int


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
    counts = value_counts(index, domain.size)

    padding = np.zeros(domain.size, dtype=bool)
    if is_grey and steps.takes("padding"):
        padding = padding_mask(header, stored.lowest, counts, warnings)
        taken["padding"] = bool(padding.any())
    fraction = float(counts[padding].sum() / index.size)
    counts[padding] = 0
    values, depth = domain, stored.bits
    if is_grey and steps.takes("modality"):
        values, depth, taken["modality"] = modality_values(header, domain, warnings)
    # A window is meant for rescaled values; without these it would show anything.
    has_values = "modality_lut_invalid" not in warnings
    voi = choose_voi(header, values, counts, warnings) if is_grey and has_values and steps.takes("voi") else None
    taken["voi"] = voi is not None
    if voi is not None:
        shown = voi.show(values)
    else:
        if depth <= 8:
            # Rescaling is linear, so that the range of the stored bits is the range of the domain's two ends.
            tabled = taken["modality"] and header.has("ModalityLUTSequence")
            low, high = (0.0, 2.0**depth - 1) if tabled else (values.min(), values.max())
        else:
            warnings.append("window_missing")
            low, high = _range_in_use(values, counts)
        shown = np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros(domain.size)
    if is_grey and steps.takes("inversion") and is_inverted(header, warnings):
        shown, taken["inversion"] = 1.0 - shown, True
    _check_required(steps, taken)
    table = _grey_values(np.where(padding, 0.0, shown))
    return Rendered(
        pixels=table[index],
        warnings=tuple(dict.fromkeys(warnings)),
        decoder=stored.decoder,
        padding_fraction=fraction,
        steps=tuple(step for step in STEPS if taken[step]),
        window=voi.number if voi else 0,
        shown_by=voi.keyword if voi else "",
        grey_counts=_grey_counts(table, counts),
        stored_levels=used_levels(counts),
    )


def _grey_values(shown: np.ndarray) -> np.ndarray:
    return np.rint(shown * 255.0).astype(np.uint8)


def _grey_counts(table: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.bincount(table, weights=counts, minlength=256).astype(np.int64)


def _check_required(steps: PixelSteps, taken: dict[str, bool]) -> None:
    for step, clause in STEPS.items():
        if steps.choice(step) == REQUIRED and not taken[step]:
            raise DicomRejected.because("pixel_step", "", f"an image to which the step {step!r} applies ({clause})")


def _range_in_use(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Returns the range of modality values to show: percentiles of those in the image, padding left out.

    Where nearly all pixels have one value, it is the smallest and the largest one that occurs.
    """
    if not counts.any():
        return float(values.min()), float(values.max())
    low, high = percentiles(values, counts, _SHOWN_PERCENTILES)
    return (low, high) if high > low else percentiles(values, counts, (0.0, 100.0))


def modality_values(header: Header, values: np.ndarray, warnings: list[str]) -> tuple[np.ndarray, int, bool]:
    """Applies the modality table, or rescale slope and intercept.

    A slope without an intercept goes with the intercept 0, and an intercept without a slope with the slope 1: the code
    "rescale_incomplete".

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
        table = read_table(items[0], depth)
        if table is not None:
            if table.bits > table.declared_bits:
                warnings.append("modality_lut_range")
            return table.apply(values), max(table.bits, table.declared_bits), True
        warnings.append("modality_lut_invalid")
        return values, depth, False
    missing = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}
    given = {name: header.numbers(name) for name in missing if header.text(name) or name in header.unreadable}
    if not given:
        return values, depth, False
    if any(len(numbers) != 1 for numbers in given.values()) or given.get("RescaleSlope") == (0.0,):
        warnings.append("modality_lut_invalid")
        return values, depth, False
    slope, intercept = (given.get(name, (usual,))[0] for name, usual in missing.items())
    with np.errstate(over="ignore", invalid="ignore"):
        rescaled = values * slope + intercept
    if not np.isfinite(rescaled).all():
        warnings.append("modality_lut_invalid")
        return values, depth, False
    if len(given) < len(missing):
        warnings.append("rescale_incomplete")
    return rescaled, depth, True


@dataclasses.dataclass(frozen=True, eq=False)
class Voi:
    """One of the alternatives by which a file says how its values are shown.

    Attributes:
        keyword: "VOILUTSequence" for a table, "WindowWidth" for a window.
        number: Which of them, the first being 1.
        show: From modality values to shown ones, 0 to 1.
        codes: Codes of the rules that it breaks.
    """

    keyword: str
    number: int
    show: Callable[[np.ndarray], np.ndarray]
    codes: tuple[str, ...] = ()


def choose_voi(header: Header, values: np.ndarray, counts: np.ndarray, warnings: list[str]) -> Voi | None:
    """Returns the VOI table or window to show an image by: the first one that shows it, tables before windows.

    The standard's default is the first one. Another is taken, with the code "window_other", where the first is unusable
    or shows next to nothing of the image (`contrast.Contrast.problem`) and the other one shows it. Where none does, the
    first usable one stays.

    Args:
        header: The header.
        values: Modality values, float, one for each stored value that can occur.
        counts: How often each of them occurs, padding left out.
        warnings: Codes are appended here.

    Returns:
        The table or window; None where there is neither, or none that is usable.

    Source:
        PS3.3 C.11.2.1: the items of the sequence and the windows are alternatives; the first one is the default.
    """
    tables = _tables(header)
    if not tables and header.items("VOILUTSequence"):
        warnings.append("voi_lut_invalid")
    function = header.word("VOILUTFunction") or "LINEAR"
    unknown = () if function in WINDOWS else ("voi_function_unknown",)
    function = "LINEAR" if unknown else function
    windows = [Voi("WindowWidth", number, show, unknown) for number, show in usable_windows(header, function)]
    usable = tables + windows
    if not usable:
        if header.has("WindowCenter") or header.has("WindowWidth"):
            warnings += [*unknown, "window_invalid"]
        return None

    def shows(voi: Voi) -> bool:
        return not contrast_of_counts(_grey_counts(_grey_values(voi.show(values)), counts)).problem

    chosen = next(filter(shows, usable), usable[0])
    warnings += chosen.codes
    if chosen is not usable[0] or chosen.number > 1:
        warnings.append("window_other")
    return chosen


def _tables(header: Header) -> list[Voi]:
    depth = header.integer("BitsStored") or 16
    read = ((number, read_table(item, depth)) for number, item in enumerate(header.items("VOILUTSequence"), start=1))
    return [
        Voi(
            "VOILUTSequence",
            number,
            partial(_shown_by_table, table),
            ("voi_lut_range",) if table.bits != table.declared_bits else (),
        )
        for number, table in read
        if table is not None
    ]


def _shown_by_table(table: LookupTable, values: np.ndarray) -> np.ndarray:
    return table.apply(values) / (2.0**table.bits - 1)


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
