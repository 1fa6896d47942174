"""The steps between stored values and what a viewer shows, and whether each is taken."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from chexkeras import checks

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

    Each is "auto" (taken where the file asks for it), "required" (a film that does not ask for it, or not in a usable
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
