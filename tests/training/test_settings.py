import pytest

from chexkeras.data.augment import Augmentation
from chexkeras.training.recipe import Loss, Recipe
from chexkeras.training.settings import with_settings


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
        ("augment.rotation_degrees=90", "from 0 to 45"),
        ("targets=pneumo", "unknown finding 'pneumo'"),
        ("seed=-1", "from 0 to 4294967295"),
        ("loss.gamma=strong", "loss.gamma='strong' must be a number"),
        ("loss.label_smoothing=1", "must be below 1"),
        ("loss.alpha=0", "strictly between 0 and 1"),
        ("loss.clip=1", "must be below 1"),
        ("loss.margin=0", "must be above 0"),
        ("loss.cap=-2", "loss.cap=-2 must be a number above 0"),
        ("loss.gamma_negative=-1", "loss.gamma_negative=-1 must be a number"),
        ("loss.class_weights=caped", "did you mean 'capped'"),
        ('loss.target_weights={"Pneumonia": 0}', "the weight of Pneumonia is 0"),
        ("monitor=val_aurc", "did you mean 'val_auroc'"),
        ("stage1.optimizer=adamx", "did you mean 'adam'"),
        ("stage1.schedule=cosin", "did you mean 'cosine'"),
        ("stage1.batchnorm=hold", "did you mean 'held'"),
        ("stage1.weight_decay=0.1", "needs stage1.optimizer='adamw'"),
        ("stage1.clip_norm=0", "above 0"),
        ("stage1.accumulate=0", "at least 1"),
        ("stage1.ema=1", "strictly between 0 and 1"),
        ("stage1.ema=true", "a momentum such as 0.999"),
        ("up_sample=Mass", "must give a value for each finding"),
        ('up_sample={"Mass": 1.5}', "the factor of Mass"),
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
