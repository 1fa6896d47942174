"""The figures of performance: curves, groups, calibration, the reading queue, another run.

The figures of the algorithm and of the data.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chexkeras import plots
from chexkeras.data.image_table import finding_columns
from chexkeras.plots import style
from chexkeras.plots.forest import height_of
from chexkeras.report.facts.calibration import Probabilities, decision_rows, probabilities_of
from chexkeras.report.figures.figure import FEW, Plan
from chexkeras.results import Comparison, SubgroupAnalysis
from chexkeras.results.evaluation import STATISTICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PAGE_INCHES = 12.0
"""Height of a figure that is printed on one page, at the scale of all the others."""
_REPLICATES = 300


def performance(plan: Plan) -> None:
    """How well scores rank and calls agree."""
    test, evaluation, where = plan.test, plan.run.evaluation, plan.counted("test")
    validation = plan.run.scores("validation")
    both = "scores_test.csv and evaluation.json"
    decided = [finding for finding in plan.leading if finding in plan.points]
    plan.sheet("roc", f"ROC curve on the test part ({where}) for {plan.named}, with the operating point", both,
               lambda f, ax, n: plots.roc(test, evaluation, finding=f, ax=ax, note=n),
               (5.6, 5.8), plan.findings)  # fmt: skip
    plan.sheet("precision_recall", f"Precision-recall curve on the test part ({where}) for {plan.named}", both,
               lambda f, ax, n: plots.precision_recall(test, evaluation, finding=f, ax=ax, note=n),
               (5.6, 5.2), plan.findings)  # fmt: skip
    if len(plan.findings) > 1:
        plan.add("auroc_bars", f"AUROC of every finding on the test part ({where})", "evaluation.json",
                 lambda ax, notes: plots.auroc_bars(evaluation, ax=ax, note=notes),
                 (7.0, 1.8 + 0.35 * len(plan.findings)))  # fmt: skip
    # Of many findings the distributions are drawn with their calibration only.
    plan.sheet("score_histogram", f"Scores of positive and negative images of the test part ({where})",
               "scores_test.csv and operating_points.json",
               lambda f, ax, n: plots.score_histogram(test, plan.points.get(f), finding=f, ax=ax, note=n),
               (6.2, 4.2), plan.findings if len(plan.findings) <= FEW else ())  # fmt: skip
    plan.sheet("threshold_tradeoff",
               "Sensitivity and specificity against the threshold on the validation part "
               f"({plan.counted('validation')}) for {plan.led(decided)}" if decided else "",
               "scores_validation.csv and operating_points.json",
               lambda f, ax, n: plots.threshold_tradeoff(validation, plan.points[f], ax=ax, note=n),
               (7.4, 5.0), decided)  # fmt: skip
    # The counts of many findings stand in the text.
    plan.sheet("confusion_matrix", f"Calls at the frozen threshold on the test part ({where})", "evaluation.json",
               lambda f, ax, n: plots.confusion_matrix(evaluation, finding=f, ax=ax, note=n),
               (5.4, 4.8), plan.decided if len(plan.findings) <= FEW else ())  # fmt: skip


def groups(plan: Plan) -> None:
    """Each statistic in groups."""
    grouped = {
        finding: [
            SubgroupAnalysis.from_dict(plan.facts[f"groups.{finding}.{column}.analysis"].value)
            for column in plan.facts[f"groups.{finding}"].value
        ]
        for finding in plan.findings
        if plan.facts[f"groups.{finding}"].value
    }
    if not grouped:
        return
    for statistic in STATISTICS:
        decided = [finding for finding in grouped if statistic == "auroc" or finding in plan.points]
        if decided:
            _forest(plan, statistic, {finding: grouped[finding] for finding in decided})


def _forest(plan: Plan, statistic: str, grouped: dict[str, list[SubgroupAnalysis]]) -> None:
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
        overall = getattr(plan.run.evaluation[finding], statistic)
        return plots.subgroup_forest(grouped[finding], statistic, finding=finding, overall=overall, ax=ax, note=notes)

    counted = "negatives" if statistic == "specificity" else "positives"
    plan.sheet(
        f"subgroup_forest_{statistic}",
        f"{word[0].upper()}{word[1:]} in groups of the test part ({plan.counted('test')}){left_out}; dashed: all "
        f"images. A group with fewer than {plan.facts['goal.fewest_positives'].text} {counted} is listed without "
        "an estimate",
        "evaluation.json, scores_test.csv and table.csv",
        draw,
        (9.2, height_of(rows)),
        shown,
        1,
    )


def probabilities(plan: Plan) -> None:
    """Scores as probabilities: calibration and net benefit."""
    found = {finding: probabilities_of(plan.run, finding) for finding in plan.leading}
    both = [finding for finding in plan.leading if plan.facts[f"decision.{finding}"].value]
    files = "scores_test.csv and evaluation.json"
    if plan.run.recalibrations:
        files = "scores_test.csv and recalibration.json"
    extra = 0.8 if plan.run.recalibrations else 0.0
    plan.sheet("reliability", f"Calibration on the test part ({plan.counted('test')}) for {plan.led(both)}", files,
               lambda f, ax, n: _reliability(plan, f, ax, n, found[f]), (6.2, 7.0 + extra), both)  # fmt: skip
    plan.sheet("decision_curve",
               f"Net benefit on the test part ({plan.counted('test')}), with acting on every image and on none, for "
               f"{plan.led(both)}", files,
               lambda f, ax, n: _decision_curve(plan, f, ax, n, found[f]), (6.8, 5.4), both)  # fmt: skip


def _reliability(plan: Plan, finding: str, ax: "Axes", notes: tuple[str, ...], found: Probabilities) -> None:
    rows = plan.test[plan.test["finding"] == finding]
    if found.recalibration is None:
        plots.reliability(rows, plan.run.evaluation, finding=finding, ax=ax, note=notes)
        return
    plots.reliability({"as given": rows, "recalibrated": found.rows}, finding=finding, ax=ax, note=notes)


def _decision_curve(plan: Plan, finding: str, ax: "Axes", notes: tuple[str, ...], found: Probabilities) -> None:
    stated = plan.answers.prevalences.get(finding)
    rows = decision_rows(found, stated)
    plots.decision_curve(rows, plan.run.evaluation, finding=finding, prevalence=stated, replicates=_REPLICATES,
                         ax=ax, note=notes)  # fmt: skip


def robustness(plan: Plan) -> None:
    """What changed images cost, where that was measured."""
    if not plan.facts["robustness"].value:
        return
    measured = plan.run.robustness
    shown = [finding for finding in plan.leading if finding in measured.findings]
    rows = len({effect.perturbation for effect in measured.effects} | {effect.group for effect in measured.effects})
    plan.sheet("robustness",
               f"AUROC of {plan.facts['robustness.n_images'].text} changed test images minus that of the same images "
               f"unchanged, for {plan.led(shown)}; dashed: a loss of {plan.facts['robustness.margin'].text}",
               "robustness.json",
               lambda f, ax, n: plots.robustness_forest(measured, finding=f, ax=ax, note=n),
               (9.2, height_of(rows)), shown, 1)  # fmt: skip


def waiting(plan: Plan) -> None:
    """The reading queue, where its rates are stated."""
    if not plan.facts["waiting"].value:
        return
    from chexkeras.evaluation.clinical_use.triage import TriageEffect

    effects: dict[str, TriageEffect] = {
        finding: TriageEffect.from_dict(plan.facts[f"waiting.{finding}.effect"].value)
        for finding in plan.findings
        if plan.facts[f"waiting.{finding}"].value
    }
    named = ", ".join(style.words(finding) for finding in effects)
    plan.sheet("triage_waiting", f"Mean time from arrival to the end of reading for {named}: a model's, no "
               "measurement", "evaluation.json and the reading rates of submission.toml",
               lambda f, ax, n: plots.triage_waiting(effects[f], ax=ax, note=n),
               (9.2, 4.0), list(effects), 1)  # fmt: skip


def comparison(plan: Plan) -> None:
    """Another run on the same images, where one is named."""
    folder = plan.answers.path("comparison.run")
    if folder is None:
        return
    from chexkeras.runs.run import Run

    other, name = Run.load(folder).scores("test"), plan.facts["comparison.other"].text
    made = [Comparison.from_dict(entry) for entry in plan.facts["comparison.made"].value]
    common = list(dict.fromkeys(entry.finding for entry in made))
    runs = {"this run": plan.test, name: other}
    files = "scores_test.csv and operating_points.json of both runs"
    caption = f"ROC curves of this run and {name} on the test part ({plan.counted('test')})"
    plan.sheet("roc_comparison", caption, files,
               lambda f, ax, n: plots.roc_comparison(runs, finding=f, ax=ax, note=n),
               (5.8, 6.0), common)  # fmt: skip
    rows = len(made) + len({(entry.finding, entry.statistic) for entry in made})
    plan.add("difference_forest", f"Differences of this run to {name}, with their intervals", files,
             lambda ax, notes: plots.difference_forest(made, ax=ax, note=notes),
             (9.7, height_of(rows)))  # fmt: skip


def _smallest_p(analyses: Sequence[SubgroupAnalysis], statistic: str = "auroc") -> float:
    """Returns the smallest p-value for a difference between groups; without any test the largest there can be."""
    values = [test.p_value for analysis in analyses for test in analysis.interactions if test.statistic == statistic]
    return min((value for value in values if not math.isnan(value)), default=1.0)


def algorithm(plan: Plan) -> None:
    """The way of an image through the algorithm, and how it was trained."""
    run = plan.run
    plan.add(
        "flowchart",
        f"Flow of an image through the algorithm, from the DICOM file to the call for {plan.named}",
        "recipe.json, stages.json and operating_points.json",
        lambda ax, notes: plots.flowchart(
            run.recipe,
            stages=run.stages,
            points=run.operating_points,
            kept=plan.facts["kept.stage"].value,
            ax=ax,
            note=notes,
        ),
        (7.2, 8.4),
    )
    plan.add(
        "training_curves",
        f"Loss and validation AUROC over {plan.facts['training.epochs'].text} epochs; the vertical line parts the "
        "stages; the star marks the epoch whose weights were kept",
        "history.csv",
        lambda ax, notes: plots.training_curves(run.history, kept=run.kept_epoch, ax=ax, note=notes),
        (6.6, 5.4),
    )
    if run.dicom_results is not None:
        reasons = [code for kind in ("reject", "warn") for code, _ in plan.facts[f"dicom.{kind}_reasons"].value]
        longest = max((len(str(code)) for code in reasons), default=0)
        plan.add(
            "dicom_verdicts",
            f"Verdicts on {plan.facts['dicom.files'].text} DICOM files, by reason",
            "dicom_results.csv",
            lambda ax, notes: plots.dicom_verdicts(run.dicom_results, ax=ax, note=notes),
            # A file may have several warnings, all of them in its label.
            (max(6.6, 5.4 + 0.085 * longest), 1.9 + 0.3 * len(reasons)),
            notes_above=True,
        )


def data(plan: Plan) -> None:
    """Who and what is on the images."""
    table, everyone, source = plan.run.table, plan.counted("all"), "table.csv"
    one = plan.findings[0] if len(plan.findings) == 1 else None
    share = f", with the share showing {plan.named}" if one else ""
    plan.add("prevalence", f"Findings among {everyone}", source,
             lambda ax, notes: plots.prevalence(table, ax=ax, note=notes), (6.6, 5.2))  # fmt: skip
    plan.add("age_sex", f"Age and sex of {everyone}", source,
             lambda ax, notes: plots.age_sex(table, ax=ax, note=notes), (6.6, 4.2))  # fmt: skip
    plan.add("views", f"Views of {everyone}{share}", source,
             lambda ax, notes: plots.views(table, one, ax=ax, note=notes), (6.6, 3.0))  # fmt: skip
    plan.add("images_per_patient", f"Images per patient among {everyone}", source,
             lambda ax, notes: plots.images_per_patient(table, ax=ax, note=notes), (6.6, 3.8))  # fmt: skip
    if len(finding_columns(table)) > 1:
        plan.add("cooccurrence", f"Findings that occur together among {everyone}", source,
                 lambda ax, notes: plots.cooccurrence(table, ax=ax, note=notes), (8.6, 8.0))  # fmt: skip

    bright = {finding: plan.facts[f"intensities.{finding}.shares"].value for finding in
              plan.facts["intensities.shown"].value}  # fmt: skip
    plan.sheet("intensities", "Brightness of training images with and without "
               f"{', '.join(map(style.words, bright))}: the mean image of each group", "intensities.json",
               lambda f, ax, n: plots.intensity_profile(bright[f], f, ax=ax, note=n),
               (6.2, 4.0), list(bright))  # fmt: skip
