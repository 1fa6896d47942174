"""What a frozen prefix computes, once for each image and copy instead of once in every epoch and training.

The features of a table's images lie on shelves (`shelves`), one for each tensor that crosses from a frozen part into a
trained one, and are found there by image: whichever training, fold or recipe they were first computed for. Memory use
does not grow with the data set.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from chexkeras.data.by_batch import computed_by_batch
from chexkeras.data.pipeline import checked_paths, without_autotuning
from chexkeras.data.pixels import PIXELS_VERSION
from chexkeras.data.store.store import Store
from chexkeras.models.scoring import predict_padded
from chexkeras.parallel import HERE, Workplace
from chexkeras.progress import say, track
from chexkeras.training.frozen.augmented_copies import AugmentedCopies
from chexkeras.training.frozen.engine import FrozenEngine
from chexkeras.training.frozen.shelves import Shelf, Shelves

DTYPES = ("float16", "float32")
_SYNC_EVERY = 20


class FeatureOverflow(ValueError):
    """A feature is too large for the number type it was to be stored in."""


@dataclass(frozen=True)
class FeatureSpec:
    """Whose features are stored.

    Attributes:
        model: From pixels to the crossing tensors, a list of outputs.
        layers: Name of the layer behind each output.
        copies: The fixed copies of every image.
        dtype: "float16" or "float32".
        engine: What computes them; None for Keras.
    """

    model: keras.Model
    layers: tuple[str, ...]
    copies: AugmentedCopies = field(default_factory=AugmentedCopies)
    dtype: str = "float16"
    engine: FrozenEngine | None = None

    def computed(self, pixels: Any, batch_size: int) -> list[np.ndarray]:
        """Returns the features of some images, one array (n, ...) for each crossing tensor.

        Args:
            pixels: Tensor or array (n, height, width, 1), 0-255, n at most `batch_size`.
            batch_size: Images of a full batch.
        """
        if self.engine is None:
            return predict_padded(self.model, pixels, batch_size)
        return self.engine.compute(np.asarray(pixels, np.float32), batch_size)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shape of each crossing tensor for one image."""
        return [tuple(output.shape[1:]) for output in self.model.outputs]

    @property
    def entry_bytes(self) -> int:
        """The disk space of one copy of one image."""
        return sum(int(np.prod(shape)) for shape in self.shapes) * np.dtype(self.dtype).itemsize

    def bytes_per_image(self) -> int:
        """Returns the disk space of one image in all its copies."""
        return self.entry_bytes * self.copies.count

    @functools.cached_property
    def keys(self) -> tuple[str, ...]:
        """For each layer a hash of everything its features depend on besides the image.

        The weights and the graph before it, the size of the images and how they become pixels, the number type, and
        what computed: features of another machine's kind of arithmetic, or of another TensorFlow, are not taken.
        """
        devices = sorted({device.device_type for device in tf.config.list_physical_devices()})
        by = [PIXELS_VERSION, keras.version(), tf.__version__, keras.backend.backend(), devices, self.dtype]
        if self.engine is not None:
            by.append(f"{self.engine.name} {self.engine.version}")
        found = []
        for output in self.model.outputs:
            prefix = keras.Model(self.model.input, output)
            digest = hashlib.sha256(json.dumps(by).encode())
            digest.update(_graph(prefix).encode())
            for weight in prefix.weights:
                digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
            found.append(digest.hexdigest())
        return tuple(found)


def _graph(model: keras.Model) -> str:
    """Returns a model's graph as JSON with numbers for names: Keras counts names up with every model it builds.

    Which layers will be trained says nothing about what they compute now.
    """
    text = model.to_json().replace(json.dumps(model.name), '"model"')
    for index, layer in enumerate(model.layers):
        text = text.replace(json.dumps(layer.name), f'"layer {index}"')
    return re.sub(r'"trainable": (true|false)', '"trainable": null', text)


def image_keys(table: pd.DataFrame, copies: AugmentedCopies, images: Store | None = None) -> list[list[bytes]]:
    """Returns what tells each copy of each image, 32 bytes, by copy and in table order.

    Images count by path, size and time of last change, which tells a changed image without reading it; images of a
    store by the store's checksums and their rows. A folder counts as what it leads to, however it is written. Draws
    depend on the image's id as well.

    Args:
        table: Image table.
        copies: The fixed copies of every image.
        images: The store they are read from; None reads their files.
    """
    ids = table["image_id"].astype(str).tolist()
    if images is not None:
        named = [f"{images.fingerprint}|{row}" for row in images.rows(ids)]
    else:
        resolved, named = functools.cache(os.path.realpath), []
        for path in map(Path, checked_paths(table)):
            status = path.stat()
            named.append(f"{resolved(path.parent)}|{path.name}|{status.st_size}|{status.st_mtime_ns}")
    found = []
    for copy in range(copies.count):
        of_copy = copies.key(copy)
        if copies.draws:
            texts = [f"{name}|{of_copy}|{image_id}" for name, image_id in zip(named, ids, strict=True)]
        else:
            texts = [f"{name}|{of_copy}" for name in named]
        found.append([hashlib.sha256(text.encode()).digest() for text in texts])
    return found


class StoredFeatures(NamedTuple):
    """Features of the images of a table.

    Attributes:
        values: Memory map (entries, ...), of these images and others.
        entries: int64 array (images, copies): where each lies.
    """

    values: np.ndarray
    entries: np.ndarray

    def take(self, rows: np.ndarray, copies: np.ndarray | int = 0) -> np.ndarray:
        """Returns the features of images.

        Args:
            rows: int array (n,): rows of the table.
            copies: The copy of each, int array (n,), or of all.
        """
        return np.ascontiguousarray(self.values[self.entries[rows, copies]])


class FeatureStore:
    """Features of the images of one table.

    Args:
        shelves: Where they lie.
        spec: Whose features.
        table: Image table, one row an image.
        images: The store of images they are computed from; None reads the files.
    """

    def __init__(self, shelves: Shelves, spec: FeatureSpec, table: pd.DataFrame, images: Store | None = None) -> None:
        self.shelves, self.spec, self.table, self.images = shelves, spec, table, images
        self._keys = image_keys(table, spec.copies, images)

    def _of_layer(self, layer: str) -> Shelf:
        place = self.spec.layers.index(layer)
        return self.shelves.shelf(self.spec.keys[place], self.spec.shapes[place], self.spec.dtype)

    @property
    def on(self) -> list[Shelf]:
        """The shelf of each layer."""
        return [self._of_layer(layer) for layer in self.spec.layers]

    def _entries(self, shelf: Shelf) -> np.ndarray:
        return np.stack([shelf.rows(keys) for keys in self._keys], axis=1)

    def missing(self) -> dict[Shelf, set[bytes]]:
        """Returns which entries each shelf lacks."""
        return {
            shelf: {key for keys in self._keys for key, row in zip(keys, shelf.rows(keys), strict=True) if row < 0}
            for shelf in self.on
        }

    def check(self) -> None:
        """Reads what is there once and takes out what is damaged, to be computed again."""
        for shelf in self.on:
            shelf.drop_damaged(self._entries(shelf).ravel())

    def fill(self, batch_size: int, place: Workplace = HERE) -> None:
        """Computes what is missing; a filling that was killed goes on where it was.

        The caller holds the shelves (`Shelves.filling`) and has taken the disk space.

        Args:
            batch_size: Images a step.
            place: Where to compute.

        Raises:
            FeatureOverflow: If a feature does not fit the number type; nothing rounded to infinity is trained on.
        """
        missing = self.missing()
        wanted = set().union(*missing.values())
        lacking = np.array([any(key in wanted for key in keys) for keys in zip(*self._keys, strict=True)])
        # An image that stands in the table several times, as up-sampled ones do, is computed once.
        first = ~pd.Series(self._keys[0]).duplicated().to_numpy()
        rest = np.flatnonzero(lacking & first)
        known = int((~lacking).sum())
        if known:
            of = "" if known == len(self.table) else f" of {len(self.table):,}"
            say(f"features of {known:,}{of} images taken from an earlier pass")
        if len(rest):
            self._compute(rest, missing, batch_size, place)

    def _compute(self, rest: np.ndarray, missing: dict[Shelf, set[bytes]], batch_size: int, place: Workplace) -> None:
        batches = [rest[start : start + batch_size] for start in range(0, len(rest), batch_size)]
        keys = [[[of_copy[row] for row in batch] for of_copy in self._keys] for batch in batches]
        wanted = set().union(*missing.values())
        copies = [[copy for copy, named in enumerate(each) if not wanted.isdisjoint(named)] for each in keys]
        computed = computed_by_batch(
            _copies_computed, (self.spec, batch_size), self.table.iloc[rest], copies,
            image_size=self.spec.model.input_shape[1], batch_size=batch_size, store=self.images, place=place,
        )  # fmt: skip
        with contextlib.closing(computed):
            steps = track(zip(keys, copies, computed, strict=True), "computing what is frozen", len(batches))
            for step, (named, chosen, found) in enumerate(steps, start=1):
                for copy, outputs in zip(chosen, found, strict=True):
                    for shelf, output in zip(self.on, outputs, strict=True):
                        _append(shelf, named[copy], output, missing[shelf])
                if step % _SYNC_EVERY == 0 or step == len(batches):
                    for shelf in self.on:
                        shelf.sync()

    def features(self, layer: str) -> StoredFeatures:
        """Returns one crossing tensor of the table's images.

        Args:
            layer: Name of the layer behind it.

        Raises:
            ValueError: If features are missing: the store was not filled.
        """
        shelf = self._of_layer(layer)
        entries = self._entries(shelf)
        if (entries < 0).any():
            raise ValueError(f"{int((entries < 0).sum()):,} features at {layer} are missing; fill the store first.")
        return StoredFeatures(shelf.values, entries)


def _copies_computed(
    state: tuple[FeatureSpec, int], pixels: tf.Tensor, image_ids: list[str], copies: list[int]
) -> Iterator[list[np.ndarray]]:
    """Yields the features of some copies of a batch's images, in the number type they are stored in."""
    spec, batch_size = state
    numbers = spec.copies.numbers(image_ids)
    for copy in copies:
        found = spec.computed(spec.copies.pixels(pixels, numbers, copy), batch_size)
        # What becomes infinite is refused where it is stored.
        with np.errstate(over="ignore"):
            yield [features.astype(spec.dtype) for features in found]


def _append(shelf: Shelf, keys: list[bytes], output: np.ndarray, missing: set[bytes]) -> None:
    """Adds what a shelf lacks."""
    places = [place for place, key in enumerate(keys) if key in missing]
    if not places:
        return
    values = output[places]
    if not np.isfinite(values).all():
        raise FeatureOverflow(
            f"a feature is too large for {shelf.dtype}; train with features='float32' or 'off' (on the command line "
            "--features float32)."
        )
    shelf.append([keys[place] for place in places], values)
    missing.difference_update(keys[place] for place in places)


def feature_batches(
    features: StoredFeatures,
    labels: np.ndarray | None,
    *,
    order: np.ndarray,
    copies: np.ndarray | None,
    batch_size: int,
) -> tf.data.Dataset:
    """Builds batches from stored features.

    Args:
        features: The features of a table's images.
        labels: float32 array (images, n_targets), or None for inputs alone.
        order: int array: the rows to read, in order.
        copies: int array: the copy of each entry of `order`; None takes the first.
        batch_size: Images a batch.

    Returns:
        A `tf.data.Dataset` of float32 features, with labels if given.
    """
    chosen = np.zeros(len(order), np.int64) if copies is None else copies
    targets = np.zeros((len(features.entries), 0), np.float32) if labels is None else labels

    def gather(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        here = slice(step * batch_size, (step + 1) * batch_size)
        rows = order[here]
        return features.take(rows, chosen[here]), targets[rows]

    def batch(step: tf.Tensor) -> Any:
        # Python copies the rows; widening them to float32 is left to TensorFlow's own threads.
        kinds = (tf.as_dtype(features.values.dtype), tf.float32)
        stored, known = tf.numpy_function(gather, [step], kinds, stateful=False)
        stored.set_shape((None, *features.values.shape[1:]))
        known.set_shape((None, targets.shape[1]))
        inputs = tf.cast(stored, tf.float32)
        return inputs if labels is None else (inputs, known)

    steps = -(-len(order) // batch_size)
    return without_autotuning(tf.data.Dataset.range(steps).map(batch, num_parallel_calls=2).prefetch(4))
