import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from chexkeras.data.image_layout import image_layout, layout_length, layouts_of
from chexkeras.evaluation.novelty import MISTAKES, conformal_rank, false_alarm_estimate, fit_novelty, freeze
from chexkeras.phantoms.cohort import make_cohort
from chexkeras.phantoms.render import render
from chexkeras.results import Novelty
from chexkeras.results.novelty import GRID

SIDE = 64


@pytest.fixture(scope="module")
def images():
    cohort = make_cohort(300, 1)
    drawn = np.random.default_rng(0).permutation(len(cohort))[:300]
    films = np.stack([render(cohort[at], 1, SIDE)[0] for at in drawn])
    return {"train": films[:120], "validation": films[120:240], "test": films[240:]}


@pytest.fixture(scope="module")
def measure(images):
    layouts = {name: layouts_of(part) for name, part in images.items()}
    return freeze(fit_novelty(layouts["train"], SIDE), layouts["validation"], test=layouts["test"])


def flagged(measure, images):
    return measure.unlike(measure.of(layouts_of(np.stack(images)))).mean()


def test_images_like_those_of_training_are_not_flagged(measure, images):
    # Above the 120th of 120 lies one image in 121; five of 60 would be a chance of one in 3,000.
    assert flagged(measure, images["test"]) < 5 / 60
    assert measure.on_test.n == len(images["test"])


@pytest.mark.parametrize(
    "change",
    [lambda x: 255 - x, lambda x: np.rot90(x), lambda x: np.rot90(x, 3), lambda x: np.rot90(x, 2), lambda x: x[::-1]],
    ids=["inverted", "90", "270", "180", "upside down"],
)
def test_mistakes_in_handling_are_flagged_and_named(measure, images, change):
    changed = layouts_of(np.stack([change(image) for image in images["test"]]))
    assert measure.unlike(measure.of(changed)).mean() >= 0.95
    assert measure.measures(changed).shape == (len(changed), 2 + len(MISTAKES))


def test_the_inverted_image_is_most_like_an_inverted_one(measure, images):
    found = [measure.named(row) for row in measure.measures(layouts_of(255 - images["test"]))]
    assert found.count("gray values inverted") > 0.9 * len(found)
    found = [measure.named(row) for row in measure.measures(layouts_of(np.rot90(images["test"], 1, (1, 2))))]
    assert found.count("turned by 90 degrees") > 0.7 * len(found)


def test_what_is_no_chest_is_flagged(measure):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (SIDE, SIDE)) for _ in range(20)]
    ramp = [np.tile(np.linspace(0, 255, SIDE), (SIDE, 1)), np.full((SIDE, SIDE), 128.0), np.zeros((SIDE, SIDE))]
    print_like = (rng.random((SIDE // 4, SIDE // 4)) < 0.3).repeat(4, axis=0).repeat(4, axis=1) * 255.0
    assert flagged(measure, noise) == 1
    assert flagged(measure, [*ramp, print_like]) == 1


def test_exposure_does_not_count(images):
    image = images["test"][0].astype(float)
    first, second = image_layout(image), image_layout(image * 0.5 + 40)
    np.testing.assert_allclose(first[: GRID**2], second[: GRID**2], atol=1e-6)
    np.testing.assert_allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("side", [16, 17, 33, 64, 224])
def test_a_layout_has_as_many_numbers_as_is_said(side):
    assert len(image_layout(np.arange(side * side, dtype=float).reshape(side, side) % 251)) == layout_length(side)


@pytest.mark.parametrize("shape", [(15, 15), (32, 33), (32, 32, 1), (32,)])
def test_what_is_no_square_image_is_refused(shape):
    with pytest.raises(ValueError, match="a square one of at least 16 pixels"):
        image_layout(np.zeros(shape))


@pytest.mark.parametrize(
    ("n", "rate", "rank"),
    [
        (200, 0.01, 199),
        (99, 0.01, 99),
        (98, 0.01, None),
        (199, 0.01, 198),
        (19, 0.05, 19),
        (18, 0.05, None),
        (0, 0.5, None),
    ],
)
def test_the_rank_is_exact(n, rate, rank):
    assert conformal_rank(n, rate) == rank


@pytest.mark.parametrize("rate", [0.01, 0.02, 0.05, 0.1, 0.3])
def test_the_rank_is_the_smallest_that_keeps_the_rate(rate):
    for n in range(1, 400):
        fits = [k for k in range(1, n + 1) if (n + 1 - k) / (n + 1) <= rate + 1e-12]
        assert conformal_rank(n, rate) == (fits[0] if fits else None)


def test_the_interval_of_the_rate_is_the_beta_distribution():
    found = false_alarm_estimate(200, 199)
    low, high = stats.beta(2, 199).ppf([0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.value == pytest.approx(2 / 201)
    with pytest.raises(ValueError, match="must be one of 1 to 5"):
        false_alarm_estimate(5, 6)


def test_the_rate_is_kept_on_average():
    # The rank alone decides; any numbers will do for novelties.
    rng = np.random.default_rng(5)
    rates = []
    for _ in range(2000):
        values = np.sort(rng.exponential(size=150))
        rates.append(math.exp(-values[conformal_rank(150, 0.05) - 1]))
    expected = false_alarm_estimate(150, conformal_rank(150, 0.05))
    assert np.mean(rates) == pytest.approx(expected.value, abs=0.003)
    inside = np.mean((np.asarray(rates) >= expected.low) & (np.asarray(rates) <= expected.high))
    assert inside == pytest.approx(0.95, abs=0.02)


def test_the_threshold_is_the_validation_image_of_that_rank(measure, images):
    novelty = np.sort(measure.of(layouts_of(images["validation"])))
    assert measure.threshold == novelty[conformal_rank(120, 0.01) - 1]
    assert measure.unlike(measure.threshold) == False  # noqa: E712
    assert measure.unlike(np.nextafter(measure.threshold, np.inf))


def test_too_few_validation_images_give_no_threshold(measure, images):
    few = layouts_of(images["validation"][:98])
    found = freeze(measure, few, test=layouts_of(images["test"]))
    assert math.isnan(found.threshold) and "at least 99" in found.false_alarms.reason
    assert not found.unlike(found.of(layouts_of(255 - images["test"]))).any()
    assert "no threshold" in str(found)
    assert freeze(measure, few, rate=0.02).threshold > 0


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, "x", None])
def test_a_rate_that_is_none_is_refused(measure, images, rate):
    with pytest.raises((ValueError, TypeError), match="rate"):
        freeze(measure, layouts_of(images["validation"]), rate=rate)


def test_too_few_training_images_are_refused(images):
    with pytest.raises(ValueError, match="at least 20 rows"):
        fit_novelty(layouts_of(images["train"][:19]), SIDE)


def test_layouts_of_another_size_are_refused(measure, images):
    with pytest.raises(ValueError, match=r"numbers; .* were expected"):
        measure.of(layouts_of(images["test"][:, ::2, ::2]))


def test_it_is_the_same_after_writing(measure, images, tmp_path):
    again = Novelty.read(measure.save(tmp_path / "novelty.json"))
    assert again == measure
    layouts = layouts_of(images["test"])
    np.testing.assert_array_equal(again.of(layouts), measure.of(layouts))
    assert (tmp_path / "novelty.json").stat().st_size < 300_000


def test_without_a_threshold_too(measure, images, tmp_path):
    none = freeze(measure, layouts_of(images["validation"][:50]))
    assert math.isnan(Novelty.read(none.save(tmp_path / "novelty.json")).threshold)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mean": []}, "layouts of 0 numbers"),
        ({"mean": [0.0] * 5000}, "layouts of 5,000 numbers"),
        ({"scale": [1.0]}, "scale holds 1 numbers"),
        ({"parts": []}, "0 parts"),
        ({"rate": 1.5}, "rate 1.5"),
        ({"image_size": 10**6}, "1000000 pixels"),
        ({"n_validation": -1}, "-1 validation"),
        ({"validation": [1e400]}, "not finite"),
        ({"threshold": 1e400}, "not finite"),
    ],
)
def test_a_file_that_no_run_writes_is_refused(measure, changes, said):
    with pytest.raises(ValueError, match=said):
        Novelty.from_dict({**measure.to_dict(), **changes})


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["parts"][0].update(stop=10**6),
        lambda d: d["parts"][0].update(start=-1),
        lambda d: d["parts"][0].update(rest=0.0),
        lambda d: d["parts"][0].update(variances=[1.0]),
        lambda d: d["parts"][1].update(spread=-1.0),
        lambda d: d["mistakes"][0].update(weights=[]),
        lambda d: d["mistakes"][0].update(centre=math.inf),
        lambda d: d.update(scale=[0.0] * len(d["mean"])),
    ],
)
def test_parts_that_cannot_be_are_refused(measure, change):
    import json

    plain = json.loads(json.dumps(dataclasses.asdict(measure)))
    change(plain)
    with pytest.raises(ValueError, match=r"numbers|above 0|finite|holds"):
        Novelty.from_dict(plain)
