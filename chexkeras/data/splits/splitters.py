"""Dividing an image table into training, validation and test images, by patient unless asked to leak.

A split proves itself disjoint when it is made, names itself leaky when it is, and reloads only onto the table it was
made from. Patients or images are shared out so that every label is spread over the parts alike.

Source:
    Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011 (iterative
    stratification: the rarest label first, each unit to the part that lacks it most).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.image_table import ImageTable
from chexkeras.data.splits.splits import KINDS, PARTS, Splits, listed

__all__ = [
    "KINDS", "PARTS", "Splits", "check_classes", "official_split", "official_split_by_image", "split_by_image",
    "split_by_patient",
]  # fmt: skip

_BY_PATIENT = "use split_by_patient (on the command line --split patient)"


@checked
def split_by_patient(
    table: pd.DataFrame,
    targets: str | Sequence[str],
    *,
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
) -> Splits:
    """Splits so that no patient is in two parts, with every target spread over the parts alike.

    Args:
        table: An image table.
        targets: The findings to stratify over, all at once.
        validation: Fraction of images for validation, in (0, 1).
        test: Fraction of images for test, in (0, 1).
        seed: One seed, one split.

    Returns:
        The split.

    Raises:
        ValueError: If there are fewer than three patients, or a part would lack positives or negatives of a target.
    """
    return _three_way(table, targets, validation, test, seed, "patient")


@checked
def split_by_image(
    table: pd.DataFrame,
    targets: str | Sequence[str],
    *,
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
) -> Splits:
    """Splits images without regard to the patient: LEAKY, for reproducing results that were obtained that way.

    A patient's images resemble one another, so scores on such a test part are better than on new patients. The split
    says so in its repr, its description and everything made from it.

    Args:
        table: An image table.
        targets: The findings to stratify over, all at once.
        validation: Fraction of images for validation, in (0, 1).
        test: Fraction of images for test, in (0, 1).
        seed: One seed, one split.

    Returns:
        The split, `leaky`.

    Raises:
        ValueError: If there are fewer than three images, or a part would lack positives or negatives of a target.
    """
    return _three_way(table, targets, validation, test, seed, "image")


@checked
def official_split(
    table: pd.DataFrame, targets: str | Sequence[str], *, validation: float = 0.125, seed: int = 0
) -> Splits:
    """Takes NIH's official test list as test part, and validation patients from its training list.

    Args:
        table: An image table with a filled ``official_split`` column.
        targets: The findings to stratify validation over, all at once.
        validation: Fraction of the official training images for validation, in (0, 1).
        seed: One seed, one split.

    Returns:
        The split.

    Raises:
        ValueError: If images are in neither list, a patient is in both, or a part would lack positives or negatives of
            a target.

    Source:
        Wang et al., CVPR 2017: train_val_list.txt and test_list.txt, no patient in both.
    """
    return _official(table, targets, validation, seed, "patient")


@checked
def official_split_by_image(
    table: pd.DataFrame, targets: str | Sequence[str], *, validation: float = 0.125, seed: int = 0
) -> Splits:
    """Takes NIH's official test list as test part, and validation images from the rest without regard to the patient.

    LEAKY between training and validation, for reproducing results that were obtained that way: scores on validation
    are better than on new patients, and thresholds and the best epoch are chosen on them. The test part shares no
    patient with the others. The split says so in its repr, its description and everything made from it.

    Args:
        table: An image table with a filled ``official_split`` column.
        targets: The findings to stratify validation over, all at once.
        validation: Fraction of the official training images for validation, in (0, 1).
        seed: One seed, one split.

    Returns:
        The split, `leaky`.

    Raises:
        ValueError: If images are in neither list, a patient is in both, or a part would lack positives or negatives of
            a target.
    """
    return _official(table, targets, validation, seed, "image")


def _official(table: pd.DataFrame, targets: str | Sequence[str], validation: float, seed: int, unit: str) -> Splits:
    checked = checks.probability(validation, "validation", open_interval=True)
    table, names = checked_for_split(table, targets)
    if image_table.OFFICIAL_SPLIT not in table.columns:
        raise ValueError(f"the table has no column {image_table.OFFICIAL_SPLIT!r}; {_BY_PATIENT}.")
    official = table[image_table.OFFICIAL_SPLIT].to_numpy(dtype=object)
    unlisted = ~np.isin(official, ("train_val", "test"))
    if unlisted.any():
        raise ValueError(
            f"{int(unlisted.sum())} of {len(table)} images are in neither official list, first "
            f"{table['image_id'].iloc[int(np.argmax(unlisted))]!r}; put train_val_list.txt and test_list.txt beside "
            f"the label file, or {_BY_PATIENT}."
        )
    rest = official == "train_val"
    if not rest.any() or rest.all():
        empty = "train_val" if not rest.any() else "test"
        raise ValueError(f"none of the {len(table)} images is in the official {empty} list; {_BY_PATIENT}.")
    part = np.full(len(table), "test", dtype=object)
    part[rest] = assign_parts(table[rest], names, {"train": 1 - checked, "validation": checked}, seed, unit)
    kind = "official" if unit == "patient" else "official_image"
    return made_split(kind, seed, names, {"validation": checked}, table, part)


class Lacking(NamedTuple):
    """A part in which a target has one class only, or none."""

    part: str
    target: str
    positive: int
    negative: int


def lacking_classes(splits: Splits, targets: str | Sequence[str]) -> tuple[Lacking, ...]:
    """Returns where a target has no positive or no negative image: there it can be neither learnt nor measured.

    Args:
        splits: The split.
        targets: The findings that will be used.
    """
    names, found = splits.table.targets(targets), []
    for name in PARTS if splits.has_test else PARTS[:2]:
        part = splits.part(name)
        for target in names:
            positive, negative = int((part[target] == 1).sum()), int((part[target] == 0).sum())
            if not positive or not negative:
                found.append(Lacking(name, target, positive, negative))
    return tuple(found)


def check_classes(splits: Splits, targets: str | Sequence[str]) -> None:
    """Checks that each target has both classes in training, and that validation and test have both of one at least.

    A rare finding among many may lack a class in validation or test: there it is left out and named.

    Args:
        splits: The split.
        targets: The findings that will be used.

    Raises:
        ValueError: If not; the message names part, finding and counts, and what to do.
    """
    names = splits.table.targets(targets)
    problems = lacking_classes(splits, names)
    without = {part: sum(each.part == part for each in problems) for part in PARTS}
    if without["train"] or len(names) in without.values():
        lacking = "; ".join(
            f"{name} has {positive} positive and {negative} negative images of {target}"
            for name, target, positive, negative in problems[:5]
        )
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        advice = f"{_BY_PATIENT}, or " if splits.kind.startswith("official") else "give that part a larger share, "
        raise ValueError(
            "training needs both classes of each target, validation and test of one target at least, but "
            f"{lacking}{more}. To go on, {advice}load more images, or leave "
            f"{listed(tuple(dict.fromkeys(problem[1] for problem in problems)))} out of the targets."
        )


def _three_way(
    table: pd.DataFrame, targets: str | Sequence[str], validation: float, test: float, seed: int, kind: str
) -> Splits:
    asked = {
        "validation": checks.probability(validation, "validation", open_interval=True),
        "test": checks.probability(test, "test", open_interval=True),
    }
    if sum(asked.values()) >= 1:
        raise ValueError(f"validation={validation} and test={test} leave nothing for training; together keep below 1.")
    table, names = checked_for_split(table, targets)
    shares = {"train": 1 - sum(asked.values()), **asked}
    return made_split(kind, seed, names, shares, table, assign_parts(table, names, shares, seed, kind))


def checked_for_split(table: pd.DataFrame, targets: str | Sequence[str]) -> tuple[ImageTable, tuple[str, ...]]:
    """Returns the table, in which every image stands once and has a patient, and the targets as it spells them.

    Args:
        table: What the caller gave.
        targets: The findings to stratify over.

    Raises:
        ValueError: If an image stands twice or has no patient, or a target is no label of the table.
    """
    table = ImageTable.of(table, fix="A split needs to know each image's patient.")
    repeated = table["image_id"][table["image_id"].duplicated()]
    if len(repeated):
        raise ValueError(
            f"the table names {len(repeated)} image(s) more than once, first {repeated.iloc[0]!r}; keep one row each. "
            "To show images several times, split first: splits.up_sampled({'Pneumonia': 4}) repeats "
            "training images only."
        )
    nameless = table["patient_id"].isna() | (table["patient_id"].astype(str).str.strip() == "")
    if nameless.any():
        raise ValueError(
            f"{int(nameless.sum())} image(s) have no patient_id, first "
            f"{table['image_id'][nameless].iloc[0]!r}; fill it "
            "in or drop them: without it, images of one patient could be in two parts."
        )
    return table, table.targets(targets)


def assign_parts(
    table: ImageTable, targets: tuple[str, ...], shares: dict[str, float], seed: int, kind: str
) -> np.ndarray:
    """Returns the part of each row.

    Args:
        table: From `checked_for_split`, or some of its rows.
        targets: The findings to stratify over.
        shares: Fraction of the images for each part, by name; they sum to 1.
        seed: One seed, one assignment.
        kind: "image" assigns image by image, anything else all images of a patient together.

    Raises:
        ValueError: If there are fewer patients (or images) than parts.
    """
    # Sorted, so that the order of the table's rows does not matter.
    column = "image_id" if kind == "image" else "patient_id"
    check = checks.identifiers if kind == "image" else checks.patient_identifiers
    unit_of = pd.factorize(check(table[column], column), sort=True)[0]
    units = int(unit_of.max()) + 1 if len(table) else 0
    if units < len(shares):
        unit = "images" if kind == "image" else "patients"
        raise ValueError(f"{units} {unit} cannot fill {len(shares)} parts ({', '.join(shares)}); load more {unit}.")
    positives = np.zeros((units, len(targets)), dtype=np.int64)
    np.add.at(positives, unit_of, (table[list(targets)] == 1).to_numpy(dtype=np.int64))
    sizes = np.bincount(unit_of, minlength=units)
    part = iterative_stratification(positives, sizes, tuple(shares.values()), seed)
    return np.asarray(list(shares), dtype=object)[part[unit_of]]


def split_without_test(
    table: pd.DataFrame, targets: str | Sequence[str], *, validation: float = 0.15, seed: int = 0
) -> Splits:
    """Splits an image table by patient into training and validation alone: for a model that others have measured.

    Args:
        table: An image table.
        targets: The findings to stratify over.
        validation: Fraction of all images for validation, in (0, 1).
        seed: One seed, one division.

    Raises:
        ValueError: If a part would lack a class.
    """
    share = checks.probability(validation, "validation", open_interval=True)
    table, names = checked_for_split(table, targets)
    shares = {"train": 1 - share, "validation": share}
    return made_split("patient", seed, names, shares, table, assign_parts(table, names, shares, seed, "patient"))


def made_split(
    kind: str,
    seed: int,
    targets: tuple[str, ...],
    shares: dict[str, float],
    table: ImageTable,
    part: np.ndarray,
    fold: str = "",
) -> Splits:
    """Returns a split made of the part of each row, if its parts have the classes that they need.

    Args:
        kind: One of `KINDS`.
        seed: The seed that made it.
        targets: The findings it was stratified over.
        shares: Fraction of images asked for, by part.
        table: The image table.
        part: "train", "validation" or "test" for each row.
        fold: With cross-validation: which of the folds is tested.

    Raises:
        ValueError: If a part lacks a class that it needs, or a patient is in two.
    """
    assignment = pd.DataFrame(
        {
            "image_id": table["image_id"].to_numpy(),
            "patient_id": checks.patient_identifiers(table["patient_id"], "patient_id"),
            "part": part,
        }
    )
    splits = Splits(kind, seed, targets, tuple(shares.items()), table.copy(), assignment, fold=fold)
    check_classes(splits, targets)
    return splits


def iterative_stratification(
    positives: np.ndarray, sizes: np.ndarray, shares: Sequence[float], seed: int
) -> np.ndarray:
    """Assigns units (patients, or single images) to parts.

    As in Sechidis et al. the rarest label still to be placed is placed first, and each of its units goes where the
    label is lacking most. Patients have between one and nearly two hundred images, so four things differ: a unit counts
    with its images; the large units of a label are placed before the small ones, which can then fill what is left open;
    "lacking" is measured against a part's share of what has been placed so far, not against its final quota, or else
    the part with the largest quota would receive every large patient; and no part is left without a label while there
    are units that could give it.

    Args:
        positives: Count of positive images, shape (units, labels).
        sizes: Count of all images, shape (units,), at least 1 each.
        shares: Fraction of images for each part; they sum to 1.
        seed: One seed, one assignment.

    Returns:
        The index of the part, shape (units,).
    """
    n_units, n_labels = positives.shape
    n_parts = len(shares)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(n_units)
    part_of = np.full(n_units, -1)
    placed = [[0] * n_parts for _ in range(n_labels)]
    placed_images = [0] * n_parts

    def place(units: np.ndarray, counts: list[int], label: int | None) -> None:
        total, images = (sum(placed[label]) if label is not None else 0), sum(placed_images)
        for position, (unit, count) in enumerate(zip(units.tolist(), counts, strict=True)):
            size = int(sizes[unit])
            total, images = total + count, images + size
            behind_images = [share * images - have for share, have in zip(shares, placed_images, strict=True)]
            if label is None:
                part = max(range(n_parts), key=behind_images.__getitem__)
            else:
                here = placed[label]
                candidates = [index for index in range(n_parts) if not here[index]]
                if not candidates or len(units) - position > len(candidates):
                    candidates = list(range(n_parts))
                behind = [share * total - have for share, have in zip(shares, here, strict=True)]
                part = max(candidates, key=lambda index: (behind[index], behind_images[index]))
            part_of[unit] = part
            placed_images[part] += size
            for other in np.flatnonzero(positives[unit]).tolist():
                placed[other][part] += int(positives[unit, other])

    def large_first(units: np.ndarray, weights: np.ndarray) -> np.ndarray:
        # Classes of doubling size, shuffled within: by exact size, every seed would place the large patients alike.
        return units[np.argsort(-np.floor(np.log2(weights)), kind="stable")]

    waiting = np.ones(n_units, dtype=bool)
    while True:
        remaining = (positives[waiting] > 0).sum(axis=0)
        if not remaining.any():
            break
        label = int(np.argmin(np.where(remaining > 0, remaining, n_units + 1)))
        units = shuffled[waiting[shuffled] & (positives[shuffled, label] > 0)]
        units = large_first(units, positives[units, label])
        place(units, positives[units, label].tolist(), label)
        waiting[units] = False
    rest = shuffled[waiting[shuffled]]
    rest = large_first(rest, sizes[rest])
    place(rest, [0] * len(rest), None)
    return part_of
