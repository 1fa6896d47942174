"""tf.data: from an image table to batches, and the one way a film becomes the classifier's pixels.

Training reads files, DICOM scoring hands over arrays; both go through `to_model_pixels`, so that a film scored in a
hospital folder is the film the model was trained on, bit for bit.
"""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import tensorflow as tf

from chexkeras.checks import positive_int, require_columns
from chexkeras.data.augment import Augmentation, augment, film_seed
from chexkeras.findings import resolve


def to_model_pixels(film: tf.Tensor, image_size: int) -> tf.Tensor:
    """Resizes a film by area averaging and rounds to whole gray values.

    Rounding to uint8 costs at most half a gray value and makes a film read from a file, from a store and from a DICOM
    object the same film.

    Args:
        film: uint8 tensor (height, width, 1), 0-255, any size.
        image_size: Height and width wanted, pixels. The film is not padded: NIH's own films were scaled to a square
            the same way.

    Returns:
        uint8 tensor (image_size, image_size, 1).
    """
    resized = tf.image.resize(film, (image_size, image_size), method=tf.image.ResizeMethod.AREA)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


def read_film(path: tf.Tensor, image_size: int) -> tf.Tensor:
    """Reads a PNG or JPEG file as the classifier's pixels.

    Args:
        path: Scalar string tensor.
        image_size: Height and width wanted, pixels.

    Returns:
        uint8 tensor (image_size, image_size, 1).
    """
    film = tf.io.decode_image(tf.io.read_file(path), channels=1, expand_animations=False)
    film.set_shape((None, None, 1))
    return to_model_pixels(film, image_size)


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order in which an epoch reads the rows of a table of n, an int64 permutation."""
    return np.random.default_rng([seed, epoch]).permutation(n).astype(np.int64)


def _orders(n: int, shuffle: bool, seed: int, epochs: Iterable[int]) -> "tf.data.Dataset":
    """Returns (position, epoch) pairs for one pass, a new permutation at each iteration of the data set."""
    epoch = iter(epochs)

    def one_pass() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        number = next(epoch)
        order = epoch_order(n, seed, number) if shuffle else np.arange(n, dtype=np.int64)
        yield order, np.full(n, number, np.int64)

    signature = (tf.TensorSpec((n,), tf.int64), tf.TensorSpec((n,), tf.int64))
    passes = tf.data.Dataset.from_generator(one_pass, output_signature=signature)
    return passes.unbatch().apply(tf.data.experimental.assert_cardinality(n))


def make_dataset(
    table: pd.DataFrame,
    targets: str | tuple[str, ...],
    *,
    image_size: int = 224,
    batch_size: int = 32,
    shuffle: bool = False,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    epoch: int | None = None,
) -> tf.data.Dataset:
    """Builds batches of (pixels, labels) from an image table.

    Rows are permuted before anything is decoded, decoding runs in parallel, and every row comes exactly once a pass
    (the last batch may be smaller).

    Args:
        table: Image table with `path` and one column per target.
        targets: One finding or several, in output order.
        image_size: Height and width of the films, pixels.
        batch_size: Films a batch.
        shuffle: Whether to permute the rows, anew at every pass.
        augmentation: How to change the films at random; None leaves them alone.
        seed: Decides order and augmentation together with the epoch.
        epoch: Fixes the epoch's number, for example to resume a run; None counts the passes from 0, so that
            ``model.fit(dataset, epochs=10)`` sees ten orders.

    Returns:
        A `tf.data.Dataset` of float32 pixels (batch, image_size, image_size, 1), 0-255, and float32 labels
        (batch, n_targets) of 1, 0 or NaN.

    Raises:
        ValueError: If the table is empty, lacks a column, or has rows without a file.
    """
    names = resolve(targets)
    paths = checked_paths(table)
    require_columns(table, names, "the image table", "Load it with load_nih, which makes one column per finding.")
    labels = table[list(names)].to_numpy(np.float32)
    settings = augmentation or Augmentation()
    positive_int(batch_size, "batch_size")
    epochs = itertools.count() if epoch is None else itertools.repeat(epoch)
    all_paths, all_labels = tf.constant(paths), tf.constant(labels)

    def load(position: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        film = tf.cast(read_film(all_paths[position], image_size), tf.float32)
        if settings.active:
            film = augment(film, film_seed(seed, number, position), settings)
        return film, all_labels[position]

    dataset = _orders(len(paths), shuffle, seed, epochs).map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def films_with_ids(table: pd.DataFrame, *, image_size: int, batch_size: int = 32) -> tf.data.Dataset:
    """Builds batches of (pixels, image_id) in table order, for scoring.

    Args:
        table: Image table with `image_id` and `path`.
        image_size: Height and width of the films, pixels.
        batch_size: Films a batch.

    Returns:
        A `tf.data.Dataset` of float32 pixels (batch, image_size, image_size, 1), 0-255, and string ids (batch,).

    Raises:
        ValueError: If the table is empty, lacks a column, or has rows without a file.
    """
    paths = checked_paths(table)
    dataset = tf.data.Dataset.from_tensor_slices((paths, table["image_id"].astype(str).tolist()))
    films = dataset.map(
        lambda path, image_id: (tf.cast(read_film(path, image_size), tf.float32), image_id),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return films.batch(positive_int(batch_size, "batch_size")).prefetch(tf.data.AUTOTUNE)


def checked_paths(table: pd.DataFrame) -> list[str]:
    """Returns the table's file paths.

    Raises:
        ValueError: If the table is empty, has no `path` column, or has rows without a file.
    """
    require_columns(table, ["image_id", "path"], "the image table", "Load it with load_nih.")
    if table.empty:
        raise ValueError(
            "the image table is empty; there is nothing to read. Check the split or the filter made of it."
        )
    paths = table["path"].fillna("").astype(str).tolist()
    without = sum(path == "" for path in paths)
    if without:
        raise ValueError(
            f"{without} of {len(paths)} rows have no image file (loaded with missing='keep'?); "
            "load with missing='skip' to leave them out."
        )
    return paths
