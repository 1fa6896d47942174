"""Every figure that a report may have: one function each, whose name is the figure's name in the templates.

A function gets `FigureInputs` and returns the planned figure, or None where the run has nothing to show.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chexkeras import plots
from chexkeras.data.image_table import finding_columns
from chexkeras.evaluation.readers.reader_study import ReaderStudy, read_reader_study
from chexkeras.plots.forest import height_of
from chexkeras.plots.scoring.novelty import novelty_rows
from chexkeras.report.facts.calibration import decision_rows, probabilities_of
from chexkeras.report.figures import external, heatmaps, shortcuts
from chexkeras.report.figures.figure import FEW, PlannedFigure
from chexkeras.report.figures.inputs import FigureInputs, words
from chexkeras.results import Comparison, MrmcResult, SubgroupAnalysis
from chexkeras.results.evaluation import STATISTICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PAGE_INCHES = 12.0
"""Height of a figure that is printed on one page, at the scale of all the others."""

_REPLICATES = 300

_TEST_FILES = "scores_test.csv and evaluation.json"


Planner = Callable[[FigureInputs], PlannedFigure | None]
FIGURES: dict[str, Planner] = {}
"""Every figure by its name, in the order in which they are drawn."""


def figure(plan: Planner) -> Planner:
    """Adds a figure to the catalogue under its function's name."""
    FIGURES[plan.__name__] = plan
    return plan


@figure
def flowchart(inputs: FigureInputs) -> PlannedFigure:
    """The way of an image through the algorithm."""
    run, kept = inputs.run, inputs.facts["kept.stage"].value
    return PlannedFigure(
        f"Flow of an image through the algorithm, from the DICOM file to the call for {inputs.named}",
        "recipe.json, stages.json and operating_points.json",
        lambda _, ax, notes: plots.flowchart(
            run.recipe, stages=run.stages, points=run.operating_points, kept=kept, ax=ax, note=notes
        ),
        (7.2, 8.4),
    )


@figure
def training_curves(inputs: FigureInputs) -> PlannedFigure | None:
    """How it was trained; None of a model that was trained elsewhere."""
    run = inputs.run
    if inputs.facts["elsewhere"].value:
        return None
    return PlannedFigure(
        f"Loss and validation AUROC over {inputs.facts['training.epochs'].text} epochs; the vertical line parts the "
        "stages; the star marks the epoch whose weights were kept",
        "history.csv",
        lambda _, ax, notes: plots.training_curves(run.history, kept=run.kept_epoch, ax=ax, note=notes),
        (6.6, 5.4),
    )


@figure
def dicom_verdicts(inputs: FigureInputs) -> PlannedFigure | None:
    """What became of the DICOM files, where any were scored."""
    results = inputs.run.dicom_results
    if results is None:
        return None
    reasons = [code for kind in ("reject", "warn") for code, _ in inputs.facts[f"dicom.{kind}_reasons"].value]
    longest = max((len(str(code)) for code in reasons), default=0)
    return PlannedFigure(
        f"Verdicts on {inputs.facts['dicom.files'].text} {inputs.facts['dicom.noun'].text}, by reason",
        "dicom_results.csv",
        lambda _, ax, notes: plots.dicom_verdicts(results, ax=ax, note=notes),
        # A file may have several warnings, all of them in its label.
        (max(6.6, 5.4 + 0.085 * longest), 1.9 + 0.3 * len(reasons)),
    )


def _of_table(inputs: FigureInputs, caption: str, draw: Callable[..., Any], size: tuple[float, float]) -> PlannedFigure:
    """Returns a figure of the whole image table; "{images}" in the caption becomes the number of images."""
    return PlannedFigure(
        caption.format(images=inputs.images_of("all")),
        "table.csv",
        lambda _, ax, notes: draw(inputs.run.table, ax=ax, note=notes),
        size,
    )


@figure
def prevalence(inputs: FigureInputs) -> PlannedFigure:
    """How common each finding is."""
    return _of_table(inputs, "Findings among {images}", plots.prevalence, (6.6, 5.2))


@figure
def age_sex(inputs: FigureInputs) -> PlannedFigure | None:
    """Who is on the images; None where no age is known."""
    known = inputs.run.table.loc[inputs.run.table["age_years"].notna(), "sex"]
    if known.empty:
        return None
    about = "Age and sex" if known.isin(("F", "M")).any() else "Age"
    return _of_table(inputs, f"{about} of {{images}}", plots.age_sex, (6.6, 4.2))


@figure
def views(inputs: FigureInputs) -> PlannedFigure:
    """Which views, and the share with the finding where there is one."""
    one = inputs.findings[0] if len(inputs.findings) == 1 else None
    share = f", with the share showing {inputs.named}" if one else ""
    return _of_table(
        inputs, f"Views of {{images}}{share}", lambda table, **on: plots.views(table, one, **on), (6.6, 3.0)
    )


@figure
def images_per_patient(inputs: FigureInputs) -> PlannedFigure:
    """How many images the patients have."""
    return _of_table(inputs, "Images per patient among {images}", plots.images_per_patient, (6.6, 3.8))


@figure
def cooccurrence(inputs: FigureInputs) -> PlannedFigure | None:
    """Which findings come together, where the table has several."""
    if len(finding_columns(inputs.run.table)) < 2:
        return None
    return _of_table(inputs, "Findings that occur together among {images}", plots.cooccurrence, (8.6, 8.0))


@figure
def intensities(inputs: FigureInputs) -> PlannedFigure:
    """How bright training images are, with a finding and without it."""
    findings = list(inputs.facts["intensities.shown"].value)
    shares = {finding: inputs.facts[f"intensities.{finding}.shares"].value for finding in findings}
    return PlannedFigure(
        f"Brightness of training images with and without {words(findings)}: the mean image of each group",
        "intensities.json",
        lambda finding, ax, notes: plots.intensity_profile(shares[finding], finding, ax=ax, note=notes),
        (6.2, 4.0),
        findings,
    )


@figure
def novelty(inputs: FigureInputs) -> PlannedFigure | None:
    """How unlike the training images others are, where the run has frozen that."""
    found = inputs.run.novelty
    if found is None or not inputs.facts["novelty"].value:
        return None
    rows = novelty_rows(found)
    tested = f"{found.on_test.n:,} test images" + (", and these changed" if found.changed else "")
    return PlannedFigure(
        f"How unlike the training images {found.n_validation:,} validation and {tested} are; frozen threshold",
        "novelty.json",
        lambda _, ax, notes: plots.novelty_distances(found, ax=ax, note=notes),
        (9.4, 1.5 + 0.42 * len(rows)),
        estimates=[estimate for _, _, estimate in rows],
    )


@figure
def roc(inputs: FigureInputs) -> PlannedFigure:
    """How well scores rank images."""
    evaluation = inputs.run.evaluation
    return PlannedFigure(
        f"ROC curve on the test part ({inputs.images_of('test')}) for {inputs.named}, with the operating point",
        _TEST_FILES,
        lambda finding, ax, notes: plots.roc(inputs.test, evaluation, finding=finding, ax=ax, note=notes),
        (5.6, 5.8),
        inputs.findings,
        estimates=[entry.auroc for entry in evaluation.findings],
    )


@figure
def precision_recall(inputs: FigureInputs) -> PlannedFigure:
    """Precision against recall."""
    evaluation = inputs.run.evaluation
    return PlannedFigure(
        f"Precision-recall curve on the test part ({inputs.images_of('test')}) for {inputs.named}",
        _TEST_FILES,
        lambda finding, ax, notes: plots.precision_recall(inputs.test, evaluation, finding=finding, ax=ax, note=notes),
        (5.6, 5.2),
        inputs.findings,
        estimates=[entry.average_precision for entry in evaluation.findings],
    )


@figure
def auroc_bars(inputs: FigureInputs) -> PlannedFigure | None:
    """All findings in one drawing, where there are several."""
    if len(inputs.findings) < 2:
        return None
    return PlannedFigure(
        f"AUROC of every finding on the test part ({inputs.images_of('test')})",
        "evaluation.json",
        lambda _, ax, notes: plots.auroc_bars(inputs.run.evaluation, ax=ax, note=notes),
        (7.0, 1.8 + 0.35 * len(inputs.findings)),
        estimates=[entry.auroc for entry in inputs.run.evaluation.findings],
    )


@figure
def score_histogram(inputs: FigureInputs) -> PlannedFigure:
    """How scores are distributed; of many findings that is drawn with their calibration only."""
    return PlannedFigure(
        f"Scores of positive and negative images of the test part ({inputs.images_of('test')})",
        "scores_test.csv and operating_points.json",
        lambda finding, ax, notes: plots.score_histogram(
            inputs.test, inputs.points.get(finding), finding=finding, ax=ax, note=notes
        ),
        (6.2, 4.2),
        inputs.findings if len(inputs.findings) <= FEW else (),
    )


@figure
def threshold_tradeoff(inputs: FigureInputs) -> PlannedFigure:
    """What the threshold was chosen from."""
    decided = [finding for finding in inputs.leading if finding in inputs.points]
    scores = inputs.run.scores("validation")
    return PlannedFigure(
        "Sensitivity and specificity against the threshold on the validation part "
        f"({inputs.images_of('validation')}) for {inputs.led_by(decided)}" if decided else "",
        "scores_validation.csv and operating_points.json",
        lambda finding, ax, notes: plots.threshold_tradeoff(scores, inputs.points[finding], ax=ax, note=notes),
        (7.4, 5.0),
        decided,
        estimates=[getattr(inputs.points[name], rate) for name in decided for rate in ("sensitivity", "specificity")],
    )  # fmt: skip


@figure
def confusion_matrix(inputs: FigureInputs) -> PlannedFigure:
    """The calls at the threshold; the counts of many findings stand in the text."""
    decided = [finding for finding in inputs.findings if finding in inputs.points]
    return PlannedFigure(
        f"Calls at the frozen threshold on the test part ({inputs.images_of('test')})",
        "evaluation.json",
        lambda finding, ax, notes: plots.confusion_matrix(inputs.run.evaluation, finding=finding, ax=ax, note=notes),
        (5.4, 4.8),
        decided if len(inputs.findings) <= FEW else (),
    )


def _subgroup_forest(inputs: FigureInputs, statistic: str) -> PlannedFigure | None:
    """One statistic in groups, for as many findings as a page holds: those whose groups differ most clearly."""
    facts = inputs.facts
    grouped = {
        finding: [
            SubgroupAnalysis.from_dict(facts[f"groups.{finding}.{column}.analysis"].value)
            for column in facts[f"groups.{finding}"].value
        ]
        for finding in inputs.findings
        if facts[f"groups.{finding}"].value and (statistic == "auroc" or finding in inputs.points)
    }
    if not grouped:
        return None
    rows = max(sum(len(analysis.groups) + 2 for analysis in analyses) for analyses in grouped.values()) + 1
    most = max(1, int(_PAGE_INCHES // height_of(rows)))
    panels, left_out = list(grouped), ""
    if len(panels) > most:
        # Where groups differ most is what a reader must see; the tables hold every finding.
        panels = sorted(panels, key=lambda finding: _smallest_p(grouped[finding], statistic))[:most]
        left_out = f", for {words(panels)}, where they differ most clearly"

    def draw(finding: str, ax: "Axes", notes: tuple[str, ...]) -> None:
        overall = getattr(inputs.run.evaluation[finding], statistic)
        plots.subgroup_forest(grouped[finding], statistic, finding=finding, overall=overall, ax=ax, note=notes)

    word = statistic.replace("auroc", "AUROC")
    return PlannedFigure(
        f"{word[0].upper()}{word[1:]} in groups of the test part ({inputs.images_of('test')}){left_out}; dashed: all "
        f"images. A group with fewer than {facts['goal.fewest_positives'].text} "
        f"{'negatives' if statistic == 'specificity' else 'positives'} is listed without an estimate",
        "evaluation.json, scores_test.csv and table.csv",
        draw,
        (9.2, height_of(rows)),
        panels,
        columns=1,
        estimates=[getattr(group, statistic) for name in panels for one in grouped[name] for group in one.groups],
    )


for _statistic in STATISTICS:
    FIGURES[f"subgroup_forest_{_statistic}"] = functools.partial(_subgroup_forest, statistic=_statistic)


def _smallest_p(analyses: Sequence[SubgroupAnalysis], statistic: str = "auroc") -> float:
    """Returns the smallest p-value for a difference between groups; without any test the largest there can be."""
    values = [test.p_value for analysis in analyses for test in analysis.interactions if test.statistic == statistic]
    return min((value for value in values if not math.isnan(value)), default=1.0)


def _of_probabilities(inputs: FigureInputs, caption: str, draw: Any, size: tuple[float, float]) -> PlannedFigure:
    """Returns a figure of the findings with both classes; "{test}" and "{findings}" in the caption are filled in."""
    both = [finding for finding in inputs.leading if inputs.facts[f"decision.{finding}"].value]
    files = "scores_test.csv and recalibration.json" if inputs.run.recalibrations else _TEST_FILES
    named = caption.format(test=inputs.images_of("test"), findings=inputs.led_by(both))
    return PlannedFigure(named, files, draw, size, both)


@figure
def reliability(inputs: FigureInputs) -> PlannedFigure:
    """How far scores can be read as probabilities."""

    def draw(finding: str, ax: "Axes", notes: tuple[str, ...]) -> None:
        rows = inputs.test[inputs.test["finding"] == finding]
        found = probabilities_of(inputs.run, finding)
        if found.recalibration is None:
            plots.reliability(rows, inputs.run.evaluation, finding=finding, ax=ax, note=notes)
        else:
            plots.reliability({"as given": rows, "recalibrated": found.rows}, finding=finding, ax=ax, note=notes)

    size = (6.2, 7.8 if inputs.run.recalibrations else 7.0)
    return _of_probabilities(inputs, "Calibration on the test part ({test}) for {findings}", draw, size)


@figure
def decision_curve(inputs: FigureInputs) -> PlannedFigure:
    """Net benefit."""

    def draw(finding: str, ax: "Axes", notes: tuple[str, ...]) -> None:
        stated = inputs.answers.prevalences.get(finding)
        rows = decision_rows(probabilities_of(inputs.run, finding), stated)
        plots.decision_curve(
            rows, inputs.run.evaluation, finding=finding, prevalence=stated, replicates=_REPLICATES, ax=ax, note=notes
        )

    caption = "Net benefit on the test part ({test}), with acting on every image and on none, for {findings}"
    return _of_probabilities(inputs, caption, draw, (6.8, 5.4))


@figure
def robustness(inputs: FigureInputs) -> PlannedFigure | None:
    """What changed images cost, where that was measured."""
    facts, measured = inputs.facts, inputs.run.robustness
    if not facts["robustness"].value:
        return None
    findings = [finding for finding in inputs.leading if finding in measured.findings]
    changes = len({effect.perturbation for effect in measured.effects})
    kinds = len({effect.group for effect in measured.effects})
    rows = round((kinds + changes) * (1.4 if measured.operating_margin else 1))
    margins = f"a loss of {facts['robustness.margin'].text} AUROC"
    if measured.operating_margin:
        margins += f" or of {facts['robustness.operating_margin'].text} sensitivity or specificity"
    return PlannedFigure(
        f"Performance on {facts['robustness.n_images'].text} changed test images minus that on the same images "
        f"unchanged, for {inputs.led_by(findings)}; dashed: the margin, {margins}",
        "robustness.json",
        lambda finding, ax, notes: plots.robustness_forest(measured, finding=finding, ax=ax, note=notes),
        (9.2, height_of(rows)),
        findings,
        columns=1,
        estimates=[effect["AUROC"].difference for effect in measured.effects if effect.finding in findings],
    )


figure(heatmaps.heatmap_gallery)
figure(shortcuts.shortcuts)
figure(external.external)


@figure
def triage_waiting(inputs: FigureInputs) -> PlannedFigure | None:
    """The reading queue, where its rates are stated."""
    from chexkeras.evaluation.clinical_use.triage import TriageEffect

    facts = inputs.facts
    if not facts["waiting"].value:
        return None
    findings = [finding for finding in inputs.findings if facts[f"waiting.{finding}"].value]
    effects = {finding: TriageEffect.from_dict(facts[f"waiting.{finding}.effect"].value) for finding in findings}
    return PlannedFigure(
        f"Mean time from arrival to the end of reading for {words(findings)}: a model's, no measurement",
        "evaluation.json and the reading rates of submission.toml",
        lambda finding, ax, notes: plots.triage_waiting(effects[finding], ax=ax, note=notes),
        (9.2, 4.0),
        findings,
        columns=1,
    )


_BOTH_RUNS = "scores_test.csv and operating_points.json of both runs"


@figure
def roc_comparison(inputs: FigureInputs) -> PlannedFigure | None:
    """The curves of another run on the same images, where one is named."""
    from chexkeras.runs.run import Run

    folder = inputs.answers.path("comparison.run")
    if folder is None:
        return None
    name = inputs.facts["comparison.other"].text
    runs = {"this run": inputs.test, name: Run.load(folder).scores("test")}
    entries = [Comparison.from_dict(entry) for entry in inputs.facts["comparison.made"].value]
    made = [entry for entry in entries if entry.statistic == "AUROC"]
    return PlannedFigure(
        f"ROC curves of this run and {name} on the test part ({inputs.images_of('test')})",
        _BOTH_RUNS,
        lambda finding, ax, notes: plots.roc_comparison(runs, finding=finding, ax=ax, note=notes),
        (5.8, 6.0),
        list(dict.fromkeys(entry.finding for entry in entries)),
        estimates=[value for entry in made for value in (entry.first_value, entry.second_value)],
    )


@figure
def difference_forest(inputs: FigureInputs) -> PlannedFigure | None:
    """What the differences to another run amount to, where one is named."""
    if inputs.answers.path("comparison.run") is None:
        return None
    made = [Comparison.from_dict(entry) for entry in inputs.facts["comparison.made"].value]
    rows = len(made) + len({(entry.finding, entry.statistic) for entry in made})
    return PlannedFigure(
        f"Differences of this run to {inputs.facts['comparison.other'].text}, with their intervals",
        _BOTH_RUNS,
        lambda _, ax, notes: plots.difference_forest(made, ax=ax, note=notes),
        (9.7, height_of(rows)),
        estimates=[entry.difference for entry in made],
    )


def _reader_study(inputs: FigureInputs) -> tuple[ReaderStudy, MrmcResult] | None:
    """Returns the readings that the author named, of the finding reported, and what was found of them."""
    path = inputs.answers.path("reader_study.file")
    if path is None:
        return None
    result = MrmcResult.from_dict(inputs.facts["reader_study.result"].value)
    study = read_reader_study(path)
    return study.of_finding(result.finding) if result.finding else study, result


@figure
def reader_roc(inputs: FigureInputs) -> PlannedFigure | None:
    """Every reader's ROC curve with and without the device, where a reader study is named."""
    named = _reader_study(inputs)
    if named is None:
        return None
    study, result = named
    readers, patients = (inputs.facts[f"reader_study.{name}"].text for name in ("readers", "patients"))
    return PlannedFigure(
        f"ROC curves of {readers} readers on {patients} patients, with and without the device",
        inputs.facts["reader_study.readers"].file,
        # The cautions of the study itself: it was not made of the images of the run.
        lambda _, ax, notes: plots.reader_roc(study, result, ax=ax),
        (5.8, 7.4),
        estimates=[mean.estimate for mean in result.means],
        cautions=result.cautions,
    )


@figure
def reader_forest(inputs: FigureInputs) -> PlannedFigure | None:
    """What each reader gained by the device, where a reader study is named."""
    if not inputs.facts["reader_study"].value:
        return None
    facts = inputs.facts
    result = MrmcResult.from_dict(facts["reader_study.result"].value)
    modalities = [facts[f"reader_study.{name}"].value for name in ("with_device", "without_device")]
    margin = -facts["reader_study.goal"].value or None
    return PlannedFigure(
        f"What each of {facts['reader_study.readers'].text} readers gained by the device, and all together",
        facts["reader_study.readers"].file,
        lambda _, ax, notes: plots.reader_forest(result, *modalities, margin=margin, ax=ax),
        (9.7, height_of(result.n_readers + 1)),
        estimates=[
            *(reader.difference for reader in result.reader_differences),
            *(pair.difference for pair in result.differences),
        ],
        cautions=result.cautions,
    )
