"""Which films a notebook works on when nobody says: the reader's own, Kaggle's, or phantoms."""

import os
from pathlib import Path

from chexkeras.checks import existing_folder

VARIABLE = "CHEXKERAS_DATA"
KAGGLE_INPUT = Path("/kaggle/input/data")


def find_data(phantoms: str | Path = "data/phantoms", *, images: int = 400) -> Path:
    """Returns a folder of films in NIH's layout.

    The environment variable CHEXKERAS_DATA comes first, then Kaggle's copy of NIH ChestX-ray14 (the data set
    "nih-chest-xrays/data" appears as /kaggle/input/data), then phantoms, which are made if they are not there.

    Args:
        phantoms: Where phantoms are made.
        images: How many.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If CHEXKERAS_DATA names a folder that does not exist.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return existing_folder(named, VARIABLE)
    if KAGGLE_INPUT.is_dir():
        return KAGGLE_INPUT
    from chexkeras.data.phantom import make_phantoms

    return make_phantoms(phantoms, images=images)
