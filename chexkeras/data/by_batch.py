"""What is computed of a table's images, batch by batch: in this process or on a cluster, with the same bytes.

On a cluster the batch is the unit of work, the same images wherever it is computed, since a model rounds otherwise in
another company. Each worker loads the model once, and reads the images of its batches itself.
"""

import contextlib
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import pandas as pd

from chexkeras import storage
from chexkeras.data.pipeline import checked_paths, images_with_ids
from chexkeras.data.store.store import Store
from chexkeras.parallel import HERE, SharedFiles, WorkersUnavailable, Workplace, map_ordered

Compute = Callable[[Any, Any, list[str], Any], Iterable[Any]]
"""From the state, a batch's pixels, its image ids and what is asked of it, to results one after the other."""


def computed_by_batch(
    compute: Compute,
    state: Any,
    table: pd.DataFrame,
    asked: Sequence[Any],
    *,
    image_size: int,
    batch_size: int,
    store: Store | None = None,
    place: Workplace = HERE,
) -> Generator[Iterable[Any], None, None]:
    """Yields what is computed of each batch of a table's images, in table order.

    Args:
        compute: What to compute, defined at the top level of a module. It is called with `state`, float32 pixels
            (batch, image_size, image_size, 1) of 0-255, the images' ids, and the entry of `asked`.
        state: What all batches have in common, such as a model; on a cluster each worker gets a copy.
        table: Image table with `image_id`, and `path` unless there is a store.
        asked: What is asked of each batch, one entry a batch.
        image_size: Height and width of the images, pixels.
        batch_size: Images a batch; the last may have fewer.
        store: Images decoded before; None reads the files.
        place: Where to compute.

    Yields:
        What `compute` returned; in this process nothing is computed before it is asked for.

    Raises:
        ValueError: If images cannot be read, as `images_with_ids` says.
        WorkersUnavailable: If there is no cluster, or its workers cannot be used.
    """
    read = partial(images_with_ids, image_size=image_size, batch_size=batch_size)
    if not place.on_cluster:
        for (pixels, ids), wanted in zip(read(table, store=store), asked, strict=True):
            yield compute(state, pixels, _text(ids), wanted)
        return
    rows = pd.DataFrame({"image_id": table["image_id"].astype(str).to_numpy()})
    if store is None:
        rows["path"] = [storage.absolute(path) for path in checked_paths(table)]
        shared = SharedFiles.some_of(rows["path"])
    else:
        store = replace(store, folder=store.folder.absolute())
        shared = SharedFiles.some_of(sorted(store.folder.iterdir()))
    parts = (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))
    computed = map_ordered(
        _computed,
        zip(parts, asked, strict=True),
        setup=partial(_BatchWorker, compute, state, partial(read, store=store), shared, _arithmetic()),
        executor=place,
    )
    with contextlib.closing(computed):
        yield from computed


class _BatchWorker:
    """What a worker has for as long as it works.

    Args:
        compute: What to compute.
        state: What all batches have in common.
        read: From an image table to batches of pixels and ids.
        shared: Files that must be there.
        arithmetic: What computes where the work was begun.
    """

    def __init__(self, compute: Compute, state: Any, read: Any, shared: SharedFiles, arithmetic: str) -> None:
        shared.check()
        if _arithmetic() != arithmetic:
            raise WorkersUnavailable(
                f"a worker of the cluster computes with {_arithmetic()}, and the machine that started the work with "
                f"{arithmetic}, which rounds otherwise; hide its GPU there (CUDA_VISIBLE_DEVICES=-1) and set the same "
                "KERAS_BACKEND on all hosts, or compute without the cluster."
            )
        self.compute, self.state, self.read = compute, state, read


def _computed(batch: tuple[pd.DataFrame, Any], worker: _BatchWorker) -> list[Any]:
    rows, wanted = batch
    ((pixels, ids),) = worker.read(rows)
    return list(worker.compute(worker.state, pixels, _text(ids), wanted))


def _arithmetic() -> str:
    backend = keras.backend.backend()
    # Keras does not list PyTorch's devices.
    devices = [] if backend == "torch" else keras.distribution.list_devices()
    return " on ".join([backend, *sorted({name.split(":")[0].upper() for name in devices})])


def _text(ids: Any) -> list[str]:
    return [value.decode() for value in ids.numpy()]
