"""The folder of many trainings on the same images: cross-validation, seeds, a sweep; written elsewhere, read here."""

from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import existing_folder, typed_path
from chexkeras.evaluation.cross_validation.fold_scores import read_out_of_fold
from chexkeras.plain import PlainTable
from chexkeras.recipes.recipe import Recipe
from chexkeras.results import CrossValidated, Evaluation
from chexkeras.runs.run import Run

RUNS = "runs"
"""Folder inside a series for its trainings."""
CROSS_VALIDATION, SEEDS, SWEEP = "cross_validation.json", "seeds.json", "sweep.json"
SERIES = (CROSS_VALIDATION, SEEDS, SWEEP)
"""The file that tells what the folder of a series holds."""
OUT_OF_FOLD = "out_of_fold.csv"
"""Where a cross-validation keeps the scores of every image by models that have not seen it."""

FINAL = ("refit", "ensemble", "none")
"""The model to use after a cross-validation: one training on all images, the mean of the folds' models, or none."""


@checked
class TrainingSeries:
    """The folder of a series of trainings.

    Attributes:
        folder: Where it lies.
    """

    _file: str
    _what: str

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Opens the folder of a series.

        Args:
            folder: What it was written to: the `run_dir` of `cross_validate`, `train_seeds` or `sweep`.

        Raises:
            FileNotFoundError: If it is not there, or no series of this kind.
        """
        found = cls(existing_folder(typed_path(folder, "folder"), "folder"))
        if not (found.folder / cls._file).is_file():
            raise FileNotFoundError(
                f"{str(found.folder)!r} is not {cls._what}: it has no {cls._file}. Give the folder that it was "
                "written to."
            )
        return found

    @cached_property
    def record(self) -> dict[str, Any]:
        """What was done: recipe, trainings, images, what is stored, versions, cautions.

        Raises:
            ValueError: If the file is damaged.
        """
        record = files.read_json(self.folder / self._file)
        if not isinstance(record, dict) or not {"runs", "cautions", "recipe"} <= set(record):
            raise ValueError(f"{self._file} of {str(self.folder)!r} is damaged: restore it, or train again.")
        return record

    @property
    def cautions(self) -> tuple[str, ...]:
        """Sentences a reader must see beside any number of it."""
        return tuple(self.record["cautions"])

    @property
    def recipe(self) -> Recipe:
        """The recipe that all trainings began with."""
        return Recipe.from_dict(self.record["recipe"])

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Its trainings as runs, in their order, without a model that is fitted to all images."""
        return tuple(Run.load(self.folder / RUNS / entry["run"]) for entry in self.record["runs"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r}, {len(self.record['runs'])} trainings)"


@checked
class CrossValidation(TrainingSeries):
    """A finished cross-validation, read file by file when asked; made by `chexkeras.cross_validate`."""

    _file, _what = CROSS_VALIDATION, "a cross-validation"

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The score of every image by models that have not seen its patient: `evaluation.FOLD_COLUMNS`."""
        return read_out_of_fold(self.folder / OUT_OF_FOLD)

    @cached_property
    def evaluation(self) -> CrossValidated:
        """What the scores are worth, with intervals that respect folds and patients."""
        return CrossValidated.from_dict(self.record["estimates"])

    @property
    def final(self) -> Run | None:
        """The model that is fitted to all images; None where there is none.

        It has no test of its own: its performance is estimated by the folds.
        """
        named = self.record["final"].get("run")
        return Run.load(self.folder / named) if named else None


@checked
class SeedRuns(TrainingSeries):
    """Trainings that differ in nothing but their seed, read file by file; made by `chexkeras.train_seeds`."""

    _file, _what = SEEDS, "a series of seeds"

    @cached_property
    def ensemble(self) -> Evaluation:
        """The mean of all trainings' scores, measured on the test part with a threshold of its own."""
        return Evaluation.from_dict(self.record["ensemble"])

    @cached_property
    def spread(self) -> pd.DataFrame:
        """A row for each finding: the AUROC of the trainings (mean, SD, lowest, highest) and of their ensemble."""
        return pd.DataFrame(self.record["spread"])


@checked
class Sweep(TrainingSeries):
    """Trainings with different settings on one split, read file by file; made by `chexkeras.sweep`."""

    _file, _what = SWEEP, "a sweep"

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row for each setting, the best on validation first: its run, its values, its AUROC on validation and test.

        The AUROC is the mean over findings.
        """
        rows = [
            {"run": entry["run"], **entry["setting"], "validation": entry["validation"], "test": entry["test"]}
            for entry in self.record["runs"]
        ]
        ranked = pd.DataFrame(rows).sort_values(["validation", "run"], ascending=[False, True])
        return PlainTable(ranked.reset_index(drop=True))

    @property
    def winner(self) -> Run:
        """The run that is best on validation."""
        return Run.load(self.folder / RUNS / self.record["winner"])

    @property
    def optimism(self) -> str:
        """What the winner loses on test, in a sentence."""
        found = self.record["optimism"]
        return (
            f"The winner's AUROC is {found['validation']:.3f} on validation, by which it was chosen, and "
            f"{found['test']:.3f} on test: {found['winner']:+.3f} apart. All {len(self.record['runs'])} settings lie "
            f"{found['all_settings']:+.3f} apart on average, so that choosing has made {found['by_choosing']:+.3f} of "
            f"it; the best setting on test, which nobody may choose, has {found['best_on_test']:.3f}."
        )


def check_free_for_series(destination: str | Path, overwrite: bool) -> Path:
    """Returns the folder's path, absolute and free of links, if a series may be written there.

    Args:
        destination: What the caller gave.
        overwrite: Whether a series that is there may be replaced.

    Raises:
        FileExistsError: If something else is there, or a series and `overwrite` is false.
        ValueError: If it is the root of a file system.
    """
    folder = typed_path(destination, "run_dir").resolve()
    if folder.is_mount():
        raise ValueError(f"{str(folder)!r} is the root of a file system; name a folder inside it.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not any((folder / name).is_file() for name in SERIES):
            raise FileExistsError(f"{str(folder)!r} exists and is no series of trainings; choose another name.")
        if not overwrite:
            raise FileExistsError(
                f"{str(folder)!r} exists; choose another name, or allow it to be replaced (overwrite=True, on the "
                "command line --overwrite)."
            )
    return folder
