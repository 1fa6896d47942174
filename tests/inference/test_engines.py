import dataclasses
import os
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest

from chexkeras.dicom.workers.options import IN_PROCESS
from chexkeras.inference import engines
from chexkeras.inference.engines import LARGEST_DIFFERENCE, check_engine, check_images, keras_engine, load_engine
from chexkeras.inference.predictor import Predictor
from chexkeras.inference.score_folder import score_folder
from chexkeras.models.clahe import Clahe
from chexkeras.models.classifier import build_classifier

pytestmark = pytest.mark.keras

RUNTIMES = {"openvino": ("openvino",), "onnx": ("onnx", "onnxruntime", "tf2onnx")}


@pytest.fixture(params=["openvino", "onnx"])
def name(request):
    """Each engine in turn, if its extra is installed."""
    for package in RUNTIMES[request.param]:
        pytest.importorskip(package, reason=f"needs the extra [{request.param}]")
    return request.param


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    return build_classifier(("Mass", "Edema"), backbone="SmallCNN", weights=None, image_size=64)


@pytest.fixture(scope="module")
def normalised():
    """A small model with both kinds of normalisation: by numbers that were stated, and by numbers of some data."""
    keras.utils.set_random_seed(4)
    pixels = keras.Input((40, 40, 1))
    adapted = keras.layers.Normalization()
    adapted.adapt(images(8, 40))
    channels = keras.layers.Concatenate()([adapted(pixels)] * 3)
    stated = keras.layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[2.0, 0.5, 1.0])(channels)
    features = keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(stated))
    return keras.Model(pixels, keras.layers.Dense(1, activation="sigmoid")(features))


@pytest.fixture(scope="module", params=["openvino", "onnx"])
def engine(request, model):
    """Each engine in turn with the model loaded, if its extra is installed."""
    for package in RUNTIMES[request.param]:
        pytest.importorskip(package, reason=f"needs the extra [{request.param}]")
    return load_engine(model, request.param)


def images(count, size=64, seed=5):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 1)).astype(np.float32)


def test_the_images_of_the_check_are_always_the_same_and_of_every_kind():
    first = check_images(48)
    np.testing.assert_array_equal(first, check_images(48))
    assert first.shape == (12, 48, 48, 1) and first.dtype == np.float32
    assert np.array_equal(first, np.round(first)) and (first.min(), first.max()) == (0, 255)
    assert len({image.tobytes() for image in first}) == 12
    assert [image.std() == 0 for image in first] == [False] * 10 + [True] * 2


def test_keras_is_the_engine_where_none_is_named(model):
    usual = load_engine(model)
    assert (usual.name, usual.precision, usual.largest_difference) == ("keras", "float32", 0.0)
    assert str(usual) == f"keras {keras.__version__}"
    np.testing.assert_allclose(usual.score(images(3), 8), model.predict(images(3), verbose=0), atol=1e-6)


def test_an_engine_gives_the_scores_of_keras_whatever_the_batch(engine, model):
    expected = model.predict(images(21), verbose=0)
    for count, batch_size in ((21, 21), (5, 16), (1, 1), (16, 16), (21, 16)):
        found = engine.score(images(21)[:count], batch_size)
        assert found.shape == (count, 2) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected[:count], atol=1e-5)


def test_the_difference_named_is_that_on_the_images_of_the_check(engine, model):
    shown = check_images(64)
    again = np.abs(engine.score(shown, 12) - model.predict(shown, verbose=0)).max()
    assert engine.largest_difference == pytest.approx(again, abs=1e-6)
    assert engine.largest_difference < 1e-5


def test_the_difference_is_shown_and_no_file_is_left_behind(name, normalised, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    loaded = load_engine(normalised, name)
    said = " ".join(capfd.readouterr().err.split())
    assert f"{loaded}: largest difference of a score from Keras on 12 synthetic images" in said
    assert f"{loaded.largest_difference:.1e} (at most {LARGEST_DIFFERENCE['float32']:g} is allowed)" in said
    assert list(tmp_path.iterdir()) == []
    # Means and variances that are tensors must not have become inputs, nor have been lost.
    np.testing.assert_allclose(loaded.score(images(4, 40), 4), normalised.predict(images(4, 40), verbose=0), atol=1e-5)


def test_a_model_trained_in_half_precision_is_run_in_single(name):
    keras.utils.set_random_seed(3)
    half = build_classifier("Mass", backbone="SmallCNN", weights=None, image_size=64, precision="mixed_float16")
    single = load_engine(half, name)
    np.testing.assert_allclose(single.score(images(4), 4), half.predict(images(4), verbose=0), atol=2e-3)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_what_is_exported_is_a_copy_in_single_precision_with_the_same_weights(precision):
    trained = build_classifier("Mass", backbone="SmallCNN", weights=None, image_size=64, precision=precision)
    copy = engines.exportable(trained)
    assert {layer.compute_dtype for layer in copy.layers} == {"float32"}
    assert [layer.name for layer in copy.layers] == [layer.name for layer in trained.layers]
    for found, expected in zip(copy.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    # Equal weights were compared bit by bit; sums may be taken in another order.
    tolerance = 1e-6 if precision == "float32" else 2e-2
    np.testing.assert_allclose(
        copy.predict(images(4), verbose=0), trained.predict(images(4), verbose=0), atol=tolerance
    )
    copy.set_weights([weight + 1 for weight in copy.get_weights()])
    assert not np.array_equal(copy.get_weights()[0], trained.get_weights()[0])


def test_bfloat16_comes_only_when_asked_and_with_its_own_difference(model):
    openvino = pytest.importorskip("openvino", reason="needs the extra [openvino]")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(ValueError, match="needs a processor with bfloat16"):
            load_engine(model, "openvino", "bf16")
        return
    exact, rounded = load_engine(model, "openvino"), load_engine(model, "openvino", "bf16")
    assert exact.largest_difference < 1e-5 < rounded.largest_difference < LARGEST_DIFFERENCE["bfloat16"]
    assert str(rounded) == f"{exact} bf16"


def test_openvino_reports_nothing_to_anybody(tmp_path):
    pytest.importorskip("openvino", reason="needs the extra [openvino]")
    # Its telemetry begins with an identifier in the home folder, written when the package is imported.
    code = "import sys; from chexkeras.inference.engines import _openvino; _openvino().Core(); "
    code += "print([name for name, module in sys.modules.items() if 'openvino_telemetry' in name and module])"
    environment = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
    assert [path.name for path in tmp_path.rglob("*") if "intel" in path.name.lower() or "cid" in path.name] == []


@pytest.mark.slow
def test_a_real_backbone_is_exported_too():
    pytest.importorskip("openvino", reason="needs the extra [openvino]")
    keras.utils.set_random_seed(3)
    large = build_classifier("Pneumonia", backbone="DenseNet121", weights=None, image_size=64)
    assert load_engine(large, "openvino").largest_difference < 1e-4


def test_equalisation_is_exported_exactly(name):
    pixels = keras.Input((64, 64, 1))
    equalised = keras.Model(pixels, keras.layers.Flatten()(Clahe()(pixels)))
    scores = {"openvino": engines.openvino_scores, "onnx": engines.onnx_scores}[name](equalised)
    np.testing.assert_array_equal(scores(check_images(64), 12), equalised.predict(check_images(64), verbose=0))


@pytest.mark.parametrize(
    ("trained", "precision", "bound"),
    [
        ("float32", "float32", 1e-3),
        ("mixed_float16", "float32", 1e-2),
        ("mixed_bfloat16", "float32", 0.05),
        ("float32", "bf16", 0.05),
        ("mixed_float16", "bf16", 0.05),
    ],
)
def test_the_coarser_precision_of_the_two_bounds_the_difference(trained, precision, bound):
    small = build_classifier("Mass", backbone="SmallCNN", weights=None, image_size=32, precision=trained)
    assert engines._bound(small, precision) == bound


def pretended(monkeypatch, scores):
    """An ONNX engine, installed or not, that returns what `scores` makes of those of Keras."""
    monkeypatch.setattr(engines, "_version", lambda name: "9.9")

    def load(model, precision):
        reference = keras_engine(model)
        return lambda pixels, batch_size: scores(reference.score(pixels, batch_size))

    monkeypatch.setitem(engines.ENGINES, "onnx", engines.ENGINES["onnx"]._replace(load=load, needs=()))


@pytest.mark.parametrize("change", [lambda scores: scores + 2e-3, lambda scores: scores * np.nan])
def test_an_engine_with_other_scores_is_refused(model, monkeypatch, change):
    pretended(monkeypatch, change)
    with pytest.raises(ValueError, match=r"onnx 9\.9 computes other scores than Keras: .* (2\.0e-03|nan), at most"):
        load_engine(model, "onnx")


def test_one_image_of_twelve_is_enough_to_refuse_an_engine(model, monkeypatch):
    def last_differs(scores):
        return np.concatenate([scores[:-1], scores[-1:] - 0.3])

    pretended(monkeypatch, last_differs)
    with pytest.raises(ValueError, match=r"3\.0e-01, at most .* Score with engine='keras'"):
        load_engine(model, "onnx")


def test_an_engine_that_rounds_a_little_is_taken(model, monkeypatch):
    pretended(monkeypatch, lambda scores: scores + 1e-6)
    assert str(load_engine(model, "onnx")) == "onnx 9.9"


def test_a_model_that_cannot_be_exported_is_told_and_leaves_no_file(model, tmp_path, monkeypatch):
    def broken(path, **_):
        (tmp_path / "half").write_text(path)
        raise NotImplementedError("no such operation")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(keras.Model, "export", lambda self, path, **options: broken(path, **options))
    pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    with pytest.raises(ValueError, match=r"cannot be exported for onnx .*no such operation.*engine='keras'"):
        engines.onnx_scores(model)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("unusable", "precision", "message"),
    [
        ("openvin", "float32", "did you mean 'openvino'"),
        ("openvino", "bf17", "did you mean 'bf16'"),
        ("keras", "bf16", "engine='keras' has none"),
        ("onnx", "bf16", "engine='onnx' has none"),
    ],
)
def test_unknown_engines_and_precisions_are_refused(unusable, precision, message):
    with pytest.raises(ValueError, match=message):
        check_engine(unusable, precision)


@pytest.mark.parametrize("extra", RUNTIMES)
def test_a_missing_package_names_the_extra_to_install(extra, monkeypatch, toy_run, tmp_path):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda package: None)
    monkeypatch.setattr(type(toy_run), "load_model", lambda _: pytest.fail("loaded"))
    message = rf"needs {' and '.join(RUNTIMES[extra])}, .*: pip install 'chexkeras\[{extra}\]'"
    with pytest.raises(ValueError, match=message):
        Predictor.load(toy_run, engine=extra)
    (tmp_path / "image").write_text("x")
    with pytest.raises(ValueError, match=message):
        score_folder(toy_run, tmp_path, keep=False, engine=extra)


def test_another_engine_is_another_result(toy_run, monkeypatch, tmp_path):
    pretended(monkeypatch, lambda scores: scores)
    first, other = Predictor.load(toy_run), Predictor.load(toy_run, engine="onnx")
    faster = dataclasses.replace(other.engine, precision="bf16")
    prints = {first.fingerprint, other.fingerprint, Predictor(first.model, first.points, engine=faster).fingerprint}
    assert len(prints) == 3
    from PIL import Image

    slope = np.add.outer(np.arange(300), np.arange(300)) * 255 // 598
    Image.fromarray(slope.astype(np.uint8)).save(tmp_path / "image.png")
    out = tmp_path / "out" / "results.csv"
    for choice, label in (("keras", str(first.engine)), ("onnx", "onnx 9.9"), ("onnx", "onnx 9.9")):
        options = {"out": out, "resume": True, "keep": False, "read_options": IN_PROCESS}
        results = score_folder(toy_run, tmp_path, engine=choice, **options)
        assert results.set_index("file").loc["image.png", "engine"] == label
