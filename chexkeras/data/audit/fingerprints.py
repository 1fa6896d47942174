"""Fingerprints by which images are known again under other names, without a picture of them being kept.

Of each image two things are kept: a hash of its pixels as the model gets them, and 32 marks of what it looks like, each
a hash of 16 bits. Marks stand for the audit's own measure of copies, the correlation of 16 x 16 thumbnails
(`duplicates.SIMILARITY`). Thumbnails of mean 0 and length 1 that correlate so much are at most 0.077 apart; eight sums
of their values with random signs, in steps of 0.4, fall into the same eight steps for about one in four such pairs, and
for fewer than one in a hundred at a correlation of 0.973, the highest between different patients. So many steps are
hashed into one mark, and 6 equal marks of 32 make two images copies: 88 of 100 pairs at a correlation of 0.997, 98 at
0.998, all from 0.999, where nearly all copies are; 2 in 100 at 0.99, which only images of one patient reach, and 1 in 2
million at 0.973. No gray value, no thumbnail and no name is kept; what
somebody could guess from the marks with effort is coarser than 16 x 16 pixels.

Source:
    Datar et al., Locality-sensitive hashing scheme based on p-stable distributions, SoCG 2004.
"""

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chexkeras.data.audit.image_checks import THUMBNAIL_PX, thumbnail

COLUMNS = ("pixels", "marks")
"""Of the table of fingerprints, both hexadecimal: hash of the pixels, and marks, "" for an image without any."""

_MARKS, _SUMS = 32, 8
_STEP = 0.4
_ALIKE = 6
_DIGITS, _MARK_DIGITS = 32, 4
_WRITTEN = (re.compile(rf"[0-9a-f]{{{_DIGITS}}}"), re.compile(rf"(?:[0-9a-f]{{{_MARKS * _MARK_DIGITS}}})?"))


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Fingerprints of some images.

    Attributes:
        pixels: Hash of each image's pixels, text array (n,).
        marks: What each looks like, uint16 array (n, 32).
        marked: Whether an image has marks, bool array (n,); one whose thumbnail is of one gray value has none.
    """

    pixels: np.ndarray
    marks: np.ndarray
    marked: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each image, sorted by its hash: which row is whose image cannot be told from a table."""
        marks = [row.astype(">u2").tobytes().hex() if told else "" for row, told in zip(self.marks, self.marked,
                                                                                        strict=True)]  # fmt: skip
        return pd.DataFrame({"pixels": self.pixels, "marks": marks}).sort_values(list(COLUMNS), ignore_index=True)

    @classmethod
    def from_frame(cls, table: pd.DataFrame) -> "Fingerprints":
        """Rebuilds fingerprints from `to_frame`.

        Args:
            table: Text columns `COLUMNS`.

        Raises:
            ValueError: If a row holds something else.
        """
        for name, written in zip(COLUMNS, _WRITTEN, strict=True):
            wrong = sum(not (isinstance(text, str) and written.fullmatch(text)) for text in table[name])
            if wrong:
                raise ValueError(f"{wrong:,} row(s) hold no fingerprint in {name}")
        texts = table["marks"].to_numpy(dtype=object)
        marked = np.array([text != "" for text in texts], dtype=bool)
        nothing = "0" * (_MARKS * _MARK_DIGITS)
        marks = np.frombuffer(bytes.fromhex("".join(text or nothing for text in texts)), ">u2").reshape(-1, _MARKS)
        return cls(table["pixels"].to_numpy(dtype=object), marks.astype(np.uint16), marked)

    def known_in(self, others: "Fingerprints") -> tuple[np.ndarray, np.ndarray]:
        """Returns which of other images are among these.

        Args:
            others: Fingerprints of images of the same size.

        Returns:
            Two bool arrays (len(others),): those with the same pixels, and those with nearly the same.
        """
        same = np.isin(others.pixels, self.pixels)
        own = np.unique(self.marks[self.marked], axis=0)
        near = np.zeros(len(others), dtype=bool)
        if not len(own):
            return same, near
        orders = np.argsort(own, axis=0, kind="stable")
        columns = [own[orders[:, mark], mark] for mark in range(_MARKS)]
        first, last = (
            np.stack([np.searchsorted(column, others.marks[:, mark], side) for mark, column in enumerate(columns)])
            for side in ("left", "right")
        )
        # One image at a time: however alike the images are, memory does not grow with the pairs.
        for row in np.flatnonzero(others.marked & ~same):
            alike = np.concatenate([orders[first[mark, row] : last[mark, row], mark] for mark in range(_MARKS)])
            near[row] = len(alike) >= _ALIKE and np.unique(alike, return_counts=True)[1].max() >= _ALIKE
        return same, near


class FingerprintsTaken:
    """Takes the fingerprints of images as they pass in batches, in a pass that is made for something else."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, np.ndarray | None]] = {}

    def __call__(self, ids: Sequence[str], images: np.ndarray) -> None:
        """Takes those of a batch.

        Args:
            ids: The images' ids.
            images: As the model gets them, array (n, side, side, 1), whole gray values 0-255.
        """
        for image_id, image in zip(ids, np.asarray(images)[..., 0], strict=True):
            gray = np.ascontiguousarray(np.rint(image), dtype=np.uint8)
            digest = hashlib.sha256(f"{gray.shape}".encode())
            digest.update(gray.data)
            self._found[image_id] = digest.hexdigest()[:_DIGITS], _marks(thumbnail(gray))

    def of(self, ids: Sequence[str]) -> Fingerprints:
        """Returns the fingerprints of images that have passed.

        Args:
            ids: Their ids.
        """
        found = [self._found[image_id] for image_id in ids]
        nothing = np.zeros(_MARKS, dtype=np.uint16)
        return Fingerprints(
            np.array([digest for digest, _ in found], dtype=object),
            np.array([nothing if marks is None else marks for _, marks in found], np.uint16).reshape(-1, _MARKS),
            np.array([marks is not None for _, marks in found], dtype=bool),
        )


def _marks(small: np.ndarray) -> np.ndarray | None:
    """Returns the marks of a thumbnail; None where all of it is of one gray value."""
    centred = small.ravel() - small.mean(dtype=np.float64)
    length = float(np.linalg.norm(centred))
    if length <= 1e-9:
        return None
    signs, offsets = _signs()
    steps = np.floor(signs @ (centred / length) / _STEP + offsets).astype("<i2").reshape(_MARKS, _SUMS)
    hashed = [
        hashlib.blake2b(row.tobytes(), digest_size=2, salt=mark.to_bytes(2, "little")).digest()
        for mark, row in enumerate(steps)
    ]
    return np.frombuffer(b"".join(hashed), ">u2").astype(np.uint16)


@functools.cache
def _signs() -> tuple[np.ndarray, np.ndarray]:
    """Returns the random signs (256, 256) and offsets (256,) of all sums, from a hash: no version changes them."""
    sums, values = _MARKS * _SUMS, THUMBNAIL_PX**2
    drawn = hashlib.shake_256(b"chexkeras fingerprints 1").digest(sums * values // 8 + sums)
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8, sums * values // 8)).reshape(sums, values)
    return bits * 2.0 - 1.0, np.frombuffer(drawn, np.uint8, sums, sums * values // 8) / 256
