"""An interrupted training ends as if nothing had happened: bit for bit, wherever it was interrupted."""

import dataclasses
import errno
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest

from chexkeras import files
from chexkeras.data.augmentation import Augmentation
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.models.classifier import build_classifier
from chexkeras.recipes.recipe import Stage
from chexkeras.runs.run import Run
from chexkeras.training import loop
from chexkeras.training.frozen.plan import plan_features
from chexkeras.training.frozen.shelves import Shelves
from chexkeras.training.objective import build_loss
from chexkeras.training.resume.checkpoints import Checkpoints, assign_all, value
from chexkeras.training.resume.interrupted import InterruptedTraining
from chexkeras.training.trainer import train

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def recipe(toy_recipe):
    """By validation loss the last epoch but one is the best: the run ends with what the resumed part trained."""
    stages = (dataclasses.replace(toy_recipe.stages[0], epochs=1), toy_recipe.stages[1])
    return toy_recipe.replace(monitor="val_loss", stages=stages)


@pytest.fixture(scope="module")
def whole(recipe, toy_splits, tmp_path_factory):
    """The run that was never interrupted."""
    run = train(recipe, toy_splits, tmp_path_factory.mktemp("whole") / "run")
    assert run.provenance["best"] == {"stage": "stage2", "epoch": 2}
    return run


def classifier(recipe, seed):
    keras.utils.set_random_seed(seed)
    precision = "float32" if recipe.precision == "auto" else recipe.precision
    return build_classifier(
        recipe.targets, backbone=recipe.backbone, weights=None, image_size=recipe.image_size, precision=precision
    )


def fit(recipe, splits, folder, features, *, start=None, seed=0):
    """Fits a recipe with checkpoints; a classifier of another seed gets the start of the first, as in a new process."""
    model = classifier(recipe, seed)
    if start is not None:
        assign_all(model.variables, start)
    plan = None
    if features:
        plan = plan_features(
            model, recipe, splits.train, splits.validation, Shelves(folder / "features", own=True), "float32"
        )
        plan.fill(recipe.batch_size)
    loss = build_loss(recipe, splits.train)
    checkpoints = Checkpoints(folder)
    result = loop.fit_stages(model, recipe, loss, splits.train, splits.validation, plan, checkpoints=checkpoints)
    return model, result


def without_seconds(history):
    return [{name: found for name, found in row.items() if name != "seconds"} for row in history]


def assert_same(one, two):
    (model, result), (other, other_result) = one, two
    for expected, found in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(value(expected), value(found))
    for expected, found in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(value(expected), value(found))
    assert without_seconds(result.history) == without_seconds(other_result.history)
    plain = [[{**entry, "layers_trainable": list(entry["layers_trainable"])} for entry in fitted.stages]
             for fitted in (result, other_result)]  # fmt: skip
    assert plain[0] == plain[1]
    assert (result.best_stage, result.best_epoch) == (other_result.best_stage, other_result.best_epoch)


def interrupted_after(monkeypatch, epochs):
    real = loop._epoch

    def limited(under_way, epoch, global_epoch, labels):
        if global_epoch > epochs:
            raise KeyboardInterrupt
        return real(under_way, epoch, global_epoch, labels)

    monkeypatch.setattr(loop, "_epoch", limited)


EVERY_SETTING = (
    Stage("average", 3, 3e-3, "none", optimizer="sgd", schedule="reduce_on_plateau", reduce_patience=1, ema=0.9),
    Stage("normalised", 3, 1e-3, "block3_conv", batchnorm="trained", optimizer="adamw", weight_decay=1e-4, patience=2,
          schedule="cosine"),
    Stage("gathered", 2, 1e-3, "block4_conv", schedule="warmup_cosine", accumulate=3, clip_norm=1.0),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    # The first ends one stage, the second lies within another; before a release between more epochs.
    "stops",
    [(3, 5), pytest.param((1, 3, 5, 6), marks=pytest.mark.release)],
)
def test_every_setting_is_taken_up_between_any_two_epochs_with_the_same_result(
    recipe, toy_splits, tmp_path, monkeypatch, stops
):
    recipe = recipe.replace(stages=EVERY_SETTING)
    start = [value(variable) for variable in classifier(recipe, 0).variables]
    never_stopped = fit(recipe, toy_splits, tmp_path / "whole", features=False)
    epochs = len(never_stopped[1].history)
    assert epochs > 6
    (tmp_path / "parts").mkdir()
    for stop in (*stops, epochs):
        with monkeypatch.context() as patched:
            interrupted_after(patched, stop)
            if stop < epochs:
                with pytest.raises(KeyboardInterrupt):
                    fit(recipe, toy_splits, tmp_path / "parts", features=False, start=start, seed=stop)
            else:
                fit(recipe, toy_splits, tmp_path / "parts", features=False, start=start, seed=stop)
    # All epochs are done: this one only reads the end.
    assert_same(never_stopped, fit(recipe, toy_splits, tmp_path / "parts", features=False, start=start, seed=9))


def test_stored_features_are_taken_up_in_the_middle_of_a_stage_with_the_same_result(
    recipe, toy_splits, tmp_path, monkeypatch
):
    recipe = recipe.replace(augment=Augmentation(flip=True))
    start = [value(variable) for variable in classifier(recipe, 0).variables]
    never_stopped = fit(recipe, toy_splits, tmp_path / "whole", features=True)
    with monkeypatch.context() as patched:
        interrupted_after(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, toy_splits, tmp_path / "parts", features=True, start=start, seed=5)
    assert_same(never_stopped, fit(recipe, toy_splits, tmp_path / "parts", features=True, start=start, seed=6))


def test_a_plateau_and_a_patience_go_on_counting(toy_recipe, toy_splits, tmp_path, monkeypatch):
    """No epoch is better than the first."""
    monkeypatch.setattr(loop, "mean_auc", lambda *_: 0.75)
    stage = Stage("flat", 9, 1e-3, "none", patience=4, schedule="reduce_on_plateau", reduce_patience=1)
    recipe = toy_recipe.replace(stages=(stage,))
    start = [value(variable) for variable in classifier(recipe, 0).variables]
    never_stopped = fit(recipe, toy_splits, tmp_path / "whole", features=False)
    rates = [row["learning_rate"] for row in never_stopped[1].history]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-6])
    with monkeypatch.context() as patched:
        interrupted_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, toy_splits, tmp_path / "parts", features=False, start=start, seed=5)
    assert_same(never_stopped, fit(recipe, toy_splits, tmp_path / "parts", features=False, start=start, seed=6))


@pytest.mark.release
def test_half_precision_is_taken_up_with_its_loss_scale(recipe, toy_splits, tmp_path, monkeypatch):
    recipe = recipe.replace(precision="mixed_float16", stages=(Stage("only", 2, 1e-3, "block4_conv", ema=0.9),))
    start = [value(variable) for variable in classifier(recipe, 0).variables]
    never_stopped = fit(recipe, toy_splits, tmp_path / "whole", features=False)
    assert isinstance(never_stopped[0].optimizer, keras.optimizers.LossScaleOptimizer)
    with monkeypatch.context() as patched:
        interrupted_after(patched, 1)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, toy_splits, tmp_path / "parts", features=False, start=start, seed=5)
    assert_same(never_stopped, fit(recipe, toy_splits, tmp_path / "parts", features=False, start=start, seed=6))


def test_a_checkpoint_holds_what_training_changes_and_no_frozen_weight(recipe, toy_splits, tmp_path):
    recipe = recipe.replace(stages=(Stage("only", 1, 1e-3, "none"),))
    model, _ = fit(recipe, toy_splits, tmp_path, features=False)
    saved = Checkpoints(tmp_path).load()
    head = {id(variable) for layer in model.layers if layer.name.startswith("head_") for variable in layer.variables}
    assert {id(model.variables[position]) for position in saved.snapshot.variables} == head
    weights = {id(weight) for weight in model.weights}
    assert {id(model.variables[position]) for position in saved.kept[1]} == head & weights
    assert len(head - weights) == 2, "the random states of two dropout layers"


def weights_of(run):
    with zipfile.ZipFile(run.folder / "model.keras") as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as stored:
        names = []
        stored.visit(names.append)
        found = {name: stored[name][()] for name in names if isinstance(stored[name], h5py.Dataset)}
    assert found
    return found


def assert_same_run(one, two):
    weights, others = weights_of(one), weights_of(two)
    assert weights.keys() == others.keys()
    for name, found in weights.items():
        np.testing.assert_array_equal(found, others[name], err_msg=name)
    pd.testing.assert_frame_equal(
        one.history.drop(columns="seconds"), two.history.drop(columns="seconds"), check_exact=True
    )
    for part in ("validation", "test"):
        pd.testing.assert_frame_equal(one.scores(part), two.scores(part), check_exact=True)
    for name in ("stages.json", "operating_points.json", "evaluation.json"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes(), name
    for kept, other in zip(one.epochs[1:], two.epochs[1:], strict=True):
        assert kept.folder.name == other.folder.name
        pd.testing.assert_frame_equal(kept.scores("test"), other.scores("test"), check_exact=True)


def interrupted_training(recipe, splits, run_dir, monkeypatch, epochs, **options):
    with monkeypatch.context() as patched:
        interrupted_after(patched, epochs)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, splits, run_dir, **options)


@pytest.fixture(scope="module")
def interrupted_once(recipe, toy_splits, tmp_path_factory):
    """Where a training was interrupted in its second stage: all that it left."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as monkeypatch:
        interrupted_training(recipe, toy_splits, folder / "run", monkeypatch, 2)
    return folder


@pytest.fixture
def interrupted(interrupted_once, tmp_path):
    """Folder of a run whose training was interrupted in its second stage; what it left may be changed."""
    for left in interrupted_once.iterdir():
        shutil.copytree(left, tmp_path / left.name)
    return tmp_path / "run"


def test_an_interrupted_run_says_how_to_go_on_and_ends_like_one_that_was_not(
    recipe, toy, toy_splits, whole, tmp_path, monkeypatch, capsys
):
    interrupted = tmp_path / "run"
    interrupted_training(recipe, toy_splits, interrupted, monkeypatch, 2)
    said = capsys.readouterr().err
    assert "stopped after 2 epochs, which are kept: continue with resume=True" in said
    monkeypatch.setattr("chexkeras.training.start._adapt", lambda *_: pytest.fail("took the statistics again"))
    left = InterruptedTraining.load(interrupted)
    assert len(pd.read_csv(left.folder / "history.csv")) == left.epochs_done == 2
    options = left.options
    assert options.pop("overwrite") is False
    run = train(left.recipe, left.splits(toy), interrupted, resume=True, **options)
    assert "resumed after stage2 epoch 1" in capsys.readouterr().err
    assert_same_run(whole, run)
    assert run.provenance["taken_up_after_epochs"] == [2]
    assert whole.provenance["taken_up_after_epochs"] == []
    assert [path.name for path in interrupted.parent.iterdir()] == ["run"]


def test_an_unfinished_training_is_neither_lost_nor_taken_up_by_accident(
    interrupted, recipe, toy_splits, toy, tmp_path
):
    with pytest.raises(FileExistsError, match=r"interrupted after 2 epochs.*--resume.*overwrite"):
        train(recipe, toy_splits, interrupted)
    with pytest.raises(ValueError, match=r"recipe\.batch_size was 16, is 8"):
        train(recipe.replace(batch_size=8), toy_splits, interrupted, resume=True)
    slower = recipe.replace(stages=(recipe.stages[0], Stage("stage2", 3, 3e-4, 0.3)))
    with pytest.raises(ValueError, match=r"recipe\.stages\.1\.learning_rate was 0\.001, is 0\.0003"):
        train(slower, toy_splits, interrupted, resume=True)
    with pytest.raises(ValueError, match="features was 'auto', is 'off'"):
        train(recipe, toy_splits, interrupted, resume=True, features="off")
    other = split_by_patient(toy, "Effusion", validation=0.25, test=0.25, seed=3)
    with pytest.raises(ValueError, match=r"split was '[0-9a-f]{12}\.\.\.', is"):
        train(recipe, other, interrupted, resume=True)
    relabelled = toy.assign(Mass=1.0 - toy["Mass"])
    with pytest.raises(ValueError, match="another table"):
        InterruptedTraining.load(interrupted).splits(relabelled)
    assert InterruptedTraining.load(interrupted).epochs_done == 2
    with pytest.raises(FileNotFoundError, match=r"nothing to resume.*no training of it was interrupted"):
        train(recipe, toy_splits, tmp_path / "misspelt", resume=True)


def test_other_images_under_the_same_names_are_refused(interrupted, recipe, toy, tmp_path):
    from PIL import Image

    changed = toy.copy()
    changed.attrs = toy.attrs
    image = tmp_path / "image.png"
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(image)
    changed.loc[3, "path"] = str(image)
    with pytest.raises(ValueError, match="films was"):
        train(recipe, InterruptedTraining.load(interrupted).splits(changed), interrupted, resume=True)


def _everything(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.mark.parametrize("fault", ["cut short", "disk away"])
def test_a_checkpoint_that_cannot_be_read_costs_nothing_that_can(
    fault, interrupted, recipe, toy_splits, whole, monkeypatch
):
    left, stored = InterruptedTraining.load(interrupted).folder, interrupted.with_name(".run.features")
    content = (left / "last.npz").read_bytes()
    before, features = _everything(left), _everything(stored)
    with monkeypatch.context() as patched:
        if fault == "cut short":
            (left / "last.npz").write_bytes(content[: len(content) // 2])
            before["last.npz"] = content[: len(content) // 2]
        else:
            load = np.load

            def away(path, **options):
                if Path(path).name == "last.npz":
                    raise OSError(errno.EIO, "Input/output error")
                return load(path, **options)

            patched.setattr(np, "load", away)
        with pytest.raises(ValueError, match=r"last\.npz is damaged or missing .*if the disk was away, try again"):
            train(recipe, toy_splits, interrupted, resume=True)
        with pytest.raises(FileExistsError, match="after epochs whose checkpoint cannot be read"):
            train(recipe, toy_splits, interrupted)
    assert _everything(left) == before
    assert {name: len(found) for name, found in _everything(stored).items()} == {
        name: len(found) for name, found in features.items()
    }
    (left / "last.npz").write_bytes(content)
    if fault == "disk away":
        assert_same_run(whole, train(recipe, toy_splits, interrupted, resume=True))


def test_a_damaged_start_is_made_again_from_the_seed(interrupted, recipe, toy_splits, whole, capsys):
    path = InterruptedTraining.load(interrupted).folder / "start.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert_same_run(whole, train(recipe, toy_splits, interrupted, resume=True))
    assert "made again from the seed" in capsys.readouterr().err


def test_a_damaged_record_of_what_was_asked_has_one_way_out(interrupted, recipe, toy_splits):
    (InterruptedTraining.load(interrupted).folder / "asked.json").write_text("{")
    for options in ({}, {"resume": True}):
        with pytest.raises(ValueError, match=r"cannot be resumed.*is damaged.*overwrite=True"):
            train(recipe, toy_splits, interrupted, **options)
    short = recipe.replace(stages=(Stage("only", 1, 1e-3),))
    assert train(short, toy_splits, interrupted, overwrite=True).recipe == short


def test_a_disk_that_is_full_at_the_end_costs_no_epoch(recipe, toy_splits, whole, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("chexkeras.training.finish.write_run", full)
        with pytest.raises(OSError, match=r"run could not be written to .*No space left.*with resume=True"):
            train(recipe, toy_splits, tmp_path / "run")
    assert InterruptedTraining.load(tmp_path / "run").epochs_done == len(whole.history)
    assert_same_run(whole, train(recipe, toy_splits, tmp_path / "run", resume=True))


def test_a_training_that_another_process_completes_meanwhile_is_named(interrupted, recipe, toy_splits, monkeypatch):
    left = InterruptedTraining.load(interrupted)
    monkeypatch.setattr(InterruptedTraining, "_asked", left._asked)
    monkeypatch.setattr(InterruptedTraining, "exists", lambda _: True)
    monkeypatch.setattr("chexkeras.training.trainer.check_classes", lambda *_: shutil.rmtree(left.folder))
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: True if path == left.folder else real(path))
    with pytest.raises(FileNotFoundError, match="has just gone: another process completed or discarded it"):
        train(recipe, toy_splits, interrupted, resume=True)


def test_overwriting_begins_anew(interrupted, recipe, toy_splits, whole, capsys):
    run = train(recipe, toy_splits, interrupted, overwrite=True)
    assert "(2 epochs) is discarded" in capsys.readouterr().err
    assert run.provenance["taken_up_after_epochs"] == []
    assert_same_run(whole, run)
    with pytest.raises(FileNotFoundError, match=r"nothing to resume.*that run is complete"):
        train(recipe, toy_splits, interrupted, resume=True)


def test_two_processes_cannot_train_one_run(interrupted, recipe, toy_splits):
    hold = (
        "import fcntl, sys; handle = open(sys.argv[1], 'a'); fcntl.flock(handle, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    lock = InterruptedTraining.load(interrupted).folder / "lock"
    other = subprocess.Popen([sys.executable, "-c", hold, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(FileExistsError, match="another process is training"):
                train(recipe, toy_splits, interrupted, **options)
    finally:
        other.communicate()


def test_a_run_whose_kill_came_after_the_last_rename_is_complete(interrupted, recipe, toy_splits, toy, capsys):
    left = InterruptedTraining.load(interrupted)
    interrupted.mkdir()
    files.write_json(interrupted / "provenance.json", {"run_id": left.run_id})
    recipe.save(interrupted / "recipe.json")
    assert train(recipe, left.splits(toy), interrupted, resume=True).recipe == recipe
    assert "complete already" in capsys.readouterr().err
    assert not left.folder.exists()


def test_a_full_disk_stops_training_and_it_goes_on_from_the_epoch_before(
    recipe, toy_splits, whole, tmp_path, monkeypatch
):
    real = files.os.replace

    def full(source, destination):
        if Path(destination).name == "last.npz" and Checkpoints(Path(destination).parent).epochs == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, destination)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", full)
        with pytest.raises(OSError, match=r"after 3 epochs could not be written .*No space left"):
            train(recipe, toy_splits, tmp_path / "run")
    assert InterruptedTraining.load(tmp_path / "run").epochs_done == 2
    assert_same_run(whole, train(recipe, toy_splits, tmp_path / "run", resume=True))


def test_stored_features_are_counted_on_again_however_full_the_disk_is(
    interrupted, recipe, toy_splits, whole, monkeypatch
):
    """Their own room is no longer free, which must not turn the second half into another computation."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1})())
    stored = interrupted.with_name(".run.features")
    assert all(path.stat().st_size > 0 for path in stored.rglob("values.bin"))
    assert_same_run(whole, train(recipe, toy_splits, interrupted, resume=True))


def test_a_training_that_began_without_stored_features_goes_on_without(
    recipe, toy_splits, tmp_path, monkeypatch, capsys
):
    """There was no room for them; that there is now must not turn the second half into another computation."""
    recipe = recipe.replace(stages=(Stage("only", 2, 1e-3, 0.3),))
    plain = train(recipe, toy_splits, tmp_path / "plain", features="off")
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1})())
        interrupted_training(recipe, toy_splits, tmp_path / "run", monkeypatch, 1)
    assert "more than the 0.0 GB that may be taken, half of what is free" in " ".join(capsys.readouterr().err.split())
    run = train(recipe, toy_splits, tmp_path / "run", resume=True)
    assert run.provenance["features"] is None
    assert_same_run(plain, run)


def test_a_run_that_was_being_replaced_stays_until_the_resumed_one_is_complete(
    recipe, toy_splits, whole, tmp_path, monkeypatch
):
    shutil.copytree(whole.folder, tmp_path / "run")
    other = recipe.replace(seed=1, stages=(Stage("only", 2, 1e-3),))
    interrupted_training(other, toy_splits, tmp_path / "run", monkeypatch, 1, overwrite=True)
    assert Run.load(tmp_path / "run").recipe.seed == 0
    assert train(other, toy_splits, tmp_path / "run", resume=True).recipe.seed == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_features_for_which_there_is_no_room_any_more_are_named(interrupted, recipe, toy_splits, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1})())
    shutil.rmtree(interrupted.with_name(".run.features"))
    with pytest.raises(ValueError, match="began with stored features, for which there is no room"):
        train(recipe, toy_splits, interrupted, resume=True)
    assert InterruptedTraining.load(interrupted).epochs_done == 2


@pytest.fixture(scope="module")
def toy_images_40(make_toy, tmp_path_factory):
    return make_toy(tmp_path_factory.mktemp("forty"), patients=20)


CHAINS = """
import json, os, pathlib, pickle, shutil, signal, sys

import chexkeras.training.callbacks as callbacks
import chexkeras.training.frozen.feature_store as features_module
from chexkeras.training.trainer import train
from chexkeras.training.resume.interrupted import InterruptedTraining

given, folder, moments = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), json.loads(sys.argv[3])
events, kill_at = [], 0


# Dies at the event of a number, or at the nth of a name.
def event(name):
    events.append(name)
    if kill_at in (len(events), [name, events.count(name)]):
        print(f"killed at {name}", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


def watched(owner, name, after=False):
    real = getattr(owner, name)

    def call(*arguments, **options):
        event(f"{name} {[getattr(a, 'name', '') for a in arguments[-1:]]}")
        result = real(*arguments, **options)
        if after:
            event(f"the end of {name} {[getattr(a, 'name', '') for a in arguments[-1:]]}")
        return result

    setattr(owner, name, call)


watched(os, "replace", after=True)
watched(os, "fsync")
watched(shutil, "rmtree", after=True)
watched(pathlib.Path, "unlink")
watched(features_module, "predict_padded")
watched(callbacks.FiniteLoss, "on_train_batch_end")
recipes, splits = pickle.loads(given.read_bytes())
# TensorFlow is loaded but has not begun to work: from here a process can be made by forking, without loading it again.
assert len(os.listdir("/proc/self/task")) == 1
for features, kills in moments.items():
    for kill_at in kills:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            run = folder / features / "run"
            # Killed before it could be resumed, it begins; killed after all was done, there is nothing left to do.
            if InterruptedTraining(run).exists() or not run.exists():
                train(recipes[features], splits, run, features=features, resume=InterruptedTraining(run).exists())
            os._exit(0)
        print(features, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


SHARPEST = {
    # The best epoch's weights are written and the state is not; the run is in its place and what it was made of still
    # lies beside it.
    "auto": [["replace ['last.npz']", 3], ["the end of replace ['run']", 1]],
    # In the middle of the second stage's first epoch.
    "off": [["on_train_batch_end ['']", 11]],
}
DRAWN = dict(zip(("auto", "off"), np.random.default_rng(11).integers(2, 70, (2, 5)).tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts the threads of a process as Linux lists them")
@pytest.mark.parametrize(
    "kills", [pytest.param(SHARPEST, id="sharpest"), pytest.param(DRAWN, id="ten", marks=pytest.mark.release)]
)
def test_a_training_that_is_killed_again_and_again_ends_like_one_that_never_was(
    tmp_path, recipe, toy_recipe, toy_images_40, kills
):
    """Two chains of kills, at the sharpest moments or at ten random ones; each process goes on where the last died.

    One trains on stored features of up-sampled images, the other on the images in balanced batches.
    """
    splits = split_by_patient(toy_images_40, "Effusion", validation=0.3, test=0.3)
    # Random moments are of a training of six epochs.
    recipe = recipe.replace(batch_size=4, stages=toy_recipe.stages if kills is DRAWN else recipe.stages)
    recipes = {
        "auto": recipe.replace(up_sample={"Effusion": 2}, keep_epochs=2),
        "off": recipe.replace(balanced_batches="Effusion", augment=Augmentation(flip=True)),
    }
    (tmp_path / "given").write_bytes(pickle.dumps((recipes, splits)))
    moments = {features: [*events, 0] for features, events in kills.items()}
    for features in moments:
        (tmp_path / features).mkdir()
    one_thread = {"TF_CPP_MIN_LOG_LEVEL": "3", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    chains = subprocess.Popen(
        [sys.executable, "-c", CHAINS, tmp_path / "given", tmp_path, json.dumps(moments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **one_thread},
    )  # fmt: skip
    never_killed = {kind: train(recipes[kind], splits, tmp_path / f"whole-{kind}", features=kind) for kind in moments}
    said, errors = chains.communicate()
    ended = [int(line.split()[-1]) for line in said.splitlines() if not line.startswith("killed")]
    assert ended == [-9 if moment else 0 for events in moments.values() for moment in events], said + errors
    for features, run in never_killed.items():
        assert_same_run(run, Run.load(tmp_path / features / "run"))
        assert [path.name for path in (tmp_path / features).iterdir()] == ["run"]
