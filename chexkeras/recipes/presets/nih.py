"""Further reference systems trained on NIH ChestX-ray14."""

from chexkeras.data.augmentation import Augmentation
from chexkeras.findings import NIH14
from chexkeras.recipes.presets.source import UNWEIGHTED, Claim, Preset, Source, all_layers, in_order
from chexkeras.recipes.recipe import Recipe, Stage

_CHEXNET = in_order(
    NIH14, 0.8094, 0.9248, 0.8638, 0.7345, 0.8676, 0.7802, 0.7680, 0.8887, 0.7901, 0.8878, 0.9371, 0.8047,
    0.8062, 0.9164,
)  # fmt: skip
_CHEXNET_SGD = in_order(
    NIH14, 0.8180, 0.9090, 0.8827, 0.7156, 0.8377, 0.7756, 0.7617, 0.8776, 0.8002, 0.8945, 0.9316, 0.8251,
    0.7889, 0.9175,
)  # fmt: skip

NIH: tuple[Preset, ...] = (
    Preset(
        Recipe(
            name="kufel-effnet",
            targets=NIH14,
            image_size=240,
            backbone="EfficientNetB1",
            head="dense_bn",
            loss=UNWEIGHTED,
            stages=(
                Stage("stage1", epochs=20, learning_rate=1e-4, trainable=1.0, patience=5, schedule="reduce_on_plateau"),
            ),
            augment=Augmentation(flip=True, flip_probability=0.3, rotation_degrees=5.0, brightness=0.2),
            monitor="val_loss",
        ),
        Source(
            system="EfficientNet with a Dense and BatchNorm head; experimental, as little of it is known.",
            where=(
                "abstract of Kufel et al., Journal of Personalized Medicine 2023 (EfficientNet, GAP, Dense, BatchNorm, "
                "cross-entropy); a secondary source for size B1, augmentation, Adam 1e-4 and ReduceLROnPlateau"
            ),
            data="NIH ChestX-ray14, 14 findings.",
            split=None,
            protocol='A "custom split" that is not described.',
            claims=(Claim("mean AUROC", 0.8428, "a test part of the custom split"),),
            chosen=(
                "image_size is not stated: 240, what EfficientNetB1 was made for.",
                "batch_size and epochs are not stated: 32, and 20 with a patience of 5.",
                "What is trained is not stated: all layers, BatchNorm of the backbone held.",
                "The width of the Dense layer is not stated: 512.",
                "What the plateau is measured on, its factor and patience are not stated: validation loss, 0.1 and 2.",
            ),
        ),
    ),
    Preset(
        Recipe(
            name="chexnet",
            targets=NIH14,
            head="linear",
            loss=UNWEIGHTED,
            stages=(all_layers("stage1", 20, 1e-3, patience=4, schedule="reduce_on_plateau", reduce_patience=1),),
            batch_size=16,
            augment=Augmentation(flip=True),
            monitor="val_loss",
        ),
        Source(
            system="CheXNet: DenseNet121 for all 14 findings at once.",
            where="Rajpurkar et al., arXiv:1711.05225, 2017",
            data="NIH ChestX-ray14, 14 findings.",
            split="patient",
            protocol=(
                "An own random split into 70 % training, 10 % validation and 20 % test without common patients; it was "
                "not published. The official test list is harder: results there are 0.015 to 0.03 lower."
            ),
            validation=0.1,
            test=0.2,
            claims=(
                Claim(
                    "mean AUROC",
                    0.8414,
                    "20 % of the images, own random split",
                    by_finding=_CHEXNET,
                ),
            ),
            chosen=("Epochs are not stated: at most 20, with a patience of 4.",),
        ),
    ),
    Preset(
        Recipe(
            name="chexnet-sgd",
            targets=NIH14,
            head="linear",
            loss=UNWEIGHTED,
            stages=(
                all_layers(
                    "stage1",
                    100,
                    0.01,
                    patience=3,
                    optimizer="sgd",
                    weight_decay=1e-4,
                    schedule="reduce_on_plateau",
                    reduce_patience=1,
                ),
            ),
            batch_size=16,
            augment=Augmentation(flip=True),
            monitor="val_loss",
        ),
        Source(
            system="The public reproduction of CheXNet, with SGD instead of Adam.",
            where="repository jrzech/reproduce-chexnet, model.py, retrain.py and README",
            data="NIH ChestX-ray14, 14 findings.",
            split="patient",
            protocol="An own split into 70 % training, 10 % validation and 20 % test that comes with the repository.",
            validation=0.1,
            test=0.2,
            claims=(
                Claim(
                    "mean AUROC",
                    0.8383,
                    "its own 20 % test part",
                    by_finding=_CHEXNET_SGD,
                ),
            ),
            differs=("Weight decay is apart from the gradient here; there it passes through the momentum.",),
        ),
    ),
    Preset(
        Recipe(
            name="xrv-densenet",
            targets=NIH14,
            weights=None,
            head="linear",
            loss=UNWEIGHTED,
            stages=(all_layers("stage1", 160, 1e-3, optimizer="adamw", weight_decay=1e-5),),
            batch_size=64,
            augment=Augmentation(rotation_degrees=45.0, shift_fraction=0.15, zoom_fraction=0.15),
        ),
        Source(
            system="torchxrayvision's DenseNet121 of 224 px, its NIH model: trained from scratch on gray images.",
            where="repository mlmed/torchxrayvision, scripts/train_model.py and train_utils.py",
            data="NIH ChestX-ray14, 14 findings.",
            split="patient",
            protocol=(
                "80 % training and 20 % test by patient; the images that picked the best epoch were drawn from the "
                "training part without regard to the patient."
            ),
            test=0.2,
            claims=(Claim("mean AUROC", 0.774, "its own 20 % test part, by patient"),),
            chosen=("The epochs of the released weights are not stated: 160, the script's default for 224 px.",),
            differs=(
                "Validation images are kept apart by patient too; there they share patients with the training part.",
                "Images are normalised with ImageNet's mean and deviation; there they are scaled to -1024..1024.",
                "Weights of the findings, larger for rarer ones, are left out; add them by loss.target_weights.",
                "AMSGrad is left out, and weight decay is apart from the gradient.",
                "BatchNorm starts with statistics of the training images, as every untrained base does here.",
            ),
        ),
    ),
)
