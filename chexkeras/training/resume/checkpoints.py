"""Checkpoints of a training under way: after every epoch all that the next one depends on, in one file.

A checkpoint is a ``.npz`` file of plain arrays and one JSON record. Keras' own weights files hold neither dropout's
random state nor the history, and would write frozen weights again in every epoch; a ``.npz`` holds what training
changes, carries a checksum for each array, and is read without running anything stored in it.

There are three kinds: ``start.npz``, every variable before the first epoch; ``last.npz``, the last epoch's state; and
``best-<epoch>.npz``, the weights of one of the best epochs. Each is written beside its destination and renamed, the
best ones before the last one that refers to them; what they replace goes afterwards. A kill or a full disk leaves the
epoch before.

What training changes of a classifier: the variables it can have touched so far, and their values at a moment.

The weights of the best epochs so far, as many as the recipe keeps.
"""

import json
import math
import os
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chexkeras import files

if TYPE_CHECKING:
    # Whether there is something to resume is asked before Keras and TensorFlow start.
    import keras

HISTORY = "history.csv"
_LAST, _START = "last.npz", "start.npz"
_RECORD = "record"


@dataclass
class Snapshot:
    """The state of a stage between two epochs.

    Attributes:
        variables: Values of the classifier's variables, dropout's random state among them, by position.
        optimizer: Values of the optimizer's variables: steps, learning rate, moments, averages.
        raw: With a moving average of the weights: the weights behind it, which go on training.
    """

    variables: dict[int, np.ndarray]
    optimizer: list[np.ndarray] = field(default_factory=list)
    raw: list[np.ndarray] = field(default_factory=list)


@dataclass
class Saved:
    """A checkpoint as it was read.

    Attributes:
        record: What was said of it.
        snapshot: The state after its epoch.
        kept: Weights of the best epochs so far, by the epoch's number and by position.
    """

    record: dict[str, Any]
    snapshot: Snapshot
    kept: dict[int, dict[int, np.ndarray]]


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: Where they lie.

    Attributes:
        resumed_after: After how many epochs the training was resumed, each time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.resumed_after: list[int] = []
        self._before = 0.0
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before it was resumed included."""
        return self._before + time.perf_counter() - self._started

    @property
    def any_there(self) -> bool:
        """Whether an epoch left a checkpoint, be it readable or not."""
        return (self.folder / _LAST).exists() or any(self.folder.glob(_best("*")))

    @property
    def epochs(self) -> int:
        """How many epochs the last checkpoint counts; 0 if there is none, a ValueError if it cannot be read."""
        if not (self.folder / _LAST).exists():
            return 0
        return len(self._read(_LAST, record_only=True)[1]["history"])

    @property
    def names(self) -> list[str]:
        """The files there are, of what `load_start` and `load` read."""
        found = [_START, _LAST, *sorted(path.name for path in self.folder.glob(_best("*")))]
        return [name for name in found if (self.folder / name).is_file()]

    def save_start(self, values: Sequence[np.ndarray]) -> None:
        """Writes what training starts from.

        Args:
            values: Values of all variables of the classifier, in its order.
        """
        self._write(_START, {f"variable.{index}": array for index, array in enumerate(values)}, {})

    def load_start(self) -> list[np.ndarray] | None:
        """Returns the values that training started from; None if they were not saved.

        Raises:
            ValueError: If the file is damaged.
        """
        if not (self.folder / _START).is_file():
            return None
        return list(_group(self._read(_START)[0], "variable").values())

    def save(self, record: dict[str, Any], snapshot: Snapshot, kept: dict[int, dict[int, np.ndarray]]) -> None:
        """Writes the state after an epoch; the checkpoint before it goes when this one is complete.

        Args:
            record: Plain values, among them "history" (a row per epoch) and "kept" (the numbers of the best epochs).
            snapshot: The state.
            kept: Weights of the best epochs so far, by number; those of earlier ones are there already.

        Raises:
            OSError: If it cannot be written, for example on a full disk; the one before is untouched.
        """
        arrays = {f"variable.{position}": array for position, array in snapshot.variables.items()}
        arrays |= {f"optimizer.{index}": array for index, array in enumerate(snapshot.optimizer)}
        arrays |= {f"raw.{index}": array for index, array in enumerate(snapshot.raw)}
        history, names = record["history"], {_best(number) for number in record["kept"]}
        further = {"seconds": self.seconds, "taken_up": self.resumed_after}
        try:
            newest = kept.get(len(history), {})
            if newest:
                self._write(
                    _best(len(history)), {f"variable.{position}": each for position, each in newest.items()}, {}
                )
            self._write(_LAST, arrays, {**record, **further})
            for path in self.folder.glob(_best("*")):
                if path.name not in names:
                    path.unlink()
            files.write_csv(self.folder / HISTORY, pd.DataFrame(history))
        except OSError as error:
            raise OSError(
                f"the checkpoint after {len(history)} epochs could not be written to {self.folder} ({error}); the one "
                "before it is untouched: free some space and continue with resume=True (on the command line "
                "train --resume)."
            ) from error

    def load(self) -> Saved | None:
        """Reads the last epoch's checkpoint; None if no epoch was finished.

        Raises:
            ValueError: If a file is damaged or missing.
        """
        if not (self.folder / _LAST).is_file():
            return None
        found, record = self._read(_LAST)
        snapshot = Snapshot(
            _group(found, "variable"), list(_group(found, "optimizer").values()), list(_group(found, "raw").values())
        )
        self._before = float(record.pop("seconds"))
        self.resumed_after = [*record.pop("taken_up"), len(record["history"])]
        kept = {number: _group(self._read(_best(number))[0], "variable") for number in record["kept"]}
        return Saved(record, snapshot, kept)

    def _write(self, name: str, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
        everything: dict[str, Any] = {_RECORD: np.frombuffer(json.dumps(record).encode(), np.uint8), **arrays}
        with files.replacing(self.folder / name) as temporary, temporary.open("wb") as handle:
            np.savez(handle, **everything)
            # Renaming is safe against a kill; this makes it safe against a power cut.
            handle.flush()
            os.fsync(handle.fileno())

    def _read(self, name: str, record_only: bool = False) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        path = self.folder / name
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {key: stored[key] for key in stored.files if key == _RECORD or not record_only}
            return arrays, json.loads(arrays.pop(_RECORD).tobytes())
        except (
            OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, RecursionError,
        ) as error:  # fmt: skip
            raise ValueError(
                f"the checkpoint {path} is damaged or missing ({error}); if the disk was away, try again when it is "
                "back; otherwise discard the interrupted training and start again (overwrite=True, on the command line "
                "--overwrite)."
            ) from error


def _best(number: int | str) -> str:
    return f"best-{number}.npz"


def _group(arrays: dict[str, np.ndarray], kind: str) -> dict[int, np.ndarray]:
    """Returns the arrays of one kind by their number, in its order."""
    found = {int(key.split(".")[1]): array for key, array in arrays.items() if key.startswith(f"{kind}.")}
    return dict(sorted(found.items()))


class TrainedVariables:
    """The variables of a classifier that the stages so far could change; all others are as they were at the start.

    A variable is known by its position among ``model.variables``: names count up with every model that Keras builds.

    Args:
        model: A classifier of `build_classifier`, as it is before training.
    """

    def __init__(self, model: "keras.Model") -> None:
        self._model = model
        self._variables = model.variables
        self._position = {id(variable): position for position, variable in enumerate(self._variables)}
        self._weights = {self._position[id(weight)] for weight in model.weights}
        self._start: dict[int, np.ndarray] = {}

    def move_to(self, model: "keras.Model") -> None:
        """Goes on with another classifier that was built alike.

        Args:
            model: The classifier, with the values that this one has.
        """
        self._model, self._variables = model, model.variables
        self._position = {id(variable): position for position, variable in enumerate(self._variables)}

    def extend(self) -> None:
        """Takes in what the stage that was just applied can change."""
        from chexkeras.models.partition import changes_in_training

        for layer in self._model.layers:
            if changes_in_training(layer):
                for variable in layer.variables:
                    self._start.setdefault(self._position[id(variable)], value(variable))

    def values(self) -> dict[int, np.ndarray]:
        """Returns the present values of everything that may have changed."""
        return {position: value(self._variables[position]) for position in sorted(self._start)}

    def weights(self) -> dict[int, np.ndarray]:
        """Returns the present values of the weights that may have changed, without any random state."""
        return {position: found for position, found in self.values().items() if position in self._weights}

    def assign(self, values: dict[int, np.ndarray]) -> None:
        """Gives variables the values of `values`, and no others.

        Args:
            values: From `values`, of this model or of one built alike.
        """
        for position, found in values.items():
            self._variables[position].assign(found)

    def assign_weights(self, weights: dict[int, np.ndarray]) -> None:
        """Brings the classifier back to the weights it had at some moment; random state goes on from where it is.

        Args:
            weights: From `weights`. What only a later stage could change gets the value it had at the start.
        """
        for position in sorted(self._start.keys() & self._weights):
            self._variables[position].assign(weights.get(position, self._start[position]))


def value(variable: Any) -> np.ndarray:
    """Returns a copy of a variable's value that later steps do not touch."""
    import keras

    return np.array(keras.ops.convert_to_numpy(variable))


def assign_all(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Gives every variable of a list its value.

    Args:
        variables: For example an optimizer's.
        values: As many.

    Raises:
        ValueError: If they differ in number or shape: the values are of something built differently.
    """
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [found.shape for found in values]:
        raise ValueError(
            f"{len(values)} saved values do not fit the {len(shapes)} variables there are; they are of a model or an "
            "optimizer that was built differently. Discard them and train again (overwrite=True, on the "
            "command line --overwrite)."
        )
    for variable, found in zip(variables, values, strict=True):
        variable.assign(found)


def better(value: float, best: float | None, mode: str) -> bool:
    """Returns whether a value beats the best so far; one that is not a number never does, anything else beats None."""
    if math.isnan(value):
        return False
    return best is None or (value > best if mode == "max" else value < best)


class BestEpochs:
    """Ranks the epochs of a run by its monitor, over all stages, and holds the weights of the first few.

    Args:
        trained: What training changes of the classifier.
        keep: How many to hold.
        mode: "max" where a larger value is better, "min" where a smaller one is.
    """

    def __init__(self, trained: TrainedVariables, keep: int, mode: str) -> None:
        self._trained, self._keep, self._mode = trained, keep, mode
        self._values: dict[int, float] = {}
        self.weights: dict[int, dict[int, np.ndarray]] = {}

    @property
    def numbers(self) -> list[int]:
        """The epochs' numbers within the run, the best first; of equal ones the earlier."""
        ranked: list[int] = []
        for number, value in sorted(self._values.items()):
            worse = (place for place, other in enumerate(ranked) if better(value, self._values[other], self._mode))
            ranked.insert(next(worse, len(ranked)), number)
        return ranked

    def offer(self, number: int, value: float) -> bool:
        """Takes the weights that the model now has, if they are among the best.

        Args:
            number: The epoch's number within the run, from 1.
            value: Its value of the monitor; NaN is never among the best.

        Returns:
            Whether the epoch is the best so far.
        """
        if not better(value, None, self._mode):
            return False
        self._values[number] = value
        for gone in self.numbers[self._keep :]:
            del self._values[gone]
            self.weights.pop(gone, None)
        if number in self._values:
            self.weights[number] = self._trained.weights()
        return self.numbers[0] == number

    def resume(self, weights: Mapping[int, dict[int, np.ndarray]], values: Mapping[int, float]) -> None:
        """Goes on from what a checkpoint held.

        Args:
            weights: Weights by epoch.
            values: The monitor's values of the same epochs.
        """
        self.weights, self._values = dict(weights), {number: values[number] for number in weights}

    def move_to(self, model: "keras.Model") -> None:
        """Gives the weights of epochs to another classifier from now on.

        Args:
            model: One that was built alike, with the values that this one has.
        """
        self._trained.move_to(model)

    def assign(self, number: int | None = None) -> None:
        """Brings the classifier back to the weights of an epoch.

        Args:
            number: The epoch; None takes the best, and changes nothing where there is none.
        """
        if number is not None or self.weights:
            self._trained.assign_weights(self.weights[self.numbers[0] if number is None else number])
