"""Label vocabularies: the fixed order, and which spellings are recognised."""

import pytest

from chexkeras.findings import NIH14, NO_FINDING, canonical, resolve


def test_the_14_findings_keep_the_order_of_the_nih_paper():
    """Wang et al., CVPR 2017, Table 1 and the label columns of the later literature."""
    assert NIH14 == (
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
        "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
    )  # fmt: skip
    assert NO_FINDING not in NIH14


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("Pneumonia", "Pneumonia"),
        ("PNEUMONIA", "Pneumonia"),
        ("pleural thickening", "Pleural_Thickening"),
        ("Pleural-Thickening", "Pleural_Thickening"),
        ("Infiltrate", "Infiltration"),
        (" edema ", "Edema"),
    ],
)
def test_case_blanks_hyphens_and_the_box_lists_abbreviation_do_not_matter(spelling, name):
    assert canonical(spelling) == name


@pytest.mark.parametrize(
    ("spelling", "hint"),
    [("Pneumo", "unknown finding 'Pneumo'"), ("Pnuemonia", "did you mean 'Pneumonia'"), ("", "Known findings"),
     (NO_FINDING, "unknown finding 'No Finding'")],
)  # fmt: skip
def test_an_unknown_finding_is_refused_rather_than_guessed(spelling, hint):
    with pytest.raises(ValueError, match=hint):
        canonical(spelling)


def test_another_vocabulary_may_be_given():
    assert canonical("lung opacity", ("Lung Opacity", "Fracture")) == "Lung Opacity"
    with pytest.raises(ValueError, match="Known findings: Fracture"):
        canonical("Pneumonia", ("Fracture",))


def test_several_findings_keep_the_callers_order():
    assert resolve(["hernia", "Mass"]) == ("Hernia", "Mass")
    assert resolve(name for name in NIH14) == NIH14
    assert resolve("mass") == ("Mass",)


def test_no_finding_or_one_given_twice_is_refused():
    with pytest.raises(ValueError, match="no finding given"):
        resolve([])
    with pytest.raises(ValueError, match="more than once: Infiltration"):
        resolve(["Infiltration", "infiltrate", "Mass"])
