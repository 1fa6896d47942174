"""Pages about many trainings on the same images: a cross-validation, or a sweep, from its folder alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.report.markdown import as_code, escaped
from chexkeras.results import Estimate
from chexkeras.runs.series import CrossValidation, Sweep

_MOST_ROWS = 60
_MEASURES = {
    "AUROC, mean over folds": "auroc", "average precision": "average_precision",
    "sensitivity at the folds' thresholds": "sensitivity", "specificity at the folds' thresholds": "specificity",
    "calibration slope": "slope", "calibration intercept": "intercept", "Brier score": "brier",
}  # fmt: skip


@checked
def write_cross_validation(found: CrossValidation, path: str | Path | None = None) -> Path:
    """Writes what a cross-validation found as a Markdown page, with its figure beside it.

    Args:
        found: The finished cross-validation.
        path: The file to write; None writes CROSS_VALIDATION.md into its folder.

    Returns:
        The file.
    """
    from chexkeras.plots.training.experiments import draw_folds

    page = Path(path) if path is not None else found.folder / "CROSS_VALIDATION.md"
    record, evaluation = found.record, found.evaluation
    figure = draw_folds(evaluation, page.with_suffix(".png"))
    entries = evaluation.findings
    rows = [
        [escaped(entry.finding.replace("_", " ")), f"{entry.n_positive:,} of {entry.n_images:,}"]
        + [_text(getattr(entry, field)) for field in _MEASURES.values()]
        for entry in entries
    ]
    trainings = [
        [str(entry["repeat"]), str(entry["fold"]), str(entry["seed"]), escaped(entry["best"]["stage"]),
         str(entry["best"]["epoch"]), as_code(entry["run"]), _apart(entry)]
        for entry in record["runs"]
    ]  # fmt: skip
    text = [
        "# Cross-validation",
        "",
        f"Recipe {escaped(record['recipe']['name'])}, {record['images']:,} images of {record['patients']:,} patients "
        f"of {escaped(record['source']['dataset'])}: {record['folds']} folds, {record['repeats']} division(s), "
        f"{record['seeds']} seed(s), {len(record['runs'])} trainings. Every image is scored by models that have not "
        "seen its patient.",
        "",
        *_cautions(found.cautions),
        "## What a training of this recipe is worth",
        "",
        *_table(["finding", "positive", *_MEASURES], rows),
        f"{escaped(evaluation.design)}. Intervals respect that trainings share images and that images share patients.",
        "",
        f"![AUROC of each training in its fold, and their mean]({figure.name})",
        "",
        "## How much is luck",
        "",
        f"Standard deviations of the mean AUROC: {escaped(evaluation.spread)}.",
        "",
        "## The model to use",
        "",
        f"{escaped(record['final']['said'][0].upper() + record['final']['said'][1:])}."
        + (f" It is the run {as_code(record['final']['run'])}." if record["final"].get("run") else ""),
        "",
        "## The trainings",
        "",
        *_table(
            [
                "division",
                "fold",
                "seed",
                "kept stage",
                "its epoch",
                "run",
                "score from stored features, largest difference",
            ],
            trainings[:_MOST_ROWS],
        ),
        *_made(record),
    ]
    return files.write_text(page, "\n".join(text))


@checked
def write_sweep(found: Sweep, path: str | Path | None = None) -> Path:
    """Writes what a sweep found as a Markdown page, with its figure beside it.

    Args:
        found: The finished sweep.
        path: The file to write; None writes SWEEP.md into its folder.

    Returns:
        The file.
    """
    from chexkeras.plots.training.experiments import draw_sweep

    page = Path(path) if path is not None else found.folder / "SWEEP.md"
    record, table = found.record, found.table
    figure = draw_sweep(found, page.with_suffix(".png"))
    images = record["images"]
    rows = [
        [escaped(f"{value:.3f}" if isinstance(value, float) and name in ("validation", "test") else value)
         for name, value in row.items()]
        for row in table.head(_MOST_ROWS).to_dict("records")
    ]  # fmt: skip
    text = [
        "# Sweep",
        "",
        f"{len(table)} settings on one split of {escaped(record['source']['dataset'])}: {images['train']:,} training, "
        f"{images['validation']:,} validation and {images['test']:,} test images. Validation alone chooses.",
        "",
        *_cautions(found.cautions),
        "## Settings, the best on validation first",
        "",
        *_table([escaped(name) for name in table.columns], rows),
        f"![Every setting on validation and on test]({figure.name})",
        "",
        "## What choosing has made of it",
        "",
        escaped(found.optimism),
        "",
        f"The winner is the run {as_code(record['winner'])}. Its test result is one look at the test part among "
        f"{len(table)}; whoever chooses by the test column needs other images to measure.",
        "",
        *_made(record),
    ]
    return files.write_text(page, "\n".join(text))


def _text(estimate: Estimate) -> str:
    if not estimate.estimable:
        return escaped(f"not estimable: {estimate.reason}" if estimate.reason else "not estimable")
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _apart(entry: dict[str, Any]) -> str:
    found = entry.get("scored_from_features") or {}
    return f"{max(part['largest_difference'] for part in found.values()):.1e}" if found else "none: whole network"


def _cautions(sentences: Sequence[str]) -> list[str]:
    return [*(f"- **Caution.** {escaped(sentence)}" for sentence in sentences), ""] if sentences else []


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


def _made(record: dict[str, Any]) -> list[str]:
    packages = ", ".join(f"{name} {record['packages'][name]}" for name in ("chexkeras", "tensorflow", "keras"))
    return ["## How it was made", "", f"{escaped(packages)}; commit {as_code(record['git_commit'])}.", ""]
