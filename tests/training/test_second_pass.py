"""The third class from CheXpert's label file to a run's scores, and equalisation from the recipe to the model."""

import numpy as np
import pytest

from chexkeras.data.datasets.chexpert import load_chexpert
from chexkeras.data.datasets.labels import uncertain_mask
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.phantoms import make_chexpert_phantoms
from chexkeras.recipes.recipe import Loss, Recipe, Stage, ThresholdRule

pytestmark = pytest.mark.keras

FINDINGS = ("Cardiomegaly", "Edema")


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    root = make_chexpert_phantoms(
        tmp_path_factory.mktemp("chexpert") / "images", images=120, size=64, prevalence=dict.fromkeys(FINDINGS, 0.4)
    )
    table = load_chexpert(root, uncertain="multiclass")
    return split_by_patient(table, FINDINGS, validation=0.25, test=0.25)


@pytest.mark.parametrize("trainable", [0.0, 0.3])
def test_a_run_learns_three_classes_and_scores_two(splits, trainable, tmp_path):
    from chexkeras.training.trainer import train

    recipe = Recipe(
        "three",
        FINDINGS,
        image_size=32,
        backbone="SmallCNN",
        weights=None,
        head="three_way",
        clahe=2.0,
        loss=Loss("three_way", target_weights={"Edema": 2.0}),
        stages=(Stage("stage1", epochs=3, learning_rate=1e-2, trainable=trainable),),
        batch_size=16,
        operating_point=ThresholdRule("youden", None),
    )
    run = train(recipe, splits, tmp_path / "run")
    assert run.provenance["loss"]["target_weights"] == [1.0, 2.0]
    assert run.history["loss"].iloc[-1] < run.history["loss"].iloc[0]
    assert run.load_model().layers[1].name == "preprocess_clahe"
    scores = run.scores("test")
    assert len(scores) == 2 * len(splits.test)
    marked = uncertain_mask(splits.test, FINDINGS)
    for finding in FINDINGS:
        part = scores[scores["finding"] == finding].set_index("image_id").loc[splits.test["image_id"]]
        np.testing.assert_array_equal(part["label"].isna().to_numpy(), marked[finding].to_numpy())
    assert uncertain_mask(splits.train, FINDINGS).to_numpy().any(), "the images could not show it"


def test_without_uncertain_labels_the_third_class_is_refused_before_training(toy_splits, toy_recipe, tmp_path):
    from chexkeras.training.trainer import train

    recipe = toy_recipe.replace(head="three_way", loss=Loss("three_way"))
    with pytest.raises(ValueError, match="no third class to learn"):
        train(recipe, toy_splits, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["SmallCNN", pytest.param("DenseNet121", marks=pytest.mark.release)])
def test_the_preset_with_a_third_class_trains_two_epochs(splits, tmp_path, run_eagerly, backbone):
    from chexkeras.recipes import presets
    from chexkeras.training.trainer import train
    from tests.training.test_presets_train import tiny

    assert presets.preset("chexpert-multiclass").backbone == "DenseNet121"
    recipe = tiny(presets.preset("chexpert-multiclass"), backbone, 2).replace(batch_size=30)
    run = train(recipe, splits, tmp_path / "run")
    assert list(run.history["stage"]) == ["stage1", "stage1"]
    assert set(run.scores("test")["finding"]) == {"Cardiomegaly"}


def test_a_second_pass_fills_uncertain_training_labels_with_the_scores_of_a_first_run(tmp_path_factory, tmp_path):
    from chexkeras.training.second_pass import check_first_run, fill_uncertain_from
    from chexkeras.training.trainer import train

    root = make_chexpert_phantoms(
        tmp_path_factory.mktemp("second") / "images", images=80, size=64, prevalence={"Edema": 0.5}
    )
    table = load_chexpert(root, uncertain="self_trained")
    recipe = Recipe(
        "first",
        ("Edema",),
        image_size=32,
        backbone="SmallCNN",
        weights=None,
        head="linear",
        stages=(Stage("stage1", epochs=1, learning_rate=1e-2),),
        operating_point=ThresholdRule("youden", None),
    )
    splits = split_by_patient(table, ("Edema",), validation=0.25, test=0.25)
    first = train(recipe, splits, tmp_path / "first")
    filled = fill_uncertain_from(first, table, recipe)
    by_folder = fill_uncertain_from(tmp_path / "first", table, recipe)
    np.testing.assert_array_equal(filled.train["Edema"], by_folder.train["Edema"])
    marked = uncertain_mask(filled.train, ("Edema",))["Edema"].to_numpy()
    assert marked.any()
    assert filled.train["Edema"][marked].between(0, 1, inclusive="neither").all()
    assert filled.fingerprint == splits.fingerprint
    for part in ("validation", "test"):
        np.testing.assert_array_equal(filled.part(part)["Edema"], splits.part(part)["Edema"])
    with pytest.raises(ValueError, match="it needs uncertain='self_trained'") as refused:
        check_first_run(first, load_chexpert(root, uncertain="ones"), recipe)
    assert "--" not in str(refused.value)
    with pytest.raises(ValueError, match=r"learnt Edema, which are not all of the findings to fill \(Cardiomegaly\)"):
        check_first_run(first, table, recipe.replace(targets=("Cardiomegaly",)))
