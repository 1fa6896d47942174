"""Whether what comes in still looks like what the run was measured on: control charts against its baseline.

Films are counted in blocks of as many as the report's control limits are for. Of each block three kinds of counts are
compared with exact binomial limits at the share of the run's test part: films called positive, scores above the test
part's median, and films refused, where the run was tried on DICOM files. A count outside says that something has
changed, not what.
"""

import contextlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chexkeras import files
from chexkeras.report.facts.software import WATCH_TAIL, WATCHED_IMAGES
from chexkeras.runs.run import Run

STATE = "drift.json"
CALLS, SCORES, REFUSALS = "positive calls", "scores above the median", "refusals"


@dataclass(frozen=True)
class Chart:
    """One count of a block, and between which numbers it stays by chance.

    Attributes:
        kind: What is counted: `CALLS`, `SCORES` or `REFUSALS`.
        finding: Of which finding; empty for refusals.
        share: The share of the baseline, 0 to 1.
        images: Images or files that the share is of.
        low: Fewest that are expected of a block.
        high: Most that are expected of a block.
        level: For `SCORES`, the score that is compared with; otherwise the threshold, or 0.
    """

    kind: str
    finding: str
    share: float
    images: int
    low: int
    high: int
    level: float = 0.0

    @property
    def key(self) -> str:
        """What tells it from the others."""
        return f"{self.kind}: {self.finding}" if self.finding else self.kind


def charts_of(run: Run) -> tuple[Chart, ...]:
    """Returns the control charts that a run's test part and its DICOM results give.

    Args:
        run: The run.
    """
    scores, found = run.scores("test"), []
    for point in run.operating_points:
        values = scores.loc[scores["finding"] == point.finding, "score"].to_numpy()
        if len(values) == 0:
            continue
        median = float(np.median(values))
        for kind, counted, level in (
            (CALLS, values >= point.threshold, point.threshold), (SCORES, values > median, median),
        ):  # fmt: skip
            found.append(_chart(kind, point.finding, float(np.mean(counted)), len(values), level))
    results = run.dicom_results
    if results is not None and len(results):
        per_file = results.drop_duplicates("file")
        found.append(_chart(REFUSALS, "", float((per_file["verdict"] == "reject").mean()), len(per_file)))
    return tuple(found)


def _chart(kind: str, finding: str, share: float, images: int, level: float = 0.0) -> Chart:
    from scipy import stats

    counts = stats.binom(WATCHED_IMAGES, share)
    return Chart(kind, finding, share, images, int(counts.ppf(WATCH_TAIL)), int(counts.isf(WATCH_TAIL)), level)


class DriftWatch:
    """Counts what comes in, block by block; what it has counted survives the process.

    Args:
        charts: From `charts_of`.
        folder: The spool's folder, in which the counts are kept.
    """

    def __init__(self, charts: tuple[Chart, ...], folder: Path) -> None:
        self.charts, self._path = charts, folder / STATE
        self._lock = threading.Lock()
        # By chart: films of the block under way, how many counted, and the last whole block's count (-1: none yet).
        self._state: dict[str, list[int]] = {chart.key: [0, 0, -1] for chart in charts}
        self._restore()

    def add(self, records: list[dict[str, Any]]) -> None:
        """Counts films, scored or refused.

        Args:
            records: What `Predictor.records_of` gives.
        """
        with self._lock:
            for record in records:
                for chart in self.charts:
                    counted = _counted(chart, record)
                    if counted is not None:
                        self._count(chart, counted)
            # On a full disk the counts go on in memory.
            with contextlib.suppress(OSError):
                files.write_json(self._path, self._state)

    def _count(self, chart: Chart, counted: bool) -> None:
        state = self._state[chart.key]
        state[0] += 1
        state[1] += counted
        if state[0] == WATCHED_IMAGES:
            state[:] = [0, 0, state[1]]

    def points(self) -> list[tuple[Chart, int | None, bool]]:
        """Returns each chart, its last whole block's count (None where there is none yet), and whether that alarms."""
        with self._lock:
            last = {key: state[2] for key, state in self._state.items()}
        return [
            (chart, None if last[chart.key] < 0 else last[chart.key],
             last[chart.key] >= 0 and not chart.low <= last[chart.key] <= chart.high)
            for chart in self.charts
        ]  # fmt: skip

    def _restore(self) -> None:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        for key, state in kept.items() if isinstance(kept, dict) else ():
            if key in self._state and isinstance(state, list) and len(state) == 3:
                self._state[key] = [int(value) for value in state]


def _counted(chart: Chart, record: dict[str, Any]) -> bool | None:
    """Returns whether a film counts on a chart; None where the chart is not about such films."""
    refused = record["verdict"] == "reject"
    if chart.kind == REFUSALS:
        return refused
    scores = [entry["score"] for entry in record["findings"] if entry["finding"] == chart.finding]
    if refused or not scores:
        return None
    return scores[0] >= chart.level if chart.kind == CALLS else scores[0] > chart.level
