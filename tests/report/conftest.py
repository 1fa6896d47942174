"""A complete run folder made of seeded random numbers: everything the report reads, nothing that needs training."""

import math
import re
import shutil
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chexkeras import files
from chexkeras.data.audit.against_model import compare_with_shortcuts, shortcut_scores
from chexkeras.data.augmentation import Augmentation
from chexkeras.data.image_layout import layout_length
from chexkeras.evaluation.calibration.recalibration import fit_recalibration, save_recalibrations
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.novelty import fit_novelty, freeze
from chexkeras.evaluation.readers.roe_metz import simulate_reader_study
from chexkeras.evaluation.robustness import perturbation_effects
from chexkeras.evaluation.scores import scores_fingerprint, write_scores
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.findings import NIH14
from chexkeras.recipes.recipe import Recipe, Stage
from chexkeras.report.answers import answers_template
from chexkeras.report.submission import write_report
from chexkeras.results import OperatingPoint, Robustness
from chexkeras.runs.run import NOVELTY, ROBUSTNESS, SHORTCUT_SCORES, SHORTCUTS, Run

SYNTHETIC = "Synthetic images, not clinical evidence."
MODEL = b"stands for a model"


@dataclass(frozen=True)
class Design:
    """What the made-up run is like."""

    targets: tuple[str, ...] = ("Effusion",)
    skill: float = 2.0
    synthetic: bool = True
    leaky: bool = False
    dicom: bool = True
    recalibrated: bool = False
    robustness: bool = True
    shortcuts: bool = True
    weights: str | None = "imagenet"
    patients: int = 260
    prevalence: float = 0.25
    seed: int = 0


def _table(design: Design, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for patient in range(1, design.patients + 1):
        age, sex = int(rng.integers(4, 91)), str(rng.choice(["F", "M"]))
        part = str(rng.choice(["train", "validation", "test"], p=[0.6, 0.18, 0.22]))
        for follow_up in range(int(rng.integers(1, 5))):
            view = str(rng.choice(["PA", "AP"], p=[0.6, 0.4]))
            if design.leaky:
                part = str(rng.choice(["train", "validation", "test"], p=[0.6, 0.18, 0.22]))
            row = {
                "image_id": f"{patient:08d}_{follow_up:03d}.png", "patient_id": str(patient), "follow_up": follow_up,
                "age_years": float("nan") if rng.random() < 0.01 else float(age), "sex": sex, "view": view,
                "width_px": 256, "height_px": 256, "pixel_spacing_mm": 0.6,
            }  # fmt: skip
            for name in NIH14:
                row[name] = float(rng.random() < (design.prevalence if name in design.targets else 0.06))
            rows.append({**row, "official_split": "", "part": part})
    return pd.DataFrame(rows)


def _scores(table: pd.DataFrame, design: Design, rng: np.random.Generator) -> pd.DataFrame:
    pieces = []
    for name in design.targets:
        logit = rng.normal(size=len(table)) + design.skill * table[name].to_numpy() - 1.5
        pieces.append(
            pd.DataFrame(
                {
                    "image_id": table["image_id"], "patient_id": table["patient_id"], "finding": name,
                    "label": table[name], "score": 1 / (1 + np.exp(-logit)),
                }
            )
        )  # fmt: skip
    return pd.concat(pieces, ignore_index=True)


def _history() -> pd.DataFrame:
    rows = []
    for epoch in range(1, 13):
        stage, rate = ("stage1", 1e-3) if epoch <= 6 else ("stage2", 1e-4)
        rows.append(
            {
                "stage": stage, "epoch": (epoch - 1) % 6 + 1, "global_epoch": epoch,
                "loss": 0.7 * 0.93**epoch, "val_loss": 0.72 * 0.95**epoch + 0.004 * max(0, epoch - 9),
                "val_auroc": 0.93 - 0.3 * 0.8**epoch - 0.004 * max(0, epoch - 10), "learning_rate": rate,
                "seconds": 3.1,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _dicom(synthetic: bool) -> pd.DataFrame:
    rows = [(f"accept_{number}.dcm", "accept", "", "", "PA", 40 + number, 0.2 + 0.1 * number) for number in range(5)]
    rows.append(("accept_5.dcm", "warn", "age_unknown", "no PatientAge", "AP", None, 0.7))
    rows += [
        ("ct.dcm", "reject", "modality", "CT", "", None, None),
        ("lateral.dcm", "reject", "view", "LL", "", None, None),
        ("lateral_2.dcm", "reject", "view", "LL", "", None, None),
    ]
    frame = pd.DataFrame(rows, columns=["file", "verdict", "code", "detail", "view", "age_years", "score"])
    frame["finding"] = "Effusion"
    frame["threshold"] = 0.4
    frame["decision"] = [
        "" if math.isnan(score) else ("positive" if score >= 0.4 else "negative") for score in frame["score"]
    ]
    frame["decoder"] = "native"
    frame["seconds"] = 0.1
    frame["profile"] = "clinical"
    frame["synthetic"] = "yes" if synthetic else "no"
    return frame


def _robustness(
    test: pd.DataFrame, points: list[OperatingPoint], cautions: tuple[str, ...], rng: np.random.Generator
) -> Robustness:
    """Scores after two changes: one that hardly moves them, and one that makes most of them noise."""
    noise = rng.uniform(size=len(test))
    changed = {
        "JPEG quality 50": test.assign(score=0.97 * test["score"] + 0.03 * noise),
        "gray values inverted": test.assign(score=0.1 * test["score"] + 0.9 * noise),
    }
    groups = {"JPEG quality 50": "sharpness", "gray values inverted": "misuse"}
    return Robustness(
        split="test", scores_fingerprint=scores_fingerprint(test), image_size=128,
        n_images=test["image_id"].nunique(), n_patients=test["patient_id"].nunique(),
        n_images_in_part=test["image_id"].nunique(), seed=0, repeat_difference=0.0, single_difference=2.5e-7,
        single_images=16, margin=0.05, effects=perturbation_effects(test, changed, groups=groups, points=points),
        cautions=cautions, thresholds={point.finding: point.threshold for point in points},
    )  # fmt: skip


def _shortcuts(
    folder: Path, table: pd.DataFrame, test: pd.DataFrame, design: Design, cautions: tuple[str, ...]
) -> None:
    """Thumbnails of which one pixel tells some images with the finding from the others."""
    parts = [table[table["part"] == part] for part in ("train", "test")]
    noise = np.random.default_rng(design.seed + 1)
    thumbnails = [noise.normal(100, 20, (len(part), 8, 8)) for part in parts]
    for part, pictures in zip(parts, thumbnails, strict=True):
        pictures[:, 3, 3] += 20 * part[design.targets[0]].to_numpy()
    scores, reasons = shortcut_scores(*parts, design.targets, thumbnails=tuple(thumbnails))
    training = dict.fromkeys(design.targets, len(parts[0]))
    scores.to_csv(folder / SHORTCUT_SCORES, index=False)
    compare_with_shortcuts(test, scores, reasons, training=training, cautions=cautions).save(folder / SHORTCUTS)


def write_novelty(folder: Path, validation: int = 150) -> None:
    """What made-up training images look like, learnt from layouts of noise."""
    rng, length = np.random.default_rng(0), layout_length(128)
    layouts = [rng.normal(size=(count, length)) for count in (40, validation, 60)]
    freeze(fit_novelty(layouts[0], 128), layouts[1], test=layouts[2]).save(folder / NOVELTY)


def write_run_folder(folder: Path, design: Design | None = None) -> Path:
    """Writes every file that the run-folder contract names; the model is a few bytes that nobody opens."""
    design = design or Design()
    rng = np.random.default_rng(design.seed)
    folder.mkdir(parents=True, exist_ok=True)
    table = _table(design, rng)
    table.to_csv(folder / "table.csv", index=False)
    table[["image_id", "patient_id", "part"]].to_csv(folder / "splits.csv", index=False)
    left_out = [("00000400_000.png", "unreadable image"), ("00000401_000.png", "unreadable image")]
    left_out.append(("00000402_000.png", "no image on disk"))
    pd.DataFrame(left_out, columns=["image_id", "reason"]).to_csv(folder / "left_out.csv", index=False)
    validation = _scores(table[table["part"] == "validation"], design, rng)
    test = _scores(table[table["part"] == "test"], design, rng)
    write_scores(folder / "scores_validation.csv", validation)
    write_scores(folder / "scores_test.csv", test)
    points = [choose_threshold(validation, finding=name) for name in design.targets]
    cautions = (SYNTHETIC,) if design.synthetic else ()
    files.write_json(folder / "operating_points.json", [point.to_dict() for point in points])
    columns = ("sex", "age_years", "view")
    evaluate(test, points, cautions=cautions, table=table, subgroups=columns).save(folder / "evaluation.json")
    if design.robustness:
        _robustness(test, points, cautions, rng).save(folder / ROBUSTNESS)
    if design.shortcuts:
        _shortcuts(folder, table, test, design, cautions)
    if design.recalibrated:
        fitted = [fit_recalibration(validation, finding=name) for name in design.targets]
        save_recalibrations(folder, fitted)
    (folder / "model.keras").write_bytes(MODEL)
    _history().to_csv(folder / "history.csv", index=False)
    if design.dicom:
        _dicom(design.synthetic).to_csv(folder / "dicom_results.csv", index=False)
    head = ["head_dense_1024", "head_dense_512", "head_probability"]
    stage = {"batchnorm_layers_held": 121, "backbone_layers": 427, "total_parameters": 8_612_417}
    stages = [
        {
            "stage": "stage1", "first_trainable_layer": "head_dense_1024", "trainable_parameters": 1_574_913,
            "frozen_parameters": 7_037_504, "backbone_layers_trainable": 0, "layers_trainable": head, **stage,
        },
        {
            "stage": "stage2", "first_trainable_layer": "conv5_block5_0_bn", "trainable_parameters": 3_517_313,
            "frozen_parameters": 5_095_104, "backbone_layers_trainable": 86,
            "layers_trainable": ["conv5_block5_1_conv", "conv5_block5_2_conv", *head], **stage,
        },
    ]  # fmt: skip
    files.write_json(folder / "stages.json", stages)
    stage1 = Stage("stage1", epochs=6, learning_rate=1e-3)
    stage2 = Stage("stage2", epochs=6, learning_rate=1e-5, trainable=0.2)
    Recipe(
        name="demo", targets=design.targets, image_size=128, weights=design.weights, stages=(stage1, stage2),
        augment=Augmentation(rotation_degrees=5.0, zoom_fraction=0.08),
    ).save(folder / "recipe.json")  # fmt: skip
    dataset = "chexkeras phantoms" if design.synthetic else "NIH ChestX-ray14"
    split = {
        "kind": "image" if design.leaky else "patient", "seed": 0, "leaky": design.leaky,
        "description": f"{'LEAKY split by image' if design.leaky else 'split by patient'}, seed 0",
        "fingerprint": files.sha256_table(table[["image_id", "patient_id", "part"]]),
        "table_fingerprint": "ef" * 32,
    }  # fmt: skip
    # As of versions that did not record it here: tests change the table to see what the report makes of another.
    files.write_json(folder / "splits.json", {key: value for key, value in split.items() if key != "table_fingerprint"})
    files.write_json(
        folder / "provenance.json",
        {
            "created_utc": "2025-03-01T10:00:00+00:00", "git_commit": "0123456789abcdef0123456789abcdef01234567",
            "python": "3.12.3", "platform": "Linux x86_64",
            "packages": {"chexkeras": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.0"},
            "source": {
                "dataset": dataset, "label_release": "2020 revision", "files": {"Data_Entry_2017.csv": "ab" * 32},
                "synthetic": design.synthetic, "cautions": list(cautions), "left_out": 3, "implausible_ages": 2,
            },
            "split": split,
            "weights": {"origin": "ImageNet"},
            "model": {"name": "chexkeras_densenet121", "parameters": 8_612_417, "sha256": sha256(MODEL).hexdigest()},
            "precision": "float32", "seconds": 84.2,
            "best": {"stage": "stage2", "epoch": 5}, "cautions": list(cautions),
        },
    )  # fmt: skip
    files.write_json(
        folder / "audit.json",
        {
            "images": len(table),
            "patients": int(table["patient_id"].nunique()),
            "checked": len(table) + 3,
            "issues": {
                "unreadable": {"severity": "error", "meaning": "the file cannot be decoded", "count": 2},
                "missing_file": {"severity": "error", "meaning": "no image file", "count": 1},
            },
        },
    )
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that tests read and never change."""
    return write_run_folder(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="session")
def report(made_once, finished_run: Path) -> Path:
    """The finished run's report with its figures, to read and not to change: drawing them takes seconds."""
    return made_once("report/FDA_Submission.md", lambda path: write_report(finished_run, path))


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with every file that a run may have, which tests read and never change."""
    folder = write_run_folder(tmp_path_factory.mktemp("small") / "run", Design(patients=40, recalibrated=True))
    entry = {"bins": [0, 128, 256], "positive": [0.5, 0.5], "negative": None, "n_positive": 3, "n_negative": 0}
    write_novelty(folder)
    files.write_json(folder / "intensities.json", {"Effusion": {**entry, "n_note": "of 3"}})
    return folder


@pytest.fixture
def run_folder(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to change."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def _other_run(folder: Path, run: Path) -> Path:
    """Writes a run that was tested on the same images as `run` and ranks them worse."""
    shutil.copytree(run, folder)
    test, validation = (
        pd.read_csv(run / f"scores_{part}.csv", dtype={"patient_id": str}) for part in ("test", "validation")
    )
    rng = np.random.default_rng(1)
    test["score"] = (0.3 * test["score"] + 0.7 * rng.uniform(size=len(test))).clip(0, 1)
    write_scores(folder / "scores_test.csv", test)
    points = [choose_threshold(validation, finding=name) for name in validation["finding"].unique()]
    evaluate(test, points).save(folder / "evaluation.json")
    return folder


def _readers(path: Path, run: Path) -> Path:
    """Writes the calls of three readers on sixty test images, each wrong on about one in ten."""
    test = pd.read_csv(run / "scores_test.csv").head(60)
    rng = np.random.default_rng(2)
    calls = {
        f"reader_{n}": np.where(rng.random(60) < 0.1, 1 - test["label"], test["label"]).astype(int) for n in (1, 2, 3)
    }
    pd.DataFrame({"image_id": test["image_id"], **calls}).to_csv(path, index=False)
    return path


def _reader_study(path: Path) -> Path:
    """Writes what five readers rated on sixty patients, with the device and without, on a 5-point scale."""
    areas = {"with device": 0.95, "without device": 0.8}
    table = simulate_reader_study(areas, readers=5, images=(60, 60), seed=4).to_frame()
    grades = np.digitize(table["rating"], table["rating"].quantile([0.2, 0.4, 0.6, 0.8])) + 1
    table.assign(rating=grades, finding="Effusion").to_csv(path, index=False)
    return path


def every_answer() -> str:
    """The template of answers with every line filled in: prose from the key, values from the examples."""
    lines = []
    for line in answers_template().splitlines():
        match = re.match(r"# (\w+) = (.+)$", line)
        if match and match[2] == '""':
            lines.append(f'{match[1]} = "Stated: {match[1]}."')
        else:
            lines.append(f"{match[1]} = {match[2]}" if match else line)
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def answered(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission.toml that answers everything, beside the other run and the readers' calls that it names."""
    folder = tmp_path_factory.mktemp("answers")
    _other_run(folder / "runs" / "other", finished_run)
    _readers(folder / "readers.csv", finished_run)
    _reader_study(folder / "reader_study.csv")
    path = folder / "submission.toml"
    path.write_text(every_answer(), encoding="utf-8")
    return path


@pytest.fixture
def make_run(tmp_path: Path):
    """Makes run folders that differ from the usual one in the fields named."""

    def make(**changes: object) -> Run:
        return Run.load(
            write_run_folder(tmp_path / f"run_{len(list(tmp_path.iterdir()))}", replace(Design(), **changes))
        )

    return make


@pytest.fixture
def load_run():
    """Loads a run folder."""
    return Run.load
