import pytest

from chexkeras.report.facts.subgroups import group_sentence
from chexkeras.results import Estimate, Interaction, Subgroup, SubgroupAnalysis


def _grouped(*estimates):
    """Groups by sex, none too small by itself to be named, with these sensitivities."""
    groups = tuple(
        Subgroup(level, 50, 40, 20, 30, Estimate(0.8, 0.7, 0.9), estimate, Estimate(0.9, 0.8, 0.95))
        for level, estimate in zip("FMX", estimates, strict=False)
    )
    return SubgroupAnalysis("sex", groups, (Interaction("sensitivity", 0.2, 0.4, "score"),))


FEW = Estimate.not_estimable("too few: 3 positive", n=3)


@pytest.mark.parametrize(("estimates", "sentence"), [
    ((FEW, FEW), "By sex, no group is large enough to estimate sensitivity."),
    ((FEW, Estimate(0.5, 0.4, 0.6, n=20)), "By sex, only the group male has enough positive images to estimate its "
     "sensitivity: 0.500 (95 % CI 0.400–0.600; n = 20). Groups cannot be compared."),
    ((Estimate(0.5, 0.4, 0.6), FEW, Estimate(0.7, 0.6, 0.8)),
     "sensitivity is lowest for female: 0.500 (95 % CI 0.400–0.600), 20"),
    ((Estimate(0.5, 0.4, 0.6), FEW, Estimate(0.7, 0.6, 0.8)), " One group is too small to estimate."),
    ((Estimate(0.7, 0.6, 0.8),), "all images are in the group female"),
])  # fmt: skip
def test_the_sentence_on_groups_says_no_more_than_was_estimated(estimates, sentence):
    said = group_sentence(_grouped(*estimates), "sensitivity")
    assert sentence in said
    assert ("lowest" in said) is (sum(estimate.estimable for estimate in estimates) > 1)
