"""Label vocabularies: the fixed order, and which spellings are recognised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexkeras.findings import (
    ABNORMAL,
    ALL,
    CHEXPERT5,
    CHEXPERT14,
    NIH14,
    NO_FINDING,
    canonical,
    label_names,
    plain_name,
    resolve,
)


def test_the_14_findings_keep_the_order_of_the_nih_paper():
    """Wang et al., CVPR 2017, Table 1 and the label columns of the later literature."""
    assert NIH14 == (
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
        "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
    )  # fmt: skip
    assert NO_FINDING not in NIH14


def test_chexperts_observations_keep_the_order_of_its_label_columns():
    """The header of CheXpert-v1.0's train.csv, after Path, Sex, Age, Frontal/Lateral and AP/PA."""
    header = (
        "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
        "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
    )
    assert ",".join(CHEXPERT14) == header
    assert CHEXPERT5 == ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
    assert set(CHEXPERT5) < set(CHEXPERT14)


def test_all_holds_every_name_once():
    # 14 of NIH, 14 of CheXpert of which 6 are spelt like NIH's, and Abnormal.
    assert len(ALL) == len(set(ALL)) == 14 + 14 - 6 + 1
    assert set(ALL) == {*NIH14, *CHEXPERT14, ABNORMAL}


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("Pneumonia", "Pneumonia"),
        ("PNEUMONIA", "Pneumonia"),
        ("pleural thickening", "Pleural_Thickening"),
        ("Pleural-Thickening", "Pleural_Thickening"),
        ("Infiltrate", "Infiltration"),
        (" edema ", "Edema"),
        ("oedema", "Edema"),
        ("Pleural Effusion", "Effusion"),
    ],
)
def test_case_blanks_hyphens_and_the_box_lists_abbreviation_do_not_matter(spelling, name):
    assert canonical(spelling) == name


@pytest.mark.parametrize(
    ("spelling", "hint"),
    [("Pneumo", "unknown finding 'Pneumo'"), ("Pnuemonia", "did you mean 'Pneumonia'"), ("", "Known findings"),
     (NO_FINDING, "unknown finding 'No Finding'"), ("Pleural Other", "unknown finding 'Pleural Other'"),
     ("Lung Lesion", "unknown finding"), ("Lung Opacity", "unknown finding")],
)  # fmt: skip
def test_an_unknown_finding_is_refused_rather_than_guessed(spelling, hint):
    with pytest.raises(ValueError, match=hint):
        canonical(spelling)


def test_one_finding_has_its_own_spelling_in_each_vocabulary():
    assert canonical("effusion", CHEXPERT14) == "Pleural Effusion"
    assert canonical("pleural_effusion", CHEXPERT14) == "Pleural Effusion"
    assert canonical("no finding", CHEXPERT14) == NO_FINDING
    assert (canonical("effusion", ALL), canonical("pleural effusion", ALL)) == ("Effusion", "Pleural Effusion")
    for other in ("Pleural Thickening", "Mass", "Infiltration", "Pneumo", ABNORMAL):
        with pytest.raises(ValueError, match=f"unknown finding '{other}'"):
            canonical(other, CHEXPERT14)


@pytest.mark.parametrize("name", ALL)
def test_every_name_is_itself_among_all(name):
    assert canonical(name, ALL) == canonical(name.upper().replace(" ", "_"), ALL) == name
    assert label_names(name) == (name,)


def test_another_vocabulary_may_be_given():
    assert canonical("lung opacity", ("Lung Opacity", "Fracture")) == "Lung Opacity"
    with pytest.raises(ValueError, match="Known findings: Fracture"):
        canonical("Pneumonia", ("Fracture",))


def test_several_findings_keep_the_callers_order():
    assert resolve(["hernia", "Mass"]) == ("Hernia", "Mass")
    assert resolve(name for name in NIH14) == NIH14
    assert resolve("mass") == ("Mass",)
    assert resolve(["edema", "effusion"], (name for name in CHEXPERT14)) == ("Edema", "Pleural Effusion")


@pytest.mark.parametrize("clean", [resolve, label_names])
def test_no_finding_or_one_given_twice_is_refused(clean):
    with pytest.raises(ValueError, match="no finding given"):
        clean([])
    with pytest.raises(ValueError, match="more than once: Infiltration"):
        clean(["Infiltration", "infiltrate", "Mass"])


def test_one_finding_under_two_names_is_given_twice():
    with pytest.raises(ValueError, match="more than once: Pleural Effusion"):
        resolve(["Effusion", "Pleural Effusion"], CHEXPERT14)


# Labels of one's own


@pytest.mark.parametrize(
    "name",
    ["Tuberculosis", "COVID-19", "Normal", "Rib Fracture", "Pneumonitis", "Bronchopneumonia", "TB", "Scoliosis"],
)
def test_a_label_of_ones_own_stays_as_it_is(name):
    assert label_names(name) == (name,)


def test_known_findings_among_ones_own_get_their_spelling():
    assert label_names([" tb ", "pleural thickening", "infiltrate"]) == ("tb", "Pleural_Thickening", "Infiltration")


@pytest.mark.parametrize(
    ("spelling", "hint"),
    [
        ("Pneumona", "did you mean 'Pneumonia'"),
        ("Pnuemonia", "did you mean 'Pneumonia'"),
        ("Hernai", "did you mean 'Hernia'"),
        ("Effusions", "did you mean 'Effusion'"),
        ("infiltrates", "did you mean 'Infiltration'"),
        ("Pneumo", "did you mean 'Pneumonia' or 'Pneumothorax'"),
        ("Cardio", "did you mean 'Cardiomegaly'"),
        ("Emphisema", "did you mean 'Emphysema'.*a label of your own"),
        ("", "no name of a finding"),
        ("  ", "no name of a finding"),
        (None, "None is no name of a finding"),
        ("Edema|Mass", r"holds one of \|"),
        ("../Edema", "rename it"),
    ],
)
def test_a_name_that_looks_like_a_mistake_is_refused(spelling, hint):
    with pytest.raises(ValueError, match=hint):
        label_names([spelling])


@given(st.text("abcdefghijklmnopqrstuvwxyz _-ABC", min_size=1, max_size=15))
def test_label_names_are_stable(name):
    try:
        once = label_names(name)
    except ValueError:
        return
    assert label_names(once) == once


@pytest.mark.parametrize(
    "name",
    ["Effusion", "Pleural_Thickening", "Nodule (≥ 3 cm), left", "肺結節", "Épanchement", "COVID-19", "(old) mass"],
)
def test_names_of_findings_of_any_language_are_plain(name):
    assert plain_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "=cmd|'/c calc'!A0", "=1", "+1", "-1", "@SUM", "<b>", "a|b", "a\nb", "a\tb", "a\u202eb", "a\x1b[2J", "`a`",
        "*a*", "[a](b)", "$x$", "a\\b", "#", "a" * 101, "", " ", None, 3, "\ud800",
    ],
)  # fmt: skip
def test_names_that_mean_something_elsewhere_are_refused(name):
    with pytest.raises(ValueError, match="finding") as refused:
        plain_name(name)
    assert str(refused.value).isprintable() and len(str(refused.value)) < 250
