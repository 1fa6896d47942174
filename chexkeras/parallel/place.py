"""Where work on many images is done: on this machine, or on a Ray cluster."""

import os
import re
from dataclasses import dataclass

from chexkeras.arguments import checked
from chexkeras.checks import one_of

PLACES = {
    "processes": "on this machine, several images at once",
    "serial": "on this machine, one image after the other",
    "ray": "on a Ray cluster (extra ray)",
}
"""What a person chooses from, and what it means."""

ADDRESS_VARIABLE = "RAY_ADDRESS"
_ADDRESS = re.compile(r"auto|[^\s/:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


@checked(fields=True)
@dataclass(frozen=True)
class Workplace:
    """Where work on many images is done; wherever it is, the result is the same.

    Attributes:
        executor: "processes" (on this machine, several images at once), "serial" (one after the other) or "ray".
        address: A Ray cluster that is running and that this machine is part of: "host:port" of its head, or "auto".
            None takes the variable RAY_ADDRESS; without it, Ray is started on this machine and ended with the work.

    Raises:
        ValueError: If there is no such executor, the address is none, or it stands beside another executor than "ray".

    Example:
        >>> Workplace("ray", "10.0.0.1:6379").cluster
        '10.0.0.1:6379'
    """

    executor: str = "processes"
    address: str | None = None

    def __post_init__(self) -> None:
        one_of(self.executor, PLACES, "executor")
        if self.address is not None and not self.on_cluster:
            raise ValueError(
                f"address={self.address!r} is that of a Ray cluster, and the executor is {self.executor!r}; choose "
                "executor='ray' (on the command line --executor ray), or leave the address out."
            )
        if self.cluster is not None and not _ADDRESS.fullmatch(self.cluster):
            source = "address" if self.address is not None else ADDRESS_VARIABLE
            raise ValueError(
                f"{source}={self.cluster!r} is no address of a Ray cluster; 'host:port' of its head was expected, "
                "or 'auto' on one of its hosts."
            )

    @property
    def on_cluster(self) -> bool:
        """Whether Ray does the work."""
        return self.executor == "ray"

    @property
    def cluster(self) -> str | None:
        """The address of the cluster; None where Ray is started on this machine, or takes no part."""
        if not self.on_cluster:
            return None
        return self.address if self.address is not None else os.environ.get(ADDRESS_VARIABLE) or None


HERE = Workplace()
"""On this machine, several images at once."""


def place_of(executor: str | Workplace) -> Workplace:
    """Returns where work is done, sure that it can be done there; to be called before any work.

    Args:
        executor: A `Workplace`, or the name of its executor.

    Raises:
        ValueError: If there is no such place, or Ray is wanted and not installed.
        WorkersUnavailable: If nothing answers at the cluster's address.
    """
    place = executor if isinstance(executor, Workplace) else Workplace(executor)
    if place.on_cluster:
        from chexkeras.parallel.cluster import check_cluster

        check_cluster(place.cluster)
    return place
