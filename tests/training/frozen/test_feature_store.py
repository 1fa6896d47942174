import dataclasses
import errno
import os
import shutil
import sys

import keras
import numpy as np
import pandas as pd
import pytest

from chexkeras.data.augmentation import Augmentation, augment, flips, image_seed
from chexkeras.data.pipeline import images_with_ids
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.models.classifier import build_classifier
from chexkeras.models.scoring import predict_scores
from chexkeras.recipes.recipe import Stage
from chexkeras.training.frozen.augmented_copies import AugmentedCopies
from chexkeras.training.frozen.feature_store import image_keys
from chexkeras.training.frozen.plan import check_draws, plan_features
from chexkeras.training.frozen.shelves import Shelves
from chexkeras.training.loop import fit_stages
from chexkeras.training.trainer import build_loss

READING = "chexkeras.data.by_batch"

pytestmark = pytest.mark.keras


def classifier(recipe):
    keras.utils.set_random_seed(recipe.seed)
    return build_classifier(
        recipe.targets, backbone=recipe.backbone, weights=None, image_size=recipe.image_size, precision="float32"
    )


def fitted(recipe, splits, folder, features):
    model = classifier(recipe)
    plan = plan_features(model, recipe, splits.train, splits.validation, Shelves(folder, own=True), features)
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


def planned(recipe, splits, folder, *further, **options):
    """What a training plans on shelves of its own."""
    shelves = options.pop("shelves", None) or Shelves(folder / "s", own=True)
    model = options.pop("model", None) or classifier(recipe)
    return plan_features(model, recipe, splits.train, splits.validation, shelves, *further, **options)


@pytest.fixture
def plan(tmp_path, toy_recipe, toy_splits):
    return planned(toy_recipe, toy_splits, tmp_path)


def unwrapped(capsys):
    """What was said, its lines joined again."""
    return " ".join(capsys.readouterr().err.split())


def every(stored):
    """The features of all images and copies."""
    copies = stored.entries.shape[1]
    return np.stack([stored.take(np.arange(len(stored.entries)), copy) for copy in range(copies)], axis=1)


@pytest.fixture
def unread(monkeypatch):
    """Nothing reads an image from now on."""
    return lambda: monkeypatch.setattr(f"{READING}.images_with_ids", lambda *_, **__: pytest.fail("read the images"))


def test_one_pass_fills_both_crossing_tensors(plan, toy_splits):
    plan.fill(16)
    assert plan.layers == {"stage1": "head_pool", "stage2": "block3_pool"}
    pooled = every(plan.train.features("head_pool"))
    assert pooled.shape == (len(toy_splits.train), 1, 64)
    assert pooled.dtype == np.float16
    assert every(plan.train.features("block3_pool")).shape[2:] == (4, 4, 64)
    images = next(iter(images_with_ids(toy_splits.train.head(8), image_size=32)))[0]
    expected = plan.train.spec.model.predict(images, verbose=0)[0]
    np.testing.assert_allclose(pooled[:8, 0], expected, rtol=2e-3, atol=1e-3)


def test_what_was_not_filled_is_not_read(plan):
    with pytest.raises(ValueError, match="features at head_pool are missing; fill the store first"):
        plan.train.features("head_pool")


def test_a_complete_store_is_not_computed_again(plan, unread):
    plan.fill(16)
    unread()
    plan.fill(16)


def test_a_store_is_taken_up_again_by_a_model_built_anew_in_the_same_session(
    plan, tmp_path, toy_recipe, toy_splits, unread
):
    plan.fill(16)
    unread()
    planned(toy_recipe, toy_splits, tmp_path).fill(16)


def test_another_split_and_another_recipe_on_the_same_frozen_part_compute_what_is_new_alone(
    tmp_path, toy, toy_recipe, toy_splits, monkeypatch
):
    import chexkeras.data.by_batch as module

    shelves = Shelves(tmp_path / "shared")
    planned(toy_recipe, toy_splits, tmp_path, shelves=shelves).fill(16)
    read = []
    real = module.images_with_ids
    monkeypatch.setattr(
        module, "images_with_ids", lambda table, **options: read.append(len(table)) or real(table, **options)
    )
    other = split_by_patient(toy, "Effusion", validation=0.25, test=0.25, seed=5)
    seen = set(pd.concat([toy_splits.train, toy_splits.validation])["image_id"])
    new = [len(set(part["image_id"]) - seen) for part in (other.validation, other.train)]
    assert min(new) > 0
    planned(toy_recipe, other, tmp_path, shelves=shelves).fill(16)
    assert read == new
    faster = tuple(dataclasses.replace(stage, learning_rate=0.1) for stage in toy_recipe.stages)
    planned(toy_recipe.replace(stages=faster, batch_size=8), toy_splits, tmp_path, shelves=shelves).fill(16)
    assert read == new
    mirrored = toy_recipe.replace(augment=Augmentation(flip=True))
    both = planned(mirrored, toy_splits, tmp_path, shelves=shelves)
    both.fill(16)
    assert read == [*new, len(toy_splits.train)]
    first, second = every(both.train.features("block3_pool")).swapaxes(0, 1)
    assert not np.array_equal(first, second)
    plain = planned(toy_recipe, toy_splits, tmp_path, shelves=shelves)
    np.testing.assert_array_equal(first, every(plain.train.features("block3_pool"))[:, 0])


def test_keys_tell_other_images_copies_and_weights_and_not_which_layers_will_be_trained(plan, toy_splits, tmp_path):
    spec, table = plan.train.spec, toy_splits.train.head(2)

    def keys(table, copies=spec.copies):
        return tuple(key for of_copy in image_keys(table, copies) for key in of_copy)

    image = tmp_path / "image.png"
    shutil.copy(table["path"].iloc[0], image)
    moved = table.assign(path=[str(image), table["path"].iloc[1]])
    found = {keys(table), keys(table.iloc[::-1]), keys(moved)}
    image.write_bytes(image.read_bytes() + b"0")
    found |= {keys(moved), keys(table, AugmentedCopies(Augmentation(flip=True)))}
    draws = Augmentation(rotation_degrees=5.0)
    found |= {keys(table, AugmentedCopies(draws, seed, draws=2)) for seed in (0, 1)}
    found |= {keys(table.assign(image_id=["a.png", "b.png"]), AugmentedCopies(draws, 0, draws=2))}
    assert len(found) == 8
    assert keys(table.assign(image_id=["a.png", "b.png"])) == keys(table)
    assert keys(table) == keys(table, AugmentedCopies(Augmentation(flip=True)))[:2]

    def of_weights():
        return dataclasses.replace(spec).keys

    before = of_weights()
    spec.model.get_layer("block4_conv").trainable = True
    assert of_weights() == before
    assert not set(dataclasses.replace(spec, dtype="float32").keys) & set(before)
    kernel = spec.model.get_layer("block4_conv").kernel
    kernel.assign(kernel * 1.0001)
    # Behind the first of the tensors, in graph order, that are stored.
    assert [one == other for one, other in zip(of_weights(), before, strict=True)] == [False, True]


def test_a_filling_that_was_interrupted_goes_on_to_the_same_bytes(plan, tmp_path, toy_recipe, toy_splits, monkeypatch):
    import chexkeras.training.frozen.feature_store as module

    plan.fill(16)
    names = [shelf.folder.name for shelf in plan.train.on]
    expected = [(tmp_path / "s" / name / "values.bin").read_bytes() for name in names]
    real, calls = module.predict_padded, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "predict_padded", interrupted)
    again = planned(toy_recipe, toy_splits, tmp_path, shelves=Shelves(tmp_path / "again"))
    with pytest.raises(KeyboardInterrupt):
        again.fill(16)
    begun = [(tmp_path / "again" / name / "values.bin").read_bytes() for name in names]
    assert all(
        0 < len(some) < len(whole) and whole.startswith(some) for some, whole in zip(begun, expected, strict=True)
    )
    again.fill(16)
    assert [(tmp_path / "again" / name / "values.bin").read_bytes() for name in names] == expected


@pytest.mark.parametrize("damage", ["cut short", "half an entry", "a byte", "manifest", "index gone"])
def test_what_is_damaged_is_computed_anew_and_nothing_else(
    plan, tmp_path, toy_recipe, toy_splits, damage, capsys, monkeypatch
):
    import chexkeras.data.by_batch as module

    plan.fill(16)
    good, shelf = every(plan.train.features("head_pool")), plan.train.on[plan.train.spec.layers.index("head_pool")]
    values, index, size = shelf.folder / "values.bin", shelf.folder / "index.bin", len(toy_splits.train)
    if damage == "cut short":
        os.truncate(values, shelf.entry_bytes * (len(toy_splits.validation) + 5))
    elif damage == "half an entry":
        os.truncate(index, 36 * (len(toy_splits.validation) + 5) + 20)
    elif damage == "a byte":
        content = bytearray(values.read_bytes())
        content[shelf.entry_bytes * (len(toy_splits.validation) + 3)] ^= 1
        values.write_bytes(content)
    elif damage == "manifest":
        (shelf.folder / "manifest.json").write_text("{")
    else:
        index.unlink()
    read, real = [], module.images_with_ids
    monkeypatch.setattr(
        module, "images_with_ids", lambda table, **options: read.append(len(table)) or real(table, **options)
    )
    again = planned(toy_recipe, toy_splits, tmp_path)
    again.fill(16)
    np.testing.assert_array_equal(every(again.train.features("head_pool")), good)
    everything = [len(toy_splits.validation), size]
    assert read == {"cut short": [size - 5], "half an entry": [size - 5], "a byte": [1]}.get(damage, everything)
    said = capsys.readouterr().err
    assert ("again" in said) == (damage not in ("half an entry", "index gone"))


def test_features_of_other_weights_give_way_in_a_folder_of_one_training(plan, tmp_path, toy_recipe, toy_splits):
    plan.fill(16)
    names = {shelf.folder.name for shelf in plan.train.on}
    plan.train.shelves.close()
    again = planned(toy_recipe.replace(seed=5), toy_splits, tmp_path)
    again.fill(16)
    assert names & {path.name for path in (tmp_path / "s").iterdir()} == set()
    assert len(list((tmp_path / "s").iterdir())) == 2


def test_random_augmentation_and_a_full_disk_fall_back_and_say_why(
    tmp_path, toy_recipe, toy_splits, capsys, monkeypatch
):
    rotated = toy_recipe.replace(augment=Augmentation(rotation_degrees=5.0))
    assert planned(rotated, toy_splits, tmp_path) is None
    assert "no two epochs show the same image" in unwrapped(capsys)
    limited = Shelves(tmp_path / "limited", limit=50_000)
    assert planned(toy_recipe, toy_splits, tmp_path, shelves=limited) is None
    assert "more than the 0.0 GB that may be taken, what the limit leaves" in unwrapped(capsys)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    assert planned(toy_recipe, toy_splits, tmp_path) is None
    assert "more than the 0.0 GB that may be taken, half of what is free" in unwrapped(capsys)


def test_a_frozen_part_that_is_little_work_is_not_stored(tmp_path, toy_recipe, toy_splits):
    recipe = toy_recipe.replace(stages=(Stage("deep", 5, 1e-3, "block2_conv"),))
    assert planned(recipe, toy_splits, tmp_path) is None


def test_stored_draws_are_shown_in_turn_and_are_those_of_the_pipeline(tmp_path, toy_recipe, toy_splits, capsys):
    changes = Augmentation(flip=True, rotation_degrees=10.0)
    recipe = toy_recipe.replace(augment=changes)
    plan = planned(recipe, toy_splits, tmp_path, "float32", draws=3)
    assert plan.to_dict()["views"] == "3 draws of the random changes"
    assert not plan.to_dict()["exact"]
    plan.fill(16)
    assert "3 passes over the training images" in unwrapped(capsys)
    images = next(iter(images_with_ids(toy_splits.train.head(4), image_size=recipe.image_size)))[0]
    numbers = plan.train.spec.copies.numbers(toy_splits.train["image_id"].head(4))
    seeds = [image_seed(recipe.seed, 2, number) for number in numbers]
    drawn = np.stack([augment(image, seed, changes) for seed, image in zip(seeds, images, strict=True)])
    expected = plan.train.spec.model.predict(drawn, verbose=0)[0]
    np.testing.assert_allclose(every(plan.train.features("head_pool"))[:4, 2], expected, rtol=1e-4, atol=1e-5)
    shown = [plan.train.spec.copies.in_epoch(epoch, np.arange(200)) for epoch in (1, 1, 2)]
    assert shown[0].tolist() == shown[1].tolist() != shown[2].tolist()
    assert set(shown[0]) == {0, 1, 2}
    assert plan.validation.features("head_pool").entries.shape[1] == 1


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
    plan = planned(recipe, toy_splits, tmp_path)
    assert plan.layers == {"deep": "block2_pool"}


def test_features_too_large_for_float16_are_stored_in_float32_when_that_was_left_open(
    tmp_path, toy_recipe, toy_splits, capsys
):
    model = classifier(toy_recipe)
    model.get_layer("block4_bn").gamma.assign(np.full(64, 1e7))
    plan = planned(toy_recipe, toy_splits, tmp_path, model=model)
    plan.fill(16)
    assert plan.train.features("head_pool").values.dtype == np.float32
    said = capsys.readouterr().err
    assert "float32 instead" in said
    with pytest.raises(ValueError, match="too large for float16"):
        planned(toy_recipe, toy_splits, tmp_path, "float16", model=model).fill(16)


def test_the_disk_space_of_both_stores_is_taken_before_a_image_is_read(plan, toy_splits, monkeypatch):
    def look(*_, **__):
        for shelf in plan.train.on:
            size = (shelf.folder / "values.bin").stat().st_size
            taken.append(size == shelf.entry_bytes * (len(toy_splits.train) + len(toy_splits.validation)))
        raise KeyboardInterrupt

    if not hasattr(os, "posix_fallocate"):
        pytest.skip(f"{sys.platform} cannot take disk space")
    taken = []
    monkeypatch.setattr(f"{READING}.images_with_ids", look)
    with pytest.raises(KeyboardInterrupt):
        plan.fill(16)
    assert taken == [True] * 2
    assert [(shelf.folder / "values.bin").stat().st_size for shelf in plan.train.on] == [0, 0]


@pytest.mark.parametrize("room_for", [0, 1])
def test_a_full_disk_is_one_message_before_anything_is_computed_and_takes_no_room(plan, monkeypatch, unread, room_for):
    asked = []

    def fallocate(*_):
        asked.append(1)
        if len(asked) > room_for:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fallocate, raising=False)
    unread()
    with pytest.raises(
        OSError, match=r"stored features need [0-9,]+ bytes in .*, but [0-9,]+ bytes are free.* --features off"
    ):
        plan.fill(16)
    assert [(shelf.folder / "values.bin").stat().st_size for shelf in plan.train.on] == [0, 0]


def test_a_disk_that_cannot_reserve_space_is_used_all_the_same(plan, monkeypatch):
    def fallocate(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", fallocate, raising=False)
    plan.fill(16)
    assert np.abs(every(plan.train.features("head_pool"))).max() > 0


def test_images_keep_their_key_however_their_folder_is_written(toy_splits, tmp_path, monkeypatch):
    table = toy_splits.train.head(3)
    folder = os.path.dirname(table["path"].iloc[0])
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    keys = {str(image_keys(table, AugmentedCopies()))}
    for written in (os.path.relpath(folder), "link", os.path.join(folder, "..", os.path.basename(folder))):
        paths = [os.path.join(written, name) for name in table["image_id"]]
        keys.add(str(image_keys(table.assign(path=paths), AugmentedCopies())))
    assert len(keys) == 1


def test_a_trained_classifier_scores_from_features_what_it_scores_from_images(tmp_path, toy_recipe, toy_splits):
    model = classifier(toy_recipe)
    plan = planned(toy_recipe, toy_splits, tmp_path, "float32", model=model, test=toy_splits.test)
    plan.fill(16)
    fit_stages(
        model, toy_recipe, build_loss(toy_recipe, toy_splits.train), toy_splits.train, toy_splits.validation, plan
    )
    for part in ("validation", "test"):
        whole = predict_scores(model, toy_splits.part(part), toy_recipe.targets)
        np.testing.assert_allclose(plan.predict(model, part)[:, 0], whole["score"], rtol=1e-4, atol=1e-5)
