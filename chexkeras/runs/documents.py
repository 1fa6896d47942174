"""What the JSON documents of a run hold: which fields, and of which kind each is.

A run folder may come from elsewhere. What is printed of it, or computed with, is checked here once, so that nothing
behind has to; fields that only a person reads are left as they are.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from chexkeras import provenance
from chexkeras.data.splits.splits import PARTS
from chexkeras.findings import plain_name
from chexkeras.models.classifier import PRECISIONS
from chexkeras.results import Estimate, FindingEvaluation

Check = Callable[[Any, str], None]
"""Called with a value and where it stands; raises ValueError where the value is none that belongs there."""

LONGEST_TEXT = 2_000
"""The longest text in a file of a run, characters: several times what a run writes, and what a figure can hold."""

_VERSION = re.compile(r"\d+(\.\d+)+[\w.+!-]*")
_PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]*")
_PACKAGE_VERSION = re.compile(rf"{provenance.VERSION.pattern}|{provenance.UNKNOWN}|{provenance.NOT_INSTALLED}")
_LIBRARY_VERSION = re.compile(r"[\w.]*")
_LAYER = re.compile(r"[A-Za-z0-9][\w./:+-]*")
_CODE = re.compile(r"\w[\w.-]*")
_DIGEST = re.compile(r"[0-9a-f]*")
_COLUMN = re.compile(r"[A-Za-z]\w*")
_CLASS = re.compile(r"[^\W\d]\w*")


def _wrong(where: str, value: Any, wanted: str) -> ValueError:
    came = "null" if value is None else f"a {type(value).__name__}"
    return ValueError(f"{where} is {came}, {wanted} was expected")


def text(value: Any, where: str) -> None:
    """Checks for text of a length that a person reads."""
    if not isinstance(value, str):
        raise _wrong(where, value, "text")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"{where} is a text of {len(value):,} characters, at most {LONGEST_TEXT:,} were expected")


def matching(pattern: re.Pattern[str], words: str) -> Check:
    """Returns a check for text that is nothing but what a pattern describes.

    Args:
        pattern: The pattern.
        words: What it describes, for the message.
    """

    def check(value: Any, where: str) -> None:
        text(value, where)
        if not pattern.fullmatch(value):
            raise ValueError(f"{where} is no {words}")

    return check


def one_of(*allowed: str) -> Check:
    """Returns a check for one of some words."""

    def check(value: Any, where: str) -> None:
        if value not in allowed:
            raise ValueError(f"{where} is none of {', '.join(filter(None, allowed))}")

    return check


def moment(value: Any, where: str) -> None:
    """Checks for a date and time as ISO 8601 writes it."""
    text(value, where)
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{where} is no date and time such as 2026-01-31T12:00:00+00:00") from None


def finding(value: Any, where: str) -> None:
    """Checks for the name of a finding."""
    try:
        plain_name(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def flag(value: Any, where: str) -> None:
    """Checks for true or false."""
    if not isinstance(value, bool):
        raise _wrong(where, value, "true or false")


def number(value: Any, where: str) -> None:
    """Checks for a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(where, value, "a number")


def count(value: Any, where: str) -> None:
    """Checks for a whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(where, value, "a whole number")
    if value < 0:
        raise ValueError(f"{where} is below 0")


def or_none(check: Check) -> Check:
    """Returns a check that lets null pass."""
    return lambda value, where: None if value is None else check(value, where)


def listed(check: Check, least: int = 0) -> Check:
    """Returns a check for a list, each entry of which is checked."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, (list, tuple)):
            raise _wrong(where or "it", value, "a list")
        if len(value) < least:
            raise ValueError(f"{where or 'it'} holds {len(value)} entries, at least {least} were expected")
        for place, entry in enumerate(value):
            check(entry, f"{where}[{place}]")

    return checked


def named(key: Check, check: Check) -> Check:
    """Returns a check for values by name, each name and each value of which is checked."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(where or "it", value, "values by name")
        for name, entry in value.items():
            key(name, f"a name in {where or 'it'}")
            check(entry, f"{where}.{name}".lstrip("."))

    return checked


def fields(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """Returns a check for an object that has some fields and may have others; what else it has is not looked at."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(where or "it", value, "values by name")
        lacking = [f"{where}.{name}".lstrip(".") for name in required if name not in value]
        if lacking:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        for name, check in (*required.items(), *(optional or {}).items()):
            if name in value:
                check(value[name], f"{where}.{name}".lstrip("."))

    return checked


_digest = matching(_DIGEST, "fingerprint in hexadecimal digits")
_class = matching(_CLASS, "name of a class")


def _two_or_named(value: Any, where: str) -> None:
    if isinstance(value, str):
        one_of("imagenet", "caffe")(value, where)
    else:
        listed(number, least=2)(value, where)


def _given(value: Any, where: str) -> None:
    """Checks for what is recorded of Keras objects that were given to a training."""
    if isinstance(value, list):
        listed(_class)(value, where)
    else:
        fields({"class": _class}, {"input_range": _two_or_named})(value, where)


_layer = matching(_LAYER, "name of a layer")
_package = matching(_PACKAGE, "name of a package")
_versions = named(_package, matching(_PACKAGE_VERSION, "version"))

_SPLIT: dict[str, Check] = {
    "kind": one_of("patient", "image", "official", "official_image"),
    "seed": or_none(count),
    "leaky": flag,
    "fold": text,
    "description": text,
    "table_fingerprint": _digest,
    "fingerprint": _digest,
}

PROVENANCE = fields(
    {
        "source": fields(
            {
                "dataset": text,
                "label_release": text,
                "files": named(text, _digest),
                "synthetic": flag,
                "implausible_ages": count,
            },
            {
                "cautions": listed(text),
                "views": text,
                "uncertain_policy": named(finding, text),
                "blank_policy": text,
                "group_columns": listed(matching(_COLUMN, "name of a column")),
            },
        ),
        "split": fields({}, _SPLIT),
        "cautions": listed(text),
    },
    {
        "created_utc": moment,
        "git_commit": text,
        "python": matching(_VERSION, "version"),
        "platform": text,
        "packages": _versions,
        "installed": or_none(_versions),
        "depends": named(_package, listed(_package)),
        "bundled": named(_package, named(_package, matching(_LIBRARY_VERSION, "version"))),
        "precision": one_of(*PRECISIONS[1:]),
        "seconds": or_none(number),
        "weights": fields(
            {},
            {
                "origin": text,
                "title": text,
                "source": text,
                "file": text,
                "sha256": _digest,
                "layout": text,
                "conversion": text,
                "normalisation": text,
                "seen": or_none(listed(named(text, text))),
                "seen_here": one_of("", "test", "validation", "unknown"),
            },
        ),
        "model": fields({}, {"name": _layer, "parameters": count, "sha256": _digest, "accepted_sha256": _digest}),
        "given": named(one_of("model", "backbone", "head", "loss", "augment", "callbacks"), _given),
        "novelty": fields({}, {"sha256": _digest}),
        "resolution": or_none(fields({"image_size": count, "n_images": count, "short_side_px": listed(number)})),
        "best": fields({}, {"stage": or_none(text), "epoch": or_none(count), "rank": count}),
    },
)
"""provenance.json: where a run and its data come from."""

SPLITS = fields({"fingerprint": _digest}, _SPLIT)
"""splits.json: how the split was made."""

STAGES = listed(
    fields(
        {
            "stage": text,
            "first_trainable_layer": _layer,
            "trainable_parameters": count,
            "frozen_parameters": count,
            "batchnorm_layers_held": count,
        },
        {
            "backbone_layers": or_none(count),
            "backbone_layers_trainable": or_none(count),
            "layers_trainable": listed(_layer),
            "total_parameters": or_none(count),
            "learning_rate_factors": named(_layer, number),
        },
    ),
)
"""stages.json: what each stage trained; none of a model that was trained elsewhere."""


def _site_shortcut(value: Any, where: str) -> None:
    fields({"name": text, "finding": text, "auroc": fields({})})(value, where)
    Estimate.from_dict(value["auroc"])


AUDIT = fields(
    {
        "checked": count,
        "issues": named(
            matching(_CODE, "code"),
            fields({"severity": one_of("error", "warning", "note"), "meaning": text, "count": count}),
        ),
    },
    {"sites": listed(_site_shortcut)},
)
"""audit.json: what was found in the images."""

INTENSITIES = named(
    finding,
    fields(
        {
            "bins": listed(number, least=2),
            "positive": or_none(listed(number)),
            "negative": or_none(listed(number)),
            "n_positive": count,
            "n_negative": count,
        },
        {"n_note": text},
    ),
)
"""intensities.json: gray levels of the training images with each finding and without it."""

POINTS = listed(
    fields({"finding": finding, "chosen_on": one_of(*PARTS, "stated"), "note": text, "scores_fingerprint": _digest})
)
"""operating_points.json, beside what an `OperatingPoint` checks itself."""

EVALUATION = fields(
    {
        "split": one_of(*PARTS),
        "scores_fingerprint": _digest,
        "findings": listed(fields({"finding": finding}), least=1),
        "cautions": listed(text),
    }
)
"""evaluation.json, beside what an `Evaluation` checks itself."""

_WITHIN = ("auroc", "sensitivity", "specificity", "ppv", "npv")


def check_finding(entry: FindingEvaluation) -> None:
    """Checks that no group of a finding stands twice, and that numbers lie within their intervals.

    Args:
        entry: What was measured of the finding.

    Raises:
        ValueError: If a group stands twice, or a number lies outside its interval.
    """
    columns = [analysis.column for analysis in entry.subgroups]
    tests = [(analysis.column, test.statistic) for analysis in entry.subgroups for test in analysis.interactions]
    if len(set(columns)) < len(columns) or len(set(tests)) < len(tests):
        raise ValueError(f"groups of {entry.finding} stand there twice")
    groups = [group for analysis in entry.subgroups for group in analysis.groups]
    for measured in (entry, *groups):
        for name in _WITHIN:
            _check_within(entry.finding, name, getattr(measured, name, None))


def _check_within(finding: str, name: str, estimate: Estimate | None) -> None:
    if estimate is None or not estimate.estimable or math.isnan(estimate.low) or math.isnan(estimate.high):
        return
    if not estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9:
        raise ValueError(
            f"the {name} of {finding}, {estimate.value:.4g}, lies outside its interval "
            f"{estimate.low:.4g} to {estimate.high:.4g}"
        )
