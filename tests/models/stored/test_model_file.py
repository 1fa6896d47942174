import io
import json
import stat
import zipfile

import keras
import numpy as np
import pytest

from chexkeras.models.backbones import BACKBONES
from chexkeras.models.classifier import build_classifier
from chexkeras.models.stored import model_file
from chexkeras.models.stored.classes import CLASSES, MAXIMUM_DEPTH, Refused, check_classes, parse
from chexkeras.models.stored.hdf5 import check_weights
from chexkeras.models.stored.model_file import MEMBERS, check_weights_file, load_model
from tests.models.stored import crafted

pytestmark = pytest.mark.keras


@pytest.fixture
def unreached(monkeypatch):
    """Fails where a file is handed to Keras: what is refused is refused before, whatever the version."""
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras was asked to open the file"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    build_classifier("Effusion", backbone="SmallCNN", weights=None, image_size=32).save(path)
    return path


def test_a_saved_model_comes_back_as_it_was(tmp_path):
    for precision in ("float32", "mixed_float16"):
        model = build_classifier("Mass", backbone="SmallCNN", weights=None, image_size=32, precision=precision)
        model.compile("adam", "binary_crossentropy")
        model.save(tmp_path / "model.keras")
        again = load_model(tmp_path / "model.keras")
        for mine, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert not again.compiled


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize(
    "name",
    [
        name if name in ("SmallCNN", "DenseNet121") else pytest.param(name, marks=pytest.mark.release)
        for name, entry in BACKBONES.items()
        # Transformers have layers of chexkeras, which are registered: tests/models/vit.
        if entry.patch is None
    ],
)
def test_every_backbone_holds_only_what_is_listed(name, precision, tmp_path):
    model = build_classifier("Mass", backbone=name, weights=None, image_size=64, precision=precision)
    model.save(tmp_path / "model.keras")
    model_file._check_model(tmp_path / "model.keras", {})


def test_layers_and_operators_of_a_network_of_ones_own_are_listed(tmp_path):
    pixels = keras.Input((8, 8, 1))
    values = keras.layers.Conv2D(
        4, 3, kernel_regularizer="l2", bias_constraint="non_neg", activation=keras.activations.gelu
    )(pixels * 2.0 - 1.0)
    block = keras.Sequential([keras.layers.SeparableConv2D(4, 3), keras.layers.PReLU(), keras.layers.UpSampling2D()])
    values = keras.layers.MultiHeadAttention(2, 4)(*[keras.layers.Reshape((64, 4))(block(values))] * 2)
    values = keras.layers.GlobalAveragePooling1D()(keras.layers.RandomFlip(seed=1)(values[:, :, None, :])[:, :, 0])
    model = keras.Model(pixels, keras.layers.Dense(1, "sigmoid", kernel_initializer="he_normal")(values))
    model.save(tmp_path / "model.keras")
    model_file._check_model(tmp_path / "model.keras", {})


@pytest.mark.parametrize("module", [__name__, "__main__"])
def test_a_layer_of_ones_own_is_loaded_once_it_is_registered(tmp_path, unreached, monkeypatch, module):
    """Keras writes no module for what a script or a notebook defines."""

    class Doubled(keras.layers.Layer):
        def call(self, values):
            return values * 2

    def half(values):
        return values / 2

    Doubled.__module__ = half.__module__ = module
    pixels = keras.Input((4,))
    keras.Model(pixels, keras.layers.Dense(1, activation=half)(Doubled()(pixels))).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"names the (function|class) \S*(half|Doubled), which .* of your own before"):
        load_model(tmp_path / "model.keras")
    monkeypatch.undo()
    registered = {"tests>Doubled": Doubled, "tests>half": half}
    for name, thing in registered.items():
        keras.saving.register_keras_serializable("tests", name.split(">")[1])(thing)
    try:
        keras.Model(pixels, keras.layers.Dense(1, activation=half)(Doubled()(pixels))).save(tmp_path / "own.keras")
        assert load_model(tmp_path / "own.keras").predict(np.ones((1, 4)), verbose=0).shape == (1, 1)
    finally:
        for name in registered:
            keras.saving.get_custom_objects().pop(name, None)


@pytest.mark.parametrize("name", list(crafted.code_that_runs("x")))
def test_a_file_that_names_other_code_is_refused_before_keras_sees_it(name, tmp_path, unreached):
    marker = tmp_path / "marker"
    path = crafted.model_file(tmp_path / "model.keras", crafted.code_that_runs(marker)[name])
    with pytest.raises(
        ValueError, match=r"^the file 'model\.keras' is not opened: it \w+ .*\. Open only files"
    ) as error:
        load_model(path)
    assert len(str(error.value)) < 400
    assert str(error.value).isprintable()
    assert not marker.exists()


def test_every_crafted_file_without_its_code_would_be_opened(tmp_path):
    path = crafted.model_file(tmp_path / "model.keras", crafted.network(crafted.layer("Activation", activation="relu")))
    assert load_model(path).predict(np.array([[-1.0], [2.0]]), verbose=0).tolist() == [[0.0], [2.0]]


def test_what_keras_makes_of_values_is_one_sentence(tmp_path):
    dense = crafted.layer("Dense", units=1)
    for config in (
        crafted.network({**dense, "inbound_nodes": [{"args": ["secret text"], "kwargs": {}}]}),
        crafted.network(crafted.layer("Dense", units="secret text")),
        crafted.network(crafted.layer("Dense", unknown="secret text")),
        {**crafted.network(dense), "config": {"layers": [1]}},
    ):
        with pytest.raises(
            ValueError, match=r"^Keras \S+ cannot make a network of the file 'model\.keras' \(\w+\)"
        ) as error:
            load_model(crafted.model_file(tmp_path / "model.keras", config))
        assert "secret" not in str(error.value)


def test_how_the_whole_model_was_compiled_is_not_read(tmp_path):
    marker = tmp_path / "marker"
    config = crafted.network(crafted.layer("Activation", activation="relu"))
    config["compile_config"] = crafted.code_that_runs(marker)["function of a module"]
    assert not load_model(crafted.model_file(tmp_path / "model.keras", config)).compiled
    assert not marker.exists()


def test_a_document_that_is_deep_doubled_or_none_is_refused(tmp_path, unreached):
    nested = {"class_name": "Functional", "module": "keras.src.models.functional", "config": {}}
    for _ in range(MAXIMUM_DEPTH):
        nested = {**nested, "config": {"layers": [nested]}}
    for text, words in (
        ("[" * 200_000, "nested deeper than 64"),
        (json.dumps(nested), "nested deeper than 64"),
        ('{"class_name": "Functional", "class_name": "Lambda"}', "one name two values"),
        ("{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        ("1" * 5000, "no JSON|not that of a network"),
        ("null", "not that of a network"),
        (json.dumps({**crafted.network(), "config": None}), "not that of a network"),
        (json.dumps({**crafted.network(), "config": {"layers": {}}}), "not that of a network"),
        (" " * (model_file.MAXIMUM_CONFIG_BYTES + 1), "more than 16 MiB"),
    ):
        with pytest.raises(ValueError, match=rf"'model\.keras' is not opened: it .*({words})"):
            load_model(crafted.model_file(tmp_path / "model.keras", text))


def test_an_archive_of_other_members_is_refused(saved, tmp_path, unreached):
    content = crafted.members(saved)
    link = zipfile.ZipInfo("config.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    rest = [(name, content[name]) for name in MEMBERS if name != "config.json"]
    for entries in (
        {**content, "assets/vocabulary.txt": "words"},
        {**content, "../outside": "x"},
        {**content, "/etc/outside": "x"},
        dict(rest),
        {**dict(rest), "config.json/": ""},
    ):
        with pytest.raises(
            ValueError, match=r"does not hold metadata\.json, config\.json, model\.weights\.h5 once each"
        ):
            load_model(crafted.pack(tmp_path / "model.keras", entries))
    with pytest.warns(UserWarning, match="Duplicate name"):
        crafted.pack(tmp_path / "model.keras", [*content.items(), ("config.json", "{}")])
    with pytest.raises(ValueError, match="once each and nothing else"):
        load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="holds a link"):
        load_model(crafted.pack(tmp_path / "model.keras", [*rest, (link, "/etc/hosts")]))


def test_sizes_that_are_declared_and_not_held_are_refused(saved, tmp_path, unreached):
    content = crafted.members(saved)
    path = crafted.pack(
        tmp_path / "model.keras", {**content, "config.json": " " * 2**24}, compression=zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < 2**23
    with pytest.raises(ValueError, match=r"declares 0\.0181 GiB in compressed files, and Keras compresses none"):
        load_model(path)
    # A size that lies, in the list of the archive: 6.9 GB of a file of a few kilobytes.
    crafted.pack(path, content)
    with zipfile.ZipFile(path) as archive:
        members, size = archive.infolist(), path.stat().st_size
    members[2].file_size = members[2].compress_size = 6_900_000_000
    with pytest.raises(Refused, match="declares more than it holds"):
        model_file._check_members(members, size)
    members[2].compress_size = 1
    with pytest.raises(Refused, match=r"declares 6\.43 GiB in compressed files"):
        model_file._check_members(members, size)


def test_a_damaged_archive_is_named_as_such(saved, tmp_path, unreached):
    whole, random = saved.read_bytes(), np.random.default_rng(0)
    path = tmp_path / "model.keras"
    directory = whole.index(b"PK\x01\x02")
    outcomes = set()
    for trial in range(300):
        damaged = bytearray(whole)
        if trial % 3 == 0:
            damaged = damaged[: int(random.integers(len(damaged)))]
        else:
            start = directory - 200 if trial % 3 == 1 else 0
            for position in random.integers(start, len(damaged), 3):
                damaged[position] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            model_file._check_model(path, {})
        except Refused as error:
            outcomes.add(str(error))
    assert any(
        outcome.startswith("is damaged: it is no whole file of Keras. Copy it once more") for outcome in outcomes
    )


@pytest.mark.parametrize("name", [
    "link to a file", "link inside", "link to an array", "stored elsewhere", "virtual", "one under two names", "round",
    "declared", "declared whole", "compressed", "in pieces", "texts", "references", "records", "type",
    "no hdf5", "nothing",
])  # fmt: skip
def test_weights_that_lead_out_of_their_file_are_refused(name, tmp_path, unreached):
    content = crafted.weights_elsewhere(tmp_path)
    assert name in content
    for file in ("model.keras", "own.weights.h5", "legacy.h5"):
        path = tmp_path / file
        if path.suffix == ".keras":
            crafted.model_file(path, crafted.network(crafted.layer("Dense", units=1)), content[name])
        else:
            path.write_bytes(content[name])
        for check in (check_weights_file, load_model) if path.suffix == ".keras" else (check_weights_file,):
            with pytest.raises(ValueError, match=rf"^the file '{file}' is not opened: it has weights that .*Open only"):
                check(path)


def test_weights_that_keras_writes_are_read(tmp_path):
    model = build_classifier("Mass", backbone="SmallCNN", weights=None, image_size=32)
    model.compile("adam", "binary_crossentropy")
    model.save_weights(tmp_path / "new.weights.h5")
    keras.src.legacy.saving.legacy_h5_format.save_model_to_hdf5(model, tmp_path / "old.h5")
    model.save(tmp_path / "whole.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, dtype="bfloat16")]).save_weights(
        tmp_path / "half.weights.h5"
    )
    for path in tmp_path.iterdir():
        check_weights_file(path)
    with pytest.raises(ValueError, match="no file of weights by its name"):
        check_weights_file(tmp_path / "weights.json")


def test_damaged_weights_are_refused_or_bounded_by_their_size(tmp_path):
    path = tmp_path / "model.weights.h5"
    build_classifier("Mass", backbone="SmallCNN", weights=None, image_size=32).save_weights(path)
    whole, random = path.read_bytes(), np.random.default_rng(1)
    for _ in range(100):
        damaged = bytearray(whole)
        for position in random.integers(0, 4096, 4):
            damaged[position] ^= int(random.integers(1, 256))
        try:
            check_weights(io.BytesIO(bytes(damaged)), len(damaged))
        except Refused as error:
            assert "has weights that" in str(error)


def test_a_backbone_takes_no_weights_that_lead_elsewhere(tmp_path):
    (tmp_path / "elsewhere.weights.h5").write_bytes(crafted.weights_elsewhere(tmp_path)["stored elsewhere"])
    with pytest.raises(ValueError, match="weights that lie in other files"):
        build_classifier("Mass", backbone="SmallCNN", weights=tmp_path / "elsewhere.weights.h5", image_size=32)


def test_no_listed_class_takes_a_function_or_a_path():
    import importlib
    import inspect

    told = {"function", "filepath", "path", "vocabulary", "vocabulary_dir", "module", "call_fn", "standardize", "url"}
    found = 0
    for module, names in CLASSES.items():
        for name in names:
            # Some are younger than the oldest version of Keras that is allowed.
            entry = getattr(importlib.import_module(module), name, None)
            if entry is None:
                continue
            assert isinstance(entry, type) and hasattr(entry, "from_config"), name
            assert not told & set(inspect.signature(entry.__init__).parameters), name
            found += 1
    assert found > 120


def test_a_network_that_names_anything_unlisted_is_refused():
    honest = crafted.network(crafted.layer("Dense", units=1))
    check_classes(parse(json.dumps(honest).encode()), {})
    for module in (None, "", "keras", "keras.layers", "keras.src.layers", "os", "builtins", "keras.saving", "a" * 999):
        for name in ("Lambda", "system", "load_model", "eval", "Layer", "deserialize", "get_file", "", "a" * 999):
            with pytest.raises(Refused):
                check_classes(crafted.network(crafted.layer(name, module=module)), {})


def test_a_vulnerable_version_of_keras_is_told_once(monkeypatch, capsys):
    model_file._tell_of_version.cache_clear()
    monkeypatch.setattr(keras, "__version__", "3.8.0")
    model_file._tell_of_version()
    model_file._tell_of_version()
    assert capsys.readouterr().err.count("Keras 3.8.0 has known vulnerabilities to crafted model files") == 1
    model_file._tell_of_version.cache_clear()
    monkeypatch.setattr(keras, "__version__", "3.15.1")
    model_file._tell_of_version()
    assert capsys.readouterr().err == ""
