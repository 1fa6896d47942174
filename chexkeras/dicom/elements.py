"""Reading the elements of an untrusted file: no more of it than is needed, and never more than there is."""

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, cast

from chexkeras.dicom import privacy
from chexkeras.dicom.rejection import DicomRejected

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Elements and items take one to three reads each; images have some hundreds of them.
_MOST_READS = 100_000
_ELEMENT_BYTES = 8
PIXEL_DATA = 0x7FE00010
"""The tag of Pixel Data."""
FLOATS = (0x7FE00008, 0x7FE00009)
"""The tags of Float and Double Float Pixel Data."""

# Only these are kept when a file is parsed, so that names and numbers of patients are never held at all.
_TAGS = (
    *("ImageType", "QualityControlImage", "DerivationDescription", "AcquisitionDeviceProcessingDescription"),
    *("PatientBreedDescription", "PatientSexNeutered", "ResponsiblePersonRole"),
    *("SOPClassUID", "SOPInstanceUID", "Modality", "PresentationIntentType", "PatientSex"),
    *("PatientSpeciesDescription", "PatientSpeciesCodeSequence", "AnatomicalOrientationType"),
    *("BodyPartExamined", "AnatomicRegionSequence", "StudyDescription", "SeriesDescription", "ProtocolName"),
    *("ViewPosition", "ViewCodeSequence", "PatientPosition", "PatientOrientation"),
    *("ImageLaterality", "FieldOfViewHorizontalFlip"),
    *("PatientAge", "PatientBirthDate", "AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate"),
    *("BurnedInAnnotation", "LossyImageCompression", "ImagerPixelSpacing", "PixelSpacing"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape"),
    # Overlay Bit Position of each overlay plane (PS3.5 7.6: repeating groups 6000 to 601E).
    *(f"{group:04X}0102" for group in range(0x6000, 0x6020, 2)),
)


def header_tags() -> tuple[str, ...]:
    """Returns the tags that are kept of a file: their keywords, or their numbers where a group repeats."""
    return _TAGS


class BoundedFile:
    """A file for the parser: it gives no more than there is, and never all that is left at once.

    The parser asks for as many bytes as a length in the file says, up to 4 GB, for which Python would make room first.
    And it asks for all that is left only to inflate it, a thousandfold if it must, before any check. A file can also
    consist of nothing but empty elements, millions of them; after `_MOST_READS` reads there is no more.

    Attributes:
        overran: Whether an element was to reach beyond the end of the file.
        is_exhausted: Whether more was asked for than may be read.
    """

    class Deflated(Exception):
        """The parser was about to inflate the data set."""

    def __init__(self, handle: BinaryIO, size: int):
        self._handle, self._size, self._reads = handle, size, 0
        self.seek, self.tell = handle.seek, handle.tell
        self.overran = self.is_exhausted = False

    def read(self, count: int = -1) -> bytes:
        """Returns the next `count` bytes, fewer at the end of the file."""
        if count < 0:
            raise self.Deflated
        self._reads += 1
        if self._reads > _MOST_READS:
            self.is_exhausted = True
            raise OSError
        left = self._size - self.tell()
        # The parser finds the end where it looks for the eight bytes that begin an element, and only there.
        self.overran |= left < 0 or (count > left and (left > 0 or count != _ELEMENT_BYTES))
        return self._handle.read(min(count, max(left, 0)))


def parse(bounded: BoundedFile, keywords: tuple[str, ...], is_behind: Callable[[int], bool]) -> "Dataset":
    """Reads a file up to the first element of which `is_behind` holds; only the named elements are kept.

    Args:
        bounded: A DICOM file.
        keywords: Keywords of the elements to keep.
        is_behind: Asked with the number of each tag before its element is read; True ends the reading.

    Raises:
        DicomRejected: If the data set is deflated, or has more elements than any image.
    """
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    bounded.seek(0)
    source = cast(BinaryIO, bounded)
    try:
        found = read_partial(source, lambda tag, *_: is_behind(tag), specific_tags=[Tag(name) for name in keywords])
    except BoundedFile.Deflated:
        raise DicomRejected.because("transfer_syntax") from None
    except privacy.tag_errors():
        # The parser makes one exception of another.
        if not bounded.is_exhausted:
            raise
    if bounded.is_exhausted:
        raise DicomRejected.because("too_many_elements")
    return found


def header(bounded: BoundedFile) -> tuple["Dataset", int]:
    """Reads what stands before the pixel data.

    Args:
        bounded: A DICOM file.

    Returns:
        The tags that the gate and the display chain look at, with the file meta information; and the tag at which
        reading stopped, that of Pixel Data or one of `FLOATS`, or 0 where the file has none.

    Raises:
        DicomRejected: If the data set is deflated, or has more elements than any image.
    """
    met = [0]

    def is_behind(tag: int) -> bool:
        met[0] = tag
        return tag in (PIXEL_DATA, *FLOATS)

    dataset = parse(bounded, _TAGS, is_behind)
    return dataset, met[0] if is_behind(met[0]) else 0


def take_pixels(bounded: BoundedFile, dataset: "Dataset") -> None:
    """Reads the pixel data, as it stands in the file, into a data set; what follows it can be long and is left alone.

    Args:
        bounded: A DICOM file.
        dataset: What `header` returned for it.
    """
    met = [0]

    def is_behind(tag: int) -> bool:
        # Asked for each element before it is read.
        before, met[0] = met[0], tag
        return before == PIXEL_DATA

    image = parse(bounded, ("PixelData",), is_behind)
    if "PixelData" in image:
        # Converting it needs the tags around it.
        dataset["PixelData"] = image.get_item("PixelData")
