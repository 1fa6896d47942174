"""The protocol around a recipe: how labels are read, which images are usable, and how they are divided.

A preset's source read and divided its images in its own way; here it is done so again, for Python and for ``chexkeras
train`` alike.

Example:
    >>> source_split("chexnet")
    SplitPlan(kind='patient', validation=0.1, test=0.2)
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from chexkeras.arguments import checked
from chexkeras.checks import one_of, probability
from chexkeras.data.datasets.labels import add_abnormal, policies, refuse_third_class
from chexkeras.data.image_table import refuse_dicom, resolve_targets, source_of
from chexkeras.data.sampling import balance_groups, checked_factors
from chexkeras.data.splits import splitters
from chexkeras.findings import ABNORMAL, CHEXPERT14
from chexkeras.progress import say
from chexkeras.recipes import presets
from chexkeras.recipes.recipe import Recipe

if TYPE_CHECKING:
    from chexkeras.data.store.store import Store

_SHARE = 0.15
_SPLITTERS = {
    "patient": splitters.split_by_patient,
    "image": splitters.split_by_image,
    "official": splitters.official_split,
    "official_image": splitters.official_split_by_image,
}


class SplitPlan(NamedTuple):
    """How images are to be divided.

    Attributes:
        kind: "patient", "official" (the data set's own parts), "image" (leaky), or "official_image" (the official test
            list, the rest by image: leaky between training and validation).
        validation: Share of the images for validation, in (0, 1); of those that are in no official test part.
        test: Share of the images for test, in (0, 1); has no effect where the data set has a test part of its own.
    """

    kind: str
    validation: float
    test: float


@checked
def own_split(kind: str = "patient", validation: float | None = None, test: float | None = None) -> SplitPlan:
    """Returns a plan of your own.

    Args:
        kind: A kind of `SplitPlan`.
        validation: Share of the images for validation, in (0, 1); None takes 0.15.
        test: Share of the images for test, in (0, 1); None takes 0.15. Not used where the kind is official.

    Raises:
        ValueError: If the kind is unknown or a share is out of its range.
    """
    shares = _checked_shares(validation, test)
    if one_of(kind, _SPLITTERS, "kind").startswith("official") and test is not None:
        say("the share for test is not used: the test part is the data set's own")
    return SplitPlan(kind, *(_SHARE if share is None else share for share in shares.values()))


def _checked_shares(validation: float | None, test: float | None) -> dict[str, float | None]:
    shares = {"validation": validation, "test": test}
    for name, share in shares.items():
        if share is not None:
            probability(share, name, open_interval=True)
    return shares


@checked
def source_split(preset: str, validation: float | None = None, test: float | None = None) -> SplitPlan:
    """Returns a plan to divide images as the source of a preset did, to repeat its result as it was obtained.

    Args:
        preset: Name of the preset.
        validation: Share for validation, in (0, 1), where the source does not state it; None takes the source's, else
            0.15.
        test: Share for test, in (0, 1), where the source does not state it; None takes the source's, else 0.15.

    Raises:
        ValueError: If the source does not say how it divided its images, or states another share than yours.
    """
    source, kind = presets.source(preset), presets.as_run_split(preset)
    given, shares = _checked_shares(validation, test), []
    if kind.startswith("official") and test is not None:
        raise ValueError(
            f"test={test:g}: the source of preset {preset!r} tested on the data set's own test part, which has its "
            "size; leave it out, or choose another split than the source's."
        )
    for name, stated in (("validation", source.validation), ("test", source.test)):
        asked = given[name]
        if None not in (asked, stated) and asked != stated:
            raise ValueError(
                f"{name}={asked:g}: the source of preset {preset!r} took {stated:g}; leave it out, or take a split of "
                f"your own instead of the source's, kind={kind!r} and your own shares."
            )
        shares.append(next((share for share in (asked, stated) if share is not None), _SHARE))
    return SplitPlan(kind, *shares)


@checked
def split_for(table: pd.DataFrame, recipe: Recipe | str, plan: SplitPlan) -> splitters.Splits:
    """Divides an image table for a recipe: stratified over its targets, by its seed.

    Args:
        table: The image table.
        recipe: The recipe, or a preset's name.
        plan: From `own_split` or `source_split`.

    Raises:
        ValueError: If the table has no official parts that the plan wants, or too few images.
    """
    recipe = presets.recipe_of(recipe)
    if targets_to_fill(table, recipe.targets):
        say("first pass: the uncertain labels do not count; a second pass fills them with the scores of this run")
    options: dict[str, Any] = {"validation": plan.validation, "seed": recipe.seed}
    if not plan.kind.startswith("official"):
        options["test"] = plan.test
    return _SPLITTERS[plan.kind](table, recipe.targets, **options)


@checked
def split_like_source(
    table: pd.DataFrame,
    preset: str,
    recipe: Recipe | str | None = None,
    *,
    validation: float | None = None,
    test: float | None = None,
) -> splitters.Splits:
    """Divides an image table as the source of a preset divided its images; leaky where that was.

    Args:
        table: The image table.
        preset: Name of the preset.
        recipe: The recipe to train, or a preset's name, which tells targets and seed; None takes the preset's.
        validation: Share for validation, in (0, 1), where the source does not state it; None takes the source's, else
            0.15.
        test: Share for test, in (0, 1), where the source does not state it; None takes the source's, else 0.15.

    Raises:
        ValueError: If the source does not say how it divided its images, or states another share than yours.
    """
    return split_for(table, recipe or presets.preset(preset), source_split(preset, validation, test))


@checked
def source_reading(preset: str, recipe: Recipe | str) -> dict[str, Any]:
    """Returns the options of `load_chexpert` by which the source of a preset read CheXpert.

    A policy that leaves a third class to learn and a head without one do not go together, nor does the reverse: where
    the recipe was changed so, the policy is left to the loader.

    Args:
        preset: Name of the preset; any other name has no source.
        recipe: The recipe made from it, or a preset's name.

    Returns:
        views, uncertain and blank; empty where the source used other images.
    """
    recipe = presets.recipe_of(recipe)
    reading = presets.source(preset).reading if preset in presets.names() else None
    options = {} if reading is None else reading.options
    if options and (options["uncertain"] == "multiclass") != recipe.three_way:
        del options["uncertain"]
    return options


@checked
def reading_cautions(preset: str, table: pd.DataFrame, recipe: Recipe | str) -> tuple[str, ...]:
    """Returns a caution where CheXpert was read otherwise than by the source of a preset; none elsewhere.

    Args:
        preset: Name of the preset.
        table: The image table, as it was loaded.
        recipe: The recipe made from the preset, or a preset's name; only labels of its targets count.
    """
    recipe = presets.recipe_of(recipe)
    reading, source = presets.source(preset).reading, source_of(table)
    here = dict(source.uncertain_policy)
    if reading is None or not here:
        return ()
    there = policies(reading.options["uncertain"], CHEXPERT14)
    different: dict[tuple[str, str], list[str]] = {}
    for name in resolve_targets(table, recipe.targets):
        if name in here and here[name] != there[name]:
            different.setdefault((here[name], there[name]), []).append(name)
    compared = (("views", source.views, reading.views), ("blank labels", source.blank_policy, reading.blank))
    parts = [f"{what} {ours} (there {theirs})" for what, ours, theirs in compared if ours != theirs]
    parts += [
        f"uncertain labels of {', '.join(names)} {ours} (there {theirs})" for (ours, theirs), names in different.items()
    ]
    return (f"Not read as by the source of preset {preset}: {'; '.join(parts)}.",) if parts else ()


def usable_table(
    table: pd.DataFrame, recipe: Recipe, store: "Store | None" = None, missing: str = "error"
) -> pd.DataFrame:
    """Returns the table that a recipe can be trained on; refuses, before an image is opened, one that it cannot.

    Args:
        table: The image table, as it was loaded.
        recipe: The recipe.
        store: The store that the images are to be read from; None reads their files.
        missing: What becomes of images that the store lacks: "error" refuses them, "skip" leaves them out.

    Returns:
        The table, with the label "Abnormal" where the recipe has that target.

    Raises:
        ValueError: If a target is unknown, a group of a balanced batch has no image, uncertain labels were left for a
            third class that the recipe has not, or images are DICOM files or not in the store.
    """
    if ABNORMAL in recipe.targets:
        table = add_abnormal(table)
    targets = resolve_targets(table, recipe.targets)
    # A group that no image at all belongs to has none in the training part either.
    balance_groups(table, recipe.balanced_batches)
    checked_factors(table, dict(recipe.up_sample))
    if not recipe.three_way:
        refuse_third_class(table, targets)
    if store is None:
        refuse_dicom(table, by_content=True)
    elif missing == "skip":
        table = store.leave_out_absent(table)
    else:
        store.rows(table["image_id"])
    return table


def targets_to_fill(table: pd.DataFrame, targets: tuple[str, ...]) -> list[str]:
    """Returns the targets whose uncertain labels wait for the scores of a first run.

    Args:
        table: The image table; CheXpert loaded with the policy "self_trained" has such targets.
        targets: Findings in output order.
    """
    policy_of = dict(source_of(table).uncertain_policy)
    return [name for name in resolve_targets(table, targets) if policy_of.get(name) == "self_trained"]
