"""The films that ``chexkeras train`` learns from: which are usable, how they are split, what a first run fills in."""

from pathlib import Path
from typing import TYPE_CHECKING

from chexkeras.progress import say

if TYPE_CHECKING:
    import pandas as pd

    from chexkeras.data.splits import Splits
    from chexkeras.data.store import Store
    from chexkeras.training.recipe import Recipe
    from chexkeras.training.run import Run


def usable(table: "pd.DataFrame", recipe: "Recipe", store: "Store | None", missing: str) -> "pd.DataFrame":
    """Returns the table that the recipe can be trained on, before a film is opened."""
    from chexkeras.data.abnormal import add_abnormal
    from chexkeras.data.columns import resolve_targets
    from chexkeras.data.decoder import refuse_dicom
    from chexkeras.data.uncertain import refuse_third_class
    from chexkeras.findings import ABNORMAL

    if ABNORMAL in recipe.targets:
        table = add_abnormal(table)
    resolve_targets(table, recipe.targets)
    if recipe.head != "three_way":
        refuse_third_class(table, recipe.targets)
    if store is None:
        refuse_dicom(table)
    elif missing == "skip":
        table = store.leave_out_absent(table)
    else:
        store.rows(table["image_id"])
    return table


def first_run(folder: Path, table: "pd.DataFrame", recipe: "Recipe", store: "Store | None") -> "Run":
    """Returns the run whose scores can fill the uncertain labels of the recipe's targets."""
    from chexkeras.training.run import Run

    first, left_open = Run.load(folder), _left_open(table, recipe.targets)
    if not left_open:
        raise ValueError("--first-run fills uncertain labels; it needs --uncertain self_trained.")
    if set(left_open) - set(first.recipe.targets):
        raise ValueError(
            f"--first-run {folder} learnt {', '.join(first.recipe.targets)}, which are not all of the findings to fill "
            f"({', '.join(left_open)}); train a first run on the same."
        )
    if store is not None:
        store.require_size(first.recipe.image_size)
    return first


def _left_open(table: "pd.DataFrame", targets: tuple[str, ...]) -> list[str]:
    from chexkeras.data.columns import resolve_targets
    from chexkeras.data.source import source_of

    policy_of = dict(source_of(table).uncertain_policy)
    return [name for name in resolve_targets(table, targets) if policy_of.get(name) == "self_trained"]


def filled(first: "Run", table: "pd.DataFrame", recipe: "Recipe", store: "Store | None") -> "Splits":
    """Returns the split of a first run, the uncertain labels of its training films filled with its model's scores."""
    import dataclasses

    from chexkeras.data.splits import Splits
    from chexkeras.data.uncertain import fill_uncertain
    from chexkeras.models.scoring import predict_scores

    splits = Splits.load(first.folder / "splits.csv", table)
    scores = predict_scores(first.load_model(), splits.train, first.recipe.targets, store=store)
    left_open = _left_open(table, recipe.targets)
    filled = fill_uncertain(splits.table, scores[scores["finding"].isin(left_open)])
    return dataclasses.replace(splits, table=filled)


def split(kind: str, table: "pd.DataFrame", recipe: "Recipe", validation: float, test: float) -> "Splits":
    """Returns the split that --split asks for, by patient, as the data set has it, or by image."""
    from chexkeras.data import splits

    if _left_open(table, recipe.targets):
        say("first pass: the uncertain labels do not count; a second one with --first-run fills them")
    if kind == "official":
        return splits.official_split(table, recipe.targets, validation=validation, seed=recipe.seed)
    make = splits.split_by_patient if kind == "patient" else splits.split_by_image
    return make(table, recipe.targets, validation=validation, test=test, seed=recipe.seed)
