"""How many processor cores this process may use."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path


def available_cores() -> int:
    """Returns how many processor cores this process may use, at least 1.

    That is fewer than the machine has where the process is tied to some of them (affinity), or where a container or a
    batch system grants it only so much processor time (Linux control groups).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([cores, *_granted_cores()])))


def _granted_cores(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> Iterator[float]:
    """Yields the shares of processor time that the control groups around this process grant, in cores.

    Args:
        groups: Says which groups the process is in.
        root: Where the groups' limits are kept.

    Source:
        Linux kernel, Documentation/admin-guide/cgroup-v2.rst ("cpu.max") and scheduler/sched-bwc.rst (version 1).
    """
    with contextlib.suppress(OSError):
        for line in groups.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            base = root / "cpu" if controllers else root
            group = base / path.strip("/")
            # A group may use no more than the ones it is in. A container sees its own as the outermost one.
            for place in (group, *(parent for parent in group.parents if parent.is_relative_to(base))):
                with contextlib.suppress(OSError, ValueError):
                    if controllers:
                        quota, period = (float((place / f"cpu.cfs_{of}_us").read_text()) for of in ("quota", "period"))
                    else:
                        # "max 100000" sets no limit, and is no pair of numbers.
                        quota, period = map(float, (place / "cpu.max").read_text().split())
                    if quota > 0 and period > 0:
                        yield quota / period
