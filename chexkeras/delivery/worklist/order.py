"""The order of a worklist: the most suspicious films first, and none left out."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chexkeras.arguments import checked
from chexkeras.delivery.dicom_output import film_result
from chexkeras.dicom.objects.told import NEGATIVE, POSITIVE, UNCERTAIN, FilmResult, ScoredFinding
from chexkeras.dicom.rules import UNLIKE
from chexkeras.findings import NO_FINDING

NOT_ASSESSED, UNLIKE_TRAINING = "not assessed", "unlike training"

GROUPS = {
    POSITIVE: "a score is at or above its threshold",
    UNCERTAIN: "a score is in the band that the run leaves open",
    NOT_ASSESSED: "the gate refused it, and nobody has an opinion of it: a person decides",
    UNLIKE_TRAINING: "all scores are below their thresholds, but the film is far from those that the model knows, and "
    "such scores do not speak against a finding: a person decides",
    NEGATIVE: "all scores are below their thresholds",
}
"""The groups of a worklist in their order, each with what puts a film there.

A film without a result that counts is as likely to show something as any film that comes in. That is less than where a
score is above its threshold, and more than where it is below; so such films stand between the two: in front they would
delay films that are known to be suspicious, at the end they would wait for longest though nothing speaks for them.
"""


@dataclass(frozen=True)
class WorklistEntry:
    """A film in a worklist.

    Attributes:
        rank: Its place, from 1.
        group: One of `GROUPS`.
        file: Its name in the results.
        leading: The finding that decides its place; None for a film that was not assessed.
        margin: How far that score is from its threshold, as `margin` says; NaN for a film that was not assessed.
        others: Further findings that were called positive, or uncertain where none is positive.
        unlike: Whether it is far from the training images.
        result: What was found, or why it was not assessed.
        record: What became of it, as results have it.
    """

    rank: int
    group: str
    file: str
    leading: ScoredFinding | None
    margin: float
    others: tuple[str, ...]
    unlike: bool
    result: FilmResult
    record: dict[str, Any]


@checked
def margin(finding: str, score: float, threshold: float) -> float:
    """Returns how far a score is from its threshold, on a scale that findings with different thresholds share.

    It orders films and is no probability: a score that was not calibrated is none either.

    Args:
        finding: The finding. For "No Finding" a high score speaks against suspicion, and the sign is turned.
        score: The score, 0 to 1.
        threshold: The threshold, 0 to 1.

    Returns:
        0 at the threshold, 1 at a score of 1, -1 at a score of 0, straight between them.

    Example:
        >>> margin("Effusion", 0.75, 0.5), margin("Effusion", 0.1, 0.2), margin("No Finding", 1.0, 0.4)
        (0.5, -0.5, -1.0)
    """
    room = 1 - threshold if score >= threshold else threshold
    found = 0.0 if room <= 0 else (score - threshold) / room
    return -found if finding == NO_FINDING else found


@checked
def reading_order(records: Iterable[dict[str, Any]]) -> list[WorklistEntry]:
    """Returns films in the order in which they are worth reading; each is there once.

    Groups follow one another as in `GROUPS`; in a group the film comes first whose leading score is farthest above its
    threshold (or least below it), then the one with more findings, then the name decides, so that the same results give
    the same order.

    Args:
        records: What became of each film, as `read_results` and `Predictor.records` give it.
    """
    unranked = [_entry(record) for record in records]
    places = list(GROUPS)

    def key(entry: WorklistEntry) -> tuple[int, float, int, str]:
        return (
            places.index(entry.group),
            math.inf if math.isnan(entry.margin) else -entry.margin,
            -len(entry.others),
            entry.file,
        )

    return [
        WorklistEntry(**{**vars(entry), "rank": rank}) for rank, entry in enumerate(sorted(unranked, key=key), start=1)
    ]


def _entry(record: dict[str, Any]) -> WorklistEntry:
    result, unlike = film_result(record), _is_unlike(record)
    file = str(record["file"])
    if not result.assessed:
        return WorklistEntry(0, NOT_ASSESSED, file, None, math.nan, (), unlike, result, record)
    calls = {each.finding: suspicion(each) for each in result.findings}
    group = next((call for call in (POSITIVE, UNCERTAIN) if call in calls.values()), NEGATIVE)
    among = [each for each in result.findings if calls[each.finding] == group]
    leading = max(among, key=lambda each: margin(each.finding, each.score, each.threshold))
    others = tuple(each.finding for each in among if each is not leading) if group != NEGATIVE else ()
    if group == NEGATIVE and unlike:
        group = UNLIKE_TRAINING
    far = margin(leading.finding, leading.score, leading.threshold)
    return WorklistEntry(0, group, file, leading, far, others, unlike, result, record)


def suspicion(scored: ScoredFinding) -> str:
    """Returns the call of a finding as suspicion: of "No Finding" a positive call is a negative one, and conversely.

    Args:
        scored: The finding with its call.
    """
    turned = {POSITIVE: NEGATIVE, NEGATIVE: POSITIVE}
    return turned.get(scored.call, scored.call) if scored.finding == NO_FINDING else scored.call


def _is_unlike(record: dict[str, Any]) -> bool:
    if UNLIKE in str(record["code"]).split(";"):
        return True
    novelty, threshold = record.get("novelty", math.nan), record.get("novelty_threshold", math.nan)
    return bool(novelty > threshold)
