import pytest

from chexkeras.training.presets import preset
from chexkeras.training.recipe import Loss, Recipe, Stage


def test_two_stage_preset_freezes_the_base_before_the_top_fifth_is_tuned():
    stages = preset("two-stage").stages
    assert [stage.trainable for stage in stages] == [0.0, 0.2]


def test_every_field_survives_json(tmp_path):
    stage = Stage(
        "only", 5, 1e-3, "all", 2, "trained", "adamw", 1e-4, "warmup_cosine", 2, 0.5, 3, clip_norm=1.0, accumulate=4,
        ema=0.99,
    )  # fmt: skip
    loss = Loss("asymmetric", "capped", cap=20, target_weights={"abnormal": 0.5})
    recipe = Recipe(
        targets=("Mass", "Abnormal"), stages=(stage,), loss=loss, clahe=2.0, monitor="val_loss", up_sample={"mass": 4},
        seed=3,
    )  # fmt: skip
    again = Recipe.load(recipe.save(tmp_path / "recipe.json"))
    assert again == recipe
    assert again.loss.target_weights == (("Abnormal", 0.5),)
    assert again.up_sample == (("Mass", 4),)
    balanced = Recipe(balanced_batches="mass")
    assert Recipe.load(balanced.save(tmp_path / "balanced.json")) == balanced == Recipe(balanced_batches=("Mass",))


def test_a_recipe_saved_before_these_fields_existed_still_loads(tmp_path):
    plain = Recipe().to_dict()
    for name in ("monitor", "up_sample", "balanced_batches", "clahe"):
        del plain[name]
    plain["loss"] = {
        name: plain["loss"][name] for name in ("name", "class_weights", "label_smoothing", "gamma", "alpha")
    }
    kept = ("name", "epochs", "learning_rate", "trainable", "patience")
    plain["stages"] = [{name: stage[name] for name in kept} for stage in plain["stages"]]
    assert Recipe.from_dict(plain) == Recipe()


def test_all_and_none_are_shares():
    assert Stage("a", 1, 1e-3, "all") == Stage("a", 1, 1e-3, 1.0)
    assert Stage("a", 1, 1e-3, "none") == Stage("a", 1, 1e-3, 0.0)


def test_wrong_recipes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="stage names must differ"):
        Recipe(stages=(Stage("a", 1, 1e-3), Stage("a", 1, 1e-3)))
    with pytest.raises(ValueError, match="did you mean 'batch_size'"):
        Recipe().replace(batchsize=3)
    with pytest.raises(ValueError, match="names Edema, no target of this recipe: Mass"):
        Recipe(targets=("Mass",), loss=Loss(target_weights={"Edema": 2.0}))
    with pytest.raises(ValueError, match="must give a value for each finding"):
        Recipe(up_sample=4)
    with pytest.raises(ValueError, match="balanced_batches and up_sample both decide how often a film is shown"):
        Recipe(up_sample={"Mass": 4}, balanced_batches="Mass")
    with pytest.raises(ValueError, match="batch_size=2 has no room for 3 groups: Mass, Edema and none of them"):
        Recipe(balanced_batches=("Mass", "Edema"), batch_size=2)
    path = tmp_path / "recipe.json"
    path.write_text('{"name": "x"}')
    with pytest.raises(ValueError, match="is not a recipe"):
        Recipe.load(path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("seed", 2**32, "from 0 to 4294967295"), ("image_size", 4097, "image_size=4097 is above 4096")],
)
def test_what_no_machine_can_do_is_refused_when_the_recipe_is_made(field, value, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{field: value})
    Recipe(**{field: value - 1})
