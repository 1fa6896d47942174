"""A second pass: the uncertain labels of the training images filled with the scores of a first run."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from chexkeras.arguments import checked
from chexkeras.recipes.presets import recipe_of
from chexkeras.recipes.protocol import targets_to_fill
from chexkeras.recipes.recipe import Recipe
from chexkeras.runs.run import Run

if TYPE_CHECKING:
    from chexkeras.data.splits.splits import Splits
    from chexkeras.data.store.store import Store


def check_first_run(
    run: Run | str | Path, table: pd.DataFrame, recipe: Recipe, store: "Store | None" = None
) -> tuple[Run, list[str]]:
    """Checks, before an image is opened, that a run can fill the uncertain labels of a recipe's targets.

    Args:
        run: The first run, or its folder.
        table: The image table, CheXpert loaded with ``uncertain="self_trained"``.
        recipe: The recipe of the second pass.
        store: The store that the images are to be read from; None reads their files.

    Returns:
        The run, and the targets to fill.

    Raises:
        FileNotFoundError: If there is no run.
        ValueError: If there is nothing to fill, the run has not learnt all of these findings, or the store has images
            of another size.
    """
    first = run if isinstance(run, Run) else Run.load(run)
    wanted = targets_to_fill(table, recipe.targets)
    if not wanted:
        raise ValueError(
            f"the run {first.folder.name} is to fill uncertain labels; for that it needs uncertain='self_trained' when "
            "CheXpert is loaded."
        )
    if set(wanted) - set(first.recipe.targets):
        raise ValueError(
            f"the run {first.folder.name} learnt {', '.join(first.recipe.targets)}, which are not all of the findings "
            f"to fill ({', '.join(wanted)}); train a first run on the same."
        )
    if store is not None:
        store.require_size(first.recipe.image_size)
    return first, wanted


@checked
def fill_uncertain_from(
    run: Run | str | Path, table: pd.DataFrame, recipe: Recipe | str, store: "Store | None" = None
) -> "Splits":
    """Returns the split of a first run, the uncertain labels of its training images filled with its scores.

    What is evaluated keeps them unknown. Train the result like any other split.

    Args:
        run: The first run, trained on the same table, or its folder.
        table: The image table, CheXpert loaded with ``uncertain="self_trained"``.
        recipe: The recipe of the second pass, or a preset's name.
        store: Images decoded before; None reads their files.

    Raises:
        FileNotFoundError: If there is no run.
        ValueError: If there is nothing to fill, the run has not learnt all of these findings, or was trained on another
            table.

    Source:
        Irvin et al., AAAI 2019, U-SelfTrained.
    """
    from chexkeras.data.datasets.labels import fill_uncertain
    from chexkeras.data.image_table import ImageTable
    from chexkeras.data.splits.splits import Splits
    from chexkeras.models.scoring import predict_scores

    first, wanted = check_first_run(run, table, recipe_of(recipe), store)
    splits = Splits.load(first.folder / "splits.csv", table)
    scores = predict_scores(first.load_model(), splits.train, first.recipe.targets, store=store)
    filled = fill_uncertain(splits.table, scores[scores["finding"].isin(wanted)])
    return dataclasses.replace(splits, table=ImageTable.of(filled))
