"""A Ray cluster of two nodes on this machine, loopback only: prints its address, kills its second node when told to.

``python tests/parallel/ray_cluster.py``; a line on standard input kills the second node, its end ends the cluster. The
nodes are those of `ray.cluster_utils.Cluster`, which Ray's guide to testing describes.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Loopback, no reports, and no token in anybody's home folder.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "t" * 64,
}
_MEMORY = 200_000_000
_TRIES = 5


def main():
    # Where the package is not installed, its workers find it as the tests do.
    os.environ.update(ENVIRONMENT, PYTHONPATH=str(Path(__file__).parents[2]))
    from ray.cluster_utils import Cluster

    own = {"num_cpus": 1, "object_store_memory": _MEMORY, "include_dashboard": False}
    for left in reversed(range(_TRIES)):
        cluster = Cluster()
        try:
            cluster.add_node(**own)
            second = cluster.add_node(num_cpus=1, object_store_memory=_MEMORY)
        # Ray gives a node half a minute to start, which a busy machine may need more than once.
        except Exception:
            cluster.shutdown()
            if not left:
                raise
        else:
            break
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
        sys.stdout.write("killed\n")
        sys.stdout.flush()
    cluster.shutdown()


class TwoNodes:
    """The cluster, in a process of its own."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            self.close()
            pytest.skip("no node of Ray started within its half a minute: this machine is too busy")

    def kill_one(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "killed\n"

    def close(self):
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        self._process.kill()


if __name__ == "__main__":
    main()
