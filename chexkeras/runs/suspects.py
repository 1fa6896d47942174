"""Labels worth a second look in a run or a cross-validation: the scores of images that no training has seen."""

from pathlib import Path

import pandas as pd

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import existing_folder, typed_path
from chexkeras.evaluation.cross_validation.fold_scores import FILE, FoldScores, read_out_of_fold
from chexkeras.evaluation.label_errors.confident_learning import Suspects, find_suspects
from chexkeras.evaluation.scores import COLUMNS
from chexkeras.runs.run import Run

RECORD = "cross_validation.json"
"""What a cross-validation says of itself; its cautions are shown beside the suspects."""


@checked
def suspects_of(folder: str | Path, *, rank_by: str = "adjusted_margin", seed: int = 0) -> Suspects:
    """Lists labels that the scores of a run or a cross-validation contradict.

    Of a cross-validation every image is judged by models that have not seen it, scores averaged over repeats and seeds.
    Of a run only the validation and test images can be judged.

    Args:
        folder: A run folder, or the folder of a cross-validation (with ``out_of_fold.csv``).
        rank_by: One of `confident_learning.RANKINGS`.
        seed: Of the bootstrap.

    Returns:
        The labels, the most contradicted first.

    Raises:
        FileNotFoundError: If it is neither.
        ValueError: If its files are damaged, or `rank_by` is unknown.
    """
    found = existing_folder(typed_path(folder, "folder"), "folder")
    if (found / FILE).is_file():
        return _of_folds(found, rank_by, seed)
    run = Run.load(found)
    tables, points = [], {point.finding: point.threshold for point in run.operating_points}
    for part in ("validation", "test"):
        tables.append(pd.DataFrame(run.scores(part)).assign(part=part))
    whole = pd.concat(tables, ignore_index=True)
    training = int((run.splits["part"] == "train").sum())
    caution = (
        f"The {training:,} training images have no score of a model that has not seen them, so that their labels are "
        "not judged; a cross-validation judges all. The threshold was chosen on the validation part."
    )
    made = find_suspects(
        whole, thresholds=whole["finding"].map(points), rank_by=rank_by, seed=seed, cautions=(*run.cautions, caution)
    )
    parts = whole.set_index(["image_id", "finding"])["part"]
    keys = pd.MultiIndex.from_frame(made.table[["image_id", "finding"]])
    return Suspects(made.table.assign(part=parts.reindex(keys).to_numpy()), made.findings, made.cautions)


def _of_folds(folder: Path, rank_by: str, seed: int) -> Suspects:
    table = read_out_of_fold(folder)
    FoldScores.of(table)
    record = files.read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    cautions = record.get("cautions", ()) if isinstance(record, dict) else ()
    by = ["image_id", "patient_id", "finding"]
    mean = table.groupby(by, sort=False).agg(
        label=("label", "first"), score=("score", "mean"), threshold=("threshold", "mean")
    )
    mean = mean.reset_index()
    kept = [str(caution) for caution in cautions] if isinstance(cautions, list) else []
    return find_suspects(mean[list(COLUMNS)], thresholds=mean["threshold"], rank_by=rank_by, seed=seed, cautions=kept)
