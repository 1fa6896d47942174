"""What Ray costs against processes of this machine: the same films by both, in turn, in one run.

    .venv/bin/python benchmarks/scale/on_ray.py --films 1000

DICOM films of 512 px, half of them uncompressed and half JPEG 2000, are opened as an audit does, each by a process with
limits: by two processes here, and by two workers of a Ray cluster of two nodes on this machine that is there already.
Each ratio is of times by the clock, one call of each after the other. Few films tell what connecting and the start of
workers take; the difference between many and few is what each film costs, start left out. The facts of all images are
compared. With --run a folder is scored instead, start of TensorFlow in each worker included.
"""

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, JPEG2000Lossless

from chexkeras.data.audit.image_checks import open_images
from chexkeras.parallel import HERE, Workplace
from chexkeras.phantoms import make_phantoms
from tests.parallel.ray_cluster import ENVIRONMENT, TwoNodes


def wrapped(path: Path, grey: np.ndarray, number: int) -> Path:
    """Writes a film as a digital radiograph of 12 bits; every second one is compressed."""
    values = grey.astype(np.uint16) << 4
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"2.25.{number + 1}"
    data.Modality, data.PresentationIntentType = "DX", "FOR PRESENTATION"
    data.BodyPartExamined, data.ViewPosition, data.PatientAge = "CHEST", "PA", "050Y"
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.WindowCenter, data.WindowWidth = 2048, 4096
    if number % 2:
        stream = io.BytesIO()
        Image.fromarray(values).save(stream, "JPEG2000", no_jp2=True)
        data.PixelData, data.file_meta.TransferSyntaxUID = encapsulate([stream.getvalue()]), JPEG2000Lossless
    else:
        data.PixelData, data.file_meta.TransferSyntaxUID = values.tobytes(), ExplicitVRLittleEndian
    data["PixelData"].VR = "OB" if number % 2 else "OW"
    data.save_as(path, enforce_file_format=True)
    return path


def films_in(folder: Path, count: int) -> list[Path]:
    """Returns films, drawn anew where the folder has too few."""
    made = sorted(folder.glob("*.dcm"))
    if len(made) < count:
        drawn = make_phantoms(folder / "drawn", images=min(count, 100), size=512, processes=2, dicom=False)
        greys = [np.asarray(Image.open(path).convert("L")) for path in sorted((drawn / "images").glob("*.png"))]
        for number in range(count):
            # No two alike: a few columns are moved to the other side.
            grey = np.roll(greys[number % len(greys)], number // len(greys), axis=1)
            wrapped(folder / f"{number:05}.dcm", grey, number)
        made = sorted(folder.glob("*.dcm"))
    return made[:count]


def opened(paths: list[Path], place: Workplace) -> object:
    facts, thumbnails = open_images([str(path) for path in paths], None if place == HERE else 2, place)
    return facts, thumbnails.tobytes()


def scored(paths: list[Path], place: Workplace, run: Path) -> object:
    from chexkeras.inference.score_folder import score_folder

    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            os.link(path, Path(folder, path.name))
        return score_folder(run, folder, keep=False, executor=place).drop(columns=["seconds", "fingerprint"]).to_csv()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="films of an earlier call, or where to draw them")
    parser.add_argument("--run", type=Path)
    given = parser.parse_args()
    os.environ.update(ENVIRONMENT, CHEXKERAS_HASH_KEY="benchmark")
    folder = given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    paths = films_in(folder, given.films)
    nodes = TwoNodes()
    ray = Workplace("ray", nodes.address)
    ratios, starts = [], []
    try:
        for _ in range(given.repeats):
            took = {}
            for count in (len(paths) // 10, len(paths)):
                results = {}
                for name, place in (("here", HERE), ("ray", ray)):
                    start = time.perf_counter()
                    chosen = paths[:count]
                    results[name] = opened(chosen, place) if given.run is None else scored(chosen, place, given.run)
                    took[name, count] = time.perf_counter() - start
                assert results["here"] == results["ray"], "the results differ"
                print(f"{count} films: {took['here', count]:.1f} s here, {took['ray', count]:.1f} s by Ray", flush=True)
            few, many = len(paths) // 10, len(paths)
            each = {name: (took[name, many] - took[name, few]) / (many - few) for name in ("here", "ray")}
            ratios.append((took["ray", many] / took["here", many], each["ray"] / each["here"]))
            starts.append(took["ray", few] - took["here", few])
    finally:
        nodes.close()
    whole, alone = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"{len(paths)} films, start included: {whole:.2f} times as long; start left out: {alone:.2f} times")
    print(f"Ray's start: {statistics.median(starts):.1f} s more than that of processes here")


if __name__ == "__main__":
    main()
