"""The main job from end to end on phantoms: images, training, evaluation, changed images, a DICOM folder, the report.

`run_demo` does it; `find_data` says which images a notebook works on (the reader's own, Kaggle's, or phantoms), and
`find_run` which run: the one on those images, or none.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from chexkeras.arguments import checked
from chexkeras.checks import existing_folder, sentences_in_notebooks, typed_path
from chexkeras.data.audit.audit import audit
from chexkeras.data.datasets.kaggle import find_attached
from chexkeras.data.datasets.nih import load_boxes, load_nih
from chexkeras.data.datasets.registry import NIH
from chexkeras.data.perturbations import Perturbation
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.explanation.study import study_heatmaps
from chexkeras.files import sha256_file
from chexkeras.findings import canonical
from chexkeras.inference.external import evaluate_external
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

ELSEWHERE = "portable"
"""The made-up hospital that the demo's run is tested at, see `phantoms.HOSPITALS`."""

HEATMAP_IMAGES = 20
"""About how many test images without a box the demo makes heat maps of, and how many it checks them on."""


@checked
def run_demo(
    run_dir: str | Path = "demo/runs/demo",
    *,
    phantoms: str | Path = "demo/data/phantoms",
    images: int = 800,
    prevalence: Mapping[str, float] | None = None,
    recipe: Recipe | None = None,
    report: str | Path | None = "demo/FDA_Submission.md",
    assets: str | Path | None = "demo/reports/demo",
) -> Run:
    """Runs the whole job on synthetic images.

    By default everything goes into the folder "demo" of the working directory.

    Args:
        run_dir: Run folder to write; an earlier run of that name is replaced when the new one is complete.
        phantoms: Folder of the synthetic images, made if it is not there.
        images: How many images.
        prevalence: Share of the images by finding to enrich; None enriches the recipe's targets to `PREVALENCE`.
        recipe: The recipe; None takes the preset "demo".
        report: Where the report goes; None writes none, makes no heat maps for it and tests at no other hospital.
        assets: Where its figures and numbers go, its HTML page and a model card.

    Returns:
        The run, with changed images measured and the DICOM folder scored.
    """
    say("1/9 images: synthetic, not clinical evidence")
    recipe = recipe or preset("demo")
    shares = dict.fromkeys(recipe.targets, PREVALENCE) if prevalence is None else prevalence
    root = make_phantoms(phantoms, images=images, prevalence=shares)
    say("2/9 audit")
    checked = audit(load_nih(root))
    say(checked.summary)
    say("3/9 split by patient")
    splits = split_by_patient(checked.table, recipe.targets, validation=0.2, test=0.25, seed=recipe.seed)
    say("4/9 training, threshold on validation, evaluation on test")
    run = train(recipe, splits, run_dir, audit=checked, overwrite=True)
    say("5/9 changed images")
    measure_robustness(run, checked.table, perturbations=CHANGES)
    say("6/9 DICOM folder")
    score_folder(run, root / "dicom")
    if report is not None:
        say("7/9 another hospital")
        there = make_phantoms(
            root.with_name(f"{root.name}-{ELSEWHERE}"),
            images=max(images // 3, 1),
            prevalence=shares,
            site=ELSEWHERE,
            dicom=False,
        )
        evaluate_external(run, there, name=ELSEWHERE)
        say("8/9 where the model looks")
        study_heatmaps(run, checked.table, finding=recipe.targets[0], boxes=load_boxes(root), images=HEATMAP_IMAGES)
        say("9/9 report")
        written = write_report(run, report, assets=assets)
        beside = written.parent if assets is None else Path(assets)
        write_html(written, beside / f"{written.stem}.html")
        write_model_card(run, beside / "model_card.md")
    return run


DATA_VARIABLE = "CHEXKERAS_DATA"
"""Environment variable that names the images asked for: a folder in NIH's layout, or the word "phantoms"."""
RUN_VARIABLE = "CHEXKERAS_RUN"
"""Environment variable that names the run folder of the notebooks."""
RUN_DIR = "runs/notebook"
"""The run folder of the notebooks where none is named."""
PHANTOMS = "phantoms"
"""What asks for synthetic images although real ones are attached; a folder of that name is written "./phantoms"."""
KAGGLE_INPUT = Path("/kaggle/input")


@sentences_in_notebooks
@checked
def find_data(
    phantoms: str | Path = "data/phantoms", *, images: int = 400, prevalence: Mapping[str, float] | None = None
) -> Path:
    """Returns a folder of images in NIH's layout: real images where they are asked for, and phantoms where nothing is.

    The environment variable CHEXKERAS_DATA comes first: a folder, or the word "phantoms". Without it, NIH ChestX-ray14
    that is attached on Kaggle is asked for, whether it appears as /kaggle/input/data, as
    /kaggle/input/datasets/organizations/nih-chest-xrays/data or elsewhere below /kaggle/input (see
    `data.datasets.kaggle`). Only where nothing is asked for are phantoms made, if they are not there, and a line says
    so. Nothing is ever written into the first two, and nothing is downloaded.

    Args:
        phantoms: Where phantoms are made.
        images: How many phantoms are made.
        prevalence: Share of the phantoms, strictly between 0 and 1, by finding to enrich; None keeps NIH's shares. Real
            images are as they are.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If CHEXKERAS_DATA names a folder that does not exist or holds no label file of NIH's, or
            what is attached on Kaggle is only a part of the data set.
        FileExistsError: If the folder for the phantoms holds something else.
        NotADirectoryError: If CHEXKERAS_DATA names a file.
        ValueError: If two different data sets in NIH's layout are attached on Kaggle.
    """
    asked = data_asked_for()
    if asked is not None:
        return asked
    if os.environ.get(DATA_VARIABLE, "") != PHANTOMS:
        nowhere = f" and no chest X-rays in NIH's layout are attached below {KAGGLE_INPUT}" * KAGGLE_INPUT.is_dir()
        say(f"{DATA_VARIABLE} is not set{nowhere}: working on phantoms, synthetic images, not clinical evidence")
    return make_phantoms(phantoms, images=images, prevalence=prevalence)


@sentences_in_notebooks
@checked
def find_run(
    run_dir: str | Path | None = None,
    *,
    finding: str | None = None,
    phantoms: str | Path = "data/phantoms",
    images: int = 300,
    prevalence: Mapping[str, float] | None = None,
    recipe: Recipe | None = None,
) -> Run:
    """Returns the run that was trained on the images asked for; never one on phantoms in place of real images.

    Which images are asked for is decided as in `find_data`. A run that is there is only read. Where nothing was asked
    for and no run is there, one is made on phantoms by the recipe "quick", in about a minute, and a line says so.

    Args:
        run_dir: The run folder; None takes the environment variable CHEXKERAS_RUN, or else "runs/notebook".
        finding: What the run must have been trained for, and what a run on phantoms is trained for; None takes any run,
            and the recipe's own targets.
        phantoms: Where phantoms are made.
        images: How many phantoms are made.
        prevalence: Share of the phantoms by finding to enrich; None enriches the targets to `PREVALENCE`.
        recipe: The recipe of a run on phantoms; None takes the preset "quick".

    Returns:
        The run.

    Raises:
        FileNotFoundError: If there is no run although images or a run folder were asked for: the training in notebook 2
            did not come to its end, or wrote elsewhere. And whatever `find_data` raises.
        ValueError: If the run there is one on other images than those asked for, or for another finding.
    """
    named = os.environ.get(RUN_VARIABLE)
    folder = typed_path(run_dir if run_dir is not None else named or RUN_DIR, "run_dir")
    asked = data_asked_for()
    # A path that the caller read from the environment is a run asked for, like a path that it did not give.
    asked_run = bool(named) and folder == typed_path(str(named), RUN_VARIABLE)
    if folder.exists():
        run = Run.load(folder)
        _refuse_other_images(run, asked, asked_run)
        if finding is not None and canonical(finding) not in run.recipe.targets:
            raise ValueError(
                f"the run {str(folder)!r} was trained for {', '.join(run.recipe.targets)}, not for {finding}: train "
                f"one for {finding} first (notebook 2), or name another run folder in {RUN_VARIABLE}."
            )
        return run
    if asked is not None or asked_run:
        begun = (folder.parent / f".{folder.name}.unfinished").exists()
        what = (
            f"on the images asked for, {str(asked)!r}" if asked is not None else f"at the folder {RUN_VARIABLE} names"
        )
        raise FileNotFoundError(
            f"there is no run {what}: {str(folder)!r} does not exist"
            f"{', though a training of it was begun and is unfinished' * begun}; train it first (notebook 2 has to "
            f"come to its end), name a finished run in {RUN_VARIABLE}, or ask for synthetic images with "
            f"{DATA_VARIABLE}={PHANTOMS}{f' and without {RUN_VARIABLE}' * asked_run}."
        )
    recipe = recipe or preset("quick")
    if finding is not None:
        recipe = recipe.replace(targets=(canonical(finding),))
    say(f"no run at {str(folder)!r} and no images asked for: making one on phantoms, not clinical evidence")
    return run_demo(folder, phantoms=phantoms, images=images, prevalence=prevalence, recipe=recipe, report=None)


def data_asked_for() -> Path | None:
    """Returns the folder of the images that were asked for, or None where phantoms will do."""
    named = os.environ.get(DATA_VARIABLE)
    if named == PHANTOMS:
        return None
    if not named:
        return find_attached(KAGGLE_INPUT)
    folder = existing_folder(typed_path(named, DATA_VARIABLE), DATA_VARIABLE)
    if NIH.label_file_in(folder) is None:
        raise FileNotFoundError(
            f"{DATA_VARIABLE}: the folder {named!r} holds no label file in NIH's layout "
            f"({' or '.join(NIH.label_files)}); name the folder that does."
        )
    return folder


def _refuse_other_images(run: Run, asked: Path | None, asked_run: bool) -> None:
    """Raises where a run was not trained on the images asked for, as far as its label files tell.

    A run on real images that was itself asked for may be on others than those at hand: a line says so.
    """
    label_file = None if asked is None else NIH.label_file_in(asked)
    source = run.provenance["source"]
    synthetic = source["synthetic"]
    images = "phantoms (synthetic images)" if synthetic else f"other images ({source['dataset']})"
    if label_file is None:
        matches, wanted = synthetic or os.environ.get(DATA_VARIABLE) != PHANTOMS, "phantoms"
    else:
        matches, wanted = sha256_file(label_file) in source["files"].values(), repr(str(asked))
    if matches:
        return
    if asked_run and not synthetic and asked is not None:
        say(f"the run {str(run.folder)!r}, named in {RUN_VARIABLE}, was trained on {images}, not on {wanted}")
        return
    raise ValueError(
        f"the run {str(run.folder)!r} was trained on {images}, not on those asked for, {wanted}: train it on these "
        f"first (notebook 2 has to come to its end), name another run folder in {RUN_VARIABLE}, or ask for other "
        f"images in {DATA_VARIABLE} ({PHANTOMS} for synthetic ones)."
    )
