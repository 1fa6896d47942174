"""The folder of an interrupted training: what was asked for, and its checkpoints.

It lies beside the run folder as ``.<run>.unfinished`` until the run is complete. Whoever takes the training up again
has to give the same images and labels; the rest is read from here. Reading it imports neither TensorFlow nor Keras.
"""

import contextlib
import glob
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from chexkeras import files, provenance
from chexkeras.checks import typed_path
from chexkeras.data.splits.splits import Splits
from chexkeras.progress import say
from chexkeras.recipes.recipe import Recipe
from chexkeras.training.resume.checkpoints import Checkpoints

_ASKED, _RECIPE, _SPLITS, _PLAN, _LOCK = "asked.json", "recipe.json", "splits.csv", "plan.json", "lock"
_MOST_SHOWN = 5
_COMMAND: ContextVar[str] = ContextVar("command", default="")
_DISCARD = "discard it with overwrite=True (on the command line --overwrite)"


@dataclass(frozen=True)
class TrainingRequest:
    """What a training was asked to do.

    Attributes:
        recipe: The recipe, findings as the table spells them.
        splits: The split, before any up-sampling by the recipe.
        inputs: What the result depends on, as plain values; a training is resumed with the same ones only.
        options: Arguments of `train` that it needs besides: features, draws, cautions, overwrite.
    """

    recipe: Recipe
    splits: Splits
    inputs: dict[str, Any]
    options: dict[str, Any]


class InterruptedTraining:
    """An interrupted training.

    Attributes:
        run_dir: Folder of the run that is to be.
        folder: Where its checkpoints lie.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self.run_dir = typed_path(run_dir, "run_dir").resolve()
        self.folder = self.run_dir.parent / f".{self.run_dir.name}.unfinished"

    @classmethod
    def load(cls, run_dir: str | Path) -> "InterruptedTraining":
        """Finds the interrupted training of a run.

        Args:
            run_dir: The run's name, as `train` was given it.

        Raises:
            FileNotFoundError: If there is none.
        """
        found = cls(run_dir)
        if not found.exists():
            done = (
                "that run is complete" if (found.run_dir / _RECIPE).is_file() else "no training of it was interrupted"
            )
            raise FileNotFoundError(
                f"nothing to resume for {str(found.run_dir)!r}: {done} ({found.folder.name} is not beside it). Check "
                "the name, or start the training without resume."
            )
        return found

    def exists(self) -> bool:
        """Returns whether there is one."""
        return (self.folder / _ASKED).is_file()

    @cached_property
    def _asked(self) -> dict[str, Any]:
        try:
            return files.read_json(self.folder / _ASKED)
        except ValueError as error:
            raise ValueError(
                f"the interrupted training of {str(self.run_dir)!r} cannot be resumed, since the record of what it was "
                f"asked is damaged ({error}); {_DISCARD}."
            ) from error

    @property
    def run_id(self) -> str:
        """What tells this training from any other; its run's provenance has it too."""
        return self._asked["run_id"]

    @property
    def options(self) -> dict[str, Any]:
        """Arguments for `train`: features, draws, cautions and overwrite."""
        return dict(self._asked["options"])

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return Recipe.load(self.folder / _RECIPE)

    def splits(self, table: pd.DataFrame) -> Splits:
        """Returns the split, laid on the image table again.

        Args:
            table: The image table it was made from; the images may have moved.

        Raises:
            ValueError: If the table is another one.
        """
        return Splits.load(self.folder / _SPLITS, table)

    @property
    def epochs_done(self) -> int:
        """How many epochs have a checkpoint; a ValueError where it cannot be read."""
        return self._checkpoints.epochs

    @property
    def holds_epochs(self) -> bool:
        """Whether there are epochs to lose, be their checkpoint readable or not."""
        return self.exists() and self._checkpoints.any_there

    @property
    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder)

    def _done(self) -> str:
        try:
            count = self.epochs_done
        except ValueError:
            return "epochs whose checkpoint cannot be read"
        return "1 epoch" if count == 1 else f"{count} epochs"

    @property
    def complete(self) -> bool:
        """Whether its run is in place: a kill came between the last rename and the clearing up."""
        record = self.run_dir / "provenance.json"
        return record.is_file() and files.read_json(record).get("run_id") == self.run_id

    @property
    def plan(self) -> dict[str, Any] | None:
        """What was decided on stored features; None before it was decided."""
        path = self.folder / _PLAN
        return files.read_json(path) if path.is_file() else None

    def save_plan(self, plan: dict[str, Any] | None) -> None:
        """Keeps what was decided on stored features, which depends on the room on the disk.

        Args:
            plan: From `FeaturePlan.to_dict`; None where every epoch reads the images again.
        """
        files.write_json(self.folder / _PLAN, {"features": plan})

    def check_free(self, overwrite: bool) -> None:
        """Checks that a new training of this run would not lose the epochs of an unfinished one.

        Args:
            overwrite: Whether they may be lost.

        Raises:
            FileExistsError: If they may not.
            ValueError: If they may not, and the record of what was asked is damaged.
        """
        if not overwrite and self.holds_epochs:
            # Raises where it cannot be read: then resuming is no way out.
            self._asked  # noqa: B018
            raise FileExistsError(
                f"a training of {str(self.run_dir)!r} was interrupted after {self._done()}: continue it with "
                f"resume=True ({_COMMAND.get() or 'on the command line train --resume, with the same --data'}), or "
                f"{_DISCARD}."
            )

    def require(self, inputs: dict[str, Any]) -> None:
        """Checks that a training would be resumed with what it began with.

        Args:
            inputs: What the result depends on, as plain values by name.

        Raises:
            ValueError: If not; the message names what differs.
        """
        before, now = flat_values(self._asked["inputs"]), flat_values(json.loads(json.dumps(inputs)))
        differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if differing:
            shown = [f"{key} was {_short(before.get(key))}, is {_short(now.get(key))}" for key in differing]
            more = f" and {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
            raise ValueError(
                f"the interrupted training of {str(self.run_dir)!r} began with something else: "
                f"{'; '.join(shown[:_MOST_SHOWN])}{more}. Give what it began with, or {_DISCARD}."
            )
        versions = self._asked["versions"]
        changed = [f"{name} {versions.get(name)} -> {found}" for name, found in _versions().items()
                   if versions.get(name) != found]  # fmt: skip
        if changed:
            say(f"other versions than before ({', '.join(changed)}): results may differ in rounding")

    @contextlib.contextmanager
    def claimed(self, asked: TrainingRequest, *, resume: bool, overwrite: bool) -> Iterator[None]:
        """Holds the folder for a training, against other processes too; it goes when the block ends without an error.

        Args:
            asked: What is to be done.
            resume: Whether to continue what is there; otherwise the folder is made again.
            overwrite: Whether an interrupted training that is there may be discarded.

        Raises:
            FileExistsError: If another process trains this run, or an interrupted training would be lost.
            ValueError: If it is to be resumed with other inputs.
        """
        with contextlib.ExitStack() as held:
            if self.folder.exists():
                held.enter_context(_locked(self.folder, self.run_dir))
            if resume:
                self.require(asked.inputs)
            else:
                self._begin(asked, overwrite)
                held.close()
                held.enter_context(_locked(self.folder, self.run_dir))
            try:
                yield
            except BaseException as error:
                self._leave(error)
                raise
            shutil.rmtree(self.folder)

    def _begin(self, asked: TrainingRequest, overwrite: bool) -> None:
        self.check_free(overwrite)
        if self.holds_epochs:
            say(f"the interrupted training of {self.run_dir.name} ({self._done()}) is discarded")
        self.run_dir.parent.mkdir(parents=True, exist_ok=True)
        for left in self.folder.parent.glob(f"{glob.escape(self.folder.name)}*"):
            shutil.rmtree(left)
        made = Path(tempfile.mkdtemp(prefix=f"{self.folder.name}.", dir=self.folder.parent))
        asked.recipe.save(made / _RECIPE)
        asked.splits.save(made / _SPLITS)
        plain = {"inputs": asked.inputs, "options": asked.options, "versions": _versions()}
        files.write_json(made / _ASKED, {"run_id": uuid.uuid4().hex, **plain})
        made.chmod(0o755)
        os.replace(made, self.folder)
        self.__dict__.pop("_asked", None)

    def _leave(self, error: BaseException) -> None:
        stored = self.run_dir.with_name(f".{self.run_dir.name}.features")
        epochs = self._checkpoints.any_there
        if not epochs and not (isinstance(error, KeyboardInterrupt) and stored.exists()):
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        done = f"after {self._done()}, which are kept" if epochs else "before the first epoch; what was stored is kept"
        say_how_to_go_on(done)


def say_how_to_go_on(done: str) -> None:
    """Says that a training stopped, and how it is continued.

    Args:
        done: After what it stopped, and what of it is kept.
    """
    command = _COMMAND.get()
    if command:
        say(f"stopped {done}; go on with:\n{command}")
    else:
        say(f"stopped {done}: continue with resume=True and the same splits, or {_DISCARD}")


@contextlib.contextmanager
def resumed_by(command: str) -> Iterator[None]:
    """Says how a training that breaks off in the block is continued on the command line.

    Args:
        command: The whole command, as it can be pasted into a shell.
    """
    token = _COMMAND.set(command)
    try:
        yield
    finally:
        _COMMAND.reset(token)


@contextlib.contextmanager
def _locked(folder: Path, run_dir: Path) -> Iterator[None]:
    if os.name == "nt":
        # Windows has no such lock, and removes no folder with an open file.
        yield
        return
    try:
        handle = (folder / _LOCK).open("a")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the interrupted training of {str(run_dir)!r} has just gone: another process completed or discarded it. "
            "Look whether the run is there now."
        ) from None
    with handle:
        taken = f"another process is training {str(run_dir)!r} at this moment; wait for it, or name another run."
        if not files.lock(handle, taken):
            say(f"{folder.parent} knows no locks; take care that no other process trains {run_dir.name}")
        yield


def _versions() -> dict[str, str]:
    packages = provenance.collect()["packages"]
    return {name: packages[name] for name in ("chexkeras", "tensorflow", "keras", "numpy")}


def flat_values(value: Any, at: str = "") -> dict[str, Any]:
    """Returns the leaves of nested plain values by their place, for example "recipe.stages.1.learning_rate".

    Args:
        value: Lists, mappings and what is in them.
        at: Where it stands.
    """
    if not isinstance(value, (dict, list)):
        return {at: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {key: leaf for name, item in items for key, leaf in flat_values(item, f"{at}.{name}".lstrip(".")).items()}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:13]}...'"
