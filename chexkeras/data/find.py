"""Which films a notebook works on when nobody says: the reader's own, Kaggle's, or phantoms."""

import os
from collections.abc import Mapping
from pathlib import Path

from chexkeras.checks import existing_folder

VARIABLE = "CHEXKERAS_DATA"
KAGGLE_INPUT = Path("/kaggle/input/data")


def find_data(
    phantoms: str | Path = "data/phantoms", *, images: int = 400, prevalence: Mapping[str, float] | None = None
) -> Path:
    """Returns a folder of films in NIH's layout.

    The environment variable CHEXKERAS_DATA comes first, then Kaggle's copy of NIH ChestX-ray14 (the data set
    "nih-chest-xrays/data" appears as /kaggle/input/data), then phantoms, which are made if they are not there.
    Nothing is ever written into the first two, and nothing is downloaded.

    Args:
        phantoms: Where phantoms are made.
        images: How many.
        prevalence: Findings of the phantoms to enrich, as for `make_phantoms`; real films are as they are.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If CHEXKERAS_DATA names a folder that does not exist.
        FileExistsError: If the folder for the phantoms holds something else.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return existing_folder(named, VARIABLE)
    if KAGGLE_INPUT.is_dir():
        return KAGGLE_INPUT
    from chexkeras.phantoms import make_phantoms

    return make_phantoms(phantoms, images=images, prevalence=prevalence)
