"""Models, losses and stages on each Keras backend, in a process of its own; skipped where it is not installed."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from chexkeras.models import (
    AsymmetricLoss,
    AucMarginLoss,
    FocalLoss,
    ThreeWayCrossentropy,
    WeightedBinaryCrossentropy,
)

pytestmark = [pytest.mark.keras, pytest.mark.slow, pytest.mark.release]

LABELS = np.array([[1.0, 0.0], [0.0, np.nan], [np.nan, 1.0], [1.0, 1.0]], np.float32)
SCORES = np.array([[0.9, 0.2], [0.4, 0.7], [0.1, 0.6], [0.3, 0.99]], np.float32)

WORK = """
import json, sys
import keras, numpy as np
with_keras = "tensorflow" in sys.modules
from chexkeras.models.classifier import build_classifier
from chexkeras.models.partition import partition
from chexkeras.models.stages import apply_stage
from chexkeras.models.losses import AsymmetricLoss, AucMarginLoss, FocalLoss, ThreeWayCrossentropy
from chexkeras.models.losses import WeightedBinaryCrossentropy
from chexkeras.recipes.recipe import Stage
from chexkeras.training.optimizers import make_optimizer
with_ours = "tensorflow" in sys.modules

asked = json.loads(sys.argv[1])
labels = np.array(asked["labels"], np.float32)
scores = np.array(asked["scores"], np.float32)
to_numpy = keras.ops.convert_to_numpy
losses = [WeightedBinaryCrossentropy([2.0, 1.0], [0.5, 1.0], 0.1), FocalLoss(), AsymmetricLoss(), AucMarginLoss(),
          ThreeWayCrossentropy()]
told = {"backend": keras.backend.backend(), "values": [float(to_numpy(loss(labels, scores))) for loss in losses]}

images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 1)).astype(np.float32)
known = np.tile(np.nan_to_num(labels), (2, 1))
for head in ("three_layer", "dense_bn", "three_way"):
    keras.utils.set_random_seed(0)
    model = build_classifier(("Effusion", "Mass"), backbone="SmallCNN", weights=None, image_size=32, head=head,
                             clahe=2.0, precision="float32")
    stage = Stage("stage1", epochs=2, learning_rate=1e-3, trainable=0.3, clip_norm=1.0, optimizer="adamw")
    loss = ThreeWayCrossentropy() if head == "three_way" else WeightedBinaryCrossentropy([2.0, 1.0], [0.5, 1.0])
    boundary = apply_stage(model, stage.trainable, optimizer=make_optimizer(stage, 2), loss=loss)
    before = {layer.name: [to_numpy(w).copy() for w in layer.weights] for layer in model.layers}
    history = model.fit(images, known, batch_size=4, epochs=2, verbose=0)
    changed = [layer.name for layer in model.layers
               if any((old != to_numpy(new)).any() for old, new in zip(before[layer.name], layer.weights))]
    parts = partition(model)
    whole = np.asarray(model.predict(images, verbose=0))
    halves = np.asarray(parts.suffix.predict(np.asarray(parts.prefix.predict(images, verbose=0)), verbose=0))
    told[head] = {"as planned": changed == list(boundary.layers_trainable), "shape": list(whole.shape),
                  "finite": bool(np.isfinite(history.history["loss"]).all()),
                  "apart": float(abs(whole - halves).max())}
told["brought along"] = with_ours and not with_keras
print(json.dumps(told))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_models_losses_and_stages_do_the_same_on_every_backend(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    asked = json.dumps({"labels": LABELS.tolist(), "scores": SCORES.tolist()})
    done = subprocess.run(
        [sys.executable, "-c", WORK, asked], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.pop("backend") == backend
    assert not told.pop("brought along"), "models and losses must not bring TensorFlow along"
    here = [
        float(loss(LABELS, SCORES))
        for loss in (
            WeightedBinaryCrossentropy([2.0, 1.0], [0.5, 1.0], 0.1),
            FocalLoss(),
            AsymmetricLoss(),
            AucMarginLoss(),
            ThreeWayCrossentropy(),
        )
    ]
    assert told.pop("values") == pytest.approx(here, rel=1e-5)
    assert len(told) == 3
    for head, found in told.items():
        assert found["as planned"], head
        assert found["finite"], head
        assert found["shape"] == [8, 2], head
        assert found["apart"] < 1e-5, head
