"""Ensembles: the average of several runs' scores, with a threshold of its own, measured like any run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.clinical_use.abstention import with_bands
from chexkeras.evaluation.comparison.compare import match_scores
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.scores import Scores
from chexkeras.evaluation.thresholds import choose_thresholds
from chexkeras.inference.test_time_augmentation import TestTimeAugmentation, normalized_weights, predict_augmented
from chexkeras.plain import Described
from chexkeras.results import Evaluation, OperatingPoint
from chexkeras.runs.run import Run

if TYPE_CHECKING:
    from chexkeras.data.store.store import Store


@checked
def average_scores(
    tables: Sequence[pd.DataFrame], weights: Sequence[float] | None = None, names: Sequence[str] | None = None
) -> pd.DataFrame:
    """Returns the weighted mean of several tables of scores, image by image.

    Args:
        tables: Long tables of scores of the same images and findings with the same labels, rows in any order.
        weights: One above 0 for each table; None weighs all alike.
        names: What to call the tables in messages.

    Returns:
        A table of scores, its rows in the order of the first table.

    Raises:
        ValueError: If there is no table, images, findings, patients or labels differ, or a weight is not above 0.
    """
    if not tables:
        raise ValueError("no table of scores to average; give at least one.")
    called = list(names) if names is not None else [f"table {number}" for number in range(1, len(tables) + 1)]
    counts = normalized_weights(weights, called, "tables of scores")
    checked = [Scores.of(table) for table in tables]
    first = checked[0]
    for name, table in zip(called[1:], checked[1:], strict=True):
        lone = set(first["finding"]) ^ set(table["finding"])
        if lone:
            raise ValueError(
                f"{', '.join(sorted(lone))}: scored by {called[0]} or by {name} alone; only scores of the same "
                "findings can be averaged."
            )
        match_scores(first, table, (called[0], name))
    keys = pd.MultiIndex.from_frame(first[["finding", "image_id"]])
    mean = np.zeros(len(first))
    for count, table in zip(counts, checked, strict=True):
        mean += count * table.set_index(["finding", "image_id"])["score"].loc[keys].to_numpy()
    # A weighted mean of ones may round to a little more than 1.
    return first.assign(score=np.clip(mean, 0.0, 1.0))


@checked
@dataclass(frozen=True)
class Ensemble(Described):
    """Runs whose scores are averaged.

    Which runs, and how much each counts, is to be decided on validation results: an ensemble picked by test results
    flatters itself.

    Attributes:
        members: The runs.
        weights: How much each counts; they sum to 1.
    """

    members: tuple[Run, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, runs: Sequence[Run | str | Path], weights: Sequence[float] | None = None) -> "Ensemble":
        """Makes an ensemble.

        Args:
            runs: Runs or their folders, at least one; they must have the same targets.
            weights: One above 0 for each run, of any sum; None weighs all alike.

        Raises:
            FileNotFoundError: If a folder is no run.
            ValueError: If there is no run, one is named twice, targets differ, or a weight is not above 0.
        """
        members = tuple(run if isinstance(run, Run) else Run.load(run) for run in runs)
        if not members:
            raise ValueError("no run to average; give at least one run or its folder.")
        folders = [run.folder.resolve() for run in members]
        if len(set(folders)) < len(folders):
            raise ValueError("a run is named twice; to count it more, give weights.")
        targets = members[0].recipe.targets
        for run in members[1:]:
            if set(run.recipe.targets) != set(targets):
                raise ValueError(
                    f"{run.folder.name} has the targets {', '.join(run.recipe.targets)}, {members[0].folder.name} has "
                    f"{', '.join(targets)}; only runs with the same targets can be averaged."
                )
        return cls(members, normalized_weights(weights, [run.folder.name for run in members], "runs"))

    @property
    def targets(self) -> tuple[str, ...]:
        """The findings, in the first run's order."""
        return self.members[0].recipe.targets

    @property
    def cautions(self) -> tuple[str, ...]:
        """Sentences a reader must see beside any number of the ensemble: those of all members, and what it is."""
        of_members = dict.fromkeys(caution for run in self.members for caution in run.cautions)
        if len(self.members) == 1:
            return tuple(of_members)
        parts = zip(self.members, self.weights, strict=True)
        names = ", ".join(f"{run.folder.name} {weight:.3g}" for run, weight in parts)
        return (*of_members, f"Scores are the weighted mean of {len(self.members)} runs: {names}.")

    def scores(self, part: str) -> pd.DataFrame:
        """Returns the averaged scores of a part, from what the runs saved; no model is loaded.

        Args:
            part: "validation" or "test".

        Raises:
            ValueError: If the runs scored different images, or with different labels.
        """
        names = [run.folder.name for run in self.members]
        return average_scores([run.scores(part) for run in self.members], self.weights, names)

    def predict(
        self,
        table: pd.DataFrame,
        augmentation: TestTimeAugmentation | None = None,
        *,
        batch_size: int = 32,
        store: "Store | None" = None,
    ) -> pd.DataFrame:
        """Scores the images of a table with every member and averages.

        Args:
            table: Image table, as `models.predict_scores` takes it; files alone are scored by
                `Predictor.load(run).predict(files)`.
            augmentation: Which versions of each image are scored and averaged; None scores the image alone.
            batch_size: Images a batch, at least 1.
            store: Images decoded before; None reads the files. All members must take images of its size.

        Returns:
            One row per image and finding.

        Raises:
            TypeError: If the table is no pandas DataFrame; DICOM files are scored by `Predictor.predict`.
            ValueError: If `predict_scores` refuses the table or the batch size.
        """
        from chexkeras.models.scoring import require_image_table

        # Checked here, before a model is loaded.
        require_image_table(table)
        versions = augmentation or TestTimeAugmentation()
        options: dict[str, Any] = {"batch_size": batch_size, "store": store}
        tables = [
            predict_augmented(run.load_model(), table, run.recipe.targets, versions, **options) for run in self.members
        ]
        return average_scores(tables, self.weights, [run.folder.name for run in self.members])

    def operating_points(
        self,
        validation: pd.DataFrame | None = None,
        *,
        rule: str | None = None,
        target: float | EllipsisType | None = ...,
    ) -> tuple[OperatingPoint, ...]:
        """Chooses a new threshold for each finding: a member's belongs to that member's scores.

        Args:
            validation: Averaged validation scores, for example made with test-time augmentation; None takes
                `scores("validation")`.
            rule: Name of the rule that chooses, one of `choose_threshold`'s; None takes the rule and target of the
                members' recipes, and what these leave open.
            target: What the rule aims at; left out, 0.8 where the rule reaches for a rate.

        Returns:
            One point per finding.

        Raises:
            ValueError: If no rule is given and the members' differ, or `choose_threshold` knows no such rule or target.
        """
        share = accuracy = None
        if rule is None:
            if not isinstance(target, EllipsisType):
                raise ValueError(f"target={target!r} needs a rule; for example rule='sensitivity'.")
            rules = {run.recipe.operating_point for run in self.members}
            if len(rules) > 1:
                found = ", ".join(sorted(f"{each.rule} {each.target}" for each in rules))
                raise ValueError(
                    f"the members choose their thresholds differently ({found}); give rule=... and target=."
                )
            chosen = rules.pop()
            rule, target = chosen.rule, chosen.target
            share, accuracy = chosen.abstain_share, chosen.abstain_accuracy
        rows = self.scores("validation") if validation is None else validation
        return with_bands(rows, choose_thresholds(rows, self.targets, rule=rule, target=target), share, accuracy)

    def evaluate(
        self,
        *,
        validation: pd.DataFrame | None = None,
        test: pd.DataFrame | None = None,
        rule: str | None = None,
        target: float | EllipsisType | None = ...,
        subgroups: Sequence[str] = (),
    ) -> Evaluation:
        """Measures the ensemble on the test part, at thresholds chosen on the averaged validation scores.

        Where a member learnt from patients of the measured images, or chose its epoch on them, a caution says LEAKY and
        how many images that concerns.

        Args:
            validation: Averaged validation scores; None takes `scores("validation")`.
            test: Averaged test scores, made the same way as `validation`; None takes `scores("test")`.
            rule: Name of the rule that chooses the thresholds; None takes the rule and target of the members' recipes.
            target: What the rule aims at; left out, 0.8 where the rule reaches for a rate.
            subgroups: Columns of the runs' image table to measure by, for example ("sex", "view").

        Raises:
            ValueError: If scores of one part alone are given, the thresholds cannot be chosen (`operating_points`), or
                the scores cannot be measured (`evaluation.evaluate`).
        """
        if (validation is None) != (test is None):
            raise ValueError("give both validation and test scores, made the same way, or neither.")
        points = self.operating_points(validation, rule=rule, target=target)
        measured = self.scores("test") if test is None else test
        table = self.members[0].table if subgroups else None
        cautions = (*self.cautions, *self._leaks(measured))
        return evaluate(measured, points, cautions=cautions, table=table, subgroups=subgroups)

    def _leaks(self, measured: pd.DataFrame) -> list[str]:
        """Returns a sentence for each member that has learnt from, or was tuned on, patients measured here."""
        named = {name: checks.identifiers(measured[name], name) for name in ("image_id", "patient_id")}
        images = pd.DataFrame(named).drop_duplicates("image_id")
        cautions = []
        for run in self.members:
            # Image names in common tell that it is the same data set, and patient numbers mean the same patients.
            if not images["image_id"].isin(run.splits["image_id"]).any():
                continue
            seen = run.splits.loc[run.splits["part"] != "test", "patient_id"]
            count = int(images["patient_id"].isin(set(seen)).sum())
            if count:
                cautions.append(
                    f"LEAKY: {count:,} of the {len(images):,} measured images are of patients in the training or "
                    f"validation part of {run.folder.name}; its scores of them are too good."
                )
        return cautions

    def to_dict(self) -> dict[str, Any]:
        """Returns what the ensemble is made of, as plain values."""
        return {
            "targets": list(self.targets),
            "members": [
                {
                    "run": run.folder.name,
                    "recipe": run.recipe.name,
                    "model_sha256": (run.provenance.get("model") or {}).get("sha256"),
                    "weight": weight,
                }
                for run, weight in zip(self.members, self.weights, strict=True)
            ],
        }
