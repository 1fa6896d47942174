"""A learnable toy data set that needs no phantoms: dark images, the positive ones with a bright square."""

import dataclasses
import fcntl
import os
import random
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from chexkeras.data.image_table import TableSource
from chexkeras.findings import NIH14

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# No example fails because the machine is busy, and every run tries the same ones; others come with
# `--hypothesis-profile=default`.
settings.register_profile(
    "same everywhere", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same everywhere")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Draws weights and dropout that no test gives a seed alike in every run, whichever tests came before."""
    random.seed(0)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


def toy_table(folder, *, patients=60, images_each=2, size=48, seed=0, cautions=("Toy images.",)):
    """Writes images and returns their image table; Effusion shows as a bright square, Mass is rare and invisible."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        effusion = float(patient % 2)
        for follow_up in range(images_each):
            image = rng.normal(70, 25, (size, size))
            if effusion:
                image[size // 2 : size // 2 + size // 3, 4 : 4 + size // 3] += 80
            image_id = f"{patient + 1:08d}_{follow_up:03d}.png"
            path = folder / image_id
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)
            rows.append(
                {
                    "image_id": image_id,
                    "path": str(path),
                    "patient_id": str(patient + 1),
                    "follow_up": follow_up,
                    "age_years": 40.0 + patient % 30,
                    "sex": "MF"[patient % 2],
                    "view": ("PA", "AP")[patient // 2 % 2],
                    "width_px": size,
                    "height_px": size,
                    "pixel_spacing_mm": 0.2,
                    **dict.fromkeys(NIH14, 0.0),
                    "Effusion": effusion,
                    "Mass": float(patient % 5 == 0),
                    "official_split": "",
                }
            )
    table = pd.DataFrame(rows)
    table.attrs["source"] = TableSource(dataset="toy images", synthetic=True, cautions=cautions)
    return table


def pytest_collection_modifyitems(items):
    """Begins with the files that hold slow tests, lest a worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Returns a path in a folder of all workers of pytest-xdist, made by the first of them that asks for it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def made(name, make):
        path = folder / "shared" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{name.replace('/', '-')}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                make(path)
        return path

    return made


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    return toy_table(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def toy_recipe():
    from chexkeras.recipes.recipe import Recipe, Stage

    stages = (
        Stage("stage1", epochs=3, learning_rate=3e-3, trainable=0.0),
        Stage("stage2", epochs=3, learning_rate=1e-3, trainable=0.3),
    )
    return Recipe("toy", ("Effusion",), image_size=32, backbone="SmallCNN", weights=None, stages=stages, batch_size=16)


@pytest.fixture(scope="session")
def short_recipe(toy_recipe):
    """One epoch of the head alone: for tests that need some trained run, however well it learned."""
    return toy_recipe.replace(stages=(dataclasses.replace(toy_recipe.stages[0], epochs=1),))


@pytest.fixture(scope="session")
def toy_splits(toy):
    from chexkeras.data.splits.splitters import split_by_patient

    return split_by_patient(toy, "Effusion", validation=0.25, test=0.25)


@pytest.fixture(scope="session")
def toy_run(made_once, toy_recipe, toy_splits):
    """A finished run on the toy images, made once."""
    from chexkeras.runs.run import Run
    from chexkeras.training.trainer import train

    return Run.load(made_once("toy_run/toy", lambda folder: train(toy_recipe, toy_splits, folder)))


@pytest.fixture
def run_eagerly():
    """Runs what Keras would compile first, for a few steps of a model whose tracing would take far longer."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def make_toy():
    """`toy_table`, for tests that want toy images of their own."""
    return toy_table


@pytest.fixture(autouse=True)
def registries_as_they_came(monkeypatch):
    """What another test or example registered in this process is not there, and what this one registers goes again."""
    from chexkeras.models.backbones import BACKBONES
    from chexkeras.models.losses import LOSSES

    for registry in (LOSSES, BACKBONES):
        built_in = {name: registry[name] for name in registry if name in registry._built_in}
        monkeypatch.setattr(registry, "_entries", built_in)
