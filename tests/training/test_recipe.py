import pytest

from chexkeras.data.augment import Augmentation
from chexkeras.training.presets import names, preset
from chexkeras.training.recipe import Loss, Recipe, Stage
from chexkeras.training.settings import with_settings


@pytest.mark.parametrize("name", names())
def test_every_preset_survives_json(name, tmp_path):
    recipe = preset(name)
    assert Recipe.load(recipe.save(tmp_path / "recipe.json")) == recipe


def test_two_stage_preset_freezes_the_base_before_the_top_fifth_is_tuned():
    stages = preset("two-stage").stages
    assert [stage.trainable for stage in stages] == [0.0, 0.2]


def test_settings_reach_every_level():
    recipe = with_settings(
        Recipe(),
        ["stage2.learning_rate=3e-5", "augment.flip=true", "targets=mass, nodule", "weights=null", "loss.name=focal"],
    )
    assert recipe.stages[1].learning_rate == 3e-5
    assert recipe.augment == Augmentation(flip=True)
    assert recipe.targets == ("Mass", "Nodule")
    assert recipe.weights is None
    assert recipe.loss == Loss("focal")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stage2.learning_rat=1", "did you mean 'learning_rate'"),
        ("stage3.epochs=1", "did you mean 'stage"),
        ("image_size", "must read field=value"),
        ("stages=1", "names no field"),
        ("image_size=big", "whole number"),
        ("stage1.learning_rate=-1", "above 0"),
        ("stage1.trainable=1.5", "between 0 and 1"),
        ("loss.name=bce", "Expected one of: weighted_bce, focal"),
        ("augment.rotation_degrees=90", "from 0 to 45"),
        ("targets=pneumo", "unknown finding 'pneumo'"),
        ("seed=-1", "at least 0"),
        ("loss.gamma=strong", "loss.gamma='strong' must be a number"),
        ("loss.label_smoothing=1", "must be below 1"),
        ("loss.alpha=0", "strictly between 0 and 1"),
    ],
)
def test_wrong_settings_are_refused_with_the_nearest_name(setting, message):
    with pytest.raises(ValueError, match=message):
        with_settings(Recipe(), [setting])


def test_wrong_recipes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="stage names must differ"):
        Recipe(stages=(Stage("a", 1, 1e-3), Stage("a", 1, 1e-3)))
    with pytest.raises(ValueError, match="did you mean 'batch_size'"):
        Recipe().replace(batchsize=3)
    with pytest.raises(ValueError, match="did you mean 'demo'"):
        preset("demos")
    path = tmp_path / "recipe.json"
    path.write_text('{"name": "x"}')
    with pytest.raises(ValueError, match="is not a recipe"):
        Recipe.load(path)
