"""Processes that train together, on one machine or several: they find each other, speak, and learn when one is lost.

Number 0 leads: it alone reads and writes the run's folder, and tells the others what to do over a connection to each.
These connections also tell within a minute that a process or its machine has gone, which JAX, waiting for it inside of
a step, would not. What is sent is JSON and arrays of bytes; nothing that is received is run.
"""

import atexit
import contextlib
import os
import queue
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from chexkeras.progress import printable, say
from chexkeras.training.distributed.connection import (
    MOST_BYTES_OF_STRANGERS,
    Dismissed,
    Line,
    WorkerGone,
    receive,
    send,
)
from chexkeras.training.distributed.membership import LAUNCHER, Membership

JOINING_SECONDS = 300.0
"""How long processes wait for one another at the beginning."""
_GRACE_SECONDS = 10.0
# Such as "UNKNOWN: Gloo AllGather failed: ...", of whatever class.
_OF_XLA = re.compile(r"[A-Z][A-Z_]+: ")


def check_batch(batch_size: int, devices: int) -> None:
    """Checks that every device gets an image of a batch.

    Args:
        batch_size: Images a batch.
        devices: How many devices share it.

    Raises:
        ValueError: If one gets none.
    """
    if batch_size < devices:
        raise ValueError(
            f"{devices} workers cannot share batches of {batch_size} image(s): take fewer, or a larger batch_size "
            "(on the command line --set batch_size=...), which changes the training."
        )


class Team:
    """The processes that train together, as one of them sees them.

    Args:
        member: Which of them this one is.
        lines: Its connections: those of number 0 to the others in their order, of another one to number 0 alone.

    Attributes:
        count: How many there are.
        number: The number of this one, from 0.
        devices: How many devices all of them have together, once JAX was started.
        resume_command: What is said with the loss of a worker, to go on; "" for nothing.
    """

    def __init__(self, member: Membership, lines: Sequence[socket.socket], names: Sequence[str]) -> None:
        self.count, self.number, self._member = member.count, member.number, member
        self.devices = 0
        self.resume_command = ""
        self._lines = [Line(each, name, self._end_with) for each, name in zip(lines, names, strict=True)]
        self._gone: WorkerGone | Dismissed | None = None
        self._ended = False
        self._status: int | None = None
        for line in self._lines:
            line.listen()
        if LAUNCHER in os.environ:
            threading.Thread(target=self._follow_launcher, daemon=True).start()

    @property
    def leads(self) -> bool:
        """Whether this process is the first, which reads and writes the run's folder."""
        return self.number == 0

    @classmethod
    def join(cls, member: Membership, versions: dict[str, str], wait_seconds: float = JOINING_SECONDS) -> "Team":
        """Finds the other processes.

        Args:
            member: Which of them this one is.
            versions: Versions of packages, which have to be those of the others.
            wait_seconds: How long to wait for them.

        Raises:
            ValueError: If they have other versions or another word than this one, or are of another training.
            WorkerGone: If they cannot be reached.
        """
        until = time.monotonic() + wait_seconds
        hello = {"kind": "hello", "number": member.number, "count": member.count, "versions": versions,
                 "key": member.key, "host": socket.gethostname(), "process": os.getpid()}  # fmt: skip
        if member.number == 0:
            connections, names = _gather(member, hello, until)
        else:
            connections, names = [_call(member, hello, until)], [f"worker 0 of {member.count}"]
        return cls(member, connections, names)

    def start_jax(self) -> None:
        """Connects JAX with that of the other processes; to be called before anything is computed.

        Raises:
            ValueError: If their machines have different numbers of devices.
            WorkerGone: If one has ended.
        """
        import jax
        from jax.experimental import multihost_utils

        port = _free_port("127.0.0.1" if self._member.one_machine else "") if self.leads else 0
        port = int(self.agreed({"port": port})["port"])
        local = [self._member.local] if self._member.local is not None else None
        with self.watching(), _without_output():
            jax.distributed.initialize(
                f"{self._member.host}:{port}",
                self.count,
                self.number,
                local_device_ids=local,
                # What is the machine's own is not offered to others.
                coordinator_bind_address=f"127.0.0.1:{port}" if self._member.one_machine else None,
                cluster_detection_method="deactivate",
            )
            devices = jax.devices()
            # The first thing done together: what connects them for it says so.
            multihost_utils.sync_global_devices("chexkeras")
        # After JAX's own, so before it: with a worker that is gone JAX would wait for it, and end with a crash.
        atexit.register(self._end_process)
        self.devices = len(devices)
        of_each = [sum(device.process_index == number for device in devices) for number in range(self.count)]
        if len(set(of_each)) > 1:
            raise ValueError(
                f"the workers have different numbers of devices ({', '.join(map(str, of_each))}), so that they cannot "
                "share a batch in equal parts; give each as many, for example by CUDA_VISIBLE_DEVICES."
            )

    def tell(self, message: dict[str, Any], arrays: Sequence[bytes] = ()) -> None:
        """Tells all others something, which they take in by `hear`; for number 0.

        Args:
            message: Plain values.
            arrays: Bytes behind it.
        """
        for line in self._lines:
            line.send({"kind": "told", "message": message}, arrays)

    def hear(self) -> tuple[dict[str, Any], list[bytes]]:
        """Returns what number 0 tells, in order.

        Raises:
            WorkerGone: If a process has ended.
            Dismissed: If number 0 has ended the training.
        """
        message, arrays = self._next(self._lines[0])
        return message["message"], arrays

    def agreed(self, message: dict[str, Any]) -> dict[str, Any]:
        """Returns what number 0 gives here, in every process.

        Args:
            message: Plain values; those of number 0 count.
        """
        if self.leads:
            self.tell(message)
            return message
        return self.hear()[0]

    def wait_for_all(self) -> None:
        """Waits until all processes are here.

        Raises:
            WorkerGone: If one has ended.
            Dismissed: If number 0 has ended the training.
        """
        if self.leads:
            for line in self._lines:
                self._next(line)
            self.tell({})
        else:
            self._lines[0].send({"kind": "here"})
            self.hear()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Raises that a worker is lost instead of what its loss leads to: in a step JAX says that it is not connected.

        Raises:
            WorkerGone: If a process has ended.
            Dismissed: If number 0 has ended the training.
        """
        try:
            yield
        except Exception as error:
            # What this process itself has found to be wrong is told as it is.
            if self._ended or not (isinstance(error, RuntimeError) or _OF_XLA.match(str(error))):
                raise
            until = time.monotonic() + _GRACE_SECONDS / 2
            while self._gone is None and time.monotonic() < until:
                time.sleep(0.05)
            self._check()
            raise

    def part(self) -> None:
        """Ends the common work, in all processes at once: number 0 goes on alone, the others have done theirs.

        Raises:
            WorkerGone: If a process has ended.
        """
        import jax

        self.wait_for_all()
        with self.watching():
            jax.distributed.shutdown()
        self._ended = True
        if not self.leads:
            # As long as number 0: who starts processes may take the end of the first of them for the end of all.
            with contextlib.suppress(WorkerGone, Dismissed):
                self._next(self._lines[0])

    def close(self, error: BaseException | None = None, status: int = 1) -> None:
        """Ends the connections, and tells the others if this process cannot go on.

        Args:
            error: What ended it; None where its work is done.
            status: With an error: the exit status of this process.
        """
        failed = error is not None and not self._ended
        if failed:
            self._status = status
            told = str(error) if isinstance(error, (ValueError, OSError)) else type(error).__name__
            if self.leads:
                for line in self._lines:
                    line.send({"kind": "end", "why": told})
            elif not isinstance(error, (WorkerGone, Dismissed)):
                self._lines[0].send({"kind": "failed", "why": told})
        self._ended = True
        for line in self._lines:
            line.close()

    def _next(self, line: Line) -> tuple[dict[str, Any], list[bytes]]:
        while True:
            # What was said before a line broke off counts.
            with contextlib.suppress(queue.Empty):
                message, arrays = line.received.get(timeout=0.2)
                return message, arrays
            self._check()

    def _check(self) -> None:
        if self._gone is not None:
            raise self._gone

    def _end_with(self, gone: WorkerGone | Dismissed) -> None:
        """Takes in that another process is gone, and ends this one if it still waits for that some time later."""
        if self._gone is not None:
            return
        self._gone = gone
        until = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < until:
            if self._ended:
                return
            time.sleep(0.1)
        # It is inside of a step that waits for the other, where no exception reaches it.
        if isinstance(gone, WorkerGone) and self.number <= 1:
            command = f" Go on with:\n{self.resume_command}" if self.resume_command else ""
            sys.stderr.write(printable(f"error: {gone}{command}\n", "\n"))
        self.close(gone, status=2)
        self._end_process()

    def _follow_launcher(self) -> None:
        """Ends this process with the one that started it, however that one ends."""
        while os.getppid() == int(os.environ[LAUNCHER]):
            time.sleep(1.0)
        os._exit(1)

    def _end_process(self) -> None:
        if self._status is not None:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(self._status)


def _gather(member: Membership, hello: dict[str, Any], until: float) -> tuple[list[socket.socket], list[str]]:
    """Waits for all others; those that do not belong to this training are turned away."""
    try:
        # At all addresses where there are other machines: many know their own name as an address that no other reaches.
        listening = socket.create_server((member.host if member.one_machine else "", member.port))
    except OSError as error:
        raise WorkerGone(
            f"worker 0 cannot wait for the others at port {member.port} ({error}); name another port (MASTER_PORT), or "
            "end what uses it."
        ) from None
    found: dict[int, tuple[socket.socket, str]] = {}
    said = time.monotonic()
    with listening:
        while len(found) < member.count - 1:
            if time.monotonic() > until:
                missing = [str(number) for number in range(1, member.count) if number not in found]
                raise WorkerGone(
                    f"of {member.count} workers {', '.join(missing)} did not arrive at {member.host}:{member.port}; "
                    "look whether they were started, and whether that address can be reached from their machines."
                )
            if time.monotonic() - said > 10:
                said = time.monotonic()
                say(f"waiting for the other workers: {len(found) + 1} of {member.count} are here")
            listening.settimeout(1.0)
            with contextlib.suppress(TimeoutError):
                connection, _ = listening.accept()
                _welcome(connection, member, hello, found)
    connections = [found[number] for number in range(1, member.count)]
    for connection, _ in connections:
        connection.settimeout(30)
        send(connection, {"kind": "welcome"})
    return [each for each, _ in connections], [name for _, name in connections]


def _welcome(
    connection: socket.socket, member: Membership, hello: dict[str, Any], found: dict[int, tuple[socket.socket, str]]
) -> None:
    connection.settimeout(10)
    try:
        said, _ = receive(connection, MOST_BYTES_OF_STRANGERS)
        number, name = (
            int(said["number"]),
            f"worker {said['number']} of {member.count} (process {said['process']} on {said['host']})",
        )
        versions, key, count = dict(said["versions"]), said["key"], said["count"]
    except (OSError, ValueError, KeyError, TypeError):
        # None of ours.
        connection.close()
        return
    why = ""
    if key != member.key:
        why = "it was started with another CHEXKERAS_WORKERS_KEY, or is of another training"
    elif count != member.count or not 0 < number < member.count or number in found:
        why = f"it calls itself {number} of {count} workers, and worker 0 knows of {member.count}"
        why += " and has one of that number" if number in found else ""
    elif versions != hello["versions"]:
        apart = [f"{each} {versions.get(each)} there and {mine} here" for each, mine in hello["versions"].items()
                 if versions.get(each) != mine]  # fmt: skip
        why = f"its versions are others ({', '.join(apart)}); install the same on all machines"
    if not why:
        found[number] = connection, name
        return
    for each in (connection, *(other for other, _ in found.values())):
        with contextlib.suppress(OSError):
            send(each, {"kind": "end", "why": why})
        each.close()
    if key != member.key:
        # Anybody can call: who does not know the word ends nobody's training.
        return
    raise ValueError(f"{name} cannot train with this one: {why}.")


def _call(member: Membership, hello: dict[str, Any], until: float) -> socket.socket:
    """Connects with number 0, which may start later than this process."""
    while True:
        try:
            connection = socket.create_connection((member.host, member.port), timeout=10)
            break
        except OSError as error:
            if time.monotonic() > until:
                raise WorkerGone(
                    f"worker {member.number} of {member.count} cannot reach worker 0 at {member.host}:{member.port} "
                    f"({error}); look whether it was started, and whether that address can be reached from here."
                ) from None
            time.sleep(0.5)
    try:
        send(connection, hello)
        connection.settimeout(max(until - time.monotonic(), 10) + 30)
        said, _ = receive(connection, MOST_BYTES_OF_STRANGERS)
    except (OSError, ValueError, KeyError) as error:
        raise WorkerGone(f"worker 0 at {member.host}:{member.port} does not answer ({error}).") from None
    if said.get("kind") != "welcome":
        raise ValueError(f"worker {member.number} cannot train with worker 0: {said.get('why', 'it was turned away')}.")
    return connection


def _free_port(host: str) -> int:
    with socket.socket() as trial:
        trial.bind((host, 0))
        return int(trial.getsockname()[1])


@contextlib.contextmanager
def _without_output() -> Iterator[None]:
    """Keeps what compiled code writes to standard output in the block: Gloo tells there whom it is connected to."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
