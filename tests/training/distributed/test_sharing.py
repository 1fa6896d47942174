"""Devices of one process that share every batch train to what one device trains to; skipped without JAX.

In a process of its own, whose processor JAX shows as four devices.
"""

import importlib.util
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from chexkeras.data.pipeline import make_dataset
from chexkeras.data.sampling import Share, in_order
from chexkeras.training.distributed.sharing import check_backend
from chexkeras.training.memory import pieces, pieces_of_share

pytestmark = pytest.mark.keras

WORK = """
import json, pathlib, pickle, sys
import keras, numpy as np
from chexkeras.data.augmentation import Augmentation
from chexkeras.models.classifier import build_classifier
from chexkeras.recipes.loss import Loss
from chexkeras.recipes.recipe import Recipe, Stage
from chexkeras.training.distributed.sharing import Sharing
from chexkeras.training.loop import fit_stages
from chexkeras.training.objective import build_loss
from chexkeras.training.resume.checkpoints import value

train, validation = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
# Batches of 14 images and a last one of 9: none divides by 4.
stages = (
    Stage("held", 1, 3e-3, 0.0, optimizer="adamw", weight_decay=1e-3, ema=0.8, clip_norm=1.0, accumulate=2),
    Stage("normalised", 2, 1e-3, 1.0, batchnorm="trained", schedule="reduce_on_plateau", reduce_patience=1),
)
recipe = Recipe("toy", ("Effusion",), image_size=32, backbone="SmallCNN", weights=None, head="three_layer",
                stages=stages, batch_size=14, augment=Augmentation(flip=True, rotation_degrees=5.0),
                balanced_batches="Effusion", loss=Loss("focal"), monitor="val_loss")
losing = []


def built(head):
    keras.utils.set_random_seed(0)
    pixels = keras.Input((None, None, 1))
    features = keras.layers.Conv2D(4, 5, strides=4, use_bias=False, name="conv")(pixels)
    features = keras.layers.ReLU()(keras.layers.BatchNormalization()(features))
    model = build_classifier(recipe.targets, backbone=keras.Model(pixels, features), weights=None, image_size=32,
                             head=head, precision="float32", input_range=(0, 1))
    layer = model.get_layer("conv")
    real = layer.call

    def call(inputs, **options):
        if losing and inputs.shape[0] is not None and inputs.shape[0] > 9:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 GiB")
        return real(inputs, **options)

    layer.call = call
    return model


def fit(asked, devices=None):
    loss, model = build_loss(asked, train), built(asked.head)
    if devices is None:
        result = fit_stages(model, asked, loss, train, validation)
    else:
        sharing = Sharing(devices)
        with sharing.fitting([value(each) for each in model.variables], lambda: built(asked.head)) as shared:
            result = fit_stages(shared, asked, loss, train, validation, sharing=sharing)
        sharing.bring_back(shared, model, result.best_epochs)
    return [value(weight) for weight in model.weights], result, [value(weight) for weight in built(asked.head).weights]


def apart(one, two):
    return max(float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-12)) for a, b in zip(one[0], two[0]))


def losses(result):
    return [[row["loss"], row["val_loss"], row["val_auroc"], row["learning_rate"]] for row in result[1].history]


alone = fit(recipe)
told = {"moved": apart((alone[2],), alone), "alone": losses(alone), "images": len(train)}
shared = fit(recipe, 4)
told |= {"apart": apart(alone, shared), "shared": losses(shared), "kept": shared[1].kept == alone[1].kept}
# BatchNorm is held, for it would see the pieces.
held = recipe.replace(stages=(Stage("held", 2, 1e-3, 0.5, optimizer="sgd"),), head="linear")
alone = fit(held)
losing.append(True)
shared = fit(held, 4)
told["pieces"] = {"apart": apart(alone, shared), "at a time": shared[1].images_at_a_time}
losing.clear()
try:
    Sharing(5)
except ValueError as error:
    told["too many"] = str(error)
print(json.dumps(told))
"""


def test_shares_of_a_batch_are_the_whole_batch_and_equally_many_each():
    epoch = in_order(23)
    for processes, devices in ((2, 2), (2, 4), (3, 3)):
        shares = [Share(processes, number, devices) for number in range(processes)]
        read = [share.of(epoch, 10) for share in shares]
        assert len({len(each.rows) for each in read}) == 1
        mine = shares[0].read_of(10)
        whole = np.concatenate([each.rows[:mine] for each in read])
        assert whole[:10].tolist() == list(range(10))
        # The last batch, of three rows; what fills it up is its own.
        last = np.concatenate([each.rows[2 * mine :] for each in read])
        assert last[:3].tolist() == [20, 21, 22]
        assert set(last) == {20, 21, 22}
        assert len(last) % devices == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_batches_of_a_share_have_the_rows_and_draws_of_the_whole_and_say_what_fills_them_up(toy, processes):
    table = toy.iloc[:23]
    from chexkeras.data.augmentation import Augmentation

    common = {"image_size": 32, "batch_size": 10, "shuffle": True, "augmentation": Augmentation(flip=True), "epoch": 3}
    whole = [(x.numpy(), y.numpy()) for x, y in make_dataset(table, "Effusion", **common)]
    shares = [Share(processes, number, 4) for number in range(processes)]
    read = [list(make_dataset(table, "Effusion", **common, share=share)) for share in shares]
    assert [len(each) for each in read] == [3] * processes
    for number, (pixels, labels) in enumerate(whole):
        parts = [each[number] for each in read]
        assert {marks.shape[1] for (_, marks), _ in parts} == {-len(pixels) % 4}
        np.testing.assert_array_equal(np.concatenate([x for (x, _), _ in parts])[: len(pixels)], pixels)
        np.testing.assert_array_equal(np.concatenate([y for _, y in parts])[: len(pixels)], labels)


def test_pieces_of_shares_weigh_as_pieces_of_the_whole():
    images = np.arange(23.0)
    batches = [images[:10], images[10:20], images[20:]]
    expected = list(pieces([(each, each) for each in batches], 4, 3))
    of_processes = []
    for number in range(2):
        share, mine = Share(2, number, 2), []
        for each in batches:
            filled = np.resize(each, share.filled(len(each)))
            own = filled[number * len(filled) // 2 : (number + 1) * len(filled) // 2]
            mine.append(((own, np.zeros((len(own), len(filled) - len(each)))), own))
        of_processes.append(list(pieces_of_share(mine, 4, 3, share)))
    assert [len(each) for each in of_processes] == [len(expected)] * 2
    for start in range(0, len(expected), 3):
        totals = {}
        for process in of_processes:
            for (x, marks), y, weights in process[start : start + 3]:
                assert marks.shape == (2, 0)
                np.testing.assert_array_equal(x, y)
                for image, weight in zip(x, weights, strict=True):
                    totals[image] = totals.get(image, 0.0) + weight
        whole = {}
        for x, _, weights in expected[start : start + 3]:
            for image, weight in zip(x, weights, strict=True):
                whole[image] = whole.get(image, 0.0) + weight
        assert totals == pytest.approx(whole)


def test_another_backend_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="KERAS_BACKEND=jax"):
        check_backend()


@pytest.fixture(scope="module")
def told(toy, tmp_path_factory):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    work = tmp_path_factory.mktemp("shared")
    table = pd.DataFrame(toy)
    (work / "parts").write_bytes(pickle.dumps((table.iloc[:37], table.iloc[40:57])))
    environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3",
                   "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", WORK, work / "parts"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_devices_that_share_batches_train_to_the_weights_of_one(told):
    """BatchNorm that is trained normalises by the whole batch, dropout draws alike, and no batch divides evenly."""
    assert told["moved"] > 0.01
    assert told["apart"] < 1e-4
    assert told["kept"]
    np.testing.assert_allclose(told["shared"], told["alone"], rtol=1e-5)


@pytest.mark.slow
def test_devices_that_share_batches_halve_them_where_memory_runs_out(told):
    assert told["pieces"]["apart"] < 1e-4
    assert told["pieces"]["at a time"] == {"held": 7}


@pytest.mark.slow
def test_more_devices_than_there_are_are_refused(told):
    assert "workers=5, but JAX sees 4 CPU device(s)" in told["too many"]
