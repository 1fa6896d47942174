import pytest

from chexkeras.data.augmentation import Augmentation
from chexkeras.recipes import presets
from chexkeras.recipes.overrides import with_settings
from chexkeras.recipes.recipe import Loss, Recipe, Stage


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
        ("loss.name=bce", "Expected one of: weighted_bce, focal, asymmetric, auc_margin, three_way"),
        ("loss.name=three_way", "set both or neither"),
        ("clahe=0.5", r"clahe=0\.5 must be a number from 1"),
        ("clahe=strong", "clahe='strong' must be a number"),
        ("exposure=standardize", "did you mean 'standardise'"),
        ("exposure=2", "exposure=2: unknown exposure"),
        ("smoothing=0", "smoothing=0 must be a number above 0 and at most 10"),
        ("augment.rotation_degrees=90", "from 0 to 45"),
        ("targets=pneumo", "unknown finding 'pneumo'"),
        ("seed=-1", "from 0 to 4294967295"),
        ("loss.gamma=strong", "loss.gamma='strong' must be a number"),
        ("loss.label_smoothing=1", "must be a number of at least 0 and below 1"),
        ("loss.alpha=0", "strictly between 0 and 1"),
        ("loss.clip=1", "must be a number of at least 0 and below 1"),
        ("loss.margin=0", "must be a number above 0 and at most 1"),
        ("loss.cap=-2", "loss.cap=-2 must be a number above 0"),
        ("loss.gamma_negative=-1", "loss.gamma_negative=-1 must be a number"),
        ("loss.class_weights=caped", "did you mean 'capped'"),
        ('loss.target_weights={"Pneumonia": 0}', "the weight of Pneumonia=0 must be a number above 0"),
        ("monitor=val_aurc", "did you mean 'val_auroc'"),
        ("stage1.optimizer=adamx", "did you mean 'adam'"),
        ("stage1.schedule=cosin", "did you mean 'cosine'"),
        ("stage1.batchnorm=hold", "did you mean 'held'"),
        ("stage1.weight_decay=0.1", "needs stage1.optimizer='adamw'"),
        ("stage1.clip_norm=0", "above 0"),
        ("stage1.accumulate=0", "at least 1"),
        ("stage1.ema=1", "strictly between 0 and 1"),
        ("stage1.ema=true", "stage1.ema=True must be a number strictly between 0 and 1; usual is 0.999"),
        ("up_sample=Mass", "must give a value for each finding"),
        ('up_sample={"Mass": 1.5}', "the factor of Mass"),
        ("weights=3", "weights=3 must be 'imagenet', a weights file, or null"),
        ("weights=", "weights='' must be 'imagenet', a weights file, or null"),
        ("name=5", "name=5 must be text, such as 'own'"),
        ("stage1.name=5", "stage name=5 must be text, such as 'stage1'"),
        ("stage1.name=", "stage name='' must be text"),
        ("stage1.trainable=true", "stage1.trainable=True must be a share from 0 to 1, 'all', 'none', or the name"),
        ("stage1.trainable=null", "stage1.trainable=None must be a share from 0 to 1"),
        ("targets=null", "targets=None must be a finding or a list of them"),
        ("targets=none", "no finding given"),
        ("targets=3", "targets=3 must be a finding or a list of them"),
        ("balanced_batches=3", "balanced_batches=3 must be a finding or a list of them"),
        ("loss.margin=true", "loss.margin=True must be a number above 0"),
        ('loss.alpha="0.5"', "loss.alpha='0.5' must be a number strictly between"),
        ("learning_rate=1e-3", "did you mean 'stage1.learning_rate' or 'stage2.learning_rate'"),
        ("stage1.gamma=1", "did you mean 'loss.gamma'"),
        ("loss.batch_size=1", "did you mean 'batch_size'"),
    ],
)
def test_wrong_settings_are_refused_with_the_nearest_name(setting, message):
    with pytest.raises(ValueError, match=message):
        with_settings(Recipe(), [setting])


def test_a_warm_up_leaves_epochs_for_the_cosine():
    with pytest.raises(ValueError, match="leaves none of the 10 epochs"):
        with_settings(Recipe(), ["stage1.schedule=warmup_cosine", "stage1.warmup_epochs=10"])


def test_settings_take_values_for_each_finding():
    recipe = with_settings(
        Recipe(), ["targets=mass, abnormal", 'loss.target_weights={"abnormal": 0.5}', 'up_sample={"mass": 3}']
    )
    assert recipe.loss.target_weights == (("Abnormal", 0.5),)
    assert recipe.up_sample == (("Mass", 3),)


def as_the_shell_gives_it(line):
    """A line between double quotes on a command line: the shell takes the quotes inside it away."""
    return line.replace('"', "")


@pytest.mark.parametrize("name", presets.names())
def test_what_is_printed_to_be_set_gives_the_same_recipe_without_its_quotes_too(name):
    recipe = presets.preset(name)
    lines = [line.strip() for line in presets.explain(name).split("Recipe (", 1)[1].splitlines()[1:]]
    assert len(lines) > 10
    for line in lines:
        assert with_settings(recipe, [as_the_shell_gives_it(line)]) == recipe, line
    stages = tuple(Stage(stage.name, epochs=1, learning_rate=1.0) for stage in recipe.stages)
    assert with_settings(Recipe(stages=stages), map(as_the_shell_gives_it, lines)) == recipe


def test_words_of_a_list_need_no_quotes():
    changed = with_settings(
        Recipe(),
        [
            "targets=[Mass, Pleural Effusion, No Finding]",
            "loss.target_weights=[[Pleural Effusion, 7.0]]",
            "up_sample={Mass: 4, No Finding: 2}",
        ],
    )
    assert changed.targets == ("Mass", "Pleural Effusion", "No Finding")
    assert changed.loss.target_weights == (("Pleural Effusion", 7.0),)
    assert changed.up_sample == (("Mass", 4), ("No Finding", 2))


@pytest.mark.parametrize("word", ["none", "None", "null"])
def test_none_is_null_only_where_a_field_takes_null(word):
    start = Recipe(clahe=2.0, loss=Loss(class_weights="capped", cap=20), up_sample={"Mass": 2}, balanced_batches=())
    nothing = with_settings(
        start,
        [f"{name}={word}" for name in ("weights", "clahe", "loss.cap", "stage1.patience", "stage2.clip_norm")]
        + ["operating_point.rule=youden", f"operating_point.target={word}"],
    )
    assert (nothing.weights, nothing.clahe, nothing.loss.cap, nothing.operating_point.target) == (None,) * 4
    assert (nothing.stages[0].patience, nothing.stages[1].clip_norm) == (None, None)
    if word != "null":
        chosen = with_settings(
            Recipe(up_sample={"Mass": 2}),
            [f"{name}={word}" for name in ("loss.class_weights", "stage2.trainable", "up_sample", "balanced_batches")],
        )
        assert (chosen.loss.class_weights, chosen.stages[1].trainable) == ("none", 0.0)
        assert (chosen.up_sample, chosen.balanced_batches) == ((), ())


def every_field():
    recipe = Recipe()
    for name, value in recipe.to_dict().items():
        if isinstance(value, dict):
            yield from (f"{name}.{field}" for field in value)
        elif name != "stages":
            yield name
    yield from (f"stage1.{field}" for field in recipe.stages[0].to_dict())


@pytest.mark.parametrize("field", list(every_field()))
def test_a_value_of_any_type_is_taken_or_refused_by_name(field):
    for text in ("null", "none", "true", "3", "-1", "0.5", "NaN", "Infinity", '"0.5"', "words", "", "[]", "[1]", "{}"):
        try:
            taken = with_settings(Recipe(), [f"{field}={text}"])
        except ValueError as error:
            assert "do not make a recipe" not in str(error), f"{field}={text} met no check: {error}"
        else:
            assert isinstance(taken, Recipe)


def test_overriding_a_loss_names_what_its_numbers_belong_to_and_how_to_put_them_back():
    capped = Recipe(loss=Loss(class_weights="capped", cap=20, label_smoothing=0.1))
    with pytest.raises(ValueError, match=r"loss\.class_weights='capped' needs loss\.name='weighted_bce'") as caught:
        with_settings(capped, ["loss.name=asymmetric"])
    named = str(caught.value).split("by default: ")[1].rstrip(".").split(", ")
    assert named == ['loss.class_weights="balanced"', "loss.label_smoothing=0.0"]
    back = with_settings(capped, ["loss.name=asymmetric", *named, "loss.cap=none"])
    assert back.loss == Loss("asymmetric")
    assert with_settings(Recipe(loss=Loss(class_weights="none")), ["loss.name=focal"]).loss.class_weights == "none"
