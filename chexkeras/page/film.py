"""One film for the page: read in a worker process, judged by the gate, scored, and shown with its heat maps.

Nothing of a film is written to disk or kept: its bytes come in, an answer goes out.
"""

import base64
import io
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chexkeras.arguments import checked
from chexkeras.dicom.pixels.array_image import GreyArray
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.dicom.read import Radiograph
from chexkeras.dicom.rejection import DicomRejected, Violation
from chexkeras.dicom.rules import RULE_BY_CODE, WARN
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.explanation.explain import Explainer
from chexkeras.inference.given_images import GivenImage
from chexkeras.inference.predictor import Predictor
from chexkeras.inference.read_files import FileResult, read_file
from chexkeras.page.document import PageDocument
from chexkeras.runs.run import Run

WORKERS = ReadOptions(workers=2, memory_bytes=2 * 2**30, seconds=30.0)
"""How the page reads uploads: as `chexkeras predict` does, with less patience, since somebody waits."""

THUMBNAIL_PX = 96
_QUICK = 1
"""Effort of PNG compression: a larger file sooner."""

_KINDS = {
    "accept": "The film may be scored: it passed every rule that was checked. That says nothing of the patient.",
    "warn": "The film was scored, but what the warnings say may make the score wrong.",
    "reject": "The film was not scored, because it breaks a rule.",
}


@checked
class FilmScorer:
    """Scores one film after the other with a run, from as many threads as like.

    Args:
        run: The run.
        document: What the page knows of the run, from which the heat maps to draw follow.
        profile: The DICOM gate's profile: "clinical", "course", or a `Profile`.
        engine: What computes the scores: "keras", "openvino" or "onnx".
        read_options: How many worker processes read, at least 1, and their limits.

    Raises:
        ValueError: If there is no such profile or engine, or no worker process.
    """

    def __init__(
        self,
        run: Run,
        document: PageDocument,
        *,
        profile: str | Profile = "clinical",
        engine: str = "keras",
        read_options: ReadOptions = WORKERS,
    ) -> None:
        self.profile = find_profile(profile)
        self._pool, self._workers = ReaderPool(self.profile, read_options), max(read_options.processes, 1)
        self._predictor = Predictor.load(run, self.profile, engine)
        self._recalibrations = {entry.finding: entry for entry in run.recalibrations}
        self._explainer = None
        if document.maps.findings and not document.maps.reason:
            maps = document.maps
            self._explainer = Explainer(
                run, finding=maps.findings, method=maps.method, layer=maps.layer or None, batch_size=1
            )
        self._notes = (document.maps.note, *(self._explainer.cautions[:1] if self._explainer else ()))
        # TensorFlow computes with all cores anyway, and two calls at once would need twice the memory.
        self._computing = threading.Lock()

    def warm_up(self, content: bytes) -> None:
        """Answers a film in every worker, so that a user's first one is answered as fast as any other.

        Args:
            content: The bytes of a film that is accepted.
        """
        self._pool.prepare()
        with ThreadPoolExecutor(self._workers) as threads:
            list(threads.map(self.answer, [content] * self._workers))

    def close(self) -> None:
        """Ends the worker processes."""
        self._pool.close()

    def answer(self, content: bytes, *, only_row: bool = False) -> dict[str, Any]:
        """Reads and scores one film.

        Args:
            content: The bytes of a DICOM, PNG or JPEG file, told apart by content.
            only_row: Whether a small picture is enough, as in a table of many films.

        Returns:
            What JSON can hold: verdict, headline, rules (code, severity, words, found, reason), and for a film that
            was scored findings, novelty, engine, decoder, pictures as data URLs and heat maps. A refused film has none
            of these.

        Raises:
            WorkersUnavailable: If the processes that read cannot be started.
            ValueError: If the model gives a score that is no probability.
        """
        seen: list[Radiograph] = []
        refused: list[Violation] = []

        def read(file: Any) -> Radiograph:
            try:
                return self._pool.read(_content(file))
            except DicomRejected as rejection:
                refused.extend(rejection.violations)
                raise

        def resized(image: Radiograph) -> Radiograph:
            seen.append(image)
            try:
                return self._predictor.for_model(image)
            except DicomRejected as rejection:
                refused.extend(rejection.violations)
                raise

        result = read_file(GivenImage("upload", content), read, resized)
        with self._computing:
            record = self._predictor.record_of(result)
        rules = _spoken(record, refused, self.profile)
        answer: dict[str, Any] = {"verdict": record["verdict"], "headline": _KINDS[record["verdict"]], "rules": rules}
        answer |= {"seconds": record["seconds"], "profile": record["profile"]}
        if record["verdict"] == "reject" or result.image is None:
            return answer
        answer["findings"] = [self._finding(entry) for entry in record["findings"]]
        answer |= self._described(record, seen[0])
        if only_row:
            return answer | {"thumbnail": _thumbnail(seen[0].pixels)}
        return answer | self._shown(seen[0], result)

    def _finding(self, entry: dict[str, Any]) -> dict[str, Any]:
        recalibration = self._recalibrations.get(entry["finding"])
        probability = None if recalibration is None else float(recalibration.probabilities([entry["score"]])[0])
        basis = "not recalibrated" if recalibration is None else recalibration.description
        return {**entry, "probability": probability, "basis": basis}

    def _described(self, record: dict[str, Any], image: Radiograph) -> dict[str, Any]:
        rows, columns = image.pixels.shape
        age, spacing = image.age_years, image.pixel_spacing_mm
        return {
            "novelty": _finite(record["novelty"]),
            "novelty_threshold": _finite(record["novelty_threshold"]),
            "engine": record["engine"],
            "decoder": record["decoder"],
            "view": record["view"],
            "age_years": _finite(age),
            "synthetic": record["synthetic"],
            "rows": rows,
            "columns": columns,
            "pixel_spacing_mm": _finite(spacing),
            "turned": bool(image.turned),
        }

    def _shown(self, image: Radiograph, result: FileResult) -> dict[str, Any]:
        resized = result.image.pixels if result.image is not None else image.pixels
        shown: dict[str, Any] = {"film": _png(image.pixels), "model_film": _png(resized[..., 0])}
        if self._explainer is None:
            return shown | {"maps": [], "maps_note": ""}
        with self._computing:
            maps = self._explainer.explain(resized[np.newaxis].astype(np.float32), ["0"])
        shown["maps"] = [
            {"finding": finding, "picture": _png(_levels(maps.of("0", finding)))} for finding in maps.findings
        ]
        return shown | {"maps_note": " ".join(filter(None, self._notes))}


def _content(file: Any) -> bytes | GreyArray:
    return file


def _spoken(record: dict[str, Any], refused: list[Violation], profile: Profile) -> list[dict[str, str]]:
    """Returns each rule that spoke, in words; nothing of the file but terms of the vocabulary and small numbers."""
    if refused:
        return [
            {
                "code": each.code,
                "severity": each.severity,
                "words": f"expected {each.expected}",
                "where": each.tag,
                "found": each.found,
                "reason": RULE_BY_CODE[each.code].reason if each.code in RULE_BY_CODE else "",
            }
            for each in refused
        ]
    codes = [code for code in str(record["code"]).split(";") if code]
    severity = "reject" if record["verdict"] == "reject" else WARN
    return [
        {
            "code": code,
            "severity": severity,
            "words": f"expected {profile.expected(code)}",
            "where": profile.tag(code),
            "found": str(record["detail"]) if severity == "reject" else "",
            "reason": RULE_BY_CODE[code].reason,
        }
        for code in codes
        if code in RULE_BY_CODE
    ]


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None


def _levels(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns a map as 256 levels of its own highest place; what is below 0 speaks against the finding and is left."""
    above = np.maximum(heat, 0)
    most = float(above.max())
    return np.round(above / most * 255).astype(np.uint8) if most > 0 else np.zeros(heat.shape, np.uint8)


def _png(pixels: NDArray[np.uint8]) -> str:
    held = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(held, "PNG", compress_level=_QUICK)
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


def _thumbnail(pixels: NDArray[np.uint8]) -> str:
    # Every so many pixels first: a film of 50 megapixels is not averaged in full for a picture of 96.
    step = max(min(pixels.shape) // (4 * THUMBNAIL_PX), 1)
    image = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step]))
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return _png(np.asarray(image))
