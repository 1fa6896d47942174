"""What all places where work is done have in common: the task of a worker, its results, and `Executor`."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol


class WorkersUnavailable(RuntimeError):
    """A worker cannot be started, or it ended in the middle of its work: nothing that an item is to blame for."""


class Chunk(NamedTuple):
    """What a worker made of some items.

    Attributes:
        results: One result for each item that was worked on.
        error: What the next item raised, None if all items were worked on.
    """

    results: list[Any]
    error: Exception | None


class Task:
    """The function that workers call, and what it needs once in each of them.

    Args:
        work: Called with an item, and with what `setup` returned if there is one.
        setup: Called once in each worker before its first item; None if nothing is to be set up.
    """

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None) -> None:
        self._work, self._setup = work, setup
        # A worker is a thread: the only one of its process, or one of many.
        self._worker = threading.local()

    def __call__(self, items: list[Any]) -> Chunk:
        """Returns the results of some items, up to the first that raises an error."""
        results: list[Any] = []
        try:
            arguments = self._arguments()
            results.extend(self._work(item, *arguments) for item in items)
        except Exception as error:  # noqa: BLE001 - it is raised again for the caller, behind the results before it
            return Chunk(results, error)
        return Chunk(results, None)

    def _arguments(self) -> tuple[Any, ...]:
        """Returns what the function takes besides an item, made at the worker's first call."""
        if not hasattr(self._worker, "arguments"):
            self._worker.arguments = () if self._setup is None else (self._setup(),)
        return self._worker.arguments


def with_traceback(chunk: Chunk) -> Chunk:
    """Returns a chunk to be sent to another process, where the traceback of its error shows as text below it.

    Args:
        chunk: As a `Task` returned it.
    """
    if chunk.error is not None:
        import traceback

        # The traceback itself stays behind.
        chunk.error.add_note("".join(traceback.format_exception(chunk.error)).rstrip())
    return chunk


class Executor(Protocol):
    """A place where work is done; `EXECUTORS` names them. Making one starts nothing: `submit` does.

    Args:
        work: Called with an item, and with what `setup` returned if there is one.
        setup: Called once in each worker before its first item; None if nothing is to be set up.
        workers: How many items are worked on at once.
    """

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None, workers: int) -> None: ...

    @property
    def workers(self) -> int:
        """How many items are worked on at once; where only a cluster knows, this connects to it."""
        ...

    def submit(self, items: list[Any]) -> Callable[[], Chunk]:
        """Hands some items to a worker.

        Args:
            items: The items, which one worker works on one after the other.

        Returns:
            A function without arguments that waits for their results and returns them.

        Raises:
            WorkersUnavailable: If no worker can be started. The function returned raises it if a worker was lost.
        """
        ...

    def close(self) -> None:
        """Gives up what has not begun, waits for what has, and ends the workers."""
        ...
