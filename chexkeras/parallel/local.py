"""Executors on this machine: in this process, in threads, in processes."""

import ast
import functools
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras.parallel.task import Chunk, Task, WorkersUnavailable, with_traceback

if TYPE_CHECKING:
    from multiprocessing.context import SpawnContext


class Serial:
    """In this process, one item after the other, each when its result is asked for."""

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None, workers: int) -> None:
        self._task, self.workers = Task(work, setup), workers

    def submit(self, items: list[Any]) -> Callable[[], Chunk]:
        """Hands some items over.

        Args:
            items: What to work on.

        Returns:
            A function without arguments that returns their results.

        Raises:
            WorkersUnavailable: If no worker can be started, or, when results are asked for, one was lost.
        """
        return functools.partial(self._task, items)

    def close(self) -> None:
        """Does nothing: there is nobody to end."""


class InThreads:
    """In threads of this process: for work that waits, or leaves the interpreter free as image decoders do."""

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None, workers: int) -> None:
        self._task, self.workers = Task(work, setup), workers
        self._pool = ThreadPoolExecutor(workers)

    def submit(self, items: list[Any]) -> Callable[[], Chunk]:
        """Hands some items over.

        Args:
            items: What to work on.

        Returns:
            A function without arguments that returns their results.

        Raises:
            WorkersUnavailable: If no worker can be started, or, when results are asked for, one was lost.
        """
        try:
            return self._pool.submit(self._task, items).result
        except RuntimeError as error:
            raise _not_started("thread", error) from None

    def close(self) -> None:
        """Gives up what has not begun, waits for what has, and ends the workers."""
        self._pool.shutdown(cancel_futures=True)


class InProcesses:
    """In local processes: for work that keeps the interpreter busy.

    They import the modules that the function needs and share no memory with this process, so the function, `setup`,
    the items and the results must be ones that pickle can copy.
    """

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None, workers: int) -> None:
        try:
            pickle.dumps((work, setup))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(
                f"work={work!r:.80} cannot be handed to another process ({error}); define it, and setup, at the top "
                "level of a module (functools.partial of such a function will do), or choose executor='threads'."
            ) from None
        _refuse_unguarded_script()
        self.workers = workers
        self._pool = ProcessPoolExecutor(workers, _spawn_context(), _begin_process, (work, setup))

    def submit(self, items: list[Any]) -> Callable[[], Chunk]:
        """Hands some items over.

        Args:
            items: What to work on.

        Returns:
            A function without arguments that returns their results.

        Raises:
            WorkersUnavailable: If no worker can be started, or, when results are asked for, one was lost.
        """
        try:
            return functools.partial(self._result, self._pool.submit(_work_in_process, items).result)
        except BrokenExecutor:
            raise _process_ended() from None
        except OSError as error:
            raise _not_started("process", error) from None
        except RuntimeError as error:
            # A process that is itself only starting may start no other: said by Python, and no lack of anything.
            if "thread" not in str(error):
                raise
            raise _not_started("process", error) from None

    @staticmethod
    def _result(result: Callable[[], Chunk]) -> Chunk:
        try:
            return result()
        except BrokenExecutor:
            raise _process_ended() from None

    def close(self) -> None:
        """Gives up what has not begun, waits for what has, and ends the workers."""
        self._pool.shutdown(cancel_futures=True)


@functools.cache
def _spawn_context() -> "SpawnContext":
    # Imported here: most work is done in this process.
    import multiprocessing

    return multiprocessing.get_context("spawn")


def _refuse_unguarded_script() -> None:
    """Refuses to start processes from a script's top level: each would begin the script anew, and start others.

    Raises:
        WorkersUnavailable: If so, before any is started.
    """
    import inspect

    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") in ("__main__", "__mp_main__"):
            break
        frame = frame.f_back
    # Without a frame a function of an interactive prompt or of a thread asks.
    script = "" if frame is None else str(frame.f_globals.get("__file__", ""))
    if frame is None or not script.endswith(".py") or Path(script).name == "__main__.py":
        return
    try:
        tree = ast.parse(Path(script).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    if not _is_guarded(tree, frame.f_lineno):
        raise WorkersUnavailable(
            f"{Path(script).name}, line {frame.f_lineno}, starts processes that would each run the script from its "
            'beginning: put that line and what follows below `if __name__ == "__main__":`. With one worker the work is '
            "done in this process."
        )


def _is_guarded(tree: ast.Module, line: int) -> bool:
    """Returns whether a line stands below a condition on the module's name."""
    conditions = (node for node in ast.walk(tree) if isinstance(node, ast.If))
    return any(
        condition.lineno <= line <= (condition.end_lineno or condition.lineno)
        and any(isinstance(name, ast.Name) and name.id == "__name__" for name in ast.walk(condition.test))
        for condition in conditions
    )


_END_SECONDS = 1.0

# The task of a worker process, which has one for as long as it lives.
_process_task: Task


def _begin_process(work: Callable[..., Any], setup: Callable[[], Any] | None) -> None:
    """Makes a new process ready for work."""
    import multiprocessing
    import signal

    global _process_task
    _process_task = Task(work, setup)
    # Ctrl-C reaches every process of a terminal; the one that started this one decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # So it does where a batch system ends all processes of a job, as long as it is there; see `_end_later`.
    signal.signal(signal.SIGTERM, _end_later)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_later(*_: object) -> None:
    """Ends this process in a while: the one that started it was asked to end too, and clears it away before."""
    timer = threading.Timer(_END_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _end_with(parent: Any) -> None:
    """Ends this process when the one that started it is gone, which may have been killed without a word."""
    parent.join()
    os._exit(1)


def _work_in_process(items: list[Any]) -> Chunk:
    return with_traceback(_process_task(items))


def _not_started(kind: str, error: Exception) -> WorkersUnavailable:
    return WorkersUnavailable(
        f"a {kind} that works on images did not start ({error}); the system's limit of processes or memory is "
        "reached: end other programs, raise it, or use fewer workers."
    )


def _process_ended() -> WorkersUnavailable:
    return WorkersUnavailable(
        "a process that works on images could not start, or ended in the middle of its work. In a script, put what "
        'starts it below `if __name__ == "__main__":`. If memory ran out, use fewer workers. With one worker the work '
        "is done in this process."
    )
