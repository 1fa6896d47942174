"""Codes of findings: one for each that is known, in the form that the standard asks for."""

import pytest
from pydicom.sr.codedict import codes

from chexkeras.dicom.objects.codes import DICOM, EXACT, FINDING_CODES, OWN, OWN_SCHEME, RADLEX, SNOMED, finding_code
from chexkeras.findings import ALL, CHEXPERT14, NIH14


def test_every_finding_of_both_vocabularies_has_a_code():
    assert set(FINDING_CODES) == set(ALL)
    assert {name for name in NIH14 if FINDING_CODES[name].fit != EXACT} == {"Pleural_Thickening"}
    assert sum(FINDING_CODES[name].fit == OWN_SCHEME for name in CHEXPERT14) == 3


@pytest.mark.parametrize("finding", ALL)
def test_codes_have_the_form_of_their_scheme(finding):
    code, fit, radlex, site, note = FINDING_CODES[finding]
    assert code.scheme in (SNOMED, RADLEX, DICOM, OWN) and (code.scheme == OWN) == (fit == OWN_SCHEME)
    # PS3.5 6.2: a code is a short string, its meaning a long one.
    assert 0 < len(code.value) <= 16 and 0 < len(code.meaning) <= 64
    if code.scheme == SNOMED:
        assert code.value.isdigit() and _is_snomed(code.value)
    if radlex:
        assert radlex.startswith("RID") and radlex[3:].isdigit()
    assert _is_snomed(site.value)
    assert note or fit == EXACT


def _is_snomed(value):
    """Checks the last digit of an identifier by Verhoeff's method (SNOMED CT Technical Implementation Guide 5.5)."""
    turn = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    for _ in range(6):
        turn.append([turn[-1][turn[1][digit]] for digit in range(10)])
    dihedral = [[(a + b) % 5 if a < 5 and b < 5 else 5 + (a + b - 5) % 5 if a < 5 else 5 + (a - 5 - b) % 5
                 if b < 5 else (a - b) % 5 for b in range(10)] for a in range(10)]  # fmt: skip
    check = 0
    for place, digit in enumerate(reversed(value)):
        check = dihedral[check][turn[place % 8][int(digit)]]
    return check == 0


def test_the_check_of_snomed_identifiers_finds_a_wrong_digit():
    assert _is_snomed("233604007") and not _is_snomed("233604008") and not _is_snomed("233640007")


def test_dicom_s_own_codes_are_those_of_the_standard():
    for entry in FINDING_CODES.values():
        for code in (entry.code, entry.site):
            if code.scheme == DICOM:
                assert any(getattr(codes.DCM, name).value == code.value for name in ("Opacity",))


def test_labels_of_one_s_own_get_the_same_code_each_time_and_another_than_others():
    long = "A label that is longer than a code may be"
    assert finding_code(long).code == finding_code(long).code != finding_code(long + "!").code
    assert len(finding_code(long).code.value) <= 16 and finding_code("結核").code.value != finding_code("肺").code.value
    assert finding_code("pleural effusion") == finding_code("Effusion")
