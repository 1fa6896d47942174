"""What is wrong with a command is told before TensorFlow starts, which takes some seconds."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import chexkeras

ROOT = Path(chexkeras.__file__).parent.parent
CODE = """
import contextlib, io, json, sys
from chexkeras.cli import app
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            app(words, prog_name="chexkeras")
        except SystemExit as end:
            code = end.code
    print(json.dumps([words, code, said.getvalue(), sorted({"tensorflow", "keras"} & set(sys.modules))]))
"""


@pytest.fixture(scope="module")
def told(toy_run, toy, tmp_path_factory):
    """Returns what each wrong command said, by its words, and what it had imported by then."""
    here = tmp_path_factory.mktemp("here")
    images = Path(toy["path"][0]).parent
    run, data = str(toy_run.folder), str(images)
    (here / "text.md").write_text("no report")
    (here / "other.csv").write_text("a,b\n1,2\n")
    (here / "empty").mkdir()
    for kind in ("bare", "other"):
        shutil.copytree(run, here / kind)
    (here / "bare" / "model.keras").unlink()
    (here / "other" / "model.keras").write_bytes(b"another model")
    commands = {
        ("predict", data, "--run", "nosuch"): "run: no folder at 'nosuch'",
        ("predict", "nosuch", "--run", run): "folder: no folder at 'nosuch'",
        ("predict", str(here / "empty"), "--run", run): "no file in",
        ("predict", data, "--run", run, "--out", str(here / "other.csv")): "is there already and is not an output",
        ("predict", data, "--run", run, "--out", "results.txt"): "must end in",
        ("predict", data, "--run", run, "--profile", "clinic"): "did you mean 'clinical'",
        ("predict", data, "--run", run, "--engine", "kera"): "did you mean 'keras'",
        ("predict", data, "--run", run, "--precision", "bf16"): "precision='bf16' is a mode of",
        ("predict", data, "--run", run, "--names", "paths"): "did you mean 'path'",
        ("predict", data, "--run", run, "--memory", "-1"): "--memory -1 must be a number above 0",
        ("train", "--data", "nosuch", "--run", str(here / "new")): "no file or folder",
        ("train", "--data", data): "give either --run",
        ("train", "--data", data, "--run", run): "exists; choose another name",
        ("train", "--data", data, "--run", "new", "--preset", "quik"): "did you mean 'quick'",
        ("train", "--data", data, "--run", "new", "--set", "epoch=3"): "names no field",
        ("train", "--data", data, "--run", "new", "--weights", "nosuch.h5"): "weights: no file at 'nosuch.h5'",
        ("train", "--data", data, "--run", "new", "--split", "patients"): "--split",
        ("train", "--data", data, "--run", "new", "--store", "nosuch"): "nosuch",
        ("train", "--data", data, "--run", "new", "--features", "on"): "--features='on'",
        ("train", "--data", data, "--resume", "nosuch"): "nothing to resume",
        ("train", "--data", data, "--run", "new", "--folds", "1"): "--folds=1 must be a whole number of at least 2",
        ("train", "--data", data, "--run", "new", "--folds", "2", "--repeats", "0"): "--repeats=0 must be",
        ("train", "--data", data, "--run", "new", "--folds", "2", "--final", "refitt"): "did you mean 'refit'",
        ("train", "--data", data, "--run", "new", "--folds", "2", "--seeds", "0"): "--seeds=0 must be",
        ("train", "--data", data, "--run", "new", "--seeds", "1"): "--seeds=1 must be a whole number of at least 2",
        ("train", "--data", data, "--run", "new", "--repeats", "2"): "give --folds, too",
        ("sweep", "--data", data, "--out", "new"): "at least two settings",
        ("sweep", "--data", data, "--out", "new", "--set", "epoch=3,4"): "names no field",
        ("sweep", "--data", data, "--out", "new", "--set", "seed=1,x"): "seed",
        ("sweep", "--data", data, "--out", "new", "--set", "seed=1,2", "--trials", "1"): "trials=1 must be",
        ("robustness", "nosuch", "--data", data): "run: no folder at 'nosuch'",
        ("robustness", run, "--data", data, "--only", "noise"): "noise",
        ("robustness", run, "--data", data, "--margin", "2"): "--margin=2.0 must lie",
        ("robustness", run, "--data", "nosuch"): "nosuch",
        ("explain", "nosuch", "--data", data, "--out", "maps"): "run: no folder at 'nosuch'",
        ("explain", run, "--data", data, "--out", "maps", "--finding", "Efusion"): "did you mean 'Effusion'",
        ("explain", run, "--data", data, "--out", "maps", "--method", "gradcamm"): "did you mean 'gradcam'",
        ("explain", run, "--data", data, "--out", str(here)): "holds something else already",
        ("evaluate", "nosuch"): "run: no folder at 'nosuch'",
        ("evaluate", run, "--rule", "sensitivty"): "did you mean 'sensitivity'",
        **{
            (command, kind, *more): wanted
            for kind, wanted in (("bare", "has no model.keras"), ("other", "is not the file that was trained"))
            for command, *more in (
                ("robustness", "--data", data),
                ("explain", "--data", data, "--out", "maps"),
                ("evaluate", "--data", data),
            )
        },
        ("predict", data, "--run", "bare"): "has no model.keras",
        ("predict", data, "--run", "other"): "is not the file that was trained",
        ("compare", run, "nosuch"): "run: no folder at 'nosuch'",
        ("report", "nosuch"): "no folder at 'nosuch'",
        ("report", run, "--answers", "nosuch.toml"): "nosuch.toml",
        ("report-check", "nosuch.md"): "no file at 'nosuch.md'",
        ("report-init", "nosuch", "--out", "new.toml"): "no folder at 'nosuch'",
        ("audit", "nosuch"): "nosuch",
        ("prepare", "nosuch", "--store", "new"): "nosuch",
        ("presets", "quik"): "did you mean 'quick'",
        ("reader-study", "nosuch.csv"): "nosuch.csv",
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(list(map(list, commands)))],
        capture_output=True, text=True, cwd=here, env={"PYTHONPATH": str(ROOT), "PATH": "", "COLUMNS": "300"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {tuple(words): rest for words, *rest in map(json.loads, done.stdout.splitlines())}
    assert len(found) == len(commands)
    return {words: (wanted, *found[words]) for words, wanted in commands.items()}


@pytest.mark.keras
def test_every_wrong_command_ends_with_a_sentence_and_status_2(told):
    other = {words: (code, said) for words, (wanted, code, said, _) in told.items() if code != 2 or wanted not in said}
    assert not other
    assert not [said for _, _, said, _ in told.values() if "Traceback" in said]


@pytest.mark.keras
def test_nothing_is_imported_before_it_is_told(told):
    assert not {words: loaded for words, (_, _, _, loaded) in told.items() if loaded}


def test_the_list_of_commands_starts_without_pandas():
    code = "import sys, chexkeras.cli; print(sorted({'pandas', 'tensorflow', 'keras'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr
