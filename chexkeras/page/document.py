"""What the page tells of a run, as one document: made from the run once, or read where the page was exported with it.

It holds no identifier: of images only labels and calls at the frozen threshold, patients numbered at random.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras.arguments import checked
from chexkeras.checks import probability
from chexkeras.evaluation.clinical_use.deployment import deployment_from_outcomes
from chexkeras.evaluation.clinical_use.triage import triage_effect
from chexkeras.evaluation.comparison.compare import compare
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.page.shown import shown_finding, shown_rates, shown_reason, told
from chexkeras.results import Estimate, Evaluation, OperatingPoint
from chexkeras.results.record import Record
from chexkeras.runs.run import Run

FILE = "page.json"
"""Where an exported page keeps its document."""

CURVE_POINTS = 60
"""Thresholds of the slider, at most: as many as a hand can set."""


@dataclass(frozen=True)
class MapsToDraw(Record):
    """Which heat maps the page draws, or why none.

    Attributes:
        findings: The findings; empty where none are drawn.
        method: Of the maps.
        layer: The layer that was checked; empty for the last one with rows and columns.
        note: What stands beside every map.
        reason: Why none are drawn; empty where they are.
    """

    findings: tuple[str, ...] = ()
    method: str = "gradcam"
    layer: str = ""
    note: str = ""
    reason: str = ""


@dataclass(frozen=True)
class TestOutcomes(Record):
    """What the frozen threshold made of the test images of one finding, an entry for each image with a known label.

    Attributes:
        finding: The finding.
        patients: Numbers drawn at random, alike for images of one patient.
        labels: 1 or 0.
        calls: 1 where an image was called positive.
    """

    # Not a class of tests, whatever its name begins with.
    __test__ = False

    finding: str
    patients: tuple[int, ...]
    labels: tuple[int, ...]
    calls: tuple[int, ...]


@dataclass(frozen=True)
class CurvePoint(Record):
    """A threshold that could have been chosen, as validation sees it.

    Attributes:
        threshold: In the score's units.
        frozen: Whether it is the threshold that is used.
        sensitivity: On the validation images.
        specificity: On the validation images.
    """

    threshold: float
    frozen: bool
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class ThresholdCurve(Record):
    """The validation curve of one finding.

    Attributes:
        finding: The finding.
        points: Thresholds in ascending order; none where validation has one class only.
    """

    finding: str
    points: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class Beside(Record):
    """Another run beside this one, on the same test images.

    Attributes:
        name: Its name.
        finding: The finding.
        auroc: Its own, on the test part.
        sensitivity: At its own frozen threshold.
        specificity: At its own frozen threshold.
        verdict: Against this run, in words.
        difference: Its AUROC minus this run's; None for this run.
    """

    name: str
    finding: str
    auroc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    verdict: str = ""
    difference: Estimate | None = None


@checked
@dataclass(frozen=True)
class PageDocument(Record):
    """What the page tells of a run.

    Attributes:
        name: The run's name.
        cautions: Sentences that stand at the top of the page, those of the run's report.
        synthetic: Whether the run's images were made by a program.
        image_size: Height and width of the model's images, pixels.
        facts: What the run is, in words, by heading.
        points: The frozen thresholds.
        evaluation: The test results at the frozen thresholds.
        outcomes: What these thresholds made of the test images.
        curves: The validation curve of each finding.
        beside: Other runs, and this one first, where others were given.
        maps: Which heat maps are drawn.
    """

    name: str
    cautions: tuple[str, ...]
    synthetic: bool
    image_size: int
    facts: dict[str, Any]
    points: tuple[OperatingPoint, ...]
    evaluation: Evaluation
    outcomes: tuple[TestOutcomes, ...] = ()
    curves: tuple[ThresholdCurve, ...] = ()
    beside: tuple[Beside, ...] = ()
    maps: MapsToDraw = MapsToDraw()

    @classmethod
    def of(cls, run: Run, others: Sequence[Run] = ()) -> "PageDocument":
        """Makes the document of a run, or reads the one it was exported with.

        Args:
            run: The run.
            others: Runs to show beside it: experiments on the same test images.

        Raises:
            FileNotFoundError: If a file of the run is missing.
            ValueError: If a file of the run is damaged, or another run was tested on other images.
        """
        exported = run.folder / FILE
        if exported.is_file() and not others:
            return cls.read(exported)
        # TensorFlow starts here, for nothing that could have been read before.
        from chexkeras.explanation.of_files import drawable_maps
        from chexkeras.report.facts.collect import collect_facts

        # What the report says of the run as a whole, the page says too.
        said = collect_facts(run)
        points, test, validation = run.checked_points(), run.scores("test"), run.scores("validation")
        maps = drawable_maps(run)
        return cls(
            name=run.folder.name,
            cautions=tuple(said["cautions"].value),
            synthetic=bool(run.provenance["source"]["synthetic"]),
            image_size=run.recipe.image_size,
            facts=_facts(run, str(said["verdict"].value)),
            points=points,
            evaluation=run.evaluation,
            outcomes=tuple(outcomes_of(test, point) for point in points),
            curves=tuple(curve_of(validation, point) for point in points),
            beside=_beside(run, others),
            maps=MapsToDraw(
                () if maps.reason else maps.findings, maps.method, maps.layer or "", maps.note, maps.reason
            ),
        )

    def meaning(self, prevalence: float) -> dict[str, Any]:
        """Returns what calls mean where the finding is as frequent as stated.

        Args:
            prevalence: Share of films with the finding, strictly between 0 and 1.

        Returns:
            For each finding: of the frozen threshold on test ppv, npv and counts in 1,000 films, with intervals, as
            text; and of each point of the validation curve how many of 1,000 films would be called.

        Raises:
            ValueError: If the prevalence is no such share.
        """
        share = probability(prevalence, "prevalence", open_interval=True)
        found = {}
        for outcomes in self.outcomes:
            made = deployment_from_outcomes(outcomes.labels, outcomes.calls, share, clusters=outcomes.patients)
            found[outcomes.finding] = {
                "ppv": told(made.ppv),
                "npv": told(made.npv),
                "n": made.ppv.n,
                "method": made.ppv.method,
                **{
                    name: told(getattr(made, f"{name}_per_1000"), digits=0)
                    for name in ("true_positives", "false_negatives", "false_positives", "true_negatives")
                },
            }
        for curve in self.curves:
            found.setdefault(curve.finding, {})["curve"] = [
                told(_called(point, share), digits=0) for point in curve.points
            ]
        return found

    def waiting(self, finding: str, prevalence: float, arrivals: float, reads: float, readers: int) -> str:
        """Returns what the frozen threshold would do to waiting times if films it calls were read first.

        Args:
            finding: One of the run's findings.
            prevalence: Share of films with the finding, strictly between 0 and 1.
            arrivals: Films that arrive an hour.
            reads: Films that one reader reads an hour.
            readers: Readers who share the queue.

        Returns:
            A sentence.

        Raises:
            ValueError: If a number is impossible, films arrive faster than they are read, or the test has no rates.
        """
        entry = self.evaluation[finding]
        if not (entry.sensitivity.estimable and entry.specificity.estimable):
            raise ValueError(f"the test part cannot tell sensitivity and specificity of {finding}: no waiting times.")
        effect = triage_effect(
            entry.sensitivity, entry.specificity, prevalence, arrivals_per_hour=arrivals, reads_per_hour=reads,
            readers=readers, discipline="non-pre-emptive",
        )  # fmt: skip
        return f"On average, {effect}. {_ASSUMED}"

    def shown(self) -> dict[str, Any]:
        """Returns the document as the page shows it, every number as text with its interval."""
        return {
            "name": self.name,
            "cautions": list(self.cautions),
            "synthetic": self.synthetic,
            "image_size": self.image_size,
            "facts": self.facts,
            "maps": {"drawn": list(self.maps.findings), "reason": shown_reason(self.maps.reason)},
            "findings": [
                shown_finding(
                    point,
                    next((entry for entry in self.evaluation.findings if entry.finding == point.finding), None),
                    next((entry.points for entry in self.curves if entry.finding == point.finding), ()),
                )
                for point in self.points
            ],
            "beside": [
                {
                    "name": entry.name,
                    "finding": entry.finding,
                    "verdict": entry.verdict,
                    "difference": "" if entry.difference is None else told(entry.difference),
                    **shown_rates(entry),
                }
                for entry in self.beside
            ],
        }


_ASSUMED = (
    "This assumes random arrival, films read in that order, the sensitivity and specificity of the run's test, and a "
    "finding as frequent as stated; a film's own time is not predicted."
)


def _facts(run: Run, verdict: str) -> dict[str, str]:
    recipe, provenance = run.recipe, run.provenance
    return {
        "Performance goals": f"{verdict} on the test images; the report says which and why",
        "Data": str(provenance["source"]["dataset"]),
        "Split": str(run.split_record.get("description", "")),
        "Network": f"{recipe.backbone}, {recipe.image_size} x {recipe.image_size} pixels",
        "Findings": ", ".join(recipe.targets),
        "Made": str(provenance.get("created_utc", "")),
        "chexkeras": str(provenance.get("packages", {}).get("chexkeras", "")),
    }


class _Rows(NamedTuple):
    labels: "NDArray[np.int64]"
    scores: "NDArray[np.float64]"
    patients: "NDArray[np.int64]"


def _known(scores: pd.DataFrame, finding: str) -> _Rows:
    """Returns the rows of a finding whose label is known, in an order and with numbers of patients that say nothing."""
    rows = scores[(scores["finding"] == finding) & scores["label"].notna()]
    # A fixed seed: the same run gives the same document. Ids are not in it, whatever the order.
    rows = rows.sample(frac=1, random_state=0)
    numbers, _ = pd.factorize(rows["patient_id"])
    return _Rows(rows["label"].to_numpy(np.int64), rows["score"].to_numpy(np.float64), np.asarray(numbers, np.int64))


def outcomes_of(scores: pd.DataFrame, point: OperatingPoint) -> TestOutcomes:
    """Returns what a threshold makes of scores, without any identifier.

    Args:
        scores: Long table of scores (image_id, patient_id, finding, label, score).
        point: The threshold.
    """
    rows = _known(scores, point.finding)
    calls = (rows.scores >= point.threshold).astype(int)
    return TestOutcomes(
        point.finding, tuple(rows.patients.tolist()), tuple(rows.labels.tolist()), tuple(calls.tolist())
    )


def curve_of(scores: pd.DataFrame, point: OperatingPoint) -> ThresholdCurve:
    """Returns what thresholds from the lowest to the highest score would do, the frozen one among them.

    Args:
        scores: Long table of the validation scores (image_id, patient_id, finding, label, score).
        point: The frozen threshold.
    """
    rows = _known(scores, point.finding)
    if len(set(rows.labels.tolist())) < 2:
        return ThresholdCurve(point.finding)
    places = np.linspace(0, 1, CURVE_POINTS - 1)
    thresholds = np.unique([*np.quantile(rows.scores, places, method="nearest"), point.threshold])
    return ThresholdCurve(point.finding, tuple(_at(rows, float(each), point) for each in thresholds))


def _at(rows: _Rows, threshold: float, point: OperatingPoint) -> CurvePoint:
    called, positive = rows.scores >= threshold, rows.labels == 1
    sensitivity = clustered_proportion_interval(called[positive], rows.patients[positive])
    specificity = clustered_proportion_interval(~called[~positive], rows.patients[~positive])
    return CurvePoint(threshold, threshold == point.threshold, sensitivity, specificity)


def _called(point: CurvePoint, prevalence: float) -> Estimate:
    """Returns how many of 1,000 films are called, by the square-and-add method of Zou and Donner (2008).

    Source:
        Zou & Donner, Statistics in Medicine 27, 2008 (MOVER): the interval of a sum from those of its parts.
    """
    sensitivity, specificity = point.sensitivity, point.specificity
    if not (sensitivity.estimable and specificity.estimable):
        return Estimate.not_estimable(sensitivity.reason or specificity.reason)
    positives, negatives = 1000 * prevalence, 1000 * (1 - prevalence)
    value = positives * sensitivity.value + negatives * (1 - specificity.value)
    below = math.hypot(
        positives * (sensitivity.value - sensitivity.low), negatives * (specificity.high - specificity.value)
    )
    above = math.hypot(
        positives * (sensitivity.high - sensitivity.value), negatives * (specificity.value - specificity.low)
    )
    n = sensitivity.n + specificity.n
    method = "Zou and Donner 2008, from the intervals of sensitivity and specificity"
    return Estimate(value, max(value - below, 0.0), min(value + above, 1000.0), sensitivity.confidence, n, method)


def _beside(run: Run, others: Sequence[Run]) -> tuple[Beside, ...]:
    if not others:
        return ()
    shown, taken = [], [run.folder.name]
    for at, each in enumerate((run, *others)):
        name, compared = run.folder.name, {}
        if at:
            # Experiments often lie in folders of the same name.
            name = each.folder.name if each.folder.name not in taken else f"{each.folder.name} ({at + 1})"
            taken.append(name)
            made = compare(each.scores("test"), run.scores("test"), names=(name, run.folder.name))
            compared = {entry.finding: (entry.verdict, entry.difference) for entry in made}
        shown += [
            Beside(
                name, entry.finding, entry.auroc, entry.sensitivity, entry.specificity,
                *compared.get(entry.finding, ("", None)),
            )
            for entry in each.evaluation.findings
            if entry.finding in run.recipe.targets
        ]  # fmt: skip
    return tuple(shown)


def anonymous(document: PageDocument) -> PageDocument:
    """Returns the document as it may be published: without the groups' counts below five images, which point at people.

    Args:
        document: Of the run.
    """
    few = 5
    findings = tuple(
        replace(
            entry,
            subgroups=tuple(
                replace(analysis, groups=tuple(group for group in analysis.groups if group.n_images >= few))
                for analysis in entry.subgroups
            ),
        )
        for entry in document.evaluation.findings
    )
    return replace(document, evaluation=replace(document.evaluation, findings=findings))
