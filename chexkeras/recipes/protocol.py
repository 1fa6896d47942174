"""The images that ``chexkeras train`` learns from.

How their labels are read, which are usable, how they are split, what a first run fills in.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from chexkeras.checks import one_of, probability
from chexkeras.progress import say

if TYPE_CHECKING:
    import pandas as pd

    from chexkeras.data.splits.splitters import Splits
    from chexkeras.data.store.store import Store
    from chexkeras.recipes.recipe import Recipe


_SHARE = 0.15


class Division(NamedTuple):
    """How the images are divided."""

    kind: str
    validation: float
    test: float


def division(
    preset: str | None, as_run: bool, split: str | None, validation: float | None, test: float | None
) -> Division:
    """Returns how the images are divided: as the options say, or with --as-run as the preset's source did.

    Args:
        preset: The preset that was given; None for none.
        as_run: Whether to divide as its source did.
        split: What --split says, None for nothing.
        validation: What --validation says, None for nothing.
        test: What --test says, None for nothing.

    Raises:
        ValueError: If they contradict each other or the source, which then is told.
    """
    from chexkeras.data.splits.splitters import KINDS

    given = {"validation": validation, "test": test}
    for name, share in given.items():
        if share is not None:
            probability(share, f"--{name}", open_interval=True)
    if not as_run:
        kind = one_of(split or "patient", KINDS, "--split")
        if kind.startswith("official") and test is not None:
            say("--test is not used: the test part is the data set's own")
        return Division(kind, *(_SHARE if share is None else share for share in given.values()))
    if preset is None or split is not None:
        raise ValueError("--as-run takes the split of a preset's source: give --preset, and leave out --split.")
    return _as_run(preset, given)


def _as_run(preset: str, given: dict[str, float | None]) -> Division:
    from chexkeras.recipes import presets

    kind, source, shares = presets.as_run_split(preset), presets.source(preset), []
    if kind.startswith("official") and given["test"] is not None:
        raise ValueError(
            f"--test {given['test']:g}: the source of preset {preset!r} tested on the data set's own test part, which "
            "has its size; leave out --test, or --as-run and choose --split."
        )
    for name, stated in (("validation", source.validation), ("test", source.test)):
        asked = given[name]
        if None not in (asked, stated) and asked != stated:
            raise ValueError(
                f"--{name} {asked:g}: the source of preset {preset!r} took {stated:g}; leave out --{name}, or --as-run "
                f"and give --split {kind} with the shares of your own."
            )
        shares.append(next((share for share in (asked, stated) if share is not None), _SHARE))
    return Division(kind, *shares)


def usual_reading(preset: str, recipe: "Recipe") -> dict[str, Any]:
    """Returns how CheXpert is read where the user does not say: as the source of the preset did.

    A policy that leaves a third class to learn and a head without one do not go together, nor does the reverse: where
    the recipe was changed so, the policy is left to the loader.

    Args:
        preset: Name of the preset; any other name stands for nothing.
        recipe: The recipe made from it.
    """
    from chexkeras.recipes import presets

    reading = presets.source(preset).reading if preset in presets.names() else None
    if reading is None:
        return {}
    options = reading.options
    if (options["uncertain"] == "multiclass") != (recipe.head == "three_way"):
        del options["uncertain"]
    return options


def read_otherwise(preset: str, table: "pd.DataFrame", recipe: "Recipe") -> tuple[str, ...]:
    """Returns a caution where CheXpert was read otherwise than by the source of the preset; none elsewhere.

    Args:
        preset: Name of the preset.
        table: The image table, as it was loaded.
        recipe: The recipe made from the preset; only labels of its targets count.
    """
    from chexkeras.data.datasets.labels import policies
    from chexkeras.data.image_table import resolve_targets, source_of
    from chexkeras.findings import CHEXPERT14
    from chexkeras.recipes import presets

    reading, source = presets.source(preset).reading, source_of(table)
    here = dict(source.uncertain_policy)
    if reading is None or not here:
        return ()
    there, different = policies(reading.options["uncertain"], CHEXPERT14), {}
    for name in resolve_targets(table, recipe.targets):
        if name in here and here[name] != there[name]:
            different.setdefault((here[name], there[name]), []).append(name)
    said = [
        f"{option} {ours} (there {theirs})"
        for option, ours, theirs in (
            ("views", source.views, reading.views), ("blank labels", source.blank_policy, reading.blank)
        )
        if ours != theirs
    ]  # fmt: skip
    said += [f"uncertain labels of {', '.join(of)} {ours} (there {theirs})" for (ours, theirs), of in different.items()]
    return (f"Not read as by the source of preset {preset}: {'; '.join(said)}.",) if said else ()


def usable(table: "pd.DataFrame", recipe: "Recipe", store: "Store | None", missing: str) -> "pd.DataFrame":
    """Returns the table that the recipe can be trained on, before an image is opened."""
    from chexkeras.data.datasets.labels import add_abnormal, refuse_third_class
    from chexkeras.data.image_table import refuse_dicom, resolve_targets
    from chexkeras.data.sampling import balance_groups, checked_factors
    from chexkeras.findings import ABNORMAL

    if ABNORMAL in recipe.targets:
        table = add_abnormal(table)
    resolve_targets(table, recipe.targets)
    # A group that no image at all belongs to has none in the training part either.
    balance_groups(table, recipe.balanced_batches)
    checked_factors(table, dict(recipe.up_sample))
    if recipe.head != "three_way":
        refuse_third_class(table, recipe.targets)
    if store is None:
        refuse_dicom(table)
    elif missing == "skip":
        table = store.leave_out_absent(table)
    else:
        store.rows(table["image_id"])
    return table


def unfilled(table: "pd.DataFrame", targets: tuple[str, ...]) -> list[str]:
    """Returns the targets whose uncertain labels wait for the scores of a first run."""
    from chexkeras.data.image_table import resolve_targets, source_of

    policy_of = dict(source_of(table).uncertain_policy)
    return [name for name in resolve_targets(table, targets) if policy_of.get(name) == "self_trained"]


def split(asked: Division, table: "pd.DataFrame", recipe: "Recipe") -> "Splits":
    """Returns the split: by patient, as the data set has it, or by image."""
    from chexkeras.data.splits import splitters

    if unfilled(table, recipe.targets):
        say("first pass: the uncertain labels do not count; a second one with --first-run fills them")
    if asked.kind in ("official", "official_image"):
        official = splitters.official_split if asked.kind == "official" else splitters.official_split_by_image
        return official(table, recipe.targets, validation=asked.validation, seed=recipe.seed)
    make = splitters.split_by_patient if asked.kind == "patient" else splitters.split_by_image
    return make(table, recipe.targets, validation=asked.validation, test=asked.test, seed=recipe.seed)
