"""Every preset trains on phantoms: its own head, loss, stages and augmentation, on few and small images.

Here with the smallest backbone, before a release with its own. The demo trains DenseNet121 every time (test_demo).
"""

import dataclasses
import json

import keras
import pytest
import tensorflow as tf

from chexkeras.data.datasets.labels import add_abnormal
from chexkeras.data.datasets.nih import load_nih
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.findings import ABNORMAL
from chexkeras.phantoms import make_phantoms
from chexkeras.recipes import presets
from chexkeras.recipes.recipe import Recipe, ThresholdRule
from chexkeras.runs.run import Run
from tests.models.weights.torch_files import TorchFile, random_densenet

pytestmark = [pytest.mark.keras, pytest.mark.slow]

FINDING = "Cardiomegaly"
"""In NIH's and in CheXpert's vocabulary, and frequent enough among the images."""

NAMES = [name for name in presets.names() if presets.preset(name).head != "three_way"]
"""A third class needs other labels: test_second_pass trains it."""

TRAINED_ELSEWHERE = {"demo", "quick"}
"""With their own backbone, by the demo and by the notebooks."""


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    root = make_phantoms(
        tmp_path_factory.mktemp("presets") / "images", images=40, size=64, dicom=False, prevalence={FINDING: 0.45}
    )
    return split_by_patient(add_abnormal(load_nih(root)), (FINDING, ABNORMAL), validation=0.25, test=0.25)


@pytest.fixture(autouse=True)
def eager(run_eagerly):
    """Tracing takes far longer than these few steps."""


def tiny(recipe, backbone="SmallCNN", epochs=1):
    """Returns the recipe for few, small images: everything but what is named here is the preset's own."""
    targets = tuple(name for name in (FINDING, ABNORMAL) if name == FINDING or name in recipe.targets)
    weights = tuple((name, weight) for name, weight in recipe.loss.target_weights if name in targets)
    return recipe.replace(
        targets=targets,
        backbone=backbone,
        image_size=32,
        weights=None,
        # The 20 training images at once, but for those who gather gradients over four steps.
        batch_size=10 if any(stage.accumulate > 1 for stage in recipe.stages) else 20,
        precision="float32",
        loss=recipe.loss.replace(target_weights=weights),
        stages=tuple(
            # A warm-up takes an epoch, gathered gradients four steps: two epochs for those.
            dataclasses.replace(
                stage,
                epochs=max(epochs, 2 if stage.accumulate > 1 or stage.schedule == "warmup_cosine" else 1),
                patience=None,
            )
            for stage in recipe.stages
        ),
        up_sample={FINDING: max(factor for _, factor in recipe.up_sample)} if recipe.up_sample else (),
        operating_point=ThresholdRule("youden", None),
    )


def trains(recipe, splits, folder):
    from chexkeras.training.trainer import train

    # ConvNeXt's grouped convolutions have no gradient on a CPU but in a graph.
    tf.config.run_functions_eagerly(not recipe.backbone.startswith("ConvNeXt"))
    run = train(recipe, splits, folder)
    assert Recipe.from_dict(json.loads((run.folder / "recipe.json").read_text())) == recipe
    assert list(run.history["stage"]) == [stage.name for stage in recipe.stages for _ in range(stage.epochs)]
    assert run.history["loss"].notna().all()
    assert set(run.scores("test")["finding"]) == set(recipe.targets)
    for done, stage in zip(run.stages, recipe.stages, strict=True):
        assert (done["backbone_layers_trainable"] == 0) == (stage.trainable == 0.0)
        assert (done["backbone_layers_trainable"] == done["backbone_layers"]) == (stage.trainable == 1.0)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TRAINED_ELSEWHERE])
def test_a_preset_trains_an_epoch_a_stage(name, splits, tmp_path):
    trains(tiny(presets.preset(name)), splits, tmp_path / "run")


@pytest.mark.release
@pytest.mark.parametrize("name", NAMES)
def test_a_preset_trains_two_epochs_a_stage_of_its_own_backbone(name, splits, tmp_path):
    recipe = presets.preset(name)
    trains(tiny(recipe, recipe.backbone, 2), splits, tmp_path / "run")


def weights_like_those_published(recipe, folder):
    """A file of random weights in the format that the preset's source publishes."""
    if recipe.weights == "xrv-pc":
        file = TorchFile(legacy=True)
        content = file.module("torchxrayvision.models DenseNet", random_densenet(channels=1))
        return str(file.save(folder / "theirs.pt", content))
    keras.utils.set_random_seed(5)
    # The preset's Base has 350 MB; Tiny is built alike.
    base = keras.applications.ConvNeXtTiny(include_top=False, weights=None, input_shape=(32, 32, 3))
    base.save_weights(folder / "theirs.weights.h5")
    return str(folder / "theirs.weights.h5")


@pytest.mark.parametrize("name", ["xrv-frozen", "xrv-finetune", "convnext-512"])
def test_a_preset_for_large_weights_trains_from_their_file(name, splits, tmp_path):
    recipe = presets.preset(name)
    backbone = "ConvNeXtTiny" if recipe.backbone.startswith("ConvNeXt") else recipe.backbone
    small = tiny(recipe, backbone).replace(
        weights=recipe.weights, weights_file=weights_like_those_published(recipe, tmp_path)
    )
    trains(small, splits, tmp_path / "run")
    run = Run.load(tmp_path / "run")
    assert run.provenance["weights"]["file"].startswith("theirs")
    for done, stage in zip(run.stages, recipe.stages, strict=True):
        assert ("learning_rate_factors" in done) == (stage.layer_decay is not None)
    factors = [done["learning_rate_factors"] for done in run.stages if "learning_rate_factors" in done]
    for each in factors:
        assert list(each.values()) == sorted(each.values()) and 0 < min(each.values()) < max(each.values()) < 1
    assert bool(factors) == (name != "xrv-frozen")
    assert recipe.gradient_checkpointing == (name == "convnext-512")
