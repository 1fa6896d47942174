import dataclasses
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from chexkeras import files
from chexkeras.cli import app
from chexkeras.data.image_layout import layouts_of
from chexkeras.data.pipeline import images_with_ids
from chexkeras.dicom.profiles import CLINICAL
from chexkeras.dicom.workers.options import IN_PROCESS
from chexkeras.evaluation.novelty import fit_novelty, freeze
from chexkeras.inference.ensemble import Ensemble
from chexkeras.inference.novelty import CHANGES, find_unlike, layouts_of_table, learn_novelty, measure_novelty
from chexkeras.inference.predictor import Predictor
from chexkeras.inference.results_file import from_line, read_results, to_line
from chexkeras.inference.score_folder import score_folder
from chexkeras.phantoms.cohort import make_cohort
from chexkeras.phantoms.render import render
from chexkeras.runs.run import NOVELTY, Run

pytestmark = pytest.mark.keras

REFUSING = dataclasses.replace(CLINICAL, name="refusing", overrides=(("unlike_training", "reject"),))


@pytest.fixture(scope="module")
def films():
    cohort = make_cohort(280, 1)
    drawn = np.random.default_rng(0).permutation(len(cohort))[:280]
    small = [Image.fromarray(render(cohort[at], 1, 64)[0]) for at in drawn]
    return np.stack([np.asarray(image.resize((256, 256), Image.Resampling.BILINEAR)) for image in small])


@pytest.fixture(scope="module")
def run(toy_run, films, tmp_path_factory):
    """The toy run, as if it had learnt from phantoms."""
    folder = shutil.copytree(toy_run.folder, tmp_path_factory.mktemp("novelty") / "run")
    predictor = Predictor.load(toy_run)
    layouts = layouts_of(np.stack([predictor.model_pixels(film) for film in films]))
    learnt = freeze(fit_novelty(layouts[:120], 32), layouts[120:240], test=layouts[240:])
    learnt.save(folder / NOVELTY)
    record = json.loads((folder / "provenance.json").read_text())
    record["novelty"] = {"sha256": files.sha256_file(folder / NOVELTY)}
    (folder / "provenance.json").write_text(json.dumps(record))
    return Run.load(folder)


def wrong(film):
    net = np.outer(np.sin(np.arange(256) / 6), np.cos(np.arange(256) / 5))
    return {
        "inverted": 255 - film,
        "turned": np.rot90(film).copy(),
        "head down": film[::-1].copy(),
        "a net": np.uint8(127 + 120 * net),
    }


def test_images_unlike_training_get_a_warning_and_their_numbers(run, films):
    good = Predictor.load(run).predict(list(films[240:260]), read_options=IN_PROCESS)
    assert good["code"].str.contains("unlike_training").sum() <= 2
    assert (good["novelty_threshold"] == run.novelty.threshold).all()
    table = Predictor.load(run).predict(list(wrong(films[241]).values()), read_options=IN_PROCESS)
    assert table["code"].str.contains("unlike_training").all()
    assert (table["verdict"] == "warn").all() and table["score"].notna().all()
    assert (table["novelty"] > table["novelty_threshold"]).all()


def test_a_profile_can_refuse_them(run, films):
    table = Predictor.load(run, REFUSING).predict(list(wrong(films[241]).values()), read_options=IN_PROCESS)
    assert (table["verdict"] == "reject").all() and table["score"].isna().all()
    assert (table["code"] == "unlike_training").all()
    assert (table["novelty"] > table["novelty_threshold"]).all()
    assert "gray values inverted" in table["detail"].iloc[0]


def test_a_profile_can_leave_it_out(run, films):
    profile = dataclasses.replace(CLINICAL, name="without", overrides=(("unlike_training", "off"),))
    table = Predictor.load(run, profile).predict(list(wrong(films[241]).values()), read_options=IN_PROCESS)
    assert not table["code"].str.contains("unlike_training").any()
    assert (table["novelty"] > table["novelty_threshold"]).all()


def test_mixed_batches_keep_their_order(run, films):
    images = [film for at in range(240, 250) for film in (films[at], 255 - films[at])]
    table = Predictor.load(run, REFUSING).predict(images, batch_size=3, read_options=IN_PROCESS)
    assert table["file"].tolist() == [f"array {at}" for at in range(20)]
    assert (table["code"] == "unlike_training").tolist()[1::2] == [True] * 10


def test_a_run_that_has_not_learnt_it_scores_as_before(toy_run, run, films):
    older = Predictor(toy_run.load_model(), toy_run.operating_points)
    table = older.predict(list(films[240:244]), read_options=IN_PROCESS)
    assert table["novelty"].isna().all() and table["novelty_threshold"].isna().all()
    again = Predictor.load(run).predict(list(films[240:244]), read_options=IN_PROCESS)
    np.testing.assert_allclose(table["score"], again["score"], atol=1e-6)


def test_novelty_of_another_size_is_refused(run):
    other = dataclasses.replace(run.novelty, image_size=64)
    with pytest.raises(ValueError, match="learnt from images of 64 pixels; the model takes 32"):
        Predictor(run.load_model(), run.operating_points, novelty=other)


def test_another_file_in_its_place_is_refused(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    dataclasses.replace(run.novelty, threshold=99.0).save(folder / NOVELTY)
    with pytest.raises(ValueError, match=r"^novelty\.json of the run .* another file than the one that training wrote"):
        _ = Run.load(folder).novelty


def test_the_command_says_how_many_and_can_refuse(run, films, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    Image.fromarray(films[241]).save(folder / "good.png")
    for name, image in wrong(films[241]).items():
        Image.fromarray(image).save(folder / f"{name}.png")
    command = ["predict", str(folder), "--run", str(run.folder), "--workers", "0"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "a.csv")])
    assert done.exit_code == 0 and "4 unlike the training images" in done.output, done.output
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "b.csv"), "--unlike", "reject"])
    assert done.exit_code == 3, done.output
    table = pd.read_csv(tmp_path / "b.csv")
    assert (table["code"] == "unlike_training").sum() == 4
    assert (table["profile"] == "clinical, unlike_training reject").all()
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "c.csv"), "--unlike", "perhaps"])
    assert done.exit_code == 2 and "--unlike" in done.output


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_results_are_read_back(run, films, tmp_path, ending):
    folder = tmp_path / "films"
    folder.mkdir()
    Image.fromarray(255 - films[241]).save(folder / "inverted.png")
    (folder / "no_image.png").write_bytes(b"nothing")
    out = tmp_path / f"results{ending}"
    table = score_folder(run, folder, keep=False, out=out, read_options=IN_PROCESS)
    first, second = read_results(out)
    assert first["novelty"] == table["novelty"].iloc[0] and first["novelty_threshold"] == run.novelty.threshold
    assert math.isnan(second["novelty"]) and math.isnan(second["novelty_threshold"])


def test_results_of_earlier_versions_are_read(run, films):
    record = next(Predictor.load(run).records([], read_options=IN_PROCESS), None)
    assert record is None
    line = json.dumps(
        {"file": "a", "verdict": "accept", "codes": [], "detail": "", "view": "", "age_years": None, "decoder": "",
         "engine": "", "seconds": 0.1, "profile": "clinical", "key": "", "fingerprint": "", "findings": []}
    )  # fmt: skip
    found = from_line(line)
    assert math.isnan(found["novelty"])
    assert math.isnan(from_line(to_line(found))["novelty_threshold"])


def test_training_learns_it_from_its_own_images(toy_splits, toy_recipe):
    learnt = learn_novelty(toy_splits, toy_recipe.image_size, rate=0.1)
    ids, layouts = layouts_of_table(toy_splits.test, toy_recipe.image_size)
    assert sorted(ids) == sorted(toy_splits.test["image_id"].astype(str))
    assert learnt.on_test.value == learnt.unlike(learnt.of(layouts)).mean()
    assert learnt.n_validation == len(toy_splits.validation)


def test_ensembles_flag_what_any_member_flags(run, toy, toy_run, tmp_path):
    copy = Run.load(shutil.copytree(toy_run.folder, tmp_path / "other"))
    table = toy.head(6)
    found = find_unlike(Ensemble.of([run, copy]), table)
    assert len(found) == 12
    by_run = found.set_index(["image_id", "run"])["unlike"].unstack()
    together = found.drop_duplicates("image_id").set_index("image_id")["unlike_any"]
    assert (by_run.any(axis=1) == together.loc[by_run.index]).all()


def test_what_is_no_table_is_refused(run):
    with pytest.raises(TypeError, match="table"):
        find_unlike(run, ["a.png"])


@pytest.fixture
def older(toy_run, tmp_path):
    """The toy run as an earlier version left it."""
    folder = shutil.copytree(toy_run.folder, tmp_path / "older")
    (folder / NOVELTY).unlink()
    record = json.loads((folder / "provenance.json").read_text())
    del record["novelty"], record["resolution"]
    (folder / "provenance.json").write_text(json.dumps(record))
    return Run.load(folder)


def test_an_older_run_learns_it_afterwards_as_training_would_have(older, toy_run, toy):
    scores = (older.folder / "scores_test.csv").read_bytes()
    assert older.novelty is None and older.resolution is None
    learnt = measure_novelty(older, toy)
    assert learnt == older.novelty == Run.load(older.folder).novelty == toy_run.novelty
    assert Run.load(older.folder).resolution == toy_run.resolution
    assert (older.folder / "scores_test.csv").read_bytes() == scores
    with pytest.raises(FileExistsError, match="overwrite"):
        measure_novelty(older, toy)
    again = measure_novelty(older, toy, rate=0.2, overwrite=True)
    assert again.threshold < learnt.threshold or np.isnan(learnt.threshold)
    assert Run.load(older.folder).novelty == again


def test_it_is_learnt_only_from_the_runs_own_images(older, toy, tmp_path):
    with pytest.raises(ValueError, match="images of the run are not in the table"):
        measure_novelty(older, toy.iloc[1:])
    absent = toy.assign(path=[str(tmp_path / "gone.png"), *toy["path"][1:]])
    with pytest.raises(FileNotFoundError, match="images of the run are not on disk"):
        measure_novelty(older, absent)
    assert measure_novelty(older, toy, keep=False) is not None
    assert not (older.folder / NOVELTY).exists()


def test_changed_test_images_are_counted_one_by_one(toy_run, toy_splits):
    learnt = learn_novelty(toy_splits, 32, rate=0.1)
    assert [entry.name for entry in learnt.changed] == list(CHANGES)
    batches = images_with_ids(toy_splits.test, image_size=32, batch_size=64)
    images = np.concatenate([np.asarray(pixels)[..., 0] for pixels, _ in batches])
    inverted = learnt.unlike(learnt.of(layouts_of(255 - images)))
    found = next(entry for entry in learnt.changed if "inverted" in entry.name)
    assert found.flagged.value == inverted.mean()
    assert found.flagged.n == len(toy_splits.test) and list(found.percentiles) == sorted(found.percentiles)


def test_the_command_for_an_older_run(older, tmp_path):
    done = CliRunner().invoke(app, ["novelty", str(older.folder), "--data", str(tmp_path / "nowhere")])
    assert done.exit_code == 2 and "nowhere" in done.output
    done = CliRunner().invoke(app, ["novelty", str(older.folder), "--data", str(tmp_path), "--rate", "1.5"])
    assert done.exit_code == 2 and "rate" in done.output
