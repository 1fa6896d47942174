"""Work on many images, in order: in this process, in threads or in local processes.

`map_ordered` is the one way in. It calls a function for every item of a sequence, however long, and hands the results
on in the order of the items while later items are still being worked on. The same results come out, and the same error
if there is one, whichever executor does the work and however many workers it has.

Another place to run such work is one class with the methods of `Executor` and one entry of `EXECUTORS`.
"""

import ast
import contextlib
import functools
import math
import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from chexkeras.checks import one_of, positive_int

if TYPE_CHECKING:
    from multiprocessing.context import SpawnContext

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkersUnavailable(RuntimeError):
    """A worker cannot be started, or it ended in the middle of its work: nothing that an item is to blame for."""


class _Chunk(NamedTuple):
    """What a worker made of some items.

    Attributes:
        results: One result for each item that was worked on.
        error: What the next item raised, None if all items were worked on.
    """

    results: list[Any]
    error: Exception | None


class _Task:
    """The function that workers call, and what it needs once in each of them.

    Args:
        work: Called with an item, and with what `setup` returned if there is one.
        setup: Called once in each worker before its first item; None if nothing is to be set up.
    """

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None) -> None:
        self._work, self._setup = work, setup
        # A worker is a thread: the only one of its process, or one of many.
        self._worker = threading.local()

    def __call__(self, items: list[Any]) -> _Chunk:
        """Returns the results of some items, up to the first that raises an error."""
        results: list[Any] = []
        try:
            arguments = self._arguments()
            results.extend(self._work(item, *arguments) for item in items)
        except Exception as error:  # noqa: BLE001 - it is raised again for the caller, behind the results before it
            return _Chunk(results, error)
        return _Chunk(results, None)

    def _arguments(self) -> tuple[Any, ...]:
        """Returns what the function takes besides an item, made at the worker's first call."""
        if not hasattr(self._worker, "arguments"):
            self._worker.arguments = () if self._setup is None else (self._setup(),)
        return self._worker.arguments


class Executor(Protocol):
    """A place where work is done; `EXECUTORS` names them. Making one starts nothing: `submit` does.

    Args:
        work: Called with an item, and with what `setup` returned if there is one.
        setup: Called once in each worker before its first item; None if nothing is to be set up.
        workers: How many items are worked on at once.
    """

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None, workers: int) -> None: ...

    def submit(self, items: list[Any]) -> Callable[[], _Chunk]:
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


class _Serial:
    """In this process, one item after the other, each when its result is asked for."""

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None, workers: int) -> None:
        self._task = _Task(work, setup)

    def submit(self, items: list[Any]) -> Callable[[], _Chunk]:
        return functools.partial(self._task, items)

    def close(self) -> None:
        pass


class _Threads:
    """In threads of this process: for work that waits, or leaves the interpreter free as image decoders do."""

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None, workers: int) -> None:
        self._task = _Task(work, setup)
        self._pool = ThreadPoolExecutor(workers)

    def submit(self, items: list[Any]) -> Callable[[], _Chunk]:
        try:
            return self._pool.submit(self._task, items).result
        except RuntimeError as error:
            raise _not_started("thread", error) from None

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class _Processes:
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
        self._pool = ProcessPoolExecutor(workers, _spawn_context(), _begin_process, (work, setup))

    def submit(self, items: list[Any]) -> Callable[[], _Chunk]:
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
    def _result(result: Callable[[], _Chunk]) -> _Chunk:
        try:
            return result()
        except BrokenExecutor:
            raise _process_ended() from None

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


EXECUTORS: dict[str, type[Executor]] = {"serial": _Serial, "threads": _Threads, "processes": _Processes}
"""Where work on many images can be done, by the name that `map_ordered` takes."""


def map_ordered(
    work: Callable[..., Result],
    items: Iterable[Item],
    *,
    setup: Callable[[], Any] | None = None,
    executor: str | None = None,
    workers: int | None = None,
    chunk: int = 1,
    ahead: int | None = None,
    progress: Callable[[int], object] | None = None,
    on_end: Callable[[], object] | None = None,
) -> Generator[Result, None, None]:
    """Calls a function for every item, several at once, and yields the results in the order of the items.

    Results are handed on as they come; only a bounded number of items is worked on before their results are asked for,
    so that memory does not grow with the number of items. Workers start when the first result is asked for. They end
    with the last one, with an error, on Ctrl-C, and when the iterator is closed: where the results may not be read to
    the end, use it in ``with contextlib.closing(...)``.

    Local processes are started afresh (spawned), never forked, because a fork of a process that runs TensorFlow's
    threads can hang. A script that uses them therefore needs ``if __name__ == "__main__":``.

    Args:
        work: Called as ``work(item)``, or as ``work(item, state)`` if there is a `setup`. It must depend on nothing
            else, so that it does not matter which worker calls it. For "processes" it is defined at the top level of
            a module.
        items: What to work on; may be endless, and is read only as far as the work has come.
        setup: Called without arguments once in each worker, before its first item; for example to load a model or to
            set a limit. What it returns is handed to each call of `work`. None: nothing is set up.
        executor: One of `EXECUTORS`: "serial" (in this process, one after the other), "threads" or "processes"
            (local ones). None takes "serial" where there would be one worker, and "processes" otherwise.
        workers: How many items are worked on at once, at least 1; by default one a core that may be used, see
            `available_cores`. No more are started than there are chunks of items.
        chunk: Items that are handed to a worker at once, at least 1; for short work more than one saves time.
        ahead: Items that are worked on before their results are asked for, at least 1; by default two chunks a
            worker, and never less than one. "serial" works on none ahead.
        progress: Called in this thread before each result is yielded, with the number of results so far. None: not
            called.
        on_end: Called in this thread once, when the work ends in whatever way and before workers are waited for; for
            example to close what one of them may be waiting for. None: not called.

    Yields:
        One result an item, in the order of `items`.

    Raises:
        ValueError: If there is no such executor, or a number is not a whole one of at least 1.
        TypeError: If `work` or `setup` cannot be handed to another process.
        WorkersUnavailable: If a worker cannot be started, or dies. What was finished before comes out first.
        Exception: What `work` raises for an item, in place of its result, what `setup` raises, and what `items`
            raises; results of the items before come out first.

    Example:
        >>> list(map_ordered(abs, [-2, 1, -3], executor="threads", workers=2))
        [2, 1, 3]
    """
    chosen = None if executor is None else one_of(executor, EXECUTORS, "executor")
    size = positive_int(chunk, "chunk")
    count = available_cores() if workers is None else positive_int(workers, "workers")
    if isinstance(items, Sized):
        count = max(1, min(count, math.ceil(len(items) / size)))
    wanted = 2 * count * size if ahead is None else positive_int(ahead, "ahead")
    begin = EXECUTORS[chosen or ("serial" if count == 1 else "processes")]
    place = begin(work, setup, count)
    pending = 1 if begin is _Serial else max(count, math.ceil(wanted / size))
    return _results(place, iter(items), size, pending, progress, on_end)


def _results(
    place: Executor,
    items: Iterator[Any],
    chunk: int,
    most_pending: int,
    progress: Callable[[int], object] | None,
    on_end: Callable[[], object] | None,
) -> Generator[Any, None, None]:
    """Yields results in order; `most_pending` chunks at most have been handed out and not come back."""
    pending: deque[Callable[[], _Chunk]] = deque()
    done = 0
    try:
        submitted = _submitted(place, items, chunk)
        pending.extend(islice(submitted, most_pending))
        while pending:
            results, error = pending.popleft()()
            if error is None:
                pending.extend(islice(submitted, 1))
            for result in results:
                done += 1
                if progress is not None:
                    progress(done)
                yield result
            if error is not None:
                raise error
    finally:
        try:
            if on_end is not None:
                on_end()
        finally:
            place.close()


def _submitted(place: Executor, items: Iterator[Any], chunk: int) -> Iterator[Callable[[], _Chunk]]:
    """Hands items out, and yields what waits for them; an error that stops this stands last, behind what was begun."""
    while True:
        given: list[Any] = []
        failure: Exception | None = None
        try:
            given.extend(islice(items, chunk))
        except Exception as error:  # noqa: BLE001 - raised again behind the results of the items before
            failure = error
        if given:
            try:
                waiting = place.submit(given)
            except WorkersUnavailable as error:
                failure = error
            else:
                yield waiting
        if failure is not None:
            yield functools.partial(_Chunk, [], failure)
        if failure is not None or not given:
            return


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
_process_task: _Task


def _begin_process(work: Callable[..., Any], setup: Callable[[], Any] | None) -> None:
    """Makes a new process ready for work."""
    import multiprocessing
    import signal

    global _process_task
    _process_task = _Task(work, setup)
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


def _work_in_process(items: list[Any]) -> _Chunk:
    results, error = _process_task(items)
    if error is not None:
        import traceback

        # The traceback stays behind in this process; it is shown as text below the error.
        error.add_note("".join(traceback.format_exception(error)).rstrip())
    return _Chunk(results, error)


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
