"""How time and memory grow with the number of rows of a table, and with the number of files in a folder.

    .venv/bin/python benchmarks/scale/growth.py --rows 100000,1000000,10000000
    .venv/bin/python benchmarks/scale/growth.py --files 10000,100000,1000000

The table is drawn in the form of NIH ChestX-ray14's label file, 3.6 images a patient; the files are links to a few
small PNG images, 1,000 in each folder, since what is measured is finding them. Every step of every size runs in a
process of its own: its seconds, and the most memory that the process ever held. No image is decoded.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from chexkeras.findings import NIH14

IMAGES_OF_A_PATIENT = 3.6
A_FOLDER = 1_000
# A file may have so many names on common file systems, with room to spare.
LINKS = 30_000
STEPS = ("load", "audit the labels", "split by patient", "keep the split", "read the split again")


def main() -> None:
    """Draws, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=sizes, default=[], help="numbers of rows of a label file, with commas between")
    parser.add_argument("--files", type=sizes, default=[], help="numbers of images in a folder, with commas between")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        measure(given.step, given.folder)
        return
    print("| what | size | step | seconds | million a second | most memory, GB |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as name:
            draw(Path(name), rows)
            for step in STEPS:
                tell("rows of a table", rows, step, Path(name))
    for files in given.files:
        with tempfile.TemporaryDirectory() as name:
            draw(Path(name), files)
            link(Path(name), files)
            tell("files in folders", files, "find and load", Path(name))


def sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",")]


def tell(what: str, size: int, step: str, folder: Path) -> None:
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    seconds, memory = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    rate = size / seconds / 1e6
    print(f"| {what} | {size:,} | {step} | {seconds:.1f} | {rate:.2f} | {memory:.2f} |", flush=True)


def draw(folder: Path, rows: int) -> None:
    """Writes a label file of so many rows: some findings of each image, ages and views as they occur."""
    rng = np.random.default_rng(0)
    patients = np.sort(rng.integers(0, max(int(rows / IMAGES_OF_A_PATIENT), 1), rows))
    first = np.searchsorted(patients, patients)
    number = np.arange(rows) - first
    combinations = ["No Finding", *NIH14, *("|".join(pair) for pair in itertools.pairwise(NIH14))]
    combinations = [text.replace("Pleural Thickening", "Pleural_Thickening") for text in combinations]
    labels = rng.choice(len(combinations), rows, p=[0.54, *[0.46 / (len(combinations) - 1)] * (len(combinations) - 1)])
    ages, sexes = rng.integers(1, 95, patients[-1] + 1), rng.choice(["M", "F"], patients[-1] + 1)
    views = rng.choice(["PA", "AP"], rows)
    with open(folder / "Data_Entry_2017.csv", "w", encoding="utf-8") as file:
        file.write(
            "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
            "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
        )
        for patient, follow_up, label, view in zip(patients, number, labels, views, strict=True):
            file.write(
                f"{patient:08d}_{follow_up:03d}.png,{combinations[label]},{follow_up},{patient},{ages[patient]},"
                f"{sexes[patient]},{view},2500,2048,0.171,0.171\n"
            )


def link(folder: Path, files: int) -> None:
    names = pd.read_csv(folder / "Data_Entry_2017.csv", usecols=["Image Index"])["Image Index"]
    image = Path()
    for number, name in enumerate(names):
        below = folder / "images" / f"{number // A_FOLDER:05d}"
        if number % A_FOLDER == 0:
            below.mkdir(parents=True)
        if number % LINKS == 0:
            image = below / name
            Image.new("L", (64, 64), number // LINKS % 256).save(image)
        else:
            os.link(image, below / name)


def measure(step: str, folder: Path) -> None:
    """Does one step, and prints its seconds and the most memory of this process, as JSON."""
    from chexkeras.data.audit.audit import audit
    from chexkeras.data.datasets.nih import load_nih
    from chexkeras.data.splits.splits import Splits
    from chexkeras.data.splits.splitters import split_by_patient

    kept = folder / "splits.csv"
    start = time.perf_counter()
    if step == "load":
        load_nih(folder, missing="keep")
    elif step == "find and load":
        load_nih(folder)
    else:
        table = load_nih(folder, missing="keep")
        splits = split_by_patient(table, "Pneumonia", seed=0) if step == "keep the split" else None
        start = time.perf_counter()
        if step == "audit the labels":
            audit(table, targets="Pneumonia", decode=False)
        elif step == "split by patient":
            split_by_patient(table, "Pneumonia", seed=0)
        elif splits is not None:
            splits.save(kept)
        else:
            Splits.load(kept, table)
    seconds = time.perf_counter() - start
    # Kilobytes on Linux, bytes on macOS.
    unit = 1024 if sys.platform != "darwin" else 1
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9]))


if __name__ == "__main__":
    main()
