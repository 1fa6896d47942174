"""From a model and an image table to scores that are keyed by image, never aligned by position."""

from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras.arguments import checked
from chexkeras.checks import require_columns
from chexkeras.data.image_table import ImageTable
from chexkeras.data.pipeline import images_with_ids
from chexkeras.data.store.store import Store
from chexkeras.findings import label_names
from chexkeras.progress import track


def require_image_table(table: Any) -> None:
    """Checks that what is to be scored is an image table.

    Args:
        table: What the caller gave.

    Raises:
        TypeError: If it is no pandas DataFrame, a list of DICOM files for example.
        ValueError: If it does not say which image and whose it is.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"table is a {type(table).__name__}; an image table (pandas DataFrame) was expected. Load one with "
            "load_nih(...) or another loader; DICOM files are scored by Predictor.load(run).predict(paths)."
        )
    require_columns(table, ["image_id", "patient_id"], "the image table", "Load it with open_data.")


@checked
def predict_scores(
    model: keras.Model,
    table: pd.DataFrame,
    targets: str | tuple[str, ...],
    *,
    batch_size: int = 32,
    store: Store | None = None,
) -> pd.DataFrame:
    """Scores every image of a table exactly once.

    Args:
        model: A classifier of `build_classifier` or one loaded from a run.
        table: Image table with `image_id`, `patient_id`, `path` and, where known, one label column per target; files
            alone, without a table, are scored by `Predictor.load(run).predict(files)`.
        targets: The findings the model was built for, in output order.
        batch_size: Images a batch; does not change the scores beyond rounding.
        store: Images decoded before (`data.store.prepare.prepare`), found by `image_id`; None reads the files at
            `path`.

    Returns:
        One row per image and finding: `image_id`, `patient_id`, `finding`, `label` (1, 0 or NaN), `score` in [0, 1].

    Raises:
        TypeError: If the table is no pandas DataFrame.
        ValueError: If the model has another number of outputs, image ids repeat, or the table is unusable.
    """
    require_image_table(table)
    return scores_of(model, table, targets, batch_size=batch_size, store=store)


def scores_of(
    model: Any, table: pd.DataFrame, targets: str | tuple[str, ...], *, batch_size: int = 32, store: Store | None = None
) -> pd.DataFrame:
    """Scores every image of a table by whatever has a model's shapes and `predict_on_batch`; see `predict_scores`.

    Args:
        model: Has `input_shape`, `output_shape` and `predict_on_batch`.
        table: Image table with `image_id`, `patient_id`, `path` and, where known, one label column per target.
        targets: The findings the model was built for, in output order.
        batch_size: Images a batch.
        store: Images decoded before; None reads the files at `path`.
    """
    table = ImageTable.of(table)
    names = label_names(targets)
    if model.output_shape[-1] != len(names):
        raise ValueError(
            f"the model has {model.output_shape[-1]} output(s) but {len(names)} target(s) were named "
            f"({', '.join(names)}); name the targets it was trained for, in order."
        )
    if table["image_id"].duplicated().any():
        repeated = table.loc[table["image_id"].duplicated(), "image_id"].iloc[0]
        raise ValueError(f"image ids must be unique to key scores; {repeated!r} occurs more than once.")
    images = images_with_ids(table, image_size=model.input_shape[1], batch_size=batch_size, store=store)
    steps = -(-len(table) // batch_size)
    ids: list[str] = []
    scores: list[np.ndarray] = []
    for pixels, image_ids in track(images, "scoring", total=steps):
        scores.append(predict_padded(model, pixels, batch_size)[0])
        ids.extend(value.decode() for value in image_ids.numpy())
    return scores_table(table, names, ids, np.concatenate(scores).astype(np.float64))


def predict_padded(model: keras.Model, inputs: Any, batch_size: int) -> list[np.ndarray]:
    """Runs a model on one batch, filled up to a fixed size so that a last, smaller batch is not compiled for again.

    Args:
        model: Any model with one input.
        inputs: Array or tensor (n, ...), n at most `batch_size`.
        batch_size: The size the model sees.

    Returns:
        One array (n, ...) per output.
    """
    values = np.asarray(inputs)
    missing = batch_size - len(values)
    if missing:
        values = np.concatenate([values, np.zeros((missing, *values.shape[1:]), values.dtype)])
    outputs = keras.tree.flatten(model.predict_on_batch(values))
    return [np.asarray(output)[: batch_size - missing] for output in outputs]


def scores_table(table: pd.DataFrame, targets: tuple[str, ...], ids: list[str], scores: np.ndarray) -> pd.DataFrame:
    """Joins scores to labels by image id.

    Args:
        table: Image table.
        targets: Findings in output order.
        ids: Image id of each row of `scores`.
        scores: float array (n_images, n_targets), each in [0, 1].

    Returns:
        The long table of `predict_scores`, one finding after the other.
    """
    known = table.set_index("image_id").reindex(ids)
    parts = [
        pd.DataFrame(
            {
                "image_id": ids,
                "patient_id": known["patient_id"].to_numpy(),
                "finding": finding,
                "label": known[finding].to_numpy(float) if finding in known else np.nan,
                "score": scores[:, column],
            }
        )
        for column, finding in enumerate(targets)
    ]
    return pd.concat(parts, ignore_index=True)
