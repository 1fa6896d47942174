import errno
import os
import shutil
import sys

import keras
import numpy as np
import pytest

from chexkeras.data.augmentation import Augmentation, augment, flips, image_seed
from chexkeras.data.pipeline import images_with_ids
from chexkeras.models.classifier import build_classifier
from chexkeras.recipes.recipe import Stage
from chexkeras.training.frozen.augmented_copies import AugmentedCopies
from chexkeras.training.frozen.plan import check_draws, plan_features
from chexkeras.training.loop import fit_stages
from chexkeras.training.trainer import build_loss

FEATURE_STORE = "chexkeras.training.frozen.feature_store"

pytestmark = pytest.mark.keras


def classifier(recipe):
    keras.utils.set_random_seed(recipe.seed)
    return build_classifier(
        recipe.targets, backbone=recipe.backbone, weights=None, image_size=recipe.image_size, precision="float32"
    )


def fitted(recipe, splits, folder, features):
    model = classifier(recipe)
    plan = plan_features(model, recipe, splits.train, splits.validation, folder, features)
    assert (plan is None) == (features == "off")
    if plan is not None:
        plan.fill(recipe.batch_size)
    result = fit_stages(model, recipe, build_loss(recipe, splits.train), splits.train, splits.validation, plan)
    return model, result


def relative_differences(one, two):
    for left, right in zip(one.weights, two.weights, strict=True):
        left, right = keras.ops.convert_to_numpy(left), keras.ops.convert_to_numpy(right)
        yield left.size and np.linalg.norm(left - right) / max(np.linalg.norm(left), 1e-12)


@pytest.mark.parametrize(
    ("flip", "balanced"), [pytest.param(False, (), marks=pytest.mark.release), (True, ()), (True, "Effusion")]
)
def test_stored_features_train_to_the_same_weights_as_reading_the_images_anew(
    tmp_path, toy_recipe, toy_splits, flip, balanced
):
    recipe = toy_recipe.replace(augment=Augmentation(flip=flip), balanced_batches=balanced)
    ordinary, history = fitted(recipe, toy_splits, tmp_path / "a", "off")
    stored, stored_history = fitted(recipe, toy_splits, tmp_path / "b", "float32")
    assert max(relative_differences(ordinary, stored)) <= 1e-4
    for one, two in zip(history.history, stored_history.history, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-4)
        assert one["val_auroc"] == pytest.approx(two["val_auroc"], abs=1e-3)


@pytest.mark.slow
@pytest.mark.release
def test_densenet121_trains_to_the_same_weights_and_scores_on_stored_features(tmp_path, toy_recipe, toy_splits):
    recipe = toy_recipe.replace(
        backbone="DenseNet121",
        image_size=64,
        stages=(Stage("stage1", 3, 1e-3, 0.0), Stage("stage2", 3, 1e-5, 0.2)),
        augment=Augmentation(flip=True),
    )
    ordinary, history = fitted(recipe, toy_splits, tmp_path / "a", "off")
    stored, _ = fitted(recipe, toy_splits, tmp_path / "b", "float32")
    assert history.stages[1]["epochs_run"] == 3
    assert max(relative_differences(ordinary, stored)) <= 1e-4
    images = next(iter(images_with_ids(toy_splits.test, image_size=64)))[0]
    np.testing.assert_allclose(ordinary.predict(images, verbose=0), stored.predict(images, verbose=0), atol=1e-4)


def test_half_precision_features_change_the_validation_auroc_by_less_than_two_thousandths(
    tmp_path, toy_recipe, toy_splits
):
    _, exact = fitted(toy_recipe, toy_splits, tmp_path / "a", "float32")
    _, rounded = fitted(toy_recipe, toy_splits, tmp_path / "b", "float16")
    assert rounded.history[-1]["val_auroc"] == pytest.approx(exact.history[-1]["val_auroc"], abs=2e-3)


def test_flip_draws_are_those_of_the_pipeline():
    image = np.arange(9, dtype=np.float32).reshape(3, 3, 1)
    positions = np.arange(40)
    drawn = flips(7, 3, positions)
    seen = [augment(image, image_seed(7, 3, p), Augmentation(flip=True)).numpy()[0, 0, 0] == 2 for p in positions]
    assert drawn.tolist() == seen
    assert 5 < drawn.sum() < 35


@pytest.fixture
def plan(tmp_path, toy_recipe, toy_splits):
    return plan_features(classifier(toy_recipe), toy_recipe, toy_splits.train, toy_splits.validation, tmp_path / "s")


def test_one_pass_fills_both_crossing_tensors(plan, toy_splits):
    plan.fill(16)
    assert plan.layers == {"stage1": "head_pool", "stage2": "block3_pool"}
    pooled = plan.train.features("head_pool")
    assert pooled.shape == (len(toy_splits.train), 1, 64)
    assert pooled.dtype == np.float16
    assert plan.train.features("block3_pool").shape[2:] == (4, 4, 64)


def test_a_complete_store_is_not_computed_again(plan, monkeypatch):
    plan.fill(16)
    monkeypatch.setattr(f"{FEATURE_STORE}.images_with_ids", lambda *_, **__: pytest.fail("read the images"))
    plan.fill(16)


def test_a_store_is_taken_up_again_by_a_model_built_anew_in_the_same_session(
    plan, tmp_path, toy_recipe, toy_splits, monkeypatch
):
    plan.fill(16)
    monkeypatch.setattr(f"{FEATURE_STORE}.images_with_ids", lambda *_, **__: pytest.fail("read the images"))
    plan_features(classifier(toy_recipe), toy_recipe, toy_splits.train, toy_splits.validation, tmp_path / "s").fill(16)


def test_the_key_tells_other_images_views_sizes_and_weights(plan, toy_splits, tmp_path):
    import dataclasses
    import shutil

    spec, table = plan.train.spec, toy_splits.train.head(2)
    keys = {spec.key(table), spec.key(table.iloc[::-1]), spec.key(table.head(1))}
    keys |= {dataclasses.replace(spec, copies=AugmentedCopies(Augmentation(flip=True))).key(table)}
    keys |= {dataclasses.replace(spec, dtype="float32").key(table)}
    image = tmp_path / "image.png"
    shutil.copy(table["path"].iloc[0], image)
    moved = table.assign(path=[str(image), table["path"].iloc[1]])
    keys |= {spec.key(moved)}
    image.write_bytes(image.read_bytes() + b"0")
    keys |= {spec.key(moved)}
    kernel = spec.model.get_layer("block1_conv").kernel
    kernel.assign(kernel * 1.0001)
    keys |= {spec.key(table)}
    assert len(keys) == 8


def test_a_filling_that_was_interrupted_goes_on_to_the_same_bytes(plan, monkeypatch):
    plan.fill(16)
    expected = {path.name: path.read_bytes() for path in plan.train.folder.glob("*.npy")}
    (plan.train.folder / "manifest.json").unlink()
    monkeypatch.setattr("chexkeras.training.frozen.feature_store._SAVE_EVERY", 1)
    import chexkeras.training.frozen.feature_store as module

    real, calls = module.predict_padded, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "predict_padded", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plan.train.fill(16)
    monkeypatch.setattr(module, "predict_padded", real)
    plan.train.fill(16)
    assert {path.name: path.read_bytes() for path in plan.train.folder.glob("*.npy")} == expected


@pytest.mark.parametrize("damage", ["weights", "truncated", "manifest"])
def test_a_stale_truncated_or_foreign_store_is_computed_anew(plan, tmp_path, toy_recipe, toy_splits, damage, capsys):
    plan.fill(16)
    good = plan.train.features("head_pool").copy()
    recipe = toy_recipe
    if damage == "weights":
        recipe = toy_recipe.replace(seed=5)
    elif damage == "truncated":
        path = plan.train.folder / "head_pool.npy"
        path.write_bytes(path.read_bytes()[:200])
    else:
        (plan.train.folder / "manifest.json").write_text("{")
    again = plan_features(classifier(recipe), recipe, toy_splits.train, toy_splits.validation, tmp_path / "s")
    again.fill(16)
    same = np.array_equal(again.train.features("head_pool"), good)
    assert same == (damage != "weights")
    if damage != "manifest":
        assert "computed again" in capsys.readouterr().err


def test_random_augmentation_and_a_full_disk_fall_back_and_say_why(
    tmp_path, toy_recipe, toy_splits, capsys, monkeypatch
):
    rotated = toy_recipe.replace(augment=Augmentation(rotation_degrees=5.0))
    arguments = (toy_splits.train, toy_splits.validation, tmp_path)
    assert plan_features(classifier(rotated), rotated, *arguments) is None
    assert "no two epochs show the same image" in capsys.readouterr().err
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    assert plan_features(classifier(toy_recipe), toy_recipe, *arguments) is None
    assert "more than half" in capsys.readouterr().err


def test_a_frozen_part_that_is_little_work_is_not_stored(tmp_path, toy_recipe, toy_splits):
    recipe = toy_recipe.replace(stages=(Stage("deep", 5, 1e-3, "block2_conv"),))
    assert plan_features(classifier(recipe), recipe, toy_splits.train, toy_splits.validation, tmp_path) is None


def test_stored_draws_are_shown_in_turn_and_are_those_of_the_pipeline(tmp_path, toy_recipe, toy_splits, capsys):
    changes = Augmentation(flip=True, rotation_degrees=10.0)
    recipe = toy_recipe.replace(augment=changes)
    model, arguments = classifier(recipe), (recipe, toy_splits.train, toy_splits.validation, tmp_path)
    plan = plan_features(model, *arguments, "float32", draws=3)
    assert plan.to_dict()["views"] == "3 draws of the random changes"
    assert not plan.to_dict()["exact"]
    plan.fill(16)
    assert "3 passes over the training images" in capsys.readouterr().err
    images = next(iter(images_with_ids(toy_splits.train.head(4), image_size=recipe.image_size)))[0]
    drawn = np.stack([augment(image, image_seed(recipe.seed, 2, row), changes) for row, image in enumerate(images)])
    expected = plan.train.spec.model.predict(drawn, verbose=0)[0]
    np.testing.assert_allclose(plan.train.features("head_pool")[:4, 2], expected, rtol=1e-4, atol=1e-5)
    shown = [plan.train.spec.copies.in_epoch(epoch, np.arange(200)) for epoch in (1, 1, 2)]
    assert shown[0].tolist() == shown[1].tolist() != shown[2].tolist()
    assert set(shown[0]) == {0, 1, 2}
    assert plan.validation.features("head_pool").shape[1] == 1


@pytest.mark.parametrize(
    ("augmentation", "features", "draws", "message"),
    [
        (Augmentation(rotation_degrees=5.0), "off", 4, "forbids it"),
        (Augmentation(flip=True), "auto", 4, "stored anyway"),
        (Augmentation(rotation_degrees=5.0), "auto", 0, "draws"),
    ],
)
def test_draws_that_make_no_sense_are_refused_before_anything_is_computed(
    toy_recipe, augmentation, features, draws, message
):
    with pytest.raises(ValueError, match=message):
        check_draws(toy_recipe.replace(augment=augmentation), features, draws)


def test_a_stage_whose_frozen_part_was_trained_before_reads_images_anew(tmp_path, toy_recipe, toy_splits):
    stages = (Stage("deep", 2, 1e-3, "block3_conv"), Stage("shallow", 2, 1e-3, 0.0))
    recipe = toy_recipe.replace(stages=stages)
    plan = plan_features(classifier(recipe), recipe, toy_splits.train, toy_splits.validation, tmp_path)
    assert plan.layers == {"deep": "block2_pool"}


def test_features_too_large_for_float16_are_stored_in_float32_when_that_was_left_open(
    tmp_path, toy_recipe, toy_splits, capsys
):
    model = classifier(toy_recipe)
    model.get_layer("block4_bn").gamma.assign(np.full(64, 1e7))
    arguments = (model, toy_recipe, toy_splits.train, toy_splits.validation, tmp_path / "s")
    plan = plan_features(*arguments)
    plan.fill(16)
    assert plan.train.features("head_pool").dtype == np.float32
    said = capsys.readouterr().err
    assert "float32 instead" in said
    assert "belongs to other images" not in said
    with pytest.raises(ValueError, match="too large for float16"):
        plan_features(*arguments, "float16").fill(16)


def test_the_disk_space_of_both_stores_is_taken_before_a_image_is_read(plan, monkeypatch):
    def look(*_, **__):
        for store in (plan.validation, plan.train):
            for path in store.folder.glob("*.npy"):
                taken.append(512 * path.stat().st_blocks >= path.stat().st_size)
        raise KeyboardInterrupt

    if not hasattr(os, "posix_fallocate"):
        pytest.skip(f"{sys.platform} cannot take disk space")
    taken = []
    monkeypatch.setattr("chexkeras.training.frozen.feature_store.images_with_ids", look)
    with pytest.raises(KeyboardInterrupt):
        plan.fill(16)
    assert taken == [True] * 4


def full_disk(monkeypatch, *, room_for):
    """Makes the disk full once so many files have got their space."""
    asked = []

    def fallocate(*_):
        asked.append(1)
        if len(asked) > room_for:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fallocate, raising=False)


@pytest.mark.parametrize("room_for", [0, 1, 3])
def test_a_full_disk_is_one_message_before_anything_is_computed_and_leaves_nothing_behind(plan, monkeypatch, room_for):
    full_disk(monkeypatch, room_for=room_for)
    monkeypatch.setattr(f"{FEATURE_STORE}.images_with_ids", lambda *_, **__: pytest.fail("read the images"))
    store = plan.validation if room_for < 2 else plan.train
    needed = f"{store.spec.bytes_per_image() * len(store.table):,} bytes in '{store.folder}'"
    with pytest.raises(OSError, match=rf"stored features need {needed}, but [0-9,]+ bytes are free.* --features off"):
        plan.fill(16)
    assert not plan.validation.folder.exists()
    assert not plan.train.folder.exists()


def test_a_full_disk_costs_no_store_that_is_begun_or_that_another_could_not_replace(plan, monkeypatch):
    plan.fill(16)
    manifest = plan.train.folder / "manifest.json"
    begun = manifest.read_text().replace(f'"films_done": {len(plan.train.table)}', '"films_done": 16')
    manifest.write_text(begun)
    before = {path.name: path.read_bytes() for path in plan.train.folder.iterdir()}
    full_disk(monkeypatch, room_for=0)
    with pytest.raises(OSError, match="stored features need"):
        plan.fill(16)
    assert {path.name: path.read_bytes() for path in plan.train.folder.iterdir()} == before
    manifest.write_text(begun.replace('"key": "', '"key": "another'))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": -(10**12)})())
    with pytest.raises(OSError, match="stored features need"):
        plan.fill(16)
    assert (plan.train.folder / "head_pool.npy").read_bytes() == before["head_pool.npy"]


def test_a_disk_that_cannot_reserve_space_is_used_all_the_same(plan, monkeypatch):
    def fallocate(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", fallocate, raising=False)
    plan.fill(16)
    assert np.abs(plan.train.features("head_pool")).max() > 0


def test_images_keep_their_key_however_their_folder_is_written(plan, toy_splits, tmp_path, monkeypatch):
    spec, table = plan.train.spec, toy_splits.train.head(3)
    folder = os.path.dirname(table["path"].iloc[0])
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    keys = {spec.key(table)}
    for written in (os.path.relpath(folder), "link", os.path.join(folder, "..", os.path.basename(folder))):
        keys.add(spec.key(table.assign(path=[os.path.join(written, name) for name in table["image_id"]])))
    assert len(keys) == 1
