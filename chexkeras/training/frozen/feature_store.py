"""What a frozen prefix computes, kept on disk: once per image and copy instead of once per epoch.

The store is one memory-mapped ``.npy`` file for each crossing tensor, filled in table order, with a small JSON file
that says whose features they are and how far the filling has come. Memory use does not grow with the data set. The disk
space is taken before anything is computed: a map into a file with holes would end the process where the disk is full.
"""

import errno
import functools
import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from chexkeras import files
from chexkeras.data.pipeline import checked_paths, images_with_ids, without_autotuning
from chexkeras.data.pixels import PIXELS_VERSION
from chexkeras.data.store.store import Store
from chexkeras.models.scoring import predict_padded
from chexkeras.progress import say, track
from chexkeras.training.frozen.augmented_copies import AugmentedCopies
from chexkeras.training.frozen.engine import FrozenEngine

DTYPES = ("float16", "float32")
_SAVE_EVERY = 20


class FeatureOverflow(ValueError):
    """A feature is too large for the number type it was to be stored in."""


@dataclass(frozen=True)
class FeatureSpec:
    """Whose features a store holds.

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

    def bytes_per_image(self) -> int:
        """Returns the disk space of one image in all its copies."""
        values = sum(int(np.prod(shape)) for shape in self.shapes)
        return values * np.dtype(self.dtype).itemsize * self.copies.count

    def key(self, table: pd.DataFrame, images: Store | None = None) -> str:
        """Returns a hash of everything the features depend on.

        Images count by path, size and time of last change, which tells a changed image without reading it; images of a
        store by the store's checksums and their rows. A folder counts as what it leads to, however it is written.

        Args:
            table: Image table whose images are to be computed, in order.
            images: The store they are read from; None reads their files.
        """
        digest = hashlib.sha256()
        digest.update(
            json.dumps([PIXELS_VERSION, keras.version(), self.layers, self.copies.key(), self.dtype]).encode()
        )
        digest.update(_graph(self.model).encode())
        if self.engine is not None:
            digest.update(f"{self.engine.name} {self.engine.version}".encode())
        for weight in self.model.weights:
            digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
        if images is not None:
            digest.update(images.fingerprint.encode())
            digest.update(images.rows(table["image_id"]).tobytes())
            return digest.hexdigest()
        resolved = functools.cache(os.path.realpath)
        for path in map(Path, checked_paths(table)):
            status = path.stat()
            digest.update(f"{resolved(path.parent)}|{path.name}|{status.st_size}|{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def _graph(model: keras.Model) -> str:
    """Returns a model's graph as JSON with numbers for names: Keras counts names up with every model it builds."""
    text = model.to_json().replace(json.dumps(model.name), '"model"')
    for index, layer in enumerate(model.layers):
        text = text.replace(json.dumps(layer.name), f'"layer {index}"')
    return text


class FeatureStore:
    """Features of the images of one table.

    Args:
        folder: Where it lies.
        spec: Whose features.
        table: Image table, one row an image.
        images: The store of images they are computed from; None reads the files.
    """

    def __init__(self, folder: Path, spec: FeatureSpec, table: pd.DataFrame, images: Store | None = None) -> None:
        self.folder = folder
        self.spec = spec
        self.table = table
        self.images = images
        self._manifest = {
            "key": spec.key(table, images),
            "films": len(table),
            "layers": list(spec.layers),
            "shapes": [list(shape) for shape in spec.shapes],
            "views": str(spec.copies),
            "dtype": spec.dtype,
        }

    def _path(self, layer: str) -> Path:
        return self.folder / f"{layer}.npy"

    def _shape(self, layer: str) -> tuple[int, ...]:
        return (len(self.table), self.spec.copies.count, *self.spec.shapes[self.spec.layers.index(layer)])

    def _images_done(self) -> int | None:
        """Returns how many images a store of this very key already holds; None if it is stale, foreign or cut short."""
        manifest = self.folder / "manifest.json"
        if not manifest.is_file():
            return None
        try:
            found = files.read_json(manifest)
        except ValueError:
            return None
        if {name: found.get(name) for name in self._manifest} != self._manifest:
            say(f"the feature store {self.folder.name} belongs to other images or weights; it is computed again")
            return None
        for layer in self.spec.layers:
            try:
                array = np.load(self._path(layer), mmap_mode="r")
            except (OSError, ValueError):
                say(f"the feature store {self.folder.name} is cut short; it is computed again")
                return None
            if array.shape != self._shape(layer) or array.dtype != np.dtype(self.spec.dtype):
                return None
        return int(found.get("films_done", 0))

    def _record(self, images_done: int) -> None:
        files.write_json(self.folder / "manifest.json", {**self._manifest, "films_done": images_done})

    def reserve(self) -> int:
        """Takes the disk space of the whole store and returns how many images it already holds.

        A store of other images or weights gives way to this one, unless there is no room for it even so.

        Raises:
            OSError: If the disk has too little space.
        """
        done = self._images_done()
        if done == len(self.table):
            return done
        if done is None:
            self._require(held=sum(512 * path.stat().st_blocks for path in self.folder.rglob("*.npy")))
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        try:
            for layer in self.spec.layers:
                path, shape = self._path(layer), self._shape(layer)
                if done is None:
                    np.lib.format.open_memmap(path, mode="w+", dtype=self.spec.dtype, shape=shape)
                _allocate(path)
        except OSError as error:
            if error.errno not in files.NO_ROOM:
                raise
            if done is None:
                shutil.rmtree(self.folder, ignore_errors=True)
            raise self._no_room() from error
        if done is None:
            self._record(0)
        return done or 0

    def give_back(self) -> None:
        """Frees the disk space of a store that holds no image yet."""
        manifest = self.folder / "manifest.json"
        if manifest.is_file() and not files.read_json(manifest).get("films_done"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _bytes(self) -> int:
        return self.spec.bytes_per_image() * len(self.table)

    def _require(self, held: int) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if self._bytes() > shutil.disk_usage(self.folder.parent).free + held:
            raise self._no_room()

    def _no_room(self) -> OSError:
        free = shutil.disk_usage(self.folder.parent).free
        return OSError(
            f"stored features need {self._bytes():,} bytes in {str(self.folder)!r}, but {free:,} bytes are free there "
            "(a quota may allow less); make room, or compute them again in every epoch with features='off' (on the "
            "command line --features off)."
        )

    def fill(self, batch_size: int) -> None:
        """Computes what is missing; a filling that was killed goes on where it was last saved.

        Args:
            batch_size: Images a step.

        Raises:
            FeatureOverflow: If a feature does not fit the number type; nothing rounded to infinity is trained on.
            OSError: If the disk has too little space; said before anything is computed.
        """
        done = self.reserve()
        if done == len(self.table):
            say(f"features of {done:,} images taken from an earlier pass")
            return
        arrays = [np.load(self._path(layer), mmap_mode="r+") for layer in self.spec.layers]
        rest = self.table.iloc[done:]
        image_size = self.spec.model.input_shape[1]
        batches = images_with_ids(rest, image_size=image_size, batch_size=batch_size, store=self.images)
        total = -(-len(rest) // batch_size)
        for step, (pixels, _) in enumerate(track(batches, "computing what is frozen", total), start=1):
            count = len(pixels)
            rows = np.arange(done, done + count)
            for copy in range(self.spec.copies.count):
                seen = self.spec.copies.pixels(pixels, rows, copy)
                for array, output in zip(arrays, self.spec.computed(seen, batch_size), strict=True):
                    with np.errstate(over="ignore"):
                        values = output.astype(self.spec.dtype)
                    if not np.isfinite(values).all():
                        raise FeatureOverflow(
                            f"a feature is too large for {self.spec.dtype}; train with features='float32' or 'off' "
                            "(on the command line --features float32)."
                        )
                    array[done : done + count, copy] = values
            done += count
            if step % _SAVE_EVERY == 0 or step == total:
                for array in arrays:
                    array.flush()
                self._record(done)

    def features(self, layer: str) -> np.ndarray:
        """Returns a memory map (images, copies, ...) of one crossing tensor."""
        return np.load(self._path(layer), mmap_mode="r")


def _allocate(path: Path) -> None:
    """Gives every byte of a file its place on the disk; what it holds stays. Not every platform and disk can."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise


def feature_batches(
    features: np.ndarray,
    labels: np.ndarray | None,
    *,
    order: np.ndarray,
    copies: np.ndarray | None,
    batch_size: int,
) -> tf.data.Dataset:
    """Builds batches from stored features.

    Args:
        features: Memory map (images, copies, ...).
        labels: float32 array (images, n_targets), or None for inputs alone.
        order: int array: the rows to read, in order.
        copies: int array: the copy of each entry of `order`; None takes the first.
        batch_size: Images a batch.

    Returns:
        A `tf.data.Dataset` of float32 features, with labels if given.
    """
    chosen = np.zeros(len(order), np.int64) if copies is None else copies
    targets = np.zeros((len(features), 0), np.float32) if labels is None else labels

    def gather(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        here = slice(step * batch_size, (step + 1) * batch_size)
        rows = order[here]
        return np.ascontiguousarray(features[rows, chosen[here]]), targets[rows]

    def batch(step: tf.Tensor) -> Any:
        # Python copies the rows; widening them to float32 is left to TensorFlow's own threads.
        stored, known = tf.numpy_function(gather, [step], (tf.as_dtype(features.dtype), tf.float32), stateful=False)
        stored.set_shape((None, *features.shape[2:]))
        known.set_shape((None, targets.shape[1]))
        inputs = tf.cast(stored, tf.float32)
        return inputs if labels is None else (inputs, known)

    steps = -(-len(order) // batch_size)
    return without_autotuning(tf.data.Dataset.range(steps).map(batch, num_parallel_calls=2).prefetch(4))
