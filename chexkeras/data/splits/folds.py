"""Cross-validation: an image table divided into folds by patient, each of them the test part of one split."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.data.image_table import ImageTable
from chexkeras.data.splits.splits import Splits, listed
from chexkeras.data.splits.splitters import assign_parts, checked_for_split, made_split


@checked
def k_fold(
    table: pd.DataFrame,
    targets: str | Sequence[str],
    *,
    folds: int = 5,
    repeats: int = 1,
    validation: float = 0.15,
    seed: int = 0,
) -> tuple[Splits, ...]:
    """Splits for cross-validation: every image is a test image once, and no patient is in two parts of a split.

    The patients are divided into folds as `split_by_patient` divides them into parts, every target spread over the
    folds alike. Each fold is the test part of one split; validation, which chooses the epoch and the threshold, is
    drawn from the patients of the other folds.

    Together the test parts are the whole table, but the scores in them are of different models, whose training images
    are mostly the same: how far the folds' results differ says too little about how far another data set's would.

    Args:
        table: An image table.
        targets: The findings to stratify over, all at once.
        folds: How many, at least 2.
        repeats: How often the table is divided anew; the first time with `seed`, then with `seed` + 1, and so on.
        validation: Fraction of all images for validation, in (0, 1); with the test part's 1 / `folds` below 1.
        seed: One seed, one division.

    Returns:
        `folds` times `repeats` splits, the folds of the first repeat first.

    Raises:
        ValueError: If a finding has positive or negative images of fewer patients than there are folds, so that one
            would have none to measure; or a training part would lack a class.

    Example:
        >>> import pandas as pd
        >>> people = [str(number) for number in range(40)]
        >>> labels = [float(number % 4 == 0) for number in range(40)]
        >>> table = pd.DataFrame({"image_id": people, "patient_id": people, "Mass": labels})
        >>> [len(splits.test) for splits in k_fold(table, "Mass", folds=4)]
        [10, 10, 10, 10]
    """
    checks.positive_int(folds, "folds", least=2)
    checks.positive_int(repeats, "repeats")
    checks.positive_int(seed, "seed", least=0)
    share = checks.probability(validation, "validation", open_interval=True)
    if share + 1 / folds >= 1:
        raise ValueError(
            f"validation={validation} and one fold of {folds} for testing leave nothing for training; lower validation."
        )
    table, names = checked_for_split(table, targets)
    _check_patients(table, names, folds)
    found: list[Splits] = []
    for repeat in range(repeats):
        places = tuple(f"fold {number} of {folds}" for number in range(1, folds + 1))
        fold_of = assign_parts(table, names, dict.fromkeys(places, 1 / folds), seed + repeat, "patient")
        for place in places:
            part, rest = np.full(len(table), "test", dtype=object), fold_of != place
            held = share / (1 - 1 / folds)
            part[rest] = assign_parts(
                table[rest], names, {"train": 1 - held, "validation": held}, seed + repeat, "patient"
            )
            shares = {"train": 1 - share - 1 / folds, "validation": share, "test": 1 / folds}
            where = place if repeats == 1 else f"{place}, repeat {repeat + 1} of {repeats}"
            found.append(made_split("patient", seed + repeat, names, shares, table, part, fold=where))
    return tuple(found)


def _check_patients(table: ImageTable, targets: tuple[str, ...], folds: int) -> None:
    """Refuses a finding that could not be measured in every fold."""
    lacking = []
    for target in targets:
        for label, word in ((1, "positive"), (0, "negative")):
            patients = table.loc[table[target] == label, "patient_id"].nunique()
            if patients < folds:
                lacking.append(f"{target} has {word} images of {patients} patient(s)")
    if lacking:
        names = listed(tuple(dict.fromkeys(words.split(" has ")[0] for words in lacking)))
        raise ValueError(
            f"every one of {folds} folds needs a patient with each class of every finding, but {'; '.join(lacking)}. "
            f"Take fewer folds, load more images, or leave {names} out of the targets."
        )
