"""How close scoring a folder comes to its slower half, decoding or the model: ratios of rates measured in one run.

    .venv/bin/python benchmarks/dicom.py --images FOLDER_WITH_1024_PX_PNG_FILES

Without --images, phantoms of 1024 px are drawn. Each image is wrapped as a DICOM object, uncompressed and as JPEG 2000.
Measured in turn, several times over: reading alone (one image after the other in one process, and in the worker
processes, their start included), scoring alone (images in memory), and the folder run, which does both. Reading and
scoring share the cores, so that the folder run can reach 1 / (1 / reading + 1 / scoring) and no more, which is printed
beside it. Then the engines that are installed score the same images, also in turn; and a folder of 1,000 images is
scored, while the memory of all processes is looked at.
Everything is done by an untrained model, with --run by the model of a run.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import io

import keras
import numpy as np
import psutil
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, JPEG2000Lossless

from chexkeras.data.pixels import to_model_pixels
from chexkeras.dicom.read import read_image
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.inference.engines import load_engine
from chexkeras.inference.predictor import Predictor
from chexkeras.inference.read_files import read_files
from chexkeras.models.classifier import build_classifier
from chexkeras.phantoms import make_phantoms
from chexkeras.results import Estimate, OperatingPoint
from chexkeras.runs.run import Run

# Uncompressed images are read so fast that fewer would measure the start of the workers.
SYNTAXES = {"uncompressed": 4, "JPEG 2000": 1}
MODELS = {"SmallCNN": 224, "DenseNet121": 224}
ENGINES = (("openvino", "float32"), ("openvino", "bf16"), ("onnx", "float32"))


def wrap(path: Path, grey: np.ndarray, *, compressed: bool) -> Path:
    """Writes an image as a digital radiograph of 12 bits, as detectors do."""
    values = grey.astype(np.uint16) << 4
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    data.Modality, data.PresentationIntentType = "DX", "FOR PRESENTATION"
    data.BodyPartExamined, data.ViewPosition, data.PatientAge = "CHEST", "PA", "050Y"
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.WindowCenter, data.WindowWidth = 2048, 4096
    if compressed:
        stream = io.BytesIO()
        Image.fromarray(values).save(stream, "JPEG2000", no_jp2=True)
        data.PixelData = encapsulate([stream.getvalue()])
        data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    else:
        data.PixelData = values.tobytes()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data["PixelData"].VR = "OB" if compressed else "OW"
    data.save_as(path, enforce_file_format=True)
    return path


def images_of(folder: Path | None, count: int, work: Path) -> list[np.ndarray]:
    """Returns grey radiographs of 1024 px, real ones or phantoms."""
    if folder is None:
        made = make_phantoms(work / "phantoms", images=min(count, 24), size=1024, processes=2)
        paths = sorted(made.rglob("*.png"))
    else:
        paths = sorted(folder.rglob("*.png"))
    radiographs = [np.asarray(Image.open(path).convert("L")) for path in paths[:count]]
    return [radiographs[number % len(radiographs)] for number in range(count)]


def rate(run: Callable[[], object], images: int) -> float:
    start = time.perf_counter()
    run()
    return images / (time.perf_counter() - start)


def predictor_of(backbone: str, size: int) -> Predictor:
    keras.utils.set_random_seed(0)
    model = build_classifier("Pneumonia", backbone=backbone, weights=None, image_size=size, precision="float32")
    unknown = Estimate.not_estimable("no data")
    point = OperatingPoint("Pneumonia", 0.5, "fixed", None, "stated", "", 0, 0, unknown, unknown)
    return Predictor(model, [point])


def measure(
    predictor: Predictor, paths: list[Path], read_options: ReadOptions, batch_size: int, repeats: int
) -> dict[str, float]:
    """Returns the medians of the rates, images per second; the parts are measured in turn, so that all share a load."""
    images = [read_image(path).pixels for path in paths]

    def score_all() -> None:
        for start in range(0, len(images), batch_size):
            predictor.score(images[start : start + batch_size], batch_size)

    parts: dict[str, Callable[[], object]] = {
        "read, one process": lambda: [read_image(path) for path in paths],
        "read, workers": lambda: sum(1 for _ in read_files(paths, "clinical", read_options)),
        "score": score_all,
        "folder": lambda: sum(1 for _ in predictor.records(paths, batch_size, read_options)),
    }
    score_all()
    rates: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, run in parts.items():
            rates[name].append(rate(run, len(paths)))
    return {name: statistics.median(values) for name, values in rates.items()}


def measure_engines(model: keras.Model, images: list[np.ndarray], batch_size: int, repeats: int) -> None:
    """Prints how many images a second each installed engine scores, as a multiple of Keras."""
    engines = {"keras": load_engine(model)}
    for name, precision in ENGINES:
        try:
            engines[f"{name} {precision}"] = load_engine(model, name, precision)
        except ValueError as error:
            print(f"  {name} {precision}: {error}")
    size = model.input_shape[1]
    pixels = np.stack([to_model_pixels(image[..., np.newaxis], size).numpy() for image in images]).astype(np.float32)
    batches = [pixels[start : start + batch_size] for start in range(0, len(pixels), batch_size)]
    rates: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(repeats + 1):
        for name, engine in engines.items():
            found = rate(lambda score=engine.score: [score(batch, batch_size) for batch in batches], len(pixels))
            # The first round compiles.
            rates[name] += [found] if number else []
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, engine in engines.items():
        times = medians[name] / medians["keras"]
        difference = "" if name == "keras" else f", largest difference of a score {engine.largest_difference:.1e}"
        print(f"  {name}: {medians[name]:.1f} images/s, {times:.2f} times Keras{difference}")


def memory_of_all() -> float:
    """Returns the memory that this process and its workers hold, in MiB."""
    own = psutil.Process()
    return sum(each.memory_info().rss for each in (own, *own.children(recursive=True))) / 2**20


def measure_folders(
    predictors: dict[str, Predictor], images: list[np.ndarray], work: Path, options: argparse.Namespace
) -> None:
    """Prints what share of its slower half a folder run reaches, by transfer syntax and model."""
    read_options = ReadOptions(workers=options.workers)
    for syntax, times in SYNTAXES.items():
        paths = times * [
            wrap(work / f"{syntax[:4]}{number:04d}.dcm", image, compressed=syntax == "JPEG 2000")
            for number, image in enumerate(images)
        ]
        for name, predictor in predictors.items():
            rates = measure(predictor, paths, read_options, options.batch_size, options.repeats)
            one, both = (min(rates[part], rates["score"]) for part in ("read, one process", "read, workers"))
            print(f"{syntax}, {name}: " + ", ".join(f"{part} {value:.1f}" for part, value in rates.items()))
            shares = f"{rates['folder'] / one:.2f}, reading in workers {rates['folder'] / both:.2f}"
            print(f"  folder run / slower half: reading in one process {shares}")
            shared = 1 / (1 / rates["read, workers"] + 1 / rates["score"])
            print(f"  both halves on the same cores: {shared:.1f}, of which {rates['folder'] / shared:.2f}", flush=True)


def measure_memory(predictor: Predictor, paths: list[Path], options: argparse.Namespace) -> None:
    """Prints the memory of all processes at every tenth of a long run."""
    many = [paths[number % len(paths)] for number in range(options.long)]
    held = []
    for number, _ in enumerate(predictor.records(many, options.batch_size, ReadOptions(workers=options.workers))):
        if number % (options.long // 10) == options.long // 10 - 1:
            held.append(memory_of_all())
    print(f"memory over {options.long} images, MiB: {', '.join(f'{value:.0f}' for value in held)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="folder of PNG files of 1024 px; phantoms by default")
    parser.add_argument("--run", type=Path, help="run whose model scores; untrained models by default")
    parser.add_argument("--count", type=int, default=96, help="images a measurement")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long", type=int, default=1000, help="images of the run whose memory is looked at")
    options = parser.parse_args()
    if options.run:
        predictors = {options.run.name: Predictor.load(Run.load(options.run))}
    else:
        predictors = {f"{backbone} {size} px": predictor_of(backbone, size) for backbone, size in MODELS.items()}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        images = images_of(options.images, options.count, work)
        print(
            f"{len(images)} images of {images[0].shape}, {options.workers} workers, medians of "
            f"{options.repeats}, images/s"
        )
        measure_folders(predictors, images, work, options)
        for name, predictor in predictors.items():
            print(f"engines, {name}, batches of {options.batch_size}:")
            measure_engines(predictor.model, images[: 4 * options.batch_size], options.batch_size, options.repeats)
        measure_memory(next(iter(predictors.values())), sorted(work.glob("unco*.dcm")), options)


if __name__ == "__main__":
    main()
