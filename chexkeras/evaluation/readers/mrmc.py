"""Comparing modalities by what several readers make of them: multi-reader multi-case (MRMC) analysis.

What readers gave may be ratings of whole images (`mrmc`) or marks on them (`mrmc_localization`). What is said of their
figures is made in `reader_analysis`; what these vary by, and by which formulas, is in `obuchowski_rockette`.
"""

import math
from dataclasses import replace

import numpy as np

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.readers.figures_of_merit import Figure, Figures, check_figure, figures_with_covariance
from chexkeras.evaluation.readers.localization import afroc, afroc_figures, afroc_name
from chexkeras.evaluation.readers.localization_study import LocalizationStudy
from chexkeras.evaluation.readers.obuchowski_rockette import ROLES
from chexkeras.evaluation.readers.reader_analysis import Analysis, Merit
from chexkeras.evaluation.readers.reader_study import ModalityReadings, ReaderStudy
from chexkeras.evaluation.uncertainty.intervals import auc_interval, clustered_proportion_interval
from chexkeras.evaluation.uncertainty.limits import holm
from chexkeras.evaluation.uncertainty.worth import student_quantile
from chexkeras.results import Estimate
from chexkeras.results.reader_study import MrmcResult


@checked
def mrmc(
    study: ReaderStudy,
    figure: str | Figure = "auroc",
    *,
    threshold: float | None = None,
    covariance: str = "delong",
    readers: str = "random",
    images: str = "random",
    confidence: float = 0.95,
) -> MrmcResult:
    """Analyses a reader study: the readers' mean in each modality, and how the modalities differ.

    With readers and images random, which regulators ask for, a result holds for other readers and patients like these.
    With readers fixed intervals are normal, or by Student's t where the rarer class is worth fewer than 30 patients.

    Args:
        study: The ratings of one finding; every reader read in every modality.
        figure: "auroc" (the empirical area under the ROC curve), "sensitivity", "specificity", or a function
            ``figure(labels, ratings)`` of arrays (labels 1.0 or 0.0) that returns a number, larger being better.
        threshold: For sensitivity and specificity: a rating of at least this much calls an image positive.
        covariance: "delong" (with several images of a patient Obuchowski's), "unbiased" (for one image a patient), or
            "jackknife" (leaves out one patient after the other; the only one for a function).
        readers: "random", or "fixed" for a result that holds for these readers only. One reader is always fixed.
        images: "random", or "fixed" for a result that holds for these images only.
        confidence: Coverage, in (0, 1).

    Returns:
        Means and differences with intervals, tests and variance components; differences are first minus second in the
        order of names, `MrmcResult.difference` turns them round. What cannot be estimated is not, with the reason.

    Raises:
        TypeError: If `study` is no ReaderStudy.
        ValueError: If the study has several findings, readers and images are both fixed, or an argument is unknown or
            does not fit the others.

    Source:
        Obuchowski & Rockette, Communications in Statistics - Simulation and Computation 24, 1995; Hillis, Statistics in
        Medicine 26, 2007 (degrees of freedom); Hillis, Statistics in Medicine 33, 2014 (single modalities, fixed
        readers or images, patients nested in modalities); Box, Annals of Mathematical Statistics 25, 1954 (degrees of
        freedom of the overall test where only some modalities share patients).

    Example:
        >>> from chexkeras.evaluation.readers.roe_metz import simulate_reader_study
        >>> study = simulate_reader_study({"aided": 0.90, "unaided": 0.75}, readers=6, images=(60, 60), seed=1)
        >>> print(mrmc(study).verdict("aided", "unaided").verdict)
        better
    """
    if not isinstance(study, ReaderStudy):
        raise TypeError(f"study is a {type(study).__name__}; a ReaderStudy was expected: ReaderStudy.of(table).")
    name = check_figure(figure, threshold, covariance)
    roles = _roles(readers, images, len(study.readers))
    checks.probability(confidence, "confidence", open_interval=True)
    finding, readings = study.only_finding(), study.readings()
    found = figures_with_covariance(readings, figure, threshold, covariance)
    merit = _merit(name, figure, threshold, readings, found, confidence)
    analysis = Analysis(readings, study.readers, found, merit, covariance, *roles, confidence)
    return analysis.result(finding, study.cautions)


def _roles(readers: str, images: str, n_readers: int) -> tuple[str, str]:
    """Returns which of readers and images are random; one reader is always fixed."""
    for role, value in (("readers", readers), ("images", images)):
        checks.one_of(value, ROLES, role)
    if readers == images == "fixed":
        raise ValueError(
            "readers and images are both fixed, so nothing is left that varies; let one of them be random."
        )
    if n_readers == 1 and images == "fixed":
        raise ValueError("one reader on fixed images leaves nothing that varies; let images be random.")
    return ("fixed" if n_readers == 1 else readers), images


@checked
def mrmc_all(
    study: ReaderStudy,
    figure: str | Figure = "auroc",
    *,
    threshold: float | None = None,
    covariance: str = "delong",
    readers: str = "random",
    images: str = "random",
    confidence: float = 0.95,
) -> tuple[MrmcResult, ...]:
    """Analyses every finding of a reader study, with Holm's correction over all comparisons made together.

    Args:
        study: The ratings; every reader read in every modality for every finding.
        figure: "auroc" (the empirical area under the ROC curve), "sensitivity", "specificity", or a function
            ``figure(labels, ratings)`` of arrays (labels 1.0 or 0.0) that returns a number, larger being better.
        threshold: For sensitivity and specificity: a rating of at least this much calls an image positive.
        covariance: "delong" (with several images of a patient Obuchowski's), "unbiased" (for one image a patient), or
            "jackknife" (leaves out one patient after the other; the only one for a function).
        readers: "random", or "fixed" for results that hold for these readers only. One reader is always fixed.
        images: "random", or "fixed" for results that hold for these images only.
        confidence: Coverage of each interval, in (0, 1); intervals are not adjusted.

    Returns:
        One result for each finding, in the order of names. `p_adjusted` of their differences counts all pairs of all
        findings, that of their overall tests all findings.

    Raises:
        TypeError: If `study` is no ReaderStudy.
        ValueError: If readers and images are both fixed, or an argument is unknown or does not fit the others.

    Source:
        Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    if not isinstance(study, ReaderStudy):
        raise TypeError(f"study is a {type(study).__name__}; a ReaderStudy was expected: ReaderStudy.of(table).")
    results = [
        mrmc(study.of_finding(finding), figure, threshold=threshold, covariance=covariance, readers=readers,
             images=images, confidence=confidence)
        for finding in study.findings
    ]  # fmt: skip
    pairs = iter(holm(pair.p_value for result in results for pair in result.differences))
    tests = iter(holm(result.overall.p_value for result in results if result.overall is not None))
    return tuple(
        replace(
            result,
            differences=tuple(replace(pair, p_adjusted=next(pairs)) for pair in result.differences),
            overall=None if result.overall is None else replace(result.overall, p_adjusted=next(tests)),
        )
        for result in results
    )


@checked
def mrmc_localization(
    study: LocalizationStudy,
    *,
    weighted: bool = True,
    false_positives_on: str = "normal",
    readers: str = "random",
    images: str = "random",
    confidence: float = 0.95,
) -> MrmcResult:
    """Analyses how well several readers located lesions: their mean AFROC area in each modality, and differences.

    Args:
        study: The marks of all readers in all modalities, on the same images.
        weighted: Whether every abnormal image counts once (weighted AFROC, recommended); otherwise every lesion.
        false_positives_on: "normal": false marks on normal images count (AFROC). "all": on abnormal images too
            (AFROC1).
        readers: "random", or "fixed" for a result that holds for these readers only. One reader is always fixed.
        images: "random", or "fixed" for a result that holds for these images only.
        confidence: Coverage, in (0, 1).

    Returns:
        What `mrmc` returns, the figure being the AFROC area; `n_positive` counts images with a lesion.

    Raises:
        TypeError: If `study` is no LocalizationStudy.
        ValueError: If readers and images are both fixed, an argument is unknown, or the areas or their covariances
            cannot be estimated, with the reason.

    Source:
        Obuchowski & Rockette, Communications in Statistics - Simulation and Computation 24, 1995; Hillis, Statistics in
        Medicine 26, 2007; Chakraborty & Zhai, Medical Physics 43, 2016 (weighted AFROC as figure of merit).
    """
    if not isinstance(study, LocalizationStudy):
        raise TypeError(f"study is a {type(study).__name__}; a LocalizationStudy was expected: LocalizationStudy.of.")
    roles = _roles(readers, images, len(study.readers))
    checks.probability(confidence, "confidence", open_interval=True)
    areas, covariance = afroc_figures(study, weighted=weighted, false_positives_on=false_positives_on)
    found = Figures(areas.to_numpy().reshape(len(study.modalities), -1), covariance.to_numpy())
    unrated = np.zeros((len(study.readers), len(study.patient)))
    readings = tuple(ModalityReadings(name, ~study.normal, study.patient, unrated) for name in study.modalities)

    def of_reader(number: int, row: int) -> Estimate:
        return afroc(
            study, weighted=weighted, false_positives_on=false_positives_on, reader=study.readers[row],
            modality=study.modalities[number], confidence=confidence,
        )  # fmt: skip

    classes = (True, False) if false_positives_on == "normal" else (True,)
    merit = Merit(afroc_name(weighted, false_positives_on), "area", classes, of_reader)
    return Analysis(readings, study.readers, found, merit, "delong", *roles, confidence).result("", ())


def _merit(
    name: str,
    figure: str | Figure,
    threshold: float | None,
    readings: tuple[ModalityReadings, ...],
    found: Figures,
    confidence: float,
) -> Merit:
    """Returns the figure of merit of whole images' ratings."""
    classes = {"sensitivity": (True,), "specificity": (False,)}.get(str(figure), (True, False))

    def of_reader(number: int, row: int) -> Estimate:
        part = readings[number]
        ratings, n = part.ratings[row], len(part.positive)
        if figure == "auroc":
            return auc_interval(part.positive, ratings, clusters=part.patient, confidence=confidence)
        if not callable(figure):
            among = part.positive == classes[0]
            right = (ratings >= (threshold or 0.0)) == part.positive
            return clustered_proportion_interval(right[among], part.patient[among], confidence=confidence)
        place, patients = number * len(part.ratings) + row, len(np.unique(part.patient))
        half = student_quantile(confidence, patients - 1) * math.sqrt(found.covariance[place, place])
        value = float(found.values[number, row])
        return Estimate(value, value - half, value + half, confidence, n, f"jackknife of {patients} patients, t")

    kind = "other" if callable(figure) else "area" if figure == "auroc" else "share"
    return Merit(name, kind, classes, of_reader)
