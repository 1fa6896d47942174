"""What labels are worth: labels against what readers said of the same images, and a model's scores against both.

A model that learnt from labels mined from reports, and is tested on more of them, is measured by how well it agrees
with the labels. Where readers read some of the test images again, both can be told apart.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.agreement.kappa import cohen_kappa
from chexkeras.evaluation.rates import rates
from chexkeras.evaluation.reference_standard.readings import CONSENSUS, Readings
from chexkeras.evaluation.scores import Points, Scores, patient_numbers, points_by_finding, scores_fingerprint
from chexkeras.evaluation.uncertainty.influence import spread, weighted_auc
from chexkeras.evaluation.uncertainty.intervals import auc_interval
from chexkeras.evaluation.uncertainty.worth import NORMAL_FROM, approximate, kish, student_p_value, student_quantile
from chexkeras.results import AgainstReaders, Estimate, FindingAgainstReaders, FindingLabelQuality, LabelQuality

_NO_PATIENTS = "patients are not known: images are taken for independent"
_NOT_TOLD = Estimate.not_estimable("no frozen threshold")


@checked
def label_quality(
    labels: pd.DataFrame,
    readings: Readings,
    *,
    findings: Iterable[str] | None = None,
    consensus: str = "majority",
    confidence: float = 0.95,
) -> LabelQuality:
    """Returns how far labels agree with what readers said of the same images, finding by finding.

    Where several labels mean what the readers call one finding, an image with any of them is labelled; one label that
    is unknown while no other is there leaves the image out. All numbers hold for images chosen as those were that were
    read: sensitivity and PPV change with what is frequent among them.

    Args:
        labels: One row for each image: `image_id`, `patient_id` where patients are known, and one column for each
            finding with 1, 0 or NaN (unknown), such as an image table.
        readings: What readers said, see `chexkeras.data.load_readings`.
        findings: Findings of the readers to compare; None takes all that were read.
        consensus: How several readings of an image become one, of `CONSENSUS`: "majority", "any", "all" or
            "dawid_skene".
        confidence: Coverage of the intervals, in (0, 1).

    Returns:
        One entry for each finding with a label that means the same; the others stand in `left_out` with the reason.

    Raises:
        TypeError: If labels are no DataFrame, or readings no `Readings`.
        ValueError: If no image was read that has a label, a column is missing, an image stands there twice, a finding
            was not read, or nothing that was read corresponds to a label.

    Source:
        Cohen, Educational and Psychological Measurement 20, 1960 (kappa). The AUROC of the readers' calls against the
        labels is (PPV + NPV) / 2; scores that also rank by how plain a finding is may exceed it.

    Example:
        >>> labels = pd.DataFrame({"image_id": list("abcdef"), "Pneumothorax": [1, 1, 0, 0, 0, 0]})
        >>> read = pd.DataFrame({"image_id": list("abcdef"), "finding": "Pneumothorax", "value": [1, 0, 1, 0, 0, 0]})
        >>> print(label_quality(labels, Readings.of(read)).findings[0].ppv)
        0.500 (95 % CI 0.013-0.987)
    """
    checks.probability(confidence, "confidence", open_interval=True)
    _check_readings(readings)
    checks.one_of(consensus, CONSENSUS, "consensus")
    if not isinstance(labels, pd.DataFrame):
        raise TypeError(f"labels is a {type(labels).__name__}; a DataFrame with image_id and findings was expected.")
    checks.require_columns(labels, ("image_id",), "the table of labels", "Give an image table, or one like it.")
    wanted = readings.findings if findings is None else tuple(findings)
    for finding in wanted:
        checks.one_of(finding, readings.findings, "finding")
    by_image = _by_image(labels)
    shared = by_image.index.intersection(readings.images)
    if shared.empty:
        raise ValueError(
            f"none of the {len(by_image):,} labelled images was read: the readings name images such as "
            f"{readings.images[0]!r}, the labels such as {by_image.index[0]!r}. Where readings name them otherwise, "
            "give load_readings their image_ids."
        )
    made, left_out = [], []
    for finding in wanted:
        meant, reason = _meant(readings, finding, by_image.columns)
        if reason:
            left_out.append((finding, reason))
            continue
        images = by_image.loc[shared]
        entry = _quality(images, meant, readings.consensus(finding, consensus), finding, confidence)
        if entry is None:
            left_out.append((finding, "no image has both a label and a reading that settles it"))
        else:
            made.append(entry)
    if not made:
        raise ValueError(_nothing(left_out))
    cautions = readings.source.cautions + (() if "patient_id" in labels.columns else (_NO_PATIENTS,))
    source = readings.source
    return LabelQuality(
        source.name, source.read_by, source.drawn, CONSENSUS[consensus], tuple(made), tuple(left_out), cautions
    )


@checked
def judge_by_readers(
    scores: pd.DataFrame,
    readings: Readings,
    *,
    points: Points | None = None,
    consensus: str = "majority",
    part: str = "test",
    images_elsewhere: int = 0,
    cautions: Sequence[str] = (),
    confidence: float = 0.95,
) -> AgainstReaders:
    """Returns a model's scores judged by their labels and by readers, paired on the images that have both.

    Where readers call one finding what the model has learnt as several, an image's score is the highest of theirs, and
    it is called where any of them is. The two areas of the same scores are compared by the influence of each image on
    their difference, added up within patients.

    Args:
        scores: Long table of scores (image_id, patient_id, finding, label, score).
        readings: What readers said, see `chexkeras.data.load_readings`.
        points: Frozen operating points, at most one for each finding; None leaves sensitivity and specificity out.
        consensus: How several readings of an image become one, see `label_quality`.
        part: The part of the data that the scores belong to, for the text.
        images_elsewhere: Images that were read and belong to other parts, for the text.
        cautions: Sentences that must stand beside the numbers.
        confidence: Coverage of the intervals, in (0, 1).

    Returns:
        One entry for each finding that the model has learnt and readers read.

    Raises:
        TypeError: If scores are no DataFrame, or readings no `Readings`.
        ValueError: If no scored image was read, or nothing that was read corresponds to a finding of the scores.

    Source:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988 (an image's contribution to an area); Binder, International
        Statistical Review 51, 1983 (linearisation, sums over clusters).
    """
    checks.probability(confidence, "confidence", open_interval=True)
    _check_readings(readings)
    checks.one_of(consensus, CONSENSUS, "consensus")
    table = Scores.of(scores)
    frozen = (
        {} if points is None else points_by_finding(points, table, "judging them", "judge the scores of another part")
    )
    thresholds = {name: point.threshold for name, point in frozen.items()}
    wide = {column: table.pivot(index="image_id", columns="finding", values=column) for column in ("label", "score")}
    patients = table.drop_duplicates("image_id").set_index("image_id")["patient_id"]
    shared = wide["label"].index.intersection(readings.images)
    if shared.empty:
        raise ValueError(
            f"none of the {len(wide['label']):,} images of the {part} part was read ({len(readings.images):,} images "
            "were)."
        )
    made, left_out = [], []
    for finding in readings.findings:
        meant, reason = _meant(readings, finding, wide["label"].columns)
        if reason:
            left_out.append((finding, reason))
            continue
        images = wide["label"].loc[shared, list(meant)].assign(patient_id=patients.loc[shared])
        read = readings.consensus(finding, consensus)
        quality = _quality(images, meant, read, finding, confidence)
        if quality is None:
            left_out.append((finding, "no image has both a label and a reading that settles it"))
            continue
        kept, labelled, called = _both(images, meant, read)
        score = wide["score"].loc[kept, list(meant)]
        positive = None
        if all(name in thresholds for name in meant):
            positive = (score >= [thresholds[name] for name in meant]).any(axis=1).to_numpy()
        made.append(
            _judged(
                quality, score.max(axis=1).to_numpy(), labelled, called, patients.loc[kept].to_numpy(), positive,
                confidence,
            )
        )  # fmt: skip
    if not made:
        raise ValueError(_nothing(left_out))
    source = readings.source
    return AgainstReaders(
        readings=source.name, read_by=source.read_by, drawn=source.drawn, terms=source.terms, citation=source.citation,
        consensus=CONSENSUS[consensus], files=source.files, part=part, images_elsewhere=images_elsewhere,
        scores_fingerprint=scores_fingerprint(table), findings=tuple(made), left_out=tuple(left_out),
        cautions=(*cautions, *source.cautions),
    )  # fmt: skip


def _check_readings(readings: object) -> None:
    if not isinstance(readings, Readings):
        raise TypeError(
            f"readings is a {type(readings).__name__}; Readings were expected, as chexkeras.data.load_readings and "
            "chexkeras.evaluation.Readings.of make them."
        )


def _nothing(left_out: list[tuple[str, str]]) -> str:
    reasons = "; ".join(f"{finding}: {reason}" for finding, reason in left_out)
    return f"nothing that was read can be compared with the labels ({reasons})."


def _by_image(labels: pd.DataFrame) -> pd.DataFrame:
    table = labels.assign(image_id=checks.identifiers(labels["image_id"], "image_id of the labels"))
    if "patient_id" in table.columns:
        table = table.assign(patient_id=checks.patient_identifiers(table["patient_id"], "patient_id of the labels"))
    twice = table.loc[table["image_id"].duplicated(), "image_id"]
    if len(twice):
        raise ValueError(f"{len(twice)} image(s) stand in the labels twice, first {twice.iloc[0]}; one row for each.")
    return table.set_index("image_id")


def _meant(readings: Readings, finding: str, columns: pd.Index) -> tuple[tuple[str, ...], str]:
    """Returns the labels that mean a finding of the readers, or why there are none."""
    meant = readings.source.labels_of(finding)
    if not meant:
        return (), dict(readings.source.differs)[finding]
    lacking = [name for name in meant if name not in columns]
    return (meant, "") if not lacking else ((), f"there is no label {' nor '.join(lacking)}")


def _both(
    images: pd.DataFrame, meant: tuple[str, ...], read: pd.Series
) -> tuple[pd.Index, NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns the images with a label and a reading, whether each is labelled, and whether readers call it."""
    values = images[list(meant)].astype(float)
    # Any label there settles it; otherwise all of them must be known.
    label = values.max(axis=1).where((values == 1).any(axis=1) | values.notna().all(axis=1))
    called = read.reindex(images.index)
    kept = label.notna() & called.notna()
    return images.index[kept], (label[kept] == 1).to_numpy(), (called[kept] == 1).to_numpy()


def _quality(
    images: pd.DataFrame, meant: tuple[str, ...], read: pd.Series, finding: str, confidence: float
) -> FindingLabelQuality | None:
    kept, labelled, called = _both(images, meant, read)
    if not len(kept):
        return None
    patients = images.loc[kept, "patient_id"] if "patient_id" in images.columns else None
    clusters = None if patients is None else patients.to_numpy()
    found = rates(called.astype(float), labelled, clusters=clusters, confidence=confidence)
    both = pd.DataFrame({"labels": labelled.astype(float), "readers": called.astype(float)}, index=kept)
    return FindingLabelQuality(
        finding=finding,
        labels=meant,
        n_images=len(kept),
        n_patients=0 if patients is None else int(patients.nunique()),
        both=found.true_positives,
        labelled_only=found.false_positives,
        read_only=found.false_negatives,
        neither=found.true_negatives,
        sensitivity=found.sensitivity,
        specificity=found.specificity,
        ppv=found.ppv,
        npv=found.npv,
        kappa=cohen_kappa(both, patients=patients, confidence=confidence),
        perfect_auroc=auc_interval(labelled.astype(float), called.astype(float), clusters=clusters,
                                   confidence=confidence),
    )  # fmt: skip


def _judged(
    quality: FindingLabelQuality,
    score: NDArray[np.float64],
    labelled: NDArray[np.bool_],
    called: NDArray[np.bool_],
    patients: NDArray[np.object_],
    positive: NDArray[np.bool_] | None,
    confidence: float,
) -> FindingAgainstReaders:
    difference, p_value = _area_difference(score, called, labelled, patients, confidence)
    truths = {"labels": labelled.astype(float), "readers": called.astype(float)}
    judged = {
        name: None if positive is None else rates(truth, positive, clusters=patients, confidence=confidence)
        for name, truth in truths.items()
    }
    return FindingAgainstReaders(
        quality=quality,
        auroc_labels=auc_interval(truths["labels"], score, clusters=patients, confidence=confidence),
        auroc_readers=auc_interval(truths["readers"], score, clusters=patients, confidence=confidence),
        auroc_difference=difference,
        p_value=p_value,
        verdict=_verdict(difference),
        **{
            f"{rate}_{name}": _NOT_TOLD if found is None else getattr(found, rate)
            for name, found in judged.items()
            for rate in ("sensitivity", "specificity")
        },
    )


def _verdict(difference: Estimate) -> str:
    if not difference.estimable:
        return f"not estimable: {difference.reason}"
    if difference.low > 0:
        return "agrees better with the readers than with the labels"
    return (
        "agrees worse with the readers than with the labels"
        if difference.high < 0
        else ("agrees with the readers and the labels alike, as far as these images can show")
    )


def _area_difference(
    score: NDArray[np.float64],
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    patients: NDArray[np.object_],
    confidence: float,
) -> tuple[Estimate, float]:
    """Returns the area of scores by one truth less that by another on the same images, and the p-value of equality."""
    n = len(score)
    for truth, whose in ((first, "readers"), (second, "labels")):
        if truth.all() or not truth.any():
            reason = f"by the {whose} all images are {'positive' if truth.any() else 'negative'}"
            return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    group = patient_numbers(patients, np.ones(n, dtype=bool))
    owner = np.arange(n) if group is None else group
    weights = np.ones(n)
    areas = [weighted_auc(truth, score, weights) for truth in (first, second)]
    value = areas[0].value - areas[1].value
    contributions = areas[0].of_images - areas[1].of_images
    variance = spread(contributions, owner, np.zeros(n, dtype=np.int64), [np.ones(n, dtype=bool)]).variance
    if not variance > 0:
        reason = (
            "readers and labels agree on every image" if (first == second).all() else "all images are one patient's"
        )
        return Estimate.not_estimable(reason, n=n, confidence=confidence), math.nan
    worth = min(kish(owner[rows]) for truth in (first, second) for rows in (truth, ~truth))
    degrees = max(1.0, worth - 1) if worth < NORMAL_FROM else math.inf
    error = math.sqrt(variance)
    reach = student_quantile(confidence, degrees) * error
    student = "" if math.isinf(degrees) else f", Student's t with {degrees:.0f} degrees of freedom"
    unit = "images" if group is None else "patients"
    method = f"paired influence on the difference, summed within {unit}{student}{approximate(worth, unit)}"
    limits = max(-1.0, value - reach), min(1.0, value + reach)
    return Estimate(value, *limits, confidence, n, method), student_p_value(value / error, degrees)
