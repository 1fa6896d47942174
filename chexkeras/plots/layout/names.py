"""Names beside a drawing and texts in it, in the room that they have once the figure is laid out.

A finding may be called anything of a hundred characters. Wherever a figure names its rows or columns, the name is
wrapped, and shortened only where a few lines cannot hold it; texts beside bars and in cells get the room they need.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chexkeras.plots.layout.cell import root
from chexkeras.plots.layout.measures import POINTS_AN_INCH, shortened, text_inches, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

_ROWS_SHARE, _COLUMNS_SHARE = 0.5, 0.25
"""What names may take of the width of a cell beside its rows, and of its height under its columns."""

_TOLERANCE = 1.03
_MOST_LINES = 3
_COUNT = re.compile(r" \([\d,.]+\)$")
"""How many there are of a thing stands after its name, also where that is shortened."""

_LEAST_POINTS, _READABLE_POINTS, _STEP = 4.5, 6.0, 0.9
_FILLED = 0.94
_LINE = 1.25
"""A line is so much higher than its type."""

_BESIDE, _CHOICES = "_chexkeras_beside", "_chexkeras_choices"


def fit_names(ax: "Axes", cell: "Bbox") -> bool:
    """Wraps the names of rows, and shortens those of slanted columns, where they would leave the drawing no room.

    Args:
        ax: The axes.
        cell: Their room, in pixels.

    Returns:
        Whether that changed anything.
    """
    from matplotlib.category import StrCategoryLocator
    from matplotlib.ticker import FixedLocator

    changed = False
    for axis, share in ((ax.yaxis, _ROWS_SHARE * cell.width), (ax.xaxis, _COLUMNS_SHARE * cell.height)):
        if not isinstance(axis.get_major_locator(), FixedLocator | StrCategoryLocator):
            continue
        labels = axis.get_ticklabels()
        named = [label for label in labels if label.get_visible() and label.get_text()]
        upright = axis is ax.yaxis
        if not named or (not upright and not all(label.get_rotation() % 180 for label in named)):
            continue
        # Lines of a label's own stay as they are.
        if any("\n" in label.get_text() for label in named):
            continue
        widest = max(box.width if upright else box.height for box in (label.get_window_extent() for label in named))
        if widest <= _TOLERANCE * share:
            continue
        points = float(named[0].get_fontsize())
        along = 1.0 if upright else max(abs(np.sin(np.deg2rad(named[0].get_rotation()))), 0.3)
        inches = share / along / root(ax).dpi
        texts = [_name(label.get_text(), inches, points, lines=_lines(ax) if upright else 1) for label in labels]
        if texts == [label.get_text() for label in labels]:
            continue
        axis.set_ticks(axis.get_majorticklocs())
        looks: Any = {name: getattr(named[0], f"get_{name}")() for name in ("rotation", "ha", "rotation_mode")}
        axis.set_ticklabels(texts, fontsize=points, **({} if upright else looks))
        changed = True
    return changed


def _lines(ax: "Axes") -> int:
    """Returns how many lines of type that can be read the rows of a drawing have room for."""
    places = [[0.0, float(at)] for at in ax.get_yticks()]
    if len(places) < 2:
        return _MOST_LINES
    pitch = np.abs(np.diff(np.sort(ax.transData.transform(places)[:, 1]))).min() / root(ax).dpi * POINTS_AN_INCH
    return int(np.clip(pitch / (_LINE * _READABLE_POINTS), 1, _MOST_LINES))


def _name(text: str, inches: float, points: float, *, lines: int) -> str:
    """Returns a name in so many lines at most, its count at the end even where the name is shortened."""
    whole = wrapped(text, inches, points)
    if len(whole) <= lines:
        return "\n".join(whole)
    found = _COUNT.search(text)
    count = found[0] if found else ""
    name = text.removesuffix(count)
    first = wrapped(name, inches, points)
    rest = " ".join(first[lines - 1 :])
    return "\n".join([*first[: lines - 1], shortened(rest, inches - text_inches(count, points), points) + count])


def keep_beside(ax: "Axes") -> None:
    """Keeps texts beside bars in the drawing: the axis of the values ends where the last of them does.

    Args:
        ax: The axes, with their usual limits; bars lie, and values grow to the right.
    """
    setattr(ax, _BESIDE, ax.get_xlim()[1])


def keep_inside(text: "Text", choices: Sequence[str], width: float, height: float) -> None:
    """Keeps a text within a part of its drawing: the first of several wordings that fits, in smaller type if need be.

    Args:
        text: The text.
        choices: Wordings, the fullest first; the last one is taken whatever its room.
        width: Of the part, in units of the data; infinite where only the height counts.
        height: Of the part, in units of the data.
    """
    setattr(text, _CHOICES, (tuple(choices), width, height, float(text.get_fontsize())))


def fit_texts(ax: "Axes") -> bool:
    """Fits texts that are to stay inside the drawing, see `keep_beside` and `keep_inside`.

    Args:
        ax: The axes.

    Returns:
        Whether the layout changes by that.
    """
    dpi = root(ax).dpi
    for text in ax.texts:
        if hasattr(text, _CHOICES):
            choices, width, height, points = getattr(text, _CHOICES)
            (x0, y0), (x1, y1) = ax.transData.transform([(0, 0), (1, 1)])
            room = abs(x1 - x0) * width / dpi, abs(y1 - y0) * height / dpi
            text.set_fontsize(_first_that_fits(text, choices, room, points))
    return hasattr(ax, _BESIDE) and _widen(ax)


def _first_that_fits(text: "Text", choices: Sequence[str], room: tuple[float, float], points: float) -> float:
    """Gives a text the fullest wording that fits; returns the size of its type."""
    wide, tall = (_FILLED * inches for inches in room)
    for choice in choices:
        text.set_text(choice)
        for size in (points, _STEP * points, _STEP**2 * points, _STEP**3 * points):
            lines = choice.count("\n") + 1
            if text_inches(choice, size) <= wide and lines * _LINE * size / POINTS_AN_INCH <= tall:
                return size
    last = choices[-1]
    by_width = wide / max(text_inches(last, points), 1e-6) * points
    by_height = tall * POINTS_AN_INCH / _LINE / (last.count("\n") + 1)
    return max(_LEAST_POINTS, min(points, by_width, by_height))


def _widen(ax: "Axes") -> bool:
    """Lets the axis of the values end so far to the right that every text beside a bar stands in the drawing."""
    low, high = ax.get_xlim()
    own = ax.get_window_extent()
    # Not from where an earlier look at a narrower drawing has put it.
    furthest = float(getattr(ax, _BESIDE))
    for text in ax.texts:
        place = getattr(text, "xy", None)
        if place is None or getattr(text, "xycoords", "") != "data" or not text.get_text().strip():
            continue
        # From the point that it belongs to the text takes so much, however wide the drawing is.
        anchor = ax.transData.transform((float(place[0]), 0.0))[0]
        taken = min(text.get_window_extent().x1 - anchor, 0.75 * own.width)
        furthest = max(furthest, low + (float(place[0]) - low) * own.width / (own.width - taken))
    if abs(furthest - high) <= 0.002 * (high - low):
        return False
    ax.set_xlim(low, furthest)
    return True
