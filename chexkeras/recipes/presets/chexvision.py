"""CheXVision: 14 findings of NIH ChestX-ray14 and a second task, normal against abnormal."""

from typing import Any

from chexkeras.data.augmentation import Augmentation
from chexkeras.findings import ABNORMAL, NIH14
from chexkeras.recipes.presets.source import Claim, Preset, Source, all_layers, in_order
from chexkeras.recipes.recipe import Loss, Recipe, Stage

_WHERE = "repository arudaev/chexvision, its code as executed, and the model card {}"
_AUGMENT = Augmentation(
    flip=True,
    rotation_degrees=15.0,
    shift_fraction=0.05,
    shear_degrees=5.0,
    brightness=0.3,
    contrast=0.3,
    blur_probability=0.2,
    blur_kernel_px=5,
    erase_probability=0.1,
    erase_area=(0.02, 0.08),
)
# The source adds half the binary loss to the mean over 14 findings; a mean over 15 targets keeps that with weight 7.
_LOSS = Loss(class_weights="capped", cap=None, label_smoothing=0.1, target_weights=((ABNORMAL, 7.0),))
_ALL = all_layers(
    "stage2",
    55,
    1e-4,
    patience=15,
    optimizer="adamw",
    weight_decay=1e-4,
    schedule="cosine",
    clip_norm=1.0,
    accumulate=4,
)
_RECIPE = Recipe(
    name="chexvision-densenet",
    targets=(*NIH14, ABNORMAL),
    image_size=320,
    head="dense_512",
    clahe=2.0,
    loss=_LOSS,
    stages=(
        Stage(
            "stage1",
            epochs=5,
            learning_rate=1e-4,
            trainable=0.0,
            optimizer="adamw",
            weight_decay=1e-4,
            clip_norm=1.0,
            accumulate=4,
        ),
        _ALL,
    ),
    batch_size=24,
    augment=_AUGMENT,
    seed=42,
)
# Validation is one of ten buckets of the official training list; the test list was held out.
_DIVIDED: dict[str, Any] = {"split": "image", "official_test": True, "validation": 0.1}
_SPLIT = (
    "Validation images were picked by a hash of the file name: 77,967 training, 8,557 validation and 25,596 official "
    "test images. 4,571 of the 6,199 validation patients are in the training part too. The test part was never scored."
)
_DIFFERS = (
    "Abnormal gets a positive weight as the findings do; the source leaves it unweighted.",
    "Brightness is added here and multiplied there; saturation means nothing on a gray image.",
    "Precision is left to the machine; the source used float16 on a GPU.",
)
_FINDINGS = in_order(
    NIH14, 0.8334, 0.9010, 0.8873, 0.7133, 0.8756, 0.8084, 0.7397, 0.8705, 0.8063, 0.9255, 0.9107, 0.8085,
    0.8377, 0.9242,
)  # fmt: skip
_PART = "8,557 validation images that share patients with the training part (leaky)"

CHEXVISION: tuple[Preset, ...] = (
    Preset(
        _RECIPE,
        Source(
            system="CheXVision's DenseNet121 for 14 findings and a second task, normal against abnormal.",
            where=_WHERE.format("chexvision-densenet"),
            data="NIH ChestX-ray14 at 320 px, 14 findings, and Abnormal by add_abnormal.",
            protocol=_SPLIT,
            **_DIVIDED,
            claims=(
                Claim(
                    "mean AUROC",
                    0.8459,
                    _PART,
                    by_finding=_FINDINGS,
                ),
                Claim("AUROC of Abnormal", 0.7867, _PART),
            ),
            differs=(
                *_DIFFERS,
                "The frozen backbone's BatchNorm is held; there its statistics move from the first epoch.",
                "The cosine runs over stage 2 alone; there over all 60 epochs.",
            ),
        ),
    ),
    Preset(
        _RECIPE.replace(
            name="chexvision-scratch",
            backbone="SEResNet34",
            weights=None,
            head="dropout",
            stages=(
                all_layers(
                    "stage1",
                    100,
                    1e-3,
                    patience=15,
                    optimizer="adamw",
                    weight_decay=1e-4,
                    schedule="cosine",
                    clip_norm=1.0,
                    accumulate=4,
                ),
            ),
        ),
        Source(
            system="CheXVision's SE-ResNet, trained from scratch, for the same 15 targets.",
            where=_WHERE.format("chexvision-scratch"),
            data="NIH ChestX-ray14 at 320 px, 14 findings, and Abnormal by add_abnormal.",
            protocol=_SPLIT,
            **_DIVIDED,
            claims=(Claim("mean AUROC", 0.8141, _PART),),
            differs=(
                *_DIFFERS,
                "BatchNorm starts with statistics of the training images, as every untrained base does here.",
            ),
        ),
    ),
)
