"""Our own recipes: the main job, its demonstration, and what we would train today."""

from typing import Any

from chexkeras.data.augmentation import Augmentation
from chexkeras.findings import ABNORMAL, NIH14
from chexkeras.recipes.presets.source import UNWEIGHTED, Preset, Source, all_layers
from chexkeras.recipes.recipe import Recipe, Stage

_HERE = "chexkeras itself"
_ON_PHANTOMS: dict[str, Any] = {
    "where": _HERE,
    "data": "Phantoms in NIH's layout (make_phantoms).",
    "split": "patient",
    "protocol": "Split by patient. Synthetic images: no result of this recipe says anything about patients.",
}

_ON_XRV: dict[str, Any] = {
    "where": "chexkeras itself, on weights of torchxrayvision (Cohen et al., MIDL 2022)",
    "data": "NIH ChestX-ray14, one finding. The file of the weights is given as weights_file (--weights-file).",
    "split": "patient",
    "protocol": "Split by patient. It claims nothing: no result of it on all of NIH's images is known.",
}

OWN: tuple[Preset, ...] = (
    Preset(
        Recipe(
            name="two-stage",
            exposure="standardise",
            stages=(
                Stage("stage1", epochs=12, learning_rate=1e-3, trainable=0.0, patience=4),
                Stage("stage2", epochs=12, learning_rate=1e-4, trainable=0.2, patience=4),
            ),
        ),
        Source(
            system="The main job: one finding, head first, then the top fifth of DenseNet121.",
            where=_HERE,
            data="NIH ChestX-ray14, one finding.",
            split="patient",
            protocol="Split by patient, stratified over the finding.",
        ),
    ),
    # Small images and a small network, all of which learns: in minutes it sees more than a thumbnail does. Shifted
    # images, since patients stand anywhere on the plate. Heart size is what a few hundred images can teach.
    Preset(
        Recipe(
            name="demo",
            targets=("Cardiomegaly",),
            image_size=96,
            backbone="SmallCNN",
            weights=None,
            head="linear",
            augment=Augmentation(shift_fraction=0.1),
            stages=(
                Stage("stage1", epochs=30, learning_rate=3e-3, trainable=1.0, batchnorm="trained", schedule="cosine"),
                Stage("stage2", epochs=6, learning_rate=1e-4, trainable=0.2, patience=3),
            ),
        ),
        Source(
            system="The demonstration on synthetic images: a small network that learns from scratch in minutes.",
            **_ON_PHANTOMS,
        ),
    ),
    # The same in a minute, for the notebooks: fewer epochs on smaller images.
    Preset(
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
        Source(
            system="The demonstration in a minute, for the notebooks.",
            **_ON_PHANTOMS,
        ),
    ),
    # No flip: it moves the heart. No class weights: AUROC does not need them and probabilities stay calibrated.
    Preset(
        Recipe(
            name="chexkeras",
            targets=(*NIH14, ABNORMAL),
            image_size=320,
            head="linear",
            exposure="standardise",
            loss=UNWEIGHTED,
            stages=(
                Stage("stage1", epochs=2, learning_rate=1e-3, trainable=0.0),
                all_layers(
                    "stage2",
                    20,
                    1e-4,
                    patience=4,
                    optimizer="adamw",
                    weight_decay=1e-4,
                    schedule="warmup_cosine",
                    clip_norm=1.0,
                    ema=0.999,
                ),
            ),
            augment=Augmentation(
                rotation_degrees=10.0, shift_fraction=0.05, zoom_fraction=0.1, brightness=0.1, contrast=0.1
            ),
        ),
        Source(
            system="What we would train today: all 14 findings and normal or abnormal, on the official split.",
            where=_HERE,
            data="NIH ChestX-ray14, 14 findings, and Abnormal by add_abnormal.",
            split="official",
            protocol=(
                "NIH's official test list; validation by patient from the official training list. It has not been "
                "trained on all of NIH's images yet, so it claims nothing. Published DenseNet121 classifiers reach a "
                "mean AUROC of 0.805 to 0.811 on that test list."
            ),
        ),
    ),
    # PadChest's weights: torchxrayvision's others with as many findings have seen NIH's images.
    Preset(
        Recipe(
            name="xrv-frozen",
            weights="xrv-pc",
            head="linear",
            stages=(Stage("stage1", epochs=20, learning_rate=1e-3, trainable=0.0, patience=4),),
        ),
        Source(
            system="One finding on the frozen features of torchxrayvision's DenseNet121, trained on PadChest",
            chosen=("The weights: xrv-pc have seen no image of NIH ChestX-ray14, CheXpert or MIMIC-CXR.",),
            **_ON_XRV,
        ),
    ),
    Preset(
        Recipe(
            name="xrv-finetune",
            weights="xrv-pc",
            head="linear",
            stages=(
                Stage("stage1", epochs=4, learning_rate=1e-3, trainable=0.0),
                Stage(
                    "stage2",
                    epochs=12,
                    learning_rate=1e-4,
                    trainable=1.0,
                    patience=4,
                    optimizer="adamw",
                    weight_decay=1e-4,
                    schedule="warmup_cosine",
                    clip_norm=1.0,
                    layer_decay=0.75,
                ),
            ),
            augment=Augmentation(rotation_degrees=10.0, shift_fraction=0.05, zoom_fraction=0.1),
        ),
        Source(
            system="The same weights, all of whose layers are then tuned",
            chosen=(
                "The weights: xrv-pc have seen no image of NIH ChestX-ray14, CheXpert or MIMIC-CXR.",
                "BatchNorm is held, so that small batches do not move what the weights know.",
            ),
            **_ON_XRV,
        ),
    ),
    # 8 images a step and four steps a change: 512 px need much memory.
    Preset(
        Recipe(
            name="convnext-512",
            targets=NIH14,
            image_size=512,
            backbone="ConvNeXtBase",
            head="linear",
            loss=UNWEIGHTED,
            batch_size=8,
            gradient_checkpointing=True,
            stages=(
                Stage("stage1", epochs=1, learning_rate=1e-3, trainable=0.0),
                Stage(
                    "stage2",
                    epochs=10,
                    learning_rate=5e-5,
                    trainable=1.0,
                    patience=3,
                    optimizer="adamw",
                    weight_decay=0.05,
                    schedule="warmup_cosine",
                    clip_norm=1.0,
                    accumulate=4,
                    layer_decay=0.7,
                ),
            ),
            augment=Augmentation(rotation_degrees=10.0, shift_fraction=0.05, zoom_fraction=0.1),
        ),
        Source(
            system="ConvNeXt-Base at 512 pixels, for a machine with a large GPU",
            where="chexkeras itself, after arXiv 2510.07191, which on seven data sets found ConvNeXt-B best",
            data="NIH ChestX-ray14, 14 findings.",
            split="official",
            protocol="NIH's official test list. It has not been trained on all of NIH's images, so it claims nothing.",
            chosen=("Stages, learning rates, their fall towards the input, weight decay and augmentation.",),
            differs=("Weights: ImageNet's, as Keras has them; there DINOv3's.",),
        ),
    ),
)
