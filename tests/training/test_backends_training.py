"""A whole training on each Keras backend, in a process of its own; skipped where the backend is not installed.

From the same weights every backend trains to the same weights but for rounding; with dropout, whose numbers each
draws its own way, stored features, images and a training taken up again end alike on each.
"""

import importlib.util
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

pytestmark = [pytest.mark.keras, pytest.mark.slow, pytest.mark.release]

WORK = """
import json, pathlib, pickle, sys
import keras, numpy as np
from chexkeras.data.augmentation import Augmentation
from chexkeras.models.classifier import build_classifier
from chexkeras.training import loop as fitting
from chexkeras.training.resume.checkpoints import value
from chexkeras.training.resume.checkpoints import Checkpoints
from chexkeras.training.frozen.plan import plan_features
from chexkeras.training.frozen.shelves import Shelves
from chexkeras.training.objective import build_loss
from chexkeras.recipes.recipe import Recipe, Stage
from chexkeras.training.trainer import train

splits, work = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()), pathlib.Path(sys.argv[2])
backend = keras.backend.backend()
stages = (
    Stage("head", 2, 3e-3, 0.0, optimizer="sgd", schedule="reduce_on_plateau", ema=0.8),
    Stage("top", 2, 1e-3, 0.3, optimizer="adamw", weight_decay=1e-3, schedule="cosine", clip_norm=1.0, accumulate=2),
    Stage("normalised", 1, 1e-3, 0.3, batchnorm="trained"),
)
recipe = Recipe("toy", ("Effusion",), image_size=32, backbone="SmallCNN", weights=None, stages=stages, batch_size=16,
                augment=Augmentation(flip=True), balanced_batches="Effusion", monitor="val_loss")


def classifier(head):
    keras.utils.set_random_seed(0)
    model = build_classifier(recipe.targets, backbone="SmallCNN", weights=None, image_size=32, head=head,
                             precision="float32")
    draws = np.random.default_rng(1)
    for weight in model.weights:
        drawn = draws.normal(0.0, 0.1, weight.shape)
        weight.assign(1.0 + np.abs(drawn) if "variance" in weight.path else drawn)
    return model


def fit(name, head, features, stages=stages, until=99, change=None):
    asked, real = recipe.replace(head=head, stages=stages), fitting._epoch
    model = classifier(head)
    if change is not None:
        change(model)
    plan, folder = None, work / name
    if features:
        held = asked.replace(stages=stages[:2])
        plan = plan_features(model, held, splits.train, splits.validation, Shelves(folder / "f", own=True), "float32")
        plan.fill(16)

    def limited(under_way, epoch, global_epoch, labels):
        if global_epoch > until:
            raise KeyboardInterrupt
        return real(under_way, epoch, global_epoch, labels)

    fitting._epoch = limited
    try:
        result = fitting.fit_stages(model, asked, build_loss(asked, splits.train), splits.train, splits.validation,
                                    plan, checkpoints=Checkpoints(folder))
    except KeyboardInterrupt:
        return None
    finally:
        fitting._epoch = real
    return [value(weight) for weight in model.weights], result


def apart(one, two):
    return max(float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-12)) for a, b in zip(one[0], two[0]))


def short_of_memory(model):
    layer = model.get_layer("block4_conv")
    real = layer.call

    def call(inputs, **options):
        if inputs.shape[0] is not None and inputs.shape[0] > 5:
            if backend == "torch":
                import torch
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 GiB")
        return real(inputs, **options)

    layer.call = call


told = {"backend": backend}
plain = fit("plain", "linear", False)
np.savez(work / "weights.npz", *plain[0])
told["losses"] = [[row["loss"], row["val_loss"]] for row in plain[1].history]
told["moved"] = apart((classifier("linear").get_weights(),), plain)
dropout = fit("dropout", "three_layer", False)
told["on features"] = apart(dropout, fit("features", "three_layer", True))
assert fit("parts", "three_layer", True, until=3) is None
told["taken up"] = apart(fit("whole", "three_layer", True), fit("parts", "three_layer", True))
# TensorFlow's own test raises its error inside the graph.
told["in pieces"] = backend == "tensorflow" or apart(fit("held", "linear", False, stages[:2]),
                          fit("pieces", "linear", False, stages[:2], change=short_of_memory))
run = train(recipe.replace(balanced_batches=()), splits, work / "run", cautions=["Toy images."])
told["auroc"] = run.evaluation.findings[0].auroc.value
told["run"] = sorted(path.name for path in (work / "run").iterdir())
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told_of(toy_splits, tmp_path_factory):
    """Returns what a backend's process told, each run once."""
    found = {}

    def told(backend):
        if importlib.util.find_spec(backend) is None:
            pytest.skip(f"{backend} is not installed")
        if backend not in found:
            work = tmp_path_factory.mktemp(backend)
            (work / "splits").write_bytes(pickle.dumps(toy_splits))
            environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
            done = subprocess.run(
                [sys.executable, "-c", WORK, work / "splits", work],
                capture_output=True, text=True, env=environment, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-4000:]
            found[backend] = json.loads(done.stdout.splitlines()[-1])
            assert found[backend]["backend"] == backend
            with np.load(work / "weights.npz") as weights:
                found[backend]["weights"] = [weights[name] for name in weights.files]
        return found[backend]

    return told


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_training_is_the_same_on_stored_features_and_after_an_interruption(told_of, backend):
    told = told_of(backend)
    assert told["moved"] > 0.01
    assert told["on features"] <= 1e-4
    assert told["taken up"] == 0.0
    assert "model.keras" in told["run"]
    assert told["auroc"] > 0.9


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_backend_trains_to_the_same_weights(told_of, backend):
    told, expected = told_of(backend), told_of("tensorflow")
    np.testing.assert_allclose(told["losses"], expected["losses"], rtol=1e-4)
    for one, two in zip(told["weights"], expected["weights"], strict=True):
        assert np.linalg.norm(one - two) <= 1e-3 * np.linalg.norm(two)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_smaller_batches_train_to_the_weights_of_the_whole_batch(told_of, backend):
    assert told_of(backend)["in pieces"] <= 1e-4
