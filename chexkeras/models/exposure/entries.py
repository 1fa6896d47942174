"""Ways to bring every image to one gray scale, by name. Nothing here needs Keras; `layers` builds them."""

from dataclasses import dataclass

from chexkeras.models.registry import Registry, number

LARGEST_SMOOTHING_PX = 10.0
"""Largest standard deviation of the low-pass at a model's input, pixels of that input."""

check_smoothing = number(above=0, at_most=LARGEST_SMOOTHING_PX, usual=2, null="for none")
"""Checks the standard deviation of the low-pass, in pixels of the model's input."""


@dataclass(frozen=True)
class Exposure:
    """A way to bring every image to one gray scale.

    Attributes:
        name: How recipes name it.
        layer: Name of its class in `layers`.
        doc: What it does, one sentence.
        words: What a report says after "The model begins with".
        inner: Whether gray values at the image's own black and white (borders, burnt-in markers) are left out of what
            is measured.
    """

    name: str
    layer: str
    doc: str
    words: str
    inner: bool = False


def _both(name: str, layer: str, doc: str, words: str) -> tuple[Exposure, Exposure]:
    """Returns the way over the whole image, and the same without borders and markers."""
    without = "without its own black and white (border, burnt-in markers)"
    return (
        Exposure(name, layer, f"{doc}, over the whole image.", f"{words} (over the whole image)"),
        Exposure(f"{name}_inner", layer, f"{doc}, {without}.", f"{words} (over the image {without})", inner=True),
    )


EXPOSURES: Registry[Exposure] = Registry(
    "exposure",
    (
        *_both(
            "standardise",
            "Standardise",
            "Brings every image to one mean and one standard deviation",
            "one mean and one spread of gray values for every image",
        ),
        *_both(
            "stretch",
            "Stretch",
            "Brings the 2nd and the 98th percentile of every image to black and white",
            "the 2nd and the 98th percentile of every image as black and white",
        ),
        *_both(
            "equalise",
            "Equalise",
            "Replaces every gray value by its rank in the image",
            "ranks instead of gray values",
        ),
    ),
)
"""What `Recipe.exposure` may name."""


def check_exposure(exposure: str | None, name: str) -> None:
    """Checks the name of a way to bring images to one gray scale.

    Args:
        exposure: One of `EXPOSURES`, or None for none.
        name: The argument's name, for the message.

    Raises:
        ValueError: If there is none of that name; the message gives the nearest.
    """
    if exposure is not None:
        EXPOSURES.find(exposure, name)
