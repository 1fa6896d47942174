"""A second pass: the uncertain labels of the training images filled with the scores of a first run."""

from pathlib import Path
from typing import TYPE_CHECKING

from chexkeras.recipes.protocol import unfilled

if TYPE_CHECKING:
    import pandas as pd

    from chexkeras.data.splits.splitters import Splits
    from chexkeras.data.store.store import Store
    from chexkeras.recipes.recipe import Recipe
    from chexkeras.runs.run import Run


def first_run(folder: Path, table: "pd.DataFrame", recipe: "Recipe", store: "Store | None") -> "Run":
    """Returns the run whose scores can fill the uncertain labels of the recipe's targets."""
    from chexkeras.runs.run import Run

    first, to_fill = Run.load(folder), unfilled(table, recipe.targets)
    if not to_fill:
        raise ValueError("--first-run fills uncertain labels; it needs --uncertain self_trained.")
    if set(to_fill) - set(first.recipe.targets):
        raise ValueError(
            f"--first-run {folder} learnt {', '.join(first.recipe.targets)}, which are not all of the findings to fill "
            f"({', '.join(to_fill)}); train a first run on the same."
        )
    if store is not None:
        store.require_size(first.recipe.image_size)
    return first


def filled(first: "Run", table: "pd.DataFrame", recipe: "Recipe", store: "Store | None") -> "Splits":
    """Returns the split of a first run, the uncertain labels of its training images filled with its model's scores."""
    import dataclasses

    from chexkeras.data.datasets.labels import fill_uncertain
    from chexkeras.data.splits.splitters import Splits
    from chexkeras.models.scoring import predict_scores

    splits = Splits.load(first.folder / "splits.csv", table)
    scores = predict_scores(first.load_model(), splits.train, first.recipe.targets, store=store)
    to_fill = unfilled(table, recipe.targets)
    filled = fill_uncertain(splits.table, scores[scores["finding"].isin(to_fill)])
    return dataclasses.replace(splits, table=filled)
