"""Who trains together: the number of this process among all, and where to find the first, as its environment tells it.

Three launchers are read: chexkeras itself (`launch`), Slurm (``srun``), and whatever sets the variables of PyTorch's
torchrun. JAX would find Slurm by itself; it is read here so that what is missing is told before anything starts, and
because the processes speak with one another before JAX does.
"""

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from chexkeras.checks import is_loopback

LAUNCHER = "CHEXKERAS_LAUNCHER"
"""Set by `launch` for the processes it starts: the number of its own process."""
KEY = "CHEXKERAS_WORKERS_KEY"
"""A word that processes show each other, where it is set: those that do not know it are turned away."""
HOW = ("slurm", "torchrun")
"""How processes that others started are told who they are."""

_SLURM = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_NODELIST")
_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# Slurm gives a job no port: one above those that are usually taken, different for neighbouring jobs.
_FIRST_PORT, _PORTS = 23_000, 4_096


@dataclass(frozen=True)
class Membership:
    """One of several processes that train together.

    Attributes:
        count: How many there are.
        number: The number of this one, from 0; number 0 leads.
        host: Name or address of the machine of number 0.
        port: Port at which number 0 is found there.
        local: Number of this one among those of its machine, which decides its GPU; None where all have all devices.
        key: Word that all of them know; "" for none.
    """

    count: int
    number: int
    host: str
    port: int
    local: int | None = None
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            ValueError: If they do not fit together.
        """
        if not 0 <= self.number < self.count:
            raise ValueError(f"worker {self.number} of {self.count}: numbers count from 0 to {self.count - 1}.")
        if not 0 < self.port < 65_535:
            raise ValueError(f"port {self.port} of the first worker: a number from 1 to 65534 was expected.")

    @property
    def one_machine(self) -> bool:
        """Whether the others can only be processes of this machine."""
        return is_loopback(self.host)


def membership(how: str, environment: Mapping[str, str] = os.environ) -> Membership:
    """Returns what the environment says of this process.

    Args:
        how: "slurm" or "torchrun".
        environment: Environment variables.

    Raises:
        ValueError: If variables are missing or no numbers.

    Example:
        >>> told = {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "gpu[07-08]", "SLURM_JOB_ID": "7"}
        >>> membership("slurm", told)
        Membership(count=4, number=3, host='gpu07', port=23007, local=None)
    """
    needed = _SLURM if how == "slurm" else _TORCHRUN
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        started = "srun" if how == "slurm" else "torchrun, or what sets its variables,"
        raise ValueError(
            f"--workers {how}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set in the environment; "
            f"start the command by {started} or give the number of workers of this machine, such as --workers 4."
        )
    key = environment.get(KEY, "")
    if how == "slurm":
        # Such as 8(x2): eight processes on each of two machines.
        local = _own_device(environment, "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE")
        job = _number(environment, "SLURM_JOB_ID") if environment.get("SLURM_JOB_ID") else 0
        return Membership(
            _number(environment, "SLURM_NTASKS"), _number(environment, "SLURM_PROCID"),
            first_host(environment["SLURM_JOB_NODELIST"]), _FIRST_PORT + job % _PORTS, local, key,
        )  # fmt: skip
    # torchrun itself listens at the port it names.
    port = _number(environment, "MASTER_PORT") + bool(environment.get("TORCHELASTIC_RUN_ID"))
    local = _own_device(environment, "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return Membership(
        _number(environment, "WORLD_SIZE"), _number(environment, "RANK"), environment["MASTER_ADDR"], port, local, key
    )


def of_launched(number: int, count: int, port: int) -> dict[str, str]:
    """Returns the environment variables by which a process of this machine is told who it is.

    Args:
        number: Its number, from 0.
        count: How many there are.
        port: A free port of this machine.
    """
    key = os.environ.get(KEY) or secrets.token_hex(16)
    told = {"RANK": number, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {**{name: str(value) for name, value in told.items()}, LAUNCHER: str(os.getpid()), KEY: key}


def first_host(nodes: str) -> str:
    """Returns the first machine of a list as Slurm writes it.

    Args:
        nodes: Such as "gpu[07-08,11],login".

    Example:
        >>> [first_host(nodes) for nodes in ("n1", "n1,n2", "gpu[07-08,11],n1", "rack2-gpu[1,3]-ib", "a[1-2]b[3-4]")]
        ['n1', 'n1', 'gpu07', 'rack2-gpu1-ib', 'a1b3']
    """
    # The first comma outside of brackets ends the first name; inside them the first number counts.
    first = re.split(r",(?![^\[]*\])", nodes)[0]
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first)


def _own_device(environment: Mapping[str, str], number: str, neighbours: str) -> int | None:
    """Returns which device of its machine a process takes; None if it takes all that it sees.

    Several processes of a machine take one each, unless their launcher shows each its own alone.
    """
    there = re.match(r"\d+", environment.get(neighbours, ""))
    shown = [each for each in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    if there is None or int(there[0]) < 2 or len(shown) == 1 or not environment.get(number):
        return None
    return _number(environment, number)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    if not text.isdecimal():
        raise ValueError(f"{name}={text!r} in the environment; a whole number of at least 0 was expected.")
    return int(text)
