"""What the notebooks are set by: each variable is heeded, and a wrong value is one sentence, in a notebook too."""

import json
import os
import re
from pathlib import Path

import pytest

import chexkeras as cx
from chexkeras import checks, demo, notebook
from chexkeras.data.image_table import PHANTOM_FILE
from chexkeras.results import Evaluation


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in [*notebook.VARIABLES, *(name for name in os.environ if name.startswith("CHEXKERAS_"))]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(demo, "KAGGLE_INPUT", tmp_path / "kaggle")
    monkeypatch.chdir(tmp_path)


def nih_folder(folder):
    """Makes a folder that looks like real images: a label file of NIH's and one image."""
    (folder / "images").mkdir(parents=True)
    (folder / "Data_Entry_2017.csv").write_text("Image Index,Finding Labels\n00000001_000.png,Hernia\n")
    (folder / "images" / "00000001_000.png").write_bytes(b"")
    return folder


def test_where_nothing_is_set_phantoms_are_trained_on_by_the_quick_recipe():
    settings = cx.notebook_settings()
    assert (settings.finding, settings.preset, settings.weights) == ("Cardiomegaly", "quick", None)
    assert (settings.run_dir, settings.dicom_folder, settings.synthetic) == (Path("runs/notebook"), None, True)
    assert settings.named == ()
    assert settings.recipe() == cx.preset("quick")
    assert str(settings).count("(not set)") == len(notebook.VARIABLES)
    assert "synthetic images, not clinical evidence" in str(settings)


@pytest.mark.parametrize("where", ["kaggle/data", "kaggle/datasets/organizations/nih-chest-xrays/data"])
def test_what_is_attached_on_kaggle_is_used_with_the_main_recipe(where, tmp_path):
    folder = nih_folder(tmp_path / where)
    settings = cx.notebook_settings()
    assert (settings.asked, settings.synthetic) == (folder, False)
    assert (settings.preset, settings.findings, settings.weights) == ("two-stage", ("Pneumonia",), "imagenet")
    assert settings.find_data() == folder
    assert str(folder) in str(settings) and "synthetic images" not in str(settings)


def test_every_variable_is_heeded(monkeypatch, tmp_path):
    folder = nih_folder(tmp_path / "mine")
    (tmp_path / "files").mkdir()
    (tmp_path / "base.h5").write_bytes(b"weights")
    for name, value in (
        (demo.DATA_VARIABLE, folder), (notebook.FINDING, " effusion, Mass"), (notebook.PRESET, "udacity-2a"),
        (notebook.WEIGHTS, tmp_path / "base.h5"), (demo.RUN_VARIABLE, "runs/other"),
        (notebook.DICOM, tmp_path / "files"),
    ):  # fmt: skip
        monkeypatch.setenv(name, str(value))
    settings = cx.notebook_settings()
    assert (settings.findings, settings.finding, settings.preset) == (("Effusion", "Mass"), "Effusion", "udacity-2a")
    assert (settings.weights, settings.run_dir) == (str(tmp_path / "base.h5"), Path("runs/other"))
    assert (settings.find_data(), settings.find_dicom()) == (folder, tmp_path / "files")
    assert set(settings.named) == set(notebook.VARIABLES)
    assert "not set" not in str(settings)
    shown = settings._repr_html_()
    assert all(f"<code>{name}</code>" in shown for name in notebook.VARIABLES)


def test_a_named_folder_of_phantoms_stays_synthetic_and_brings_its_dicom_files(monkeypatch, tmp_path):
    folder = nih_folder(tmp_path / "mine")
    (folder / PHANTOM_FILE).write_text("{}")
    (folder / "dicom").mkdir()
    monkeypatch.setenv(demo.DATA_VARIABLE, str(folder))
    settings = cx.notebook_settings()
    assert (settings.synthetic, settings.preset) == (True, "quick")
    assert settings.find_dicom() == folder / "dicom"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (demo.DATA_VARIABLE, "nowhere", "CHEXKERAS_DATA: .*nowhere"),
        (notebook.FINDING, "Efusion", r"CHEXKERAS_FINDING=Efusion: .*did you mean 'Effusion'\?"),
        (notebook.FINDING, "Mass,Mass", "CHEXKERAS_FINDING=Mass,Mass: .*more than once"),
        (notebook.PRESET, "qick", r"CHEXKERAS_PRESET='qick'; did you mean 'quick'\?"),
        (notebook.PRESET, "chexkeras", "CHEXKERAS_PRESET=chexkeras: it trains for Abnormal too.*CHEXKERAS_FINDING"),
        (notebook.WEIGHTS, "base.h5", "CHEXKERAS_WEIGHTS: no file at 'base.h5'.*imagenet or none"),
        (notebook.DICOM, "nowhere", "CHEXKERAS_DICOM: .*nowhere"),
        ("CHEXKERAS_FINDINGS", "Mass", r"CHEXKERAS_FINDINGS is heeded by nobody; did you mean 'CHEXKERAS_FINDING'"),
    ],
)
def test_a_wrong_value_is_one_sentence_before_anything_is_made(name, value, said, monkeypatch, tmp_path):
    monkeypatch.setenv(name, value)
    with pytest.raises((ValueError, FileNotFoundError), match=said) as raised:
        cx.notebook_settings()
    assert raised.value._render_traceback_() == [f"{type(raised.value).__name__}: {raised.value}"]
    assert list(tmp_path.iterdir()) == []


def test_an_empty_value_counts_as_not_set(monkeypatch):
    monkeypatch.setenv(notebook.FINDING, " ")
    assert cx.notebook_settings().named == ()


class TestTheRun:
    @pytest.fixture
    def trained(self, monkeypatch, tmp_path):
        """A run folder on the images of `mine`, as far as it is looked at."""
        from chexkeras.files import sha256_file

        folder = nih_folder(tmp_path / "mine")
        recipe = cx.preset("two-stage").replace(targets=("Pneumonia",), weights=None)
        run = tmp_path / "runs" / "notebook"
        run.mkdir(parents=True)
        (run / "recipe.json").write_text(json.dumps(recipe.to_dict()))
        label_file = folder / "Data_Entry_2017.csv"
        source = {"synthetic": False, "dataset": "NIH", "files": {label_file.name: sha256_file(label_file)}}
        monkeypatch.setattr(cx.Run, "provenance", {"source": source})
        monkeypatch.setenv(demo.DATA_VARIABLE, str(folder))
        return run

    def test_on_the_images_asked_for_is_found(self, trained):
        assert cx.notebook_settings().find_run().folder == Path("runs/notebook")

    def test_for_another_finding_than_asked_for_is_refused(self, trained, monkeypatch):
        monkeypatch.setenv(notebook.FINDING, "Pneumonia,Mass")
        with pytest.raises(ValueError, match=r"CHEXKERAS_FINDING: .* was trained for Pneumonia, not for Mass"):
            cx.notebook_settings().find_run()

    def test_that_is_missing_is_never_made_on_phantoms_where_real_images_are_asked_for(self, trained, monkeypatch):
        monkeypatch.setenv(demo.RUN_VARIABLE, "runs/gone")
        monkeypatch.setattr(demo, "run_demo", lambda *_, **__: pytest.fail("a run was made on phantoms"))
        with pytest.raises(FileNotFoundError, match="there is no run on the images asked for") as raised:
            cx.notebook_settings().find_run()
        assert len(raised.value._render_traceback_()) == 1
        assert not Path("data").exists()


def test_a_notebook_shows_a_refusal_as_a_sentence_and_a_fault_with_its_calls(capsys):
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell.instance()
    shell.run_cell("import chexkeras as cx; cx.Run.load('nowhere_at_all')")
    whole = capsys.readouterr().out
    shell.run_cell("import os, chexkeras as cx; os.environ['CHEXKERAS_PRESET'] = 'qick'; cx.notebook_settings()")
    said = capsys.readouterr().out.strip()
    os.environ.pop("CHEXKERAS_PRESET")
    assert len(whole.splitlines()) > 5
    assert len(said.splitlines()) == 1
    assert "ValueError: CHEXKERAS_PRESET='qick'" in said


def test_only_refusals_are_shortened():
    @checks.sentences_in_notebooks
    def function(error):
        raise error

    with pytest.raises(KeyError) as fault:
        function(KeyError("a fault"))
    assert not hasattr(fault.value, "_render_traceback_")
    with pytest.raises(OSError, match="no room") as refusal:
        function(OSError("no room\x1b[2J\nhere"))
    assert refusal.value._render_traceback_() == ["OSError: no room\\x1b[2J", "here"]
    assert checks.sentences_in_notebooks(Evaluation.from_dict).__name__ == "from_dict"


@pytest.mark.keras
def test_weights_that_cannot_be_had_are_one_sentence_with_the_ways_out_before_any_image_is_read(monkeypatch, tmp_path):
    import keras

    def no_network(*_, **__):
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as error:
            raise Exception(f"URL fetch failure on https://example.org: {error}") from error

    monkeypatch.setattr(keras.applications, "DenseNet121", no_network)
    nih_folder(tmp_path / "kaggle" / "data")
    with pytest.raises(OSError, match="ImageNet weights for DenseNet121 could not be loaded") as raised:
        cx.notebook_settings().recipe()
    error = raised.value
    assert re.search(r"Connection refused.*\(1\).*\(2\).*CHEXKERAS_WEIGHTS.*\(3\).*CHEXKERAS_WEIGHTS=none", str(error))
    assert error.__suppress_context__ and error.__cause__ is None
    assert error._render_traceback_() == [f"OSError: {error}"]
    monkeypatch.setenv(notebook.WEIGHTS, "none")
    assert cx.notebook_settings().recipe().weights is None
