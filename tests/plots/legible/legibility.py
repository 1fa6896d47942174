"""Measures whether a figure can be read: texts that run into each other or leave the canvas, drawings without room."""

import itertools

import numpy as np
from matplotlib.axis import Tick
from matplotlib.text import Text

_INSET_PX, _LINE_GAP = 0.6, 0.13
"""Extents hold the blank above and below letters, and less than a pixel beside them; letters themselves must touch."""


def _every_axes(drawn):
    """Returns the axes of a figure and those that hang on them."""
    return [part for ax in drawn.axes for part in (ax, *ax.child_axes)]


def texts_of(drawn):
    """Returns every text of a figure that is seen."""
    shown = {id(text): text for text in drawn.findobj(Text)}
    for ax in _every_axes(drawn):
        for axis in (ax.xaxis, ax.yaxis):
            for tick in [*axis.majorTicks, *axis.minorTicks]:
                for label in tick.findobj(Text):
                    shown.pop(id(label), None)
            if ax.axison and ax.get_visible() and axis.get_visible():
                # Ticks beyond the ends of an axis exist and are not drawn.
                for tick in axis._update_ticks():
                    assert isinstance(tick, Tick)
                    shown |= {id(label): label for label in (tick.label1, tick.label2) if label.get_visible()}
    hidden = {id(text) for ax in _every_axes(drawn) if not ax.get_visible() for text in ax.findobj(Text)}
    hidden |= {
        id(text) for ax in drawn.axes if not ax.axison for axis in (ax.xaxis, ax.yaxis) for text in axis.findobj(Text)
    }
    return [text for key, text in shown.items() if key not in hidden and text.get_visible() and text.get_text().strip()]


def _corners(text):
    """Returns the four corners of a text's letters, turned as it is, in pixels."""
    box = Text.get_window_extent(text)
    middle, angle = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]), text.get_rotation()
    width, height = box.width, box.height
    if angle % 90:
        text.set_rotation(0)
        level = Text.get_window_extent(text)
        text.set_rotation(angle)
        width, height = level.width, level.height
    elif angle % 180:
        width, height = height, width
    lines = text.get_text().count("\n") + 1
    half = np.array([max(width / 2 - _INSET_PX, 0.1), max(height / 2 - _LINE_GAP * height / lines, 0.1)])
    turn = np.deg2rad(angle)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return middle + (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half) @ turned.T


def _meet(one, other):
    """Whether two convex shapes have a point in common: no line along an edge of either parts them."""
    for shape in (one, other):
        for start, end in zip(shape, np.roll(shape, -1, axis=0), strict=True):
            across = np.array([end[1] - start[1], start[0] - end[0]])
            ours, theirs = one @ across, other @ across
            if ours.max() <= theirs.min() or theirs.max() <= ours.min():
                return False
    return True


def faults(drawn, *, beyond_px=1.0, least_share=0.0):
    """Returns a sentence for each text that another one covers or the canvas cuts off, and each squeezed drawing.

    Args:
        drawn: A figure, laid out as it is to be drawn.
        beyond_px: How far a text may leave the canvas.
        least_share: What share of the figure's width and height its drawings must take up, all together.
    """
    drawn.draw_without_rendering()
    found, shapes = [], [(text, _corners(text)) for text in texts_of(drawn)]
    width, height = drawn.bbox.width, drawn.bbox.height
    for text, shape in shapes:
        low, high = shape.min(axis=0), shape.max(axis=0)
        out = max(-low[0], -low[1], high[0] - width, high[1] - height)
        if out > beyond_px and not (text.get_clip_on() and text.get_clip_box() is not None):
            found.append(f"{text.get_text()!r} leaves the canvas by {out:.0f} px")
    for (text, shape), (other, its) in itertools.combinations(shapes, 2):
        if _meet(shape, its):
            found.append(f"{text.get_text()!r} runs into {other.get_text()!r}")
    boxes = [ax.get_window_extent() for ax in drawn.axes if ax.get_visible()]
    if boxes and least_share:
        wide = max(box.x1 for box in boxes) - min(box.x0 for box in boxes)
        tall = max(box.y1 for box in boxes) - min(box.y0 for box in boxes)
        if wide < least_share * width or tall < least_share * height:
            found.append(f"the drawing has {wide / width:.0%} of the width and {tall / height:.0%} of the height")
    return found
