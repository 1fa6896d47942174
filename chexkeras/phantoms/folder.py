"""A folder of phantoms: made once for its parameters, whole or not at all, and never over anything else."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chexkeras import checks, files
from chexkeras.data.image_table import PHANTOM_FILE
from chexkeras.findings import NIH14, canonical

GENERATOR_VERSION = 1
"""Raised whenever the same parameters give other images."""

_POOL_FROM = 200


def checked_size(size: int) -> int:
    """Returns the pixels a side.

    Raises:
        ValueError: If it is not a whole number from 64 to 4096.
    """
    if not 64 <= checks.positive_int(size, "size") <= 4096:
        raise ValueError(f"size={size} px; phantoms need 64 to 4096, 256 is usual: smaller images show no nodules.")
    return size


def checked_prevalence(prevalence: Mapping[str, float] | None) -> dict[str, float]:
    """Returns the shares of images asked for, by finding, in the order of NIH14.

    Raises:
        ValueError: If a finding is unknown or named twice, or a share is not strictly between 0 and 1.
    """
    wanted: dict[str, float] = {}
    for name, share in (prevalence or {}).items():
        finding = canonical(name)
        if finding in wanted:
            raise ValueError(f"prevalence names {finding} twice; give it once.")
        wanted[finding] = checks.probability(share, f"prevalence[{name!r}]", open_interval=True)
    return {finding: wanted[finding] for finding in NIH14 if finding in wanted}


def checked_processes(processes: int | None, images: int) -> int:
    """Returns how many processes draw: those asked for, else all cores where there are many images.

    Raises:
        ValueError: If `processes` is not a whole number of at least 1.
    """
    if processes is None:
        return (os.cpu_count() or 1) if images >= _POOL_FROM else 1
    return checks.positive_int(processes, "processes")


def sampling(prevalence: Mapping[str, float]) -> str:
    """Returns one phrase on how the images were sampled."""
    enriched = ", ".join(f"{finding} {share:.0%}" for finding, share in prevalence.items())
    return f"case-control: enriched to {enriched}" if enriched else "prevalences of NIH ChestX-ray14"


def reusable(folder: Path, parameters: Mapping[str, Any]) -> bool:
    """Returns whether the folder already holds what is asked for.

    Args:
        folder: Where phantoms are wanted.
        parameters: What decides them, plain values.

    Raises:
        FileExistsError: If something else is there, or phantoms made with other parameters.
        NotADirectoryError: If `folder` is a file.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise NotADirectoryError(f"folder={str(folder)!r} is a file; name a folder that does not exist yet.")
    if not any(folder.iterdir()):
        return False
    marker = folder / PHANTOM_FILE
    if not marker.is_file():
        raise FileExistsError(
            f"folder={str(folder)!r} is not empty and holds no {PHANTOM_FILE}, so it was not made here and is left "
            "alone; name another folder."
        )
    found = files.read_json(marker)
    if found.get("generator_version") != GENERATOR_VERSION or found.get("parameters") != parameters:
        there = {"generator_version": found.get("generator_version"), **found.get("parameters", {})}
        asked = {"generator_version": GENERATOR_VERSION, **parameters}
        differences = ", ".join(
            f"{key}: there {there.get(key)!r}, asked {asked.get(key)!r}"
            for key in {**asked, **there}
            if there.get(key) != asked.get(key)
        )
        raise FileExistsError(
            f"folder={str(folder)!r} holds phantoms made with other parameters ({differences}); delete it, name "
            "another folder, or ask for the parameters it was made with."
        )
    return True


@contextlib.contextmanager
def appearing(destination: Path) -> Iterator[Path]:
    """Yields a folder that takes the destination's name when the block ends without an error.

    Written beside its destination and renamed at the end: nobody ever sees half a data set.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        if destination.exists():
            destination.rmdir()
        temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
