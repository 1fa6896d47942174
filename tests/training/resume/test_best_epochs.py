import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexkeras.inference.ensemble import Ensemble
from chexkeras.recipes.recipe import Recipe, Stage
from chexkeras.runs.run import Run
from chexkeras.training.resume.checkpoints import BestEpochs
from chexkeras.training.trainer import train


def changing():
    """Stands in for what training changes: its weights are the number of times they were asked for."""
    told = SimpleNamespace(assigned=None, count=0)

    def weights():
        told.count += 1
        return {0: np.array(told.count)}

    told.weights = weights
    told.assign_weights = lambda weights: setattr(told, "assigned", int(weights[0]))
    return told


@given(
    values=st.lists(st.sampled_from([0.1, 0.2, 0.3, math.nan]), max_size=8),
    keep=st.integers(1, 4),
    mode=st.sampled_from(["max", "min"]),
)
def test_the_best_epochs_are_those_of_a_sorted_list(values, keep, mode):
    best = BestEpochs(changing(), keep, mode)
    for number, value in enumerate(values, start=1):
        sign = -1 if mode == "max" else 1
        seen = [(sign * v, n) for n, v in enumerate(values[:number], start=1) if not math.isnan(v)]
        expected = [n for _, n in sorted(seen)][:keep]
        assert best.offer(number, value) == (expected[:1] == [number])
        assert best.numbers == expected
        assert sorted(best.weights) == sorted(expected)


def test_weights_are_brought_back_and_taken_up():
    told = changing()
    best = BestEpochs(told, 2, "max")
    best.assign()
    assert told.assigned is None
    for number, value in ((1, 0.5), (2, 0.9), (3, 0.7)):
        best.offer(number, value)
    best.assign()
    assert told.assigned == 2
    best.assign(3)
    assert told.assigned == 3
    later = BestEpochs(told, 2, "max")
    later.resume(best.weights, {1: 0.5, 2: 0.9, 3: 0.7})
    assert later.numbers == [2, 3]
    assert not later.offer(4, 0.8)
    assert later.numbers == [2, 4]


def test_a_recipe_keeps_at_least_one_epoch():
    with pytest.raises(ValueError, match="keep_epochs"):
        Recipe(keep_epochs=0)


@pytest.mark.keras
def test_kept_epochs_are_runs_of_their_own_and_can_be_averaged(toy_recipe, toy_splits, tmp_path):
    stages = (Stage("head", 2, 3e-3, 0.0), Stage("top", 2, 1e-3, 0.3))
    recipe = toy_recipe.replace(stages=stages, keep_epochs=3, monitor="val_loss")
    run = train(recipe, toy_splits, tmp_path / "run")
    losses = run.history.set_index("global_epoch")["val_loss"].sort_values()
    epochs = run.epochs
    assert [each.folder.name for each in epochs] == ["run", *(f"epoch-{number:03d}" for number in losses.index[1:3])]
    for each, number in zip(epochs, losses.index, strict=False):
        row = run.history.iloc[number - 1]
        assert (each.provenance["best"]["stage"], each.provenance["best"]["epoch"]) == (row["stage"], row["epoch"])
        assert each.evaluation.findings[0].finding == "Effusion"
    # The weights of an epoch are those with which it was scored: its validation loss comes out again.
    for each, number in zip(epochs, losses.index, strict=False):
        scores = each.scores("validation")
        label, score = scores["label"].to_numpy(), scores["score"].to_numpy()
        weights = each.provenance["loss"]
        of_the_label = np.where(label == 1, score, 1.0 - score)
        factors = np.where(label == 1, weights["positive_weights"][0], weights["negative_weights"][0])
        costs = -np.log(of_the_label) * factors
        assert costs.mean() == pytest.approx(losses[number], rel=1e-4)
    averaged = Ensemble.of(epochs).scores("test")
    tables = [each.scores("test").set_index("image_id")["score"] for each in epochs]
    pd.testing.assert_series_equal(
        averaged.set_index("image_id")["score"], sum(tables) / 3, check_exact=False, rtol=1e-12
    )
    assert len({table.to_numpy().tobytes() for table in tables}) == 3


@pytest.mark.keras
def test_a_run_keeps_one_epoch_unless_asked(toy_run):
    assert toy_run.epochs == (toy_run,)
    assert not (toy_run.folder / "epochs").exists()
    assert Run.load(toy_run.folder).recipe.keep_epochs == 1
