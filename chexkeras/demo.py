"""The main job from end to end on phantoms: images, training, evaluation, changed images, a DICOM folder, the report.

`run_demo` does it; `find_data` says which images a notebook works on: the reader's own, Kaggle's, or phantoms.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from chexkeras.checks import existing_folder, typed_path
from chexkeras.data.audit.audit import audit
from chexkeras.data.datasets.nih import load_nih
from chexkeras.data.perturbations import Perturbation
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.inference.robustness import measure_robustness
from chexkeras.inference.score_folder import score_folder
from chexkeras.phantoms import make_phantoms
from chexkeras.progress import say
from chexkeras.recipes.presets import preset
from chexkeras.recipes.recipe import Recipe
from chexkeras.report.html import write_html
from chexkeras.report.model_card import write_model_card
from chexkeras.report.submission import write_report
from chexkeras.runs.run import Run
from chexkeras.training.trainer import train

PREVALENCE = 0.3
"""Share of the demo's images with each finding to learn: a case-control sample, since a few hundred images at NIH's own
prevalences hold too few positives to learn from."""

CHANGES = tuple(
    Perturbation(kind, amount)
    for kind, amount in (
        ("brightness", -0.1), ("brightness", 0.1), ("contrast", 0.7), ("gamma", 1.4), ("noise", 0.02), ("blur", 0.005),
        ("resolution", 0.5), ("jpeg", 50), ("rotation", 5), ("shift", 0.05), ("zoom", 1.1), ("mirrored", 1),
        ("inverted", 1),
    )
)  # fmt: skip
"""What the demo's test images are changed by: the milder strength of each kind, to stay short."""


def run_demo(
    run_dir: str | Path = "runs/demo",
    *,
    phantoms: str | Path = "data/phantoms",
    images: int = 800,
    recipe: Recipe | None = None,
    report: str | Path | None = "FDA_Submission.md",
    assets: str | Path | None = "reports/demo",
) -> Run:
    """Runs the whole job on synthetic images.

    Args:
        run_dir: Run folder to write; an earlier run of that name is replaced when the new one is complete.
        phantoms: Folder of the synthetic images, made if it is not there.
        images: How many images.
        recipe: The recipe; None takes the preset "demo".
        report: Where the report goes; None writes none.
        assets: Where its figures and numbers go, its HTML page and a model card.

    Returns:
        The run, with changed images measured and the DICOM folder scored.
    """
    say("1/7 images: synthetic, not clinical evidence")
    recipe = recipe or preset("demo")
    root = make_phantoms(phantoms, images=images, prevalence=dict.fromkeys(recipe.targets, PREVALENCE))
    say("2/7 audit")
    checked = audit(load_nih(root))
    say(checked.summary)
    say("3/7 split by patient")
    splits = split_by_patient(checked.table, recipe.targets, validation=0.2, test=0.25, seed=recipe.seed)
    say("4/7 training, threshold on validation, evaluation on test")
    run = train(recipe, splits, run_dir, audit=checked, overwrite=True)
    say("5/7 changed images")
    measure_robustness(run, checked.table, perturbations=CHANGES)
    say("6/7 DICOM folder")
    score_folder(run, root / "dicom")
    if report is not None:
        say("7/7 report")
        written = write_report(run, report, assets=assets)
        beside = written.parent if assets is None else Path(assets)
        write_html(written, beside / f"{written.stem}.html")
        write_model_card(run, beside / "model_card.md")
    return run


DATA_VARIABLE = "CHEXKERAS_DATA"
KAGGLE_INPUT = Path("/kaggle/input/data")


def find_data(
    phantoms: str | Path = "data/phantoms", *, images: int = 400, prevalence: Mapping[str, float] | None = None
) -> Path:
    """Returns a folder of images in NIH's layout.

    The environment variable CHEXKERAS_DATA comes first, then Kaggle's copy of NIH ChestX-ray14 (the data set
    "nih-chest-xrays/data" appears as /kaggle/input/data), then phantoms, which are made if they are not there.
    Nothing is ever written into the first two, and nothing is downloaded.

    Args:
        phantoms: Where phantoms are made.
        images: How many phantoms are made.
        prevalence: Share of the phantoms, strictly between 0 and 1, by finding to enrich; None keeps NIH's shares. Real
            images are as they are.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If CHEXKERAS_DATA names a folder that does not exist.
        FileExistsError: If the folder for the phantoms holds something else.
    """
    named = os.environ.get(DATA_VARIABLE)
    if named:
        return existing_folder(typed_path(named, DATA_VARIABLE), DATA_VARIABLE)
    if KAGGLE_INPUT.is_dir():
        return KAGGLE_INPUT
    return make_phantoms(phantoms, images=images, prevalence=prevalence)
