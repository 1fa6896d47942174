"""A run that starts from weights which have seen its images says so, wherever its numbers are shown."""

from dataclasses import replace

import pytest

from chexkeras.data.image_table import source_of
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.plots.cautions import kinds
from chexkeras.training import finish
from tests.models.weights.torch_files import TorchFile, random_densenet

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    file = TorchFile(legacy=True)
    content = file.module("torchxrayvision.models DenseNet", random_densenet(channels=1))
    return str(file.save(tmp_path_factory.mktemp("weights") / "theirs.pt", content))


def splits_of(toy, dataset):
    table = toy.copy()
    table.attrs["source"] = replace(source_of(toy), dataset=dataset, synthetic=False, cautions=())
    return split_by_patient(table, "Effusion", validation=0.25, test=0.25)


@pytest.mark.parametrize(
    ("weights", "dataset", "part", "kind"),
    [
        ("xrv-nih", "NIH ChestX-ray14", "test", "weights that saw the images"),
        ("xrv-pc", "NIH ChestX-ray14", None, None),
        (None, "NIH ChestX-ray14", "unknown", "weights of unknown training"),
    ],
)
def test_the_run_says_what_its_weights_have_seen(toy, toy_recipe, weights_file, weights, dataset, part, kind):
    named = {"weights": weights, "weights_file": weights_file} if weights else {"weights": weights_file}
    recipe = toy_recipe.replace(backbone="DenseNet121", **named)
    splits = splits_of(toy, dataset)
    shown = finish.all_cautions(recipe, splits, ())
    assert kinds(shown) == (((kind,) if kind else ()), 0)
    record = finish._weights_with_overlap(recipe, splits)
    assert record.get("seen_here") == part
    assert record["layout"] == "PyTorch"
    assert record["normalisation"] == "signed_1024"
    assert len(record["sha256"]) == 64
    assert "folded into the variance" in record["conversion"]


def test_images_that_no_weights_have_seen_need_no_caution(toy, toy_recipe, toy_splits, weights_file):
    recipe = toy_recipe.replace(backbone="DenseNet121", weights="xrv-nih", weights_file=weights_file)
    assert finish.weights_overlap(recipe, toy_splits) is None


def test_a_recipe_of_named_weights_without_their_file_is_refused_before_training(toy_recipe, toy_splits, tmp_path):
    from chexkeras.training.trainer import train

    recipe = toy_recipe.replace(backbone="DenseNet121", weights="xrv-nih")
    with pytest.raises(ValueError, match="need their file"):
        train(recipe, toy_splits, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
