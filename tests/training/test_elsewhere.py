import json

import keras
import numpy as np
import pytest

import chexkeras as cx
from chexkeras import files
from chexkeras.data.pixels import read_image
from chexkeras.models import given
from chexkeras.runs.run import Run
from chexkeras.training.elsewhere import SEEN, run_from_model

pytestmark = pytest.mark.keras


def fitted(channels=1, outputs=1, side=32, activation="sigmoid"):
    """A model of one's own, as a user has one: how well it was fitted makes no difference here."""
    keras.utils.set_random_seed(3)
    base = keras.Sequential(
        [
            keras.Input((side, side, channels)),
            keras.layers.Conv2D(6, 5, 2, name="edges"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Conv2D(8, 3, activation="relu", name="head_of_mine"),
        ],
        name="base",
    )
    pixels = keras.Input((side, side, channels), name="pixels")
    pooled = keras.layers.GlobalAveragePooling2D()(base(pixels))
    hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(5, activation="relu")(pooled))
    model = keras.Model(pixels, keras.layers.Dense(outputs, activation=activation)(hidden), name="mine")
    rng = np.random.default_rng(0)
    batchnorm = base.layers[1]
    batchnorm.moving_mean.assign(rng.normal(size=6))
    batchnorm.moving_variance.assign(rng.uniform(0.5, 2, size=6))
    return model


@pytest.fixture(scope="module")
def model():
    return fitted()


@pytest.fixture(scope="module")
def run(model, toy_splits, tmp_path_factory):
    """A run of a model that was trained elsewhere, of which nothing is stated."""
    return Run.from_model(model, toy_splits, tmp_path_factory.mktemp("runs") / "mine", input_range=(0, 1))


def test_the_runs_scores_are_those_of_the_model_on_the_pixels_as_stated(run, model, toy_splits):
    for part in ("validation", "test"):
        images = toy_splits.part(part)
        pixels = np.stack([read_image(path, 32).numpy() for path in images["path"]]) / 255.0
        expected = dict(zip(images["image_id"], model.predict(pixels, verbose=0)[:, 0], strict=True))
        scores = run.scores(part)
        assert len(scores) == len(images)
        found = scores["image_id"].map(expected).to_numpy()
        np.testing.assert_allclose(scores["score"], found, atol=1e-5)
    (point,) = run.checked_points()
    assert point.chosen_on == "validation"
    assert run.evaluation["Effusion"].auroc.n == len(toy_splits.test)


def test_what_it_has_seen_is_not_known_and_every_number_is_followed_by_it(run):
    assert SEEN["unknown"] in run.cautions and SEEN["unknown"] in run.evaluation.cautions
    assert run.provenance["given"]["model"]["seen"] == "unknown"
    assert run.provenance["given"]["model"]["input_range"] == [0.0, 1.0]
    assert run.recipe.trained_elsewhere and run.history.empty and run.stages == []
    assert run.kept_epoch is None


def test_the_given_model_is_left_as_it_is(model, toy_splits):
    assert not model.compiled and model.layers[0].name == "pixels"
    assert model.get_layer("base").layers[-1].name == "head_of_mine"


def test_files_arrays_robustness_and_heat_maps_work_with_it(run, toy_splits):
    images = toy_splits.test.head(6)
    pixels = [read_image(path, 48).numpy()[..., 0] for path in images["path"]]
    predictor = cx.Predictor.load(run, profile=_small())
    scored = predictor.predict(pixels, read_options=cx.dicom.ReadOptions(workers=0))
    assert scored["verdict"].eq("warn").all(), scored["detail"].tolist()
    wanted = run.scores("test").set_index("image_id")["score"].loc[images["image_id"]]
    np.testing.assert_allclose(scored["score"], wanted, atol=1e-5)
    maps = cx.explain(run, images, batch_size=6)
    # The feature map of the last layer of the base inside, which was taken apart.
    assert maps.layer == "given_head_of_mine" and np.isfinite(maps.maps).all()
    measured = cx.measure_robustness(run, toy_splits.table, perturbations=cx.data.perturbations_of("exposure")[:1])
    assert measured is not None


def _small():
    import dataclasses

    from chexkeras.dicom.profiles import CLINICAL

    overrides = tuple((code, "off") for code in ("geometry", "scrambled", "low_contrast", "half_scale", "saturated"))
    return dataclasses.replace(CLINICAL, overrides=overrides)


def test_the_report_tells_that_it_was_trained_elsewhere_and_nothing_of_a_training(run, tmp_path):
    path = cx.write_report(run, tmp_path / "report.md")
    text = path.read_text(encoding="utf-8")
    assert "trained elsewhere" in text and "which images it has seen is not known" in text
    assert "Optimizer" not in text and "best on the validation part" not in text
    assert "black and white: 0 and 1" in text
    assert "trained elsewhere" in cx.write_model_card(run, tmp_path / "card.md").read_text(encoding="utf-8")


def test_a_file_is_opened_in_safe_mode_and_named_with_its_fingerprint(model, toy_splits, tmp_path):
    file = tmp_path / "mine.keras"
    model.save(file)
    run = cx.Run.from_model(file, toy_splits, tmp_path / "run", input_range=(0, 1), seen="training", name="From a file")
    assert run.recipe.name == "From a file"
    recorded = run.provenance["given"]["model"]
    assert recorded["origin"] == {"kind": "file", "name": "mine.keras", "sha256": files.sha256_file(file)}
    assert recorded["seen"] == "training" and not any("elsewhere" in caution for caution in run.cautions)
    assert "exactly the training part" in run.provenance["weights"]["origin"]
    hostile = tmp_path / "hostile.keras"
    lambda_layer = keras.layers.Lambda(lambda x: x)
    pixels = keras.Input((32, 32, 1))
    keras.Model(pixels, lambda_layer(pixels)).save(hostile)
    with pytest.raises(ValueError, match="is not opened"):
        run_from_model(hostile, toy_splits, tmp_path / "other", input_range=(0, 1))
    assert not (tmp_path / "other").exists()


def test_three_channels_get_the_gray_value_thrice_in_the_range_that_was_stated(toy_splits):
    gray = np.random.default_rng(1).uniform(0, 255, (4, 32, 32, 1)).astype(np.float32)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = {
        (0, 1): gray / 255,
        (-1, 1): gray / 127.5 - 1,
        (0, 255): gray,
        (1, 0): 1 - gray / 255,
        "imagenet": (gray / 255 - mean) / std,
        "caffe": gray - np.array([103.939, 116.779, 123.68]),
    }
    pixels = keras.Input((32, 32, 1))
    for input_range, expected in wanted.items():
        given.check_range(input_range, 3)
        made = keras.Model(pixels, given.prepared(pixels, input_range, 3))
        np.testing.assert_allclose(
            made.predict(gray, verbose=0), np.broadcast_to(expected, (4, 32, 32, 3)), atol=1e-3, rtol=1e-5
        )


def test_a_graph_with_branches_sums_and_a_model_inside_scores_as_before_when_it_was_taken_apart():
    keras.utils.set_random_seed(1)
    inner_in = keras.Input((8, 8, 4))
    inner = keras.Model(inner_in, keras.layers.Conv2D(4, 3, padding="same")(inner_in) * 2.0 + inner_in, name="inner")
    pixels = keras.Input((8, 8, 1))
    first = keras.layers.Conv2D(4, 3, padding="same", name="pixels")(pixels)
    joined = keras.layers.Concatenate()([inner(first), first, keras.ops.relu(first)])
    flat = keras.layers.Flatten()(joined)
    model = keras.Model(pixels, keras.layers.Dense(2, activation="sigmoid")(flat))
    ours = keras.Input((8, 8, 1), name="pixels")
    graft = given.Graft(given.names_for_maps(model))
    copy = keras.Model(ours, graft.add(model, ours))
    assert not any(isinstance(layer, keras.Model) for layer in copy.layers)
    assert {"head_pool", "head_probability", "given_pixels"} <= {layer.name for layer in copy.layers}
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(copy.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "arguments", "words"),
    (
        (lambda: fitted(activation=None), {}, "End it with a sigmoid|end it with a sigmoid"),
        (lambda: fitted(outputs=2), {}, r"gives \(2,\) numbers"),
        (lambda: fitted(outputs=2, activation="softmax"), {"targets": ["Effusion", "Mass"]}, "softmax"),
        (lambda: fitted(outputs=1, activation="softmax"), {}, "softmax"),
        (lambda: fitted(channels=2), {}, "2 channels"),
        (lambda: fitted(), {"image_size": 64}, "32 x 32"),
        (lambda: fitted(side=None), {}, "state image_size"),
        (lambda: fitted(), {"input_range": (0, 0)}, "never guessed"),
        (lambda: fitted(), {"input_range": "imagenet"}, "three channels"),
        (lambda: fitted(channels=3), {"input_range": "torch"}, "imagenet"),
        (lambda: fitted(), {"input_range": 255}, "input_range=255"),
        (lambda: fitted(), {"seen": "all"}, "seen="),
        (lambda: fitted(), {"targets": "Hernias"}, "Hernias"),
        (lambda: keras.Sequential([keras.layers.Dense(1)]), {}, "none that is known"),
        (lambda: "nowhere.keras", {}, "nowhere.keras"),
        (lambda: 3, {}, "model=3"),
    ),
)
def test_what_cannot_be_measured_is_refused_with_the_way_out_and_nothing_is_written(
    make, arguments, words, toy_splits, tmp_path
):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=words):
        run_from_model(make(), toy_splits, tmp_path / "run", **{"input_range": (0, 1), **arguments})
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_scores_all_images_alike_is_refused(toy_splits, tmp_path):
    model = fitted()
    model.layers[-1].kernel.assign(np.zeros(model.layers[-1].kernel.shape))
    with pytest.raises(ValueError, match="is input_range what it was trained on"):
        run_from_model(model, toy_splits, tmp_path / "run", input_range=(0, 1))


def test_logits_that_lie_between_0_and_1_by_chance_are_no_probabilities(toy_splits, tmp_path):
    model = fitted(activation=None)
    last = model.layers[-1]
    last.set_weights([last.get_weights()[0] * 1e-3, np.array([0.5])])
    with pytest.raises(ValueError, match="without an activation, which gives any number"):
        run_from_model(model, toy_splits, tmp_path / "run", input_range=(0, 1))
    assert list(tmp_path.iterdir()) == []


def test_a_lambda_is_refused_in_whole_sentences(toy_splits, tmp_path):
    layers = [keras.Input((32, 32, 1)), keras.layers.Lambda(lambda pixels: pixels / 255.0)]
    model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")])
    with pytest.raises(ValueError, match=r"\)\. Layers of your own .* such as Rescaling\.$"):
        run_from_model(model, toy_splits, tmp_path / "run", input_range=(0, 255))


@keras.saving.register_keras_serializable("test_elsewhere")
class Forgetful(keras.layers.Layer):
    """A layer whose configuration lacks its argument."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, values):
        return values * self.factor

    def get_config(self):
        return super().get_config()


def test_a_layer_that_forgets_its_arguments_is_noticed_before_a_wrong_score_is_written(toy_splits, tmp_path):
    pixels = keras.Input((32, 32, 1))
    pooled = keras.layers.Flatten()(Forgetful(3.0)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(1, activation="sigmoid")(pooled))
    with pytest.raises(ValueError, match="does not score as the model"):
        run_from_model(model, toy_splits, tmp_path / "run", input_range=(0, 1))


def test_a_layer_that_is_not_registered_is_refused_since_no_other_process_would_load_it(toy_splits, tmp_path):
    class Unknown(keras.layers.Layer):
        def call(self, values):
            return values + 0.0

    pixels = keras.Input((32, 32, 1))
    model = keras.Model(pixels, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(Unknown()(pixels))))
    with pytest.raises(ValueError, match="would not be loaded again"):
        run_from_model(model, toy_splits, tmp_path / "run", input_range=(0, 1))


def test_the_record_is_plain_json(run):
    assert json.loads((run.folder / "provenance.json").read_text())["given"]["model"]["class"] == "Functional"


@pytest.mark.parametrize(
    "given",
    (
        {"model": {"class": "A`b | c"}},
        {"model": {"class": "Functional", "input_range": "<script>"}},
        {"model": {"class": "Functional", "input_range": [0]}},
        {"nothing": {"class": "Functional"}},
        {"callbacks": ["a b"]},
        [],
    ),
)
def test_a_record_that_no_run_writes_is_refused(run, tmp_path, given):
    import shutil

    folder = shutil.copytree(run.folder, tmp_path / "run")
    record = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps({**record, "given": given}))
    with pytest.raises(ValueError, match=r"provenance\.json of the run"):
        Run.load(folder).provenance  # noqa: B018
