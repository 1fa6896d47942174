"""How often the analysis of reader studies errs: simulated studies of modalities that are equal, after Roe and Metz.

    .venv/bin/python benchmarks/simulations/reader_studies.py --studies 2000

A 95 % interval of a difference should miss 0, and the test that all modalities are equal should reject, in 5 %;
a 95 % interval of a modality's mean should cover the true area in 95 %. Prints a table in Markdown; the error of the
simulation stands behind each share.
"""

import argparse
import math
import time
from dataclasses import replace

from chexkeras.evaluation.readers.roe_metz import RatingModel, simulated_intervals

AREA = 0.855


def settings():
    """Yields what differs from five readers of 50 positive and 50 negative images, high correlation and variance."""
    for structure in ("HH", "LL"):
        for readers in (3, 5, 10):
            for n in (25, 50, 100):
                yield f"structure {structure}", {"model": structure, "readers": readers, "images": (n, n)}
    for structure in ("HL", "LH"):
        yield f"structure {structure}", {"model": structure}
    for area in (0.702, 0.9615):
        yield f"area {area}", {"area": area}
    yield "prevalence 10 %", {"images": (20, 180)}
    for covariance in ("unbiased", "jackknife"):
        yield f"{covariance} covariance", {"covariance": covariance}
    for share in (0.5, 1.0):
        model = replace(RatingModel.roe_metz("HH", AREA), patient=share)
        words = f"4 images a patient, sharing {share:g} of the variance of images"
        yield words, {"images": (100, 100), "images_each": 4, "model": model}
    yield "two modalities, patients of their own", {"groups": (0, 1)}
    yield "three modalities, the same patients", {"groups": (0, 0, 0)}
    yield "three, the pair has no patient in common", {"groups": (0, 1, 1), "readers": 4, "images": (30, 65)}
    yield "three, the pair shares its patients", {"groups": (0, 0, 1), "readers": 4, "images": (30, 65)}
    model = replace(RatingModel.roe_metz("HH", AREA), modality_reader=0.0)
    yield "fixed readers", {"model": model, "roles": ("fixed", "random")}


def share(count: int, n: int) -> str:
    """Returns a share in per cent with the standard error of its simulation."""
    part = count / n
    return f"{100 * part:.1f} ± {100 * math.sqrt(part * (1 - part) / n):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies in each row")
    parser.add_argument("--seed", type=int, default=1, help="one seed, one table")
    chosen = parser.parse_args()
    print("| studies | readers | images, positive + negative | interval of the difference misses 0, % "
          "| test rejects, % | interval of the mean covers, % | on the logit scale, % | seconds |")  # fmt: skip
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    begun = time.perf_counter()
    for number, (words, changes) in enumerate(settings()):
        asked = {"readers": 5, "images": (50, 50), "model": "HH", "area": AREA, **changes}
        area = asked.pop("area")
        auroc = {f"m{modality}": area for modality in range(len(asked.get("groups", (0, 0))))}
        start = time.perf_counter()
        found = simulated_intervals(auroc, studies=chosen.studies, seed=1000 * chosen.seed + number, **asked)
        missed = int(((found[:, 1] > 0) | (found[:, 2] < 0)).sum())
        rejected = int((found[:, 3] < 0.05).sum())
        covered = [int(((found[:, low] <= area) & (found[:, low + 1] >= area)).sum()) for low in (4, 6)]
        # Fixed readers have areas of their own, which are not the expected one.
        means = " | ".join("–" if "roles" in asked else share(count, chosen.studies) for count in covered)
        positive, negative = asked["images"]
        seconds = time.perf_counter() - start
        print(f"| {words} | {asked['readers']} | {positive} + {negative} | {share(missed, chosen.studies)} "
              f"| {share(rejected, chosen.studies)} | {means} | {seconds:.1f} |", flush=True)  # fmt: skip
    print(f"\n{chosen.studies} studies a row, {time.perf_counter() - begun:.0f} s in all.")


if __name__ == "__main__":
    main()
