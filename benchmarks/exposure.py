"""What recipes bear: one split, one seed, several ways to treat exposure and noise, each measured against the first.

    .venv/bin/python benchmarks/exposure.py --out table.md
    .venv/bin/python benchmarks/exposure.py --data path/to/nih-1000 --preset two-stage --weights none \
        --large path/to/images-of-1024-px --variant "before: exposure=none" --variant "after: exposure=standardise"

Without --data it draws phantoms: synthetic images, whose numbers say that the software works and nothing of hospitals.
A variant is a name and the recipe's fields that it changes; `draws=N` among them stores that many random draws of each
image. Every one is trained, its test images are changed as `chexkeras robustness` does and scored again, and images of
1024 px are scored as they are and reduced beforehand. Printed are the aims, a row each, and every change.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

from chexkeras.data.datasets.registry import open_data
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.demo import PREVALENCE
from chexkeras.evaluation.comparison.compare import compare
from chexkeras.inference.predictor import Predictor
from chexkeras.inference.robustness import measure_robustness
from chexkeras.phantoms import make_phantoms
from chexkeras.recipes.overrides import with_settings
from chexkeras.recipes.presets import preset
from chexkeras.results import PerturbationEffect, Robustness
from chexkeras.runs.run import Run
from chexkeras.training.trainer import train

NON_INFERIOR, LOSS, RATE_SHIFT = 0.02, 0.05, 0.10
SIDES = (768, 512, 320, 224)


def main() -> None:
    """Trains, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of a data set; by default phantoms are made")
    parser.add_argument("--images", type=int, default=800, help="phantoms to make")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--finding", help="the finding to learn; by default the preset's first")
    parser.add_argument("--weights", help="'none' for an untrained base; by default the preset's")
    parser.add_argument("--large", type=Path, help="folder of PNG files of 1024 px; phantoms are drawn without --data")
    parser.add_argument(
        "--variant", action="append", help="'name: field=value field=value', the first is the reference"
    )
    parser.add_argument(
        "--keep", type=Path, help="folder in which the runs stay; those that are there are not trained again"
    )
    parser.add_argument("--out", type=Path, help="file to write what is printed to, too")
    given = parser.parse_args()
    variants = given.variant or ["before: exposure=none", "after: exposure=standardise"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = preset(given.preset)
        recipe = recipe.replace(targets=(given.finding or recipe.targets[0],))
        if given.weights is not None:
            recipe = recipe.replace(weights=None if given.weights == "none" else given.weights)
        data, large = given.data, given.large
        if data is None:
            shares = {recipe.targets[0]: PREVALENCE}
            data = make_phantoms(folder / "phantoms", images=given.images, prevalence=shares, dicom=False)
            large = make_phantoms(folder / "large", images=60, size=1024, seed=1, prevalence=shares, dicom=False)
        table = open_data(data, missing="skip")
        splits = split_by_patient(table, recipe.targets, validation=0.2, test=0.25, seed=recipe.seed)
        runs, changed, moved = {}, {}, {}
        for variant in variants:
            label, fields = variant.split(":", 1)
            settings = dict(entry.split("=", 1) for entry in fields.split())
            draws = settings.pop("draws", None)
            own = with_settings(recipe, [f"{field}={value}" for field, value in settings.items()])
            target = (given.keep or folder / "runs") / label
            if not (target / "recipe.json").is_file():
                train(own, splits, target, draws=int(draws) if draws else None)
            runs[label] = Run.load(target)
            if runs[label].recipe.to_dict() != own.to_dict():
                raise SystemExit(f"{target} is a run of another recipe; choose another folder for --keep")
            changed[label] = runs[label].robustness or measure_robustness(runs[label], table)
            moved[label] = resolution_shifts(runs[label], large) if large else {}
        text = as_text(runs, changed, moved)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


def resolution_shifts(run: Run, folder: Path) -> dict[int, float]:
    """Returns the median difference of the score between images of 1024 px and the same reduced beforehand, by side."""
    predictor = Predictor.load(run)
    images = [Image.open(path).convert("L") for path in sorted(folder.rglob("*.png"))]
    whole = predictor.score([np.asarray(image) for image in images])
    return {
        side: float(np.median(np.abs(predictor.score([reduced(image, side) for image in images]) - whole)))
        for side in SIDES
    }


def reduced(image: Image.Image, side: int) -> np.ndarray:
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))


def as_text(runs: dict[str, Run], changed: dict[str, Robustness], moved: dict[str, dict[int, float]]) -> str:
    """Returns the cautions, the table of aims and the table of changes, in Markdown."""
    names, first = list(runs), next(iter(runs))
    cautions = dict.fromkeys(caution for run in runs.values() for caution in run.cautions)
    aims: dict[str, list[str]] = {}
    for name, run in runs.items():
        finding = run.recipe.targets[0]
        effects = changed[name].of(finding)
        losses = {effect.perturbation: effect["AUROC"].difference for effect in effects}
        borne = [effect for effect in effects if losses[effect.perturbation].value > -LOSS]
        exposure = min(losses[effect.perturbation].value for effect in effects if effect.group == "exposure")
        beyond = [effect for effect in borne if largest_rate_shift(effect) > RATE_SHIFT]
        paired = "" if name == first else str(
            compare(run.scores("test"), runs[first].scores("test"), margin=NON_INFERIOR)[0].difference
        )  # fmt: skip
        verdicts = [effect.leading for effect in effects]
        caught = {entry.name: entry.flagged.value for entry in run.novelty.changed} if run.novelty else {}
        for aim, value in (
            ("AUROC of the unchanged test images", str(run.evaluation[finding].auroc)),
            (f"against {first}, paired (margin {NON_INFERIOR})", paired),
            (f"changes that cost less than {LOSS} of AUROC", f"{len(borne)} of {len(effects)}"),
            ("the worst change of exposure", f"{exposure:.3f}"),
            (f"of those changes, rates moved beyond {RATE_SHIFT:.2f}", f"{len(beyond)} of {len(borne)}"),
            (
                "verdicts held, worse, not shown",
                ", ".join(str(verdicts.count(v)) for v in ("held", "worse", "not shown")),
            ),
            ("reduced beforehand, median difference", ", ".join(f"{v:.3f} ({k} px)" for k, v in moved[name].items())),
            ("caught as unlike the training images", ", ".join(f"{k} {v:.3f}" for k, v in caught.items())),
        ):
            aims.setdefault(aim, []).append(value)
    lines = [f"Caution: {caution}" for caution in cautions] + ["", *table_of("aim", names, aims)]
    changes: dict[str, list[str]] = {}
    for name, run in runs.items():
        for effect in changed[name].of(run.recipe.targets[0]):
            loss = effect["AUROC"].difference
            changes.setdefault(effect.perturbation, []).append(f"{loss.value:.3f} ({loss.low:.3f} to {loss.high:.3f})")
    return "\n".join([*lines, "", *table_of("change of AUROC", names, changes)])


def largest_rate_shift(effect: PerturbationEffect) -> float:
    """Returns how far sensitivity or specificity moved at the frozen threshold, whichever moved further."""
    return max(abs(effect[rate].difference.value) for rate in ("sensitivity", "specificity"))


def table_of(head: str, names: list[str], rows: dict[str, list[str]]) -> list[str]:
    return [
        f"| {head} | {' | '.join(names)} |",
        "| --- |" + " --- |" * len(names),
        *(f"| {row} | {' | '.join(cells)} |" for row, cells in rows.items()),
    ]


if __name__ == "__main__":
    main()
