"""Registries, and backbones and losses that a user adds to them."""

import json
import subprocess
import sys

import pytest

from chexkeras.models import register_backbone, register_loss
from chexkeras.models.backbones import BACKBONES
from chexkeras.models.class_weights import CLASS_WEIGHTS
from chexkeras.models.heads import HEADS
from chexkeras.models.losses import LOSSES, loss_words
from chexkeras.models.optimizers import OPTIMIZERS, SCHEDULES
from chexkeras.models.registry import Parameter, number
from chexkeras.recipes.overrides import with_settings
from chexkeras.recipes.recipe import Loss, Recipe, Stage

EXPONENT = Parameter("exponent", 2.0, number(above=0, usual=2), "Power of the error, above 0.")


def power(labels, scores, known, weights, exponent):
    from keras import ops

    return ops.mean(weights * known * ops.abs(labels - scores) ** exponent, axis=-1)


def two_blocks(pixels):
    import keras

    for block in (1, 2):
        pixels = keras.layers.Conv2D(8, 3, 2, activation="relu", name=f"own_{block}")(pixels)
    return pixels


@pytest.fixture
def own():
    """A loss and a backbone of one's own, for one test."""
    register_loss("error_power", power, [EXPONENT], words="mean power of the error")
    register_backbone("TwoBlocks", two_blocks)
    yield
    del LOSSES._entries["error_power"], BACKBONES._entries["TwoBlocks"]


@pytest.mark.parametrize(
    ("check", "wrong", "message"),
    [
        (number(above=0, at_most=1, usual=1), 0, "x=0 must be a number above 0 and at most 1; usual is 1."),
        (number(at_least=1, at_most=9, usual=2, null="for none"), 0.5, "from 1 to 9; usual is 2, or null for none."),
        (number(above=0, below=1), 1, "x=1 must be a number strictly between 0 and 1."),
        (number(at_least=0), True, "x=True must be a number of at least 0."),
        (number(at_least=0), float("nan"), "x=nan must be a number"),
        (number(at_least=0), None, "x=None must be a number"),
        (number(at_least=0), "1", "x='1' must be a number"),
    ],
)  # fmt: skip
def test_a_number_out_of_its_range_is_refused_with_the_range(check, wrong, message):
    with pytest.raises(ValueError) as refused:
        check(wrong, "x")
    assert message in str(refused.value)


def test_bounds_are_taken_and_null_where_it_means_something():
    number(at_least=0, at_most=1)(0, "x")
    number(at_least=0, at_most=1)(1, "x")
    number(above=0, null="for none")(None, "x")


@pytest.mark.parametrize("registry", [BACKBONES, HEADS, LOSSES, CLASS_WEIGHTS, OPTIMIZERS, SCHEDULES])
def test_every_entry_is_found_by_its_name_and_others_are_refused(registry):
    for name, entry in registry.items():
        assert registry.find(name, "field") is entry
        assert entry.name == name
    with pytest.raises(ValueError, match=r"field='nothing': unknown .* Expected one of: "):
        registry.find("nothing", "field")
    for odd in (None, 3, [], {}):
        with pytest.raises(ValueError, match="unknown"):
            registry.find(odd, "field")


def test_recipes_are_checked_and_explained_without_keras():
    code = (
        "import sys; from chexkeras.recipes import presets; presets.explain('two-stage'); presets.table();"
        "print(sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_default_is_one_that_its_own_check_takes():
    for entry in (*LOSSES.values(), *CLASS_WEIGHTS.values()):
        for parameter in entry.parameters:
            parameter.check(parameter.default, parameter.name)
            assert parameter.name in Loss.__doc__


def test_the_numbers_of_an_own_loss_are_fields_of_a_recipe(own, tmp_path):
    recipe = Recipe(loss=Loss("error_power", exponent=1.5))
    assert recipe.loss.exponent == 1.5
    assert list(recipe.to_dict()["loss"])[-2:] == ["exponent", "target_weights"]
    assert Recipe.load(recipe.save(tmp_path / "recipe.json")) == recipe
    changed = with_settings(Recipe(), ["loss.name=error_power", "loss.class_weights=none"])
    assert with_settings(changed, ["loss.exponent=3"]).loss.numbers == {"exponent": 3}
    with pytest.raises(ValueError, match=r"loss\.exponent=0 must be a number above 0; usual is 2"):
        with_settings(changed, ["loss.exponent=0"])
    with pytest.raises(ValueError, match=r"loss\.exponent=3\.0 needs loss\.name='error_power'"):
        Loss(exponent=3.0)
    with pytest.raises(ValueError, match="did you mean 'exponent'"):
        Loss("error_power", exponnt=3.0)
    assert loss_words(recipe.loss.to_dict()) == "mean power of the error (exponent 1.5)"


def test_an_own_loss_changes_nothing_in_the_file_of_another(own):
    assert "exponent" not in Recipe().to_dict()["loss"]


@pytest.fixture
def focal_like():
    """A loss with numbers of the same names as those of built-in losses, with other defaults and ranges."""
    names = {"alpha": (3.0, number(at_least=1)), "gamma": (-1.0, number(below=0)), "margin": (7.0, number(above=1))}
    declared = [Parameter(name, default, check, "") for name, (default, check) in names.items()]
    smoothing = Parameter("label_smoothing", 0.3, number(above=0), "")
    register_loss("focal_like", power, [*declared, smoothing])
    yield
    del LOSSES._entries["focal_like"]


def test_a_loss_that_shares_names_changes_nothing_in_the_files_of_others(focal_like, tmp_path):
    saved = {"label_smoothing": 0.0, "gamma": 2.0, "alpha": 0.25, "cap": None, "beta": 0.9999, "gamma_positive": 1.0,
             "gamma_negative": 4.0, "clip": 0.05, "margin": 1.0, "target_weights": []}  # fmt: skip
    changed = {"focal": {"gamma": 3.0, "alpha": 0.5}, "auc_margin": {"margin": 0.5}}
    for name in ("weighted_bce", "focal", "asymmetric", "auc_margin"):
        old = Recipe().to_dict() | {
            "loss": {"name": name, "class_weights": "balanced", **saved, **changed.get(name, {})}
        }
        (tmp_path / "old.json").write_text(json.dumps(old))
        recipe = Recipe.load(tmp_path / "old.json")
        again = json.loads(recipe.save(tmp_path / "new.json").read_text())
        assert json.dumps(again["loss"]) == json.dumps(old["loss"])
        assert Loss(name).to_dict().items() >= {"gamma": 2.0, "alpha": 0.25, "margin": 1.0}.items()
    with pytest.raises(ValueError, match=r"loss\.alpha=0\.5 needs loss\.name='focal' or 'focal_like'"):
        Loss(alpha=0.5)
    with pytest.raises(ValueError, match=r"loss\.alpha=3\.0 must be a number strictly between 0 and 1"):
        Loss("focal", alpha=3.0)
    with pytest.raises(ValueError, match=r"loss\.margin=True must be a number"):
        Loss(margin=True)


def test_a_number_of_a_shared_name_has_the_default_and_the_range_of_the_chosen_loss(focal_like, tmp_path):
    own = Loss("focal_like")
    assert own.numbers == {"alpha": 3.0, "gamma": -1.0, "margin": 7.0, "label_smoothing": 0.3}
    recipe = Recipe(loss=Loss("focal_like", alpha=2.0))
    assert Recipe.load(recipe.save(tmp_path / "recipe.json")) == recipe
    with pytest.raises(ValueError, match=r"loss\.alpha=0\.25 must be a number of at least 1"):
        Loss("focal_like", alpha=0.25)
    for start in (Loss(), Loss("focal"), Loss("auc_margin")):
        assert start.replace(name="focal_like").numbers == own.numbers
        assert own.replace(name=start.name) == start
    chosen = with_settings(Recipe(), ["loss.name=focal_like", "loss.alpha=4"])
    assert chosen.loss == Loss("focal_like", alpha=4)
    assert with_settings(Recipe(loss=own), ["loss.name=focal"]).loss == Loss("focal")


@pytest.mark.parametrize("name", ["beta", "cap", "target_weights", "reduction", "name"])
def test_a_number_cannot_take_a_name_that_means_something_else(name):
    with pytest.raises(ValueError, match=f"the loss 'mine' cannot have a number '{name}': that name belongs to"):
        register_loss("mine", power, [Parameter(name, 2.0, number(above=0), "")])
    assert "mine" not in LOSSES
    assert Loss(class_weights="effective", beta=0.99).rule_numbers == {"beta": 0.99}


@pytest.mark.parametrize(
    ("register", "error", "message"),
    [
        (lambda: register_loss("focal", power), ValueError, "the loss 'focal' is built in"),
        (lambda: register_loss("my loss", power), ValueError, "must be one word"),
        (lambda: register_loss("mine", "power"), TypeError, "must be a function"),
        (
            lambda: register_loss("mine", power, [Parameter("exponent", 0.0, EXPONENT.check, "")]),
            ValueError, "the default of exponent=0.0 must be a number above 0",
        ),
        (lambda: register_backbone("VGG16", two_blocks), ValueError, "the backbone 'VGG16' is built in"),
        (lambda: register_backbone("Mine", two_blocks, "0-1"), ValueError, "normalisation='0-1'"),
        (lambda: register_backbone("Mine", None), TypeError, "must be a function"),
    ],
)  # fmt: skip
def test_what_cannot_be_registered_is_refused(register, error, message):
    with pytest.raises(error, match=message):
        register()
    assert not {"mine", "Mine"} & {*LOSSES, *BACKBONES}


@pytest.mark.keras
def test_a_run_of_an_own_loss_and_backbone_is_trained_saved_and_loaded_in_safe_mode(own, toy_splits, tmp_path):
    import numpy as np

    from chexkeras.models.scoring import predict_scores
    from chexkeras.runs.run import Run
    from chexkeras.training.trainer import train

    recipe = Recipe(
        "own",
        ("Effusion",),
        image_size=32,
        backbone="TwoBlocks",
        weights=None,
        head="linear",
        loss=Loss("error_power", exponent=1.5, target_weights={"Effusion": 2.0}),
        stages=(Stage("stage1", epochs=2, learning_rate=1e-2, trainable=1.0),),
        batch_size=16,
    )
    run = train(recipe, toy_splits, tmp_path / "run")
    config = run.provenance["loss"]
    assert (config["exponent"], config["target_weights"], config["name"]) == (1.5, [2.0], "error_power")
    model = Run.load(tmp_path / "run").load_model()
    assert "own_1" in [layer.name for layer in model.layers]
    again = predict_scores(model, toy_splits.test, ("Effusion",)).set_index("image_id")["score"]
    kept = run.scores("test").set_index("image_id")["score"]
    np.testing.assert_allclose(again[kept.index], kept, rtol=1e-5)
    first = LOSSES["error_power"]
    # A notebook's cell is run again.
    assert register_loss("error_power", power, [EXPONENT]) is not first
    del LOSSES._entries["error_power"]
    with pytest.raises(ValueError, match=r"unknown loss; .*call chexkeras\.models\.register_loss\(\.\.\.\) first"):
        Run.load(tmp_path / "run").recipe  # noqa: B018
    register_loss("error_power", power, [EXPONENT])
    del BACKBONES._entries["TwoBlocks"]
    with pytest.raises(ValueError, match=r"unknown backbone; .*call chexkeras\.models\.register_backbone\(\.\.\.\)"):
        Run.load(tmp_path / "run").recipe  # noqa: B018
    register_backbone("TwoBlocks", two_blocks)


@pytest.mark.keras
def test_an_own_loss_is_computed_as_its_formula_says():
    import numpy as np
    from keras import ops

    from chexkeras.models.loss_entry import keras_class

    entry = register_loss("error_power", power, [EXPONENT])
    try:
        loss = keras_class(entry)(exponent=1.0, target_weights=[1.0, 3.0])
        labels, scores = np.array([[1.0, np.nan], [0.0, 1.0]]), np.array([[0.75, 0.5], [0.5, 0.5]])
        each = ops.convert_to_numpy(loss.call(labels, scores))
        np.testing.assert_allclose(each, [0.25 / 2, (0.5 + 3 * 0.5) / 2], rtol=1e-5)
    finally:
        del LOSSES._entries["error_power"]


@pytest.mark.keras
def test_loading_a_run_tells_keras_every_name_that_its_model_may_hold(toy_run):
    import keras

    toy_run.load_model()
    for name in (
        *(entry.keras_name for entry in LOSSES.values()),
        "Clahe",
        "Standardise",
        "Stretch",
        "Equalise",
        "Smooth",
    ):
        assert keras.saving.get_registered_object(f"chexkeras>{name}") is not None, name
