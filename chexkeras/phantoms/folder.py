"""A folder of phantoms: made once for its parameters, whole or not at all, and never over anything else."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chexkeras import checks, files
from chexkeras.data.datasets import nih_statistics
from chexkeras.data.image_table import PHANTOM_FILE, SYNTHETIC_CAUTION
from chexkeras.findings import NIH14, canonical
from chexkeras.phantoms.cohort import PhantomImage, make_cohort
from chexkeras.phantoms.hospitals import HOSPITALS, USUAL, Hospital

GENERATOR_VERSION = 2
"""Raised whenever the same parameters give other images."""

_SEVERAL_PROCESSES_FROM = 200


Fill = Callable[[Path, tuple[PhantomImage, ...], int | None], tuple[str, dict[str, Any]]]
"""Writes a data set into a folder, given that folder, the cohort and how many processes to draw with; returns the name
of the data set and counts of what is in it, for the file that marks it as synthetic."""


def make_folder(
    destination: Path,
    fill: Fill,
    *,
    images: int,
    size: int,
    seed: int,
    prevalence: Mapping[str, float] | None,
    processes: int | None,
    layout: Mapping[str, str] | None = None,
    hospital: Hospital = HOSPITALS[USUAL],
    **options: bool,
) -> Path:
    """Makes a folder of phantoms unless it holds them already.

    Args:
        destination: The folder.
        fill: Writes the data set.
        images: Number of images, at least 1.
        size: Pixels a side, 64 to 4096.
        seed: The cohort's seed, at least 0.
        prevalence: Share of images, strictly between 0 and 1, by finding to enrich; None enriches none.
        processes: Worker processes; None takes all cores from 200 images on, else one.
        layout: What the recorded parameters begin with where the layout is not NIH's.
        hospital: Where the phantoms come from.
        **options: The layout's own options, recorded with the parameters.

    Returns:
        The folder.

    Raises:
        ValueError: If an argument is out of range or a finding is unknown.
        FileExistsError: If the folder holds something else, or phantoms made with other parameters.
        NotADirectoryError: If it is a file.
    """
    enriched = _checked_prevalence(prevalence)
    if not 64 <= checks.positive_int(size, "size") <= 4096:
        raise ValueError(f"size={size} px; phantoms need 64 to 4096, 256 is usual: smaller images show no nodules.")
    parameters = {
        **(layout or {}),
        "images": checks.positive_int(images, "images"),
        "size": size,
        "seed": checks.positive_int(seed, "seed", least=0),
        **{name: bool(value) for name, value in options.items()},
        "prevalence": enriched,
        # Folders that were made before there were hospitals are those of the usual one.
        **({} if hospital.name == USUAL else {"site": hospital.name}),
    }
    if processes is not None:
        checks.positive_int(processes, "processes")
    elif images < _SEVERAL_PROCESSES_FROM:
        processes = 1
    if _reusable(destination, parameters):
        return destination
    with _appearing(destination) as temporary:
        shares_there = hospital.shares(enriched, nih_statistics.PREVALENCE)
        cohort = hospital.labelled(make_cohort(images, hospital.seed_of(seed), shares_there), seed)
        dataset, counts = fill(temporary, cohort, processes)
        shares = ", ".join(f"{finding} {share:.0%}" for finding, share in enriched.items())
        marker = {
            "dataset": dataset,
            "caution": SYNTHETIC_CAUTION,
            "sampling": f"case-control: enriched to {shares}" if shares else "prevalences of NIH ChestX-ray14",
            "generator_version": GENERATOR_VERSION,
            "parameters": parameters,
            "counts": counts,
            **({} if hospital.name == USUAL else {"site": hospital.words}),
        }
        files.write_json(temporary / PHANTOM_FILE, marker)
    return destination


def _checked_prevalence(prevalence: Mapping[str, float] | None) -> dict[str, float]:
    """Returns the shares of images asked for, by finding, in the order of NIH14."""
    wanted: dict[str, float] = {}
    for name, share in (prevalence or {}).items():
        finding = canonical(name)
        if finding in wanted:
            raise ValueError(f"prevalence names {finding} twice; give it once.")
        wanted[finding] = checks.probability(share, f"prevalence[{name!r}]", open_interval=True)
    return {finding: wanted[finding] for finding in NIH14 if finding in wanted}


def _reusable(folder: Path, parameters: Mapping[str, Any]) -> bool:
    """Returns whether the folder already holds phantoms made with these parameters; refuses anything else in it."""
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
def _appearing(destination: Path) -> Iterator[Path]:
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
