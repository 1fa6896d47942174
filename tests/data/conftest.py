"""Tiny folders in the layouts that NIH and Kaggle publish, and the real data where the machine has it."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.datasets.nih import load_nih

HEADER_NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
HEADER_SAMPLE = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y"
)


def radiograph(path: Path, seed: int = 0, *, size: tuple[int, int] = (16, 16), mode: str = "L") -> Path:
    """Writes a small image with random pixels; the same seed gives the same pixels in every mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    gray = np.random.default_rng(seed).integers(0, 256, size=size[::-1], dtype=np.uint8)
    Image.fromarray(gray).convert(mode).save(path)
    return path


@dataclass
class NihFolder:
    """Rows of a label file, and the folder they are written to."""

    root: Path
    rows: list[str] = field(default_factory=list)

    def add(self, image: str, labels: str = "No Finding", *, age: str = "58", sex: str = "M", view: str = "PA") -> None:
        """Adds a row; patient and follow-up number come from the image's name."""
        patient, follow_up = int(image[:8]), int(image[9:12])
        self.rows.append(f"{image},{labels},{follow_up},{patient},{age},{sex},{view},2500,2048,0.168,0.168")

    @property
    def images(self) -> list[str]:
        return [row.split(",")[0] for row in self.rows]

    def write(self, name: str = "Data_Entry_2017_v2020.csv", header: str = HEADER_NIH, end: str = "") -> Path:
        """Writes the label file; `end` follows every line, as "," does in NIH's older file."""
        path = self.root / name
        path.write_text("".join(f"{line}{end}\n" for line in (header, *self.rows)), encoding="utf-8")
        return path

    def write_images(self, folder: str = "images", images: list[str] | None = None) -> None:
        for image in self.images if images is None else images:
            radiograph(self.root / folder / image, seed=int(image[:8]) * 1000 + int(image[9:12]))

    def write_lists(self, train_val: list[str], test: list[str]) -> None:
        (self.root / "train_val_list.txt").write_text("\n".join(train_val))
        (self.root / "test_list.txt").write_text("\n".join(test) + "\n")


@pytest.fixture
def nih(tmp_path: Path) -> NihFolder:
    """Four images of three patients; label file and images in `images` written."""
    folder = NihFolder(tmp_path / "nih")
    folder.root.mkdir()
    folder.add("00000001_000.png", "Cardiomegaly")
    folder.add("00000001_001.png", "Cardiomegaly|Emphysema", age="59")
    folder.add("00000002_000.png", "No Finding", age="80", sex="F", view="AP")
    folder.add("00000003_000.png", "Pleural_Thickening|Pneumonia", sex="F")
    folder.write()
    folder.write_images()
    return folder


@pytest.fixture(scope="session")
def real_nih() -> Path:
    """The folder with the real NIH files; skips where there is none."""
    given = os.environ.get("CHEXKERAS_TEST_DATA")
    if not given:
        pytest.skip("CHEXKERAS_TEST_DATA is not set: no real NIH files on this machine")
    folder = Path(given) / "nih"
    if not (folder / "Data_Entry_2017_v2020.csv").is_file():
        pytest.skip(f"no Data_Entry_2017_v2020.csv in {folder}")
    return folder


@pytest.fixture
def make_image():
    """The function that writes a small image: path, seed, size, mode."""
    return radiograph


@pytest.fixture
def make_images(make_image):
    """A function that writes small images of different pixels: folder, how many; returns their image_id and path."""

    def make(folder, count):
        names = [f"image{number:02d}" for number in range(count)]
        paths = [str(make_image(folder / f"{name}.png", seed)) for seed, name in enumerate(names)]
        return pd.DataFrame({"image_id": names, "path": paths})

    return make


@pytest.fixture(scope="session")
def full_nih(real_nih: Path) -> pd.DataFrame:
    """All 112,120 rows of NIH's label file, with or without an image; not to be changed."""
    return load_nih(real_nih, missing="keep")
