"""A reader study: who read which image in which modality, how suspicious it looked, and what was there; checked once.

A modality is whatever is compared: with and without a device, two displays, two techniques. Every reader reads in every
modality. Whether the modalities show the same patients is found in the data, not stated: see `ReaderStudy.design`.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked

COLUMNS = ("reader", "modality", "image_id", "patient_id", "finding", "truth", "rating")
"""Columns of a reader study; `patient_id` and `finding` may be absent."""

CROSSED, NESTED, PARTLY, SINGLE = "fully crossed", "nested in modality", "partly nested", "single modality"
"""The designs: the same patients in all modalities; each modality with patients of its own (split plot); anything
between; one modality."""

MISSING = ("error", "drop")
"""What to do with an image that only some readers of a modality have read."""

_OPTIONAL = ("patient_id", "finding")
_FIX = (
    "A reader study has one row for each reader, modality and image; name other columns with columns=, for example "
    'columns={"modality": "treatment", "image_id": "case"}.'
)
_SHOWN = 5


class ModalityReadings(NamedTuple):
    """What all readers saw in one modality, for one finding.

    Attributes:
        modality: Its name.
        positive: Shape (n,), the truth of each image.
        patient: Shape (n,), the patient of each image, numbered from 0 across all modalities.
        ratings: Shape (readers, n).
    """

    modality: str
    positive: NDArray[np.bool_]
    patient: NDArray[np.int64]
    ratings: NDArray[np.float64]


def design_of(readings: "tuple[ModalityReadings, ...]") -> str:
    """Returns which patients the modalities share, in the words of `ReaderStudy.design`.

    Args:
        readings: One entry for each modality.
    """
    return _design([set(part.patient.tolist()) for part in readings])


def _design(patients: list[set[int]]) -> str:
    pairs = list(itertools.combinations(patients, 2))
    if not pairs:
        return SINGLE
    if all(one == other for one, other in pairs):
        return CROSSED
    return NESTED if all(one.isdisjoint(other) for one, other in pairs) else PARTLY


@checked
@dataclass(frozen=True, eq=False, repr=False)
class ReaderStudy:
    """The ratings of several readers on the same images, in one modality or several, checked; made by `of`.

    Whatever the order of rows, readers, modalities and findings stand in the order of their names, numbers in them
    counted as numbers.

    Attributes:
        cautions: Sentences a reader of any result must see, such as images that were left out.

    Example:
        >>> table = pd.DataFrame({"reader": list("AABB"), "modality": "film", "image_id": ["x", "y"] * 2,
        ...                       "truth": [1, 0] * 2, "rating": [5, 1, 4, 2]})
        >>> print(ReaderStudy.of(table))
        2 readers, 1 modality, 2 images of 2 patients (1 positive), single modality
    """

    _rows: pd.DataFrame
    cautions: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, table: pd.DataFrame, *, columns: Mapping[str, str] | None = None, missing: str = "error"
    ) -> "ReaderStudy":
        """Returns the study a table holds, or says what is wrong with it.

        Args:
            table: One row for each reader, modality, image (and finding), with the columns reader, modality, image_id,
                truth (1 or 0) and rating (any scale, higher is more suspicious; empty where not read); patient_id where
                a patient has several images, finding where several were rated. Others are left out.
            columns: What the table calls these columns where it has other names, for example
                ``{"modality": "treatment", "image_id": "case"}``.
            missing: "error" refuses a study in which a reader left out images that others read in the same modality;
                "drop" leaves these images out, in all modalities, and says so in `cautions`.

        Returns:
            The study.

        Raises:
            TypeError: If it is not a pandas DataFrame.
            ValueError: If a column or a name is missing, an image is read twice, belongs to two patients or has two
                truths for one finding, a rating is not a number, a reader did not read in every modality, or left out
                images.
        """
        checks.one_of(missing, MISSING, "missing")
        rows = _checked(table, columns or {})
        read = rows[rows["rating"].notna().to_numpy()]
        if read.empty:
            raise ValueError(f"the reader study has no rating. {_FIX}")
        incomplete = _incomplete(read)
        if incomplete and missing == "error":
            raise ValueError(
                f"{_listed([lack.text for lack in incomplete])}. All readers of a modality must have read the same "
                'images: complete the readings, or leave these images out for everyone with missing="drop".'
            )
        cautions: list[str] = []
        if incomplete:
            lost = set().union(*(lack.images for lack in incomplete))
            gone = [pair in lost for pair in zip(read["finding"], read["image_id"], strict=True)]
            n_images = len({image for _, image in lost})
            of_all = read["image_id"].nunique()
            read = read[~np.array(gone)]
            if read.empty:
                raise ValueError("no image was read by all readers of a modality, so nothing is left to analyse.")
            _incomplete(read)
            cautions.append(
                f"{n_images} of {of_all} images were left out because some readers had not read them; if these were "
                "difficult images, the figures are too good."
            )
        return cls(_ordered(read), (*cautions, *_overlaps(read)))

    @property
    def readers(self) -> tuple[str, ...]:
        """The readers' names."""
        return tuple(natural_order(self._rows["reader"]))

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities' names."""
        return tuple(natural_order(self._rows["modality"]))

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings' names; one empty name where the table had no such column."""
        return tuple(natural_order(self._rows["finding"]))

    @property
    def design(self) -> str:
        """Which patients the modalities share: "fully crossed" where all show the same patients.

        "nested in modality" (split plot) where no two modalities share a patient, "partly nested" for anything between,
        "single modality" where there is one.
        """
        return _design([set(part) for _, part in self._rows.groupby("modality", sort=False)["patient_id"]])

    def of_finding(self, finding: str) -> "ReaderStudy":
        """Returns the study of one finding.

        Args:
            finding: Its name.

        Raises:
            ValueError: If it was not rated.
        """
        if self.findings == ("",) and finding:
            raise ValueError(
                f"finding={finding!r}: the reader study has no column finding, so there is none to choose; its ratings "
                "are of one finding."
            )
        checks.one_of(finding, self.findings, "finding")
        return ReaderStudy(self._rows[(self._rows["finding"] == finding).to_numpy()], self.cautions)

    def only_finding(self) -> str:
        """Returns the name of the one finding that was rated.

        Raises:
            ValueError: If several were.
        """
        if len(self.findings) > 1:
            raise ValueError(
                f"the reader study holds {len(self.findings)} findings ({', '.join(self.findings)}); choose one with "
                "study.of_finding(...), or analyse all together with mrmc_all."
            )
        return self.findings[0]

    def readings(self) -> tuple[ModalityReadings, ...]:
        """Returns the ratings of the one finding as arrays, modality by modality.

        Raises:
            ValueError: If several findings were rated.
        """
        self.only_finding()
        numbers = np.unique(self._rows["patient_id"].to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)
        made, n_readers = [], len(self.readers)
        for modality in self.modalities:
            chosen = (self._rows["modality"] == modality).to_numpy()
            # Rows lie reader by reader, each with the same images in the same order.
            n = int(chosen.sum()) // n_readers
            truth, ratings = (self._rows[column].to_numpy()[chosen] for column in ("truth", "rating"))
            made.append(ModalityReadings(modality, truth[:n] == 1, numbers[chosen][:n], ratings.reshape(n_readers, n)))
        return tuple(made)

    def to_frame(self) -> pd.DataFrame:
        """Returns a copy of the rows with the columns `COLUMNS`."""
        return self._rows.copy()

    def __str__(self) -> str:
        """Returns, for example, ``5 readers, 2 modalities, 114 images of 90 patients (45 positive), fully crossed``."""
        images = self._rows.drop_duplicates(["finding", "image_id"])
        several = len(self.findings) > 1
        counted = f"{len(self.findings)} findings" if several else f"{int((images['truth'] == 1).sum())} positive"
        return (
            f"{_many(len(self.readers), 'reader')}, {_many(len(self.modalities), 'modality')}, "
            f"{_many(self._rows['image_id'].nunique(), 'image')} of "
            f"{_many(self._rows['patient_id'].nunique(), 'patient')} ({counted}), {self.design}"
        )

    def __repr__(self) -> str:
        return f"ReaderStudy({self})"


@checked
def read_reader_study(
    path: str | Path, *, columns: Mapping[str, str] | None = None, missing: str = "error"
) -> ReaderStudy:
    """Reads a reader study from a CSV file and checks it.

    Args:
        path: A CSV file with a header; one row for each reader, modality and image, see `ReaderStudy.of`.
        columns: What the file calls the columns where it has other names than reader, modality, image_id, patient_id,
            finding, truth and rating, for example ``{"modality": "treatment", "image_id": "case"}``.
        missing: "error" refuses a study in which a reader left out images that others read in the same modality; "drop"
            leaves these images out, in all modalities, and says so in `cautions`.

    Returns:
        The study.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its contents are not a reader study.
    """
    file = checks.existing_file(checks.typed_path(path, "reader study"), "reader study")
    # As text: a reader "01" stays "01", and an image called "NA" is an image. Excel begins its files with a mark.
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{file} is empty. {_FIX}") from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not a CSV file with commas in UTF-8 ({str(error).strip()}). {_FIX}") from error
    table.columns = table.columns.str.strip()
    for mark, what in ((";", "semicolons"), ("\t", "tabs")):
        if len(table.columns) == 1 and mark in table.columns[0]:
            raise ValueError(f"{file} separates its columns by {what}; save it with commas, and decimals with a point.")
    return ReaderStudy.of(table, columns=columns, missing=missing)


def natural_order(names: pd.Series) -> list[str]:
    """Returns the distinct names in order, numbers in them counted as numbers: "reader 2" before "reader 10".

    Args:
        names: Text.
    """

    def place(part: str) -> tuple[bool, int, str, str]:
        if not part.isdecimal():
            return True, 0, "", part
        # The longer number is the larger; Python refuses to read very long ones.
        digits = "".join(str(int(digit)) for digit in part).lstrip("0")
        return False, len(digits), digits, part

    def key(name: str) -> tuple[tuple[bool, int, str, str], ...]:
        return tuple(place(part) for part in re.split(r"(\d+)", name) if part)

    return sorted((str(name) for name in names.unique()), key=key)


def _many(number: int, what: str) -> str:
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def _listed(texts: list[str]) -> str:
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


def _checked(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Returns the table with `COLUMNS` and clean types; ratings that were not given are NaN."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table is a {type(table).__name__}; a pandas DataFrame was expected. {_FIX}")
    for name in columns:
        checks.one_of(name, COLUMNS, "key of columns")
    named = {name: columns.get(name, name) for name in COLUMNS}
    wanted = [named[name] for name in COLUMNS if name not in _OPTIONAL or name in columns]
    checks.require_columns(table, wanted, "the reader study", _FIX)
    clean = pd.DataFrame(index=range(len(table)))
    if table.empty:
        raise ValueError(f"the reader study has no rows. {_FIX}")
    for name in COLUMNS[:5]:
        if named[name] not in table.columns:
            clean[name] = clean["image_id"] if name == "patient_id" else ""
            continue
        clean[name] = [text or "" for text in checks.identifiers(table[named[name]], name)]
        lacking = int((clean[name] == "").sum())
        # A study without findings has one that has no name.
        if lacking and not (name == "finding" and lacking == len(clean)):
            raise ValueError(f"{lacking} row(s) of the reader study have no {name}; every row needs one.")
    for name in COLUMNS[5:]:
        clean[name] = _numbers(table[named[name]], name)
    wrong = ~clean["truth"].isin((0.0, 1.0))
    if wrong.any():
        found = clean.loc[wrong, "truth"].iloc[0]
        raise ValueError(
            f"{int(wrong.sum())} row(s) of the reader study have no truth of 1 or 0, first {found:g} for image "
            f"{clean.loc[wrong, 'image_id'].iloc[0]}; images whose truth is unknown must be left out."
        )
    if np.isinf(clean["rating"]).any():
        raise ValueError("ratings must be finite; a reading that was not made is left empty.")
    _refuse_repeats(clean)
    return clean


def _numbers(column: pd.Series, name: str) -> pd.Series:
    values = column.reset_index(drop=True)
    if values.dtype.kind in "cmM":
        raise ValueError(f"the {name} column of the reader study is not numeric: it holds {values.dtype} values.")
    if values.dtype == object or isinstance(values.dtype, pd.StringDtype):
        text = values.astype(str).str.strip()
        # "NA" is what R writes for a reading that was not made.
        values = text.mask(values.isna() | text.isin(("", "NA", "nan", "NaN", "None", "<NA>")))
    try:
        return pd.to_numeric(values).astype("float64")
    except (TypeError, ValueError, OverflowError) as error:
        wanted = "1 where the finding is there and 0 where not" if name == "truth" else "a number for each reading"
        raise ValueError(
            f"the {name} column of the reader study is not numeric ({error}); give {wanted}, decimals with a point."
        ) from error


def _refuse_repeats(rows: pd.DataFrame) -> None:
    repeated = rows[rows.duplicated(["finding", "modality", "reader", "image_id"])]
    if len(repeated):
        first = repeated.iloc[0]
        raise ValueError(
            f"{len(repeated)} reading(s) stand twice, first that of image {first['image_id']} by reader "
            f"{first['reader']} in {first['modality']}; give one row for each reader, modality and image (and finding)."
        )
    for keys, what, fix in (
        (["finding", "image_id", "truth"], "truth", "an image has one truth for all readers and modalities"),
        (["image_id", "patient_id"], "patient_id", "an image belongs to one patient"),
    ):
        distinct = rows[keys].drop_duplicates()
        twice = distinct.loc[distinct.duplicated(keys[:-1]), "image_id"]
        if len(twice):
            raise ValueError(f"{len(twice)} image(s) have more than one {what}, first {twice.iloc[0]}; {fix}.")


class _Lack(NamedTuple):
    """Images of one modality that a reader did not read although another did."""

    text: str
    images: set[tuple[str, str]]


def _incomplete(read: pd.DataFrame) -> list[_Lack]:
    """Returns what readers left out; refuses readers who read nothing in a modality."""
    readers, modalities = natural_order(read["reader"]), natural_order(read["modality"])
    several = read["finding"].nunique() > 1
    made = []
    for finding in natural_order(read["finding"]):
        of_finding = read[(read["finding"] == finding).to_numpy()]
        where = f" ({finding})" if several else ""
        for modality in modalities:
            part = of_finding[(of_finding["modality"] == modality).to_numpy()]
            images = {reader: set(group) for reader, group in part.groupby("reader")["image_id"]}
            absent = [reader for reader in readers if reader not in images]
            if absent:
                raise ValueError(
                    f"{', '.join(absent[:_SHOWN])} read nothing in {modality}{where}; every reader must read in every "
                    "modality, since comparisons rest on readers' own differences. Leave out these readers, or the "
                    "modality."
                )
            every = set().union(*images.values())
            for reader in readers:
                lost = every - images[reader]
                if lost:
                    text = f"{reader} lacks {len(lost)} of {len(every)} images in {modality}{where}, first {min(lost)}"
                    made.append(_Lack(text, {(finding, image) for image in lost}))
    return made


def _ordered(read: pd.DataFrame) -> pd.DataFrame:
    ranks = []
    for column in ("finding", "modality", "reader"):
        places = {name: number for number, name in enumerate(natural_order(read[column]))}
        ranks.append(read[column].map(places).to_numpy())
    order = np.lexsort((read["image_id"].to_numpy(dtype=str), *reversed(ranks)))
    return read.iloc[order].reset_index(drop=True)


def _overlaps(read: pd.DataFrame) -> list[str]:
    """Returns a caution for modalities that share only some of their patients, which may be an oversight."""
    patients = {name: set(part) for name, part in read.groupby("modality")["patient_id"]}
    made = []
    for one, other in itertools.combinations(natural_order(read["modality"]), 2):
        shared, all_ = len(patients[one] & patients[other]), len(patients[one] | patients[other])
        if 0 < shared < all_:
            made.append(
                f"{one} and {other} share {shared} of {all_} patients; the others were seen in one of them only."
            )
    return made
