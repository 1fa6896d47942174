"""A finished run on the images of another hospital: how it fares there, and whether that is what home promised."""

import re
from dataclasses import dataclass
from numbers import Real
from typing import Any

import pandas as pd

from chexkeras import plain
from chexkeras.arguments import checked
from chexkeras.plain import PlainTable
from chexkeras.results.comparison import Comparison
from chexkeras.results.estimate import NOT_MEASURED, Estimate
from chexkeras.results.evaluation import Evaluation
from chexkeras.results.record import Record
from chexkeras.results.robustness import FEWEST_PATIENTS, RATES
from chexkeras.results.shortcuts import SHORTCUT_WORDS, ShortcutStudy

HOLDS, WORSE, NOT_SHOWN, UNKNOWN = "holds", "worse", "not shown", "not estimable"
"""What can be said of a model at another hospital; see `ExternalFinding.verdict`."""

_WORST_FIRST = (WORSE, UNKNOWN, NOT_SHOWN, HOLDS)

INTERNAL = "internal test"
"""What the run's own test part is called in the comparisons."""

SAME_SOURCE = "not external: same source as the training images"
"""What a test on images of the data set that the run learnt from is called."""

SEEN = "not external: the weights have seen these images"
"""What a test is called on images of a data set that the weights were trained on before the run's own training."""

ELSEWHERE = "another source than the training images"
"""What a test is called whose images were compared with the run's own, pixels included, and are none of them."""

WITH_COPIES = "copies of this run's images were among them, and left out"
"""What a test is called where some of the images were nearly the same as images of the run."""

NOT_COMPARED = "other names than the training images; pixels were not compared"
"""What a test is called where copies of the run's images under other names would not have been noticed."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,38}[A-Za-z0-9])?")


def site_name(name: str) -> str:
    """Returns the name of an external test if it can be that of a folder in the run.

    Args:
        name: What the caller or a file gave.

    Raises:
        ValueError: If it is not 1 to 40 letters of the English alphabet, digits, ``_``, ``-`` and ``.``, beginning
            and ending with a letter or digit.

    Example:
        >>> site_name("padchest")
        'padchest'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(
            f"the name of an external test, {str(name)!a:.60}, must be 1 to 40 letters a-z, digits, '_', '-' or '.', "
            "and begin and end with a letter or digit, such as 'padchest': it becomes a folder in the run."
        )
    return name


@checked
@dataclass(frozen=True)
class ExternalFinding(Record):
    """One finding at another hospital, against the run's own test part.

    Attributes:
        finding: As the run calls it.
        label: The column of the other data set that was taken for it.
        n_positive: Patients there with an image that shows the finding.
        n_negative: Patients there with an image that does not; who has images of both kinds counts in both.
        comparisons: AUROC, calibration slope and intercept and, with a frozen threshold, sensitivity and specificity:
            there minus the internal test, of different patients.
        seen_by_weights: Whether the weights that the run began with have seen images there, or may have: nothing is
            then said to hold.
    """

    finding: str
    label: str
    n_positive: int
    n_negative: int
    comparisons: tuple[Comparison, ...]
    seen_by_weights: bool = False

    def __getitem__(self, statistic: str) -> Comparison:
        """Returns the comparison of one statistic; raises KeyError naming those there are."""
        for entry in self.comparisons:
            if entry.statistic == statistic:
                return entry
        there = ", ".join(entry.statistic for entry in self.comparisons)
        raise KeyError(f"{statistic!r} was not compared; there are: {there}")

    @property
    def discrimination(self) -> str:
        """What can be said of the ranking of images: the verdict on the AUROC."""
        return self.verdict("AUROC")

    @property
    def operating_point(self) -> str | None:
        """What can be said of calls at the frozen threshold: the worse verdict of sensitivity and specificity.

        None where nothing was called, for want of a threshold.
        """
        called = [name for name in RATES if any(entry.statistic == name for entry in self.comparisons)]
        return _worst(*map(self.verdict, called)) if called else None

    @property
    def leading(self) -> str:
        """The verdict on the finding: the worse of those on discrimination and on the operating point."""
        return _worst(self.discrimination, *filter(None, (self.operating_point,)))

    def verdict(self, statistic: str) -> str:
        """Returns what can be said of one statistic.

        "holds": the interval of the difference excludes a loss of the margin or more. "worse": it does not, and it
        lies below 0. "not shown": neither, for want of images; this is no sign that the model holds. An AUROC is not
        said to hold with fewer than `FEWEST_PATIENTS` patients with or without the finding, nor where its own interval
        there reaches down to 0.5: a model that separates nothing has nothing to lose. Nothing holds on images that the
        weights have seen.

        Args:
            statistic: "AUROC", "sensitivity" or "specificity".
        """
        entry = self[statistic]
        if not entry.difference.estimable:
            return UNKNOWN
        if entry.non_inferior:
            few = min(self.n_positive, self.n_negative) < FEWEST_PATIENTS
            nothing = statistic == "AUROC" and not entry.first_value.low > 0.5
            unproven = self.seen_by_weights or nothing or (few and statistic == "AUROC")
            return NOT_SHOWN if unproven else HOLDS
        return WORSE if entry.difference.high < 0 else NOT_SHOWN

    def __str__(self) -> str:
        """Returns the verdict as a sentence with both areas and their difference."""
        area = self["AUROC"]
        name = self.finding.replace("_", " ")
        if not area.difference.estimable:
            return f"{name}: not estimable ({area.difference.reason})"
        words = {
            HOLDS: f"holds within {area.margin:g} of AUROC",
            WORSE: "worse than at home",
            NOT_SHOWN: f"not shown to hold within {area.margin:g} of AUROC",
        }[self.discrimination]
        words += f" ({SEEN})" if self.seen_by_weights else ""
        return (
            f"{name}: {words}, AUROC {area.first_value} there, {area.second_value} in the internal test, difference "
            f"{area.difference}"
        )


def _worst(*verdicts: str) -> str:
    return min(verdicts, key=_WORST_FIRST.index)


@checked
@dataclass(frozen=True, kw_only=True)
class LocalAdjustment(Record):
    """What a threshold chosen, and a recalibration fitted, on some of a site's patients gives on its other patients.

    This is not the external test: it is a forecast of what adjusting the model to the site would do.

    Attributes:
        finding: The finding.
        n_fitted: Images that chose and fitted.
        n_fitted_positive: Positives among them.
        n_measured: Images of the other patients, on which everything here is measured.
        n_measured_positive: Positives among them.
        frozen_threshold: The run's threshold.
        local_threshold: Chosen by the run's own rule on the images that fitted; NaN where none could be.
        sensitivity_frozen: On the other patients, at the run's threshold.
        specificity_frozen: On the other patients, at the run's threshold.
        sensitivity_local: On the other patients, at the local threshold.
        specificity_local: On the other patients, at the local threshold.
        slope_before: Calibration slope of the scores on the other patients, as the model gave them.
        slope_after: The same after recalibration.
        intercept_before: Calibration intercept of the scores on the other patients, as the model gave them.
        intercept_after: The same after recalibration.
        brier_before: Mean squared error of the scores on the other patients, as the model gave them.
        brier_after: The same after recalibration.
        reason: Why something is lacking; empty where nothing is.
    """

    finding: str
    n_fitted: int
    n_fitted_positive: int
    n_measured: int
    n_measured_positive: int
    frozen_threshold: float
    local_threshold: float | None = None
    sensitivity_frozen: Estimate = NOT_MEASURED
    specificity_frozen: Estimate = NOT_MEASURED
    sensitivity_local: Estimate = NOT_MEASURED
    specificity_local: Estimate = NOT_MEASURED
    slope_before: Estimate = NOT_MEASURED
    slope_after: Estimate = NOT_MEASURED
    intercept_before: Estimate = NOT_MEASURED
    intercept_after: Estimate = NOT_MEASURED
    brier_before: Estimate = NOT_MEASURED
    brier_after: Estimate = NOT_MEASURED
    reason: str = ""


@dataclass(frozen=True)
class SiteShortcut(Record):
    """How well one thing beside the disease tells a finding at a site, fitted and measured there over its patients.

    Attributes:
        name: For example "view" or "thumbnail".
        finding: The finding.
        auroc: Of a logistic regression on this alone, on patients that it was not fitted to.
    """

    name: str
    finding: str
    auroc: Estimate


@checked
@dataclass(frozen=True, kw_only=True)
class ExternalTest(Record):
    """A run's model, with its frozen thresholds, on the images of one other data set.

    Attributes:
        name: What the site is called; its folder in the run.
        dataset: The data set's name.
        label_release: Which release of its labels.
        files: Name and SHA-256 of each file that its table was read from.
        synthetic: Whether its images are phantoms.
        same_source: Whether the images are of the data set that the run learnt from, as their names say or since images
            of the run were among them: no external test then.
        n_listed: Images that were listed.
        n_images: Images that were scored.
        n_patients: Patients of them.
        n_overlap: Images left out since their patients, or they themselves, are among the run's own.
        copies_searched: Whether copies of the run's images were searched for by their pixels, not by names alone.
        n_copies: Images left out since their pixels are those of images of the run, or nearly so.
        n_beside_copies: Other images of the patients of those, left out for that reason.
        refused: Share of the images that the gate refused, or that could not be decoded: they have no score.
        refused_reasons: Code of each reason, and how many images.
        unlike_training: Share of the scored images that are unlike the training images.
        margin: Loss of AUROC from which on a loss matters, stated beforehand.
        operating_margin: The same for sensitivity and specificity at the frozen threshold.
        findings: Each finding against the internal test.
        left_out: Findings of the run that were not measured, each with the reason.
        evaluation: Everything measured on the images there, as of a test part.
        shortcuts: The model against shortcuts that were fitted to the run's own training images.
        site_shortcuts: What shortcuts tell there by themselves: how the site's images were selected.
        adjustments: What adjusting the model to the site would give.
        scores_fingerprint: SHA-256 of the scores there.
        internal_fingerprint: SHA-256 of the run's test scores that they were compared with.
        model_sha256: Of the model that scored them.
        cautions: Sentences a reader must see beside any of these numbers.
        provenance: Versions, commit and time, from `provenance.collect`.
    """

    name: str
    dataset: str
    label_release: str
    files: tuple[tuple[str, str], ...]
    synthetic: bool
    same_source: bool
    n_listed: int
    n_images: int
    n_patients: int
    n_overlap: int
    copies_searched: bool
    refused: Estimate
    refused_reasons: tuple[tuple[str, int], ...]
    unlike_training: Estimate
    margin: float
    operating_margin: float
    findings: tuple[ExternalFinding, ...]
    left_out: tuple[tuple[str, str], ...]
    evaluation: Evaluation
    shortcuts: ShortcutStudy | None
    site_shortcuts: tuple[SiteShortcut, ...]
    adjustments: tuple[LocalAdjustment, ...]
    scores_fingerprint: str
    internal_fingerprint: str
    model_sha256: str
    cautions: tuple[str, ...] = ()
    provenance: dict[str, Any] | None = None
    n_copies: int = 0
    n_beside_copies: int = 0

    def refuse_impossible(self) -> None:
        """Checks what was read: a name that is a path, findings that stand twice, counts that do not fit.

        Raises:
            ValueError: If one is so.
        """
        site_name(self.name)
        names = [entry.finding for entry in self.findings]
        if not names or len(set(names)) < len(names) or set(names) - {e.finding for e in self.evaluation.findings}:
            raise ValueError("its findings stand twice, or were not evaluated")
        for entry in self.findings:
            if "AUROC" not in {each.statistic for each in entry.comparisons}:
                raise ValueError(f"{entry.finding} has no comparison of the AUROC")
            for each in entry.comparisons:
                stated = self.operating_margin if each.statistic in RATES else self.margin
                if each.statistic in ("AUROC", *RATES) and each.margin != stated:
                    raise ValueError(f"the {each.statistic} of {entry.finding} was compared with another margin")
        if not 0 < self.n_images <= self.n_listed or not 0 < self.n_patients <= self.n_images or self.n_overlap < 0:
            raise ValueError(f"{self.n_images} images of {self.n_patients} patients among {self.n_listed} listed")
        gone = (self.n_copies, self.n_beside_copies)
        if min(gone) < 0 or self.n_images + sum(gone) > self.n_listed or (gone[0] and not self.copies_searched):
            raise ValueError(f"{gone[0]} copies and {gone[1]} images beside them among {self.n_listed} listed")
        for margin in (self.margin, self.operating_margin):
            if isinstance(margin, bool) or not isinstance(margin, Real) or not 0 < margin < 1:
                raise ValueError(f"a margin is {margin!r}, a number between 0 and 1 was expected")
        unknown = [entry.name for entry in self.site_shortcuts if entry.name not in SHORTCUT_WORDS]
        if unknown:
            raise ValueError(f"{unknown[0]!a:.40} is none of {', '.join(SHORTCUT_WORDS)}")

    def __getitem__(self, finding: str) -> ExternalFinding:
        """Returns one finding; raises KeyError naming those there are."""
        for entry in self.findings:
            if entry.finding == finding:
                return entry
        there = ", ".join(entry.finding for entry in self.findings)
        raise KeyError(f"{finding!r} was not measured there; there are: {there}")

    @property
    def kind(self) -> str:
        """What the images are, in words that stand wherever a number from them is shown."""
        if self.same_source:
            return SAME_SOURCE
        if self.seen_by_weights:
            return SEEN
        if self.n_copies:
            return WITH_COPIES
        if self.synthetic:
            return "synthetic images"
        return ELSEWHERE if self.copies_searched else NOT_COMPARED

    @property
    def copies_sentence(self) -> str:
        """How many images were left out as copies of the run's own; "" where none was."""
        return copies_sentence(self.n_copies, self.n_beside_copies)

    @property
    def seen_by_weights(self) -> bool:
        """Whether the weights that the run began with have seen images there, or may have."""
        return any(entry.seen_by_weights for entry in self.findings)

    @property
    def outside(self) -> bool:
        """Whether its images are of a source that neither the run nor the weights it began with learnt from."""
        return not self.same_source and not self.seen_by_weights

    @property
    def leading(self) -> str:
        """The worst verdict of its findings."""
        return _worst(*(entry.leading for entry in self.findings))

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each finding and statistic: there, at home, the difference and the verdict."""
        rows = [
            {
                "finding": entry.finding.replace("_", " "),
                "statistic": each.statistic,
                self.name: str(each.first_value),
                INTERNAL: str(each.second_value),
                "difference": str(each.difference),
                "verdict": entry.verdict(each.statistic) if each.statistic in ("AUROC", *RATES) else each.verdict,
            }
            for entry in self.findings
            for each in entry.comparisons
        ]
        table = PlainTable(rows)
        table.attrs["cautions"] = self.cautions
        return table

    def __str__(self) -> str:
        """Returns cautions, what the images are, each finding's verdict, shortcuts, and what adjusting would give."""
        lines = [
            *plain.cautions(self.cautions),
            plain.wrapped(
                f"External test {self.name!r} ({self.dataset}; {self.kind}): {self.n_images:,} images of "
                f"{self.n_patients:,} patients, of {self.n_listed:,} listed; frozen model and thresholds",
                later="  ",
            ),
        ]
        if self.n_overlap:
            lines.append(plain.wrapped(f"{self.n_overlap:,} images left out: of patients of the run", "  ", "    "))
        if self.n_copies:
            lines.append(plain.wrapped(self.copies_sentence, "  ", "    "))
        lines.append(plain.wrapped(f"refused by the gate: {self.refused}", "  ", "    "))
        lines.append(plain.wrapped(f"unlike the training images: {self.unlike_training}", "  ", "    "))
        for entry in self.findings:
            lines.append(plain.wrapped(str(entry), later="    "))
            for name in RATES:
                if any(each.statistic == name for each in entry.comparisons):
                    each = entry[name]
                    told = f"{name} at the frozen threshold {each.first_value}; internal test {each.second_value}"
                    lines.append(plain.wrapped(f"{told}; {entry.verdict(name)}", "  ", "    "))
            scale = self.evaluation[entry.finding].calibration
            if scale is not None:
                told = f"calibration there: slope {scale.slope}, intercept {scale.intercept}"
                lines.append(plain.wrapped(told, "  ", "    "))
        if self.shortcuts is not None and self.shortcuts.headline:
            lines.append(plain.wrapped(f"Shortcuts: {self.shortcuts.headline}", later="    "))
        lines += [plain.wrapped(f"{name}: not measured: {reason}", later="    ") for name, reason in self.left_out]
        for adjusted in self.adjustments:
            lines.append(plain.wrapped(_forecast(adjusted), later="    "))
        return "\n".join(lines)


def copies_sentence(copies: int, beside: int) -> str:
    """Returns a sentence on images that were left out as copies of a run's own; "" where none was.

    Args:
        copies: Images whose pixels are those of images of the run.
        beside: Other images of the same patients.
    """
    if not copies:
        return ""
    of = f"; so were {beside:,} other images of the same patients" if beside else ""
    return f"{copies:,} images were left out: their pixels are those of images of this run, or nearly so{of}."


def _forecast(entry: LocalAdjustment) -> str:
    about = f"If adjusted to this site ({entry.finding.replace('_', ' ')}; no part of the external test)"
    if entry.reason and not entry.sensitivity_local.estimable:
        return f"{about}: not estimable: {entry.reason}"
    told = (
        f"{about}: on {entry.n_measured:,} images of other patients than the {entry.n_fitted:,} that chose it, "
        f"sensitivity {entry.sensitivity_local} (frozen: {entry.sensitivity_frozen}), specificity "
        f"{entry.specificity_local} (frozen: {entry.specificity_frozen})"
    )
    if entry.slope_after.estimable:
        told += f"; calibration slope {entry.slope_after} after recalibration, before {entry.slope_before}"
    return told
