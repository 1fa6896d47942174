"""How well odd inputs are told from test images: the share caught at the frozen threshold, and AUROC, with intervals.

    .venv/bin/python benchmarks/novelty.py path/to/images path/to/splits.csv

The images are PNG files by image_id; the split names image_id, patient_id and part, as a run's splits.csv. Odd inputs
are made of the test images (inverted, turned, half empty, bytes swapped), drawn (noise, shapes, limbs, pages of text),
and cut from the sample photographs of scikit-learn and matplotlib. --dicom names further files of other body parts,
--table an image table for the ages, and --features measures the distance of an untrained DenseNet121's pooled features,
too (minutes).
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from chexkeras.data.image_layout import layouts_of
from chexkeras.evaluation.novelty import conformal_rank, fit_novelty, freeze
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval, proportion_interval
from chexkeras.results.novelty import distance_from

SIDE, DRAWN = 224, 60
Films = np.ndarray[Any, np.dtype[np.uint8]]


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder of the PNG files")
    parser.add_argument("splits", type=Path, help="CSV with image_id, patient_id and part")
    parser.add_argument(
        "--table", type=Path, help="CSV with image_id and age_years: children are told from adults, too"
    )
    parser.add_argument("--dicom", type=Path, nargs="*", default=[], help="DICOM files of other body parts")
    parser.add_argument("--seed", type=int, default=0, help="of what is fitted and drawn")
    parser.add_argument("--features", action="store_true", help="also measure features of an untrained DenseNet121")
    given = parser.parse_args()
    splits = pd.read_csv(given.splits, dtype=str)
    films = read(given.images, splits["image_id"])
    parts = {name: films[(splits["part"] == name).to_numpy()] for name in ("train", "validation", "test")}
    patients = splits.loc[splits["part"] == "test", "patient_id"].to_numpy()
    odd = of_test_images(parts["test"], given.seed) | drawn(given.seed)
    pages = [Image.fromarray(display(path)) for path in given.dicom]
    if pages:
        odd["other body parts (DICOM)"] = np.stack([sized(page) for page in pages])
    layouts = {name: layouts_of(part) for name, part in parts.items()}
    measure = freeze(fit_novelty(layouts["train"], SIDE, seed=given.seed), layouts["validation"], test=layouts["test"],
                     patients=patients.tolist())  # fmt: skip
    print(measure)
    show(measure.of(layouts["test"]), patients, {name: measure.of(layouts_of(some)) for name, some in odd.items()},
         measure.threshold)  # fmt: skip
    if given.table is not None:
        children(splits, layouts, given.table, given.seed)
    if given.features:
        of_features(parts, patients, odd)


def read(folder: Path, names: pd.Series) -> Films:
    """Returns images at the model's size, in shades of gray."""
    return np.stack([sized(Image.open(folder / name)) for name in names])


def sized(image: Image.Image) -> Films:
    """Returns an image at the model's size."""
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def display(path: Path) -> Films:
    """Returns the pixels of a DICOM file over the range that they take, whatever it shows."""
    import pydicom

    values = pydicom.dcmread(path).pixel_array.astype(float)
    return np.uint8(255 * (values - values.min()) / max(np.ptp(values), 1))


def of_test_images(test: Films, seed: int) -> dict[str, Films]:
    """Returns the test images mishandled, by what was done to them."""
    words = test.astype(np.uint16) * 16 + np.random.default_rng(seed).integers(0, 16, test.shape, dtype=np.uint16)
    half, side = test.copy(), test.copy()
    half[:, SIDE // 2 :], side[:, :, SIDE // 2 :] = 0, 0
    return {
        "gray values inverted": 255 - test,
        "turned by 90 degrees": np.rot90(test, 1, (1, 2)),
        "turned by 270 degrees": np.rot90(test, 3, (1, 2)),
        "turned by 180 degrees": np.rot90(test, 2, (1, 2)),
        "upside down": test[:, ::-1],
        "bytes swapped": np.uint8(words.byteswap() // 257),
        "lower half empty": half,
        "right half empty": side,
        "mirrored (is to pass)": test[:, :, ::-1],
    }


def drawn(seed: int) -> dict[str, Films]:
    """Returns inputs that are no chest images, by what they show."""
    rng = np.random.default_rng(seed)
    noise = [rng.integers(0, 256, (SIDE, SIDE)) if at % 2 else rng.normal(128, 10 + at, (SIDE, SIDE)).clip(0, 255)
             for at in range(DRAWN)]  # fmt: skip
    return {
        "noise alone": np.uint8(noise),
        "photographs": np.stack(photographs(rng)),
        "pages of text": np.stack([page(rng, dark=at % 3 == 0) for at in range(DRAWN)]),
        "shapes": np.stack([shapes(rng) for _ in range(DRAWN)]),
        "knees, drawn": np.stack([limb(rng, "knee") for _ in range(DRAWN)]),
        "hands, drawn": np.stack([limb(rng, "hand") for _ in range(DRAWN)]),
    }


def photographs(rng: np.random.Generator) -> list[Films]:
    """Returns squares cut at random from sample photographs."""
    import matplotlib
    from sklearn.datasets import load_sample_images

    samples = Path(matplotlib.get_data_path()) / "sample_data"
    whole = [Image.fromarray(image).convert("L") for image in load_sample_images().images]
    whole += [Image.open(samples / name).convert("L") for name in ("grace_hopper.jpg", "Minduka_Present_Blue_Pack.png")]
    cut = []
    for at in range(DRAWN):
        image = whole[at % len(whole)]
        side = int(min(image.size) * rng.uniform(0.5, 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
        cut.append(sized(image.crop((left, top, left + side, top + side))))
    return cut


def page(rng: np.random.Generator, *, dark: bool) -> Films:
    """Returns a page of words, black on white or the other way round."""
    image = Image.new("L", (600, 600), 0 if dark else 255)
    size, pen = int(rng.integers(10, 30)), ImageDraw.Draw(image)
    words = [
        "report",
        "of",
        "a",
        "model",
        "threshold",
        "number",
        "table",
        "figure",
        "and",
        "the",
        "patient",
        "radiograph",
    ]
    for top in range(20, 580, int(size * 1.4)):
        line = " ".join(rng.choice(words, 14))
        pen.text((20, top), line, fill=255 if dark else 0, font=ImageFont.load_default(size))
    return sized(image)


def shapes(rng: np.random.Generator) -> Films:
    """Returns ellipses and rectangles, more or less blurred."""
    image = Image.new("L", (SIDE, SIDE), int(rng.integers(0, 256)))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 8)):
        (left, right), (top, bottom) = sorted(rng.integers(0, SIDE, 2)), sorted(rng.integers(0, SIDE, 2))
        draw = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        draw((int(left), int(top), int(right) + 1, int(bottom) + 1), fill=int(rng.integers(0, 256)))
    return np.uint8(ndimage.gaussian_filter(np.asarray(image, float), rng.uniform(0, 8)))


def limb(rng: np.random.Generator, kind: str) -> Films:
    """Returns a drawing of bones in soft tissue: a knee, or a hand."""
    image = Image.new("L", (SIDE, SIDE), 8)
    pen = ImageDraw.Draw(image)
    if kind == "knee":
        width, middle = int(rng.integers(60, 110)), 112 + int(rng.integers(-15, 15))
        for share, top, bottom, gray in ((2, 0, SIDE, 90), (4, 0, 100, 190), (4, 115, SIDE, 180)):
            pen.rectangle((middle - width // share, top, middle + width // share, bottom), fill=gray)
        for top, bottom, gray in ((70, 112, 205), (110, 140, 200)):
            pen.ellipse((middle - width / 2.6, top, middle + width / 2.6, bottom), fill=gray)
    else:
        pen.ellipse((60, 110, 165, 210), fill=110)
        pen.rectangle((80, 180, 145, SIDE), fill=120)
        for at, top in enumerate((80, 30, 15, 25, 60)):
            left = 55 + at * 26
            pen.rounded_rectangle((left, top, left + 20, 150), 8, fill=105)
            pen.rounded_rectangle((left + 6, top + 5, left + 14, 150), 4, fill=200)
    turned = ndimage.rotate(np.asarray(image, float), rng.uniform(-10, 10), reshape=False, order=1)
    return np.uint8((ndimage.gaussian_filter(turned, 2) + rng.normal(0, 4, turned.shape)).clip(0, 255))


def show(
    test: "np.ndarray[Any, Any]", patients: "np.ndarray[Any, Any]", odd: "dict[str, np.ndarray[Any, Any]]", limit: float
) -> None:
    """Prints what was caught, one row for each kind of input."""
    print("| input | n | caught | AUROC against the test images |\n| --- | ---: | --- | --- |")
    print(f"| test images | {len(test)} | {clustered_proportion_interval(test > limit, patients)} | |")
    for name, values in odd.items():
        labels = np.r_[np.zeros(len(test)), np.ones(len(values))]
        # What is made of test images is as many images of the same patients.
        of_patients = len(values) == len(test)
        alone = np.array([f"drawn {at}" for at in range(len(values))])
        clusters = np.r_[patients, patients if of_patients else alone]
        caught = (clustered_proportion_interval(values > limit, patients) if of_patients
                  else proportion_interval(int((values > limit).sum()), len(values)))  # fmt: skip
        area = auc_interval(labels, np.r_[test, values], clusters=clusters)
        print(f"| {name} | {len(values)} | {caught} | {area} |")


def children(splits: pd.DataFrame, layouts: dict[str, Any], table: Path, seed: int) -> None:
    """Prints the share of children caught by what was learnt from adults alone."""
    ages = pd.read_csv(table, dtype={"image_id": str}).set_index("image_id")["age_years"]
    adult = {part: (ages.loc[splits.loc[splits["part"] == part, "image_id"]] >= 18).to_numpy() for part in layouts}
    grown = freeze(fit_novelty(layouts["train"][adult["train"]], SIDE, seed=seed),
                   layouts["validation"][adult["validation"]])  # fmt: skip
    test = grown.of(layouts["test"])
    for name, chosen in (("adults", adult["test"]), ("children", ~adult["test"])):
        caught = proportion_interval(int((test[chosen] > grown.threshold).sum()), int(chosen.sum()))
        print(f"learnt from adults alone: of {int(chosen.sum())} test images of {name} caught {caught}")
    print(f"AUROC of children against adults {auc_interval(~adult['test'], test)}")


def of_features(parts: dict[str, Films], patients: "np.ndarray[Any, Any]", odd: dict[str, Films]) -> None:
    """Prints the same table for the distance of pooled features of an untrained network."""
    import keras

    from chexkeras.models.classifier import build_classifier
    from chexkeras.models.stages import adapt_batchnorm

    keras.utils.set_random_seed(0)
    model = build_classifier("Pneumonia", weights=None, image_size=SIDE)
    some = parts["train"][np.random.default_rng(0).permutation(len(parts["train"]))[:256]]
    adapt_batchnorm(model, (some[at : at + 32, ..., np.newaxis].astype(np.float32) for at in range(0, len(some), 32)))
    pooled = keras.layers.GlobalAveragePooling2D()(model.get_layer("relu").output)
    network = keras.Model(model.input, pooled)

    def features(films: Films) -> "np.ndarray[Any, Any]":
        return np.asarray(network.predict(films[..., np.newaxis].astype(np.float32), batch_size=32, verbose=0))

    learnt = features(parts["train"])
    mean, scale = learnt.mean(axis=0), learnt.std(axis=0) + 1e-6
    _, singular, turned = np.linalg.svd((learnt - mean) / scale, full_matrices=False)
    variances = singular**2 / (len(learnt) - 1)
    kept = 64
    rest = float(variances[kept:].sum() / (learnt.shape[1] - kept))

    def distance(films: Films) -> "np.ndarray[Any, Any]":
        return distance_from((features(films) - mean) / scale, turned[:kept], variances[:kept], rest)

    rank = conformal_rank(len(parts["validation"]), 0.01)
    if rank is None:
        raise ValueError("too few validation images for a rate of 0.01; at least 99 are needed.")
    limit = float(np.sort(distance(parts["validation"]))[rank - 1])
    print("\nthe distance of pooled features of an untrained DenseNet121:")
    show(distance(parts["test"]), patients, {name: distance(films) for name, films in odd.items()}, limit)


if __name__ == "__main__":
    main()
