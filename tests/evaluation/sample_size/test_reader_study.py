"""Planning reader studies: published powers, simulated studies, and what unlimited readers and cases can show."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special, stats

from chexkeras.evaluation.sample_size.reader_study import (
    RANDOM,
    ReaderStudySize,
    power_reader_lower_bound,
    power_reader_study,
    sample_size_reader_lower_bound,
    sample_size_reader_study,
)
from chexkeras.results import ReaderVarianceComponents

# Van Dyke's study, AUROC by the trapezoid, covariances by the jackknife; as in the help page of SsPowerGivenJK in the R
# package RJafroc, with the difference observed there.
VAN_DYKE = ReaderVarianceComponents(
    0.00020040252, 0.00080228827, 0.00034661371, 0.00034407483, 0.00023902837, n_cases=114, reader=0.00153499935
)
OBSERVED = 0.043800322
SUPERIORITY_AND_MARGIN = [(0.0438, None), (0.0, 0.05)]


@pytest.mark.parametrize(
    ("readers", "cases", "random", "published"),
    [
        (10, 165, "readers and cases", 0.80541995),
        (6, 111, "readers and cases", 0.5526116),
        (10, 131, "cases", 0.80091813),
        (10, 53, "readers", 0.80496663),
    ],
)
def test_the_powers_that_rjafroc_publishes_for_van_dykes_study_are_reproduced(readers, cases, random, published):
    # The package's own tests, test-SsSampleSizeRoc.R.
    power = power_reader_study(VAN_DYKE, readers, cases, difference=OBSERVED, random=random)
    assert power == pytest.approx(published, abs=5e-8)


def test_the_size_that_rjafroc_publishes_for_six_readers_is_reproduced():
    (option,) = sample_size_reader_study(VAN_DYKE, (6,), difference=OBSERVED).options
    assert option.cases == 251
    assert option.readings == 2 * 6 * 251


def test_power_by_hand_with_the_f_distribution():
    # 8 readers, 200 cases: k = .57, (4 x .05^2) / (.0002 + .57 x (.0008 - .0003 + 7 x .0001)) = .01 / .000884.
    pilot = ReaderVarianceComponents(0.0002, 0.0008, 0.0003, 0.0003, 0.0002, n_cases=114)
    noncentrality = 0.01 / 0.000884
    degrees = 7 * (0.000884 / (0.0002 + 0.57 * 0.0004)) ** 2
    expected = stats.ncf.sf(stats.f.isf(0.05, 1, degrees), 1, degrees, noncentrality)
    assert power_reader_study(pilot, 8, 200, difference=0.05) == pytest.approx(expected, rel=1e-9)


def simulated(components, readers, cases, difference, margin, random, runs=4000):
    """Returns how often a study drawn from the model, effect by effect, shows what it is to show."""
    rng = np.random.default_rng(11)
    scale = components.n_cases / cases
    modality, reader = np.repeat([0, 1], readers), np.tile(np.arange(readers), 2)
    same_modality, same_reader = np.equal.outer(modality, modality), np.equal.outer(reader, reader)
    covariance = np.where(same_modality, components.cov2, components.cov3)
    covariance = np.where(same_reader, np.where(same_modality, components.error, components.cov1), covariance)
    if random == "readers":
        # The cases are these: what they do to all readers alike belongs to the truth about them.
        covariance = covariance - np.where(same_modality, components.cov2, components.cov3)
    error = rng.multivariate_normal(np.zeros(2 * readers), scale * covariance, size=runs, method="svd")
    interaction = rng.normal(size=(runs, 2, readers)) * math.sqrt(components.treatment_reader)
    if random == "cases":
        # The readers are these: the truth is their mean.
        interaction -= interaction.mean(axis=2, keepdims=True)
    figures = rng.normal(size=(runs, 1, readers)) * 0.03 + interaction + error.reshape(runs, 2, readers)
    figures[:, 0] += difference
    gained = figures[:, 0] - figures[:, 1]
    of_readers, shared = gained.var(axis=1, ddof=1) / 2, scale * max(components.cov2 - components.cov3, 0)
    whole = {
        "readers and cases": of_readers + readers * shared,
        "readers": of_readers,
        "cases": np.full(runs, scale * (components.error - components.cov1) + (readers - 1) * shared),
    }[random]
    degrees = (whole / of_readers) ** 2 * (readers - 1) if random != "cases" else np.full(runs, np.inf)
    half = special.stdtrit(degrees, 0.975) * np.sqrt(2 * whole / readers)
    mean = gained.mean(axis=1)
    return np.mean(np.abs(mean) > half if margin is None else mean - half > -margin)


@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize(("difference", "margin"), SUPERIORITY_AND_MARGIN)
@pytest.mark.parametrize(("readers", "cases", "interaction"), [(5, 114, 0.0002), (12, 150, 0.0006), (8, 90, 0.0)])
def test_power_is_that_of_studies_drawn_from_the_model(random, difference, margin, readers, cases, interaction):
    pilot = ReaderVarianceComponents(interaction, 0.0008, 0.0003, 0.00035, 0.00025, n_cases=114)
    expected = power_reader_study(pilot, readers, cases, difference=difference, margin=margin, random=random)
    assert simulated(pilot, readers, cases, difference, margin, random) == pytest.approx(expected, abs=0.025)


def test_power_of_one_modality_is_that_of_studies_drawn_from_the_model():
    rng = np.random.default_rng(5)
    pilot, readers, cases, true, goal = VAN_DYKE, 8, 200, 0.90, 0.865
    scale, runs = 114 / 200, 6000
    shared = rng.normal(size=(runs, 1)) * math.sqrt(scale * pilot.cov2)
    apart = pilot.reader + pilot.treatment_reader + scale * (pilot.error - pilot.cov2)
    figures = true + shared + rng.normal(size=(runs, readers)) * math.sqrt(apart)
    square = figures.var(axis=1, ddof=1)
    whole = square + readers * scale * pilot.cov2
    half = special.stdtrit((whole / square) ** 2 * (readers - 1), 0.975) * np.sqrt(whole / readers)
    expected = power_reader_lower_bound(pilot, readers, cases, true=true, goal=goal)
    assert 0.3 < expected < 0.9
    assert np.mean(figures.mean(axis=1) - half > goal) == pytest.approx(expected, abs=0.025)


def test_nothing_to_show_is_shown_as_often_as_the_test_errs():
    assert power_reader_study(VAN_DYKE, 8, 200, difference=0.0) == pytest.approx(0.05, abs=1e-9)
    assert power_reader_study(VAN_DYKE, 8, 200, difference=-0.05, margin=0.05) == pytest.approx(0.025, abs=1e-9)
    assert power_reader_study(VAN_DYKE, 8, 200, difference=0.0, margin=0) == pytest.approx(0.025, abs=1e-9)
    assert power_reader_lower_bound(VAN_DYKE, 8, 200, true=0.9, goal=0.9) == pytest.approx(0.025, abs=1e-9)


def test_unlimited_cases_leave_the_readers_as_a_sample():
    # A paired t-test on the readers' own differences, each with variance 2 x .0002.
    error = math.sqrt(2 * VAN_DYKE.treatment_reader / 6)
    critical = stats.t.isf(0.025, 5)
    expected = stats.nct.sf(critical, 5, 0.03 / error) + stats.nct.cdf(-critical, 5, 0.03 / error)
    assert power_reader_study(VAN_DYKE, 6, 10**9, difference=0.03) == pytest.approx(expected, abs=1e-6)


def test_unlimited_readers_leave_the_cases_as_a_sample():
    # What all readers share of a difference has the variance 2 (cov2 - cov3).
    error = math.sqrt(2 * (VAN_DYKE.cov2 - VAN_DYKE.cov3) * 114 / 100)
    expected = stats.norm.sf(stats.norm.isf(0.025) - 0.04 / error) + stats.norm.cdf(
        -stats.norm.isf(0.025) - 0.04 / error
    )
    assert power_reader_study(VAN_DYKE, 10**6, 100, difference=0.04) == pytest.approx(expected, abs=1e-4)
    assert power_reader_study(VAN_DYKE, 10**6, 100, difference=0.04, random="cases") == pytest.approx(
        expected, abs=1e-4
    )


def test_a_claim_on_fewer_things_takes_less():
    broad, fixed_readers, fixed_cases = (
        power_reader_study(VAN_DYKE, 8, 120, difference=0.04, random=random) for random in RANDOM
    )
    assert broad < fixed_readers
    assert broad < fixed_cases


def test_negative_estimates_count_as_none():
    pilot = ReaderVarianceComponents(-0.0001, 0.0008, 0.0003, 0.0002, 0.0003, n_cases=114)
    none = ReaderVarianceComponents(0.0, 0.0008, 0.0003, 0.0002, 0.0002, n_cases=114)
    power = power_reader_study(pilot, 6, 100, difference=0.03)
    assert power == power_reader_study(none, 6, 100, difference=0.03)


@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize(("difference", "margin"), SUPERIORITY_AND_MARGIN)
def test_sizes_have_the_power_asked_for_and_one_case_less_has_not(random, difference, margin):
    arguments = {"difference": difference, "margin": margin, "random": random}
    plan = sample_size_reader_study(VAN_DYKE, (8, 15), power=0.75, **arguments)
    for option in plan.options:
        assert option.power == power_reader_study(VAN_DYKE, option.readers, option.cases, **arguments) >= 0.75
        assert power_reader_study(VAN_DYKE, option.readers, option.cases - 1, **arguments) < 0.75
    assert plan.options[0].cases > plan.options[1].cases or random == "cases"
    assert random.split()[-1] in plan.purpose


def test_too_few_readers_are_said_to_be_too_few():
    plan = sample_size_reader_study(VAN_DYKE, (3, 6), difference=OBSERVED)
    assert plan.options[0].cases is None
    assert plan.options[0].note.startswith("not reachable with 3 readers: no number of cases has more power than 0.5")
    tried = [power_reader_study(VAN_DYKE, 3, cases, difference=OBSERVED) for cases in (50, 500, 5000, 10**6)]
    assert max(tried) <= plan.options[0].power + 1e-3
    assert math.isclose(max(tried), plan.options[0].power, abs_tol=0.02)
    assert "not reachable with 3 readers" in str(plan)
    frame = plan.to_frame()
    assert frame["cases"].isna().tolist() == [True, False]
    assert frame.loc[1, "cases"] == 251


def test_power_that_is_nearly_certain_is_a_number():
    cases = np.geomspace(2, 1e8, 300).round().astype(int)
    for options in (
        {"difference": 0.05},
        {"difference": -0.05},
        {"difference": 0.3},
        {"difference": 0.02, "margin": 0.1},
    ):
        powers = np.array([power_reader_study(VAN_DYKE, 12, int(n), **options) for n in cases])
        assert ((powers >= 0) & (powers <= 1)).all()
        assert powers[-1] == pytest.approx(1.0, abs=1e-6)
    assert power_reader_study(VAN_DYKE, 12, 10**8, difference=-0.3, margin=0.1) == pytest.approx(0.0)
    assert sample_size_reader_study(VAN_DYKE, (12,), difference=0.05).options[0].note == ""


def test_power_that_is_lost_with_more_cases_is_told():
    # Two readers who hardly differ: few cases leave many degrees of freedom, unlimited ones a single one.
    pilot = ReaderVarianceComponents(0.0001, 0.0008, 0.0003, 0.0006, 0.0002, n_cases=100)
    plan = sample_size_reader_study(pilot, (2,), difference=0.08, power=0.8)
    cases = plan.options[0].cases
    assert power_reader_study(pilot, 2, cases, difference=0.08) >= 0.8
    assert power_reader_study(pilot, 2, 10**6, difference=0.08) < 0.8
    assert "cases and more have less power" in str(plan)


def test_sizes_for_one_modality_have_the_power_asked_for():
    plan = sample_size_reader_lower_bound(VAN_DYKE, (3, 20), true=0.93, goal=0.88)
    assert plan.options[0].cases is None
    option = plan.options[1]
    assert option.readings == option.readers * option.cases
    assert power_reader_lower_bound(VAN_DYKE, 20, option.cases, true=0.93, goal=0.88) >= 0.8
    assert power_reader_lower_bound(VAN_DYKE, 20, option.cases - 1, true=0.93, goal=0.88) < 0.8


def pilot_of(**components):
    """Returns what matters here of the result of an analysis."""
    names = ("reader", "modality_reader", "error", "cov1", "cov2", "cov3")
    values = dict.fromkeys(names, math.nan) | components
    return SimpleNamespace(components=SimpleNamespace(**values), n_patients=114)


def test_the_result_of_a_pilot_study_is_planned_with():
    found = {name: getattr(VAN_DYKE, name) for name in ("reader", "error", "cov1", "cov2", "cov3")}
    pilot = pilot_of(modality_reader=VAN_DYKE.treatment_reader, **found)
    assert ReaderVarianceComponents.of(pilot) == VAN_DYKE


def test_a_pilot_of_one_modality_plans_one_of_one_modality():
    of_one = ReaderVarianceComponents.of(pilot_of(reader=0.0017, error=0.0008, cov2=0.0003))
    same = ReaderVarianceComponents(0.0002, 0.0008, 0.0003, 0.0003, 0.0002, n_cases=114, reader=0.0015)
    arguments = {"true": 0.9, "goal": 0.86}
    power = power_reader_lower_bound(of_one, 8, 200, **arguments)
    assert power == pytest.approx(power_reader_lower_bound(same, 8, 200, **arguments), rel=1e-12)
    with pytest.raises(ValueError, match=r"components\.cov1=nan"):
        power_reader_study(of_one, 8, 200, difference=0.1)
    of_one_reader = ReaderVarianceComponents.of(pilot_of(error=0.0008, cov2=0.0003))
    with pytest.raises(ValueError, match=r"components\.reader is not known"):
        power_reader_lower_bound(of_one_reader, 8, 200, **arguments)


def test_plans_and_components_are_json_both_ways():
    plan = sample_size_reader_study(VAN_DYKE, (3, 6), difference=OBSERVED)
    assert ReaderStudySize.from_dict(plan.to_dict()) == plan
    assert ReaderVarianceComponents.from_dict(VAN_DYKE.to_dict()) == VAN_DYKE
    unknown = ReaderVarianceComponents(0.1, 0.2, math.nan, 0.1, 0.1, n_cases=10)
    read = ReaderVarianceComponents.from_dict(unknown.to_dict() | {"cov1": None})
    assert math.isnan(read.cov1)
    assert read.reader is None


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: power_reader_study(VAN_DYKE, 1, 50, difference=0.1), "readers=1 must be a whole number of at least 2"),
        (lambda: power_reader_study(VAN_DYKE, 5, 1, difference=0.1), "n_cases=1"),
        (lambda: power_reader_study(VAN_DYKE, 5, 50, difference=math.nan), "difference=nan must be a finite"),
        (lambda: power_reader_study(VAN_DYKE, 5, 50, difference=0, margin=-0.1), "margin=-0.1 must be at least 0"),
        (lambda: power_reader_study(VAN_DYKE, 5, 50, difference=0.1, random="reader"), "did you mean 'readers'"),
        (lambda: power_reader_study(VAN_DYKE, 5, 50, difference=0.1, confidence=95), "confidence=95"),
        (lambda: sample_size_reader_study(VAN_DYKE, (), difference=0.1), "readers is empty"),
        (lambda: sample_size_reader_study(VAN_DYKE, (5,), difference=0), "shows what is not there"),
        (lambda: sample_size_reader_study(VAN_DYKE, (5,), difference=-0.06, margin=0.05), "must lie above -margin"),
        (
            lambda: sample_size_reader_study(VAN_DYKE, (5,), difference=0.8 - 0.85, margin=0.05),
            "must lie above -margin",
        ),
        (lambda: sample_size_reader_lower_bound(VAN_DYKE, (5,), true=0.8, goal=0.85), "true=0.8 must lie above"),
        (
            lambda: power_reader_study(
                ReaderVarianceComponents(0, 0.0003, 0.0008, 0.0003, 0.0002, n_cases=9), 5, 50, difference=0.1
            ),
            "Check the order of the components",
        ),
        (
            lambda: power_reader_study(
                ReaderVarianceComponents(0, 0.001, math.nan, 0.0003, math.nan, n_cases=9), 5, 50, difference=0.1
            ),
            "components.cov1=nan",
        ),
        (
            lambda: power_reader_lower_bound(
                ReaderVarianceComponents(0, 0.001, 0.0003, 0.0003, 0.0002, n_cases=9), 5, 50, true=0.9, goal=0.8
            ),
            "components.reader is not known",
        ),
    ],
)
def test_bad_arguments_are_refused_in_words(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


def test_components_of_another_type_are_refused():
    with pytest.raises(TypeError, match="components must be a ReaderVarianceComponents, not a dict"):
        power_reader_study({"error": 0.1}, 5, 50, difference=0.1)


def test_one_number_of_readers_is_asked_for_as_a_list():
    components = ReaderVarianceComponents(0.0002, 0.0008, 0.00035, 0.00034, 0.00024, n_cases=114)
    with pytest.raises(TypeError, match=r"readers=5 must be a list, each a whole number"):
        sample_size_reader_study(components, 5, difference=0.05)
