"""What readers say of images: one row for each image, finding and reader, checked once, with where it comes from."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.agreement.consensus import majority
from chexkeras.evaluation.agreement.dawid_skene import dawid_skene
from chexkeras.findings import plain_name
from chexkeras.results.record import Record

COLUMNS = ("image_id", "finding", "reader", "value")
"""Columns of a table of readings: `value` is 1 (there), 0 (not there) or NaN (the reader could not say)."""

CONSENSUS = {
    "majority": "more readers say so than not; where as many say either, the image is left out",
    "any": "at least one reader says so",
    "all": "every reader who could say says so",
    "dawid_skene": "by Dawid and Skene's model of readers who are not equally good",
}
"""How the readings of several readers become one."""

_FIX = "A table of readings has one row for each image, finding and reader; chexkeras.data.load_readings makes one."


@checked
@dataclass(frozen=True)
class ReadingsSource(Record):
    """Where readings come from.

    Attributes:
        name: What they are called, for a table's heading.
        read_by: Who read how, a sentence.
        drawn: How the images that were read were chosen, a sentence: what the numbers hold for.
        terms: Under which terms they may be used, a sentence.
        citation: The publication.
        corresponds: Findings of the readers, each with the labels that mean the same: where there are several, any.
        differs: Findings of the readers that no label means, each with the reason.
        cautions: Sentences that a reader must see beside a number made of them.
        files: Name and SHA-256 of each file.
    """

    name: str
    read_by: str = "Who read the images was not stated."
    drawn: str = "How the images that were read were chosen was not stated: the numbers hold for images like these."
    terms: str = ""
    citation: str = ""
    corresponds: tuple[tuple[str, tuple[str, ...]], ...] = ()
    differs: tuple[tuple[str, str], ...] = ()
    cautions: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()

    def labels_of(self, finding: str) -> tuple[str, ...]:
        """Returns the labels that mean what readers call a finding: its own name where nothing else is stated.

        Args:
            finding: As the readers call it.

        Returns:
            One label or several, any of which is meant; none where no label means the same.
        """
        if finding in dict(self.differs):
            return ()
        return dict(self.corresponds).get(finding, (finding,))


@checked
@dataclass(frozen=True, eq=False)
class Readings:
    """A table of readings that was checked; `Readings.of` makes it.

    Attributes:
        table: `COLUMNS`, identifiers as text, no reader twice for one image and finding.
        source: Where they come from.
    """

    table: pd.DataFrame
    source: ReadingsSource = field(default_factory=lambda: ReadingsSource("readings of one's own"))

    @classmethod
    def of(cls, table: pd.DataFrame, source: ReadingsSource | None = None) -> "Readings":
        """Returns readings, or says what is wrong with them.

        Args:
            table: One row for each image, finding and reader; further columns are left out. Without the column
                `reader` all readings are one reader's.
            source: Where they come from; None for readings of one's own.

        Raises:
            TypeError: If it is not a pandas DataFrame.
            ValueError: If a column is missing, there is no row, an identifier is missing, a value is not 1, 0 or NaN,
                or a reader reads an image twice for one finding.
        """
        if not isinstance(table, pd.DataFrame):
            raise TypeError(f"readings is a {type(table).__name__}; a pandas DataFrame was expected. {_FIX}")
        given = table if "reader" in table.columns else table.assign(reader="reader")
        checks.require_columns(given, COLUMNS, "the table of readings", _FIX)
        if given.empty:
            raise ValueError(f"the table of readings has no rows. {_FIX}")
        clean = pd.DataFrame(
            {
                "image_id": _identifiers(given["image_id"], "image_id of the readings"),
                "finding": given["finding"].map({name: plain_name(name) for name in given["finding"].unique()}),
                "reader": _identifiers(given["reader"], "the readers' names"),
                "value": pd.to_numeric(given["value"], errors="coerce").to_numpy(dtype=float, na_value=np.nan),
            },
            index=given.index,
        ).reset_index(drop=True)
        for column in ("image_id", "reader"):
            missing = int((clean[column].isna() | (clean[column].astype(str) == "")).sum())
            if missing:
                raise ValueError(f"{missing} row(s) of the table of readings have no {column}; every row needs one.")
        wrong = (given["value"].notna().to_numpy() & clean["value"].isna()) | ~clean["value"].isin([0, 1, np.nan])
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ValueError(
                f"{int(wrong.sum())} reading(s) are neither 1, 0 nor blank, first {given['value'].iloc[first]!r} of "
                f"{clean['finding'].iloc[first]} for {clean['image_id'].iloc[first]}."
            )
        repeated = clean[clean.duplicated(["image_id", "finding", "reader"])]
        if len(repeated):
            first_row = repeated.iloc[0]
            raise ValueError(
                f"{len(repeated)} reading(s) stand there twice, first that of {first_row['reader']} on "
                f"{first_row['image_id']} for {first_row['finding']}; one reading for each reader is expected."
            )
        return cls(clean, source or ReadingsSource("readings of one's own"))

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """The findings that were read, in the order of their first rows."""
        return tuple(dict.fromkeys(self.table["finding"]))

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """The readers' names, sorted."""
        return tuple(sorted(set(self.table["reader"])))

    @property
    def images(self) -> pd.Index:
        """The ids of all images that were read, sorted."""
        return pd.Index(sorted(set(self.table["image_id"])), dtype=object)

    def ratings(self, finding: str) -> pd.DataFrame:
        """Returns the readings of one finding as a table of images by readers, as statistics of agreement take it.

        Args:
            finding: One that was read.

        Returns:
            1, 0 or NaN, images sorted by id.

        Raises:
            ValueError: If the finding was not read.
        """
        checks.one_of(finding, self.findings, "finding")
        rows = self.table[self.table["finding"] == finding]
        wide = rows.pivot(index="image_id", columns="reader", values="value")
        wide.columns.name = None
        return wide.sort_index()

    def consensus(self, finding: str, how: str = "majority") -> pd.Series:
        """Returns what the readers of each image say together.

        Args:
            finding: One that was read.
            how: One of `CONSENSUS`; with one reader for each image all are the same, and his reading stands.

        Returns:
            1, 0 or NaN by image id; NaN where no reader could say, or where they do not settle it.

        Raises:
            ValueError: If the finding was not read, or `how` is unknown.
        """
        checks.one_of(how, CONSENSUS, "how")
        ratings = self.ratings(finding)
        given = ratings.notna().sum(axis=1)
        if int(given.max()) <= 1:
            return ratings.max(axis=1)
        if how == "majority":
            return majority(ratings)
        if how == "dawid_skene":
            probable = dawid_skene(ratings).probabilities
            return (probable >= 0.5).astype(float).where(probable.notna())
        together = ratings.max(axis=1) if how == "any" else ratings.min(axis=1)
        return together.where(given > 0)

    def renamed(self, image_ids: "pd.Series | dict[str, str]") -> "Readings":
        """Returns the readings under other image ids; those of images that are not named are left out.

        Args:
            image_ids: The new id of each image, by the id that the readings have.

        Raises:
            ValueError: If none of the images is named.
        """
        named = dict(image_ids)
        table = self.table.assign(image_id=self.table["image_id"].map(named)).dropna(subset=["image_id"])
        if table.empty:
            raise ValueError(f"image_ids names none of the {len(self.images):,} images that were read.")
        return Readings.of(table, self.source)

    def __len__(self) -> int:
        return len(self.table)

    def __str__(self) -> str:
        """Returns a line to read, for example ``readings of one's own: 4 findings on 30 images by 3 readers``."""
        by = f"{len(self.readers)} readers" if len(self.readers) > 1 else "one reading an image"
        return f"{self.source.name}: {len(self.findings)} findings on {len(self.images):,} images, {by}"


def _identifiers(column: pd.Series, name: str) -> NDArray[np.object_]:
    # Each image and reader stands there many times, and is checked once.
    codes, each = pd.factorize(column, use_na_sentinel=False)
    return checks.identifiers(pd.Series(each), name)[codes]
