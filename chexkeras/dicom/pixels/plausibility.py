"""Whether decoded pixels are a picture at all: what decodes without an error can still be snow.

Bytes that were swapped, encrypted, or laid out in rows of another length decode as well as any. A picture is told from
them by its neighbours: in a film, neighbouring pixels are alike in both directions, and each row goes on where the one
above it was. The limits lie between 2,046 films of NIH ChestX-ray14 at 64 to 1024 pixels and the same films scrambled.
"""

import numpy as np

# Correlation of neighbours. Films have 0.96 and more, 0.82 with noise of 5 % of the gray scale (0.86 and 0.77 at 64
# pixels); snow has at most 0.42, where it is framed in black.
_SNOW = 0.45
# Rows or columns out of order are smooth one way alone: (1 - r) differs 20-fold and more; in films it differs fourfold,
# and where it differs more, over the lines of an anti-scatter grid, both are still near 1.
_ONE_WAY, _ONE_WAY_FOLD = 0.8, 10.0
# How much better rows fit shifted than straight, as (1 - r) shifted over (1 - r) straight: 0.45 and less at a wrong row
# length, where it is not wrong by a pixel or two; 1 and more in films, 0.88 where they are turned by 30 degrees.
_SHIFTED = 0.7
# Slopes from about 40 degrees: what is flatter than that in the direction of the rows can be a film that was turned.
_LEAST_SLOPE = 0.8
# Bytes swapped: the values are rough, and smooth with the bytes the other way round.
_SWAPPED, _SWAPPED_FOLD = 0.8, 4.0

# Differences of neighbours in the other sign over those in the right one: 1.4 and more in films, 1 where they use half
# of the range only; 0.83 and less in films that were read in the wrong sign.
_OTHER_SIGN = 0.85
# Where the upper byte changes by one, neighbours in order differ by at most three quarters of 256 in the mean; over a
# lower byte that has nothing to do with the upper one by 256, give or take 104. This can be told where the upper byte
# hardly ever changes by more, that is, where noise is smaller than a byte.
_FOREIGN_MEAN, _FOREIGN_SPREAD, _MORE_THAN_ONE = 0.85 * 256, 80.0, 0.1
# From fewer pairs of neighbours nothing is told.
_LEAST_PAIRS = 1000

_TILE = 16
_MOST_TILE_ROWS = 64
_MOST_ROW_PAIRS = 64
_MOST_SAMPLED_ROWS = 512
# Rows and columns of a block of JPEG.
_BLOCK = 8
# What is smaller than this has too few neighbours to tell.
_LEAST_SIDE = 32


def disorder(gray: np.ndarray) -> str:
    """Returns what shows that the pixels of an image are out of order, in words; empty for a picture.

    It looks at what is displayed, not at what is stored: that is what is scored, and a window can show nothing but the
    lower byte of values whose upper byte is in order.

    Args:
        gray: Display pixels (rows, columns), uint8. An image smaller than 32 pixels is not judged.
    """
    if min(gray.shape) < _LEAST_SIDE:
        return ""
    across, down = neighbour_correlation(gray)
    less, more = sorted((across, down))
    if less < _SNOW or (less < _ONE_WAY and 1 - less > _ONE_WAY_FOLD * (1 - more)):
        return f"neighbours that correlate {across:.2f} across and {down:.2f} down"
    shift = row_shift(gray)
    return f"rows that go on {abs(shift)} columns to the {'right' if shift > 0 else 'left'}" if shift else ""


def neighbour_correlation(values: np.ndarray) -> tuple[float, float]:
    """Returns how alike neighbouring pixels are, in the rows and in the columns: 1 alike, 0 independent.

    Tiles of one value, such as collimated borders, are left out: beside them even snow would look like a picture. Of
    large images, some rows of tiles are looked at.

    Args:
        values: (rows, columns), whole numbers of at most 16 bits; at least 16 of each.

    Returns:
        One minus half the mean squared difference of neighbours over the variance (von Neumann's ratio), across and
        down; (1, 1) where there is one value only.

    Example:
        >>> slope = np.add.outer(np.arange(32), np.arange(32))
        >>> [round(float(r), 3) for r in neighbour_correlation(slope)]
        [0.997, 0.997]
    """
    rows, columns = (side // _TILE for side in values.shape)
    tiles = values[: rows * _TILE, : columns * _TILE].reshape(rows, _TILE, columns, _TILE)
    count, total, squares, across, down = 0, 0.0, 0.0, 0.0, 0.0
    for tile_row in tiles[:: max(1, -(-rows // _MOST_TILE_ROWS))]:
        varied = tile_row.max(axis=(0, 2)) != tile_row.min(axis=(0, 2))
        cells = tile_row[:, varied].astype(np.float64)
        count += cells.size
        total += cells.sum()
        squares += np.square(cells).sum()
        across += np.square(np.diff(cells, axis=2)).sum()
        down += np.square(np.diff(cells, axis=0)).sum()
    variance = squares / count - (total / count) ** 2 if count else 0.0
    if variance <= 0:
        return 1.0, 1.0
    pairs = count * (_TILE - 1) / _TILE
    return 1 - across / pairs / 2 / variance, 1 - down / pairs / 2 / variance


def row_shift(gray: np.ndarray) -> int:
    """Returns by how many columns each row goes on beside the one above it; 0 for a picture, where it goes on below.

    A wrong number of columns moves each row on by the same number of pixels. So rows are compared at every shift, next
    to one another and, for shifts of one or two pixels in a large image, further apart.

    Args:
        gray: Display pixels (rows, columns).
    """
    for apart in (1, max(1, len(gray) // 64)):
        ratio, shift = _shifted_fit(gray, apart)
        if ratio < _SHIFTED:
            return shift if apart == 1 else round(shift / apart) or int(np.sign(shift))
    return 0


def _shifted_fit(gray: np.ndarray, apart: int) -> tuple[float, int]:
    """Returns how well rows fit others below them at the best shift, (1 - r) over that without a shift; and the shift.

    Shifts of a slope that a turned film can have are left out.
    """
    columns = gray.shape[1]
    top = np.unique(np.linspace(0, len(gray) - 1 - apart, _MOST_ROW_PAIRS).astype(int))
    upper, lower = gray[top].astype(np.float64), gray[top + apart].astype(np.float64)
    mean = (upper.mean() + lower.mean()) / 2
    upper, lower = upper - mean, lower - mean
    scale = float(np.sqrt(np.square(upper).sum() * np.square(lower).sum()))
    if not scale:
        return 1.0, 0
    spectrum = (np.fft.rfft(upper, axis=1).conj() * np.fft.rfft(lower, axis=1)).sum(axis=0)
    fit = np.fft.irfft(spectrum, columns) / scale
    shifts = np.arange(columns)
    shifts = np.where(shifts > columns // 2, shifts - columns, shifts)
    steep = np.where(np.abs(shifts) >= max(1.0, _LEAST_SLOPE * apart), fit, -np.inf)
    best = int(steep.argmax())
    straight = 1 - float(fit[0])
    # Rows that are all the same fit at every shift.
    return ((1 - float(steep[best])) / straight if straight > 1e-9 else 1.0), int(shifts[best])


def bytes_are_swapped(cells: np.ndarray) -> bool:
    """Returns whether the two bytes of each cell were swapped: the other way round they make a picture.

    Args:
        cells: Cells (rows, columns) as they were decoded; those of one byte have nothing to swap.
    """
    if cells.dtype.itemsize != 2 or min(cells.shape) < _LEAST_SIDE:
        return False
    found = min(neighbour_correlation(cells))
    if found >= _SWAPPED:
        return False
    return 1 - found > _SWAPPED_FOLD * (1 - min(neighbour_correlation(cells.byteswap())))


def other_sign_is_smoother(values: np.ndarray, bits: int, sign: int) -> bool:
    """Returns whether values make a picture if they are signed where the header says unsigned, or the other way round.

    In the wrong sign, what lies around the middle of the gray scale jumps from one of its ends to the other. The gray
    scale is that of the bits that the values take: 12 of them may stand in 16, with the highest four zero whatever the
    sign was.

    Args:
        values: Stored values (rows, columns), as the header says.
        bits: Bits Stored.
        sign: Pixel Representation.
    """
    low, high = int(values.min()), int(values.max())
    if low >= 0:
        bits, sign = min(bits, max(high.bit_length(), 1)), 0
    else:
        bits = min(bits, max(high, -1 - low).bit_length() + 1)
    rows = values[:: max(1, len(values) // _MOST_SAMPLED_ROWS)]
    # What is black or white through and through says nothing: from one to the other it is a small step in either sign.
    inside = (rows > rows.min()) & (rows < rows.max())
    pairs = inside[:, 1:] & inside[:, :-1]
    if np.count_nonzero(pairs) < _LEAST_PAIRS:
        return False
    other = rows & ((1 << bits) - 1) if sign else rows - ((rows >> (bits - 1)) << bits)
    found, smoother = (np.abs(np.diff(reading, axis=1))[pairs].sum(dtype=np.int64) for reading in (rows, other))
    return bool(smoother < _OTHER_SIGN * found)


def lower_byte_is_foreign(values: np.ndarray) -> bool:
    """Returns whether the lower bytes of values do not belong to the upper ones, which alone would be a picture.

    Where noise is larger than a byte, the two cannot be told apart, and the lower byte is too small a part of the gray
    scale to matter.

    Args:
        values: Stored values (rows, columns).
    """
    rows = values[:: max(1, len(values) // _MOST_SAMPLED_ROWS)]
    steps = np.abs(np.diff(rows >> 8, axis=1))
    jumps = np.abs(np.diff(rows, axis=1))[steps == 1]
    if jumps.size < _LEAST_PAIRS or np.count_nonzero(steps > 1) > _MORE_THAN_ONE * jumps.size:
        return False
    return float(jumps.mean()) > _FOREIGN_MEAN and float(jumps.std()) > _FOREIGN_SPREAD


def ends_in_nothing(gray: np.ndarray, bits: int = 8) -> bool:
    """Returns whether the last pixels of a decoded JPEG image are what decoders put where its data ended too early.

    Where a stream is cut and its end marker put back, they fill the rest with the middle of the gray scale, and say
    nothing. A film has no corner of exactly that value.

    Args:
        gray: Pixels (rows, columns) as they were decoded.
        bits: Bits of a sample.

    Source:
        libjpeg, jdhuff.c ("leave the MCU set to zeroes. This way, we return uniform gray for the remainder").
    """
    middle = 1 << (bits - 1)
    return bool((gray[-_BLOCK:, -2 * _BLOCK :] == middle).all() and (gray != middle).any())
