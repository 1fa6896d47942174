"""What the header of a DICOM file says of an image besides its pixels: who, how, how large; no identifier, no text."""

import math
from dataclasses import dataclass
from pathlib import Path

from chexkeras import storage
from chexkeras.arguments import checked
from chexkeras.dicom import elements, privacy
from chexkeras.dicom.attributes import ages, views
from chexkeras.dicom.header import Header
from chexkeras.dicom.profiles import find_profile
from chexkeras.dicom.rejection import DicomRejected

_LATERAL = frozenset({"LATERAL", "LL", "RL", "LLD", "RLD", "L", "R", "LAT"})


@dataclass(frozen=True)
class HeaderFacts:
    """What a header says, each value neutral where it does not.

    Attributes:
        view: "PA", "AP", "LATERAL" or "".
        sex: "M", "F" or "".
        age_years: Age at exposure, years; NaN when unknown.
        width_px: Columns of the stored image, 0 when unknown.
        height_px: Rows of the stored image, 0 when unknown.
        pixel_spacing_mm: Distance of rows at the detector or in the patient; NaN when unknown.
    """

    view: str = ""
    sex: str = ""
    age_years: float = math.nan
    width_px: int = 0
    height_px: int = 0
    pixel_spacing_mm: float = math.nan


@checked
def header_facts(path: str | Path) -> HeaderFacts:
    """Reads what a table of images needs from a DICOM header; pixels are left alone.

    Args:
        path: A file, or its address in an object store, of which the header alone is fetched.

    Returns:
        The facts; neutral ones where the file is no DICOM file or cannot be read, which the gate tells when its pixels
        are read.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    with storage.opened(path) as handle:
        size = handle.seek(0, 2)
        handle.seek(0)
        try:
            with privacy.quiet():
                dataset, _ = elements.header(elements.BoundedFile(handle, size))
                header = Header(dataset)
                years, _ = ages.find_age(header, from_dates=True)
                view = views.find_view(header, find_profile("clinical").view_sources).value
                sex = header.word("PatientSex")
                return HeaderFacts(
                    view=view or ("LATERAL" if header.word("ViewPosition") in _LATERAL else ""),
                    sex=sex if sex in ("M", "F") else "",
                    age_years=math.nan if years is None else years,
                    width_px=header.integer("Columns") or 0,
                    height_px=header.integer("Rows") or 0,
                    pixel_spacing_mm=spacing(header),
                )
        except DicomRejected:
            return HeaderFacts()
        except privacy.decode_errors():
            return HeaderFacts()


def spacing(header: Header, *, swapped: bool = False) -> float:
    """Returns the distance of rows in mm, NaN where the header does not say.

    Args:
        header: The header.
        swapped: Whether rows and columns change places when the image is turned upright.
    """
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        numbers = header.numbers(keyword)
        # PS3.3 10.7.1.3: the distance of rows, then that of columns, which are the rows of an image that was turned.
        if numbers and numbers[-1 if swapped else 0] > 0:
            return numbers[-1 if swapped else 0]
    return math.nan
