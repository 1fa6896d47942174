"""The run folder: what a training run leaves behind, and all that a report needs.

Reading one imports neither TensorFlow nor Keras; only `Run.load_model` does.
"""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import existing_folder, one_of, typed_path
from chexkeras.data.audit.fingerprints import COLUMNS, Fingerprints
from chexkeras.data.image_table import TableSource
from chexkeras.data.splits.splits import PARTS
from chexkeras.evaluation.scores import Scores, read_scores, scores_fingerprint
from chexkeras.evaluation.thresholds import RULES, check_rule
from chexkeras.progress import say
from chexkeras.recipes.recipe import Recipe
from chexkeras.results import (
    AgainstReaders,
    Evaluation,
    ExternalTest,
    HeatmapStudy,
    Novelty,
    OperatingPoint,
    Robustness,
    ShortcutStudy,
    SourceResolution,
)
from chexkeras.runs import documents
from chexkeras.runs.gallery import EXAMPLES, Gallery, read_gallery
from chexkeras.runs.run_files import FIX, RunFiles, brief, fields_of

if TYPE_CHECKING:
    import keras

    from chexkeras.data.splits.splits import Splits
    from chexkeras.evaluation.calibration.recalibration import Recalibration

_TEXT_COLUMNS = {"image_id": str, "patient_id": str}
EPOCHS = "epochs"
"""Folder inside a run for the further epochs that were kept."""
MODEL = "model.keras"
ACCEPTED = "accepted_sha256"
"""Under "model" in provenance.json: the fingerprint of a model that took the trained one's place on purpose."""
ROBUSTNESS = "robustness.json"
"""Where a run keeps what changed images do to its scores."""
INTENSITIES = "intensities.json"
"""Where a run keeps how bright its training images are."""
DICOM_RESULTS = "dicom_results.csv"
"""Where a run keeps the results of DICOM files that were scored with it."""
HEATMAPS = "heatmaps.json"
"""Where a run keeps what was found out about its heat maps."""
SHORTCUTS = "shortcuts.json"
"""Where a run keeps its model's comparison with shortcuts."""
SHORTCUT_SCORES = "shortcut_scores.csv"
"""Where a run keeps the shortcuts' scores of its test images, from which the comparison can be made again."""
NOVELTY = "novelty.json"
"""Where a run keeps what its training images look like, and from where on an image is unlike them."""
FINGERPRINTS = "image_fingerprints.csv"
"""Where a run keeps hashes by which its images are known again under other names; no picture and no name of them."""
READERS = "readers.json"
"""Where a run keeps how its test scores fare against readers."""
_HISTORY = ("stage", "epoch", "global_epoch", "loss", "val_loss", "val_auroc", "learning_rate")
_TABLE = ("image_id", "patient_id", "age_years", "sex", "view", "part")
_DICOM = ("file", "verdict", "code", "finding", "score", "threshold", "decision", "decoder", "seconds", "profile")
_DICOM_NUMBERS = ("score", "threshold", "seconds")
_VERDICTS = ("accept", "warn", "reject")


@checked
class Run:
    """A finished run, read file by file when asked.

    Attributes:
        folder: Where it lies.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._files = RunFiles(self.folder)

    @classmethod
    def load(cls, folder: str | Path) -> "Run":
        """Opens a run folder.

        Args:
            folder: What `train` was given as `run_dir`.

        Raises:
            FileNotFoundError: If the folder, or its recipe, is not there.
        """
        run = cls(existing_folder(typed_path(folder, "run"), "run"))
        run._files.file("recipe.json")
        return run

    @classmethod
    def from_model(
        cls,
        model: "keras.Model | str | Path",
        splits: "Splits",
        run_dir: str | Path,
        *,
        input_range: tuple[float, float] | str,
        **options: Any,
    ) -> "Run":
        """Measures a model that was trained elsewhere, and writes a run of it: see `chexkeras.run_from_model`.

        Args:
            model: The fitted Keras model, or its ``.keras`` file.
            splits: Which image belongs to which part.
            run_dir: Folder to write.
            input_range: The model's values of black and white, such as (0, 1), or "imagenet" or "caffe".
            **options: The other arguments of `run_from_model`, by name.
        """
        import chexkeras

        return chexkeras.run_from_model(model, splits, run_dir, input_range=input_range, **options)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe it was trained by."""
        with fields_of("recipe.json"):
            return Recipe.load(self._files.file("recipe.json", files.MOST_JSON_BYTES))

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Data, split, versions, commit and seconds."""
        provenance: dict[str, Any] = self._files.json("provenance.json", documents.PROVENANCE)
        return provenance

    @cached_property
    def cautions(self) -> tuple[str, ...]:
        """Sentences a reader must see beside any number of this run."""
        return tuple(self.provenance["cautions"])

    @cached_property
    def stages(self) -> list[dict[str, Any]]:
        """What each stage trained, as `models.stages.StageBoundary`, and how it ended."""
        stages: list[dict[str, Any]] = self._files.json("stages.json", documents.STAGES)
        if not stages and not self.recipe.trained_elsewhere:
            raise ValueError(f"stages.json of the run holds 0 entries, at least 1 were expected. {FIX}")
        return stages

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch: stage, epoch, global_epoch, loss, val_loss, val_auroc, learning_rate, seconds.

        None of a model that was trained elsewhere.
        """
        filled = ("stage", "epoch", "global_epoch", "loss")
        history = self._files.table("history.csv", _HISTORY, filled, _HISTORY[1:])
        return history if self.recipe.trained_elsewhere else _not_empty(history, "history.csv")

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose weights the model has, counted over all stages from 1; None where the run does not say."""
        best, history = self.provenance.get("best") or {}, self.history
        rows = history[(history["stage"] == best.get("stage")) & (history["epoch"] == best.get("epoch"))]
        return int(rows["global_epoch"].iloc[0]) if len(rows) else None

    @cached_property
    def table(self) -> pd.DataFrame:
        """The image table without file paths, with each image's `part`; its source carries the run's cautions."""
        source = self.provenance["source"]
        groups = tuple(source.get("group_columns", ()))
        # Only a blank is a missing value: a patient may be called "NA". A site may be called "1".
        table = self._files.table(
            "table.csv",
            (*_TABLE, *groups, *self.recipe.targets),
            ("image_id", "patient_id", "part"),
            ("age_years", *self.recipe.targets),
            dtype=_TEXT_COLUMNS | dict.fromkeys(groups, str),
            keep_default_na=False,
            na_values=[""],
        )
        _check_parts(_not_empty(table, "table.csv"), "table.csv")
        table.attrs["source"] = TableSource(
            dataset=source["dataset"],
            label_release=source["label_release"],
            files=tuple(source["files"].items()),
            synthetic=source["synthetic"],
            cautions=self.cautions,
            implausible_ages=source["implausible_ages"],
            views=source.get("views", ""),
            uncertain_policy=tuple(source.get("uncertain_policy", {}).items()),
            group_columns=groups,
            blank_policy=source.get("blank_policy", ""),
        )
        return table

    @cached_property
    def splits(self) -> pd.DataFrame:
        """The part of every image, all text: image_id, patient_id, part."""
        columns = ("image_id", "patient_id", "part")
        splits = self._files.table("splits.csv", columns, columns, dtype=str, keep_default_na=False)
        return _check_parts(_not_empty(splits, "splits.csv"), "splits.csv")

    @cached_property
    def split_record(self) -> dict[str, Any]:
        """How the split was made, and its fingerprint, as splits.json says."""
        record: dict[str, Any] = self._files.json("splits.json", documents.SPLITS)
        return record

    @cached_property
    def audit(self) -> dict[str, Any]:
        """What the audit found in the images."""
        audit: dict[str, Any] = self._files.json("audit.json", documents.AUDIT)
        return audit

    @cached_property
    def intensities(self) -> dict[str, Any] | None:
        """Gray levels of the training images with each finding and without it; None where the run keeps none."""
        return self._files.json(INTENSITIES, documents.INTENSITIES) if self._files.has(INTENSITIES) else None

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """Images that were listed but not used: image_id, reason."""
        columns = ("image_id", "reason")
        return self._files.table("left_out.csv", columns, columns, dtype=str, keep_default_na=False)

    @cached_property
    def operating_points(self) -> tuple[OperatingPoint, ...]:
        """The frozen thresholds, in target order."""
        entries = self._files.json("operating_points.json", documents.POINTS)
        with fields_of("operating_points.json"):
            points = tuple(OperatingPoint.from_dict(entry) for entry in entries)
            self._check_findings([point.finding for point in points])
            for point in points:
                if point.rule not in RULES:
                    raise ValueError(f"the rule of {point.finding} is none of {', '.join(RULES)}")
                check_rule(point.rule, point.target)
        return points

    def checked_points(self) -> tuple[OperatingPoint, ...]:
        """Returns the frozen thresholds to call images with: one for each target, chosen by the scores of this run.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a target has none, they are in another order, or other scores than those in
                scores_validation.csv, where it is kept, chose one of them.
        """
        points = self.operating_points
        if [point.finding for point in points] != list(self.recipe.targets):
            raise ValueError(
                "operating_points.json of the run has not one threshold for each target of recipe.json, in the same "
                f"order. {FIX}"
            )
        if self._files.has("scores_validation.csv"):
            scores = self.scores("validation")
            for point in points:
                rows = scores.of_finding(point.finding)
                if point.chosen_on == "validation" and scores_fingerprint(rows) != point.scores_fingerprint:
                    raise ValueError(
                        f"the threshold of {point.finding} in operating_points.json of the run is of another one, or "
                        f"was changed: it was not chosen on scores_validation.csv. {FIX}"
                    )
        return points

    def _check_findings(self, findings: list[str]) -> None:
        """Raises a ValueError where findings are others than the recipe's, or one stands twice."""
        for finding in findings:
            if finding not in self.recipe.targets:
                raise ValueError(f"{finding} is no target of recipe.json: {', '.join(self.recipe.targets)}")
            if findings.count(finding) > 1:
                raise ValueError(f"{finding} stands there twice")

    @cached_property
    def evaluation(self) -> Evaluation:
        """The evaluation on the test part."""
        document = self._files.json("evaluation.json", documents.EVALUATION)
        with fields_of("evaluation.json"):
            evaluation = Evaluation.from_dict(document)
            self._check_findings([entry.finding for entry in evaluation.findings])
            for entry in evaluation.findings:
                documents.check_finding(entry)
        return evaluation

    @property
    def against_readers(self) -> AgainstReaders | None:
        """Its test scores against readers, see `runs.analysis.evaluate_by_readers`; None where that was not asked."""

        def check(found: AgainstReaders) -> None:
            self._check_findings(list(dict.fromkeys(name for entry in found.findings for name in entry.quality.labels)))

        fix = "Compare again: chexkeras evaluate --reference --keep --overwrite."
        return self._files.record(READERS, AgainstReaders.from_dict, fix, check)

    @property
    def external(self) -> dict[str, ExternalTest]:
        """Its tests at other hospitals by name, see `inference.evaluate_external`; empty where it was nowhere else."""
        from chexkeras.runs.external import external_tests

        return {test.name: test for test in external_tests(self)}

    @property
    def dicom_results(self) -> pd.DataFrame | None:
        """Verdicts and scores of DICOM files scored with this run, or None when none were."""
        if not self._files.has(DICOM_RESULTS):
            return None
        results = self._files.table(DICOM_RESULTS, _DICOM, ("file", "verdict"), _DICOM_NUMBERS, keep_default_na=False)
        unknown = int((~results["verdict"].isin(_VERDICTS)).sum())
        if unknown:
            raise ValueError(f"{unknown} row(s) of the run's {DICOM_RESULTS} have no verdict that is known. {FIX}")
        return results

    @property
    def recalibrations(self) -> "tuple[Recalibration, ...]":
        """The frozen recalibrations of the scores; none where none were saved."""
        from chexkeras.evaluation.calibration.recalibration import FILE, load_recalibrations

        if not self._files.has(FILE):
            return ()
        self._files.file(FILE, files.MOST_JSON_BYTES)
        with fields_of(FILE):
            found = load_recalibrations(self.folder)
            self._check_findings([entry.finding for entry in found])
        return found

    @property
    def robustness(self) -> Robustness | None:
        """What changed images do to the scores, see `inference.robustness`; None where it was not measured."""
        return self._files.record(ROBUSTNESS, Robustness.from_dict, "Measure again: chexkeras robustness --overwrite.")

    @property
    def heatmaps(self) -> HeatmapStudy | None:
        """What was found out about its heat maps, see `explanation.study_heatmaps`; None where it was not asked."""

        def check(study: HeatmapStudy) -> None:
            EXAMPLES(list(study.examples), "examples")
            boxed = [entry.finding for entry in study.localization.findings] if study.localization else [study.finding]
            self._check_findings(boxed)
            if study.finding not in boxed:
                raise ValueError(f"its boxes are of {', '.join(boxed) or 'nothing'}, not of {study.finding}")

        fix = "Make them again: chexkeras explain --overwrite."
        return self._files.record(HEATMAPS, HeatmapStudy.from_dict, fix, check)

    @property
    def heatmap_gallery(self) -> Gallery | None:
        """Images with their heat maps, drawn at random; None where the run keeps none, as with images of patients."""
        study = self.heatmaps
        return None if study is None else read_gallery(self.folder, study)

    @property
    def shortcuts(self) -> ShortcutStudy | None:
        """Its model beside view, age and sex, image size and thumbnail; None where that was not measured."""
        return self._files.record(
            SHORTCUTS,
            ShortcutStudy.from_dict,
            "Measure again: chexkeras.inference.measure_shortcuts(..., overwrite=True).",
            lambda study: self._check_findings(list(study.findings)),
        )

    @cached_property
    def novelty(self) -> Novelty | None:
        """How unlike its training images an image is, see `inference.novelty`; None where that was not measured."""
        stated = (self.provenance.get("novelty") or {}).get("sha256")

        def check(found: Novelty) -> None:
            if found.image_size != self.recipe.image_size:
                raise ValueError(f"images of {found.image_size} pixels, the model takes {self.recipe.image_size}")
            if stated and files.sha256_file(self.folder / NOVELTY) != stated:
                raise ValueError("it is another file than the one that training wrote")

        return self._files.record(NOVELTY, Novelty.from_dict, FIX, check)

    @cached_property
    def fingerprints(self) -> Fingerprints | None:
        """Hashes by which the images of all its parts are known again; None in runs of before."""
        if not self._files.has(FINGERPRINTS):
            return None
        table = self._files.table(FINGERPRINTS, COLUMNS, COLUMNS[:1], dtype=str, keep_default_na=False)
        stated = (self.provenance.get("fingerprints") or {}).get("sha256")
        with fields_of(FINGERPRINTS):
            if len(table) != len(self.splits):
                raise ValueError(f"{len(table):,} fingerprints of {len(self.splits):,} images")
            if stated and files.sha256_file(self.folder / FINGERPRINTS) != stated:
                raise ValueError("it is another file than the one that training wrote")
            return Fingerprints.from_frame(table)

    @cached_property
    def resolution(self) -> SourceResolution | None:
        """How many pixels the files had that it learnt from; None in runs of before, or where none were at hand."""
        stated = self.provenance.get("resolution")
        with fields_of("provenance.json"):
            return None if stated is None else SourceResolution.from_dict(stated)

    def scores(self, part: str) -> Scores:
        """Returns the scores of a part; the run's cautions are their ``attrs["cautions"]``.

        Args:
            part: "validation" or "test".
        """
        name = f"scores_{one_of(part, PARTS[1:], 'part')}.csv"
        path = self._files.file(name, files.MOST_TABLE_BYTES)
        try:
            found = read_scores(path).as_part(part)
        except (ValueError, TypeError, OverflowError) as error:
            # A row that was cut off has no score, which looks like a network that diverged.
            columns = ("image_id", "patient_id", "finding", "label", "score")
            self._files.table(
                name, columns, ("image_id", "patient_id", "finding", "score"), dtype=str, keep_default_na=False
            )
            raise ValueError(f"{name} of the run: {brief(error)}") from error
        # A figure of scores alone names the cautions, too.
        found.attrs["cautions"] = tuple(self.cautions)
        return found

    @property
    def epochs(self) -> "tuple[Run, ...]":
        """The epochs that were kept, each as a run, the best (this run itself) first; see `Recipe.keep_epochs`."""
        folders = [path for path in sorted((self.folder / EPOCHS).glob("epoch-*")) if not path.is_symlink()]
        return self, *sorted(map(Run.load, folders), key=_rank)

    def load_model(self) -> "keras.Model":
        """Loads the model, if its file is the one that was trained and holds no code.

        Raises:
            ValueError: If the file is another one than provenance.json states, is damaged, or holds what
                `models.stored.model_file.load_model` does not open.
        """
        from chexkeras.models.stored.model_file import load_model

        file = self.check_model()
        if not self._fingerprints:
            say(f"{MODEL} of the run {self.folder.name!r}: no fingerprint was recorded when it was trained, so another "
                "model in its place would not be noticed.")  # fmt: skip
        return load_model(file)

    def check_model(self) -> Path:
        """Returns the model's file, if it is there and the one that was trained; it is not opened.

        Raises:
            FileNotFoundError: If the run has no model, as one whose folder was copied without it.
            ValueError: If the file is another one than provenance.json states.
        """
        file = self._files.file(MODEL)
        if self._fingerprints and files.sha256_file(file) not in self._fingerprints:
            raise ValueError(
                f"{MODEL} of the run {self.folder.name!r} is not the file that was trained: it was replaced, changed "
                "or damaged, and the thresholds are those of another model. Copy the run once more from where it was "
                "trained, or train it again. Whoever replaced it on purpose says so once: "
                "cx.Run.load(folder).accept_model()."
            )
        return file

    def accept_model(self) -> None:
        """Records that the model was replaced on purpose; a caution then says so beside every number of the run."""
        from chexkeras.runs.writer import accept_model

        accept_model(self.folder)
        for read_before in ("provenance", "cautions"):
            self.__dict__.pop(read_before, None)

    @property
    def _fingerprints(self) -> set[str]:
        stated = self.provenance.get("model", {})
        return {stated.get(key) for key in ("sha256", ACCEPTED)} - {None}

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, recipe={self.recipe.name!r}, targets={', '.join(self.recipe.targets)})"


def _not_empty(table: pd.DataFrame, name: str) -> pd.DataFrame:
    if table.empty:
        raise ValueError(f"{name} of the run has no rows. {FIX}")
    return table


def _check_parts(table: pd.DataFrame, name: str) -> pd.DataFrame:
    unknown = int((~table["part"].isin(PARTS)).sum())
    if unknown:
        raise ValueError(f"{unknown} row(s) of the run's {name} are in no part of {', '.join(PARTS)}. {FIX}")
    return table


def _rank(run: Run) -> int:
    rank = run.provenance.get("best", {}).get("rank")
    if rank is None:
        raise ValueError(f"provenance.json of {run.folder.name} does not say which rank the epoch has. {FIX}")
    return int(rank)
