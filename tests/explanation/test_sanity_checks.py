"""The checks tell a map that depends on the model from one that does not."""

import numpy as np
import pytest

from chexkeras.explanation import MapMethod, check_maps
from chexkeras.explanation.methods import METHODS
from chexkeras.explanation.sanity_checks import rank_correlation, structural_similarity
from chexkeras.plots.cautions import kinds
from chexkeras.results import MapChecks


@pytest.fixture(scope="module")
def checked(toy_run, toy_splits):
    return check_maps(toy_run, toy_splits.test, train=toy_splits.train, images=20, seed=2)


def test_maps_of_a_trained_run_depend_on_the_model(checked):
    assert checked.verdict == "depends on the model", str(checked)
    assert [level.name for level in checked.levels] == [
        "head",
        "head and upper half",
        "whole network",
        "labels permuted",
    ]
    assert checked.levels[2].rank_correlation.high < checked.most_alike
    assert checked.deletion.high < 0
    assert "Toy images." in checked.cautions


def test_maps_that_show_edges_of_the_image_do_not(toy_run, toy_splits, monkeypatch):
    """The brightness of the image itself, whatever the network makes of it."""
    from chexkeras.explanation import sanity_checks

    def brightness(network, entry, pixels, columns, batch_size):
        cells = pixels[..., 0].reshape(len(pixels), 4, 8, 4, 8).mean(axis=(2, 4))
        return cells[:, np.newaxis], np.zeros((len(pixels), 1))

    monkeypatch.setattr(sanity_checks, "maps_of", brightness)
    found = check_maps(toy_run, toy_splits.test, images=12)
    assert found.verdict == "does not depend on the model"
    assert found.reason == "maps of a randomised network look much the same"
    assert all(level.rank_correlation.value == pytest.approx(1) for level in found.levels)


def test_maps_at_random_are_not_shown_to_depend(toy_run, toy_splits, monkeypatch):
    """They differ from those of a randomised network, and from what the score rests on."""
    from chexkeras.explanation import sanity_checks

    rng = np.random.default_rng(0)

    def chance(network, entry, pixels, columns, batch_size):
        return rng.uniform(size=(len(pixels), 1, 4, 4)).astype(np.float32), np.zeros((len(pixels), 1))

    monkeypatch.setattr(sanity_checks, "maps_of", chance)
    found = check_maps(toy_run, toy_splits.test, images=12)
    assert found.verdict == "not shown"
    assert "does not lower the score more than random places do" in found.reason
    assert "12 images: not shown to depend on the model (" in str(found)
    assert kinds(["These maps were not shown to depend on the model."]) == (("maps that failed a check",), 0)


def test_one_seed_gives_one_result_and_it_is_read_again(checked, toy_run, toy_splits, tmp_path):
    import json

    again = check_maps(toy_run, toy_splits.test, train=toy_splits.train, images=20, seed=2)
    assert again.levels[2].rank_correlation.value == pytest.approx(checked.levels[2].rank_correlation.value, abs=1e-4)
    read = MapChecks.from_dict(json.loads(checked.save(tmp_path / "checks.json").read_text()))
    assert str(read) == str(checked)


def test_what_cannot_be_checked_is_said(toy_run, toy_splits):
    for given, words in (
        ({"method": "occlusion"}, "asks the model itself"),
        ({"finding": "Mass"}, "finding='Mass'"),
        ({"images": 3}, "images=3"),
    ):
        with pytest.raises(ValueError, match=words):
            check_maps(toy_run, toy_splits.test, **given)
    with pytest.raises(ValueError, match=r"4 image\(s\) to check heat maps on; give at least 10"):
        check_maps(toy_run, toy_splits.test.head(4))
    negatives = toy_splits.train[toy_splits.train["Effusion"] == 0]
    with pytest.raises(ValueError, match="train holds one class of Effusion only"):
        check_maps(toy_run, toy_splits.test, train=negatives)


def test_similarity_of_maps_by_hand():
    rng = np.random.default_rng(0)
    first, other = rng.uniform(size=(2, 7, 7)).astype(np.float32)
    assert rank_correlation(first, 3 * first + 1) == pytest.approx(1)
    assert rank_correlation(first, -first) == pytest.approx(-1)
    assert rank_correlation(first, np.ones((7, 7), np.float32)) == 0
    assert structural_similarity(first, 3 * first + 1) == pytest.approx(1, abs=1e-5)
    assert structural_similarity(first, other) < 0.7


def test_every_method_says_where_it_is_from():
    assert all(isinstance(entry, MapMethod) and entry.doc and entry.source for entry in METHODS.values())
