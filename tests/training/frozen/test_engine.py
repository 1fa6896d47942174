"""What computes the frozen prefix: Keras, an engine of its own, or the fastest."""

import importlib.util
import json

import keras
import numpy as np
import pytest

from chexkeras.inference import engines
from chexkeras.inference.engines import check_frozen_engine, engine_and_precision, keras_outputs
from chexkeras.models.classifier import build_classifier
from chexkeras.models.stages import freeze
from chexkeras.training.frozen import engine as frozen
from chexkeras.training.frozen.engine import frozen_engine
from chexkeras.training.frozen.feature_store import FeatureSpec

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def prefix():
    """Two crossing tensors, as two stages have."""
    keras.utils.set_random_seed(1)
    model = build_classifier("Mass", backbone="SmallCNN", weights=None, image_size=32, precision="float32")
    freeze(model, 0.0)
    return keras.Model(model.input, [model.get_layer(name).output for name in ("block2_pool", "block4_pool")])


def images(count=7):
    return np.random.default_rng(2).integers(0, 256, (count, 32, 32, 1)).astype(np.float32)


def installed(monkeypatch, change, names=("onnx",)):
    """Engines, installed or not, whose features are what `change` makes of those of Keras."""
    monkeypatch.setattr(engines, "_version", lambda name: "9.9")

    def outputs(model, precision):
        theirs = keras_outputs(model)
        return lambda pixels, batch_size: change(theirs(pixels, batch_size))

    for name in ("openvino", "onnx"):
        needs = () if name in names else ("no_such_package_anywhere",)
        monkeypatch.setitem(engines.ENGINES, name, engines.ENGINES[name]._replace(outputs=outputs, needs=needs))


def test_keras_is_the_engine_where_none_is_named(prefix):
    engine = frozen_engine(prefix)
    assert engine.to_dict() == {"name": "keras", "version": keras.__version__, "largest_difference": 0.0}


@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_an_installed_engine_gives_the_features_of_keras(prefix, name):
    for package in engines.ENGINES[name].needs:
        pytest.importorskip(package, reason=f"needs the extra [{name}]")
    engine = frozen_engine(prefix, name)
    assert engine.largest_difference < 1e-5
    for found, expected in zip(engine.compute(images(), 8), prefix.predict(images(), verbose=0), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "change", [lambda found: [x + 1e-3 * x.max() for x in found], lambda found: [x * np.nan for x in found]]
)
def test_other_features_are_refused(prefix, monkeypatch, change):
    installed(monkeypatch, change)
    with pytest.raises(ValueError, match=r"onnx 9\.9: largest difference .*(1\.0e-03|nan).*at most 0\.0001 is allowed"):
        frozen_engine(prefix, "onnx")


def test_features_in_another_order_are_refused(prefix, monkeypatch):
    installed(monkeypatch, lambda found: found[::-1])
    with pytest.raises(ValueError, match="features of the shapes"):
        frozen_engine(prefix, "onnx")


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ({"keras": 10.0, "openvino": 20.0, "openvino-bf16": 25.0, "onnx": 15.0}, "openvino"),
        ({"keras": 10.0, "openvino": 20.0, "openvino-bf16": 60.0, "onnx": 15.0}, "openvino-bf16"),
        ({"keras": 10.0, "openvino": 10.5, "openvino-bf16": 10.5, "onnx": 9.0}, "keras"),
        ({"keras": 10.0, "openvino": 9.0, "openvino-bf16": 9.0, "onnx": 12.0}, "onnx"),
    ],
)
def test_auto_takes_the_fastest_that_is_worth_it(prefix, monkeypatch, rates, chosen):
    installed(monkeypatch, lambda found: [x * (1 + 1e-6) for x in found], ("openvino", "onnx"))
    order = iter(rates.values())
    monkeypatch.setattr(frozen, "_images_per_second", lambda compute, batch: next(order))
    engine = frozen_engine(prefix, "auto")
    assert engine.name == chosen and engine.timed == rates
    assert (engine.largest_difference > 0) == (chosen != "keras")


def test_auto_leaves_out_what_computes_otherwise_and_what_is_not_installed(prefix, monkeypatch, capsys):
    installed(monkeypatch, lambda found: [x + x.max() for x in found])
    assert frozen_engine(prefix, "auto").name == "keras"
    told = capsys.readouterr().err
    assert "onnx is not used" in told and "no engine besides Keras" in told and "openvino" not in told


def test_features_of_another_engine_are_another_store(prefix, monkeypatch):
    installed(monkeypatch, lambda found: found)
    plain = FeatureSpec(prefix, ("one", "two"))
    other = FeatureSpec(prefix, ("one", "two"), engine=frozen_engine(prefix, "onnx"))
    assert not set(plain.keys) & set(other.keys)
    for one, two in zip(plain.computed(images(3), 4), other.computed(images(3), 4), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_run_records_what_computed_its_features(monkeypatch, tmp_path):
    from chexkeras.data.datasets.nih import load_nih
    from chexkeras.data.splits.splitters import split_by_patient
    from chexkeras.phantoms import make_phantoms
    from chexkeras.recipes.recipe import Recipe, Stage, ThresholdRule
    from chexkeras.training.trainer import train

    installed(monkeypatch, lambda found: [x * (1 + 1e-6) for x in found])
    root = make_phantoms(tmp_path / "images", images=40, size=64, dicom=False, prevalence={"Cardiomegaly": 0.45})
    splits = split_by_patient(load_nih(root), "Cardiomegaly", validation=0.25, test=0.25)
    recipe = Recipe(
        targets=("Cardiomegaly",), backbone="SmallCNN", weights=None, image_size=32, head="linear", batch_size=8,
        stages=(Stage("stage1", 3, 1e-2),), operating_point=ThresholdRule("youden", None),
    )  # fmt: skip
    run = train(recipe, splits, tmp_path / "run", frozen_engine="onnx")
    stored = json.loads((run.folder / "provenance.json").read_text())["features"]
    assert stored["engine"]["name"] == "onnx" and 0 < stored["engine"]["largest_difference"] < 1e-4
    plain = train(recipe, splits, tmp_path / "plain")
    assert "engine" not in json.loads((plain.folder / "provenance.json").read_text())["features"]
    scores = [run.scores("test")["score"].to_numpy() for run in (run, plain)]
    np.testing.assert_allclose(*scores, rtol=1e-2)


def test_names_and_packages_are_checked_first():
    with pytest.raises(ValueError, match="did you mean 'openvino'"):
        check_frozen_engine("openvin")
    assert [engine_and_precision(name) for name in ("onnx", "openvino-bf16")] == [
        ("onnx", "float32"), ("openvino", "bf16")
    ]  # fmt: skip
    if importlib.util.find_spec("openvino") is None:
        with pytest.raises(ValueError, match=r"pip install 'chexkeras\[openvino\]'"):
            check_frozen_engine("openvino-bf16")
