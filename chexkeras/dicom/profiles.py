"""Which images a deployment accepts and how it shows them: limits, vocabularies, and steps of the display chain."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.dicom.attributes.vocabulary import POSTURES
from chexkeras.dicom.header import name_tag
from chexkeras.dicom.rules import REJECT, RULE_BY_CODE, RULES, WARN, DicomRule

if TYPE_CHECKING:
    import pandas as pd


AUTO, REQUIRED, OFF = "auto", "required", "off"

STEPS: Mapping[str, str] = MappingProxyType(
    {
        "modality": "PS3.3 C.11.1",
        "padding": "PS3.3 C.7.5.1.1.2",
        "voi": "PS3.3 C.11.2",
        "inversion": "PS3.3 C.7.6.3.1.2, C.8.11.3.1.2",
    }
)
"""The steps that can be chosen, in the order in which they are taken, each with its clause of the standard."""


@dataclasses.dataclass(frozen=True)
class PixelSteps:
    """Which steps of the display chain are taken.

    Each is "auto" (taken where the file asks for it), "required" (an image that does not ask for it, or not in a usable
    way, is refused with the code "pixel_step") or "off" (never taken, whatever the file asks for). Decoding itself,
    with the shift and the sign of the stored bits (PS3.5 8.1.1), and the scale of 0 to 255 at the end are always part
    of the chain.

    Attributes:
        modality: The modality table, or rescale slope and intercept.
        padding: Padding shown black and left out of the range.
        voi: The first usable VOI table, or else the first usable window.
        inversion: The inversion of MONOCHROME1 or of the shape INVERSE.

    Raises:
        ValueError: If a step is none of the three.

    Example:
        >>> import dataclasses
        >>> from chexkeras.dicom.profiles import CLINICAL
        >>> strict = dataclasses.replace(CLINICAL, name="with a window", pixel_steps=PixelSteps(voi="required"))
    """

    modality: str = AUTO
    padding: str = AUTO
    voi: str = AUTO
    inversion: str = AUTO

    def __post_init__(self) -> None:
        for step in STEPS:
            checks.one_of(self.choice(step), (AUTO, REQUIRED, OFF), f"{step} of PixelSteps")

    def choice(self, step: str) -> str:
        """Returns what was chosen for a step: "auto", "required" or "off"."""
        return str(getattr(self, step))

    def takes(self, step: str) -> bool:
        """Returns whether a step is taken where the file asks for it."""
        return self.choice(step) != OFF


USUAL_STEPS = PixelSteps()
"""Every step where the file asks for it."""

_CHEST_SYNONYMS = (
    *("CHEST", "CXR", "THORAX", "TORAX", "TORACE"),
    *("LUNG", "LUNGS", "LUNGE", "LUNGEN", "POUMON", "POUMONS", "PULMON", "PULMAO"),
)
# What consoles write beside the part: the view, the posture, the apparatus and the number of images.
_CHEST_QUALIFIERS = (
    *("PA", "AP", "P", "A", *POSTURES),
    *("X", "RAY", "XRAY", "XR", "1", "2", "3", "1V", "2V", "3V", "V", "VIEW", "VIEWS", "ADULT"),
)


@checked
@dataclasses.dataclass(frozen=True)
class Profile:
    """What a deployment accepts; change one with `dataclasses.replace`.

    Attributes:
        name: Shown in results.
        severities: Which severities of the rules apply: "clinical" or "course".
        overrides: (code, severity) that differ from these.
        modalities: Accepted values of Modality.
        body_parts: Accepted values of Body Part Examined, in upper case, words separated by one space.
        body_part_qualifiers: Words that may stand beside these; with any, accents do not count either.
        body_part_fallbacks: Whether the coded region and descriptions are asked where Body Part Examined is empty, and
            compared with it where it is not.
        view_sources: Keywords of the tags asked for the view, the most trusted first; with SeriesDescription among
            them, the descriptions are compared with the others.
        minimum_age_years: Youngest patient of the intended use.
        maximum_age_years: Oldest patient of the intended use.
        age_from_dates: Whether a missing age may be worked out from dates.
        minimum_side_px: Smallest accepted number of rows and of columns.
        maximum_side_px: Largest accepted number of rows and of columns.
        maximum_pixels: Largest accepted rows times columns.
        maximum_aspect: Largest accepted long side over short side.
        maximum_file_bytes: Largest accepted file.
        pixel_steps: Which steps of the display chain are taken.
        turns_upright: Whether an image that lies on its side or head, or is mirrored, is turned as its tag says.

    Example:
        >>> import dataclasses
        >>> transitional = dataclasses.replace(CLINICAL, name="22 and over", minimum_age_years=22)
    """

    name: str
    severities: str
    overrides: tuple[tuple[str, str], ...] = ()
    modalities: tuple[str, ...] = ("DX", "CR")
    body_parts: tuple[str, ...] = _CHEST_SYNONYMS
    body_part_qualifiers: tuple[str, ...] = _CHEST_QUALIFIERS
    body_part_fallbacks: bool = True
    view_sources: tuple[str, ...] = ("ViewPosition", "ViewCodeSequence", "PatientPosition", "SeriesDescription")
    minimum_age_years: float = 18.0
    maximum_age_years: float = 120.0
    age_from_dates: bool = True
    minimum_side_px: int = 256
    maximum_side_px: int = 10_000
    maximum_pixels: int = 50_000_000
    maximum_aspect: float = 3.0
    maximum_file_bytes: int = 256 * 2**20
    pixel_steps: PixelSteps = USUAL_STEPS
    turns_upright: bool = True

    def __post_init__(self) -> None:
        checks.one_of(self.severities, ("clinical", "course"), "severities")
        for code, severity in self.overrides:
            checks.one_of(code, RULE_BY_CODE, "code in overrides")
            checks.one_of(severity, (REJECT, WARN, OFF), f"severity of {code} in overrides")

    def severity(self, code: str) -> str:
        """Returns how severe the violation of a rule is here: "reject", "warn" or "off"; a ValueError for no rule."""
        return dict(self.overrides).get(code) or str(getattr(_rule(code), self.severities))

    def expected(self, code: str) -> str:
        """Returns what a rule expects here, with the limits of this profile filled in."""
        return _rule(code).check.format_map(self._words())

    def tag(self, code: str) -> str:
        """Returns the tag that a rule looks at here, with its number."""
        return name_tag(_rule(code).tag.format_map(self._words()))

    def _words(self) -> dict[str, str]:
        return {
            "modalities": " or ".join(self.modalities),
            "body_parts": " or ".join((", ".join(self.body_parts[:-1]), self.body_parts[-1])).removeprefix(" or ")
            + (f" (with or without {' '.join(self.body_part_qualifiers)})" if self.body_part_qualifiers else ""),
            "view_tag": self.view_sources[0],
            "ages": f"{self.minimum_age_years:g} to {self.maximum_age_years:g}",
            "sides": f"{self.minimum_side_px} to {self.maximum_side_px}",
            "maximum_pixels": str(self.maximum_pixels),
            "maximum_aspect": f"{self.maximum_aspect:g}",
            "maximum_file_bytes": str(self.maximum_file_bytes),
        }


def _rule(code: str) -> DicomRule:
    return RULE_BY_CODE[checks.one_of(code, RULE_BY_CODE, "code")]


CLINICAL = Profile("clinical", "clinical")
"""Adult frontal chest images as hospitals store them."""

COURSE = Profile(
    "course",
    "course",
    modalities=("DX",),
    body_parts=("CHEST",),
    body_part_qualifiers=(),
    body_part_fallbacks=False,
    view_sources=("PatientPosition",),
    minimum_age_years=1.0,
    age_from_dates=False,
    minimum_side_px=1,
    turns_upright=False,
)
"""The literal checks of the reference project, which reads the view from PatientPosition."""

PROFILES = {profile.name: profile for profile in (CLINICAL, COURSE)}


@checked
def find_profile(profile: str | Profile) -> Profile:
    """Returns a profile by its name; a `Profile` is returned as it is.

    Raises:
        ValueError: If no profile has that name.
    """
    return profile if isinstance(profile, Profile) else PROFILES[checks.one_of(profile, PROFILES, "profile")]


@checked
def rules_table(profile: str | Profile = "clinical") -> "pd.DataFrame":
    """Returns the rules that a profile applies, one row each, for a report.

    Args:
        profile: A profile or its name.

    Returns:
        Columns code, item, expected, tag, severity, reason, in the order in which violations are reported.
    """
    from chexkeras.plain import PlainTable

    chosen = find_profile(profile)
    rows = [
        (
            rule.code,
            rule.item,
            chosen.expected(rule.code),
            chosen.tag(rule.code),
            chosen.severity(rule.code),
            rule.reason,
        )
        for rule in RULES
        if chosen.severity(rule.code) != OFF
    ]
    return PlainTable(rows, columns=["code", "item", "expected", "tag", "severity", "reason"])
