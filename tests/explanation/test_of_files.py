"""Heat maps of scored files: which may be drawn, what stands on them, and what the command does."""

import dataclasses
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import chexkeras as cx
from chexkeras.cli import app
from chexkeras.explanation import DrawableMaps, Explainer, drawable_maps, explain_files
from chexkeras.inference import TestTimeAugmentation
from chexkeras.plots import save_heatmaps
from chexkeras.plots.explanation import scored_files
from chexkeras.runs.run import HEATMAPS, Run
from tests.report.facts.test_heatmaps import study_of

PROFILE = dataclasses.replace(
    cx.dicom.find_profile("clinical"), minimum_side_px=16, overrides=(("scrambled", "off"), ("low_contrast", "off"))
)


@pytest.fixture
def run(toy_run, tmp_path):
    """A run whose heat maps passed their checks."""
    shutil.copytree(toy_run.folder, tmp_path / "run")
    loaded = Run.load(tmp_path / "run")
    _study(loaded).save(loaded.folder / HEATMAPS)
    return loaded


def _study(run, verdict="depends on the model"):
    study = study_of(run, verdict)
    return dataclasses.replace(study, checks=dataclasses.replace(study.checks, layer="block4_pool"))


@pytest.fixture
def folder(toy_splits, tmp_path):
    """Three images, one of them below a folder with a patient's name, and one file that is refused."""
    root = tmp_path / "incoming"
    (root / "Doe_Jane").mkdir(parents=True)
    for place, (path, name) in enumerate(
        zip(toy_splits.test["path"], ("a.png", "Doe_Jane/b.png", "c.png"), strict=False)
    ):
        shutil.copy(path, root / name)
        assert place < 3
    (root / "notes.txt").write_text("no image")
    return root


@pytest.fixture
def titles(monkeypatch):
    """What is written on the images, in order: title, notes, what lies below."""
    written = []
    draw = scored_files.heatmap

    def heatmap(*given, **options):
        ax = draw(*given, **options)
        written.append((ax.get_title(loc="left"), " ".join(options["note"]), ax.get_xlabel()))
        return ax

    monkeypatch.setattr(scored_files, "heatmap", heatmap)
    return written


def test_every_scored_file_has_an_image_with_its_score_call_and_cautions(run, folder, tmp_path, titles):
    results = cx.score_folder(run, folder, PROFILE, keep=False)
    table = save_heatmaps(run, folder, tmp_path / "maps", results=results, profile=PROFILE)
    scored = results[results["verdict"] != "reject"]
    assert len(scored) == 3 and table["file"].tolist() == scored["file"].tolist()
    assert table["image"].tolist() == ["000001.png", "000002.png", "000003.png"]
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {*table["image"], "heatmaps.csv"}
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "maps" / "heatmaps.csv"), table, check_dtype=False)
    np.testing.assert_array_equal(table["score"], scored["score"])
    for (title, notes, below), row in zip(titles, scored.itertuples(), strict=True):
        assert title == f"Effusion: score {row.score:.3f}, called {row.decision} (threshold {row.threshold:.3f})"
        assert notes.startswith(
            "Not a medical device. In checks on 40 test images these heat maps depended on the model."
        )
        assert "A heat map shows which parts of an image this score depends on." in notes and "Toy images." in notes
        assert below == "gradcam, layer block4_pool"
    # Nothing of a patient is in a file's name or beside the pixels.
    for image in table["image"]:
        with Image.open(tmp_path / "maps" / image) as opened:
            assert "Doe" not in str(opened.info) + image


def test_without_results_the_files_are_scored_and_called_at_the_runs_threshold(run, folder, tmp_path):
    results = cx.score_folder(run, folder, PROFILE, keep=False).query("verdict != 'reject'")
    table = save_heatmaps(run, folder, tmp_path / "maps", profile=PROFILE)
    assert table["file"].tolist() == results["file"].tolist()
    np.testing.assert_allclose(table["score"], results["score"], atol=1e-5)
    assert table["decision"].tolist() == results["decision"].tolist()


def test_only_what_was_checked_is_drawn(toy_run, run, tmp_path):
    assert drawable_maps(run) == DrawableMaps(
        ("Effusion",), "gradcam", "block4_pool", "In checks on 40 test images these heat maps depended on the model."
    )
    assert "were never checked; run 'chexkeras explain' on it first" in drawable_maps(toy_run).reason
    assert "not for Effusion by hirescam" in drawable_maps(run, method="hirescam").reason
    assert drawable_maps(toy_run, method="occlusion").reason == ""
    _study(run, "does not depend on the model").save(run.folder / HEATMAPS)
    assert "found: does not depend on the model (because it does)" in drawable_maps(run).reason
    dataclasses.replace(_study(run), scores_fingerprint="00" * 32).save(run.folder / HEATMAPS)
    assert "checked on other scores than those on file" in drawable_maps(run).reason
    with pytest.raises(ValueError, match="no heat maps are drawn"):
        save_heatmaps(run, tmp_path / "run", tmp_path / "maps", profile=PROFILE)
    assert not (tmp_path / "maps").exists()
    for given, words in (({"finding": "Mass"}, "finding='Mass'"), ({"method": "gradcan"}, "did you mean 'gradcam'")):
        with pytest.raises(ValueError, match=words):
            drawable_maps(run, **given)


def test_unchecked_maps_say_so_on_every_image(toy_run, folder, tmp_path, titles):
    save_heatmaps(toy_run, folder, tmp_path / "maps", unchecked=True, profile=PROFILE)
    assert len(titles) == 3
    assert all(
        "NOT CHECKED: nobody has shown that this heat map depends on the model." in notes for _, notes, _ in titles
    )


def test_every_member_of_an_ensemble_must_have_passed(run, folder, tmp_path, titles):
    shutil.copytree(run.folder, tmp_path / "again")
    both = cx.Ensemble.of([run, tmp_path / "again"])
    alone = save_heatmaps(run, folder, tmp_path / "one", profile=PROFILE)
    table = save_heatmaps(both, folder, tmp_path / "maps", profile=PROFILE)
    np.testing.assert_allclose(table["score"], alone["score"], atol=1e-6)
    # A threshold belongs to the scores that chose it.
    assert set(table["decision"]) == {""} and titles[-1][0] == f"Effusion: score {table['score'].iloc[-1]:.3f}"
    flipped = save_heatmaps(
        run, folder, tmp_path / "two", augmentation=TestTimeAugmentation(flip=True), profile=PROFILE
    )
    assert np.abs(flipped["score"] - alone["score"]).max() > 0 and set(flipped["decision"]) == {""}
    (tmp_path / "again" / HEATMAPS).unlink()
    assert "those of the run 'again' were never checked" in drawable_maps(both).reason


def test_an_image_that_was_turned_upright_says_so_and_is_drawn_as_shown(run, tmp_path, titles, monkeypatch, toy_splits):
    module = sys.modules[Explainer.__module__]

    read = module.read_files

    def turned(*given, **options):
        for result in read(*given, **options):
            yield dataclasses.replace(result, image=dataclasses.replace(result.image, turned="F\\R"))

    monkeypatch.setattr(module, "read_files", turned)
    save_heatmaps(run, toy_splits.test["path"].head(1).tolist(), tmp_path / "maps", profile=PROFILE)
    assert "Drawn as shown: the file's pixels are stored turned or mirrored." in titles[0][1]


def test_a_file_that_changed_since_it_was_scored_is_not_drawn(run, folder, tmp_path, capsys):
    results = cx.score_folder(run, folder, PROFILE, keep=False)
    wrong = results.assign(score=results["score"].mask(results["file"] == "a.png", 1 - results["score"]))
    table = save_heatmaps(run, folder, tmp_path / "maps", results=wrong, profile=PROFILE)
    assert "a.png" not in set(table["file"]) and len(table) == 2
    assert "1 file(s) have no heat map: their score is now another one" in capsys.readouterr().err
    (folder / "c.png").unlink()
    with pytest.raises(ValueError, match=r"1 scored file\(s\), such as 'c.png', are not there"):
        save_heatmaps(run, folder, tmp_path / "other", results=results, profile=PROFILE)


def test_large_images_are_drawn_reduced_and_few_at_a_time(run, tmp_path):
    path = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (1400, 2100)).astype(np.uint8)).save(path)
    (found,) = explain_files(Explainer(run, layer="block3_pool"), [path], profile=PROFILE)
    assert found.shown.shape == (683, 1024) and found.maps.maps.shape == (1, 1, 4, 4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda out, scored: scored / "maps", "lies in the folder that is scored"),
        (lambda out, scored: _with(out, "other.txt"), "holds something else already"),
        (lambda out, scored: _with(out, "heatmaps.csv"), "holds heat maps already; --overwrite replaces them"),
        (lambda out, scored: _file(out), "is a file; name a folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_before_the_model_is_loaded(
    run, folder, tmp_path, monkeypatch, make, words
):
    monkeypatch.setattr(Run, "load_model", lambda _: pytest.fail("the model was loaded"))
    with pytest.raises((ValueError, FileExistsError), match=words):
        save_heatmaps(run, folder, make(tmp_path / "out", folder), profile=PROFILE)
    with pytest.raises(ValueError, match="lies in the run folder"):
        save_heatmaps(run, folder, run.folder / "maps", profile=PROFILE)


def _with(out, name):
    out.mkdir()
    (out / name).write_text("")
    return out


def _file(out):
    out.write_text("")
    return out


def test_earlier_heat_maps_are_replaced_as_a_whole_and_nothing_else_is(run, folder, tmp_path):
    out = tmp_path / "maps"
    save_heatmaps(run, folder, out, profile=PROFILE)
    (folder / "c.png").unlink()
    assert len(save_heatmaps(run, folder, out, profile=PROFILE, overwrite=True)) == 2
    assert {path.name for path in out.iterdir()} == {"000001.png", "000002.png", "heatmaps.csv"}
    (out / "mine.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds 1 thing\(s\) that are no heat maps"):
        save_heatmaps(run, folder, out, profile=PROFILE, overwrite=True)


class TestCommand:
    """The command reads radiographs under its own profiles: toy images are too small, so that they are drawn larger."""

    def call(self, run, folder, tmp_path, *options):
        given = ["predict", str(folder), "--run", str(run.folder), "--out", str(tmp_path / "r.csv"), "--workers", "0"]
        return CliRunner().invoke(app, [*given, "--heatmaps", str(tmp_path / "maps"), *options])

    @pytest.fixture(autouse=True)
    def small_images(self, monkeypatch):
        from chexkeras.dicom import profiles

        monkeypatch.setitem(profiles.PROFILES, "clinical", PROFILE)

    def test_scores_and_heat_maps(self, run, folder, tmp_path):
        done = self.call(run, folder, tmp_path)
        assert done.exit_code == 3, done.output
        assert f"heat maps of 3 files: {tmp_path / 'maps'}" in done.output
        assert len(list((tmp_path / "maps").glob("*.png"))) == 3
        again = self.call(run, folder, tmp_path)
        assert again.exit_code == 2 and "--heatmaps" in again.output and "--overwrite replaces" in again.output
        assert self.call(run, folder, tmp_path, "--overwrite").exit_code == 3

    def test_scores_alone_where_the_heat_maps_were_not_checked(self, run, folder, tmp_path):
        (run.folder / HEATMAPS).unlink()
        done = self.call(run, folder, tmp_path)
        assert done.exit_code == 3 and (tmp_path / "r.csv").is_file() and not (tmp_path / "maps").exists()
        assert (
            "no heat maps are drawn: those of the run 'run' were never checked; run 'chexkeras explain'" in done.output
        )
        done = self.call(run, folder, tmp_path, "--unchecked-heatmaps", "--heatmap-finding", "Effusion")
        assert done.exit_code == 3 and len(list((tmp_path / "maps").glob("*.png"))) == 3

    def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_scored(self, run, folder, tmp_path):
        Path(tmp_path / "maps").write_text("")
        done = self.call(run, folder, tmp_path)
        assert done.exit_code == 2 and "is a file; name a folder" in done.output and not (tmp_path / "r.csv").exists()
        done = self.call(run, folder, tmp_path, "--heatmaps", str(folder / "maps"))
        assert done.exit_code == 2 and "lies in the folder that is scored" in " ".join(done.output.split())

    def test_a_folder_without_an_image_has_no_heat_maps(self, run, folder, tmp_path):
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "notes.txt").write_text("no image")
        assert self.call(run, folder, tmp_path).exit_code == 3
        assert not (tmp_path / "maps").exists()

    def test_the_run_notes_whether_heat_maps_are_part_of_what_it_gives(self, run, folder, tmp_path):
        assert self.call(run, folder, tmp_path, "--keep").exit_code == 3
        assert Run.load(run.folder).heatmaps.part_of_output
        plain = ["predict", str(folder), "--run", str(run.folder), "--out", str(tmp_path / "r.csv"), "--workers", "0"]
        assert CliRunner().invoke(app, [*plain, "--keep"]).exit_code == 3
        assert not Run.load(run.folder).heatmaps.part_of_output
        done = self.call(run, folder, tmp_path, "--keep", "--overwrite", "--unchecked-heatmaps")
        assert done.exit_code == 2 and "a report speaks of checked ones only" in " ".join(done.output.split())
