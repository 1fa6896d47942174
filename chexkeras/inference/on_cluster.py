"""Scoring files on a cluster: each worker loads the model once, and reads the files that it scores.

Files are decoded by a process of the worker's own, within the same limits of memory and time as on one machine.
"""

import contextlib
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from chexkeras.dicom.privacy import HASH_KEY_VARIABLE, process_key
from chexkeras.dicom.profiles import Profile
from chexkeras.dicom.read import read_image
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.inference.read_files import read_file
from chexkeras.parallel import SharedFiles, WorkersUnavailable, Workplace, map_ordered
from chexkeras.storage import Place

_BATCH = 16


@dataclass(frozen=True)
class Scoring:
    """What every worker scores with.

    Attributes:
        run: Run folder, absolute; the same on every host.
        profile: The DICOM gate's profile.
        engine: What computes the scores.
        precision: Its precision.
        fingerprint: `Predictor.fingerprint` where the work was begun.
    """

    run: Path
    profile: Profile
    engine: str
    precision: str
    fingerprint: str


def records_on(
    place: Workplace, scoring: Scoring, paths: Sequence[Place], read_options: ReadOptions
) -> Generator[dict[str, Any], None, None]:
    """Yields what became of each file, in the order given, as `Predictor.records` does on one machine.

    Args:
        place: The cluster.
        scoring: What to score with.
        paths: Files, under the same paths on every host, or in an object store that every host reaches.
        read_options: The limits of a file. Its `workers` is how many processors of the cluster take part, None for
            all; with 0 all take part, and workers read in their own process, without protection.

    Yields:
        One dictionary a file.

    Raises:
        WorkersUnavailable: If there is no cluster, or its workers cannot be used; what was done before comes first.
    """
    given = [path.absolute() if isinstance(path, Path) else path for path in paths]
    shared = SharedFiles.some_of([*scoring.run.glob("*.keras"), *(path for path in given if isinstance(path, Path))])
    batches = [given[start : start + _BATCH] for start in range(0, len(given), _BATCH)]
    scored = map_ordered(
        _scored,
        batches,
        setup=partial(_Worker, scoring, shared, read_options, process_key()),
        executor=place,
        workers=read_options.workers or None,
    )
    with contextlib.closing(scored):
        for records in scored:
            yield from records


class _Worker:
    """What a worker has for as long as it works: the model, and a process that reads.

    Args:
        scoring: What to score with.
        shared: Files that must be there.
        read_options: The limits of a file.
        hash_key: Secret of the pseudonyms, so that a patient has one wherever a file is read.
    """

    def __init__(self, scoring: Scoring, shared: SharedFiles, read_options: ReadOptions, hash_key: str) -> None:
        shared.check()
        os.environ[HASH_KEY_VARIABLE] = hash_key
        from chexkeras.inference.predictor import Predictor

        self.predictor = Predictor.load(scoring.run, scoring.profile, scoring.engine, scoring.precision)
        if self.predictor.fingerprint != scoring.fingerprint:
            raise WorkersUnavailable(
                "a worker of the cluster would score with another model, other thresholds or another engine than the "
                "machine that started the work; let all hosts read the same run folder, with the same packages."
            )
        self.read = (
            ReaderPool(scoring.profile, replace(read_options, workers=1)).read
            if read_options.processes
            else partial(read_image, profile=scoring.profile)
        )


def _scored(paths: list[Place], worker: _Worker) -> list[dict[str, Any]]:
    predictor = worker.predictor
    results = [read_file(path, worker.read, predictor.for_model, predictor.profile) for path in paths]
    return worker.predictor.records_of(results, _BATCH)
