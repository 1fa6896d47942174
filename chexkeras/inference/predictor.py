"""Scoring DICOM, PNG and JPEG files, or arrays, with a finished run: its model, its operating points, its pixels."""

import contextlib
import dataclasses
import hashlib
import math
from collections.abc import Generator, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import keras
import numpy as np
import pandas as pd

import chexkeras
from chexkeras.arguments import checked
from chexkeras.checks import positive_int
from chexkeras.data.image_layout import layouts_of
from chexkeras.data.pixels import to_model_pixels
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.dicom.read import Radiograph
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.rules import OFF, REJECT, RULES, UNLIKE, UNLIKE_RESOLUTION
from chexkeras.dicom.workers.options import ISOLATED, ReadOptions
from chexkeras.inference.engines import Engine, check_engine, keras_engine, load_engine
from chexkeras.inference.given_images import GivenImage, given_images
from chexkeras.inference.read_files import FileResult, read_files
from chexkeras.inference.results_file import COLUMNS, rows_of
from chexkeras.parallel import WorkersUnavailable
from chexkeras.plain import PlainTable
from chexkeras.progress import track
from chexkeras.results import Novelty, OperatingPoint, SourceResolution
from chexkeras.runs.run import Run
from chexkeras.storage import Place

# Files that wait for a batch to fill up, in batches: where most are refused, results must still come out.
_MOST_WAITING = 4
# Engines compute in fewer digits, and may end as far outside 0 to 1.
_ROUNDING = 1e-3


@checked
class Predictor:
    """A model with its operating points.

    Args:
        model: A classifier of `build_classifier`.
        points: One operating point per output, in output order.
        profile: The DICOM gate's profile: "clinical", "course", or a `Profile` of your own.
        engine: What computes the model's scores, from `engines.load_engine`; by default Keras.
        novelty: What the model's training images look like, as `Run.novelty` has it; an image that is unlike them gets
            the code "unlike_training", a warning or a refusal as the profile says. None looks at no image.
        resolution: What the files were like that the model learnt from, as `Run.resolution` has it; one outside of it
            gets the code "unlike_resolution", a warning or a refusal as the profile says. None looks at no file.

    Raises:
        ValueError: If there is no such profile, the model takes no square gray images or gives no row of scores for
            each, or there is not one operating point per output.
    """

    def __init__(
        self,
        model: keras.Model,
        points: Iterable[OperatingPoint],
        profile: str | Profile = "clinical",
        engine: Engine | None = None,
        novelty: Novelty | None = None,
        resolution: SourceResolution | None = None,
    ) -> None:
        self.model = model
        self.engine = engine or keras_engine(model)
        self.points = tuple(points)
        # Found here: an unknown name would otherwise refuse every file of a folder, one by one.
        self.profile = find_profile(profile)
        _check_shapes(model, len(self.points))
        side = model.input_shape[1]
        if novelty is not None and novelty.image_size != side:
            raise ValueError(f"novelty was learnt from images of {novelty.image_size} pixels; the model takes {side}.")
        self.novelty, self.resolution = novelty, resolution

    @classmethod
    def load(
        cls,
        run: Run | str | Path,
        profile: str | Profile = "clinical",
        engine: str = "keras",
        precision: str = "float32",
    ) -> "Predictor":
        """Loads the model and the frozen operating points of a run.

        Args:
            run: A run or its folder.
            profile: The DICOM gate's profile: "clinical", "course", or a `Profile` of your own.
            engine: What computes the scores: "keras", "openvino" or "onnx", the last two faster and checked against
                the first (`engines.load_engine`).
            precision: "float32", or "bf16" with OpenVINO.

        Raises:
            FileNotFoundError: If the run lacks a file.
            ValueError: If there is no such profile or engine, a package of the engine is not installed, its scores
                are not those of Keras, the model's file is damaged, or its thresholds are not those of this run.
        """
        run, chosen = run if isinstance(run, Run) else Run.load(run), find_profile(profile)
        check_engine(engine, precision)
        points = run.checked_points()
        model = run.load_model()
        return cls(model, points, chosen, load_engine(model, engine, precision), run.novelty, run.resolution)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with whatever a result depends on but the file itself.

        That is the model's graph and weights, the engine, the operating points, the rules with their profile, and the
        version.
        """
        import pydicom

        digest = hashlib.sha256(self.model.to_json().encode())
        for weight in self.model.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        # In full: what results print of themselves is rounded.
        for part in (
            str(self.engine),
            self.novelty and self.novelty.to_dict(),
            self.resolution and self.resolution.to_dict(),
            [point.to_dict() for point in self.points],
            self.profile,
            RULES,
            chexkeras.__version__,
            pydicom.__version__,
        ):
            digest.update(repr(part).encode())
        return digest.hexdigest()[:16]

    def model_pixels(self, image: np.ndarray) -> np.ndarray:
        """Returns a display-space image as the model takes it.

        Args:
            image: uint8 array (rows, columns), 0-255, MONOCHROME2 sense, of any size.

        Returns:
            uint8 array (height, width, 1) of the model's size.

        Raises:
            TypeError: If the image is no such array.
        """
        if getattr(image, "ndim", None) != 2 or image.dtype != np.uint8:
            came = f"{image.dtype} array {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise TypeError(
                f"an image was given as {came}; a uint8 array (rows, columns), 0-255, was expected, as the pixels of "
                "cx.read_dicom(path).pixels."
            )
        return to_model_pixels(image[..., np.newaxis], self.model.input_shape[1]).numpy()

    def score(self, images: list[np.ndarray], batch_size: int | None = None) -> np.ndarray:
        """Scores display-space images.

        Args:
            images: uint8 arrays (rows, columns), 0-255, MONOCHROME2 sense, each of any size.
            batch_size: Images scored at a time, by default all of them. A smaller last batch is filled up, so that
                batches of all sizes run the same compiled model.

        Returns:
            float64 array (n_images, n_targets), each in [0, 1]; without rows where there is no image.

        Raises:
            TypeError: If an image is no such array.
            ValueError: If `batch_size` is below 1, or the model gives a score that is no probability, NaN included.
        """
        size = max(len(images), 1) if batch_size is None else positive_int(batch_size, "batch_size")
        batches = (images[start : start + size] for start in range(0, len(images), size))
        scored = [self._score([self.model_pixels(image) for image in batch], size) for batch in batches]
        return np.concatenate([np.empty((0, len(self.points))), *scored])

    def _score(self, pixels: list[np.ndarray], batch_size: int) -> np.ndarray:
        scores = self.engine.score(np.stack(pixels).astype(np.float32), batch_size).astype(np.float64)
        # NaN is below no threshold and above none, and would be called negative.
        wrong = scores[~((scores >= -_ROUNDING) & (scores <= 1 + _ROUNDING))]
        if wrong.size:
            raise ValueError(
                f"the model gave the score {wrong[0]:.4g}, and thresholds are compared with probabilities, 0 to 1: its "
                "training diverged, or its weights are damaged. Copy the run once more, or train it again."
            )
        return scores

    def records(
        self, paths: Iterable[str | Place | GivenImage], batch_size: int = 16, read_options: ReadOptions = ISOLATED
    ) -> Generator[dict[str, Any], None, None]:
        """Yields what became of each file, as soon as it is known, in the order given.

        Args:
            paths: Files, also in an object store, or images that are in memory (`given_images`).
            batch_size: Images scored at a time.
            read_options: How many worker processes read, and their limits.

        Yields:
            One dictionary a file: the columns of `predict` but for those of the findings, which are dictionaries of
            their own in "findings", empty for a refused file.

        Raises:
            ValueError: If `batch_size` is below 1, or the model gives a score that is no probability, NaN included.
            WorkersUnavailable: If the processes that read cannot be started; what was read before comes out first.
        """
        positive_int(batch_size, "batch_size")
        waiting: list[FileResult] = []
        accepted = 0
        # The next batch is read and resized by other processes and threads while the model scores the one before.
        read = read_files(paths, self.profile, read_options, convert=self.for_model, ahead=2 * batch_size)
        with contextlib.closing(read) as results:
            try:
                for result in results:
                    accepted += result.image is not None
                    waiting.append(result)
                    if accepted == batch_size or len(waiting) == _MOST_WAITING * batch_size:
                        yield from self._scored(waiting, batch_size)
                        waiting, accepted = [], 0
            except WorkersUnavailable:
                # What was read until then is not lost.
                yield from self._scored(waiting, batch_size)
                raise
        yield from self._scored(waiting, batch_size)

    def record_of(self, result: FileResult) -> dict[str, Any]:
        """Scores one file that was read already, as `records` does with many.

        Args:
            result: From `read_files.read_file`, whose image went through `for_model`.

        Returns:
            What `records` yields for the file.

        Raises:
            ValueError: If the model gives a score that is no probability, NaN included.
        """
        return next(self._scored([result], 1))

    def records_of(self, results: list[FileResult], batch_size: int) -> list[dict[str, Any]]:
        """Scores some files that were read already, as `record_of` does with one.

        Args:
            results: From `read_files.read_file`, their images gone through `for_model`; at most `batch_size` of them
                accepted.
            batch_size: Images scored at a time; what is missing is filled up.

        Returns:
            What `records` yields for the files, in order.

        Raises:
            ValueError: If `batch_size` is below 1, or the model gives a score that is no probability, NaN included.
        """
        return list(self._scored(results, positive_int(batch_size, "batch_size")))

    def for_model(self, image: Radiograph) -> Radiograph:
        """Returns an image as the model takes it, and says where its resolution is none that the model has learnt from.

        Done as soon as an image is read: a batch of large ones would fill the memory.

        Args:
            image: As it was read, of any size.

        Raises:
            DicomRejected: If its resolution is none that the model has learnt from, and the profile refuses such.
        """
        warnings, severity = image.warnings, self.profile.severity(UNLIKE_RESOLUTION)
        if self.resolution is not None and severity != OFF:
            rows, columns = image.pixels.shape[:2]
            outside = self.resolution.outside(rows, columns, image.pixel_spacing_mm)
            if outside and severity == REJECT:
                raise DicomRejected.because(UNLIKE_RESOLUTION, outside, profile=self.profile)
            warnings += (UNLIKE_RESOLUTION,) if outside else ()
        return dataclasses.replace(image, pixels=self.model_pixels(image.pixels), warnings=warnings)

    def _scored(self, results: list[FileResult], batch_size: int) -> Iterator[dict[str, Any]]:
        start = perf_counter()
        looked = [self._looked_at(result) for result in results]
        images = [result.image.pixels for result, _ in looked if result.image is not None]
        scores = iter(self._score(images, batch_size) if images else ())
        seconds = (perf_counter() - start) / max(len(images), 1)
        for result, novelty in looked:
            yield self._record(result, None if result.image is None else next(scores), seconds, novelty)

    def _looked_at(self, result: FileResult) -> tuple[FileResult, float]:
        """Returns a file's result with what is to be said of an image unlike the training images, and its novelty."""
        if self.novelty is None or result.image is None:
            return result, math.nan
        measures = self.novelty.measures(layouts_of(result.image.pixels[np.newaxis]))[0]
        novelty, severity = float(measures.max()), self.profile.severity(UNLIKE)
        if severity == OFF or not self.novelty.unlike(novelty):
            return result, novelty
        if severity == REJECT:
            found = f"novelty {novelty:.3g} above {self.novelty.threshold:.3g}: {self.novelty.named(measures)}"
            refused = DicomRejected.because(UNLIKE, found, profile=self.profile)
            return dataclasses.replace(result, image=None, code=UNLIKE, detail=str(refused)), novelty
        warnings = (*result.image.warnings, UNLIKE)
        image = dataclasses.replace(result.image, warnings=warnings)
        return dataclasses.replace(result, image=image, code=";".join(warnings)), novelty

    def predict(
        self,
        paths: Iterable[str | Path | bytes | np.ndarray] | str | Path | bytes | np.ndarray,
        batch_size: int = 16,
        read_options: ReadOptions = ISOLATED,
        *,
        value_range: tuple[float, float] | None = None,
    ) -> pd.DataFrame:
        """Reads, checks and scores files, or images that are in memory already.

        An array goes the way of an image file: the same checks of its size and grey values, the same pixels for the
        model, and so the same score as that of a PNG file with its values, bit for bit.

        Args:
            paths: DICOM, PNG or JPEG files, told apart by content, as paths, addresses in an object store, or the bytes
                of each; or arrays in MONOCHROME2's sense, one (rows, columns) or (rows, columns, 1) for each image.
                Instead of a list: one path, the bytes of one file, or one array of shape (rows, columns),
                (rows, columns, 1), (n, rows, columns) or (n, rows, columns, 1). Colours are refused. The column "file"
                of the results calls what has no path "bytes 0" or "array 0", by its place.
            batch_size: Images scored at a time.
            read_options: How many worker processes read, and their limits; `ReadOptions(workers=0)` reads in this
                process, without protection from a harmful file.
            value_range: For arrays, the values of black and of white, such as (0, 1) or (0, 4095); it is never guessed.
                uint8 arrays may do without: 0 is black and 255 white. What is scaled is rounded to 256 grey values,
                as of a PNG file of 16 bits.

        Returns:
            One row per refused file, one row per finding of an accepted one, in the order given, with `COLUMNS`:
            the gate's verdict and code, the score and, at the frozen threshold, the decision "positive" or
            "negative"; "uncertain" within the band of scores that the run leaves open, where it has one.

        Raises:
            TypeError: If `paths` holds what is neither a path, bytes nor an array of real numbers.
            ValueError: If `batch_size` is below 1; `paths` is a folder; an array has colours or another shape, does not
                tell its range, or has values outside; or the model gives a score that is no probability, NaN included.
        """
        files = given_images(paths, value_range)
        with contextlib.closing(self.records(files, batch_size, read_options)) as records:
            shown = track(records, "scoring files", len(files))
            return PlainTable((row for record in shown for row in rows_of(record)), columns=list(COLUMNS))

    def _record(
        self, result: FileResult, scores: np.ndarray | None, scoring_seconds: float, novelty: float
    ) -> dict[str, Any]:
        image = result.image
        findings = [
            {
                "finding": point.finding,
                "score": float(score),
                "threshold": point.threshold,
                "decision": point.call(float(score)),
            }
            for point, score in zip(self.points, () if scores is None else scores, strict=scores is not None)
        ]
        return {
            "file": str(result.path),
            "verdict": result.verdict,
            "code": result.code,
            "detail": result.detail,
            "view": image.view if image else "",
            "age_years": image.age_years if image else math.nan,
            "findings": findings,
            "decoder": image.decoder if image else "",
            "engine": str(self.engine) if image else "",
            "seconds": round(result.seconds + (scoring_seconds if image else 0.0), 4),
            "profile": self.profile.name,
            "key": image.key if image else "",
            "synthetic": result.synthetic,
            "novelty": novelty,
            "novelty_threshold": math.nan if self.novelty is None or math.isnan(novelty) else self.novelty.threshold,
        }


def _check_shapes(model: keras.Model, count: int) -> None:
    taken, given = model.input_shape, model.output_shape
    # A model of several inputs or outputs has a list of shapes, or shapes by name.
    takes_images = isinstance(taken, tuple) and len(taken) == 4 and taken[1:] == (taken[1], taken[1], 1) and taken[1]
    if not takes_images or not isinstance(given, tuple) or len(given) != 2:
        raise ValueError(
            f"the model takes {taken} and gives {given}; one that takes gray images (None, side, side, 1) and gives "
            "scores (None, findings) was expected, as chexkeras builds it."
        )
    if given[1] != count:
        raise ValueError(
            f"the model has {given[1]} output(s) but {count} operating point(s) were given; give one per output, in "
            "output order."
        )
