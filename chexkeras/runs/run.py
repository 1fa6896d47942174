"""The run folder: what a training run leaves behind, and all that a report needs.

Reading one imports neither TensorFlow nor Keras; only `Run.load_model` does.
"""

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from chexkeras import files
from chexkeras.checks import existing_folder, one_of, require_columns, typed_path
from chexkeras.data.image_table import TableSource
from chexkeras.evaluation.scores import Scores, read_scores
from chexkeras.recipes.recipe import Recipe
from chexkeras.results import Estimate, Evaluation, OperatingPoint, Robustness

if TYPE_CHECKING:
    import keras

    from chexkeras.evaluation.calibration.recalibration import Recalibration

PARTS = ("train", "validation", "test")
_TEXT_COLUMNS = {"image_id": str, "patient_id": str}
EPOCHS = "epochs"
"""Folder inside a run for the further epochs that were kept."""
ROBUSTNESS = "robustness.json"
"""Where a run keeps what changed images do to its scores."""
_FIX = "The file is damaged or was cut short: restore it, or train again."
_HISTORY = ("stage", "epoch", "global_epoch", "loss", "val_loss", "val_auroc", "learning_rate")
_TABLE = ("image_id", "patient_id", "age_years", "sex", "view", "part")
_SOURCE = ("dataset", "label_release", "files", "synthetic", "implausible_ages")
_WITHIN = ("auroc", "sensitivity", "specificity", "ppv", "npv")


class Run:
    """A finished run, read file by file when asked.

    Attributes:
        folder: Where it lies.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> "Run":
        """Opens a run folder.

        Args:
            folder: What `train` was given as `run_dir`.

        Raises:
            FileNotFoundError: If the folder, or its recipe, is not there.
        """
        run = cls(existing_folder(typed_path(folder, "run"), "run"))
        run._file("recipe.json")
        return run

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise FileNotFoundError(
                f"the run folder {str(self.folder)!r} has no {name}; train again, or restore that file. "
                "A run folder is what chexkeras train writes."
            )
        return path

    def _json(self, name: str, kind: type[Any], keys: tuple[str, ...] = ()) -> Any:
        """Returns a JSON document of the run that is of its kind, not empty, and has its keys."""
        document = files.read_json(self._file(name))
        if not isinstance(document, kind):
            raise ValueError(f"{name} of the run holds a {type(document).__name__}, not a {kind.__name__}. {_FIX}")
        lacking = [key for key in keys if key not in document]
        if lacking:
            raise ValueError(f"{name} of the run lacks {', '.join(lacking)}. {_FIX}")
        return document

    def _csv(self, name: str, columns: tuple[str, ...], filled: tuple[str, ...], **options: Any) -> pd.DataFrame:
        """Returns a table of the run that has its columns, with a value in every row of those that must be filled."""
        try:
            table = pd.read_csv(self._file(name), **options)
        except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
            raise ValueError(f"{name} of the run cannot be read ({error}). {_FIX}") from error
        require_columns(table, columns, f"{name} of the run", _FIX)
        for column in filled:
            lacking = int((table[column].isna() | (table[column].astype(str) == "")).sum())
            if lacking:
                raise ValueError(f"{lacking} row(s) of the run's {name} have no {column}. {_FIX}")
        return table

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe it was trained by."""
        return Recipe.load(self._file("recipe.json"))

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Data, split, versions, commit and seconds."""
        provenance = self._json("provenance.json", dict, ("source", "split", "cautions"))
        source = provenance["source"]
        lacking = [key for key in _SOURCE if not isinstance(source, dict) or key not in source]
        if lacking:
            raise ValueError(f"provenance.json of the run lacks {', '.join(lacking)} in its source. {_FIX}")
        return provenance

    @cached_property
    def cautions(self) -> tuple[str, ...]:
        """Sentences a reader must see beside any number of this run."""
        return tuple(self.provenance["cautions"])

    @cached_property
    def stages(self) -> list[dict[str, Any]]:
        """What each stage trained, as `models.stages.StageBoundary`, and how it ended."""
        stages = self._json("stages.json", list)
        if not stages or not all(isinstance(stage, dict) and stage for stage in stages):
            raise ValueError(f"stages.json of the run holds no stage, or an empty one. {_FIX}")
        return stages

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch: stage, epoch, global_epoch, loss, val_loss, val_auroc, learning_rate, seconds."""
        return _not_empty(self._csv("history.csv", _HISTORY, ("stage", "epoch", "global_epoch", "loss")), "history.csv")

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
        table = self._csv(
            "table.csv",
            (*_TABLE, *groups, *self.recipe.targets),
            ("image_id", "patient_id", "part"),
            dtype=_TEXT_COLUMNS | dict.fromkeys(groups, str),
            keep_default_na=False,
            na_values=[""],
        )
        _not_empty(table, "table.csv")
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
        return _not_empty(self._csv("splits.csv", columns, columns, dtype=str, keep_default_na=False), "splits.csv")

    @cached_property
    def audit(self) -> dict[str, Any]:
        """What the audit found in the images."""
        return self._json("audit.json", dict, ("checked", "issues"))

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """Images that were listed but not used: image_id, reason."""
        columns = ("image_id", "reason")
        return self._csv("left_out.csv", columns, columns, dtype=str, keep_default_na=False)

    @cached_property
    def operating_points(self) -> tuple[OperatingPoint, ...]:
        """The frozen thresholds, in target order."""
        entries = self._json("operating_points.json", list)
        with _fields_of("operating_points.json"):
            return tuple(OperatingPoint.from_dict(entry) for entry in entries)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The evaluation on the test part."""
        document = self._json("evaluation.json", dict, ("split", "scores_fingerprint", "findings", "cautions"))
        with _fields_of("evaluation.json"):
            evaluation = Evaluation.from_dict(document)
        for entry in evaluation.findings:
            groups = [group for analysis in entry.subgroups for group in analysis.groups]
            for measured in (entry, *groups):
                for name in _WITHIN:
                    _check_within(entry.finding, name, getattr(measured, name, None))
        return evaluation

    @property
    def dicom_results(self) -> pd.DataFrame | None:
        """Verdicts and scores of DICOM files scored with this run, or None when none were."""
        path = self.folder / "dicom_results.csv"
        return pd.read_csv(path, keep_default_na=False) if path.is_file() else None

    @property
    def recalibrations(self) -> "tuple[Recalibration, ...]":
        """The frozen recalibrations of the scores; none where none were saved."""
        from chexkeras.evaluation.calibration.recalibration import FILE, load_recalibrations

        return load_recalibrations(self.folder) if (self.folder / FILE).is_file() else ()

    @property
    def robustness(self) -> Robustness | None:
        """What changed images do to the scores, see `inference.robustness`; None where it was not measured."""
        if not (self.folder / ROBUSTNESS).is_file():
            return None
        document = self._json(ROBUSTNESS, dict, ("effects", "scores_fingerprint"))
        with _fields_of(ROBUSTNESS, "Measure again: chexkeras robustness --overwrite."):
            return Robustness.from_dict(document)

    def scores(self, part: str) -> Scores:
        """Returns the scores of a part.

        Args:
            part: "validation" or "test".
        """
        name = f"scores_{one_of(part, PARTS[1:], 'part')}.csv"
        path = self._file(name)
        try:
            return read_scores(path)
        except (ValueError, TypeError) as error:
            # A row that was cut off has no score, which looks like a network that diverged.
            columns = ("image_id", "patient_id", "finding", "label", "score")
            self._csv(name, columns, ("image_id", "patient_id", "finding", "score"), dtype=str, keep_default_na=False)
            raise ValueError(f"{name} of the run: {error}") from error

    @property
    def epochs(self) -> "tuple[Run, ...]":
        """The epochs that were kept, each as a run, the best (this run itself) first; see `Recipe.keep_epochs`."""
        others = [Run.load(path) for path in sorted((self.folder / EPOCHS).glob("epoch-*"))]
        return self, *sorted(others, key=lambda run: int(run.provenance["best"]["rank"]))

    def load_model(self) -> "keras.Model":
        """Loads the model in Keras' safe mode: no code stored in the file is run.

        Raises:
            ValueError: If the file is damaged, or holds code.
        """
        import keras

        from chexkeras.models.losses import register_keras_classes

        register_keras_classes()
        file = self._file("model.keras")
        try:
            return keras.saving.load_model(file, compile=False, safe_mode=True)
        except Exception:
            # Looked at only now: a whole file costs no second reading.
            if _is_damaged(file):
                raise ValueError(
                    f"{str(file)!r} is damaged: it is no whole file of Keras. Copy the run once more from where it was "
                    "trained, or train it again."
                ) from None
            raise

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, recipe={self.recipe.name!r}, targets={', '.join(self.recipe.targets)})"


@contextlib.contextmanager
def _fields_of(name: str, fix: str = _FIX) -> Iterator[None]:
    """Says which file of the run lacks a field, or holds something else in its place."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"is not what a run writes ({error})"
        raise ValueError(f"{name} of the run {what}. {fix}") from error


def _not_empty(table: pd.DataFrame, name: str) -> pd.DataFrame:
    if table.empty:
        raise ValueError(f"{name} of the run has no rows. {_FIX}")
    return table


def _check_within(finding: str, name: str, estimate: Estimate | None) -> None:
    if estimate is None or not estimate.estimable or math.isnan(estimate.low) or math.isnan(estimate.high):
        return
    if not estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9:
        raise ValueError(
            f"evaluation.json of the run: the {name} of {finding}, {estimate.value:.4g}, lies outside its interval "
            f"{estimate.low:.4g} to {estimate.high:.4g}. {_FIX}"
        )


def _is_damaged(file: Path) -> bool:
    """Returns whether a model's file is no whole archive, as every file of Keras is."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is not None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        return True
