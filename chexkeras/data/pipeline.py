"""tf.data: from an image table to batches."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd
import tensorflow as tf

from chexkeras.arguments import checked
from chexkeras.checks import positive_int, require_columns
from chexkeras.data.augmentation import Augmentation, augment, image_seed
from chexkeras.data.image_table import refuse_dicom, resolve_targets
from chexkeras.data.pixels import read_image
from chexkeras.data.sampling import EpochRows, Share, balance_groups, balanced, in_order, shuffled
from chexkeras.data.store.store import Store

# Two keep the cores busy while one waits for the disk; more would only hold more batches in memory.
_STORE_READERS = 2
_CORES = os.cpu_count() or 2
_BATCHES_AHEAD = 4

_NO_PATHS = "Load it with open_data, or merge the paths by image_id; the table in a run folder has none."


def _orders(n: int, order: Callable[[int], EpochRows], epochs: Iterable[int]) -> "tf.data.Dataset":
    """Returns (position, (epoch, draw)) pairs for one pass, those of the next epoch at each iteration."""
    epoch = iter(epochs)

    def one_pass() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        number = next(epoch)
        epoch_rows = order(number)
        yield epoch_rows.rows, np.stack([np.full(n, number, np.int64), epoch_rows.draws], axis=1)

    signature = (tf.TensorSpec((n,), tf.int64), tf.TensorSpec((n, 2), tf.int64))
    passes = tf.data.Dataset.from_generator(one_pass, output_signature=signature)
    return passes.unbatch().apply(tf.data.experimental.assert_cardinality(n))


@checked
def make_dataset(
    table: pd.DataFrame,
    targets: str | tuple[str, ...],
    *,
    image_size: int = 224,
    batch_size: int = 32,
    shuffle: bool = False,
    augmentation: Augmentation | None = None,
    balance: str | tuple[str, ...] = (),
    seed: int = 0,
    epoch: int = 0,
    counting: bool = True,
    store: Store | None = None,
    share: Share | None = None,
) -> tf.data.Dataset:
    """Builds batches of (pixels, labels) from an image table.

    Rows are permuted before anything is decoded, reading runs in parallel, and every row comes exactly once a pass
    (the last batch may be smaller). An image that occurs in several rows, or several times among balanced batches,
    comes as often, changed differently each time.

    Args:
        table: Image table with one column per target, and `path` unless there is a store.
        targets: One finding or several of the table's label columns, in output order.
        image_size: Height and width of the images, pixels.
        batch_size: Images a batch.
        shuffle: Whether to permute the rows, differently at every pass.
        balance: Findings whose images get equal shares of every batch, beside those that show none of them
            (`data.sampling.balanced`); a pass still has as many images as the table. Needs `shuffle`.
        augmentation: How to change the images at random; None leaves them alone.
        seed: Decides order and augmentation together with the epoch.
        epoch: Number of the first pass; later ones count on, so that ``model.fit(dataset, epochs=10)`` sees ten orders,
            and ``model.fit(make_dataset(..., epoch=4), initial_epoch=4, epochs=10)`` the last six of them.
        counting: Whether the passes count on; otherwise each is the one numbered `epoch`. On JAX and PyTorch Keras
            begins a pass only to look at its first batch, after which a count would be ahead of the epochs.
        store: Images decoded before (`cx.prepare`), found by `image_id`; None reads the files. The batches are
            the same, bit for bit.
        share: The rows of every batch that this process reads of those that train together on it; None reads all.
            The batches are then of ((pixels, marks), labels): `marks` is float32 (rows read, n), n the number of rows
            at the end of the whole batch that only fill it up.

    Returns:
        A `tf.data.Dataset` of float32 pixels (batch, image_size, image_size, 1), 0-255, and float32 labels
        (batch, n_targets) of 1, 0 or NaN.

    Raises:
        ValueError: If the table is empty, lacks a column, or has rows without a file or with DICOM files, which are
            read from a store only; if the store lacks images or holds them in another size; if batches cannot be
            balanced; or if a number is no whole number or too small.
    """
    images = _images(table, image_size, store)
    names = resolve_targets(table, targets)
    if len(balance) and not shuffle:
        raise ValueError(f"balance={balance!r} with shuffle=False; images in table order have the table's shares.")
    groups = balance_groups(table, balance)
    settings = augmentation or Augmentation()
    positive_int(batch_size, "batch_size")
    if epoch:
        positive_int(epoch, "epoch")
    labels = tf.constant(table[list(names)].to_numpy(np.float32))

    def rows_of_epoch(number: int) -> EpochRows:
        if groups:
            return balanced(groups, len(table), seed, number)
        return shuffled(len(table), seed, number) if shuffle else in_order(len(table))

    def rows_read(number: int) -> EpochRows:
        return rows_of_epoch(number) if share is None else share.of(rows_of_epoch(number), whole_batch)

    rows, whole_batch = len(table), batch_size
    if share is not None:
        rows, batch_size = len(share.of(in_order(rows), whole_batch).rows), share.read_of(whole_batch)
    order = _orders(rows, rows_read, itertools.count(epoch) if counting else itertools.repeat(epoch))

    def unchanged(pixels: tf.Tensor, position: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(pixels, tf.float32), tf.gather(labels, position)

    def changed(image: tf.Tensor, position: tf.Tensor, draw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = augment(tf.cast(image, tf.float32), image_seed(seed, draw[0], draw[1]), settings)
        return image, labels[position]

    if not settings.active:
        dataset = images.batches(order, batch_size).map(unchanged, num_parallel_calls=_STORE_READERS)
    else:
        dataset = images.singly(order, batch_size).map(changed, num_parallel_calls=_CORES).batch(batch_size)
    if share is not None:
        dataset = _marked(dataset, len(table), whole_batch, share)
    return without_autotuning(dataset.prefetch(_BATCHES_AHEAD))


def _marked(dataset: tf.data.Dataset, n: int, batch_size: int, share: Share) -> tf.data.Dataset:
    """Returns batches that say, by the width of a tensor, how many rows at the end of the whole batch fill it up."""
    last = (n - 1) // batch_size
    of_whole, of_last = (share.filled(size) - size for size in (batch_size, n - last * batch_size))

    def marked(number: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
        pixels, labels = batch
        width = tf.where(number < last, of_whole, of_last)
        return (pixels, tf.zeros((tf.shape(pixels)[0], width))), labels

    return dataset.enumerate().map(marked)


def images_with_ids(
    table: pd.DataFrame, *, image_size: int, batch_size: int = 32, store: Store | None = None
) -> tf.data.Dataset:
    """Builds batches of (pixels, image_id) in table order, for scoring.

    Args:
        table: Image table with `image_id`, and `path` unless there is a store.
        image_size: Height and width of the images, pixels.
        batch_size: Images a batch.
        store: Images decoded before (`cx.prepare`), found by `image_id`; None reads the files.

    Returns:
        A `tf.data.Dataset` of float32 pixels (batch, image_size, image_size, 1), 0-255, and string ids (batch,).

    Raises:
        ValueError: If the table is empty, lacks a column, or has rows without a file or with DICOM files, which are
            read from a store only; if the store lacks images or holds them in another size; or if `batch_size` is no
            whole number of at least 1.
    """
    images = _images(table, image_size, store)
    ids = tf.constant(table["image_id"].astype(str).tolist())
    positions = tf.range(len(table), dtype=tf.int64)
    order = tf.data.Dataset.from_tensor_slices((positions, positions))

    def named(pixels: tf.Tensor, position: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(pixels, tf.float32), tf.gather(ids, position)

    dataset = images.batches(order, positive_int(batch_size, "batch_size")).map(named)
    return without_autotuning(dataset.prefetch(_BATCHES_AHEAD))


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the data set with tf.data's automatic tuning switched off.

    Its thread sleeps longer and longer between two looks (10 ms, doubled each time), and the end of a pass may wait for
    it to wake: up to two thirds of an epoch on stored features went there. What is parallel here has fixed numbers.

    Args:
        dataset: Any data set.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


class _FileImages:
    """The images of a table, read from their files.

    Like `_StoreImages`, takes a data set of (position in the table, draw) and puts the images' uint8 pixels in front.
    """

    def __init__(self, table: pd.DataFrame, image_size: int) -> None:
        self.paths = tf.constant(checked_paths(table))
        self.size = image_size

    def singly(self, order: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        """Returns (pixels, position, draw) image by image.

        Args:
            order: Data set of (position in the table, draw).
            batch_size: How many images are read at a time, where they come from a store.
        """

        def read(position: tf.Tensor, draw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return read_image(self.paths[position], self.size), position, draw

        return order.map(read, num_parallel_calls=_CORES)

    def batches(self, order: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        """Returns (pixels, position, draw) batch by batch.

        Args:
            order: Data set of (position in the table, draw).
            batch_size: Images a batch.
        """
        return self.singly(order, batch_size).batch(batch_size)


class _StoreImages:
    """The images of a table, read from a store; otherwise as `_FileImages`."""

    def __init__(self, table: pd.DataFrame, image_size: int, store: Store) -> None:
        _require_images(table, ["image_id"])
        store.require_size(image_size)
        self.rows = store.rows(table["image_id"])
        self.store = store

    def singly(self, order: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        """Returns (pixels, position, draw) image by image, read `batch_size` at a time.

        Args:
            order: Data set of (position in the table, draw).
            batch_size: How many images are read at a time, where they come from a store.
        """
        count = tf.data.experimental.assert_cardinality(len(self.rows))
        return self.batches(order, batch_size).unbatch().apply(count)

    def batches(self, order: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        """Returns (pixels, position, draw) batch by batch.

        Args:
            order: Data set of (position in the table, draw).
            batch_size: Images a batch.
        """
        return order.batch(batch_size).map(self._gather, num_parallel_calls=_STORE_READERS)

    def _gather(self, position: tf.Tensor, draw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        def read(positions: np.ndarray) -> np.ndarray:
            return self.store.read(self.rows[positions])[..., np.newaxis]

        pixels = tf.numpy_function(read, [position], tf.uint8, stateful=False)
        pixels.set_shape((None, self.store.size, self.store.size, 1))
        return pixels, position, draw


def _images(table: pd.DataFrame, image_size: int, store: Store | None) -> _FileImages | _StoreImages:
    return _FileImages(table, image_size) if store is None else _StoreImages(table, image_size, store)


def checked_paths(table: pd.DataFrame) -> list[str]:
    """Returns the table's file paths.

    Args:
        table: Image table with `image_id` and `path`.

    Raises:
        ValueError: If the table is empty, has no `path` column, or has rows without a file or with DICOM files.
    """
    _require_images(table, ["image_id", "path"])
    paths = table["path"].fillna("").astype(str).tolist()
    without = sum(path == "" for path in paths)
    if without:
        raise ValueError(
            f"{without} of {len(paths)} rows have no image file (loaded with missing='keep'?); "
            "load with missing='skip' (--missing skip) to leave them out."
        )
    refuse_dicom(table)
    return paths


def _require_images(table: pd.DataFrame, columns: list[str]) -> None:
    require_columns(table, columns, "the image table", _NO_PATHS if "path" in columns else "Load it with open_data.")
    if table.empty:
        raise ValueError(
            "the image table is empty; there is nothing to read. Check the split or the filter made of it."
        )
