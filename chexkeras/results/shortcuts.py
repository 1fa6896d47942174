"""A model against what could be read of its images without looking for disease, on the same test images."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import plain
from chexkeras.arguments import checked
from chexkeras.plain import PlainTable
from chexkeras.results.estimate import Estimate
from chexkeras.results.record import Record

MORE, NOT_SHOWN, LESS, UNKNOWN = "sees more", "not shown to see more", "sees less", "not estimable"
"""What can be said of a model beside a shortcut; see `AgainstShortcut.verdict`."""

TOGETHER = "all together"
"""The name of the shortcut that all the others make side by side."""

SHORTCUT_WORDS = {
    "view": "the view",
    "age and sex": "age and sex",
    "image size": "the image's size",
    "thumbnail": "a thumbnail of 8 x 8 pixels",
    TOGETHER: "view, age and sex, image size and thumbnail together",
}
"""Each shortcut as a sentence names it."""


@checked
@dataclass(frozen=True)
class AgainstShortcut(Record, nan=("p_value",)):
    """A model's AUROC beside that of one shortcut, for one finding.

    Attributes:
        finding: The finding.
        shortcut: One of `SHORTCUT_WORDS`.
        model: AUROC of the model on the test images.
        alone: AUROC of a logistic regression on the shortcut, fitted to the training images, on the same test images.
        difference: Model minus shortcut, paired, with its interval.
        p_value: Two-sided, that they are equal; NaN where there is none.
        n_training: Training images with a known label that the shortcut was fitted to.
    """

    finding: str
    shortcut: str
    model: Estimate
    alone: Estimate
    difference: Estimate
    p_value: float
    n_training: int

    @property
    def verdict(self) -> str:
        """What the interval of the difference says.

        "sees more": it lies above 0. "sees less": it lies below 0. "not shown to see more": it holds 0, so that what
        the model tells could be the shortcut's; this is no sign that it is. "not estimable": there is no interval.
        """
        if not self.difference.estimable or math.isnan(self.difference.low) or math.isnan(self.difference.high):
            return UNKNOWN
        if self.difference.low > 0:
            return MORE
        return LESS if self.difference.high < 0 else NOT_SHOWN

    @property
    def fails(self) -> bool:
        """Whether the model was not shown to see more, although that could be asked."""
        return self.verdict in (NOT_SHOWN, LESS)

    def __str__(self) -> str:
        """Returns the verdict as a sentence with both areas, the difference and its interval."""
        finding, words = self.finding.replace("_", " "), SHORTCUT_WORDS.get(self.shortcut, self.shortcut)
        if self.verdict == UNKNOWN:
            reason = self.difference.reason or self.alone.reason or self.model.reason
            return f"{finding}: model and {words} cannot be compared ({reason or 'no interval'})"
        told = {MORE: "sees more than", LESS: "sees less than", NOT_SHOWN: "not shown to see more than"}[self.verdict]
        return (
            f"{finding}: {told} {words}, AUROC {self.model.value:.3f} against {self.alone.value:.3f} on the same "
            f"{self.difference.n:,} test images, difference {self.difference}"
        )


@checked
@dataclass(frozen=True)
class ThumbnailShortcut(Record):
    """A logistic regression on thumbnails that was fitted to a run's training images, kept without any image.

    Attributes:
        mean: Mean gray value of each of the thumbnail's pixels over the training images, row by row.
        coefficients: By finding, the slope of each pixel.
        reasons: By finding, why there are none.
    """

    mean: tuple[float, ...]
    coefficients: dict[str, tuple[float, ...]]
    reasons: dict[str, str] = field(default_factory=dict)

    def refuse_impossible(self) -> None:
        """Checks what was read: slopes that do not fit the pixels.

        Raises:
            ValueError: If there is not one for each pixel, or one is no number.
        """
        for values in (self.mean, *self.coefficients.values()):
            if not values or len(values) != len(self.mean) or not all(map(math.isfinite, values)):
                raise ValueError(f"a thumbnail of {len(self.mean)} pixels has {len(values)} number(s), or one is none")

    def scores(self, finding: str, thumbnails: NDArray[Any]) -> NDArray[np.float64]:
        """Returns what the shortcut says of images; it orders them and is no probability.

        Args:
            finding: One that has coefficients.
            thumbnails: Shape (images, height, width), gray, as many pixels as it was fitted to.

        Raises:
            ValueError: If there are other thumbnails, or the finding has no coefficients.
        """
        flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
        if flat.shape[1] != len(self.mean) or finding not in self.coefficients:
            raise ValueError(
                f"thumbnails of {flat.shape[1]} pixels and {finding!r} were given; {len(self.mean)} pixels and one of "
                f"{', '.join(self.coefficients) or 'no finding'} were expected."
            )
        return (flat - np.array(self.mean)) @ np.array(self.coefficients[finding])


def strongest(entries: Iterable[AgainstShortcut]) -> AgainstShortcut:
    """Returns the comparison with the shortcut that tells most by itself; with all together only if there is no other.

    Args:
        entries: Estimable ones, at least one.
    """
    return max(entries, key=lambda entry: (entry.shortcut != TOGETHER, entry.alone.value))


@checked
@dataclass(frozen=True)
class ShortcutStudy(Record):
    """A model beside every shortcut, finding by finding.

    Attributes:
        scores_fingerprint: SHA-256 of the test scores that were compared.
        entries: Finding by finding, in the order of `SHORTCUT_WORDS`.
        cautions: Sentences a reader must see beside any of these numbers.
        provenance: Versions, commit and time, from `provenance.collect`; None where the run tells them.

    Raises:
        ValueError: If a finding and shortcut stand twice, or a shortcut is unknown.
    """

    scores_fingerprint: str
    entries: tuple[AgainstShortcut, ...]
    cautions: tuple[str, ...] = ()
    provenance: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        seen: set[tuple[str, str]] = set()
        for entry in self.entries:
            key = entry.finding, entry.shortcut
            if key in seen:
                raise ValueError(f"{entry.finding} beside {entry.shortcut!r} stands there twice")
            if entry.shortcut not in SHORTCUT_WORDS:
                raise ValueError(f"{entry.shortcut!a:.40} is none of {', '.join(SHORTCUT_WORDS)}")
            seen.add(key)

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings, in target order."""
        return tuple(dict.fromkeys(entry.finding for entry in self.entries))

    @property
    def failing(self) -> tuple[AgainstShortcut, ...]:
        """What the model was not shown to see more than."""
        return tuple(entry for entry in self.entries if entry.fails)

    @property
    def headline(self) -> str:
        """What a reader of the AUROC must be told in one line; empty where the model sees more than every shortcut."""
        findings = dict.fromkeys(entry.finding for entry in self.failing)
        if not findings:
            return ""
        if len(findings) == 1:
            return str(strongest(self.failing))
        words = ", ".join(finding.replace("_", " ") for finding in findings)
        return f"Not shown to see more than a shortcut (view, age and sex, image size or thumbnail): {words}"

    def of(self, finding: str) -> tuple[AgainstShortcut, ...]:
        """Returns the comparisons of one finding.

        Args:
            finding: A finding of the study.

        Raises:
            KeyError: If it was not compared.
        """
        found = tuple(entry for entry in self.entries if entry.finding == finding)
        if not found:
            raise KeyError(f"{finding!r} was not compared; there are: {', '.join(self.findings) or 'none'}")
        return found

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each finding and shortcut, each number with its interval as text; cautions in attrs."""
        rows = [
            {
                "finding": entry.finding.replace("_", " "),
                "shortcut": entry.shortcut,
                "AUROC of the model": str(entry.model),
                "AUROC of the shortcut": str(entry.alone),
                "model minus shortcut": str(entry.difference),
                "the model": entry.verdict,
            }
            for entry in self.entries
        ]
        columns = ("finding", "shortcut", "AUROC of the model", "AUROC of the shortcut", "model minus shortcut",
                   "the model")  # fmt: skip
        table = PlainTable(rows, columns=list(columns))
        table.attrs["cautions"] = self.cautions
        return table

    def __str__(self) -> str:
        """Returns cautions, and a sentence for each finding and shortcut."""
        told = [plain.wrapped(str(entry), "- ") for entry in self.entries] or ["no shortcut was compared"]
        return "\n".join([*plain.cautions(self.cautions), *told])
