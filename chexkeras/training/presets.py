"""Recipes by name."""

from chexkeras.checks import one_of
from chexkeras.data.augment import Augmentation
from chexkeras.training.recipe import Recipe, Stage, ThresholdRule

_PRESETS = {
    recipe.name: recipe
    for recipe in (
        # The reference two-stage pneumonia project's experiment 2A: 17 + 15 epochs, the top 20 % of DenseNet121 tuned
        # at 1e-5 in stage 2, batch 32 in stage 2, flip. Its stage-1 learning rate is not stated; 1e-3 is our choice.
        Recipe(
            name="udacity-2a",
            stages=(
                Stage("stage1", epochs=17, learning_rate=1e-3, trainable=0.0),
                Stage("stage2", epochs=15, learning_rate=1e-5, trainable=0.2),
            ),
            augment=Augmentation(flip=True),
            operating_point=ThresholdRule("fixed", 0.4),
        ),
        Recipe(
            name="two-stage",
            stages=(
                Stage("stage1", epochs=12, learning_rate=1e-3, trainable=0.0, patience=4),
                Stage("stage2", epochs=12, learning_rate=1e-4, trainable=0.2, patience=4),
            ),
        ),
        # Small films and an untrained base: it shows in minutes that everything works. Heart size is what features of
        # random convolutions can tell from few films; they miss subtler findings.
        Recipe(
            name="demo",
            targets=("Cardiomegaly",),
            image_size=96,
            weights=None,
            stages=(
                Stage("stage1", epochs=20, learning_rate=5e-4, trainable=0.0, patience=6),
                Stage("stage2", epochs=8, learning_rate=1e-4, trainable=0.2, patience=4),
            ),
        ),
        # The same in a minute, for the notebooks: fewer epochs on smaller films.
        Recipe(
            name="quick",
            targets=("Cardiomegaly",),
            image_size=64,
            weights=None,
            stages=(
                Stage("stage1", epochs=12, learning_rate=1e-3, trainable=0.0, patience=4),
                Stage("stage2", epochs=4, learning_rate=1e-4, trainable=0.2, patience=2),
            ),
        ),
    )
}


def names() -> tuple[str, ...]:
    """Returns the names of the presets."""
    return tuple(_PRESETS)


def preset(name: str) -> Recipe:
    """Returns a recipe by name.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: If there is none of that name; the message gives the nearest.

    Example:
        >>> preset("udacity-2a").stages[1].trainable
        0.2
    """
    return _PRESETS[one_of(name, _PRESETS, "preset")]
