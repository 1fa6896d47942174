"""What can be asked of finished runs: other thresholds, readers in place of labels, whether two can be told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import one_of, probability
from chexkeras.evaluation.clinical_use.abstention import check_abstention, with_bands
from chexkeras.evaluation.comparison.compare import compare_all
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.reference_standard.label_quality import judge_by_readers
from chexkeras.evaluation.reference_standard.readings import Readings
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.results import AgainstReaders, Comparison, Evaluation, OperatingPoint
from chexkeras.runs.run import READERS, Run

SECOND_LOOK = "Exploratory: the test part was measured before; a rule picked by these numbers makes them optimistic."


def evaluate_at(
    run: Run,
    rule: str | None = None,
    target: float | None = None,
    *,
    abstain_share: float | None = None,
    abstain_accuracy: float | None = None,
) -> Evaluation:
    """Returns a run's test results at thresholds chosen again on its validation scores; the run stays as it is.

    Args:
        run: A finished run.
        rule: How thresholds are chosen, see `choose_threshold`; None keeps the frozen ones.
        target: What the rule aims at; None takes the rule's own default.
        abstain_share: Leaves open the images nearest to the threshold, at most such a share of validation, in (0, 1).
        abstain_accuracy: Leaves open as few images as it takes for the other calls to be right in such a share of
            validation, in (0, 1]; see `evaluation.clinical_use.abstention.choose_band`.

    Returns:
        The evaluation, with a caution that it is a second look at the test part.

    Raises:
        ValueError: If the rule is unknown, the target does not fit it, or both ways to leave images open are stated.
    """
    check_abstention(abstain_share, abstain_accuracy)
    aim = ... if target is None else target
    validation = run.scores("validation")
    points = run.checked_points()
    if rule is not None:
        chosen = [choose_threshold(validation, rule=rule, target=aim, finding=name) for name in run.recipe.targets]
        points = tuple(chosen)
    points = with_bands(validation, points, abstain_share, abstain_accuracy)
    return evaluate(run.scores("test"), points, cautions=(*run.cautions, SECOND_LOOK))


@checked
def evaluate_by_readers(
    run: Run | str | Path,
    readings: Readings,
    *,
    consensus: str = "majority",
    keep: bool = False,
    overwrite: bool = False,
) -> AgainstReaders:
    """Judges a run's test scores by readers beside its labels, on the test images that readers read.

    The frozen thresholds stay. Images of other parts that were read are counted and not used: the model has seen them.

    Args:
        run: A run or its folder.
        readings: What readers said, see `chexkeras.data.load_readings`.
        consensus: How several readings of an image become one: "majority", "any", "all" or "dawid_skene".
        keep: Whether the result becomes the run's ``readers.json``, from which its report tells.
        overwrite: Whether an earlier one may be replaced.

    Returns:
        Both judgements of each finding, their paired difference, and what the labels are worth on these images.

    Raises:
        FileExistsError: If the run keeps one already.
        TypeError: If readings are no `Readings`.
        ValueError: If no test image was read, or nothing that was read corresponds to what the run has learnt.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    if keep and not overwrite and (run.folder / READERS).exists():
        raise FileExistsError(
            f"the run {run.folder.name!r} was compared with readers already ({READERS}); overwrite=True (on the "
            "command line --overwrite) replaces it."
        )
    read = set(readings.images) if isinstance(readings, Readings) else set()
    elsewhere = run.splits[run.splits["image_id"].isin(read) & (run.splits["part"] != "test")]
    found = judge_by_readers(
        run.scores("test"), readings, points=run.checked_points(), consensus=consensus,
        images_elsewhere=len(elsewhere), cautions=run.cautions,
    )  # fmt: skip
    if keep:
        files.write_json(run.folder / READERS, found.to_dict())
    return found


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side on the same test images.

    Attributes:
        comparisons: Paired differences, with Holm's correction over all of them.
        evaluations: Each run's test results at the thresholds compared, by the run's name.
        left_out: Findings that not every run has learnt.
    """

    comparisons: tuple[Comparison, ...]
    evaluations: Mapping[str, Evaluation]
    left_out: tuple[str, ...] = ()


def compare_runs(
    runs: Mapping[str, Run], findings: Sequence[str] = (), *, threshold: float | None = None
) -> RunComparison:
    """Compares runs on the test images that they share.

    AUROC, and sensitivity and specificity at each run's frozen threshold or at a stated one, by paired tests that let
    the images of one patient agree.

    Args:
        runs: Two runs or more, by name.
        findings: Findings to compare on; by default all that every run has learnt.
        threshold: Score from which on an image is called positive in every run, in [0, 1]; None takes each run's
            frozen thresholds.

    Raises:
        ValueError: If there are fewer than two runs, they share no finding, or a finding is not shared.
    """
    if len(runs) < 2:
        raise ValueError(f"compare needs at least two runs, got {len(runs)}.")
    if threshold is not None:
        probability(threshold, "threshold")
    chosen, left_out = _shared_findings(runs, findings)
    points = _points(runs, chosen, threshold)
    scores = {name: run.scores("test") for name, run in runs.items()}
    scores = {name: table[table["finding"].isin(chosen)] for name, table in scores.items()}
    made = compare_all(scores, points=points if any(points.values()) else None)
    return RunComparison(
        tuple(made), {name: evaluate(table, points[name]) for name, table in scores.items()}, tuple(left_out)
    )


def _shared_findings(runs: Mapping[str, Run], wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the findings to compare on, and those left out since not every run has learnt them."""
    targets = {name: run.recipe.targets for name, run in runs.items()}
    everything = list(dict.fromkeys(finding for each in targets.values() for finding in each))
    shared = [finding for finding in everything if all(finding in each for each in targets.values())]
    if not shared:
        learnt = "; ".join(f"{name} {', '.join(each)}" for name, each in targets.items())
        raise ValueError(f"the runs have learnt no finding in common: {learnt}.")
    if wanted:
        return [one_of(finding, shared, "finding") for finding in dict.fromkeys(wanted)], []
    return shared, [finding for finding in everything if finding not in shared]


def _points(
    runs: Mapping[str, Run], findings: Sequence[str], threshold: float | None
) -> dict[str, list[OperatingPoint]]:
    """Returns each run's operating points for the findings that all of them decide."""
    if threshold is not None:
        stated = [choose_threshold(None, rule="fixed", target=threshold, finding=finding) for finding in findings]
        return dict.fromkeys(runs, stated)
    frozen = {name: {point.finding: point for point in run.operating_points} for name, run in runs.items()}
    decided = [finding for finding in findings if all(finding in each for each in frozen.values())]
    return {name: [each[finding] for finding in decided] for name, each in frozen.items()}


def one_finding(run: Run, finding: str | None, name: str = "finding") -> str:
    """Returns one of a run's findings: the one that is named, or the only one.

    Args:
        run: The run.
        finding: What the caller gave; None where the run has one only.
        name: What it was given as, for the message.

    Raises:
        ValueError: If it is none of the run's, or none is named and there are several.
    """
    targets = run.recipe.targets
    if finding is None and len(targets) > 1:
        raise ValueError(f"{name} is not given, and the run has several: {', '.join(targets)}. Name one.")
    return one_of(targets[0] if finding is None else finding, targets, name)
