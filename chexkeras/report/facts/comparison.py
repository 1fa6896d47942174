"""Facts on the run against others: another run, human readers, readers with the device, and its own images changed."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from chexkeras import checks
from chexkeras.report.facts.bias.sources import add_comparison_origin, add_reading_origin
from chexkeras.report.facts.facts import Facts, add_study, difference_text, estimate_text, interval_text
from chexkeras.report.figures.figure import FEW
from chexkeras.report.goals import MET, NOT_MET, judge
from chexkeras.results import Estimate, PerturbationEffect
from chexkeras.results.reader_study import turned
from chexkeras.results.robustness import FEWEST_PATIENTS, RATES, VERDICTS

_SCORES_FILE = "scores_test.csv"
THIS = "this run"


def add_comparison(facts: Facts, run: Any, answers: Any) -> None:
    """Records the differences from the run that the author named, with Holm's correction over all of them.

    Args:
        facts: Where they go.
        run: The `Run` of the report.
        answers: The author's `Answers`.

    Raises:
        FileNotFoundError: If the other run lacks a file.
        ValueError: If it was tested on other images or labels.
    """
    from chexkeras.evaluation.comparison.compare import compare
    from chexkeras.evaluation.uncertainty.limits import p_text
    from chexkeras.runs.run import Run

    folder = answers.path("comparison.run")
    facts.add("comparison", folder is not None, file="convention", field="whether submission.toml names another run")
    if folder is None:
        return
    other = Run.load(folder)
    name = answers.get("comparison.name") or "the other run"
    facts.add("comparison.other", name, file="submission.toml", field="comparison.name")
    add_comparison_origin(facts, run, other, name)
    points = None
    if {point.finding for point in run.operating_points} == {point.finding for point in other.operating_points}:
        points = [run.operating_points, other.operating_points]
    try:
        made = compare(run.scores("test"), other.scores("test"), names=(THIS, name), points=points)
    except ValueError as error:
        raise ValueError(f"comparison.run in submission.toml cannot be compared with this run: {error}") from error
    rows = [
        [
            entry.finding.replace("_", " "),
            entry.statistic,
            estimate_text(entry.first_value),
            estimate_text(entry.second_value),
            difference_text(entry.difference),
            p_text(entry.p_adjusted),
            entry.verdict,
        ]
        for entry in made
    ]
    facts.add("comparison.made", [entry.to_dict() for entry in made], "", file=_SCORES_FILE,
              field=f"paired with scores_test.csv of {name}, unrounded")  # fmt: skip
    facts.add("comparison.rows", rows, "", file=_SCORES_FILE, field=f"paired with scores_test.csv of {name}")
    for verdict in ("better", "worse", "not distinguishable", "not estimable"):
        facts.add(f"comparison.{verdict}", sum(entry.verdict == verdict for entry in made), file=_SCORES_FILE,
                  field=f"verdicts {verdict!r} of this run against {name}")  # fmt: skip
    facts.add("comparison.total", len(made), file=_SCORES_FILE, field=f"comparisons with {name} made together")


def _add_consensus(facts: Facts, ratings: pd.DataFrame, patients: pd.Series | None, file: str) -> None:
    """Records readers against the most likely consensus, where at least three called both classes."""
    from chexkeras.evaluation.agreement.dawid_skene import dawid_skene

    calls = ratings.to_numpy(dtype=float)
    both = bool((calls == 1).any() and (calls == 0).any())
    possible = ratings.shape[1] > 2 and both and bool(ratings.notna().any().all())
    found = dawid_skene(ratings, patients=patients) if possible else None
    reached = found is not None and found.converged
    facts.add("readers.consensus", reached, file=file, field="whether Dawid and Skene's consensus could be found")
    if found is None or not reached:
        return
    rows = [[name, estimate_text(rate), estimate_text(found.specificities[name])]
            for name, rate in found.sensitivities.items()]  # fmt: skip
    facts.add("readers.consensus.rows", rows, "", file=file, field="each reader against Dawid and Skene's consensus")
    facts.add("readers.consensus.prevalence", found.prevalence, file=file, field="prevalence by Dawid and Skene")


def add_readers(facts: Facts, run: Any, answers: Any) -> None:
    """Records how readers agree, how each does against the others, and how the device does against their majority.

    Args:
        facts: Where they go.
        run: The `Run`, for the device's calls on the same images.
        answers: The author's `Answers`.

    Raises:
        FileNotFoundError: If the table is missing.
        ValueError: If it is no table of calls, or the finding was not evaluated.
    """
    from chexkeras.evaluation.agreement.consensus import majority, readers_against_others
    from chexkeras.evaluation.agreement.kappa import fleiss_kappa
    from chexkeras.evaluation.agreement.ratings import check_ratings
    from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval

    path = answers.path("readers.file")
    facts.add("readers", path is not None, file="convention", field="whether submission.toml names a table of readers")
    if path is None:
        return
    finding = checks.one_of(answers.get("readers.finding"), facts["evaluated"].value, "readers.finding")
    read = pd.read_csv(checks.existing_file(path, "readers.file"), dtype={"image_id": str})
    checks.require_columns(read, ["image_id"], path.name, "Give image_id and one column for each reader.")
    ratings = check_ratings(read)
    file = path.name
    facts.add("readers.finding", finding, finding.replace("_", " "), file="submission.toml", field="readers.finding")
    facts.add("readers.count", ratings.shape[1], file=file, field="columns of readers")
    facts.add("readers.images", len(ratings), file=file, field="rows")
    add_reading_origin(facts, "readers", run, ratings.index, file)
    known = run.table.set_index("image_id")["patient_id"]
    patients = known if ratings.index.isin(known.index).all() else None
    kappa = fleiss_kappa(ratings, patients=patients)
    facts.add("readers.kappa", kappa, file=file, field="Fleiss' kappa of all readers")
    rows = []
    if ratings.shape[1] > 2:
        for entry in readers_against_others(ratings, patients=patients):
            cells = [estimate_text(entry.sensitivity), estimate_text(entry.specificity)]
            rows.append([entry.reader, entry.n_images, *cells])
    facts.add("readers.rows", rows, "", file=file, field="each reader against the majority of the others")
    _add_consensus(facts, ratings, patients, file)
    scores = run.scores("test")
    scores = scores[scores["finding"] == finding].set_index("image_id")
    consensus = majority(ratings).dropna()
    common = consensus.index.intersection(scores.index)
    point = next((point for point in run.operating_points if point.finding == finding), None)
    facts.add("readers.common", len(common), file=file, field="images with a majority that are in the test part")
    facts.add("readers.device", bool(len(common)) and point is not None, file=file,
              field="whether the device made calls on these images")  # fmt: skip
    if point is None or not len(common):
        return
    rows_common = scores.loc[common]
    called = rows_common["score"].to_numpy() >= point.threshold
    positive = consensus.loc[common].to_numpy() == 1
    patients = rows_common["patient_id"].to_numpy()
    for name, among, right in (("sensitivity", positive, called), ("specificity", ~positive, ~called)):
        found = clustered_proportion_interval(right[among], patients[among], empty="no such image")
        facts.add(f"readers.device.{name}", found, file=file, field=f"{name} of the device against the majority")


def add_reader_study(facts: Facts, run: Any, answers: Any) -> None:
    """Records what readers gained by the device, from the study that the author named.

    Args:
        facts: Where they go.
        run: The `Run`, whose images may be those that were read.
        answers: The author's `Answers`.

    Raises:
        FileNotFoundError: If the table of readings is missing.
        ValueError: If it is no table of readings, or holds no such finding or modality.
    """
    from chexkeras.evaluation.readers.mrmc import mrmc
    from chexkeras.evaluation.readers.reader_study import read_reader_study
    from chexkeras.evaluation.uncertainty.limits import p_text

    path, key = answers.path("reader_study.file"), "reader_study"
    facts.add(key, path is not None, file="convention", field="whether submission.toml names a reader study")
    if path is None:
        return
    study = read_reader_study(checks.existing_file(path, f"{key}.file"))
    finding = answers.get(f"{key}.finding")
    if finding is not None or len(study.findings) > 1:
        study = study.of_finding(checks.one_of(finding, study.findings, f"{key}.finding"))
    aided, alone = (
        checks.one_of(answers.get(f"{key}.{name}"), study.modalities, f"{key}.{name}")
        for name in ("with_device", "without_device")
    )
    figure = answers.get(f"{key}.figure") or "auroc"
    result = mrmc(study, figure, threshold=answers.get(f"{key}.threshold"))
    found, margin, file = result.difference(aided, alone), answers.get(f"{key}.margin"), path.name

    def add(name: str, value: Any, field: str, text: str | None = None, source: str = file) -> None:
        facts.add(f"{key}.{name}", value, text, file=source, field=field)

    add_reading_origin(facts, key, run, study.to_frame()["image_id"].unique(), file)
    add("result", result.to_dict(), "Obuchowski, Rockette and Hillis, readers and patients random, unrounded", "")
    add("finding", result.finding, "finding", result.finding.replace("_", " ") or "the finding")
    add("figure", result.figure, f"{key}.figure", source="submission.toml")
    add("readers", result.n_readers, "readers")
    add("patients", result.n_patients, "patients")
    add("images", result.mean(aided).n_images, "images that each reader read with the device")
    add("positives", result.mean(aided).n_positive, "positive images among them")
    add("design", result.design, "which modalities share patients")
    add("with_device", aided, f"{key}.with_device", source="submission.toml")
    add("without_device", alone, f"{key}.without_device", source="submission.toml")
    of_reader = {(entry.reader, entry.modality): entry.estimate for entry in result.figures}
    gained = {each.reader: turned(each.difference) if each.first == alone else each.difference
              for each in result.reader_differences if {each.first, each.second} == {aided, alone}}  # fmt: skip
    rows = [[reader, estimate_text(of_reader[reader, alone]), estimate_text(of_reader[reader, aided]),
             difference_text(gain)] for reader, gain in gained.items()]  # fmt: skip
    add("rows", rows, "each reader without and with the device", "")
    add("mean.without", result.mean(alone).estimate, "mean of the readers without the device")
    add("mean.with", result.mean(aided).estimate, "mean of the readers with the device")
    add("difference", found.difference, "with the device minus without", difference_text(found.difference))
    p_value = p_text(found.p_adjusted)
    p_value = f"p {p_value[0]} {p_value[1:]}" if p_value.startswith("<") else f"p = {p_value}"
    add("p", found.p_adjusted, "that they are equal, Holm over the pairs of modalities", p_value)
    add("degrees", found.degrees, "degrees of freedom (Hillis 2007)", f"{found.degrees:.1f}")
    goal = -(margin or 0.0)
    verdict = judge(found.difference, goal)
    words = "better with the device" if margin is None else f"no worse with the device by more than {margin:g}"
    add("goal", goal, f"{key}.margin, 0 where none is stated", words, source="submission.toml")
    # MET and NOT MET are kept for the goals of the device by itself.
    shown = {MET: "shown", NOT_MET: "not shown"}.get(verdict.word, "not estimable")
    add("verdict", shown, "by the lower limit of the difference")
    add("verdict.reason", verdict.reason, "by the lower limit of the difference")
    add("cautions", list(result.cautions), "what limits the study", "")


_ROBUSTNESS_FILE = "robustness.json"
_AUROC = "AUROC"
_NO_POINT = "no operating point"
_LEAST = 1e-6


def add_robustness(facts: Facts, run: Any) -> None:
    """Records what was measured of changed images, if the measurement is of the scores and thresholds on file.

    Args:
        facts: Where they go; the evaluated findings are there already.
        run: The `Run`.

    Raises:
        ValueError: If robustness.json is damaged or of another version.
    """
    frozen = {point.finding: point.threshold for point in run.operating_points}
    measured = add_study(
        facts,
        "robustness",
        run.robustness,
        run,
        file=_ROBUSTNESS_FILE,
        made="whether changed images were measured",
        fits=run.robustness is not None and run.robustness.thresholds == frozen,
        also=("thresholds", "operating_points.json"),
    )
    if measured is None:
        return
    for name, value, text in (
        ("n_images", measured.n_images, None),
        ("n_patients", measured.n_patients, None),
        ("n_images_in_part", measured.n_images_in_part, None),
        ("image_size", measured.image_size, None),
        ("seed", measured.seed, str(measured.seed)),
        ("margin", measured.margin, f"{measured.margin:g}"),
        ("repeat_difference", measured.repeat_difference, _small(measured.repeat_difference)),
        ("single_difference", measured.single_difference, _small(measured.single_difference)),
        ("single_images", measured.single_images, None),
    ):
        facts.add(f"robustness.{name}", value, text, file=_ROBUSTNESS_FILE, field=name)
    facts.add("robustness.operating_margin", measured.operating_margin, f"{measured.operating_margin or 0:g}",
              file=_ROBUSTNESS_FILE, field="margin of the differences of sensitivity and specificity")  # fmt: skip
    facts.add("robustness.fewest_patients", FEWEST_PATIENTS, file="convention",
              field="patients with, and without the finding, below which no AUROC has held")  # fmt: skip
    effects = [effect for effect in measured.effects if effect.finding in facts["evaluated"].value]
    changes = list(dict.fromkeys(effect.perturbation for effect in effects))
    facts.add("robustness.changes", len(changes), file=_ROBUSTNESS_FILE, field="effects: different changes")
    findings = [name for name in facts["evaluated"].value if name in measured.findings]
    facts.add("robustness.findings", findings, file=_ROBUSTNESS_FILE, field="effects: findings that were evaluated")
    for verdict in VERDICTS:
        for key, whose, of_effect in (
            ("", "the worse of both verdicts", [effect.leading for effect in effects]),
            ("discrimination.", "verdicts on AUROC", [effect.discrimination for effect in effects]),
            ("operating_point.", "verdicts on the operating point", [effect.operating_point for effect in effects]),
        ):
            facts.add(f"robustness.{key}{verdict}", of_effect.count(verdict), file=_ROBUSTNESS_FILE,
                      field=f"effects: {verdict!r} among {whose}")  # fmt: skip
    facts.add("robustness.by_finding", len(findings) <= FEW, file="convention",
              field=f"each finding by itself up to {FEW} findings")  # fmt: skip
    if len(findings) <= FEW:
        for finding in findings:
            rows = [_row(effect) for effect in measured.of(finding)]
            facts.add(f"robustness.{finding}.rows", rows, "", file=_ROBUSTNESS_FILE, field=f"effects of {finding}")
    else:
        facts.add("robustness.rows", [_summary(effects, change) for change in changes], "", file=_ROBUSTNESS_FILE,
                  field="effects by change, over all findings")  # fmt: skip


def _small(value: float) -> str:
    return "none" if value == 0 else "below 0.000001" if value < _LEAST else f"{value:.2g}"


def _brief(estimate: Estimate) -> str:
    """Returns a number with its interval; how many images it comes from stands above the table."""
    return f"{estimate.value:.3f} ({interval_text(estimate)})" if estimate.estimable else estimate_text(estimate)


def _row(effect: PerturbationEffect) -> list[str]:
    """Returns a change's row: kind, change, its three verdicts, three differences, calls changed, share flagged."""
    others = {entry.statistic: difference_text(entry.difference) for entry in effect.comparisons}
    return [
        effect.group,
        effect.perturbation,
        effect.leading,
        effect.discrimination,
        effect.operating_point or _NO_POINT,
        others[_AUROC],
        *(others.get(name, _NO_POINT) for name in RATES),
        _brief(effect.calls_changed),
        _brief(effect.unlike),
    ]


def _summary(measured: Sequence[PerturbationEffect], change: str) -> list[Any]:
    """Returns a change's row over all findings: kind, change, verdicts by number, and where it costs most."""
    effects = [effect for effect in measured if effect.perturbation == change]
    counts = [sum(effect.leading == verdict for effect in effects) for verdict in VERDICTS]
    return [effects[0].group, change, *counts, _largest_loss(effects, (_AUROC,)), _largest_loss(effects, RATES)]


def _largest_loss(effects: Sequence[PerturbationEffect], statistics: Sequence[str]) -> str:
    """Returns the finding that loses most of one of the statistics, with the difference."""
    known = [(effect, entry) for effect in effects for entry in effect.comparisons
             if entry.statistic in statistics and entry.difference.estimable]  # fmt: skip
    if not known:
        return "not estimable"
    effect, entry = min(known, key=lambda pair: pair[1].difference.value)
    named = f" {entry.statistic}" if len(statistics) > 1 else ""
    return f"{effect.finding.replace('_', ' ')}{named} {difference_text(entry.difference)}"
