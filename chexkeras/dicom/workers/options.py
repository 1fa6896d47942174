"""How files are read: in how many processes, and within which limits."""

from dataclasses import dataclass

from chexkeras.arguments import checked
from chexkeras.parallel import available_cores

_MOST_WORKERS = 8


@checked(fields=True)
@dataclass(frozen=True)
class ReadOptions:
    """How files are read: by how many processes, and within which limits.

    Attributes:
        workers: Worker processes; by default half of the processor cores that may be used, at least 2 and at most 8.
            0 reads in the program's own process, where only the limits of the profile hold: enough for single files
            that are trusted.
        memory_bytes: Memory that a worker may use for a file. It is enforced where the system can (Linux).
        seconds: Time that a file may take.

    Raises:
        ValueError: If the number of workers is negative, or a limit is not positive.
    """

    workers: int | None = None
    memory_bytes: int = 2 * 2**30
    seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers={self.workers!r} must be at least 0; 0 reads in the program's own process.")
        for name in ("memory_bytes", "seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be above 0.")

    @property
    def processes(self) -> int:
        """How many worker processes there are."""
        if self.workers is not None:
            return self.workers
        return min(max(available_cores() // 2, 2), _MOST_WORKERS)


ISOLATED = ReadOptions()
"""Worker processes with the usual limits."""
IN_PROCESS = ReadOptions(workers=0)
"""The program's own process: no start-up time, and no protection beyond the limits of the profile."""
