"""Contours of a heat map: round what is hot, in the pixels of the film upright and as stored."""

import numpy as np
import pytest

from chexkeras.dicom.objects.film_map import LEVEL, FilmMap
from chexkeras.dicom.pixels.upright import stored_points, swaps_sides, turn

ORIENTATIONS = [f"{rows}\\{columns}" for rows, columns in ("LF", "RF", "LH", "RH", "FL", "FR", "HL", "HR")]


def a_map(heat):
    return FilmMap("Effusion", np.asarray(heat, np.float32), "gradcam", "")


def inside(line, x, y):
    """Whether a point lies inside a closed line, by counting crossings."""
    (x1, y1), (x2, y2) = line[:-1].T, line[1:].T
    crossed = (y1 > y) != (y2 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x1 + (y - y1) / (y2 - y1) * (x2 - x1)
    return bool((crossed & (x < at)).sum() % 2)


def test_a_contour_lies_round_the_hot_place_at_half_its_height():
    heat = np.zeros((9, 9))
    heat[6, 2] = 4.0
    (line,) = a_map(heat).contours((900, 450))
    assert np.array_equal(line[0], line[-1])
    # The centre of the cell in row 6, column 2, in a film of 900 rows and 450 columns.
    assert inside(line, 125, 650) and not inside(line, 225, 450)
    # Half of the way to the next cell's centre, where the map is 0.
    assert line[:, 0].min() == pytest.approx(125 - 25) and line[:, 1].max() == pytest.approx(650 + 50)


def test_where_the_map_reaches_the_level_is_inside_and_nothing_else():
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(6, 6)).astype(np.float32)
    lines, (rows, columns) = a_map(coarse).contours((120, 120)), coarse.shape
    levels = np.maximum(coarse, 0) / coarse.max()
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) * 20, (row + 0.5) * 20
            count = sum(inside(line, x + 1e-6, y + 1e-6) for line in lines)
            if abs(levels[row, column] - LEVEL) > 0.02:
                assert (count % 2 == 1) == (levels[row, column] > LEVEL), (row, column)


def test_contours_that_reach_the_edge_are_closed_along_it():
    heat = np.zeros((4, 4))
    heat[:, 0] = 1.0
    (line,) = a_map(heat).contours((40, 80))
    assert np.array_equal(line[0], line[-1])
    assert line[:, 0].min() == 0 and line[:, 1].max() == 40 and line.min() >= 0


def test_a_map_that_is_nowhere_above_0_has_no_contour():
    assert a_map(-np.ones((4, 4))).contours((64, 64)) == [] == a_map(np.zeros((4, 4))).contours((64, 64))
    assert not a_map(-np.ones((4, 4))).levels().any()


def test_what_is_no_map_is_refused():
    for heat in (np.full((4, 4), np.nan), np.zeros((4,)), np.zeros((1, 4))):
        with pytest.raises(ValueError, match="finite values"):
            a_map(heat)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_points_of_the_upright_image_are_found_in_the_stored_one(orientation):
    stored = np.arange(15).reshape(3, 5)
    upright = turn(stored, orientation)
    for row in range(upright.shape[0]):
        for column in range(upright.shape[1]):
            ((x, y),) = stored_points(np.array([[column + 0.5, row + 0.5]]), orientation, upright.shape)
            assert stored[int(y), int(x)] == upright[row, column]


@pytest.mark.parametrize("orientation", ["", *ORIENTATIONS])
def test_contours_on_the_stored_film_mark_the_same_place(orientation):
    upright = np.zeros((60, 40))
    upright[45:55, 5:15] = 1.0
    # Turned thrice more, a quarter turn is undone; the others undo themselves.
    back = next(each for each in ORIENTATIONS if np.array_equal(turn(turn(upright, each), orientation), upright)) \
        if orientation else ""  # fmt: skip
    stored = turn(upright, back) if back else upright
    lines = a_map(upright).stored_contours(orientation, stored.shape)
    assert stored.shape == (upright.shape[::-1] if swaps_sides(orientation) else upright.shape)
    (line,) = lines
    rows, columns = np.nonzero(stored)
    assert inside(line, columns.mean() + 0.5, rows.mean() + 0.5)
    assert line[:, 0].min() == pytest.approx(columns.min(), abs=1)
    assert line[:, 1].max() == pytest.approx(rows.max() + 1, abs=1)


def test_long_lines_are_thinned_and_stay_closed():
    y, x = np.mgrid[:400, :400]
    ripples = 1 + np.sin(x / 3) * np.sin(y / 3)
    for line in a_map(ripples).contours((4000, 4000)):
        assert len(line) <= 1000 and np.array_equal(line[0], line[-1])
