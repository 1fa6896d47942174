"""Images that two tables share: the same image under two names, or another image of the same patient.

Data sets are made of each other: the images of RSNA's pneumonia challenge and of SIIM-ACR are images of NIH
ChestX-ray14. A model tested on images that it was trained on looks better than it is, and so it does on other images of
the same patients. Told by names first: those of published data sets stand for one image wherever it lies, and a
published mapping says which image of NIH one of RSNA is. Where files are there, by their pixels too.
"""

import os
import re
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.audit.duplicates import SIMILARITY, near_duplicates_between
from chexkeras.data.audit.image_checks import open_images
from chexkeras.data.datasets.entries import DATA_SETS, NIH
from chexkeras.data.image_table import ImageTable, TableSource
from chexkeras.plain import Described

HOW = ("same image", "same pixels", "near duplicate", "same patient")
"""How an image is shared, the strongest first: by its name or a published mapping; every pixel equal; thumbnails that
correlate at least `duplicates.SIMILARITY`; another image of a patient of the other table."""

# A whole name at the end of a path: the folders above it are anybody's.
_NAMES = {
    entry.source_name: re.compile(rf"(?:^|[/\\]){entry.image_name}$", re.IGNORECASE)
    for entry in DATA_SETS
    if entry.image_name
}
_IMAGES_OF = {entry.source_name: entry.images_of for entry in DATA_SETS}


@checked
@dataclass(frozen=True, eq=False)
class SharedImages(Described):
    """What two tables share.

    Attributes:
        rows: One row per shared image of the second table: image_id, other_image_id (the image of the first table, or
            one of the patient's), how (one of `HOW`), similarity (correlation of thumbnails; NaN where names told).
        images: Images of the second table.
        other_images: Images of the first table.
        names: The data sets of the second and of the first table.
        pixels_compared: Whether the pixels of both tables were compared.
        why_not: Why they were not, a clause; "" where they were.
        undecided: Why names cannot tell, a sentence; "" where they can.
    """

    rows: pd.DataFrame = field(repr=False)
    images: int
    other_images: int
    names: tuple[str, str]
    pixels_compared: bool
    why_not: str = ""
    undecided: str = ""

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The shared images of the second table, by their image_id there."""
        return tuple(self.rows["image_id"])

    @property
    def counts(self) -> dict[str, int]:
        """How many images are shared in each way of `HOW`."""
        return {how: int((self.rows["how"] == how).sum()) for how in HOW}

    @property
    def sentence(self) -> str:
        """What was found, for a reader of numbers that were measured on the second table."""
        second, first = self.names
        pixels = "" if self.pixels_compared else f" Pixels were not compared: {self.why_not}."
        if not len(self.rows):
            ways = "names, patients and pixels tell" if self.pixels_compared else "names and patients tell"
            found = (
                f"None of the {self.images:,} images of {second} is shared with the {self.other_images:,} of {first}, "
                f"as far as {ways}."
            )
        else:
            each = ", ".join(f"{count:,} {_PLURAL[how]}" for how, count in self.counts.items() if count)
            of = f"{len(self.rows):,} of {self.images:,} images of {second}"
            found = f"{of} are shared with the {self.other_images:,} of {first} ({each})."
        return " ".join(part for part in (found, self.undecided) if part) + pixels

    def without(self, table: pd.DataFrame) -> pd.DataFrame:
        """Returns the second table without what it shares; its source says so.

        Args:
            table: The second table.

        Returns:
            The other rows, in their order.

        Raises:
            ValueError: If nothing is left.
        """
        shared = table["image_id"].astype(str).isin(self.image_ids)
        kept = table[~shared].reset_index(drop=True)
        if kept.empty:
            raise ValueError(f"{self.sentence} No image is left; give images of other patients.")
        source = image_table.source_of(table)
        if shared.any():
            reasons = tuple((image, f"shared with {self.names[1]}: {how}") for image, how in zip(
                self.rows["image_id"], self.rows["how"], strict=True))  # fmt: skip
            kept.attrs = {**table.attrs, "source": replace(source, left_out=(*source.left_out, *reasons))}
        return kept

    def refuse(self) -> None:
        """Checks that nothing is shared.

        Raises:
            ValueError: If an image is, or if names cannot tell and pixels were not compared.
        """
        if len(self.rows) or (self.undecided and not self.pixels_compared):
            first = f" The first: {self.rows['image_id'].iloc[0]!r}." if len(self.rows) else ""
            raise ValueError(
                f"{self.sentence}{first} A model that saw these images or their patients is not tested by them: leave "
                "them out with shared_images(...).without(table)."
            )


_PLURAL = {
    "same image": "the same image by its name",
    "same pixels": "with the same pixels",
    "near duplicate": "nearly the same pixels",
    "same patient": "other images of the same patients",
}


@checked
def shared_images(
    table: pd.DataFrame,
    other: pd.DataFrame,
    *,
    pixels: Literal["auto", "always", "never"] = "auto",
    similarity: float = SIMILARITY,
    processes: int | None = None,
) -> SharedImages:
    """Finds which images of one table are in another, or are of its patients.

    Names of published data sets are understood in any table, one's own too: an image called ``00000013_008.png`` is
    NIH's, of NIH's patient 13. Names of anybody's, such as ``1.png``, stand for one image only where both tables were
    read from the same file. Images of phantoms are the same only where both tables are of one folder of phantoms.

    Args:
        table: The first image table, such as `Run.table`: what a model was trained on. Paths may be missing.
        other: The second image table: what it is to be tested on.
        pixels: Whether to open the images of both tables and compare them: "auto" where all files are there and
            neither table was fully told by names; "always"; "never".
        similarity: Correlation of two thumbnails, in (0, 1), from which images are near duplicates.
        processes: How many processes open images; None takes threads, one per core.

    Returns:
        What is shared; each image of `other` is in it once, by the strongest of `HOW`.

    Raises:
        ValueError: If a table lacks image_id or patient_id, files are missing with pixels="always", or an argument is
            out of range.

    Example:
        >>> nih = pd.DataFrame({"image_id": ["00000013_008.png"], "patient_id": ["13"]})
        >>> own = pd.DataFrame({"image_id": ["a/00000013_026.png", "b.png"], "patient_id": ["x", "y"]})
        >>> shared_images(nih, own).rows[["image_id", "how"]].values.tolist()
        [['a/00000013_026.png', 'same patient']]
    """
    checks.one_of(pixels, ("auto", "always", "never"), "pixels")
    first = ImageTable.of(table, "the first table")
    second = ImageTable.of(other, "the second table")
    keys, other_keys = identities(first), identities(second)
    one_origin = _one_origin(first.source, second.source)
    rows = pd.DataFrame(
        {"image_id": second["image_id"].to_numpy(), "other_image_id": "", "how": "", "similarity": np.nan}
    ).astype({"other_image_id": object, "how": object})
    _match(rows, keys["patient"], other_keys["patient"], first["image_id"], "same patient")
    if one_origin:
        _match(rows, first["patient_id"], second["patient_id"], first["image_id"], "same patient")
        _match(rows, first["image_id"], second["image_id"], first["image_id"], "same image")
    _match(rows, keys["image"], other_keys["image"], first["image_id"], "same image")
    undecided = _undecided(keys, other_keys)
    told = one_origin or ((keys["image"] != "").all() and (other_keys["image"] != "").all())
    why_not = _why_not(first, second, pixels, bool(told) and not undecided)
    if not why_not:
        _by_pixels(rows, first, second, similarity, processes)
    shared = rows[rows["how"] != ""].reset_index(drop=True)
    return SharedImages(
        rows=shared,
        images=len(second),
        other_images=len(first),
        names=(second.source.dataset, first.source.dataset),
        pixels_compared=not why_not,
        why_not=why_not,
        undecided=undecided if why_not else "",
    )


@checked
def shared_with_training(training: pd.DataFrame, other: pd.DataFrame, *, part: str = "test") -> SharedImages:
    """Finds which images of a new table a trained model has seen, or has seen other images of the same patients.

    Args:
        training: `Run.table`, or any image table; where it has a column part, the images of `part` are not counted as
            seen. Paths may be missing: then names and patients alone are compared.
        other: The image table that the model is to be tested on.
        part: The part of the run's table that the model was not trained, tuned or calibrated on.

    Returns:
        What `shared_images` finds.

    Raises:
        ValueError: If a table lacks image_id or patient_id.

    Example:
        >>> table = pd.DataFrame({"image_id": ["a", "b"], "patient_id": ["1", "2"], "part": ["train", "test"]})
        >>> shared_with_training(table, table.drop(columns="part")).image_ids
        ()
    """
    seen = training[training["part"] != part] if "part" in training.columns else training
    seen.attrs = dict(training.attrs)
    return shared_images(seen, other)


def identities(table: pd.DataFrame) -> pd.DataFrame:
    """Returns what the images' names say of which image of a published data set each is, and of which patient.

    Args:
        table: An image table.

    Returns:
        Text columns owner (the data set), image and patient, such as "NIH ChestX-ray14 00000013_008", with the index of
        `table`; "" where the name does not say.

    Example:
        >>> identities(pd.DataFrame({"image_id": ["images/00000013_008.png"], "patient_id": ["x"]})).iloc[0].tolist()
        ['NIH ChestX-ray14', 'NIH ChestX-ray14 00000013_008', 'NIH ChestX-ray14 13']
    """
    source = image_table.source_of(table)
    found = {name: [""] * len(table) for name in ("owner", "image", "patient")}
    made = pd.DataFrame(found, index=table.index, dtype=object)
    # Phantoms are called as the images of the data set whose layout they have.
    if source.synthetic:
        return made
    of_nih = (
        table[image_table.NIH_IMAGE].fillna("").astype(str) if image_table.NIH_IMAGE in table else [""] * len(table)
    )
    told = set(source.dataset.split(" and "))
    for row, (image, patient, original) in enumerate(
        zip(table["image_id"].astype(str), table["patient_id"].astype(str), of_nih, strict=True)
    ):
        named = _named(original or image) or _named(image)
        if named is None:
            continue
        owner, name, whose = named
        found["owner"][row], found["image"][row] = owner, f"{owner} {name}"
        if not whose and owner in told and patient != image:
            # Data sets of NIH's images number its patients as NIH does, where they know them.
            origin = _IMAGES_OF[owner]
            owner, whose = (origin, patient if patient.isdecimal() else "") if origin else (owner, patient)
        if whose:
            found["patient"][row] = f"{owner} {whose.lstrip('0') if whose.isdecimal() else whose.casefold()}"
    return made.assign(**found)


def _named(image: str) -> tuple[str, str, str] | None:
    """Returns the data set whose image has this name, its name there, and its patient where the name says it."""
    stem = os.path.splitext(image)[0] if image.lower().endswith(_ENDINGS) else image
    for owner, pattern in _NAMES.items():
        match = pattern.search(stem)
        if match:
            return owner, match["image"].casefold(), match.groupdict().get("patient") or ""
    return None


_ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")


def _match(rows: pd.DataFrame, keys: pd.Series, other_keys: pd.Series, images: pd.Series, how: str) -> None:
    """Marks the rows whose key the first table has too; what was marked before gives way."""
    known = pd.Series(images.to_numpy(), index=keys.to_numpy(), dtype=object)
    known = known[(known.index != "") & ~known.index.duplicated()]
    found = other_keys.reset_index(drop=True).map(known.to_dict())
    marked = found.notna().to_numpy()
    rows.loc[marked, "other_image_id"] = found[marked].to_numpy()
    rows.loc[marked, "how"] = how


def _one_origin(source: TableSource, other: TableSource) -> bool:
    """Returns whether the names of two tables are of one data set, whatever they look like."""
    if source.synthetic or other.synthetic:
        marks = [dict(each.files).get(image_table.PHANTOM_FILE, "") for each in (source, other)]
        return marks[0] != "" and marks[0] == marks[1]
    if {digest for _, digest in source.files} & {digest for _, digest in other.files}:
        return True
    return source.dataset == other.dataset and any(entry.source_name == source.dataset for entry in DATA_SETS)


def _undecided(keys: pd.DataFrame, other_keys: pd.DataFrame) -> str:
    """Returns why names cannot tell what two data sets of the same images share, or ""."""
    family = {NIH.source_name} | {entry.source_name for entry in DATA_SETS if entry.images_of == NIH.source_name}
    owners, other_owners = (set(each["owner"]) & family for each in (keys, other_keys))
    unclear = {owner for one in owners for two in other_owners if one != two for owner in (one, two)}
    blind = sorted(unclear - {NIH.source_name})
    if not blind:
        return ""
    return (
        f"The images of {' and '.join(blind)} are images of {NIH.source_name}, and names do not tell which: put RSNA's "
        "published mapping, pneumonia-challenge-dataset-mappings_2018.json, beside its label file, or compare pixels."
    )


def _why_not(first: pd.DataFrame, second: pd.DataFrame, pixels: str, told: bool) -> str:
    """Returns why pixels are not compared, or ""."""
    if pixels == "never":
        return "it was not asked for"
    for name, table in (("first", first), ("second", second)):
        paths = table["path"].fillna("").astype(str) if "path" in table else [""] * len(table)
        absent = sum(not (path and os.path.isfile(path)) for path in paths)
        if absent and pixels == "always":
            raise ValueError(
                f"{absent:,} of {len(table):,} images of the {name} table have no file; load it with its images, or "
                "ask for pixels='auto'."
            )
        if absent and not told:
            return f"{absent:,} of {len(table):,} files of the {name} table are not there"
    return "names tell every image" if told and pixels == "auto" else ""


def _by_pixels(
    rows: pd.DataFrame, first: pd.DataFrame, second: pd.DataFrame, similarity: float, processes: int | None
) -> None:
    """Marks rows whose pixels are equal or nearly so, where their names did not tell."""
    facts, thumbnails = open_images(first["path"].astype(str).tolist(), processes)
    other_facts, others = open_images(second["path"].astype(str).tolist(), processes)
    images = first["image_id"].tolist()
    pairs = near_duplicates_between(thumbnails, others, similarity=similarity)
    best = pairs.sort_values("similarity", ascending=False, kind="stable").drop_duplicates("second")
    position_of = {fact.digest: place for place, fact in reversed(list(enumerate(facts))) if fact.digest}
    equal = [position_of.get(fact.digest, -1) if fact.digest else -1 for fact in other_facts]
    near = dict(zip(best["second"], zip(best["first"], best["similarity"], strict=True), strict=True))
    for row, place in enumerate(equal):
        how, value = ("same pixels", 1.0) if place >= 0 else ("near duplicate", 0.0)
        if place < 0 and row in near:
            place, value = near[row]
        if place >= 0 and HOW.index(how) < _rank(rows["how"].iloc[row]):
            rows.loc[row, ["other_image_id", "how", "similarity"]] = [images[int(place)], how, value]


def _rank(how: str) -> int:
    return HOW.index(how) if how else len(HOW)
