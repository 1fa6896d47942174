import pytest

from chexkeras.models.losses import LOSSES
from chexkeras.models.optimizers import SCHEDULES
from chexkeras.recipes.presets import preset
from chexkeras.recipes.recipe import Loss, Recipe, Stage


def test_two_stage_preset_freezes_the_base_before_the_top_fifth_is_tuned():
    stages = preset("two-stage").stages
    assert [stage.trainable for stage in stages] == [0.0, 0.2]


def test_every_field_survives_json(tmp_path):
    stages = (
        Stage("first", 5, 1e-3, "all", 2, "trained", "adamw", 1e-4, "warmup_cosine", 2, clip_norm=1.0, accumulate=4),
        Stage("second", 5, 1e-3, "block3", 2, schedule="reduce_on_plateau", reduce_factor=0.5, reduce_patience=3,
              ema=0.99),
    )  # fmt: skip
    loss = Loss("weighted_bce", "capped", 0.1, cap=20, target_weights={"abnormal": 0.5})
    recipe = Recipe(
        targets=("Mass", "Abnormal"), stages=stages, loss=loss, clahe=2.0, monitor="val_loss", up_sample={"mass": 4},
        seed=3, exposure="equalise_inner", smoothing=1.5,
    )  # fmt: skip
    again = Recipe.load(recipe.save(tmp_path / "recipe.json"))
    assert again == recipe
    assert again.loss.target_weights == (("Abnormal", 0.5),)
    assert again.up_sample == (("Mass", 4),)
    for loss in (
        Loss(class_weights="effective", beta=0.99), Loss("focal", gamma=1.5, alpha=0.4), Loss("auc_margin", margin=0.5),
        Loss("asymmetric", gamma_positive=0.5, gamma_negative=3.0, clip=0.1),
    ):  # fmt: skip
        other = Recipe(loss=loss)
        assert Recipe.load(other.save(tmp_path / "other.json")) == other
    balanced = Recipe(balanced_batches="mass")
    assert Recipe.load(balanced.save(tmp_path / "balanced.json")) == balanced == Recipe(balanced_batches=("Mass",))


def test_a_recipe_saved_before_these_fields_existed_still_loads(tmp_path):
    plain = Recipe().to_dict()
    for name in ("monitor", "up_sample", "balanced_batches", "clahe", "exposure", "smoothing"):
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
    with pytest.raises(ValueError, match="balanced_batches and up_sample both decide how often an image is shown"):
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


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda: Loss(gamma=3.0), r"loss\.gamma=3\.0 needs loss\.name='focal' and has no effect with 'weighted_bce'"),
        (lambda: Loss("asymmetric", alpha=0.5), r"loss\.alpha=0\.5 needs loss\.name='focal'"),
        (
            lambda: Loss("auc_margin", label_smoothing=0.2),
            r"loss\.label_smoothing=0\.2 needs .*by default: loss\.label_",
        ),
        (
            lambda: Loss("asymmetric", label_smoothing=0.2),
            r"loss\.label_smoothing=0\.2 needs loss\.name='weighted_bce'",
        ),
        (lambda: Loss("focal", "effective"), r"loss\.class_weights='effective' needs loss\.name='weighted_bce'"),
        (lambda: Loss(cap=20), r"loss\.cap=20 needs loss\.class_weights='capped' .* loss\.cap=null\."),
        (lambda: Loss(beta=0.9), r"loss\.beta=0\.9 needs loss\.class_weights='effective'"),
        (lambda: Loss(margin=0.5), r"loss\.margin=0\.5 needs loss\.name='auc_margin'"),
        (lambda: Loss("focal", gamma_positive=2.0), r"loss\.gamma_positive=2\.0 needs loss\.name='asymmetric'"),
        (lambda: Loss("focal", clip=0.1, gamma_negative=1.0), r"loss\.gamma_negative=1\.0 .*, loss\.clip=0\.1 needs"),
        (lambda: Stage("a", 5, 1e-3, warmup_epochs=2), r"a\.warmup_epochs=2 needs a\.schedule='warmup_cosine'"),
        (lambda: Stage("a", 5, 1e-3, schedule="cosine", reduce_factor=0.5), r"a\.reduce_factor=0\.5 needs a\.schedule"),
        (lambda: Stage("a", 5, 1e-3, reduce_patience=5), r"needs a\.schedule='reduce_on_plateau' .* with 'constant'"),
        (lambda: Stage("a", 5, 1e-3, weight_decay=0.1), r"a\.weight_decay=0\.1 needs a\.optimizer='adamw' or 'sgd'"),
    ],
)
def test_a_number_without_effect_is_refused_and_says_what_it_belongs_to(part, message):
    with pytest.raises(ValueError, match=message):
        part()


def test_a_default_is_never_refused():
    for name in LOSSES:
        for weights in ("balanced", "none"):
            assert Loss(name, weights).name == name
    for schedule in SCHEDULES:
        assert Stage("a", 5, 1e-3, schedule=schedule).schedule == schedule


def test_a_weights_file_may_be_a_path(tmp_path):
    recipe = Recipe(weights=tmp_path / "own.h5")
    assert recipe.weights == str(tmp_path / "own.h5")
    assert Recipe.load(recipe.save(tmp_path / "recipe.json")) == recipe


def test_a_stage_without_a_name_and_targets_that_are_none_are_refused():
    with pytest.raises(ValueError, match="stage name=' ' must be text, such as 'stage1'"):
        Stage(" ", 1, 1e-3)
    with pytest.raises(ValueError, match="stage name=5 must be text"):
        Stage(5, 1, 1e-3)
    with pytest.raises(ValueError, match="targets=None must be a finding"):
        Recipe(targets=None)
    with pytest.raises(ValueError, match=r"a\.trainable=True must be a share"):
        Stage("a", 1, 1e-3, True)
