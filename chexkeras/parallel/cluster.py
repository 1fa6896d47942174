"""Ray as a place where work is done: connecting to a cluster, or starting Ray here, and its workers.

A worker is a Ray actor of one processor. It greets with what it runs, so that no host with other versions takes part,
and then works as a local process would. Nothing it prints is kept: Ray writes that to files, and libraries name images.
"""

import contextlib
import logging
import os
import platform
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from typing import IO, Any, cast

import chexkeras
from chexkeras import progress
from chexkeras.parallel.cores import available_cores
from chexkeras.parallel.crew import Crew, MemberGone
from chexkeras.parallel.task import Chunk, Task, WorkersUnavailable, with_traceback

# What decides about the bytes of a result, besides the package itself.
_DECIDING = ("tensorflow", "keras", "numpy", "pillow", "pydicom", "python-gdcm", "pylibjpeg-openjpeg", "pyjpegls")
_CONNECT_SECONDS = 5.0
# Of a Ray that is started here: results travel one by one, and wait in no great number.
_STORE_BYTES = 256 * 2**20


def check_cluster(address: str | None) -> None:
    """Looks whether Ray is installed, and whether anything answers at an address, which Ray itself takes minutes for.

    Args:
        address: Of a cluster, "host:port"; "auto" and None are not looked at.

    Raises:
        ValueError: If Ray is not installed.
        WorkersUnavailable: If nothing answers.
    """
    import importlib.util

    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            "the executor 'ray' needs Ray, which is not installed; install it with: pip install 'chexkeras[ray]'"
        )
    if address is None or address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from None


def _no_cluster(address: str, reason: str) -> WorkersUnavailable:
    return WorkersUnavailable(
        f"no Ray cluster answers at {address} ({reason}); look at its head with 'ray status', correct --address or "
        "RAY_ADDRESS, or leave both out to start Ray on this machine."
    )


class OnRay:
    """On a Ray cluster, or on a Ray that is started on this machine for as long as the work takes.

    Functions and items are sent as pickle can copy them; what stands at the top level of a module must be installed on
    the workers.

    Args:
        work: Called with an item, and with what `setup` returned if there is one.
        setup: Called once in each worker before its first item; None if nothing is to be set up.
        workers: How many processors of the cluster take part; None takes all that it has.
        address: The cluster; None starts Ray on this machine.
    """

    def __init__(
        self,
        work: Callable[..., Any],
        setup: Callable[[], Any] | None,
        workers: int | None,
        address: str | None = None,
    ) -> None:
        self._task = work, setup
        self._wanted, self._address = workers, address
        self._crew: Crew | None = None
        self._connection = contextlib.ExitStack()

    @property
    def workers(self) -> int:
        """How many workers there will be; connects to the cluster to ask."""
        return self._begun()[1]

    def _begun(self) -> tuple[Crew, int]:
        if self._crew is None:
            here = self._connection.enter_context(_connected(self._address, self._wanted))
            if not here:
                raise WorkersUnavailable("the Ray cluster has no processor (CPU) to work on; add a host to it.")
            self._count = self._wanted or here
            self._crew = Crew(_Actors(*self._task), self._count)
        return self._crew, self._count

    def submit(self, items: list[Any]) -> Callable[[], Chunk]:
        """Hands some items to a worker.

        Args:
            items: The items, which one worker works on one after the other.

        Returns:
            A function without arguments that waits for their results and returns them.

        Raises:
            WorkersUnavailable: If there is no cluster. The function returned raises it if workers are lost again and
                again, or must not be used.
        """
        return self._begun()[0].submit(items)

    def close(self) -> None:
        """Ends the workers, and Ray where it was started for this work."""
        with self._connection:
            if self._crew is not None:
                self._crew.close()


@contextlib.contextmanager
def _connected(address: str | None, wanted: int | None) -> Iterator[int]:
    """Connects to Ray, started here where there is no address; yields the cluster's processors.

    A connection that the program has already is used, and stays.
    """
    check_cluster(address)
    _quieten(address)
    import ray

    if ray.is_initialized():
        yield _processors(ray)
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _own_signals():
        if address is None:
            progress.say("starting Ray on this machine ...")
            cores = wanted or available_cores()
            try:
                ray.init(
                    address="local", num_cpus=cores, object_store_memory=_STORE_BYTES, include_dashboard=False, **quiet
                )
            # Ray raises errors of no kind of its own here, for example where a busy machine needs more than 30 s.
            except Exception as error:  # noqa: BLE001
                ray.shutdown()
                raise WorkersUnavailable(
                    f"Ray did not start on this machine ({_first_line(error)}); try again when it is less busy, or "
                    "choose --executor processes."
                ) from None
        else:
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                raise _not_connected(address, error) from None
    count, nodes = _processors(ray), sum(node["Alive"] for node in ray.nodes())
    if address is not None:
        found = f"{_counted(count, 'processor')} on {_counted(nodes, 'node')}"
        progress.say(f"the Ray cluster at {address} has {found}")
    output = _WithoutRay(sys.stdout)
    with output.connected():
        try:
            yield count
        finally:
            with output.disconnecting():
                ray.shutdown()


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


class _WithoutRay:
    """Standard output without what Ray prints there of a node that is lost: pages, among the results of a command.

    A thread of Ray prints them, and whoever disconnects prints what that thread has kept to say once.

    Args:
        stream: Standard output.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self._disconnecting = stream, 0

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Stands for standard output as long as the connection lasts."""
        sys.stdout = cast("IO[str]", self)
        try:
            yield
        finally:
            # Whoever has put something else in place meanwhile keeps it.
            if sys.stdout is self:
                sys.stdout = self._stream

    @contextlib.contextmanager
    def disconnecting(self) -> Iterator[None]:
        """Holds back what this thread writes."""
        self._disconnecting = threading.get_ident()
        try:
            yield
        finally:
            self._disconnecting = 0

    def write(self, text: str) -> int:
        """Writes text, unless it is Ray's.

        Args:
            text: What to write.
        """
        thread = threading.current_thread()
        is_ray = thread.name.startswith("ray_") or thread.ident == self._disconnecting
        return len(text) if is_ray else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _processors(ray: Any) -> int:
    return int(ray.cluster_resources().get("CPU", 0))


def _quieten(address: str | None) -> None:
    """Sets what Ray reads when it is imported: nothing is reported to its makers, and no host but this one listens."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # Else Ray listens at the network's address too, wherever it is told to be.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps what the program does when the system asks it to end, for which Ray puts something of its own."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


def _not_connected(address: str, error: Exception) -> WorkersUnavailable:
    text = str(error)
    if "ersion mismatch" in text:
        lines = " ".join(line.strip() for line in text.splitlines() if ":" in line)
        return WorkersUnavailable(
            f"the Ray cluster at {address} runs another version of Ray or Python ({lines:.300}); install the same on "
            "all hosts."
        )
    if "uthentication" in text:
        return WorkersUnavailable(
            f"the Ray cluster at {address} asks for a token (RAY_AUTH_MODE=token); set RAY_AUTH_TOKEN_PATH to the file "
            "that holds it, as on the cluster's hosts."
        )
    return _no_cluster(address, _first_line(error))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200].rstrip(".")


class Actor:
    """A worker: made by Ray on some host, and ended by it."""

    def __init__(self) -> None:
        self._task: Task | None = None
        # One processor is this worker's; TensorFlow, which is not imported yet, would take all of the host's.
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.setdefault(name, "1")
        # Ray writes what a worker prints to files that stay; a library's message may name an image.
        nothing = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nothing, stream)
        os.close(nothing)

    def begin(self, packed: bytes) -> tuple[str, dict[str, str], str]:
        """Takes the function to call.

        Args:
            packed: The function and its `setup`, pickled.

        Returns:
            The host's name, the versions of what decides about results, and why the function cannot be had, if so.
        """
        import pickle

        problem = ""
        try:
            self._task = Task(*pickle.loads(packed))
        # Whatever hinders it, the versions, which may explain it, are to be told.
        except Exception as error:  # noqa: BLE001
            problem = str(error) or type(error).__name__
        return platform.node(), versions(), problem

    def work(self, items: list[Any]) -> Chunk:
        """Returns the results of some items.

        Args:
            items: What to work on.
        """
        if self._task is None:
            raise RuntimeError("a worker was given images before it was told what to do with them.")
        return with_traceback(self._task(items))


def versions() -> dict[str, str]:
    """Returns the versions of what decides about the bytes of a result; "none" for what is not installed."""
    from importlib import metadata

    found = {"chexkeras": chexkeras.__version__, "Python": ".".join(map(str, sys.version_info[:2]))}
    for name in _DECIDING:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def check_worker(host: str, found: dict[str, str], problem: str) -> None:
    """Looks whether a worker gives the results that would come out here.

    Args:
        host: The worker's host.
        found: What `versions` returned there.
        problem: Why it does not have the function to call; empty if it has.

    Raises:
        WorkersUnavailable: If not.
    """
    differing = [f"{name} {found.get(name, 'none')}, not {own}" for name, own in versions().items()
                 if found.get(name) != own]  # fmt: skip
    if differing:
        raise WorkersUnavailable(
            f"the worker on the host {host!r} runs {'; '.join(differing)}; results could differ: install the same "
            "versions on every host of the cluster."
        )
    if problem:
        raise WorkersUnavailable(
            f"the worker on the host {host!r} cannot be given the work ({problem:.200}); what it calls must be in a "
            "module that is installed there."
        )


class _Actors:
    """Starts actors and talks to them; a `crew.Hands`."""

    def __init__(self, work: Callable[..., Any], setup: Callable[[], Any] | None) -> None:
        import ray
        from ray import cloudpickle

        self._ray: Any = ray
        # A model may be among it: stored once, not sent along with every start.
        self._packed = ray.put(cloudpickle.dumps((work, setup)))
        # No worker is started again by Ray itself: what it had in hand goes to another one, which may be elsewhere.
        self._kind = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD")(
            Actor
        )
        self._greetings: set[Hashable] = set()
        self._any_ready = False

    def start(self) -> tuple[Any, Hashable]:
        actor = self._kind.remote()
        greeting = actor.begin.remote(self._packed)
        self._greetings.add(greeting)
        return actor, greeting

    def hand(self, worker: Any, items: list[Any]) -> Hashable:
        return worker.work.remote(items)

    def wait(self, waiting: list[Hashable], seconds: float) -> list[Hashable]:
        return self._ray.wait(waiting, num_returns=1, timeout=seconds)[0]

    def answer(self, come: Hashable) -> Any:
        is_greeting = come in self._greetings
        self._greetings.discard(come)
        try:
            answer = self._ray.get(come)
        except self._ray.exceptions.RayTaskError as error:
            # Not of the work, whose errors are results: one that cannot be sent.
            raise WorkersUnavailable(f"a worker cannot send its result ({str(error).splitlines()[-1]:.200}).") from None
        except self._ray.exceptions.RayError as error:
            lacking = re.search(r"No module named '?([\w.]+)", str(error))
            if lacking:
                raise WorkersUnavailable(
                    f"a host of the Ray cluster has no module {lacking[1]!r}; install the version "
                    f"{chexkeras.__version__} of chexkeras, with the same extras, on every host."
                ) from None
            raise MemberGone(_first_line(error)) from None
        if is_greeting:
            check_worker(*answer)
            self._any_ready = True
            return answer[0]
        return answer

    def end(self, worker: Any) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(worker)

    def idle(self) -> None:
        if not self._any_ready:
            progress.say("waiting for a processor of the Ray cluster that is free ...")
