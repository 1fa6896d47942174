import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.models.scoring import predict_scores
from chexkeras.runs.run import Run
from chexkeras.runs.writer import check_free, writing
from chexkeras.training.trainer import train

pytestmark = pytest.mark.keras

FILES = [
    "audit.json", "evaluation.json", "history.csv", "image_fingerprints.csv", "intensities.json", "left_out.csv",
    "model.keras", "novelty.json", "operating_points.json", "provenance.json", "recipe.json", "scores_test.csv",
    "scores_validation.csv", "shortcut_scores.csv", "shortcuts.json", "splits.csv", "splits.json", "stages.json",
    "table.csv", "thumbnail_shortcut.json",
]  # fmt: skip


def test_run_folder_holds_what_the_contract_names_and_nothing_else_is_left(toy_run):
    assert sorted(path.name for path in toy_run.folder.iterdir()) == FILES
    assert [path.name for path in toy_run.folder.parent.iterdir()] == ["toy"]


def test_a_recipe_for_another_finding_than_the_split_is_for_says_so(toy, toy_recipe, toy_splits, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"the recipe trains Silicosis: unknown finding.*replace\(targets=...\)"):
        train(toy_recipe.replace(targets=("Silicosis",)), toy_splits, tmp_path / "absent")
    other = split_by_patient(toy, "Mass", validation=0.25, test=0.25)
    with pytest.raises(ValueError, match="draws"):
        train(toy_recipe, other, tmp_path / "absent", draws=-1)
    assert "trains Effusion, as the recipe says, on a split that is stratified over Mass" in capsys.readouterr().err


def test_the_toy_task_is_learned(toy_run):
    assert toy_run.evaluation["Effusion"].auroc.low > 0.7


def test_reloaded_model_gives_the_saved_scores(toy_run, toy_splits):
    again = predict_scores(toy_run.load_model(), toy_splits.test, "Effusion", batch_size=16)
    saved = toy_run.scores("test")
    np.testing.assert_allclose(saved["score"], again["score"], atol=1e-6)
    assert (saved["image_id"] == again["image_id"]).all()


def test_keras_alone_loads_the_model_of_a_run(toy_run, toy_splits):
    """Nothing of this library is imported: neither the loss nor the state of the optimizer is in the file."""
    code = (
        "import sys, keras; model = keras.saving.load_model(sys.argv[1]);"
        "print(model.name, model.compiled, 'chexkeras' in sys.modules, repr(float(abs(model.get_weights()[-2]).sum())))"
    )
    file = toy_run.folder / "model.keras"
    run = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    model = toy_run.load_model()
    expected = f"{model.name} False False {float(abs(model.get_weights()[-2]).sum())!r}"
    assert run.stdout.strip().splitlines()[-1] == expected


def test_threshold_comes_from_validation_and_is_applied_to_test(toy_run):
    (point,) = toy_run.operating_points
    validation = toy_run.scores("validation")
    assert point.chosen_on == "validation"
    assert point.threshold in set(validation["score"])
    assert toy_run.evaluation["Effusion"].operating_point == point
    with pytest.raises(ValueError, match="chose"):
        evaluate(validation, [point])


def test_provenance_names_data_split_weights_versions_and_cautions(toy_run):
    record = toy_run.provenance
    assert record["source"]["dataset"] == "toy images"
    assert record["split"]["kind"] == "patient"
    assert record["split"]["leaky"] is False
    assert record["weights"]["origin"] == "untrained, seed 0"
    assert len(record["model"]["sha256"]) == 64
    assert record["packages"]["keras"]
    assert record["batch_size"] == {"asked": 16, "used": {"stage1": "16", "stage2": "16"}}
    assert len(record["run_id"]) == 32
    assert "Toy images." in toy_run.cautions
    assert any(caution.startswith("Untrained backbone") for caution in toy_run.cautions)
    assert toy_run.evaluation.cautions == toy_run.cautions


def test_history_and_stages_tell_what_happened(toy_run):
    history = toy_run.history
    assert list(history["global_epoch"]) == list(range(1, 7))
    assert list(history["stage"]) == ["stage1"] * 3 + ["stage2"] * 3
    assert history["val_auroc"].between(0, 1).all()
    best = toy_run.provenance["best"]
    row = history[(history["stage"] == best["stage"]) & (history["epoch"] == best["epoch"])]
    assert float(row["val_auroc"].iloc[0]) == history["val_auroc"].max()
    assert toy_run.stages[1]["first_trainable_layer"] == "block3_relu"


def test_table_has_no_paths_and_every_image_its_part(toy_run, toy):
    table = toy_run.table
    assert "path" not in table
    assert table["part"].value_counts().sum() == len(toy)
    assert table.groupby("patient_id")["part"].nunique().max() == 1


def test_one_seed_one_result(tmp_path, toy_recipe, short_recipe, toy_splits, toy_run):
    again = train(toy_recipe, toy_splits, tmp_path / "again")
    pd.testing.assert_frame_equal(again.scores("test"), toy_run.scores("test"), check_exact=True)
    # The first epoch is the same but for the seed.
    other = train(short_recipe.replace(seed=1), toy_splits, tmp_path / "other")
    assert other.history["loss"][0] != toy_run.history["loss"][0]


def test_a_leaky_split_is_named_in_the_run(tmp_path, toy, toy_recipe):
    from chexkeras.data.splits.splitters import split_by_image
    from chexkeras.recipes.recipe import Stage

    recipe = toy_recipe.replace(stages=(Stage("stage1", 1, 1e-3),))
    run = train(recipe, split_by_image(toy, "Effusion", validation=0.25, test=0.25), tmp_path / "leaky")
    assert run.provenance["split"]["leaky"] is True
    assert any(caution.startswith("LEAKY split") for caution in run.evaluation.cautions)


def test_an_existing_run_is_kept_unless_overwriting_is_allowed(tmp_path, toy_recipe, toy_splits, toy_run):
    folder = tmp_path / "kept"
    shutil.copytree(toy_run.folder, folder)
    with pytest.raises(FileExistsError, match="overwrite"):
        train(toy_recipe, toy_splits, folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="no run folder"):
        train(toy_recipe, toy_splits, tmp_path / "mine", overwrite=True)


def test_a_run_that_fails_leaves_the_previous_one_and_no_debris(tmp_path, toy_recipe, toy_splits, toy_run, monkeypatch):
    folder = tmp_path / "kept"
    shutil.copytree(toy_run.folder, folder)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("chexkeras.training.trainer.fit_stages", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(toy_recipe, toy_splits, folder, overwrite=True, features="off")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_cannot_work_is_refused_before_training(tmp_path, toy, toy_recipe, toy_splits, monkeypatch):
    def too_late(*_, **__):
        raise AssertionError("training started")

    monkeypatch.setattr("chexkeras.training.start.build_classifier", too_late)
    guarded = toy_recipe.replace(operating_point=type(toy_recipe.operating_point)("guarded_sensitivity", 0.97))
    with pytest.raises(ValueError, match="positives"):
        train(guarded, toy_splits, tmp_path / "run")
    with pytest.raises(ValueError, match="Hernia"):
        train(toy_recipe.replace(targets=("Hernia",)), toy_splits, tmp_path / "run")
    with pytest.raises(ValueError, match="training images shows Hernia; balanced batches need images of every group"):
        train(toy_recipe.replace(balanced_batches="Hernia"), toy_splits, tmp_path / "run")
    broken = toy.copy()
    broken.attrs = toy.attrs
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG but not really")
    broken.loc[5, "path"] = str(bad)
    with pytest.raises(ValueError, match=r"unreadable"):
        train(toy_recipe, split_by_patient(broken, "Effusion", validation=0.25, test=0.25), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_stage_that_names_no_layer_is_refused_before_training(tmp_path, toy_recipe, toy_splits, monkeypatch):
    from chexkeras.recipes.recipe import Stage

    monkeypatch.setattr("chexkeras.training.trainer.fit_stages", lambda *_: pytest.fail("training started"))
    recipe = toy_recipe.replace(stages=(toy_recipe.stages[0], Stage("stage2", 1, 1e-3, "block3_conb")))
    with pytest.raises(ValueError, match="did you mean 'block3_conv'"):
        train(recipe, toy_splits, tmp_path / "run", features="off")
    assert list(tmp_path.iterdir()) == []


def test_run_folders_are_found_behind_links_and_dots(tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk", target_is_directory=True)
    monkeypatch.chdir(tmp_path / "disk")
    for name in (".", "../link", "../disk/"):
        assert check_free(name, overwrite=False) == (tmp_path / "disk").resolve()
    with writing(check_free(tmp_path / "link", overwrite=False)) as working:
        (working / "recipe.json").write_text("{}")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "recipe.json").is_file()
    with pytest.raises(ValueError, match="root of a file system"):
        check_free("/", overwrite=True)


def test_a_run_that_cannot_take_its_place_leaves_the_previous_one(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.json").write_text("previous")
    real = os.replace

    def refused(source, destination):
        if Path(destination) == folder and not str(source).endswith(".previous"):
            raise OSError("no")
        real(source, destination)

    monkeypatch.setattr("chexkeras.runs.writer.os.replace", refused)
    with pytest.raises(OSError, match="no"), writing(folder) as working:
        (working / "recipe.json").write_text("new")
    assert (folder / "recipe.json").read_text() == "previous"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_deleting_any_file_of_the_run_gives_an_error_that_names_it(tmp_path, toy_run):
    readers = {
        "recipe.json": lambda run: run.recipe, "provenance.json": lambda run: run.provenance,
        "stages.json": lambda run: run.stages, "history.csv": lambda run: run.history,
        "table.csv": lambda run: run.table, "audit.json": lambda run: run.audit,
        "left_out.csv": lambda run: run.left_out, "evaluation.json": lambda run: run.evaluation,
        "operating_points.json": lambda run: run.operating_points, "scores_test.csv": lambda run: run.scores("test"),
        "model.keras": lambda run: run.load_model(),
    }  # fmt: skip
    for name, read in readers.items():
        folder = tmp_path / name.replace(".", "_")
        shutil.copytree(toy_run.folder, folder)
        (folder / name).unlink()
        with pytest.raises(FileNotFoundError, match=name):
            read(Run.load(folder))


def test_reading_a_run_needs_no_tensorflow(toy_run):
    code = (
        "import sys; from chexkeras.runs.run import Run; run = Run.load(sys.argv[1]);"
        "run.evaluation, run.history, run.table, run.scores('test');"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(toy_run.folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_are_strict_json(toy_run):
    for path in toy_run.folder.glob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in a JSON file"))


def test_a_threshold_that_cannot_be_chosen_leaves_the_model_beside_the_run(
    tmp_path, toy_recipe, toy_splits, monkeypatch, capsys
):
    from chexkeras.training import finish

    real, calls = finish.operating_points, []

    def fails_on_real_scores(recipe, scores):
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("no threshold reaches a specificity of 0.9")
        return real(recipe, scores)

    monkeypatch.setattr(finish, "operating_points", fails_on_real_scores)
    with pytest.raises(ValueError, match="no threshold"):
        train(toy_recipe, toy_splits, tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run.unfinished", "run.failed"]
    assert (tmp_path / "run.failed" / "model.keras").is_file()
    said = capsys.readouterr().err
    assert "run.failed" in said
    assert "stopped after 6 epochs, which are kept" in said


def test_what_a_killed_run_left_is_cleared_and_a_run_being_replaced_is_put_back(tmp_path, toy_run):
    from chexkeras.runs.writer import writing

    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    (tmp_path / f".run.{done.pid}.abc").mkdir()
    shutil.copytree(toy_run.folder, tmp_path / f".run.{done.pid}.abd.previous")
    (tmp_path / ".run.features").mkdir()
    (tmp_path / f".run2.{done.pid}.abc").mkdir()
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "run"):
        raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".run.features", f".run2.{done.pid}.abc", "run"])
    assert Run.load(tmp_path / "run").recipe == toy_run.recipe


def test_a_patient_may_be_called_na(tmp_path, toy_run):
    folder = tmp_path / "run"
    shutil.copytree(toy_run.folder, folder)
    table = pd.read_csv(folder / "table.csv", dtype=str)
    table.loc[0, "patient_id"] = "NA"
    table.to_csv(folder / "table.csv", index=False)
    assert Run.load(folder).table.loc[0, "patient_id"] == "NA"


def test_a_run_on_a_store_is_the_run_on_the_files(toy_run, toy_recipe, toy_splits, tmp_path):
    from chexkeras.data.store.prepare import prepare

    store = prepare(toy_splits.table, tmp_path / "store", size=toy_recipe.image_size)
    run = train(toy_recipe, toy_splits, tmp_path / "run", store=store)
    for part in ("validation", "test"):
        pd.testing.assert_frame_equal(run.scores(part), toy_run.scores(part))
    assert run.provenance["store"] == store.fingerprint
    with pytest.raises(ValueError, match="holds images of 32 px, but 64 px are wanted"):
        train(toy_recipe.replace(image_size=64), toy_splits, tmp_path / "other", store=store)


def test_tensorboard_gets_a_point_for_every_epoch(toy_recipe, toy_splits, tmp_path):
    pytest.importorskip("tensorboard")
    import tensorflow as tf

    run = train(toy_recipe, toy_splits, tmp_path / "run", tensorboard=tmp_path / "board")
    found = {}
    for path in (tmp_path / "board").rglob("events*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for entry in event.summary.value:
                points = found.setdefault(f"{path.parent.name} {entry.tag}", {})
                points[event.step] = float(tf.make_ndarray(entry.tensor))
    columns = {
        "loss": "train epoch_loss",
        "learning_rate": "train epoch_learning_rate",
        "val_loss": "validation epoch_loss",
        "val_auroc": "validation epoch_auroc",
    }
    for column, tag in columns.items():
        expected = dict(zip(run.history["global_epoch"], run.history[column], strict=True))
        assert found[tag] == pytest.approx(expected, rel=1e-6), tag


def test_a_folder_for_tensorboard_that_cannot_be_made_is_named_before_training(toy_recipe, toy_splits, tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"--tensorboard\), cannot be made .*name another"):
        train(toy_recipe, toy_splits, tmp_path / "run", tensorboard=tmp_path / "file" / "board")


def test_tensorboard_that_is_not_installed_is_named_before_training(toy_recipe, toy_splits, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match="pip install tensorboard"):
        train(toy_recipe, toy_splits, tmp_path / "run", tensorboard=tmp_path / "board")
    assert list(tmp_path.iterdir()) == []


def test_a_finding_without_positives_in_validation_and_test_is_named_and_the_others_are_measured(
    toy, toy_recipe, tmp_path
):
    table = toy.copy()
    table.attrs = toy.attrs
    splits = split_by_patient(table, "Effusion", validation=0.25, test=0.25)
    first = splits.train["patient_id"].iloc[0]
    splits.table["Hernia"] = (splits.table["patient_id"] == first).astype(float)
    recipe = toy_recipe.replace(targets=("Effusion", "Hernia"), stages=toy_recipe.stages[:1])
    run = train(recipe, splits, tmp_path / "run")
    assert "Hernia has no positive image in validation: its threshold, 0.5, is stated, not chosen." in run.cautions
    assert "Hernia has no positive image in test: its AUROC and sensitivity cannot be measured." in run.cautions
    effusion, hernia = run.operating_points
    assert (effusion.rule, effusion.chosen_on) == ("sensitivity", "validation")
    assert (hernia.rule, hernia.chosen_on, hernia.threshold) == ("fixed", "stated", 0.5)
    measured = {entry.finding: entry for entry in run.evaluation.findings}
    assert measured["Effusion"].auroc.value > 0.9
    assert not measured["Hernia"].auroc.estimable
    assert not measured["Hernia"].sensitivity.estimable
    assert run.load_model().output_shape[-1] == 2
