"""The rules an image must pass, as data: what is checked, on which tag, how severely in which profile, and why.

The gate looks its severities and expectations up here and a report prints the same rows, so the two cannot tell
different stories. Words in braces are filled in from the profile (`profiles.Profile.words`).
"""

import dataclasses

REJECT, WARN, OFF = "reject", "warn", "off"

# The severities (clinical, course), named for the table below.
_ALWAYS = (REJECT, REJECT)
_CLINICAL = (REJECT, OFF)
_STRICT_COURSE = (WARN, REJECT)
_STRICT_CLINICAL = (REJECT, WARN)
_NOTE = (WARN, OFF)
_ALWAYS_NOTE = (WARN, WARN)


@dataclasses.dataclass(frozen=True)
class DicomRule:
    """One thing that is checked.

    Attributes:
        code: The stable name by which results, tables and tests know it.
        item: The group it belongs to.
        check: What is expected, readable after "expected".
        tag: Keyword of the tag that is looked at, or "file".
        severities: "reject", "warn" or "off" in the clinical and in the course profile.
        reason: The clause of the standard, or why the rule exists.
    """

    code: str
    item: str
    check: str
    tag: str
    severities: tuple[str, str]
    reason: str

    @property
    def clinical(self) -> str:
        """Severity in the clinical profile."""
        return self.severities[0]

    @property
    def course(self) -> str:
        """Severity in the course profile."""
        return self.severities[1]


_FILE = (
    ("too_large", "at most {maximum_file_bytes} bytes", "file", _ALWAYS, "memory stays bounded for untrusted files"),
    ("not_dicom", "DICM after a 128-byte preamble", "file", _ALWAYS, "PS3.10 7.1"),
    ("dicomdir", "an image, not a directory of other files", "MediaStorageSOPClassUID", _ALWAYS, "PS3.10 8.6"),
    ("transfer_syntax", "a named still-image transfer syntax, not a deflated one", "TransferSyntaxUID", _ALWAYS,
     "PS3.5 10, A.5; deflated data can inflate a thousandfold before any check"),
    ("unreadable", "values that can be read in every tag looked at", "file", _ALWAYS, "PS3.5 6.2, 7.1"),
    ("too_many_elements", "elements and items that are read in at most 100,000 steps", "file", _ALWAYS,
     "images have some hundreds, of one to three steps each; a file can hold millions of empty ones"),
    ("decoder_limit", "a file that is read within the memory and time of a worker process", "file", _ALWAYS,
     "no file may hold up the others"),
    ("decoder_crash", "a file that does not end the worker process that reads it", "file", _ALWAYS,
     "no file may take the others with it"),
    ("no_header", "a DICOM header that says what the image is", "file", _ALWAYS_NOTE, "a PNG or JPEG file has none"),
)  # fmt: skip

_KIND = (
    ("sop_class", "digital or computed radiography image storage", "SOPClassUID", _CLINICAL, "PS3.3 A.2, A.26"),
    ("sop_class_secondary", "an original image, not a secondary capture", "SOPClassUID", _NOTE, "PS3.3 A.8"),
    ("for_processing", "FOR PRESENTATION", "PresentationIntentType", _CLINICAL, "PS3.3 C.8.11.1"),
    ("modality", "{modalities}", "Modality", _ALWAYS, "PS3.3 C.7.3.1.1.1"),
    ("modality_missing", "{modalities}", "Modality", _STRICT_COURSE, "PS3.3 C.7.3.1; the class tells as well"),
    ("species", "a human patient", "PatientSpeciesDescription", _CLINICAL,
     "PS3.3 C.7.1.1; veterinary archives hold chest images too"),
    ("quality_control", "a patient, not a phantom and not a test", "QualityControlImage", _CLINICAL, "PS3.3 C.7.6.1"),
    ("image_type", "an image as taken: no heat map, overlay, subtraction, suppression of bones or montage", "ImageType",
     _CLINICAL, "PS3.3 C.7.6.1.1.2; the model has seen no such images, and the one as taken is stored too"),
    ("image_type_secondary", "PRIMARY", "ImageType", _NOTE, "PS3.3 C.7.6.1.1.2"),
)  # fmt: skip

_BODY_PART = (
    ("body_part", "{body_parts}", "BodyPartExamined", _ALWAYS, "PS3.16 Annex L"),
    ("body_part_missing", "{body_parts}", "BodyPartExamined", _STRICT_COURSE, "PS3.3 C.7.3.1; often left empty"),
    (
        "body_part_fallback",
        "the body part in its own tag, not only in another",
        "BodyPartExamined",
        _NOTE,
        "PS3.16 CID 4031, then the descriptions",
    ),
    (
        "body_part_conflict",
        "no code and no description of another body part alone",
        "AnatomicRegionSequence",
        _CLINICAL,
        "PS3.16 CID 4031; consoles fill in CHEST by themselves",
    ),
    (
        "body_part_study",
        "no study that is described by another body part alone",
        "StudyDescription",
        _NOTE,
        "a description of all images of a study",
    ),
)

_VIEW = (
    ("view", "PA or AP", "{view_tag}", _ALWAYS, "PS3.3 C.8.1.1, C.8.11.5; the model has seen frontal images only"),
    ("view_missing", "PA or AP", "{view_tag}", _ALWAYS, "an unknown view can be a lateral one"),
    ("view_fallback", "the view in its own tag, not only in another", "ViewPosition", _NOTE, "PS3.16 CID 4010"),
    ("view_conflict", "no other tag or description that names another view alone", "{view_tag}", _CLINICAL,
     "PS3.16 CID 4010; consoles fill in PA by themselves"),
    ("view_ambiguous", "no other tag that swaps PA and AP", "{view_tag}", _NOTE, "PS3.16 CID 4010"),
    ("view_study", "no study that is described by other views alone", "StudyDescription", _NOTE,
     "a description of all images of a study"),
    ("orientation", "directions that agree with the view, the pixels and one another", "PatientOrientation", _NOTE,
     "PS3.3 C.7.6.1.1.1; the image is left as it is stored"),
)  # fmt: skip

_AGE = (
    ("age_conflict", "dates that agree whether the age is {ages} years", "PatientAge", _CLINICAL,
     "PS3.3 C.7.1.1, C.7.2.2; consoles fill in an age by themselves"),
    ("age", "{ages} years", "PatientAge", _ALWAYS, "the intended use"),
    ("age_ambiguous", "dates that give the same age within two years", "PatientAge", _NOTE, "PS3.3 C.7.1.1, C.7.2.2"),
    ("age_unknown", "{ages} years", "PatientAge", _STRICT_COURSE, "PS3.3 C.7.2.2"),
    ("age_malformed", "three digits and D, W, M or Y", "PatientAge", _STRICT_COURSE, "PS3.5 6.2, VR AS"),
    ("age_implausible", "at most 120 years", "PatientAge", _STRICT_COURSE, "taken as unknown"),
    ("age_format", "three digits and D, W, M or Y", "PatientAge", _NOTE, "PS3.5 6.2, VR AS; read as meant"),
    ("age_from_dates", "the age itself, not only two dates", "PatientAge", _NOTE, "PS3.3 C.7.1.1"),
)  # fmt: skip

_IMAGE = (
    ("multi_frame", "1", "NumberOfFrames", _ALWAYS, "PS3.3 C.7.6.6"),
    ("number_of_frames", "1", "NumberOfFrames", _ALWAYS_NOTE, "PS3.3 C.7.6.6; 0 is read as 1"),
    ("geometry", "{sides} rows and columns, at most {maximum_pixels} pixels", "Rows", _ALWAYS, "PS3.3 C.7.6.3"),
    ("aspect", "a long side at most {maximum_aspect} times the short one", "Rows", _CLINICAL, "a strip is no chest"),
    ("photometric", "MONOCHROME1 or MONOCHROME2 with one sample per pixel", "PhotometricInterpretation", _ALWAYS,
     "PS3.3 C.7.6.3.1.2"),
    ("grey_as_rgb", "one sample per pixel, not three equal ones", "PhotometricInterpretation", _STRICT_COURSE,
     "PS3.3 C.7.6.3.1.2; exporters write grey images as RGB"),
    ("bits", "8 to 16 bits in 8 or 16, the high bit among them", "BitsStored", _ALWAYS, "PS3.5 8.1.1"),
    ("bits_assumed", "sign and high bit; unsigned and right-aligned is assumed", "PixelRepresentation", _ALWAYS_NOTE,
     "PS3.3 C.7.6.3"),
    ("burned_in", "NO", "BurnedInAnnotation", _NOTE, "PS3.3 C.7.6.1; its absence proves nothing"),
    ("lossy", "00", "LossyImageCompression", _NOTE, "PS3.3 C.7.6.1.1.5"),
)  # fmt: skip

_PIXELS = (
    ("no_pixels", "an image", "PixelData", _ALWAYS, "PS3.3 C.7.6.3"),
    ("float_pixels", "whole numbers, not floating-point ones", "FloatPixelData", _ALWAYS, "PS3.3 C.7.6.24"),
    ("truncated", "as many bytes as rows, columns and bits make", "PixelData", _ALWAYS, "PS3.5 8.1.1"),
    ("pixel_length", "as many bytes as rows, columns and bits make", "PixelData", _ALWAYS, "PS3.5 8.1.1"),
    ("excess_padding", "at most one byte behind the last pixel", "PixelData", _ALWAYS_NOTE,
     "PS3.5 8.1.1; padding is left out"),
    ("codestream_size", "a codestream of the size in the header", "PixelData", _ALWAYS,
     "PS3.5 8.2; a decoder allocates what the codestream asks for"),
    ("codestream_sign", "a codestream signed as the header says", "PixelRepresentation", _ALWAYS_NOTE,
     "PS3.5 8.2.4; its bits are read as the header says, where that makes a picture"),
    ("codestream_bits", "a codestream of as many bits as the header says", "BitsStored", _ALWAYS_NOTE,
     "PS3.5 8.2; fewer are taken for the lower ones"),
    ("decoder_missing", "a transfer syntax whose decoder is installed", "TransferSyntaxUID", _ALWAYS, "PS3.5 8.2, A.4"),
    ("decode", "data that a decoder can read", "PixelData", _ALWAYS, "PS3.5 8.2"),
    ("scrambled", "neighbouring pixels that are alike, and rows that go on below one another", "PixelData", _ALWAYS,
     "swapped bytes, encrypted data and rows of another length decode as well as a film"),
    ("constant", "at least 8 grey values of 256 between the 0.5th and the 99.5th percentile", "PixelData", _ALWAYS,
     "there is nothing to score"),
    ("padding", "less than half of the pixels as padding", "PixelPaddingValue", _NOTE, "PS3.3 C.7.5.1.1.2"),
    ("low_contrast",
     "at least 64 grey levels of 256 in use, and at most 80 % of the pixels all black or all white (or 25 % each)",
     "PixelData", _STRICT_CLINICAL, "radiographs use more than 100; fewer are left where values are shown over a range "
     "that is not theirs"),
    ("saturated", "at most half of the pixels all black or all white, and at most a tenth all white", "PixelData",
     _NOTE, "what is shown all black or all white cannot be read"),
    ("half_scale", "grey values in both halves of the scale, from the 0.5th to the 99.5th percentile", "PixelData",
     _ALWAYS_NOTE, "a window or slope of twice the range of the values; radiographs use both"),
)  # fmt: skip

_DISPLAY = (
    ("turned", "rows towards the patient's left and columns towards the feet", "PatientOrientation", _NOTE,
     "PS3.3 C.7.6.1.1.1; turned upright, as the tag says"),
    ("modality_lut_invalid", "a usable table or slope", "ModalityLUTSequence", _ALWAYS_NOTE,
     "PS3.3 C.11.1; left out, and with it every window and table made for its values"),
    ("modality_lut_range", "entries within the bits that the table declares", "ModalityLUTSequence", _ALWAYS_NOTE,
     "PS3.3 C.11.1.1.1; the entries are used as they are"),
    ("rescale_incomplete", "slope and intercept, both or neither", "RescaleSlope", _ALWAYS_NOTE,
     "PS3.3 C.11.1.1.2; a missing slope is 1, a missing intercept 0"),
    ("voi_lut_range", "entries that reach the end of the bits that the table declares", "VOILUTSequence", _ALWAYS_NOTE,
     "PS3.3 C.11.2.1.1; shown over the bits that the entries take"),
    ("voi_lut_invalid", "a usable table", "VOILUTSequence", _ALWAYS_NOTE, "PS3.3 C.11.2.1.1; left out"),
    ("window_invalid", "a usable window", "WindowWidth", _ALWAYS_NOTE, "PS3.3 C.11.2.1.2; left out"),
    ("window_other", "a first window or table that shows the image", "WindowWidth", _ALWAYS_NOTE,
     "PS3.3 C.11.2.1; the first of several that shows it is used"),
    ("window_missing", "a window or table for more than 8 bits", "WindowWidth", _ALWAYS_NOTE,
     "PS3.3 C.11.2; the values from the 0.5th to the 99.5th percentile are used"),
    ("padding_invalid", "a whole number, none of the values of the image itself", "PixelPaddingValue", _ALWAYS_NOTE,
     "PS3.3 C.7.5.1.1.2; nothing is taken for padding"),
    ("voi_function_unknown", "LINEAR, LINEAR_EXACT or SIGMOID", "VOILUTFunction", _ALWAYS_NOTE,
     "PS3.3 C.11.2.1.3; LINEAR is used"),
    ("pixel_step", "an image to which every step that the profile requires applies", "PixelData", _ALWAYS,
     "PS3.4 N.2; the steps of the display chain"),
    ("presentation_conflict", "INVERSE with MONOCHROME1, IDENTITY with MONOCHROME2", "PresentationLUTShape",
     _ALWAYS_NOTE, "PS3.3 C.8.11.3; inverted once"),
)  # fmt: skip

UNLIKE = "unlike_training"
"""The code of an image that is unlike those that the model learnt from; only a run that has learnt it can tell."""

UNLIKE_RESOLUTION = "unlike_resolution"
"""The code of an image with more or fewer pixels, or another spacing, than the files that the model learnt from."""

_LIKENESS = (
    (UNLIKE_RESOLUTION, "pixels as many, and as far apart, as those of the files that the model learnt from", "Rows",
     _NOTE, "all are brought to one size, and what was sharp before is sharper than what was not"),
    (UNLIKE, "an image like those that the model learnt from, as far as its run can tell", "PixelData", _NOTE,
     "inverted, turned and upside-down images, other body parts and no radiographs at all get a score like any other"),
)  # fmt: skip

_GROUPS = (
    ("File", _FILE),
    ("Kind of image", _KIND),
    ("Body part", _BODY_PART),
    ("View", _VIEW),
    ("Age", _AGE),
    ("Image description", _IMAGE),
    ("Pixel data", _PIXELS),
    ("Display", _DISPLAY),
    ("Likeness to the training images", _LIKENESS),
)

RULES: tuple[DicomRule, ...] = tuple(
    DicomRule(code, item, check, tag, severities, reason)
    for item, rows in _GROUPS
    for code, check, tag, severities, reason in rows
)
"""Every rule, in the order in which violations are reported."""

RULE_BY_CODE = {rule.code: rule for rule in RULES}
