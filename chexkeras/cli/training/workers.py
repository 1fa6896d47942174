"""``chexkeras train --workers``: who shares each batch, several devices of this process or several processes."""

import contextlib
import importlib.metadata
import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from chexkeras.cli.app import Ended, command_line, fail, starting_tensorflow
from chexkeras.cli.image_options import Load
from chexkeras.cli.training.inputs import load_images
from chexkeras.progress import say
from chexkeras.training.distributed import launch, membership
from chexkeras.training.distributed.connection import Dismissed, WorkerGone
from chexkeras.training.distributed.team import Team, check_batch

if TYPE_CHECKING:
    from chexkeras.recipes.recipe import Recipe

_SAME = ("chexkeras", "keras", "tensorflow", "jax", "jaxlib", "numpy", "pandas")
_ASK = "import jax; print(jax.default_backend(), jax.local_device_count())"


@contextlib.contextmanager
def shared_by(workers: str | None, folder: Path, going_on: str) -> Iterator[int | Team | None]:
    """Yields who shares each batch: a number of devices, the processes that this one is one of, or None.

    Where the workers are processes of this machine it starts them, waits, and ends the command as they did.

    Args:
        workers: A number, "slurm", "torchrun", or None.
        folder: The run's folder.
        going_on: The command by which the training is taken up again.
    """
    if workers is None:
        yield None
        return
    how = _checked(workers)
    if membership.LAUNCHER in os.environ:
        how = "torchrun"
    elif isinstance(how, int):
        if how == 1 or _devices_here(how):
            yield how if how > 1 else None
            return
        _launch(how, folder, going_on)
    team = Team.join(membership.membership(str(how)), _versions())
    team.resume_command = going_on
    with _told(team), team.watching():
        team.start_jax()
        if team.leads:
            yield team
        else:
            with _silence():
                yield team


def _checked(workers: str) -> int | str:
    if workers not in membership.HOW and not (workers.isdecimal() and int(workers)):
        raise ValueError(
            f"--workers {workers!r}: a number of at least 1 was expected, or slurm or torchrun where one of these "
            "starts this command once for each worker."
        )
    if importlib.util.find_spec("jax") is None:
        raise ValueError("--workers needs JAX, which is not installed: pip install 'chexkeras[jax]'.")
    backend = os.environ.get("KERAS_BACKEND")
    if backend is None:
        # What Keras' own settings say; seconds, but only here.
        import keras

        backend = keras.backend.backend()
    if backend != "jax":
        raise ValueError(
            f"--workers shares batches on Keras' JAX backend, and this is {backend}: put KERAS_BACKEND=jax before the "
            "command (or export it), or leave --workers out."
        )
    return int(workers) if workers.isdecimal() else workers


def _devices_here(wanted: int) -> bool:
    """Returns whether one process has so many devices; else as many processes are to be started, on CPUs alone.

    A process of its own is asked: whoever asks JAX takes hold of the GPUs.
    """
    done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(f"JAX does not start here ({last}); look whether it fits this machine's driver.")
    kind, count = done.stdout.split()[-2:]
    if int(count) >= wanted:
        return True
    if kind != "cpu":
        raise ValueError(
            f"--workers {wanted}, and JAX sees {count} {kind.upper()} device(s) on this machine: name no more, or set "
            "JAX_PLATFORMS=cpu in the environment to train in processes on the CPU."
        )
    return False


def _launch(count: int, folder: Path, going_on: str) -> None:
    """Trains in processes of this machine, and ends this one as they did."""
    say(f"starting {count} processes that share each batch")
    try:
        status = launch.launch(launch.command_of(shlex.split(command_line())), count)
    except WorkerGone as error:
        from chexkeras.training.resume.interrupted import InterruptedTraining

        kept = InterruptedTraining(folder).holds_epochs
        fail(error, "every epoch that was finished is kept" if kept else "", going_on if kept else "")
    raise typer.Exit(status)


def _versions() -> dict[str, str]:
    found = {}
    for name in _SAME:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name) or ""
    return found


@contextlib.contextmanager
def _told(team: Team) -> Iterator[None]:
    """Tells the other processes how the block ends."""
    try:
        yield
    except Dismissed as error:
        team.close(error)
        raise typer.Exit(1) from None
    except WorkerGone as error:
        team.close(error, 2)
        # One is enough to say that the first is lost.
        if team.number > 1:
            raise typer.Exit(2) from None
        raise
    except (ValueError, OSError) as error:
        team.close(error, 2)
        raise
    except KeyboardInterrupt as error:
        team.close(error, 128 + (error.number if isinstance(error, Ended) else 2))
        raise
    except BaseException as error:
        team.close(error)
        raise
    team.close()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Lets a process say nothing in the block: the first one speaks for all."""
    kept, nothing = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.flush()
        os.dup2(nothing, descriptor)
    try:
        yield
    finally:
        for stream, descriptor, old in ((sys.stdout, 1, kept[0]), (sys.stderr, 2, kept[1])):
            stream.flush()
            os.dup2(old, descriptor)
            os.close(old)
        os.close(nothing)


def announce(crew: int | Team | None, recipe: "Recipe", named: str, interrupted: object) -> None:
    """Checks that workers can share a training, and tells the other processes which images to load.

    Args:
        crew: From `shared_by`.
        recipe: The recipe.
        named: Name of the preset.
        interrupted: The interrupted training or series that is taken up; None for a new one.

    Raises:
        ValueError: If they cannot.
    """
    from chexkeras.training.resume.interrupted import InterruptedTraining

    if crew is None:
        return
    if interrupted is not None:
        series = not isinstance(interrupted, InterruptedTraining)
        if not isinstance(interrupted, InterruptedTraining) or (interrupted.plan or {}).get("features"):
            begun = "these trainings share" if series else "this training began with"
            raise ValueError(f"{begun} stored features, on which one process trains: resume without --workers.")
    check_batch(recipe.batch_size, crew.devices if isinstance(crew, Team) else crew)
    if isinstance(crew, Team):
        crew.tell({"recipe": recipe.to_dict(), "named": named})


def follow_first(
    team: Team, load: Load, data: Path, missing: str, store: Path | None, corrections: Path | None
) -> None:
    """Does what a process does that is not the first.

    Args:
        team: The processes.
        load: The loader that `with_image_options` gives.
        data: The data set's folder on this machine.
        missing: "error" or "skip".
        store: Folder of decoded images; None reads the files.
        corrections: File of labels corrected by hand; None for none.
    """
    from chexkeras.recipes.recipe import Recipe

    told, _ = team.hear()
    images = load_images(load, data, missing, store, told["named"], Recipe.from_dict(told["recipe"]), corrections)
    starting_tensorflow()
    from chexkeras.training.distributed.follow import follow

    follow(team, images.table, images.store)
