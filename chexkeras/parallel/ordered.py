"""`map_ordered`: calls a function for every item, several at once, and hands results on in the order of the items.

The same results come out, and the same error if there is one, whichever executor does the work and however many workers
it has. Another place to run such work is one class with the methods of `Executor` and one entry of `EXECUTORS`.
"""

import functools
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from itertools import islice
from typing import Any, TypeVar

from chexkeras.checks import one_of, positive_int
from chexkeras.parallel.cluster import OnRay
from chexkeras.parallel.cores import available_cores
from chexkeras.parallel.local import InProcesses, InThreads, Serial
from chexkeras.parallel.place import Workplace
from chexkeras.parallel.task import Chunk, Executor, WorkersUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

EXECUTORS: dict[str, Callable[..., Executor]] = {
    "serial": Serial, "threads": InThreads, "processes": InProcesses, "ray": OnRay,
}  # fmt: skip
"""Where work on many images can be done, by the name that `map_ordered` takes."""


def map_ordered(
    work: Callable[..., Result],
    items: Iterable[Item],
    *,
    setup: Callable[[], Any] | None = None,
    executor: str | Workplace | None = None,
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
            else, so that it does not matter which worker calls it. For "processes" and "ray" it is defined at the top
            level of a module.
        items: What to work on; may be endless, and is read only as far as the work has come.
        setup: Called without arguments once in each worker, before its first item; for example to load a model or to
            set a limit. What it returns is handed to each call of `work`. None: nothing is set up.
        executor: One of `EXECUTORS`: "serial" (in this process, one after the other), "threads" or "processes"
            (local ones), "ray" (a cluster, see `Workplace`); or a `Workplace`. None takes "serial" where there would
            be one worker, and "processes" otherwise.
        workers: How many items are worked on at once, at least 1; by default one a core that may be used, see
            `available_cores`, or one a processor of the cluster. No more are started than there are chunks of items.
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
        WorkersUnavailable: If a worker cannot be started, or dies; on a cluster, if workers die again and again, since
            others take over from one that is lost. What was finished before comes out first.
        Exception: What `work` raises for an item, in place of its result, what `setup` raises, and what `items`
            raises; results of the items before come out first.

    Example:
        >>> list(map_ordered(abs, [-2, 1, -3], executor="threads", workers=2))
        [2, 1, 3]
    """
    chosen, address = executor, None
    if isinstance(executor, Workplace):
        chosen, address = executor.executor, executor.cluster
    elif executor == "ray":
        address = Workplace(executor).cluster
    elif executor is not None:
        chosen = one_of(executor, EXECUTORS, "executor")
    size = positive_int(chunk, "chunk")
    count = None if workers is None else positive_int(workers, "workers")
    wanted = None if ahead is None else positive_int(ahead, "ahead")
    if chosen == "ray":
        # How many processors it has, the cluster knows; no more are taken than there are chunks.
        place: Executor = OnRay(work, setup, count, address)
    else:
        count = available_cores() if count is None else count
        if isinstance(items, Sized):
            count = max(1, min(count, math.ceil(len(items) / size)))
        place = EXECUTORS[str(chosen or ("serial" if count == 1 else "processes"))](work, setup, count)
    return _results(place, iter(items), size, wanted, progress, on_end)


def _results(
    place: Executor,
    items: Iterator[Any],
    chunk: int,
    ahead: int | None,
    progress: Callable[[int], object] | None,
    on_end: Callable[[], object] | None,
) -> Generator[Any, None, None]:
    """Yields results in order; so many items at most have been handed out and not come back."""
    pending: deque[Callable[[], Chunk]] = deque()
    done = 0
    try:
        submitted = _submitted(place, items, chunk)
        pending.extend(islice(submitted, _most_pending(place, chunk, ahead)))
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


def _most_pending(place: Executor, chunk: int, ahead: int | None) -> int:
    """Returns how many chunks are handed out at a time."""
    if isinstance(place, Serial):
        return 1
    wanted = 2 * place.workers * chunk if ahead is None else ahead
    return max(place.workers, math.ceil(wanted / chunk))


def _submitted(place: Executor, items: Iterator[Any], chunk: int) -> Iterator[Callable[[], Chunk]]:
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
            yield functools.partial(Chunk, [], failure)
        if failure is not None or not given:
            return
