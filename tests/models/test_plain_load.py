"""The file of a run's model, opened by Keras alone: in a process that cannot import chexkeras."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from chexkeras.explanation.network import MapNetwork
from chexkeras.models.backbones import BACKBONES
from chexkeras.models.classifier import build_classifier
from chexkeras.models.heads import HEADS
from chexkeras.models.loss_entry import keras_class
from chexkeras.models.losses import LOSSES
from chexkeras.models.stages import apply_stage
from chexkeras.models.stored.model_file import load_model
from chexkeras.training.finish import save_model

pytestmark = pytest.mark.keras

LOAD = """
import json, sys
with_chexkeras, *paths = sys.argv[1:]
if with_chexkeras == "yes":
    import chexkeras.models.clahe
else:
    sys.modules["chexkeras"] = None
import keras, numpy as np
gray = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 1)).astype("float32")
found = {}
for path in paths:
    try:
        found[path] = keras.saving.load_model(path).predict(gray, verbose=0).tolist()
    except Exception as error:
        found[path] = type(error).__name__
print("answer:" + json.dumps(found))
"""


def loaded_elsewhere(paths, *, with_chexkeras=False):
    words = ["yes" if with_chexkeras else "no", *map(str, paths)]
    done = subprocess.run([sys.executable, "-c", LOAD, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.split("answer:")[1])


def scores(model):
    gray = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 1)).astype(np.float32)
    return model.predict(gray, verbose=0)


def small(**options):
    keras.utils.set_random_seed(1)
    return build_classifier(
        ("Effusion", "Mass"),
        **{"backbone": "SmallCNN", "weights": None, "image_size": 32, "precision": "float32", **options},
    )


def test_every_head_and_every_loss_loads_without_chexkeras_and_scores_alike(tmp_path):
    models = {f"head_{head}": small(head=head) for head in HEADS}
    for name, entry in LOSSES.items():
        model = models[f"loss_{name}"] = small(head="three_way" if entry.three_way else "linear")
        apply_stage(model, 1.0, optimizer=keras.optimizers.Adam(), loss=keras_class(entry)())
    for name, model in models.items():
        (tmp_path / name).mkdir()
        save_model(model, tmp_path / name)
    files = {name: str(tmp_path / name / "model.keras") for name in models}
    found = loaded_elsewhere(files.values())
    for name, model in models.items():
        assert not isinstance(found[files[name]], str), (name, found[files[name]])
        np.testing.assert_allclose(np.array(found[files[name]]), scores(model), atol=1e-6)


def test_three_answers_give_the_same_probability_from_layers_of_keras_bit_for_bit_and_heat_maps_still_know_them(
    tmp_path,
):
    model = small(head="three_way")
    save_model(model, tmp_path)
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(scores(loaded), scores(model))
    assert not any(type(layer).__module__.startswith("chexkeras") for layer in loaded.layers)
    seen, expected = MapNetwork(loaded), MapNetwork(model)
    np.testing.assert_array_equal(seen.kernel, expected.kernel)
    assert seen.is_linear and seen.layer == expected.layer


def test_only_contrast_limited_equalisation_needs_chexkeras_to_be_imported(tmp_path):
    model = small(clahe=2.0, head="linear")
    save_model(model, tmp_path)
    file = str(tmp_path / "model.keras")
    assert loaded_elsewhere([file]) == {file: "TypeError"}
    found = loaded_elsewhere([file], with_chexkeras=True)[file]
    np.testing.assert_allclose(np.array(found), scores(model), atol=1e-6)


@pytest.mark.slow
@pytest.mark.release
@pytest.mark.parametrize("backbone", [name for name, entry in BACKBONES.items() if entry.patch is None])
def test_every_backbone_loads_without_chexkeras(backbone, tmp_path):
    model = small(backbone=backbone, head="linear")
    save_model(model, tmp_path)
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert "chexkeras>" not in archive.read("config.json").decode()
    file = str(tmp_path / "model.keras")
    np.testing.assert_allclose(np.array(loaded_elsewhere([file])[file]), scores(model), atol=1e-5)
