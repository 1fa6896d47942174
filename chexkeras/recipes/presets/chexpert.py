"""Reference systems trained on CheXpert."""

from chexkeras.data.augmentation import Augmentation
from chexkeras.findings import CHEXPERT5, CHEXPERT14
from chexkeras.recipes.presets.source import UNWEIGHTED, ChexpertReading, Claim, Preset, Source, all_layers, in_order
from chexkeras.recipes.recipe import Loss, Recipe, Stage, ThresholdRule

_ALL_AS_PRESENT = ChexpertReading(views="all", uncertain="ones")
_TEAM20_ON = "CheXpert images, five findings; the evaluation split is not stated"


def _team20(name: str, what: str, stages: tuple[Stage, ...], claim: Claim, **changes: object) -> Preset:
    pytorch = name == "team20-full"
    recipe = Recipe(name=name, targets=CHEXPERT5, head="linear", loss=UNWEIGHTED, stages=stages)
    return Preset(
        recipe.replace(**changes),
        Source(
            system=f"Team20's course project on CheXpert: {what}.",
            where="the project's report",
            data="CheXpert, frontal and lateral images, uncertain labels taken as present.",
            split=None,
            reading=_ALL_AS_PRESENT,
            protocol=(
                "Trained on 6,981 batches of 32, about all of CheXpert's training images; which images it was measured "
                "on, and how these were kept apart, is not stated."
            ),
            claims=(claim,),
            chosen=(
                "Which findings were trained is not stated: the five that it reports.",
                "Whether BatchNorm was trained is not stated: trained where its layers are, as the frameworks do.",
            ),
            differs=(
                ("Images are scaled to the model's size as a whole; there their centre was cut out.",)
                if pytorch
                else (
                    "The best epoch is picked by AUROC; there by accuracy.",
                    "Images are normalised as ImageNet's weights expect; there by 1/255 alone.",
                )
            ),
        ),
    )


_HBORHAN_ON = "a random tenth of the images, patients shared with the training part (leaky)"
_HBORHAN_REPEATED = (("No Finding", 4), ("Lung Lesion", 9), ("Pleural Other", 10), ("Fracture", 8))


def _hborhan(
    name: str,
    what: str,
    trainable: float,
    claims: tuple[Claim, ...],
    *,
    further: tuple[str, ...] = (),
    **changes: object,
) -> Preset:
    batchnorm = "trained" if trainable else "held"
    recipe = Recipe(
        name=name,
        targets=CHEXPERT14,
        head="dense_1024",
        loss=UNWEIGHTED,
        stages=(Stage("stage1", epochs=3, learning_rate=1e-4, trainable=trainable, batchnorm=batchnorm),),
        operating_point=ThresholdRule("fixed", 0.5),
    )
    return Preset(
        recipe.replace(**changes),
        Source(
            system=f"hborhan's course project on CheXpert: {what}.",
            where="the project's notebooks",
            data=(
                "CheXpert (small), frontal images of train.csv and valid.csv together, uncertain labels taken as "
                "present."
            ),
            split="image",
            reading=ChexpertReading(uncertain="ones"),
            validation=0.1,
            test=0.1,
            protocol="191,229 images divided at random into 80/10/10 %, without regard to the patient.",
            claims=claims,
            differs=("Images are normalised as ImageNet's weights expect; there by 1/255 alone.", *further),
        ),
    )


_STANFORD_ON = "valid.csv, 200 studies that three radiologists labelled; mean of 30 checkpoints"
_STANFORD_STAGES = (all_layers("stage1", 3, 1e-4),)
_STANFORD_PROTOCOL = "Trained on train.csv, measured on valid.csv, whose patients are in no other part."
_STANFORD_CHOSEN = (
    "Whether BatchNorm was trained is not stated: trained.",
    "Augmentation is not mentioned: none.",
)
_STANFORD_DIFFERS = (
    "The best of three epochs is kept; there the mean of 30 checkpoints was scored. Ensemble averages runs.",
)

CHEXPERT: tuple[Preset, ...] = (
    Preset(
        Recipe(
            name="chexpert-uones",
            targets=CHEXPERT14,
            image_size=320,
            head="linear",
            loss=UNWEIGHTED,
            stages=_STANFORD_STAGES,
            batch_size=16,
        ),
        Source(
            system="CheXpert's own baseline: DenseNet121, uncertain labels taken as present (U-Ones).",
            where="Irvin et al., AAAI 2019 (arXiv:1901.07031)",
            data="CheXpert, frontal and lateral images, uncertain labels taken as present.",
            split="official",
            reading=_ALL_AS_PRESENT,
            protocol=_STANFORD_PROTOCOL,
            claims=(
                Claim(
                    "mean AUROC",
                    0.8928,
                    _STANFORD_ON,
                    by_finding=in_order(CHEXPERT5, 0.858, 0.832, 0.899, 0.941, 0.934),
                ),
            ),
            chosen=_STANFORD_CHOSEN,
            differs=_STANFORD_DIFFERS,
        ),
    ),
    Preset(
        Recipe(
            name="chexpert-multiclass",
            targets=CHEXPERT14,
            image_size=320,
            head="three_way",
            loss=Loss("three_way"),
            stages=_STANFORD_STAGES,
            batch_size=16,
        ),
        Source(
            system="CheXpert's baseline with uncertain as a third class of every finding (U-MultiClass).",
            where="Irvin et al., AAAI 2019 (arXiv:1901.07031)",
            data="CheXpert, frontal and lateral images, uncertain labels as a third class.",
            split="official",
            reading=ChexpertReading(views="all", uncertain="multiclass"),
            protocol=_STANFORD_PROTOCOL,
            chosen=_STANFORD_CHOSEN,
            differs=_STANFORD_DIFFERS,
        ),
    ),
    Preset(
        Recipe(
            name="libauc-chexpert",
            targets=CHEXPERT5,
            head="linear",
            loss=Loss("auc_margin"),
            stages=tuple(
                all_layers(name, 1, learning_rate, optimizer="sgd", weight_decay=1e-5)
                for name, learning_rate in (("stage1", 0.1), ("stage2", 0.01))
            ),
            augment=Augmentation(rotation_degrees=15.0, shift_fraction=0.05, zoom_fraction=0.05),
        ),
        Source(
            system="LibAUC's example: five findings at once by the AUC margin loss.",
            where=(
                "repository Optimization-AI/LibAUC, examples/scripts/07_optimizing_multi_label_auroc_loss_with_"
                "densenet121_on_chexpert.py and libauc/datasets/chexpert.py; Yuan et al., ICCV 2021"
            ),
            data=(
                "CheXpert (small), frontal images, uncertain labels taken as present for Edema and Atelectasis, as "
                "absent for the other three findings."
            ),
            split="official",
            reading=ChexpertReading(uncertain=in_order(CHEXPERT5, "ones", "zeros", "zeros", "ones", "zeros")),
            protocol="Trained on train.csv; valid.csv both picked the best weights and measured them.",
            claims=(
                Claim("mean AUROC", 0.9054, "valid.csv, by a user, with one DenseNet121 for each finding (issue 33)"),
            ),
            differs=(
                "SGD with momentum takes the place of PESG, whose further variables have a closed form here; its "
                "regularisation towards an earlier model (gamma 500) is left out.",
                "A rare finding is not weighed by p (1 - p); see models.losses.AucMarginLoss.",
                "Weights are judged after each epoch on images of train.csv; there every 400 steps on valid.csv.",
            ),
        ),
    ),
    _team20(
        "team20-full",
        "all layers of DenseNet121, in PyTorch",
        (all_layers("stage1", 5, 2e-4),),
        Claim("mean AUROC", 0.8636, _TEAM20_ON),
        augment=Augmentation(flip=True),
        monitor="val_loss",
    ),
    _team20(
        "team20-frozen",
        "the head alone, in Keras",
        (Stage("stage1", epochs=3, learning_rate=2e-4, trainable=0.0),),
        Claim("mean AUROC", 0.711, _TEAM20_ON),
    ),
    _team20(
        "team20-finetune",
        "the head, then all layers, in Keras",
        (Stage("stage1", epochs=3, learning_rate=2e-4, trainable=0.0), all_layers("stage2", 3, 2e-4)),
        Claim("mean AUROC", 0.864, _TEAM20_ON, by_finding=in_order(CHEXPERT5, 0.788, 0.831, 0.857, 0.911, 0.933)),
    ),
    _hborhan(
        "hborhan-r1",
        "the head alone",
        0.0,
        (Claim("accuracy", 0.807, _HBORHAN_ON), Claim("macro F1", 0.18, _HBORHAN_ON)),
    ),
    _hborhan(
        "hborhan-r2",
        "all layers",
        1.0,
        (Claim("accuracy", 0.853, _HBORHAN_ON), Claim("macro F1", 0.34, _HBORHAN_ON)),
    ),
    _hborhan(
        "hborhan-r3",
        "all layers, images of rare findings repeated",
        1.0,
        (
            Claim("accuracy", 0.921, "images drawn after up-sampling, most of them in the training part too (leaky)"),
            Claim("macro F1", 0.83, "images drawn after up-sampling, most of them in the training part too (leaky)"),
            Claim("accuracy", 0.877, 'its "original" images, most of them in the training part (leaky)'),
            Claim("macro F1", 0.67, 'its "original" images, most of them in the training part (leaky)'),
        ),
        further=(
            "Images are repeated after splitting, in the training part alone; there before, so that copies "
            "of one image were in all parts.",
            "There the positive images of a finding were repeated as up_sample says, those of the other findings taken "
            "once, and those of Lung Opacity, Pleural Effusion and Support Devices were left out of it: 497,398 rows. "
            "Here every training image is shown, one with several of the four findings as often as the "
            "largest of their factors says.",
        ),
        up_sample=_HBORHAN_REPEATED,
    ),
    _hborhan(
        "hborhan-vgg16",
        "VGG16 instead of DenseNet121",
        1.0,
        (),
        further=("No result is quoted: the notebook prints the very test loss of another run.",),
        backbone="VGG16",
    ),
    _hborhan(
        "hborhan-resnet50",
        "ResNet50 instead of DenseNet121",
        1.0,
        (),
        backbone="ResNet50",
    ),
)
