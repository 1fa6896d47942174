"""Two processes that share every batch train to what one trains to; skipped without JAX."""

import importlib.util
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chexkeras.training.distributed.launch import launch

pytestmark = [pytest.mark.keras, pytest.mark.slow]

WORK = """
import json, pathlib, pickle, sys
import numpy as np
from chexkeras.training.distributed.membership import membership
from chexkeras.training.distributed.team import Team

team = Team.join(membership("torchrun"), {"keras": "3"})
team.start_jax()
from chexkeras.data.augmentation import Augmentation
from chexkeras.recipes.recipe import Recipe, Stage
from chexkeras.training.distributed.follow import follow, share_work
from chexkeras.training.distributed.sharing import Sharing
from chexkeras.training.loop import fit_stages
from chexkeras.training.objective import build_loss
from chexkeras.training.own_objects import OwnObjects
from chexkeras.training.resume.checkpoints import Checkpoints, value
from chexkeras.training.start import built

work = pathlib.Path(sys.argv[1])
table, train, validation = pickle.loads((work / "parts").read_bytes())
if not team.leads:
    follow(team, table, None)
    team.close()
    sys.exit()
stage = Stage("top", 2, 1e-3, 0.2, optimizer="adamw", schedule="cosine", ema=0.9, patience=1)
# Batches of 15 images and a last one of 7: neither divides by 2.
recipe = Recipe("toy", ("Effusion",), image_size=32, backbone="SmallCNN", weights=None, head="three_layer",
                stages=(stage,), batch_size=15, augment=Augmentation(flip=True), balanced_batches="Effusion")
model, loss, checkpoints = built(recipe, OwnObjects()), build_loss(recipe, train), Checkpoints(work)
start = [value(each) for each in model.variables]
checkpoints.save_start(start)
share_work(team, recipe, train, validation, None, work)
sharing = Sharing(team=team)
with sharing.fitting(start, lambda: built(recipe, OwnObjects())) as shared:
    result = fit_stages(shared, recipe, loss, train, validation, checkpoints=checkpoints, sharing=sharing)
    team.part()
sharing.bring_back(shared, model, result.best_epochs)
team.close()
alone = built(recipe, OwnObjects())
expected = fit_stages(alone, recipe, loss, train, validation)
rows = [[[row[name] for name in ("loss", "val_loss", "val_auroc", "learning_rate")] for row in each.history]
        for each in (result, expected)]
norms = [(float(np.linalg.norm(value(a) - value(b))), float(np.linalg.norm(value(b))))
         for a, b in zip(model.weights, alone.weights)]
told = {"rows": rows, "norms": norms, "kept": result.kept == expected.kept, "share": sharing.record(),
        "moved": float(np.linalg.norm(start[-1] - value(alone.variables[-1])))}
(work / "told").write_text(json.dumps(told))
"""


@pytest.fixture(autouse=True, scope="module")
def with_jax():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")


def test_two_processes_train_to_the_weights_of_one(toy, tmp_path, monkeypatch):
    table = pd.DataFrame(toy)
    (tmp_path / "parts").write_bytes(pickle.dumps((table, table.iloc[:37], table.iloc[40:57])))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    assert launch([sys.executable, "-c", WORK, str(tmp_path)], 2) == 0
    told = json.loads((tmp_path / "told").read_text())
    assert told["share"] == {"processes": 2, "devices": 2}
    assert told["kept"]
    np.testing.assert_allclose(*told["rows"], rtol=1e-5)
    assert all(apart <= 1e-4 * norm for apart, norm in told["norms"])


@pytest.mark.release
def test_a_worker_that_is_killed_ends_all_and_one_process_resumes_to_the_same_run(toy, tmp_path):
    """As it is typed: the command names the way to go on, and what it leads to is what one process trains to."""
    pd.DataFrame(toy)[["image_id", "patient_id", "Effusion"]].to_csv(Path(toy["path"][0]).parent / "t.csv", index=False)
    words = ["train", "--data", str(Path(toy["path"][0]).parent / "t.csv"), "--image-column", "image_id",
             "--patient-column", "patient_id", "--label-columns", "Effusion", "--finding", "Effusion", "--preset",
             "chexnet", "--weights", "none", "--features", "off"]  # fmt: skip
    for setting in ("backbone=SmallCNN", "image_size=32", "batch_size=15", "stage1.epochs=8", "stage1.patience=null"):
        words += ["--set", setting]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}

    def command(*words):
        return subprocess.Popen(
            [sys.executable, "-m", "chexkeras", *words], env=environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    begun = command(*words, "--run", str(tmp_path / "run"), "--workers", "2")
    for line in begun.stderr:
        if "epoch 1/8" in line:
            break
    children = Path(f"/proc/{begun.pid}/task/{begun.pid}/children").read_text().split()
    (second,) = (each for each in children if "RANK=1" in Path(f"/proc/{each}/environ").read_text().split("\0"))
    os.kill(int(second), signal.SIGKILL)
    said = begun.stderr.read()
    assert begun.wait() == 2
    assert re.search(r"error: worker 1 of 2 \(process \d+ on \S+\) is lost", said)
    assert re.search(r"go on with:\nchexkeras train --data .* --resume ", said)
    again = command(*words[:9], "--resume", str(tmp_path / "run"))
    assert "resumed after stage1 epoch" in again.communicate()[1]
    assert again.returncode == 0
    alone = command(*words, "--run", str(tmp_path / "alone"))
    alone.communicate()
    one, other = (pd.read_csv(tmp_path / name / "history.csv") for name in ("alone", "run"))
    np.testing.assert_allclose(one[["loss", "val_loss"]], other[["loss", "val_loss"]], rtol=1e-3)
    scores = [pd.read_csv(tmp_path / name / "scores_test.csv")["score"] for name in ("alone", "run")]
    np.testing.assert_allclose(*scores, atol=1e-3)
    assert zipfile.is_zipfile(tmp_path / "run" / "model.keras")
