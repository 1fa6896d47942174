"""How wide words are as they are drawn, and texts that are wrapped or shortened to their room."""

import functools
from typing import Any

POINTS_AN_INCH = 72.0
_SAFE = 1.05
"""Type on the screen is up to so much wider than its outlines."""

_JOINTS = "_-/;"
"""Where a word may be cut that is wider than its line."""


@functools.lru_cache(maxsize=4096)
def text_inches(text: str, points: float, *, style: str = "normal", weight: str = "normal") -> float:
    """Returns how wide the widest line of a text is.

    Args:
        text: The text.
        points: Size of the type.
        style: "normal" or "italic".
        weight: "normal" or "bold".
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    looks: Any = {"style": style, "weight": weight}
    font, measure = FontProperties(size=points, **looks), TextToPath()
    widths = [measure.get_text_width_height_descent(line, font, ismath=False)[0] for line in text.splitlines() if line]
    return max(widths, default=0.0) * _SAFE / POINTS_AN_INCH


def wrapped(text: str, inches: float, points: float, **looks: str) -> list[str]:
    """Returns the lines of a text that has so much room, at a size of type; a word stays whole if it fits a line.

    Args:
        text: One paragraph, or several lines, which stay apart.
        inches: Width.
        points: Size of the type.
        **looks: Of the type, as `text_inches` takes them.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and text_inches(longer, points, **looks) > inches:
                lines.append(line)
                line = word
            else:
                line = longer
            while text_inches(line, points, **looks) > inches and len(line) > 1:
                # A word that is wider than its room is cut, or it would leave the panel.
                ends = range(len(line) - 1, 1, -1)
                fits = next((end for end in ends if text_inches(line[:end], points, **looks) <= inches), 1)
                joint = max(line.rfind(sign, 0, fits) for sign in _JOINTS) + 1
                fits = joint if joint > fits / 3 else fits
                lines.append(line[:fits])
                line = line[fits:]
        lines.append(line)
    return lines if text else []


def shortened(text: str, inches: float, points: float, **looks: str) -> str:
    """Returns a text that is no wider than its room, with "…" where something was left off.

    Args:
        text: One line.
        inches: Width.
        points: Size of the type.
        **looks: Of the type, as `text_inches` takes them.
    """
    if text_inches(text, points, **looks) <= inches:
        return text
    for end in range(len(text) - 1, 0, -1):
        short = text[:end].rstrip(" ,·") + "…"
        if text_inches(short, points, **looks) <= inches:
            return short
    return "…"
