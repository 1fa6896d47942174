"""How bright training images are, by finding, as a run keeps it."""

import numpy as np
import pytest
from PIL import Image

from chexkeras.training.finish import intensities

pytestmark = pytest.mark.keras


def test_the_bright_squares_of_the_positive_images_show(toy_splits):
    rows = toy_splits.train
    (entry,) = intensities(rows, ("Effusion",), image_size=48).values()
    centres = (np.array(entry["bins"][:-1]) + entry["bins"][1:]) / 2
    for group, label in (("positive", 1.0), ("negative", 0.0)):
        images = [np.asarray(Image.open(path), float) for path in rows.loc[rows["Effusion"] == label, "path"]]
        assert entry[f"n_{group}"] == len(images)
        assert sum(entry[group]) == pytest.approx(1.0)
        # Bands of four gray levels: their means lie within half a band of the images' own.
        assert np.dot(centres, entry[group]) == pytest.approx(np.mean(images), abs=2.0)
    assert np.dot(centres, entry["positive"]) > np.dot(centres, entry["negative"]) + 5


def test_groups_are_capped_drawn_alike_and_may_be_empty(toy_splits, monkeypatch):
    monkeypatch.setattr("chexkeras.training.finish._MOST", 3)
    rows = toy_splits.train.assign(Hernia=0.0, Mass=np.nan)
    first = intensities(rows, ("Effusion", "Hernia", "Mass"), image_size=16)
    assert first == intensities(rows, ("Effusion", "Hernia", "Mass"), image_size=16)
    assert (first["Effusion"]["n_positive"], first["Effusion"]["n_negative"]) == (3, 3)
    assert (first["Hernia"]["positive"], first["Hernia"]["n_negative"]) == (None, 3)
    assert (first["Mass"]["positive"], first["Mass"]["negative"]) == (None, None)
    assert first != intensities(rows, ("Effusion", "Hernia", "Mass"), image_size=16, seed=1)
