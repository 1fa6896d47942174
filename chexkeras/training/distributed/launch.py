"""Starts the processes of one machine that train together, and ends all when one has ended too early."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO

from chexkeras.training.distributed.connection import WorkerGone
from chexkeras.training.distributed.membership import of_launched

# Worker 0 learns of a loss at once, and says so when what it is doing has ended, or after ten seconds.
_SAYING_SECONDS, _ENDING_SECONDS, _LOOKING_SECONDS = 25.0, 15.0, 0.2
_LAST_WORDS = 2_000


def launch(command: Sequence[str], count: int) -> int:
    """Runs a command in several processes that train together, and waits for them.

    What the first of them prints is seen; the others are heard only where they end the training.

    Args:
        command: The command, to be run in each of them.
        count: How many.

    Returns:
        The exit status of the first.

    Raises:
        WorkerGone: If one was lost and the first could not say so itself.
        KeyboardInterrupt: If this process was interrupted; the first had time to keep its state.
    """
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    with contextlib.ExitStack() as opened:
        words = [opened.enter_context(tempfile.TemporaryFile()) for _ in range(count - 1)]
        workers: list[subprocess.Popen[bytes]] = []
        try:
            # Each by the same rules, so that none is told who it is before all can be.
            told = of_launched(0, count, port)
            for number in range(count):
                heard = {} if number == 0 else {"stdout": subprocess.DEVNULL, "stderr": words[number - 1]}
                environment = {**os.environ, **told, "RANK": str(number)}
                # Ctrl-C is for this process alone, which hands it on in order.
                workers.append(subprocess.Popen(command, env=environment, start_new_session=True, **heard))  # type: ignore[call-overload]
            return _watch(workers, words)
        except KeyboardInterrupt as interruption:
            number = getattr(interruption, "number", signal.SIGINT)
            workers[0].send_signal(number)
            _wait(workers[0], _ENDING_SECONDS)
            raise
        finally:
            _end(workers)


def _watch(workers: "Sequence[subprocess.Popen[bytes]]", words: Sequence[IO[bytes]]) -> int:
    while True:
        codes = [worker.poll() for worker in workers]
        if codes[0] is not None:
            if codes[0] < 0:
                raise WorkerGone(_lost(0, len(workers), codes[0]))
            if codes[0] == 0:
                for worker in workers[1:]:
                    _wait(worker, _ENDING_SECONDS)
            return codes[0]
        ended = next((number for number, code in enumerate(codes) if number and code is not None), None)
        if ended is not None:
            _wait(workers[0], _SAYING_SECONDS)
            code = workers[0].poll()
            if code is not None and code >= 0:
                return code
            raise WorkerGone(_lost(ended, len(workers), codes[ended] or 0, words[ended - 1]))
        time.sleep(_LOOKING_SECONDS)


def _lost(number: int, count: int, code: int, words: IO[bytes] | None = None) -> str:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    last = ""
    if words is not None:
        words.seek(0)
        last = words.read()[-_LAST_WORDS:].decode(errors="replace").strip()
    said = f" What it said last:\n{last}\n" if last else ""
    return f"worker {number} of {count} has ended ({how}), and with it the training.{said}"


def _wait(worker: "subprocess.Popen[bytes]", seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.wait(seconds)


def _end(workers: "Sequence[subprocess.Popen[bytes]]") -> None:
    left = [worker for worker in workers if worker.poll() is None]
    for worker in left:
        worker.kill()
    for worker in left:
        worker.wait()


def command_of(words: Sequence[str]) -> list[str]:
    """Returns how a command of chexkeras is started in a process of its own.

    Args:
        words: The command as a shell takes it, "chexkeras" first.
    """
    return [sys.executable, "-m", "chexkeras", *words[1:]]
