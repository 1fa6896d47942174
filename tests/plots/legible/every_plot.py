"""Every public plot with the longest words that it may meet: what is given for a parameter of each name."""

import functools
import inspect
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from chexkeras import plots
from chexkeras.data.audit.shortcuts import SHORTCUTS, Shortcut
from chexkeras.data.image_table import TableSource
from chexkeras.evaluation.clinical_use.triage import triage_effect
from chexkeras.evaluation.comparison.compare import compare_all
from chexkeras.evaluation.comparison.pooling import pool_sites
from chexkeras.evaluation.cross_validation.evaluate_folds import evaluate_folds
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.novelty import fit_novelty, freeze
from chexkeras.evaluation.readers.mrmc import mrmc
from chexkeras.evaluation.readers.reader_study import ReaderStudy
from chexkeras.evaluation.readers.roe_metz import simulate_reader_study
from chexkeras.evaluation.robustness import perturbation_effects
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.explanation.heatmaps import Heatmaps
from chexkeras.findings import CHEXPERT14, NO_FINDING
from chexkeras.recipes.recipe import Recipe, Stage
from chexkeras.results import AgainstShortcut, Estimate, Robustness, ShortcutStudy, SubgroupGaps
from chexkeras.results.gaps import GroupValue
from chexkeras.results.novelty import GRID
from tests.made_external import made_external, made_scores

CAUTIONS = (
    "Not a random sample of the data set (a case-control sample, for example): Pneumonia is on 50.0 % of these images, "
    "1.3 % of the data set; Edema is on 9.6 % of these images, 2.1 % of the data set; Pneumothorax is on 1.2 % of "
    "these images, 4.7 % of the data set. Predictive values and calibration do not carry over to other populations.",
    "Untrained backbone: the frozen convolutions keep random weights, so the results show that the software works, not "
    "what pretrained weights reach.",
    "Case-control sample of NIH ChestX-ray14: 500 images labelled Pneumonia and 500 labelled No Finding, reduced to "
    "320 px; prevalence, predictive values and calibration do not carry over to patients.",
    "View alone tells the classes apart in this sample (AUROC 0.617, 95 % CI 0.579-0.654), so part of any AUROC is not "
    "pneumonia.",
    "Enlarged Cardiomediastinum: none of the 500 negative images shows any other finding. The negatives are chosen "
    "controls, so how the device fares on images with other diseases was not measured.",
)
"""As long as those of a run on real images have become."""

LONGEST = "Enlarged Cardiomediastinum"
FINDINGS = tuple(name for name in CHEXPERT14 if name != NO_FINDING) + ("Abnormal",)
RUNS = ("two-stage_densenet121_seed0", "udacity-2a_flip_lr1e-5_seed0", "udacity-2b_top35_lr1e-5_seed0")

WRITES_FILES = {"draw_comparison", "save_heatmaps"}
"""Those that make figures of their own and write them, so that there is no axes to give."""


@functools.cache
def _scores(skill=1.3, patients=100):
    """Scores of 14 findings on two images of each patient, one finding rare."""
    rng = np.random.default_rng(0)
    images = np.arange(2 * patients)
    pieces = []
    for number, finding in enumerate(FINDINGS):
        labels = (rng.random(len(images)) < (0.03 if number == 5 else 0.3)).astype(float)
        scores = 1 / (1 + np.exp(-(rng.normal(size=len(images)) + skill * labels - 0.8)))
        pieces.append(
            pd.DataFrame(
                {
                    "image_id": [f"{image // 2:08d}_{image % 2:03d}.png" for image in images],
                    "patient_id": [str(image // 2) for image in images],
                    "finding": finding, "label": labels, "score": scores,
                }
            )
        )  # fmt: skip
    return pd.concat(pieces, ignore_index=True)


def _two(scores):
    """The scores of two findings only, for what takes long to compute."""
    return scores[scores["finding"].isin((LONGEST, "Pleural Effusion"))]


@functools.cache
def _folder():
    return Path(tempfile.mkdtemp(prefix="every_plot_"))


@functools.cache
def _table():
    """The images of the scores, with files."""
    scores, rng = _scores(), np.random.default_rng(1)
    labels = scores.pivot(index="image_id", columns="finding", values="label")[list(FINDINGS)].reset_index()
    count = len(labels)
    first = labels["image_id"]
    facts = pd.DataFrame(
        {
            "image_id": first,
            "path": "",
            "patient_id": [name[:8].lstrip("0") or "0" for name in first],
            "follow_up": 0,
            "age_years": np.repeat(rng.integers(1, 94, count // 2), 2).astype(float),
            "sex": np.repeat(rng.choice(["F", "M"], count // 2), 2),
            "view": rng.choice(["PA", "AP", "lateral"], count),
            "width_px": 48,
            "height_px": 48,
            "pixel_spacing_mm": 0.2,
        }
    )
    facts.loc[:3, "age_years"] = np.nan
    picture = _folder() / "picture.png"
    Image.fromarray(rng.integers(0, 255, (64, 48)).astype(np.uint8)).save(picture)
    table = pd.concat([facts, labels[list(FINDINGS)]], axis=1)
    table["path"] = str(picture)
    table.attrs["source"] = TableSource("an own table", cautions=CAUTIONS)
    return table


@functools.cache
def _points():
    return tuple(choose_threshold(_scores(skill=1.2), finding=name) for name in FINDINGS)


@functools.cache
def _evaluation():
    columns = ("sex", "age_years", "view")
    return evaluate(_scores(), _points(), cautions=CAUTIONS, table=_table(), subgroups=columns, split="test")


@functools.cache
def _of_runs():
    shared = _scores()
    rng = np.random.default_rng(3)
    return {
        name: shared.assign(score=(0.8 * shared["score"] + 0.2 * rng.random(len(shared)))) if number else shared
        for number, name in enumerate(RUNS)
    }


@functools.cache
def _robustness():
    rng = np.random.default_rng(0)
    scores = _two(_scores())
    names = (
        *((f"blurred by {share} % of the height", "sharpness") for share in (0.5, 1)),
        *((f"rotated {angle} degrees", "position") for angle in (-10, 10)),
        ("gray values inverted", "misuse"),
    )
    changed = {name: scores.assign(score=(0.7 * scores["score"] + 0.3 * rng.random(len(scores)))) for name, _ in names}
    effects = perturbation_effects(scores, changed, groups=dict(names))
    return Robustness("test", "00", 224, 200, 100, 200, 0, 0.0, 0.0, 16, 0.05, effects, CAUTIONS)


def _gaps():
    groups = tuple(
        GroupValue(name, 1120, 600, 300, 900, Estimate(0.8 - 0.02 * at, 0.65 - 0.02 * at, 0.9))
        for at, name in enumerate(("Siemens Healthineers Ysio Max", "Carestream DRX-Evolution Plus", "other"))
    )
    few = Estimate.not_estimable("too few: 3 positive")
    groups = (*groups, GroupValue("Agfa", 9, 8, 3, 6, few))
    return SubgroupGaps(
        LONGEST, "manufacturer", "sensitivity", Estimate(0.72, 0.66, 0.78), groups, groups[0].level, groups[2].level,
        Estimate(0.2, 0.02, 0.37), 0.06, Estimate(0.12, 0.0, 0.3), n_unknown=1200,
    )  # fmt: skip


@functools.cache
def _study():
    made = simulate_reader_study({"with_the_device_2.1": 0.9, "without_any_device": 0.8}, readers=6, images=(25, 30))
    rows = made.to_frame()
    rows["reader"] = "thoracic_radiologist_" + rows["reader"].astype(str)
    return ReaderStudy.of(rows.assign(rating=np.ceil(rows["rating"] / 20), finding=LONGEST))


def _maps():
    rng = np.random.default_rng(0)
    images = tuple(_table()["image_id"].head(8))
    array = rng.normal(size=(8, 1, 7, 7)).astype(np.float32)
    return Heatmaps(
        array, rng.random((8, 1), np.float32), images, (LONGEST,), "gradcam++", "conv5", "logit", 48, CAUTIONS
    )


def _boxes():
    frame = pd.DataFrame(
        [(name, LONGEST, 30, 8, 14, 20) for name in _table()["image_id"].head(4)],
        columns=["image_id", "finding", "x_px", "y_px", "width_px", "height_px"],
    )
    frame.attrs["image_px"] = 48
    return frame


def _shortcuts():
    """All shortcuts to all findings, one of them not estimable."""
    made = [
        Shortcut(name, finding, Estimate(0.5 + 0.03 * at, 0.45 + 0.03 * at, 0.6 + 0.03 * at, 0.95, 1000, "m"), 40, 60)
        for finding in FINDINGS
        for at, name in enumerate(SHORTCUTS)
    ]
    return (*made[:-1], Shortcut(made[-1].name, FINDINGS[-1], Estimate.not_estimable("one image size"), 40, 60))


def _against_shortcuts():
    """The model beside all shortcuts to all findings."""
    none = Estimate.not_estimable("one image size")
    model, alone = Estimate(0.886, 0.84, 0.92, 0.95, 250, "m"), Estimate(0.617, 0.58, 0.65, 0.95, 250, "m")
    rows = [
        AgainstShortcut(
            finding, name, model, none if at == 2 else alone,
            none if at == 2 else Estimate(0.04 - 0.02 * at, -0.05 - 0.02 * at, 0.13, 0.95, 250, "paired"), 0.1, 500,
        )
        for finding in FINDINGS
        for at, name in enumerate(SHORTCUTS)
    ]  # fmt: skip
    return ShortcutStudy("ab", tuple(rows), CAUTIONS)


def _recipe():
    return Recipe(
        "two-stage_densenet121_imagenet_seed0", FINDINGS, image_size=512, backbone="DenseNet121",
        stages=(Stage("stage1", epochs=6, learning_rate=1e-3),),
    )  # fmt: skip


def _history():
    epochs = np.arange(1, 31)
    return pd.DataFrame(
        {
            "stage": np.repeat(["warm_up_of_the_head", "top_20_percent", "whole_network"], [3, 12, 15]),
            "global_epoch": epochs, "loss": 1 / epochs, "val_loss": 1 / epochs + 0.1, "val_auroc": 0.9 - 0.3 / epochs,
        }
    )  # fmt: skip


def _dicom():
    codes = ["", "", "sop_class_secondary;view_fallback;age_format", "age_from_dates;lossy", "modality", "body_part"]
    verdicts = ["accept", "accept", "warn", "warn", "reject", "reject"]
    return pd.DataFrame({"file": [f"{at}.dcm" for at in range(6)], "verdict": verdicts, "code": codes})


@functools.cache
def _files():
    """Returns a folder of files with long names, and what became of each when it was scored."""
    folder = _folder()
    slope = np.linspace(0, 255, 300)[:, None] * np.ones((1, 300))
    rows = []
    for at, decision in enumerate(("positive", "negative", "uncertain", "negative")):
        name = f"radiology-archive-of-the-north-2024-patient-{at:05d}-image.png"
        noise = np.random.default_rng(at).integers(0, 60, (300, 300))
        Image.fromarray((0.75 * slope + noise).astype(np.uint8)).save(folder / name)
        rows.append({"file": name, "verdict": "warn", "code": "no_header", "finding": LONGEST, "score": 0.2 + 0.2 * at,
                     "decision": decision})  # fmt: skip
    return folder, pd.DataFrame(rows)


def _novelty():
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(500, GRID**2 + 9))
    names = ("gray values inverted", "turned by 90 degrees", "upside down", "noise alone", "mirrored")
    changed = {name: (at + 1) * drawn[400:] for at, name in enumerate(names)}
    return freeze(fit_novelty(drawn[:200], 64), drawn[200:400], test=drawn[400:], changed=changed, cautions=CAUTIONS)


def _folds():
    """A cross-validation of the longest findings, five folds and three seeds."""
    rng = np.random.default_rng(0)
    rows = []
    for name in (LONGEST, *(found for found in FINDINGS[:13] if found != LONGEST)):
        label = (np.arange(100) % 3 == 0).astype(float)
        for seed in range(3):
            score = np.clip(0.4 * label + rng.uniform(0, 0.6, 100), 0, 1)
            rows.append(
                pd.DataFrame(
                    {
                        "image_id": [f"image {number}" for number in range(100)],
                        "patient_id": [str(number) for number in range(100)],
                        "finding": name,
                        "label": label,
                        "score": score,
                        "repeat": 1,
                        "fold": 1 + np.arange(100) // 3 % 5,
                        "seed": seed,
                        "threshold": 0.5,
                    }
                )
            )
    return evaluate_folds(pd.concat(rows, ignore_index=True), cautions=CAUTIONS)


def _shares():
    edges = np.linspace(0, 256, 33)
    heights = np.exp(-(((edges[:-1] - 120) / 60) ** 2))
    entry = {"bins": list(edges), "positive": list(heights / heights.sum()), "negative": list(heights[::-1] / 16)}
    return {**entry, "n_positive": 12_345, "n_negative": 98_765}


def _external():
    """Hospitals with long names, one of them of the run's own source."""
    internal = made_scores([LONGEST], skill=2.0, seed=1)
    points = [choose_threshold(made_scores([LONGEST], skill=2.0, seed=2), finding=LONGEST)]
    names = ("Hospital_of_the_Holy_Ghost_in_the_valley", "university-hospital-of-the-north-2024", "later")
    return [
        made_external(
            made_scores([LONGEST], skill=2.0 - at, seed=at + 3), internal, points, name, cautions=CAUTIONS,
            same_source=name == "later",
        )
        for at, name in enumerate(names)
    ]  # fmt: skip


GIVEN = {
    "analyses": _evaluation,
    "audit": _shortcuts,
    "boxes": _boxes,
    "comparisons": lambda: compare_all({name: _two(scores) for name, scores in _of_runs().items()}),
    "effect": lambda: triage_effect(0.83, 0.91, 0.1, arrivals_per_hour=5, reads_per_hour=6),
    "evaluation": _evaluation,
    "evaluations": lambda: {name: evaluate(scores, cautions=CAUTIONS) for name, scores in _of_runs().items()},
    "finding": lambda: LONGEST,
    "gaps": _gaps,
    "history": _history,
    "image": lambda: str(_table()["image_id"].iloc[0]),
    "internal": lambda: Estimate(0.886, 0.84, 0.92, 0.95, 250, "m"),
    "kept": lambda: 22,
    "folder": lambda: _files()[0],
    "maps": _maps,
    "margin": lambda: 0.05,
    "novelty": _novelty,
    "pixels": lambda: str(_table()["path"].iloc[0]),
    "point": lambda: next(point for point in _points() if point.finding == LONGEST),
    "points": _points,
    "pooled": lambda: pool_sites(
        {f"Hospital of the Holy Ghost {at}": Estimate(0.8 + 0.02 * at, 0.7, 0.9, 0.95, 1200 * at) for at in (1, 2, 3)}
    ),
    "recipe": _recipe,
    "result": lambda: mrmc(_study()),
    "results": _dicom,
    "robustness": _robustness,
    "runs": _of_runs,
    "scores": _scores,
    "shares": _shares,
    "stages": lambda: [
        {"stage": "stage1", "frozen_parameters": 7_037_504, "trainable_parameters": 1_574_913},
        {"stage": "stage2", "frozen_parameters": 5_037_504, "trainable_parameters": 3_574_913},
    ],
    "study": _study,
    "table": _table,
    "tests": _external,
    "threshold": lambda: 0.4321,
}
"""What is given for a parameter, whichever plot it is of: a new plot that takes no other is covered by itself."""

CHANGED = {
    "fold_plot": {"evaluation": lambda: _folds()},
    "file_images": {"results": lambda: _files()[1]},
    "file_scores": {"results": lambda: _files()[1]},
    "findings_with": {"finding": lambda: "Lung Opacity"},
    "flowchart": {"kept": lambda: "stage1"},
    "heatmap_gallery": {"table": lambda: _table().head(8), "pixels": lambda: None},
    "images": {"table": lambda: _table().head(12)},
    "shortcut_comparison": {"study": _against_shortcuts, "finding": lambda: LONGEST},
    "shortcuts": {"finding": lambda: None},
    "decision_curve": {"replicates": lambda: 20},
}
"""Where a plot takes something else under a name."""

LEFT_AS_THEY_ARE = {
    "ax", "axes", "note", "columns", "bins", "bin_years", "most", "first", "second", "split", "statistic", "overall",
    "outcome", "prevalence", "profile", "thresholds", "replicates", "title", "titles", "findings",
}  # fmt: skip
"""Settings whose defaults are drawn."""


def names():
    """Every public name of `chexkeras.plots` that draws."""
    return sorted(set(plots.__all__) - WRITES_FILES)


def arguments(name):
    """Returns (positional arguments, keyword arguments) with which to call a plot."""
    parameters = inspect.signature(getattr(plots, name)).parameters
    own = CHANGED.get(name, {})
    positional, further = [], {}
    for key, parameter in parameters.items():
        if key not in own and key in LEFT_AS_THEY_ARE:
            continue
        make = own.get(key, GIVEN.get(key))
        if make is None:
            raise LookupError(
                f"plots.{name} takes {key!r}, for which every_plot.py has nothing: add it to GIVEN, with the longest "
                "words that it may hold, or to LEFT_AS_THEY_ARE."
            )
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            further[key] = make()
        else:
            positional.append(make())
    if "note" in parameters:
        further["note"] = CAUTIONS
    return positional, further
