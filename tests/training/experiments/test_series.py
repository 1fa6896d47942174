"""Folds, seeds and settings: what is frozen once, every image scored unseen, and the same end after a kill."""

import dataclasses
import json
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chexkeras.data.augmentation import Augmentation
from chexkeras.inference.predictor import Predictor
from chexkeras.recipes.overrides import combinations
from chexkeras.runs.run import Run
from chexkeras.runs.series import CrossValidation, SeedRuns, Sweep
from chexkeras.training.experiments.cross_validation import cross_validate, train_seeds
from chexkeras.training.experiments.sweep import sweep
from chexkeras.training.resume.interrupted import resumed_by
from chexkeras.training.resume.interrupted_series import InterruptedSeries
from chexkeras.training.trainer import train

FEATURE_STORE = "chexkeras.training.frozen.feature_store"

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def images(make_toy, tmp_path_factory):
    return make_toy(tmp_path_factory.mktemp("images"), patients=30)


@pytest.fixture(scope="module")
def recipe(toy_recipe):
    stages = tuple(dataclasses.replace(stage, epochs=2) for stage in toy_recipe.stages)
    return toy_recipe.replace(stages=stages, augment=Augmentation(flip=True))


@pytest.fixture(scope="module")
def folds(images, recipe, tmp_path_factory):
    return cross_validate(recipe, images, tmp_path_factory.mktemp("cv") / "cv", folds=3, seeds=2, validation=0.3)


def copies_computed(monkeypatch):
    """Counts the images whose features are computed, copies apart."""
    import chexkeras.training.frozen.feature_store as module

    counted, real = [], module.FeatureStore._compute

    def compute(self, rest, missing, batch_size, place):
        before = sum(len(shelf.values) for shelf in self.on)
        real(self, rest, missing, batch_size, place)
        counted.append((sum(len(shelf.values) for shelf in self.on) - before) // len(self.on))

    monkeypatch.setattr(module.FeatureStore, "_compute", compute)
    return counted


def test_every_image_is_scored_once_a_seed_by_a_model_that_has_not_seen_its_patient(folds, images):
    scores = folds.scores
    assert len(scores) == 2 * len(images)
    assert not scores.duplicated(["image_id", "seed"]).any()
    assert set(scores["image_id"]) == set(images["image_id"])
    assert [run.recipe.seed for run in folds.runs] == [0, 1] * 3
    for run, entry in zip(folds.runs, folds.record["runs"], strict=True):
        rows = scores[(scores["fold"] == entry["fold"]) & (scores["seed"] == entry["seed"])]
        seen = run.splits.loc[run.splits["part"] != "test", "patient_id"]
        assert not set(rows["patient_id"].astype(str)) & set(seen)
        assert rows["threshold"].unique().tolist() == [run.operating_points[0].threshold]
        np.testing.assert_array_equal(rows["score"], run.scores("test")["score"])
    assert folds.evaluation.findings[0].n_images == len(images)
    assert "6 trainings" in repr(folds)


def test_scores_from_stored_features_are_those_of_the_saved_model(folds, images):
    from chexkeras.models.scoring import predict_scores

    run = folds.runs[0]
    test = images[images["image_id"].isin(run.scores("test")["image_id"])]
    whole = predict_scores(run.load_model(), test, run.recipe.targets).set_index("image_id")["score"]
    stored = run.scores("test").set_index("image_id")["score"]
    assert (stored - whole).abs().max() < 0.01
    told = folds.record["runs"][0]["scored_from_features"]["test"]
    assert told["images"] == 16
    assert told["largest_difference"] < 0.01


def test_the_final_model_has_no_test_of_its_own_and_scores_files(folds, images, tmp_path):
    final = folds.final
    assert set(final.splits["part"]) == {"train", "validation"}
    assert not (final.folder / "evaluation.json").exists()
    assert "its performance is estimated by the folds" in folds.record["final"]["said"]
    result = Predictor.load(final).predict(images["path"].head(2).tolist())
    # So small that the gate refuses them: they get no score, and a threshold was chosen all the same.
    assert set(result["verdict"]) == {"reject"}
    assert final.checked_points()[0].chosen_on == "validation"
    with pytest.raises(ValueError, match="no test part"):
        from chexkeras.data.splits.splitters import split_without_test

        train(final.recipe, split_without_test(images, "Effusion"), tmp_path / "run")


def test_what_is_frozen_is_computed_once_for_all_folds_and_seeds_and_found_by_later_series(
    images, recipe, tmp_path, monkeypatch, folds
):
    computed = copies_computed(monkeypatch)
    options = {"folds": 3, "validation": 0.3, "features_store": tmp_path / "shared"}
    again = cross_validate(recipe, images, tmp_path / "a", seeds=2, final="none", **options)
    # Each image once, and once the mirror image of those that are learnt from in some fold.
    learnt = set().union(*(run.splits.loc[run.splits["part"] == "train", "image_id"] for run in again.runs))
    assert sum(computed) == len(images) + len(learnt)
    pd.testing.assert_frame_equal(again.scores, folds.scores)
    faster = tuple(dataclasses.replace(stage, learning_rate=1e-2) for stage in recipe.stages)
    cross_validate(recipe.replace(stages=faster, batch_size=8), images, tmp_path / "b", final="ensemble", **options)
    assert sum(computed) == len(images) + len(learnt)
    assert CrossValidation.load(tmp_path / "b").final is None
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_untrained_base_says_where_its_statistics_come_from(images, recipe, folds, tmp_path):
    assert any("BatchNorm statistics once, from all images" in sentence for sentence in folds.cautions)
    single = recipe.replace(stages=recipe.stages[:1])
    apart = cross_validate(single, images, tmp_path / "cv", folds=2, base_statistics="fold", final="none")
    assert not any("from all images" in sentence for sentence in apart.cautions)


def test_seeds_differ_in_the_head_alone_and_their_mean_is_measured(toy_splits, recipe, tmp_path):
    found = train_seeds(recipe, toy_splits, tmp_path / "seeds", seeds=3)
    assert [run.recipe.seed for run in found.runs] == [0, 1, 2]
    first, second = (run.load_model() for run in found.runs[:2])
    frozen = ("block1_conv", "block2_conv")
    for name in frozen:
        np.testing.assert_array_equal(first.get_layer(name).kernel, second.get_layer(name).kernel)
    assert not np.array_equal(first.layers[-1].kernel, second.layers[-1].kernel)
    row = found.spread.iloc[0]
    areas = [run.evaluation["Effusion"].auroc.value for run in found.runs]
    assert row["auroc_mean"] == pytest.approx(np.mean(areas))
    assert row["auroc_sd"] == pytest.approx(np.std(areas, ddof=1))
    mean = np.mean([run.scores("test")["score"] for run in found.runs], axis=0)
    np.testing.assert_allclose(pd.read_csv(found.folder / "scores_test.csv")["score"], mean)
    assert found.ensemble["Effusion"].n_images == len(toy_splits.test)
    assert SeedRuns.load(found.folder).record["seeds"] == 3


def test_a_sweep_chooses_on_validation_and_says_what_of_it_was_luck(toy_splits, recipe, tmp_path, monkeypatch):
    computed = copies_computed(monkeypatch)
    settings = {"stage2.learning_rate": [1e-4, 3e-3], "batch_size": ["8", "16"]}
    found = sweep(recipe, toy_splits, tmp_path / "sweep", settings=settings)
    assert sum(computed) == 2 * len(toy_splits.train) + len(toy_splits.validation) + len(toy_splits.test)
    assert len(found.runs) == 4
    assert {run.recipe.stages[1].learning_rate for run in found.runs} == {1e-4, 3e-3}
    assert found.table["validation"].is_monotonic_decreasing
    assert found.winner.folder.name == found.table["run"].iloc[0]
    lost = found.table["validation"] - found.table["test"]
    assert found.record["optimism"]["winner"] == pytest.approx(lost.iloc[0])
    assert found.record["optimism"]["by_choosing"] == pytest.approx(lost.iloc[0] - lost.mean())
    assert "choosing has made" in found.optimism
    assert Sweep.load(found.folder).record["images"]["test"] == len(toy_splits.test)


def test_the_page_of_a_cross_validation_says_cautions_numbers_and_which_model_to_use(folds, tmp_path):
    from chexkeras.report import write_cross_validation

    page = write_cross_validation(folds, tmp_path / "page.md").read_text()
    for caution in folds.cautions:
        assert caution.split(".")[0] in page
    auroc = folds.evaluation["Effusion"].auroc
    assert f"{auroc.value:.3f} ({auroc.low:.3f} to {auroc.high:.3f})" in page
    assert "One training on all images" in page
    assert "`runs/final`" in page
    assert page.count("`repeat-1-fold-") == 6
    assert (tmp_path / "page.png").stat().st_size > 1000


def test_the_page_of_a_sweep_shows_every_setting_and_what_choosing_has_made(toy_splits, recipe, tmp_path):
    import matplotlib.pyplot as plt

    from chexkeras.plots.training.experiments import sweep_plot
    from chexkeras.report import write_sweep

    single = recipe.replace(stages=recipe.stages[:1])
    found = sweep([single, single.replace(name="other", seed=3)], toy_splits, tmp_path / "s", settings={})
    page = write_sweep(found).read_text()
    assert page.count("| setting-00") == 2
    assert "other" in page
    assert "choosing has made" in page
    drawn = sweep_plot(found)
    labels = [text.get_text() for text in drawn.get_yticklabels()]
    plt.close(drawn.figure)
    assert labels == [f"recipe {name}" for name in found.table["recipe"]]


@pytest.mark.parametrize(
    ("settings", "trials", "message"),
    [
        ({}, None, "at least two settings to choose among"),
        ({"batch_size": [16]}, None, "at least two settings"),
        ({"batch_size": []}, None, "needs a list of values"),
        ({"batch_sice": [8, 16]}, None, "did you mean 'batch_size'"),
        ({"batch_size": [8, 16]}, 1, "trials"),
    ],
)
def test_a_sweep_of_nothing_is_refused_before_anything_is_trained(
    toy_splits, recipe, tmp_path, settings, trials, message
):
    with pytest.raises(ValueError, match=message):
        sweep(recipe, toy_splits, tmp_path / "sweep", settings=settings, trials=trials)
    assert list(tmp_path.iterdir()) == []


def test_random_trials_are_the_same_for_one_seed_and_each_another_setting(recipe):
    settings = {"batch_size": [4, 8, 16, 32], "stage1.epochs": [1, 2, 3]}
    drawn, again = (combinations([recipe], settings, 5) for _ in range(2))
    assert drawn == again
    assert len({json.dumps(setting) for setting, _ in drawn}) == 5
    assert len(combinations([recipe], settings, None)) == 12


def test_a_folder_that_is_taken_or_holds_work_is_not_lost(images, recipe, folds, tmp_path, monkeypatch):
    with pytest.raises(FileExistsError, match="exists; choose another name, or allow it to be replaced"):
        cross_validate(recipe, images, folds.folder, folds=2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match="is no series of trainings"):
        cross_validate(recipe, images, tmp_path / "other", folds=2, overwrite=True)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        cross_validate(recipe, images, tmp_path / "cv", folds=2, resume=True)


def test_what_can_be_refused_is_refused_before_the_images_are_audited(
    images, recipe, folds, toy_splits, tmp_path, monkeypatch
):
    monkeypatch.setattr("chexkeras.training.experiments.series.audit_images", lambda *_, **__: pytest.fail("audited"))
    with pytest.raises(FileExistsError, match="exists; choose another name"):
        cross_validate(recipe, images, folds.folder, folds=2)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        train_seeds(recipe, toy_splits, tmp_path / "seeds", resume=True)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        sweep(recipe, toy_splits, tmp_path / "sweep", settings={"batch_size": [8, 16]}, resume=True)


@pytest.mark.parametrize("kind", ["--folds", "--seeds"])
def test_labels_of_tested_images_are_not_corrected_without_a_reader(kind, images, tmp_path):
    from typer.testing import CliRunner

    from chexkeras.cli import app

    table = images[["image_id", "patient_id", "Effusion"]]
    table.to_csv(tmp_path / "labels.csv", index=False)
    corrected = table.assign(finding="Effusion", label=table["Effusion"], your_label=1 - table["Effusion"], read_by="")
    corrected.to_csv(tmp_path / "corrections.csv", index=False)
    folder = Path(images["path"].iloc[0]).parent
    words = ["train", "--data", tmp_path / "labels.csv", "--image-column", "image_id", "--patient-column", "patient_id",
             "--images", folder, "--label-columns", "Effusion", "--finding", "Effusion",
             "--preset", "quick", "--set", "image_size=32", kind, "2",
             "--corrections", tmp_path / "corrections.csv", "--run", tmp_path / "run"]  # fmt: skip
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 2
    assert "test labels are never corrected by a" in " ".join(done.output.split())


def _stopped_after(trainings, monkeypatch):
    import chexkeras.training.experiments.series as module

    real, done = module.train_one, []

    def train_one(*arguments):
        if len(done) == trainings:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments)

    monkeypatch.setattr(module, "train_one", train_one)


def test_an_interrupted_series_goes_on_with_what_it_began_with_and_with_nothing_else(
    images, recipe, folds, tmp_path, monkeypatch, capsys
):
    options = {"folds": 3, "validation": 0.3, "seeds": 2}
    with monkeypatch.context() as patched:
        _stopped_after(2, patched)
        with pytest.raises(KeyboardInterrupt), resumed_by("chexkeras train --resume cv"):
            cross_validate(recipe, images, tmp_path / "cv", **options)
    told = (
        "stopped after 2 complete trainings, which are kept with what was stored; go on with:\nchexkeras train --resume"
    )
    assert told in capsys.readouterr().err
    begun = InterruptedSeries(tmp_path / "cv")
    assert (begun.exists(), begun.done, begun.kind) == (True, 2, "cross_validation.json")
    with pytest.raises(FileExistsError, match="was interrupted after 2 complete ones: continue it with resume=True"):
        cross_validate(recipe, images, tmp_path / "cv", **options)
    with pytest.raises(ValueError, match=r"began with something else: .*seed was 0, is 7"):
        cross_validate(recipe.replace(seed=7), images, tmp_path / "cv", **options, resume=True)
    found = cross_validate(recipe, images, tmp_path / "cv", **options, resume=True)
    pd.testing.assert_frame_equal(found.scores, folds.scores)
    assert [path.name for path in tmp_path.iterdir()] == ["cv"]


KILLED = """
import os, pathlib, pickle, signal, sys

from chexkeras.training.experiments.cross_validation import cross_validate
import chexkeras.training.callbacks as callbacks
import chexkeras.training.frozen.feature_store as features_module

given, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
events, kill_at = [], 0


def watched(owner, name):
    real = getattr(owner, name)

    def call(*arguments, **options):
        events.append(1)
        if len(events) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(owner, name, call)


watched(os, "replace")
watched(features_module, "predict_padded")
watched(callbacks.FiniteLoss, "on_train_batch_end")
recipe, table, options = pickle.loads(given.read_bytes())
# TensorFlow is loaded but has not begun to work: from here a process can be made by forking, without loading it again.
for kill_at in map(int, sys.argv[3:]):
    child = os.fork()
    if not child:
        resume = (folder.parent / f".{folder.name}.series" / "asked.json").is_file()
        if not folder.exists():
            cross_validate(recipe, table, folder, resume=resume, **options)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
# In the middle of the second stage of a fold, before a run takes its place, and while the store is filled.
SHARPEST = (3, 17, 31, 9, 24)
DRAWN = np.random.default_rng(5).integers(2, 60, 50).tolist()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="forks, as Linux does")
@pytest.mark.parametrize(
    "kills", [pytest.param(SHARPEST, id="five"), pytest.param(DRAWN, id="fifty", marks=pytest.mark.release)]
)
def test_a_cross_validation_that_is_killed_again_and_again_ends_like_one_that_never_was(
    images, recipe, tmp_path, kills
):
    epochs = 1 if len(kills) < 10 else 8
    single = recipe.replace(stages=tuple(dataclasses.replace(stage, epochs=epochs) for stage in recipe.stages))
    options = {"folds": 2, "validation": 0.3, "final": "refit"}
    given = tmp_path / "given.pickle"
    given.write_bytes(pickle.dumps((single, images, options)))

    def ended(name, *kill_at):
        told = subprocess.run(
            [sys.executable, "-c", KILLED, given, tmp_path / name, *map(str, kill_at), "0"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return CrossValidation.load(tmp_path / name), told.stdout.split()

    whole, _ = ended("whole")
    found, codes = ended("killed", *kills)
    assert codes.count(str(-signal.SIGKILL)) >= 5
    assert set(codes) == {"0", str(-signal.SIGKILL)}
    pd.testing.assert_frame_equal(found.scores, whole.scores)
    for one, two in zip([*found.runs, found.final], [*whole.runs, whole.final], strict=True):
        for left, right in zip(one.load_model().weights, two.load_model().weights, strict=True):
            np.testing.assert_array_equal(left, right)
    assert [sorted(path.name for path in each.folder.iterdir()) for each in (found, whole)] == [
        sorted(path.name for path in whole.folder.iterdir())
    ] * 2
    assert isinstance(found.final, Run)
