"""The two-stage pneumonia project of a course, its four experiments."""

from chexkeras.data.augmentation import Augmentation
from chexkeras.recipes.presets.source import Claim, Preset, Source
from chexkeras.recipes.recipe import Recipe, Stage, ThresholdRule

_STAGE1 = Stage("stage1", epochs=17, learning_rate=1e-3, trainable=0.0)
_WHERE = "README of a two-stage pneumonia project built on Udacity's course starter"
_PART = "16,370 validation images of 4,621 patients, disjoint from the training patients"
_CHOSEN = (
    "stage1.learning_rate is not stated: 1e-3.",
    "batch_size is 64, later 32, without saying when: 32.",
    "The class weights' formula is not stated: balanced.",
)


def _pneumonia(name: str, setting: str, claim: Claim, *, chosen: tuple[str, ...] = (), **changes: object) -> Preset:
    recipe = Recipe(
        name=name,
        stages=(_STAGE1,),
        augment=Augmentation(flip=True),
        operating_point=ThresholdRule("fixed", 0.4),
    )
    source = Source(
        system=f"Two-stage pneumonia classifier, experiment {name[-2:].upper()}: {setting}.",
        where=_WHERE,
        data="NIH ChestX-ray14, pneumonia against all else.",
        split="patient",
        protocol=(
            "Split by patient, stratified, 70/15/15 %: 79,113 training images of 21,563 patients, 16,370 validation "
            "images of 4,621. With 222 positives there an AUROC is uncertain by 0.04 to either side, so that the four "
            "experiments cannot be told apart. A focal loss is named as an option, but none of them used it."
        ),
        validation=0.15,
        test=0.15,
        claims=(claim,),
        chosen=(*_CHOSEN, *chosen),
    )
    return Preset(recipe.replace(**changes), source)


def _tuned(share: float) -> tuple[Stage, ...]:
    return (_STAGE1, Stage("stage2", epochs=15, learning_rate=1e-5, trainable=share))


_ONE_STAGE = (
    "Whether it had a second stage is not stated: the head alone is trained, so that 2a and 2b differ from 1a by "
    "their second stage.",
)
_SPAN = Claim("AUROC", 0.6641, f"{_PART} (the range of all four experiments)", 0.6736)

UDACITY: tuple[Preset, ...] = (
    _pneumonia("udacity-1a", "ImageNet weights and normalisation", _SPAN, chosen=_ONE_STAGE),
    _pneumonia(
        "udacity-1b",
        "aggressive augmentation",
        _SPAN,
        chosen=(*_ONE_STAGE, "The augmentations are not stated: those of this recipe's augment settings."),
        augment=Augmentation(
            flip=True, rotation_degrees=20.0, shift_fraction=0.1, zoom_fraction=0.15, brightness=0.2, contrast=0.2
        ),
    ),
    _pneumonia(
        "udacity-2a",
        "the top 20 % of the layers tuned",
        Claim("AUROC", 0.6736, _PART),
        stages=_tuned(0.2),
    ),
    _pneumonia(
        "udacity-2b",
        "the top 35 % of the layers tuned",
        Claim("AUROC", 0.6715, _PART),
        stages=_tuned(0.35),
    ),
)
