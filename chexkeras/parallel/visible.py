"""Whether the workers of a cluster see the files that the program sees which sends them there."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from chexkeras.parallel.task import WorkersUnavailable

_MOST_FILES = 16


@dataclass(frozen=True)
class SharedFiles:
    """Some files that must be there on every worker, of the same size.

    Attributes:
        sizes: Absolute path and bytes of each.
    """

    sizes: tuple[tuple[str, int], ...]

    @classmethod
    def some_of(cls, paths: Iterable[str | os.PathLike[str]]) -> "SharedFiles":
        """Returns some of those files that are there, from first to last.

        Args:
            paths: Files; those that are not there here need not be there elsewhere.
        """
        listed = [os.fspath(path) for path in paths if path]
        step = max(1, len(listed) // _MOST_FILES)
        found = []
        for path in listed[::step]:
            try:
                found.append((os.path.abspath(path), os.stat(path).st_size))
            except OSError:
                continue
        return cls(tuple(found))

    def check(self) -> None:
        """Looks for the files on the machine that it is called on.

        Raises:
            WorkersUnavailable: If one cannot be read, or is another one.
        """
        for path, size in self.sizes:
            try:
                is_same = os.stat(path).st_size == size and os.access(path, os.R_OK)
            except OSError:
                is_same = False
            if not is_same:
                import platform

                raise WorkersUnavailable(
                    f"the worker on the host {platform.node()!r} cannot read the files in {os.path.dirname(path)!r} "
                    "that are there on the machine that started the work; put them where every host of the cluster "
                    "finds them under the same path, as a network file system does."
                )
