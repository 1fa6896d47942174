"""What the five notebooks are set by: environment variables, each checked once, before anything expensive.

`notebook_settings` reads them all. It is the only place that knows their names and what holds where one is not set; the
notebooks themselves name neither a folder nor a finding.
"""

import html
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chexkeras import demo
from chexkeras.arguments import checked
from chexkeras.checks import existing_file, existing_folder, nearest, one_of, sentences_in_notebooks, typed_path
from chexkeras.data.image_table import PHANTOM_FILE
from chexkeras.findings import NIH14, resolve
from chexkeras.phantoms import make_phantoms
from chexkeras.recipes import presets
from chexkeras.recipes.recipe import Recipe
from chexkeras.runs.run import Run

PHANTOM_IMAGES = 300
"""Enough for every notebook to run in a minute, and for a few positive images in every part."""

_PREFIX = "CHEXKERAS_"
FINDING, PRESET, WEIGHTS, DICOM = (f"{_PREFIX}{name}" for name in ("FINDING", "PRESET", "WEIGHTS", "DICOM"))
VARIABLES: Mapping[str, str] = {
    demo.DATA_VARIABLE: "folder of images in NIH's layout, or the word phantoms for synthetic ones",
    FINDING: "one of NIH's 14 findings, or several with commas between them",
    PRESET: "recipe to train by, see chexkeras presets",
    WEIGHTS: "imagenet, a weights file, or none for an untrained base",
    demo.RUN_VARIABLE: "run folder: notebook 2 writes it, notebooks 3 to 5 read it",
    DICOM: "folder of DICOM files for notebook 4",
}
"""The environment variables that the notebooks heed, and what each may hold."""
_OF_OTHERS = ("CHEXKERAS_HASH_KEY", "CHEXKERAS_TEST_DATA")


@dataclass(frozen=True)
class NotebookSettings:
    """What the notebooks work on.

    Attributes:
        findings: What is trained for; the first is the one that is shown.
        preset: Name of the recipe.
        weights: Where training starts from: "imagenet", a file, or None for an untrained base.
        run_dir: The run folder.
        asked: The folder of images that is asked for; None where phantoms are made.
        dicom_folder: The DICOM files of notebook 4; None takes synthetic ones.
        synthetic: Whether the images are phantoms.
        named: The variables that are set; the others hold what is usual.
    """

    findings: tuple[str, ...]
    preset: str
    weights: str | None
    run_dir: Path
    asked: Path | None
    dicom_folder: Path | None
    synthetic: bool
    named: tuple[str, ...]

    @property
    def finding(self) -> str:
        """The finding that figures are drawn of."""
        return self.findings[0]

    @property
    def phantoms(self) -> Path:
        """Where phantoms are made: a folder for each choice of findings."""
        return Path("data") / f"phantoms-{'-'.join(self.findings)}"

    @sentences_in_notebooks
    def find_data(self) -> Path:
        """Returns the folder of images: those asked for, or phantoms with the findings enriched, see `find_data`."""
        return demo.find_data(self.phantoms, images=PHANTOM_IMAGES, prevalence=self._shares)

    @sentences_in_notebooks
    def find_run(self) -> Run:
        """Returns the run that was trained on the images asked for, see `find_run`.

        Raises:
            FileNotFoundError: If there is none, and real images or a run are asked for.
            ValueError: If the run is one on other images, or was not trained for a finding that is asked for.
        """
        run = demo.find_run(
            self.run_dir,
            phantoms=self.phantoms,
            images=PHANTOM_IMAGES,
            prevalence=self._shares,
            recipe=self._planned(),
        )
        lacking = [name for name in self.findings if name not in run.recipe.targets]
        if lacking and FINDING in self.named:
            raise ValueError(
                f"{FINDING}: the run {str(run.folder)!r} was trained for {', '.join(run.recipe.targets)}, not for "
                f"{', '.join(lacking)}: train it anew in notebook 2, or name another run in {demo.RUN_VARIABLE}."
            )
        return run

    @sentences_in_notebooks
    def find_dicom(self) -> Path:
        """Returns the folder of DICOM files: the one asked for, or one of synthetic files."""
        if self.dicom_folder is not None:
            return self.dicom_folder
        if self.synthetic and self.asked is not None and (self.asked / "dicom").is_dir():
            return self.asked / "dicom"
        if self.asked is None:
            return make_phantoms(self.phantoms, images=PHANTOM_IMAGES, prevalence=self._shares) / "dicom"
        return make_phantoms("data/phantoms-dicom", images=30) / "dicom"

    @sentences_in_notebooks
    def find_elsewhere(self) -> Path | None:
        """Returns a folder of images of another hospital: phantoms of a made-up one; None beside real images."""
        if not self.synthetic:
            return None
        there = self.phantoms.with_name(f"{self.phantoms.name}-{demo.ELSEWHERE}")
        return make_phantoms(
            there, images=PHANTOM_IMAGES // 2, prevalence=self._shares, site=demo.ELSEWHERE, dicom=False
        )

    @sentences_in_notebooks
    def recipe(self) -> Recipe:
        """Returns the recipe, once its weights are found: a network that cannot be had is told before all else.

        Raises:
            OSError: If ImageNet weights cannot be had; the message gives the ways out.
            ValueError: If the weights do not fit.
        """
        recipe = self._planned()
        if recipe.weights is not None:
            import keras

            from chexkeras.models.backbones import BACKBONES, attach

            size = recipe.image_size
            attach(BACKBONES.find(recipe.backbone, "backbone"), keras.Input((size, size, 3)), recipe.weights)
        return recipe

    def _planned(self) -> Recipe:
        return presets.preset(self.preset).replace(targets=self.findings, weights=self.weights)

    @property
    def _shares(self) -> dict[str, float]:
        return dict.fromkeys(self.findings, demo.PREVALENCE)

    def _rows(self) -> list[tuple[str, str, str]]:
        images = str(self.asked or f"phantoms, in {self.phantoms}")
        values = {
            demo.DATA_VARIABLE: f"{images}: synthetic images, not clinical evidence" if self.synthetic else images,
            FINDING: ", ".join(self.findings),
            PRESET: self.preset,
            WEIGHTS: "none: an untrained base" if self.weights is None else self.weights,
            demo.RUN_VARIABLE: str(self.run_dir),
            DICOM: str(self.dicom_folder or "synthetic files"),
        }
        return [(name, values[name], "" if name in self.named else "not set") for name in VARIABLES]

    def __str__(self) -> str:
        """Returns a line for each variable."""
        return "\n".join(f"{name:<18} {value}{f'  ({how})' * bool(how)}" for name, value, how in self._rows())

    def _repr_html_(self) -> str:
        """Returns a table for the notebook."""
        rows = "".join(
            f"<tr><td style='text-align:left'><code>{name}</code></td>"
            f"<td style='text-align:left'>{html.escape(value)}</td><td style='text-align:left'>{how}</td></tr>"
            for name, value, how in self._rows()
        )
        return f"<table>{rows}</table>"


@sentences_in_notebooks
@checked
def notebook_settings() -> NotebookSettings:
    """Returns what the notebooks work on, from the environment variables in `VARIABLES`.

    Where nothing is set, NIH ChestX-ray14 that is attached on Kaggle is used with the recipe "two-stage", and phantoms
    with the recipe "quick" otherwise; both name their finding and weights themselves.

    Returns:
        The settings; the images themselves are looked for by their methods.

    Raises:
        ValueError: If a variable has a value that is not among those it may have, or a name begins with CHEXKERAS_ and
            none is called so.
        FileNotFoundError: If a folder or file that is named does not exist.
    """
    # How often a graph was traced is of no use to a reader, and stands between the lines of an output.
    for logger in ("tensorflow", "absl"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    for name in os.environ:
        if name.startswith(_PREFIX) and name not in VARIABLES and name not in _OF_OTHERS:
            raise ValueError(
                f"the environment variable {name} is heeded by nobody; {nearest(name, VARIABLES)} There are: "
                f"{', '.join(VARIABLES)}."
            )
    given = {name: os.environ[name].strip() for name in VARIABLES if os.environ.get(name, "").strip()}
    asked = demo.data_asked_for()
    synthetic = asked is None or (asked / PHANTOM_FILE).is_file()
    preset = one_of(given.get(PRESET, "quick" if synthetic else "two-stage"), presets.names(), PRESET)
    recipe = presets.preset(preset)
    weights = recipe.weights
    if WEIGHTS in given:
        weights = _weights(given[WEIGHTS])
    findings = recipe.targets
    if FINDING in given:
        findings = _findings(given[FINDING])
    elif not set(findings) <= set(NIH14):
        others = [name for name in findings if name not in NIH14]
        raise ValueError(
            f"{PRESET}={preset}: it trains for {', '.join(others)} too, which NIH's labels do not name; say in "
            f"{FINDING} what to train for."
        )
    dicom = existing_folder(typed_path(given[DICOM], DICOM), DICOM) if DICOM in given else None
    run_dir = typed_path(given.get(demo.RUN_VARIABLE, demo.RUN_DIR), demo.RUN_VARIABLE)
    return NotebookSettings(findings, preset, weights, run_dir, asked, dicom, synthetic, tuple(given))


def _findings(text: str) -> tuple[str, ...]:
    try:
        return resolve([name.strip() for name in text.split(",") if name.strip()])
    except ValueError as error:
        raise ValueError(f"{FINDING}={text}: {error}") from None


def _weights(text: str) -> str | None:
    if text.lower() == "none":
        return None
    if text == "imagenet":
        return text
    return str(existing_file(typed_path(text, WEIGHTS), WEIGHTS, "name a weights file, or say imagenet or none."))
