"""What cross-validation says of a recipe: every number with its interval, and what is luck of fold and seed."""

import html
import math
from dataclasses import dataclass

import pandas as pd

from chexkeras import plain
from chexkeras.arguments import checked
from chexkeras.checks import no_such
from chexkeras.plain import PlainTable
from chexkeras.results.estimate import NOT_MEASURED, Estimate
from chexkeras.results.record import Record

STATISTICS = ("auroc", "average_precision", "sensitivity", "specificity")
"""What is averaged over findings."""

MODELS_OF_FOLDS = (
    "These numbers are of the models of the folds, each trained without the images of its own fold. A model that is "
    "fitted again to all images is as a rule a little better, and has no test of its own."
)
"""What a reader must know of any cross-validated number."""

NINETEEN_OF_TWENTY = 1.96
"""Standard deviations to either side that hold 19 of 20 values of a normal distribution."""


@dataclass(frozen=True)
class FoldResult(Record, nan=("auroc", "threshold")):
    """One training, measured on the fold that it did not see.

    Attributes:
        repeat: Number of the division into folds.
        fold: Number of the fold.
        seed: Seed of the training.
        n_positive: Positive images in the fold.
        n_negative: Negative images in the fold.
        auroc: Area under the ROC curve within the fold; NaN with one class.
        threshold: Frozen on the fold's own validation part; NaN where there is none.
    """

    repeat: int
    fold: int
    seed: int
    n_positive: int
    n_negative: int
    auroc: float
    threshold: float


@checked
@dataclass(frozen=True)
class FoldSpread(Record, nan=("folds", "folds_by_chance")):
    """How far results lie apart: standard deviations of an AUROC, or of a difference of two, and what each means.

    Attributes:
        seeds: Of the whole cross-validation between seeds on the same folds: the luck of the seed. Not estimable with
            one seed.
        repeats: Of the mean over seeds between divisions into folds: the luck of the division. Not estimable with one.
        folds: Between the folds of one division, means over seeds.
        folds_by_chance: What the few test images of a fold alone would make of it, all models being equally good.
    """

    seeds: Estimate
    repeats: Estimate
    folds: float
    folds_by_chance: float

    @property
    def between_runs(self) -> float:
        """How far two trainings of the recipe lie apart by their seeds alone, in 19 of 20 cases at most; or NaN."""
        return NINETEEN_OF_TWENTY * math.sqrt(2) * self.seeds.value

    def __str__(self) -> str:
        """Returns a sentence for each component that is known."""
        said = []
        if self.seeds.estimable:
            said.append(
                f"seeds {self.seeds.value:.4f} ({self.seeds.low:.4f}-{self.seeds.high:.4f}): two trainings that differ "
                f"in nothing but their seed lie up to {self.between_runs:.3f} apart in 19 of 20 cases"
            )
        if self.repeats.estimable:
            said.append(f"divisions into folds {self.repeats.value:.4f}")
        if not math.isnan(self.folds):
            said.append(f"folds {self.folds:.3f}")
        if not math.isnan(self.folds_by_chance):
            said[-1] += f", where their few test images alone make {self.folds_by_chance:.3f}"
        return "; ".join(said) or "not estimable"


@checked
@dataclass(frozen=True)
class CrossValidatedFinding(Record):
    """How well one finding is recognised by models that have not seen the patients they are measured on.

    Attributes:
        finding: The finding.
        n_images: Images with a known label.
        n_patients: Patients among them.
        n_positive: Images labelled positive.
        n_negative: Images labelled negative.
        auroc: Mean over folds of the area within the fold.
        average_precision: Of all folds on one scale, at the prevalence of the images.
        sensitivity: Share of positives called positive at the thresholds of their folds.
        specificity: Share of negatives called negative at the thresholds of their folds.
        intercept: Calibration in the large: the shift of the log odds that the scores lack; 0 is perfect.
        slope: Of the log odds, within folds; 1 is perfect, below 1 the scores are too extreme.
        brier: Mean squared difference of score and label; 0 is perfect.
        spread: How far the AUROC of folds, repeats and seeds lies apart.
        folds: Each training on its fold.
    """

    finding: str
    n_images: int
    n_patients: int
    n_positive: int
    n_negative: int
    auroc: Estimate
    average_precision: Estimate
    sensitivity: Estimate
    specificity: Estimate
    intercept: Estimate
    slope: Estimate
    brier: Estimate
    spread: FoldSpread
    folds: tuple[FoldResult, ...] = ()

    def __str__(self) -> str:
        """Returns every number with its interval, a line each."""
        rows = {plain.words(name): str(getattr(self, name)) for name in STATISTICS}
        images = f"{self.n_positive:,} positive of {self.n_images:,} images, {self.n_patients:,} patients"
        wide = max(map(len, rows))
        lines = [plain.wrapped(text, f"  {name:<{wide}}  ") for name, text in rows.items()]
        calibrated = f"calibration: slope {self.slope}, intercept {self.intercept}, Brier score {self.brier}"
        lines.append(plain.wrapped(calibrated, "  ", "    "))
        lines.append(plain.wrapped(f"standard deviations of the AUROC: {self.spread}", "  ", "    "))
        return "\n".join([plain.wrapped(f"{self.finding}: {images}", later="    "), *lines])


@checked
@dataclass(frozen=True)
class CrossValidated(Record):
    """What cross-validation says of a recipe; JSON both ways, a table in a notebook.

    Attributes:
        n_folds: Folds of a division.
        n_repeats: Divisions of the patients into folds.
        n_seeds: Trainings of each fold.
        n_images: Images.
        n_patients: Patients.
        scores_fingerprint: SHA-256 of the table of out-of-fold scores.
        findings: One entry for each finding, in order of appearance.
        auroc: Mean of the findings that can be measured in every fold; `method` names those that cannot.
        average_precision: Mean of the findings.
        sensitivity: Mean of the findings with a threshold in every fold.
        specificity: Mean of the findings with a threshold in every fold.
        spread: How far the mean AUROC of folds, repeats and seeds lies apart.
        cautions: Sentences a reader must see beside the numbers.
    """

    n_folds: int
    n_repeats: int
    n_seeds: int
    n_images: int
    n_patients: int
    scores_fingerprint: str
    findings: tuple[CrossValidatedFinding, ...]
    auroc: Estimate
    spread: FoldSpread
    average_precision: Estimate = NOT_MEASURED
    sensitivity: Estimate = NOT_MEASURED
    specificity: Estimate = NOT_MEASURED
    cautions: tuple[str, ...] = ()

    def __getitem__(self, finding: str) -> CrossValidatedFinding:
        """Returns what was measured of one finding; raises KeyError naming those there are."""
        for entry in self.findings:
            if entry.finding == finding:
                return entry
        raise KeyError(no_such(finding, (entry.finding for entry in self.findings), "was not cross-validated"))

    def refuse_impossible(self) -> None:
        """Checks what was read.

        Raises:
            ValueError: If there are fewer than two folds, or no repeat, seed or finding.
        """
        if self.n_folds < 2 or min(self.n_repeats, self.n_seeds, len(self.findings)) < 1:
            raise ValueError(
                f"a cross-validation has {self.n_folds} folds, {self.n_repeats} repeats, {self.n_seeds} seeds and "
                f"{len(self.findings)} findings"
            )

    @property
    def design(self) -> str:
        """Folds, repeats and seeds in words."""
        words = [f"{self.n_folds} folds by patient"]
        words += [f"divided {self.n_repeats} times"] if self.n_repeats > 1 else []
        words += [f"{self.n_seeds} seeds"] if self.n_seeds > 1 else []
        return f"{', '.join(words)}; {self.n_images:,} images of {self.n_patients:,} patients"

    def __str__(self) -> str:
        """Returns the numbers as text of 80 columns, cautions first: a list for a few findings, tables for many."""
        lines = [*plain.cautions((*self.cautions, MODELS_OF_FOLDS)), plain.wrapped(f"Cross-validation: {self.design}")]
        if len(self.findings) <= 3:
            lines += list(map(str, self.findings))
        else:
            lines += ["", self._as_table()]
        if len(self.findings) > 1:
            for name in STATISTICS:
                lines.append(plain.wrapped(f"Mean {plain.words(name)} of the findings: {getattr(self, name)}"))
            lines.append(plain.wrapped(f"Standard deviations of the mean AUROC: {self.spread}"))
        return "\n".join(lines)

    def _as_table(self) -> str:
        notes = plain.Notes()
        columns = {
            "finding": [entry.finding for entry in self.findings],
            "positive": [f"{entry.n_positive:,} of {entry.n_images:,}" for entry in self.findings],
        }
        for name in (*STATISTICS, "slope", "brier"):
            values = [getattr(entry, name) for entry in self.findings]
            columns[plain.heading(plain.words(name), values)] = [notes.cell(value) for value in values]
        return "\n".join([plain.table(columns), *notes.lines()])

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each finding, each number with its interval as text."""
        rows = [
            {
                "finding": entry.finding,
                "images": entry.n_images,
                "patients": entry.n_patients,
                "positives": entry.n_positive,
                **{plain.words(name): str(getattr(entry, name)) for name in (*STATISTICS, "slope", "intercept")},
                "Brier score": str(entry.brier),
                "spread of the AUROC": str(entry.spread),
            }
            for entry in self.findings
        ]
        return PlainTable(rows)

    def _repr_html_(self) -> str:
        notes = "".join(
            f"<p><strong>Caution:</strong> {html.escape(caution)}</p>" for caution in (*self.cautions, MODELS_OF_FOLDS)
        )
        mean = f" Mean AUROC of the findings: {html.escape(str(self.auroc))}." if len(self.findings) > 1 else ""
        table = self.to_frame().set_index("finding").T.to_html()
        return f"{notes}<p>Cross-validation: {html.escape(self.design)}.{mean}</p>{table}"
