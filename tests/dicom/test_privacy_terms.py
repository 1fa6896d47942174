import pytest

from chexkeras.dicom.privacy import CODES, TERMS, repeatable


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("chest", "CHEST"),
        (" Rib_Cage ", ""),
        ("RIBCAGE", "RIBCAGE"),
        ("A\\F", "A\\F"),
        ("FOR PROCESSING", "FOR PROCESSING"),
        ("YBR_FULL_422", "YBR_FULL_422"),
        ("399173006", "399173006"),
        ("19500312", ""),
        ("DOE", ""),
        ("CHEST DOE", ""),
        ("CHEST^DOE", ""),
        ("CHEST 1950", ""),
        ("\u00c4", ""),
        ("PA\nDOE", ""),
        ("", ""),
        ("_", ""),
        (3, "3"),
        (0.5, "0.5"),
        (65535, "65535"),
        (65536, ""),
        (-19500312, ""),
        (float("nan"), ""),
    ],
)
def test_only_terms_of_the_vocabulary_and_small_numbers_are_repeated(value, shown):
    assert repeatable(value) == shown


def test_terms_and_codes_are_shaped_like_code_strings():
    # PS3.5 6.2: CS has upper-case letters, digits and the underscore.
    assert all(term.isascii() and term.isalnum() and term == term.upper() for term in TERMS)
    assert all(code.replace("-", "").isalnum() for code in CODES)


def test_the_codes_are_those_of_pydicom_and_no_others():
    from pydicom.sr._concepts_dict import concepts
    from pydicom.sr._snomed_dict import mapping

    registered = {code for codes in concepts["SCT"].values() for code in codes} | set(mapping["SRT"])
    # Withdrawn from the lists, and still in files: thorax, lung, thoracic cavity, and the RT code of postero-anterior.
    assert CODES - registered <= {"51185008", "39607008", "43799004", "R-10214"}
