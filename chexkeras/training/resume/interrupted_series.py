"""A series of trainings that was begun and is not complete. Reading it imports neither TensorFlow nor Keras."""

import json
from pathlib import Path
from typing import Any

from chexkeras import files
from chexkeras.recipes.recipe import Recipe
from chexkeras.runs.series import RUNS
from chexkeras.training.resume.interrupted import InterruptedTraining, flat_values

ASKED = "asked.json"
DISCARD = "discard it with overwrite=True (on the command line --overwrite)"
_MOST_SHOWN = 5


class InterruptedSeries:
    """A series of trainings that was begun and is not complete.

    Attributes:
        destination: The folder that is to be.
        folder: Where its parts lie meanwhile.
    """

    def __init__(self, destination: str | Path) -> None:
        self.destination = Path(destination).resolve()
        self.folder = self.destination.parent / f".{self.destination.name}.series"

    def exists(self) -> bool:
        """Returns whether there is one."""
        return (self.folder / ASKED).is_file()

    @property
    def asked(self) -> dict[str, Any]:
        """What it was asked to do: kind, recipe, inputs and options, as plain values.

        Raises:
            ValueError: If the record is damaged.
        """
        try:
            return dict(files.read_json(self.folder / ASKED))
        except ValueError as error:
            raise ValueError(
                f"the interrupted series of {str(self.destination)!r} cannot be resumed, since the record of what it "
                f"was asked is damaged ({error}); {DISCARD}."
            ) from error

    @property
    def kind(self) -> str:
        """The name of the file that will tell what the folder holds, one of `runs.series.SERIES`."""
        return str(self.asked["kind"])

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the function that began it, besides the recipe and the images."""
        return dict(self.asked["options"])

    @property
    def recipe(self) -> Recipe:
        """The recipe of a cross-validation or of seeds, findings as the table spells them."""
        return Recipe.from_dict(self.asked["inputs"]["recipe"])

    @property
    def done(self) -> int:
        """How many of its trainings are complete."""
        return sum((path / "recipe.json").is_file() for path in (self.folder / RUNS).glob("[!.]*"))

    @property
    def begun(self) -> bool:
        """Whether there is work to lose: a complete training, or one with epochs."""
        return bool(self.done) or self.in_a_training

    @property
    def in_a_training(self) -> bool:
        """Whether one of its trainings was stopped after an epoch."""
        unfinished = (
            InterruptedTraining(path.with_name(path.name[1:].removesuffix(".unfinished")))
            for path in (self.folder / RUNS).glob(".*.unfinished")
        )
        return any(each.holds_epochs for each in unfinished)

    def require(self, inputs: dict[str, Any]) -> None:
        """Checks that a series would be resumed with what it began with.

        Args:
            inputs: What the result depends on, as plain values by name.

        Raises:
            ValueError: If not; the message names what differs.
        """
        before, now = flat_values(self.asked["inputs"]), flat_values(json.loads(json.dumps(inputs)))
        differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if differing:
            shown = "; ".join(f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in differing[:_MOST_SHOWN])
            raise ValueError(
                f"the interrupted series of {str(self.destination)!r} began with something else: {shown}. Give what it "
                f"began with, or {DISCARD}."
            )
