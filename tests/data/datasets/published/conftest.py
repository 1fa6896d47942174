"""Phantoms in the layout of each published data set, made once for all tests of this folder."""

import pytest

from chexkeras.phantoms import make_phantoms

IMAGES = 40


@pytest.fixture(scope="session")
def layouts(tmp_path_factory):
    """Returns a function: the layout's name to its folder."""
    made = {}
    top = tmp_path_factory.mktemp("layouts")

    def folder(layout):
        if layout not in made:
            shares = {"Pneumonia": 0.3, "Pneumothorax": 0.3, "Effusion": 0.3, "Cardiomegaly": 0.3}
            made[layout] = make_phantoms(
                top / layout, layout=layout, images=IMAGES, size=64, seed=3, prevalence=shares, processes=1
            )
        return made[layout]

    return folder
