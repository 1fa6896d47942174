"""The figures of a report: drawn from the run folder alone, each with a caption that is a sentence of facts."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexkeras import plots
from chexkeras.data.columns import finding_columns
from chexkeras.plots import style
from chexkeras.plots.forest import height_of
from chexkeras.progress import track
from chexkeras.report.answers import Answers
from chexkeras.report.calibration_facts import Probabilities, decision_rows, probabilities_of
from chexkeras.report.facts import Facts
from chexkeras.report.sheets import FEW, Figure, Panels, Sheet
from chexkeras.results import Comparison, SubgroupAnalysis
from chexkeras.results.subgroups import STATISTICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = (
    "flowchart", "dicom_verdicts", "training_curves", "precision_recall", "threshold_tradeoff", "prevalence",
    "age_sex", "views", "images_per_patient", "cooccurrence", "intensities", "roc", "auroc_bars", "confusion_matrix",
    "score_histogram", "subgroup_forest_auroc", "subgroup_forest_sensitivity", "subgroup_forest_specificity",
    "reliability", "decision_curve", "triage_waiting", "roc_comparison", "difference_forest",
)  # fmt: skip
"""Every figure that a report may have."""

_PAGE_INCHES = 12.0
"""Height of a figure that is printed on one page, at the scale of all the others."""
_REPLICATES = 300

Draw = Callable[["Axes", tuple[str, ...]], Any]


def _smallest_p(analyses: Sequence[SubgroupAnalysis], statistic: str = "auroc") -> float:
    """Returns the smallest p-value for a difference between groups; without any test the largest there can be."""
    values = [test.p_value for analysis in analyses for test in analysis.interactions if test.statistic == statistic]
    return min((value for value in values if not math.isnan(value)), default=1.0)


class _Plan:
    """Every figure that this run and these answers allow."""

    def __init__(self, run: Any, facts: Facts, answers: Answers) -> None:
        self.run, self.facts, self.answers = run, facts, answers
        self.jobs: list[Sheet] = []
        self.findings = [str(name) for name in facts["evaluated"].value]
        self.points = {point.finding: point for point in run.operating_points}
        self.decided = [finding for finding in self.findings if finding in self.points]
        self.named = ", ".join(style.words(finding) for finding in self.findings)
        self.test = run.scores("test")
        self.leading = self._leading()

    def _leading(self) -> list[str]:
        """The findings whose curves are shown: all of a few; of many those with the most positives to learn from."""
        if len(self.findings) <= FEW:
            return self.findings
        return sorted(self.findings, key=lambda finding: -self.facts[f"test.{finding}.n_positive"].value)[:FEW]

    def led(self, shown: Sequence[str]) -> str:
        """The words of a caption that say which findings are shown."""
        named = ", ".join(style.words(finding) for finding in shown)
        if len(self.findings) <= FEW:
            return named
        return f"{named}, the {len(shown)} findings with the most positive test images"

    def counted(self, part: str) -> str:
        """How many images of how many patients a part has, where patients are known."""
        images = f"{self.facts[f'data.{part}.images'].text} images"
        if not self.facts["patients.known"].value:
            return f"{images}, patients not known"
        return f"{images} of {self.facts[f'data.{part}.patients'].text} patients"

    def add(
        self, name: str, caption: str, files: str, draw: Draw, size: tuple[float, float], *, notes_above: bool = False
    ) -> None:
        """Plans a figure of one panel."""
        self.sheet(name, caption, files, lambda _, ax, notes: draw(ax, notes), size, [name], notes_above=notes_above)

    def sheet(
        self, name: str, caption: str, files: str, draw: Panels, size: tuple[float, float], shown: Sequence[str],
        columns: int | None = None, *, notes_above: bool = False,
    ) -> None:  # fmt: skip
        """Plans a figure with a panel for each of `shown`; none where there is nothing to show."""
        if shown:
            source = f"Source: {files}."
            self.jobs.append(Sheet(Figure(name, caption, source), draw, list(shown), *size, columns, notes_above))

    def algorithm(self) -> None:
        """The way of a film through the algorithm, and how it was trained."""
        run = self.run
        self.add(
            "flowchart",
            f"Flow of a film through the algorithm, from the DICOM file to the call for {self.named}",
            "recipe.json, stages.json and operating_points.json",
            lambda ax, notes: plots.flowchart(
                run.recipe,
                stages=run.stages,
                points=run.operating_points,
                kept=self.facts["kept.stage"].value,
                ax=ax,
                note=notes,
            ),
            (7.2, 8.4),
        )
        self.add(
            "training_curves",
            f"Loss and validation AUROC over {self.facts['training.epochs'].text} epochs; the vertical line parts the "
            "stages",
            "history.csv",
            lambda ax, notes: plots.training_curves(run.history, ax=ax, note=notes),
            (6.6, 5.4),
        )
        if run.dicom_results is not None:
            reasons = [code for kind in ("reject", "warn") for code, _ in self.facts[f"dicom.{kind}_reasons"].value]
            longest = max((len(str(code)) for code in reasons), default=0)
            self.add(
                "dicom_verdicts",
                f"Verdicts on {self.facts['dicom.files'].text} DICOM files, by reason",
                "dicom_results.csv",
                lambda ax, notes: plots.dicom_verdicts(run.dicom_results, ax=ax, note=notes),
                # A file may have several warnings, all of them in its label.
                (max(6.6, 5.4 + 0.085 * longest), 1.9 + 0.3 * len(reasons)),
                notes_above=True,
            )

    def data(self) -> None:
        """Who and what is on the films."""
        table, everyone, source = self.run.table, self.counted("all"), "table.csv"
        one = self.findings[0] if len(self.findings) == 1 else None
        share = f", with the share showing {self.named}" if one else ""
        self.add("prevalence", f"Findings among {everyone}", source,
                 lambda ax, notes: plots.prevalence(table, ax=ax, note=notes), (6.6, 5.2))  # fmt: skip
        self.add("age_sex", f"Age and sex of {everyone}", source,
                 lambda ax, notes: plots.age_sex(table, ax=ax, note=notes), (6.6, 4.2))  # fmt: skip
        self.add("views", f"Views of {everyone}{share}", source,
                 lambda ax, notes: plots.views(table, one, ax=ax, note=notes), (6.6, 3.0))  # fmt: skip
        self.add("images_per_patient", f"Images per patient among {everyone}", source,
                 lambda ax, notes: plots.images_per_patient(table, ax=ax, note=notes), (6.6, 3.8))  # fmt: skip
        if len(finding_columns(table)) > 1:
            self.add("cooccurrence", f"Findings that occur together among {everyone}", source,
                     lambda ax, notes: plots.cooccurrence(table, ax=ax, note=notes), (8.6, 8.0))  # fmt: skip

        bright = {finding: self.facts[f"intensities.{finding}.shares"].value for finding in
                  self.facts["intensities.shown"].value}  # fmt: skip
        self.sheet("intensities", "Brightness of training films with and without "
                   f"{', '.join(map(style.words, bright))}: the mean film of each group", "intensities.json",
                   lambda f, ax, n: plots.intensity_profile(bright[f], f, ax=ax, note=n),
                   (6.2, 4.0), list(bright))  # fmt: skip

    def performance(self) -> None:
        """How well scores rank and calls agree."""
        test, evaluation, where = self.test, self.run.evaluation, self.counted("test")
        validation = self.run.scores("validation")
        both = "scores_test.csv and evaluation.json"
        decided = [finding for finding in self.leading if finding in self.points]
        self.sheet("roc", f"ROC curve on the test part ({where}) for {self.named}, with the operating point", both,
                   lambda f, ax, n: plots.roc(test, evaluation, finding=f, ax=ax, note=n),
                   (5.6, 5.8), self.findings)  # fmt: skip
        self.sheet("precision_recall", f"Precision-recall curve on the test part ({where}) for {self.named}", both,
                   lambda f, ax, n: plots.precision_recall(test, evaluation, finding=f, ax=ax, note=n),
                   (5.6, 5.2), self.findings)  # fmt: skip
        if len(self.findings) > 1:
            self.add("auroc_bars", f"AUROC of every finding on the test part ({where})", "evaluation.json",
                     lambda ax, notes: plots.auroc_bars(evaluation, ax=ax, note=notes),
                     (7.0, 1.8 + 0.35 * len(self.findings)))  # fmt: skip
        # Of many findings the distributions are drawn with their calibration only.
        self.sheet("score_histogram", f"Scores of positive and negative images of the test part ({where})",
                   "scores_test.csv and operating_points.json",
                   lambda f, ax, n: plots.score_histogram(test, self.points.get(f), finding=f, ax=ax, note=n),
                   (6.2, 4.2), self.findings if len(self.findings) <= FEW else ())  # fmt: skip
        self.sheet("threshold_tradeoff",
                   "Sensitivity and specificity against the threshold on the validation part "
                   f"({self.counted('validation')}) for {self.led(decided)}" if decided else "",
                   "scores_validation.csv and operating_points.json",
                   lambda f, ax, n: plots.threshold_tradeoff(validation, self.points[f], ax=ax, note=n),
                   (7.4, 5.0), decided)  # fmt: skip
        # The counts of many findings stand in the text.
        self.sheet("confusion_matrix", f"Calls at the frozen threshold on the test part ({where})", "evaluation.json",
                   lambda f, ax, n: plots.confusion_matrix(evaluation, finding=f, ax=ax, note=n),
                   (5.4, 4.8), self.decided if len(self.findings) <= FEW else ())  # fmt: skip

    def groups(self) -> None:
        """Each statistic in groups."""
        grouped = {
            finding: [
                SubgroupAnalysis.from_dict(self.facts[f"groups.{finding}.{column}.analysis"].value)
                for column in self.facts[f"groups.{finding}"].value
            ]
            for finding in self.findings
            if self.facts[f"groups.{finding}"].value
        }
        if not grouped:
            return
        for statistic in STATISTICS:
            decided = [finding for finding in grouped if statistic == "auroc" or finding in self.points]
            if decided:
                self._forest(statistic, {finding: grouped[finding] for finding in decided})

    def _forest(self, statistic: str, grouped: dict[str, list[SubgroupAnalysis]]) -> None:
        """One statistic in groups, for as many findings as a page holds: those whose groups differ most clearly."""
        rows = max(sum(len(analysis.groups) + 2 for analysis in analyses) for analyses in grouped.values()) + 1
        most = max(1, int(_PAGE_INCHES // height_of(rows)))
        shown, word = list(grouped), statistic.replace("auroc", "AUROC")
        left_out = ""
        if len(shown) > most:
            # Where groups differ most is what a reader must see; the tables hold every finding.
            shown = sorted(shown, key=lambda finding: _smallest_p(grouped[finding], statistic))[:most]
            left_out = f", for {', '.join(map(style.words, shown))}, where they differ most clearly"

        def draw(finding: str, ax: "Axes", notes: tuple[str, ...]) -> Any:
            overall = getattr(self.run.evaluation[finding], statistic)
            return plots.subgroup_forest(
                grouped[finding], statistic, finding=finding, overall=overall, ax=ax, note=notes
            )

        counted = "negatives" if statistic == "specificity" else "positives"
        self.sheet(
            f"subgroup_forest_{statistic}",
            f"{word[0].upper()}{word[1:]} in groups of the test part ({self.counted('test')}){left_out}; dashed: all "
            f"images. A group with fewer than {self.facts['goal.fewest_positives'].text} {counted} is listed without "
            "an estimate",
            "evaluation.json, scores_test.csv and table.csv",
            draw,
            (9.2, height_of(rows)),
            shown,
            1,
        )

    def probabilities(self) -> None:
        """Scores as probabilities: calibration and net benefit."""
        found = {finding: probabilities_of(self.run, finding) for finding in self.leading}
        both = [finding for finding in self.leading if self.facts[f"decision.{finding}"].value]
        files = "scores_test.csv and evaluation.json"
        if self.run.recalibrations:
            files = "scores_test.csv and recalibration.json"
        extra = 0.8 if self.run.recalibrations else 0.0
        self.sheet("reliability", f"Calibration on the test part ({self.counted('test')}) for {self.led(both)}", files,
                   lambda f, ax, n: self._reliability(f, ax, n, found[f]), (6.2, 7.0 + extra), both)  # fmt: skip
        self.sheet("decision_curve",
                   f"Net benefit on the test part ({self.counted('test')}), with acting on every film and on none, for "
                   f"{self.led(both)}", files,
                   lambda f, ax, n: self._decision_curve(f, ax, n, found[f]), (6.8, 5.4), both)  # fmt: skip

    def _reliability(self, finding: str, ax: "Axes", notes: tuple[str, ...], found: Probabilities) -> None:
        rows = self.test[self.test["finding"] == finding]
        if found.recalibration is None:
            plots.reliability(rows, self.run.evaluation, finding=finding, ax=ax, note=notes)
            return
        plots.reliability({"as given": rows, "recalibrated": found.rows}, finding=finding, ax=ax, note=notes)

    def _decision_curve(self, finding: str, ax: "Axes", notes: tuple[str, ...], found: Probabilities) -> None:
        stated = self.answers.prevalences.get(finding)
        rows = decision_rows(found, stated)
        plots.decision_curve(rows, self.run.evaluation, finding=finding, prevalence=stated, replicates=_REPLICATES,
                             ax=ax, note=notes)  # fmt: skip

    def waiting(self) -> None:
        """The reading queue, where its rates are stated."""
        if not self.facts["waiting"].value:
            return
        from chexkeras.evaluation.triage import TriageEffect

        effects: dict[str, TriageEffect] = {
            finding: TriageEffect.from_dict(self.facts[f"waiting.{finding}.effect"].value)
            for finding in self.findings
            if self.facts[f"waiting.{finding}"].value
        }
        named = ", ".join(style.words(finding) for finding in effects)
        self.sheet("triage_waiting", f"Mean time from arrival to the end of reading for {named}: a model's, no "
                   "measurement", "evaluation.json and the reading rates of submission.toml",
                   lambda f, ax, n: plots.triage_waiting(effects[f], ax=ax, note=n),
                   (9.2, 4.0), list(effects), 1)  # fmt: skip

    def comparison(self) -> None:
        """Another run on the same images, where one is named."""
        folder = self.answers.path("comparison.run")
        if folder is None:
            return
        from chexkeras.training.run import Run

        other, name = Run.load(folder).scores("test"), self.facts["comparison.other"].text
        made = [Comparison.from_dict(entry) for entry in self.facts["comparison.made"].value]
        common = list(dict.fromkeys(entry.finding for entry in made))
        runs = {"this run": self.test, name: other}
        files = "scores_test.csv and operating_points.json of both runs"
        caption = f"ROC curves of this run and {name} on the test part ({self.counted('test')})"
        self.sheet("roc_comparison", caption, files,
                   lambda f, ax, n: plots.roc_comparison(runs, finding=f, ax=ax, note=n),
                   (5.8, 6.0), common)  # fmt: skip
        rows = len(made) + len({(entry.finding, entry.statistic) for entry in made})
        self.add("difference_forest", f"Differences of this run to {name}, with their intervals", files,
                 lambda ax, notes: plots.difference_forest(made, ax=ax, note=notes),
                 (9.7, height_of(rows)))  # fmt: skip


def _short(cautions: Sequence[str]) -> tuple[str, ...]:
    """Returns the first caution, and how many more there are: all of them would leave no room for type to be read.

    Example:
        >>> _short(["Synthetic films.", "Untrained base.", "Few positives."])
        ('Synthetic films.', 'And 2 more cautions: see the first page.')
    """
    more = len(cautions) - 1
    if more < 1:
        return tuple(cautions)
    return cautions[0], f"And {more} more {'caution' if more == 1 else 'cautions'}: see the first page."


def draw_figures(run: Any, facts: Facts, folder: Path, answers: Answers | None = None) -> dict[str, Figure]:
    """Draws every figure of the report.

    Args:
        run: A `Run`.
        facts: Its facts.
        folder: Where the PNG files go; must exist.
        answers: The answers that the facts were collected with.

    Returns:
        The figures by name; the same run, answers and versions give the same files.
    """
    plan = _Plan(run, facts, Answers() if answers is None else answers)
    for step in (plan.algorithm, plan.data, plan.performance, plan.groups, plan.probabilities, plan.waiting,
                 plan.comparison):  # fmt: skip
        step()
    notes = _short(facts["cautions"].value)
    for job in track(plan.jobs, "Drawing figures"):
        job.write(folder, notes)
    return {job.figure.name: job.figure for job in plan.jobs}
