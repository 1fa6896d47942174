"""Scoring DICOM, PNG and JPEG files with a finished run: its model, its operating points, its pixels."""

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras.checks import positive_int
from chexkeras.data.pipeline import to_model_pixels
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.inference.batch import FileOutcome, read_files
from chexkeras.models.scoring import predict_padded
from chexkeras.progress import track
from chexkeras.results import OperatingPoint
from chexkeras.training.run import Run

COLUMNS = (
    "file", "verdict", "code", "detail", "view", "age_years", "finding", "score", "threshold", "decision", "decoder",
    "seconds", "profile",
)  # fmt: skip
"""Columns of the table of results; a rejected file has empty `finding`, `score`, `threshold` and `decision`."""


class Predictor:
    """A model with its operating points.

    Args:
        model: A classifier of `build_classifier`.
        points: One operating point per output, in output order.
        profile: The DICOM gate's profile: "clinical", "course", or a `Profile` of your own.

    Raises:
        ValueError: If there is no such profile, or not one operating point per output.
    """

    def __init__(
        self, model: keras.Model, points: Iterable[OperatingPoint], profile: str | Profile = "clinical"
    ) -> None:
        self.model = model
        self.points = tuple(points)
        # Found here: an unknown name would otherwise refuse every file of a folder, one by one.
        self.profile = find_profile(profile)
        if model.output_shape[-1] != len(self.points):
            raise ValueError(
                f"the model has {model.output_shape[-1]} output(s) but {len(self.points)} operating point(s) were "
                "given; give one per output, in output order."
            )

    @classmethod
    def load(cls, run: Run | str | Path, profile: str | Profile = "clinical") -> "Predictor":
        """Loads the model and the frozen operating points of a run.

        Args:
            run: A run or its folder.
            profile: The DICOM gate's profile: "clinical", "course", or a `Profile` of your own.

        Raises:
            FileNotFoundError: If the run lacks a file.
            ValueError: If there is no such profile.
        """
        run, chosen = run if isinstance(run, Run) else Run.load(run), find_profile(profile)
        return cls(run.load_model(), run.operating_points, chosen)

    def score(self, films: list[np.ndarray], batch_size: int | None = None) -> np.ndarray:
        """Scores display-space films.

        Args:
            films: uint8 arrays (rows, columns), 0-255, MONOCHROME2 sense, each of any size.
            batch_size: Fill up to this many films, so that batches of all sizes run the same compiled model.

        Returns:
            float64 array (n_films, n_targets), each in [0, 1].
        """
        size = self.model.input_shape[1]
        pixels = np.stack([to_model_pixels(film[..., np.newaxis], size).numpy() for film in films])
        scores = predict_padded(self.model, pixels.astype(np.float32), batch_size or len(pixels))
        return scores[0].astype(np.float64)

    def rows(self, paths: Iterable[str | Path], batch_size: int = 16) -> Iterator[dict[str, Any]]:
        """Yields the rows of `predict` as they are ready.

        Args:
            paths: Files.
            batch_size: Films scored at a time.
        """
        positive_int(batch_size, "batch_size")
        outcomes = read_files(paths, self.profile)
        while group := list(islice(outcomes, batch_size)):
            start = perf_counter()
            accepted = [outcome for outcome in group if outcome.film is not None]
            scored = iter(self.score([outcome.film.pixels for outcome in accepted], batch_size) if accepted else ())
            scoring_seconds = (perf_counter() - start) / max(len(accepted), 1)
            for outcome in group:
                scores = None if outcome.film is None else next(scored)
                yield from self._rows_of(outcome, scores, scoring_seconds)

    def predict(self, paths: Iterable[str | Path], batch_size: int = 16) -> pd.DataFrame:
        """Reads, checks and scores files.

        Args:
            paths: DICOM, PNG or JPEG files, told apart by content.
            batch_size: Films scored at a time.

        Returns:
            One row per refused file, one row per finding of an accepted one, in the order given, with `COLUMNS`:
            the gate's verdict and code, the score and, at the frozen threshold, the decision "positive" or
            "negative".

        Raises:
            TypeError: If `paths` is a single path, whose characters would otherwise count as files.
            ValueError: If `batch_size` is below 1.
        """
        if isinstance(paths, (str, Path)):
            raise TypeError(f"paths={str(paths)!r} is one path; give a list, [{str(paths)!r}], or find_files(folder).")
        files = list(paths)
        return pd.DataFrame(track(self.rows(files, batch_size), "scoring files", len(files)), columns=list(COLUMNS))

    def _rows_of(
        self, outcome: FileOutcome, scores: np.ndarray | None, scoring_seconds: float
    ) -> Iterator[dict[str, Any]]:
        film = outcome.film
        common = {
            "file": str(outcome.path),
            "verdict": outcome.verdict,
            "code": outcome.code,
            "detail": outcome.detail,
            "view": film.view if film else "",
            "age_years": film.age_years if film else math.nan,
            "decoder": film.decoder if film else "",
            "seconds": round(outcome.seconds + (scoring_seconds if film else 0.0), 4),
            "profile": self.profile.name,
        }
        if scores is None:
            yield {**common, "finding": "", "score": math.nan, "threshold": math.nan, "decision": ""}
            return
        for point, score in zip(self.points, scores, strict=True):
            decision = "positive" if score >= point.threshold else "negative"
            yield {
                **common,
                "finding": point.finding,
                "score": float(score),
                "threshold": point.threshold,
                "decision": decision,
            }
