"""Work on many images, in order: in this process, in threads, in local processes or on a Ray cluster."""

from chexkeras.parallel.cores import available_cores
from chexkeras.parallel.ordered import EXECUTORS, map_ordered
from chexkeras.parallel.place import HERE, Workplace, place_of
from chexkeras.parallel.task import WorkersUnavailable
from chexkeras.parallel.visible import SharedFiles

__all__ = [
    "EXECUTORS",
    "HERE",
    "SharedFiles",
    "WorkersUnavailable",
    "Workplace",
    "available_cores",
    "map_ordered",
    "place_of",
]  # fmt: skip
