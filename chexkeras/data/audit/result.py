"""What an audit hands back: the table that is left, the issues found, and both as text, HTML and JSON."""

import html
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from chexkeras.arguments import checked
from chexkeras.data.audit.shortcuts import SHORTCUTS, Shortcut
from chexkeras.data.image_table import ImageTable
from chexkeras.plain import PlainTable

ERROR, WARNING, NOTE = "error", "warning", "note"
CODES: dict[str, tuple[str, str]] = {
    "missing_file": (ERROR, "no image file"),
    "unreadable": (ERROR, "the file cannot be decoded"),
    "rejected_dicom": (ERROR, "the DICOM gate refuses the file"),
    "constant": (ERROR, "all pixels are equal"),
    "patient_crosses_split": (WARNING, "patient with images in several parts of the split"),
    "duplicate_crosses_split": (WARNING, "the same pixels in two parts of the split"),
    "near_duplicate_crosses_split": (WARNING, "nearly the same image in two parts of the split"),
    "same_image_two_patients": (WARNING, "the same pixels under two patients"),
    "near_duplicate_two_patients": (WARNING, "nearly the same image under two patients"),
    "duplicate_labels_differ": (WARNING, "the same pixels with other labels"),
    "duplicate_pixels": (WARNING, "the same pixels as another image"),
    "films_too_alike": (WARNING, "near duplicates could not be told"),
    "low_contrast": (WARNING, "shows too little: few gray levels, or nearly all black or white"),
    "looks_inverted": (WARNING, "black and white exchanged, beside the other images"),
    "looks_upside_down": (WARNING, "on its head, beside the other images"),
    "looks_on_its_side": (WARNING, "turned by 90 degrees, beside the other images"),
    "mixed_polarity": (WARNING, "images of both polarities in one data set"),
    "mixed_orientation": (WARNING, "images turned in several ways in one data set"),
    "unlike_the_rest": (WARNING, "resembles no other image"),
    "unusual_brightness": (WARNING, "far darker or brighter than most images"),
    "unusual_contrast": (WARNING, "far less or more contrast than most images"),
    "repeated_image_id": (WARNING, "the table names the image more than once"),
    "unknown_patient": (WARNING, "no patient_id"),
    "patient_two_sexes": (WARNING, "patient whose images give two sexes"),
    "selected_sample": (WARNING, "a finding much commoner or rarer than in the whole data set"),
    "label_contradiction": (WARNING, "No Finding together with a finding"),
    "unusual_size": (WARNING, "a size that differs from most images"),
    "near_duplicate": (NOTE, "nearly the same image twice of one patient"),
    "not_grayscale": (NOTE, "not stored as gray"),
    "implausible_age": (NOTE, "age blank or impossible"),
    "unknown_sex": (NOTE, "sex neither M nor F"),
    "unknown_view": (NOTE, "view none of PA, AP and LATERAL"),
}
"""Every code with its severity (error = the image cannot be used) and meaning, the gravest first."""

APPEARANCE = (
    "low_contrast",
    "looks_inverted",
    "looks_upside_down",
    "looks_on_its_side",
    "mixed_polarity",
    "mixed_orientation",
    "unlike_the_rest",
    "unusual_brightness",
    "unusual_contrast",
)
"""Codes of what an image looks like: suspicions, for which no image is left out."""

_EXAMPLES = 20
_NAMED = 3


class AuditIssue(NamedTuple):
    """One finding of the audit: its code, the image ("" where it concerns the whole table), and what exactly."""

    code: str
    image_id: str
    detail: str


@checked
@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes:
        table: The image table without the images that cannot be used; its source lists those.
        issues: One row per issue: code, image_id, severity ("error", "warning", "note"), detail.
        checked: How many images the audited table had.
        decoded: Whether the images were opened.
        sizes: ("width x height", images) of the decoded images, the commonest first.
        split: The split's description, when one was checked.
        appearance: Of the decoded images' "brightness" (mean gray value, 0-255), "contrast" (standard deviation) and
            "gray_levels" (in use, of 256), each "lowest", "median" and "highest"; empty where none was decoded.
        shortcuts: How well view, age and sex, image size and a thumbnail alone tell each finding.
        sites: How well these tell the site of an image, and the site each finding, see `site_shortcuts`; none where the
            table is of one site.
    """

    table: ImageTable = field(repr=False)
    issues: pd.DataFrame = field(repr=False)
    checked: int
    decoded: bool
    sizes: tuple[tuple[str, int], ...] = ()
    split: str = ""
    appearance: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)
    shortcuts: tuple[Shortcut, ...] = field(default=(), repr=False)
    sites: tuple[Shortcut, ...] = field(default=(), repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """Issues per code, the gravest code first; codes without issues are absent."""
        counted = self.issues["code"].value_counts()
        return {code: int(counted[code]) for code in CODES if code in counted}

    @property
    def summary(self) -> str:
        """A text for a terminal: the data set in a few lines, the shortcuts, then one line per code that occurred."""
        rows = [self._line(code) for code in self.counts]
        return "\n".join([*self._headline(), *self._shortcut_lines(), *(rows or ["no issues"])])

    @property
    def suspicions(self) -> tuple[str, ...]:
        """The lines of the summary on what images look like, such as inverted ones, to show before a training."""
        return tuple(self._line(code) for code in self.counts if code in APPEARANCE)

    def shortcut_table(self) -> pd.DataFrame:
        """Returns one row per finding and one column per shortcut: the AUROC with its interval, "*" = informative."""
        rows: dict[str, dict[str, str]] = {}
        for shortcut in self.shortcuts:
            rows.setdefault(shortcut.finding, {})[shortcut.name] = str(shortcut)
        names = [name for name in SHORTCUTS if any(name in row for row in rows.values())]
        table = PlainTable(pd.DataFrame.from_dict(rows, orient="index", columns=names))
        return table.rename_axis("finding").reset_index()

    def to_dict(self) -> dict[str, Any]:
        """Returns the audit as plain values: per code the count and up to 20 examples, and who is on the images."""
        issues = {}
        for code, count in self.counts.items():
            rows = self.issues[self.issues["code"] == code].head(_EXAMPLES)
            severity, meaning = CODES[code]
            examples = rows[["image_id", "detail"]].to_dict("records")
            issues[code] = {"severity": severity, "meaning": meaning, "count": count, "examples": examples}
        source = self.table.source
        return {
            "checked": self.checked,
            "images": len(self.table),
            "patients": int(self.table["patient_id"].nunique()),
            "left_out": len(source.left_out),
            "decoded": self.decoded,
            "sizes": dict(self.sizes),
            "appearance": self.appearance,
            "issues": issues,
            "demographics": _demographics(self.table),
            "findings": {
                finding: {
                    "positive": int((self.table[finding] == 1).sum()),
                    "negative": int((self.table[finding] == 0).sum()),
                    "unknown": int(self.table[finding].isna().sum()),
                }
                for finding in self.table.findings
            },
            "shortcuts": [shortcut.to_dict() for shortcut in self.shortcuts],
            "sites": [shortcut.to_dict() for shortcut in self.sites],
            "split": self.split,
            "label_release": source.label_release,
            "source": source.to_dict(),
        }

    def __str__(self) -> str:
        """Returns the summary."""
        return self.summary

    def _headline(self) -> list[str]:
        source, who = self.table.source, _demographics(self.table)
        left_out = f"; {len(source.left_out)} left out" if source.left_out else ""
        lines = [
            f"{source.dataset} (labels: {source.label_release})",
            f"{len(self.table):,} images of {self.table['patient_id'].nunique():,} patients{left_out}",
        ]
        if "age_years" in who:
            age = who["age_years"]
            known = f"{age['min']:g} to {age['max']:g} years, median {age['median']:g}; " if "min" in age else ""
            lines.append(f"age {known}{age['unknown']} unknown")
        for column in ("sex", "view"):
            counts = ", ".join(f"{value or 'blank'} {count}" for value, count in who.get(column, {}).items())
            lines += [f"{column}: {counts}"] if counts else []
        if not self.decoded:
            lines.append("images not opened: files and pixels are unchecked")
        elif self.sizes:
            lines.append("pixels: " + ", ".join(f"{size} ({count})" for size, count in self.sizes[:3]))
        if self.appearance:
            spans = [
                f"{name.replace('_', ' ')} {span['median']:.0f} ({span['lowest']:.0f} to {span['highest']:.0f})"
                for name, span in self.appearance.items()
            ]
            lines.append(f"median (lowest to highest): {', '.join(spans)}")
        lines += [self.split] if self.split else []
        return [*lines, *source.cautions]

    def _line(self, code: str) -> str:
        """Returns a code's line of the summary; what is seen only by looking at images names the first of them."""
        severity, meaning = CODES[code]
        images = [image for image in self.issues["image_id"][self.issues["code"] == code] if image]
        named = f": {', '.join(images[:_NAMED])}{' ...' if len(images) > _NAMED else ''}"
        width = max(map(len, self.counts))
        shown = named if code in APPEARANCE and images else ""
        return f"{severity:<8} {code:<{width}} {self.counts[code]:>7}  {meaning}{shown}"

    def _shortcut_lines(self) -> list[str]:
        if not self.shortcuts:
            return []
        lines = [_SHORTCUTS_TITLE, *str(self.shortcut_table()).splitlines()]
        if self.sites:
            lines += [_SITES_TITLE, *(f"{entry.finding} from {entry.name}: {entry}" for entry in self.sites)]
        return lines

    def _repr_html_(self) -> str:
        head = "<br>".join(map(html.escape, self._headline()))
        rows = [(CODES[code][0], code, count, CODES[code][1]) for code, count in self.counts.items()]
        listed = pd.DataFrame(rows, columns=["severity", "code", "count", "meaning"]).to_html(index=False)
        shortcuts = f"<p>{_SHORTCUTS_TITLE}</p>{self.shortcut_table().to_html(index=False)}" if self.shortcuts else ""
        return f"<p>{head}</p>{listed if rows else '<p>no issues</p>'}{shortcuts}"


_SITES_TITLE = "sites: AUROC (95 % CI) of telling one from the others, and of telling a finding from the site alone"
_SHORTCUTS_TITLE = (
    "shortcuts: AUROC (95 % CI) from this alone, fitted to other patients; * informative, so a model may learn it"
)


def _demographics(table: pd.DataFrame) -> dict[str, Any]:
    """Returns, per image and not per patient, age and the counts of sex and view, as far as the table has them."""
    who: dict[str, Any] = {}
    if "age_years" in table:
        age = table["age_years"]
        numbers = {"min": float(age.min()), "median": float(age.median()), "max": float(age.max())}
        who["age_years"] = {**(numbers if age.notna().any() else {}), "unknown": int(age.isna().sum())}
    for column in ("sex", "view"):
        if column in table:
            who[column] = {str(value): int(count) for value, count in table[column].value_counts(dropna=False).items()}
    return who
