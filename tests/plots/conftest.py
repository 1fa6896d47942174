"""Small tables that figures are drawn from; figures are closed after each test."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from chexkeras.data.image_table import SYNTHETIC_CAUTION, TableSource
from chexkeras.findings import NIH14

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.fixture
def table() -> pd.DataFrame:
    """Ten images of five patients, from a source that is synthetic."""
    rows = []
    for number in range(10):
        row = {
            "image_id": f"{number:08d}_000.png", "path": "", "patient_id": str(number // 2), "follow_up": number % 2,
            "age_years": float(5 + 9 * number), "sex": "FM"[number % 2], "view": "PA" if number < 7 else "AP",
            "width_px": 64, "height_px": 64, "pixel_spacing_mm": 1.0,
        }  # fmt: skip
        rows.append({**row, **dict.fromkeys(NIH14, 0.0)})
    frame = pd.DataFrame(rows)
    frame.loc[:3, "Effusion"] = 1.0
    frame.loc[2:3, "Mass"] = 1.0
    frame.loc[9, "Effusion"] = np.nan
    frame.loc[0, "age_years"] = np.nan
    frame.attrs["source"] = TableSource("chexkeras phantoms", synthetic=True, cautions=(SYNTHETIC_CAUTION,))
    return frame


@pytest.fixture
def scores() -> pd.DataFrame:
    """Ten images, four positive; the two classes overlap."""
    return pd.DataFrame(
        {
            "image_id": [f"{number:08d}_000.png" for number in range(10)],
            "patient_id": [str(number) for number in range(10)],
            "finding": "Effusion",
            "label": [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            "score": [0.9, 0.8, 0.6, 0.3, 0.7, 0.5, 0.4, 0.2, 0.1, 0.05],
        }
    )
