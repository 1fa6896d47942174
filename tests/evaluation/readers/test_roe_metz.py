"""Simulated reader studies: the moments they were asked for, and how often the analysis errs on them."""

import numpy as np
import pytest
from scipy import special, stats

from chexkeras.evaluation.readers.figures_of_merit import figures_with_covariance
from chexkeras.evaluation.readers.mrmc import mrmc
from chexkeras.evaluation.readers.obuchowski_rockette import OrhModel
from chexkeras.evaluation.readers.roe_metz import (
    RatingModel,
    _Design,
    simulate_reader_study,
    simulate_reader_study_power,
    simulated_intervals,
)
from chexkeras.evaluation.sample_size.assumed_components import roe_metz_components
from chexkeras.evaluation.sample_size.reader_study import power_reader_study

EQUAL = {"a": 0.85, "b": 0.85}


def test_structures_are_those_of_roe_and_metz():
    # Table 1 of the paper: distances .75, 1.5, 2.5 of the classes; variances of readers, then of images and the rest.
    for distance, high in ((0.75, 0.011), (1.5, 0.030), (2.5, 0.056)):
        area = float(special.ndtr(distance / np.sqrt(2)))
        for structure, parts in (("HL", (0.3, 0.3, 0.2, 0.2)), ("LH", (0.1, 0.1, 0.2, 0.6))):
            model = RatingModel.roe_metz(structure, area)
            assert model.reader == model.modality_reader == pytest.approx(high if structure[1] == "H" else 0.0055)
            assert (model.image, model.modality_image, model.reader_image, model.rest) == parts


def test_ratings_have_the_variances_of_the_model():
    model = RatingModel(0.4, 0.2, 0.35, 0.25, 0.3, 0.1, patient=0.6)
    design = _Design.of({"a": 0.9, "b": 0.7}, 12, (6000, 4000), 2, model, None)
    parts = design.draw(np.random.default_rng(3))
    truth = parts[0].positive
    wide = np.stack([part.ratings for part in parts]).transpose(2, 0, 1)
    for members in (truth, ~truth):
        own = wide[members] - wide[members].mean(axis=0)
        cov = np.einsum("nmr,npq->mrpq", own, own) / len(own)
        same = np.eye(12, dtype=bool)
        assert cov[0, :, 0, :][same].mean() == pytest.approx(1.0, abs=0.04)
        assert cov[0, :, 1, :][same].mean() == pytest.approx(0.35 + 0.3, abs=0.04)
        assert cov[0, :, 0, :][~same].mean() == pytest.approx(0.35 + 0.25, abs=0.04)
        assert cov[0, :, 1, :][~same].mean() == pytest.approx(0.35, abs=0.04)
        # Two images of a patient share the stated part of what images vary by.
        pairs = own.reshape(-1, 2, 2, 12)
        together = np.einsum("pmr,pmr->", pairs[:, 0], pairs[:, 1]) / (len(pairs) * 24)
        assert together == pytest.approx(0.6 * (0.35 + 0.25), abs=0.04)


def test_effects_of_readers_have_the_variances_of_the_model():
    model = RatingModel(0.4, 0.2, 0.35, 0.25, 0.3, 0.1)
    parts = _Design.of({"a": 0.9, "b": 0.7}, 2000, (20, 20), 1, model, None).draw(np.random.default_rng(4))
    effects = [[part.ratings[:, part.positive == label].mean(axis=1) for part in parts] for label in (True, False)]
    # Classes lie sqrt(2 (1 + .4 + .2)) z(area) apart, give or take what 20 images do.
    for number, area in enumerate((0.9, 0.7)):
        apart = (effects[0][number] - effects[1][number]).mean() / np.sqrt(3.2)
        assert apart == pytest.approx(special.ndtri(area), abs=0.4)
    # What an image does to one reader is .3 + .1 of 20 images' mean, and .3 of it in both modalities.
    for one, other in effects:
        assert np.var(one) == pytest.approx(0.4 + 0.2 + 0.4 / 20, rel=0.1)
        assert np.cov(one, other)[0, 1] == pytest.approx(0.4 + 0.3 / 20, rel=0.1)
    assert np.cov(effects[0][0], effects[1][0])[0, 1] == pytest.approx(0.0, abs=0.05)


def test_readers_have_the_stated_area_on_average():
    found = simulated_intervals({"a": 0.9, "b": 0.7}, readers=4, images=(30, 30), studies=200, seed=1)
    error = found[:, 0].std(ddof=1) / np.sqrt(200)
    assert found[:, 0].mean() == pytest.approx(0.2, abs=4 * error)


def test_one_seed_one_study():
    one, other = (simulate_reader_study(EQUAL, readers=3, images=(10, 10), seed=4).to_frame() for _ in range(2))
    assert one.equals(other)
    assert not one.equals(simulate_reader_study(EQUAL, readers=3, images=(10, 10), seed=5).to_frame())


def test_simulated_studies_are_analysed_as_any_study_is():
    for groups in (None, (0, 1), (0, 1, 1)):
        areas = dict(zip("abc", (0.8, 0.85, 0.9), strict=False))
        areas = {name: areas[name] for name in "abc"[: len(groups or (0, 0))]}
        (found,) = simulated_intervals(areas, readers=4, images=(20, 24), groups=groups, studies=1, seed=6)
        value, low, high, p_value, *mean = found
        study = simulate_reader_study(areas, readers=4, images=(20, 24), groups=groups, seed=6)
        result = mrmc(study)
        pair = result.difference("a", "b")
        assert (pair.difference.value, result.overall.p_value) == pytest.approx((value, p_value))
        assert (pair.difference.low, pair.difference.high) == pytest.approx((low, high))
        both = result.mean("a").estimate, result.mean("a").logit_interval
        assert [limit for entry in both for limit in (entry.low, entry.high)] == pytest.approx(mean)


def test_equal_modalities_are_told_apart_as_seldom_as_the_level_says():
    for groups, seed in ((None, 1), ((0, 1), 2)):
        found = simulated_intervals(EQUAL, readers=4, images=(20, 20), groups=groups, studies=200, seed=seed)
        wrong = int(((found[:, 1] > 0) | (found[:, 2] < 0)).sum())
        assert stats.binomtest(wrong, 200, 0.05).pvalue > 0.01, wrong


def test_patients_with_several_images_count_as_patients():
    model = RatingModel(0.0055, 0.0055, 0.3, 0.3, 0.2, 0.2, patient=1.0)
    found = simulated_intervals(EQUAL, readers=3, images=(40, 40), images_each=4, model=model, studies=150, seed=3)
    wrong = int(((found[:, 1] > 0) | (found[:, 2] < 0)).sum())
    assert stats.binomtest(wrong, 150, 0.05).pvalue > 0.01, wrong


def test_the_analysis_finds_the_variance_components_that_follow_from_the_rating_model():
    # By bivariate normal probabilities, without a simulation (Hillis, Statistics in Medicine 37, 2018).
    model = RatingModel(0.08, 0.04, 0.3, 0.2, 0.2, 0.3)
    expected = roe_metz_components(0.8, 30, 40, readers=(0.08, 0.04), cases=(0.3, 0.2, 0.2))
    design, rng, found = _Design.of({"a": 0.8, "b": 0.8}, 4, (30, 40), 1, model, None), np.random.default_rng(8), []
    for _ in range(400):
        figures = figures_with_covariance(design.draw(rng), "auroc", None, "unbiased")
        made = OrhModel.of(figures, readers="random", images="random", pooled=True).components(np.ones((2, 2), bool))
        found.append([made.reader, made.modality_reader, made.error, made.cov1, made.cov2, made.cov3])
    errors = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    names = ("reader", "treatment_reader", "error", "cov1", "cov2", "cov3")
    told = np.array([getattr(expected, name) for name in names])
    assert (np.abs(np.mean(found, axis=0) - told) < 4 * errors).all(), (np.mean(found, axis=0), told, errors)


def test_simulated_power_is_that_of_the_formula():
    simulated = simulate_reader_study_power({"aided": 0.88, "unaided": 0.82}, readers=8, images=(60, 60), studies=250)
    components = roe_metz_components(0.85, 60, 60, readers=(0.03, 0.03), cases=(0.3, 0.3, 0.2))
    assert simulated.value == pytest.approx(power_reader_study(components, 8, 120, difference=0.06, margin=0), abs=0.09)


def test_power_grows_with_what_there_is_to_see():
    few, many = (
        simulate_reader_study_power(
            {"aided": 0.9, "unaided": 0.8}, readers=readers, images=(30, 30), studies=60, model="LL"
        )
        for readers in (3, 8)
    )
    assert 0 < few.value < many.value <= 1
    assert few.low < few.value < few.high
    assert "60 simulated studies that show the first modality better" in few.method
    margin = simulate_reader_study_power(EQUAL, readers=5, images=(40, 40), studies=60, margin=0.2)
    assert margin.value > 0.5
    assert "not inferior by 0.2" in margin.method


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"auroc": {}}, "areas by the modality's name"),
        ({"auroc": {"a": 0.4}}, "auroc of a is 0.4; it must be at least 0.5"),
        ({"readers": 0}, "readers=0"),
        ({"images": (1, 10)}, "number of positive images=1"),
        ({"images": (10, 9), "images_each": 2}, "9 negative images do not make patients with 2 images each"),
        ({"groups": (0, 2)}, "one number for each of 2 modalities was expected"),
        ({"groups": (0,)}, "one number for each of 2 modalities was expected"),
        ({"model": "XX"}, "structure='XX'"),
    ],
)
def test_wrong_numbers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_reader_study(**{"auroc": EQUAL, **arguments})


def test_variances_must_add_up():
    with pytest.raises(ValueError, match=r"must add up to 1; got 0.1 and 0.1, and 0.5, 0.5, 0.5, 0.5"):
        RatingModel(0.1, 0.1, 0.5, 0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="names 3 modalities"):
        simulate_reader_study_power({"a": 0.8, "b": 0.8, "c": 0.8})


@pytest.mark.parametrize("seed", [-1, 1.5, None])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="seed="):
        simulate_reader_study({"A": 0.8}, seed=seed)
