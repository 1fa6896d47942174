"""The image table: one row per image, with what is known of it, its labels, and where the table came from.

`ImageTable` is made at the border, by a loader or by `ImageTable.of`, and what is inside trusts it. A label is a float:
1 present, 0 absent, NaN unknown. One exception is made, and only on training images: a label that
`data.datasets.labels.fill_uncertain` filled is the first model's probability, strictly between 0 and 1.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from chexkeras import checks, files, findings
from chexkeras.arguments import checked
from chexkeras.plain import Described
from chexkeras.storage import Place, is_remote

METADATA: tuple[str, ...] = (
    "image_id", "path", "patient_id", "follow_up", "age_years", "sex", "view", "width_px", "height_px",
    "pixel_spacing_mm",
)  # fmt: skip
"""What is known of an image besides its labels, in table order."""

OFFICIAL_SPLIT = "official_split"
"""The column, after the labels, that holds the data set's own split: "train_val", "test" or ""."""

UNCERTAIN = "uncertain"
"""The column, where the data set has uncertain labels, that names an image's uncertain findings, joined by "|".

Text, so that it is never taken for a label; a column, so that it stays with its image when tables are filtered, split,
joined and saved. `data.datasets.labels.uncertain_mask` reads it.
"""

NIH_IMAGE = "nih_image_id"
"""The column, where a data set is made of NIH's images and says of which, that names each image as NIH does."""

_DERIVED = (findings.NO_FINDING, findings.ABNORMAL)

_REQUIRED = ("image_id", "patient_id")


@checked
class ImageTable(pd.DataFrame):
    """A data frame of images that is known to have an `image_id` and a `patient_id`, both text, for every row.

    Loaders return it and `ImageTable.of` makes it of any data frame that has these columns. To the user it is a data
    frame: selecting rows, sorting, copying, adding columns and pickling give an `ImageTable`; a result without the two
    columns, such as a few label columns alone, is a plain data frame. `attrs["source"]` goes along.
    """

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return _table_or_frame

    @classmethod
    def of(cls, table: pd.DataFrame, what: str = "the table", fix: str = "Load it with open_data.") -> "ImageTable":
        """Returns a data frame as an image table, checked once; an image table as it is.

        A patient written as 1 on one row, 1.0 on another and "1 " on a third becomes one patient, "1"; as three, their
        images could be in different parts of a split.

        Args:
            table: A data frame with `image_id` and `patient_id`; it stays as it is.
            what: The table's name in a message.
            fix: One sentence on what to do where columns are missing.

        Returns:
            The image table; identifiers are text, each written in one way (see `checks.identifiers`).

        Raises:
            TypeError: If it is no data frame.
            ValueError: If a column is missing, the message lists those that are; two columns have one name; or
                identifiers could be one or two (the texts "1" and "1.0", of patients "001" and "1" too).

        Example:
            >>> table = ImageTable.of(pd.DataFrame({"image_id": ["a"], "patient_id": [7], "Edema": [1.0]}))
            >>> table.findings, table["patient_id"].tolist(), table.source.dataset
            (('Edema',), ['7'], 'own table')
        """
        # Renaming columns in place is pandas' one way to take them from an image table.
        if isinstance(table, cls) and all(name in table.columns for name in _REQUIRED) and table.columns.is_unique:
            return table
        if not isinstance(table, pd.DataFrame):
            raise TypeError(f"{what} is a {type(table).__name__}; give a pandas DataFrame with one row per image.")
        checks.require_columns(table, _REQUIRED, what, fix)
        checks.refuse_repeated_columns(table.columns, what)
        rewritten = {}
        for name, check in zip(_REQUIRED, (checks.identifiers, checks.patient_identifiers), strict=True):
            ids = pd.Series(check(table[name], f"{name} of {what}"), index=table.index, dtype=object)
            # One column after the other, and only what is new: of millions of rows, each copy is gigabytes.
            if not ids.equals(table[name].astype(object)):
                rewritten[name] = ids
        made = cls(table.assign(**rewritten))
        made.attrs = dict(table.attrs)
        return made

    @property
    def source(self) -> "TableSource":
        """Where the table came from; a neutral `TableSource` where it does not say."""
        return source_of(self)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every column that can be a target, see `label_columns`."""
        return label_columns(self)

    @property
    def findings(self) -> tuple[str, ...]:
        """The label columns that are findings, see `finding_columns`."""
        return finding_columns(self)

    def targets(self, names: str | Iterable[str]) -> tuple[str, ...]:
        """Returns targets as the table's label columns spell them, see `resolve_targets`.

        Args:
            names: One label or several, in any spelling that `findings.resolve` accepts.

        Returns:
            Column names, in the order given.

        Raises:
            ValueError: If a target is no label column of the table, is given twice, or none is given.
        """
        return resolve_targets(self, names)

    def with_source(self, source: "TableSource") -> "ImageTable":
        """Returns a copy of the table with another source.

        Args:
            source: Where it came from.
        """
        result = ImageTable(self.copy())
        result.attrs = {**self.attrs, "source": source}
        return result

    def __finalize__(self, other: Any, method: str | None = None, **options: Any) -> "ImageTable":
        """Passes the source on, as pandas does `attrs`; tables put together keep the cautions of all of them."""
        super().__finalize__(other, method=method, **options)  # type: ignore[misc]
        parts = getattr(other, "input_objs", None) or getattr(other, "objs", None)
        parts = parts or [getattr(other, side) for side in ("left", "right") if hasattr(other, side)]
        sources = [part.attrs["source"] for part in parts if isinstance(part.attrs.get("source"), TableSource)]
        if sources:
            self.attrs["source"] = TableSource.combined(sources)
        return self


def _table_or_frame(*data: Any, **options: Any) -> pd.DataFrame:
    """Returns what pandas makes of an image table: again one, unless the required columns are gone."""
    frame = pd.DataFrame(*data, **options)
    return ImageTable(frame) if all(name in frame.columns for name in _REQUIRED) else frame


def label_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Returns every column that can be a target: the findings, and "No Finding" and "Abnormal" where there are such.

    Labels are numeric; text and booleans describe the image.

    Args:
        table: An image table, or some columns of one.

    Example:
        >>> label_columns(pd.DataFrame({"age_years": [58.0], "No Finding": [0.0], "Edema": [1.0], "icu": [True]}))
        ('No Finding', 'Edema')
    """
    described = {*METADATA, OFFICIAL_SPLIT, UNCERTAIN}
    return tuple(
        column
        for column in table.columns
        if column not in described
        and pd.api.types.is_numeric_dtype(table[column])
        and not pd.api.types.is_bool_dtype(table[column])
    )


def finding_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Returns the label columns that are findings: all but "No Finding" and "Abnormal", which sum the others up.

    Args:
        table: An image table, or some columns of one.

    Example:
        >>> finding_columns(pd.DataFrame({"image_id": ["a"], "age_years": [58.0], "Edema": [1.0]}))
        ('Edema',)
    """
    return tuple(column for column in label_columns(table) if column not in _DERIVED)


def resolve_targets(table: pd.DataFrame, targets: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the targets as the table's label columns spell them.

    Args:
        table: An image table.
        targets: One label or several, in any spelling that `findings.resolve` accepts.

    Returns:
        Column names, in the order given.

    Raises:
        ValueError: If a target is no label column of the table, is given twice, or none is given.
    """
    present = label_columns(table)
    if not present:
        raise ValueError(
            f"the table has no label column (it has: {', '.join(map(str, table.columns))}); "
            "add one float column per finding, 1 = present, 0 = absent, NaN = unknown."
        )
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    if findings.ABNORMAL in names and findings.ABNORMAL not in present:
        raise ValueError(f"the table has no column {findings.ABNORMAL!r}; add_abnormal(table) derives it.")
    return findings.resolve(names, present)


def fingerprint(table: pd.DataFrame) -> str:
    """Returns the SHA-256 of an image table wherever its images lie: all columns but `path`, rows in any order.

    Args:
        table: An image table.
    """
    return files.sha256_table(table.drop(columns="path", errors="ignore"))


SYNTHETIC_CAUTION = "Synthetic images, not clinical evidence."
CASE_CONTROL_CAUTION = (
    "Prevalence was set when the images were made (a case-control sample): predictive values and calibration do not "
    "carry over to other populations."
)
PHANTOM_FILE = "PHANTOM.json"
"""The file that marks a folder's images as synthetic."""


@checked
@dataclass(frozen=True)
class TableSource(Described):
    """The origin of an image table; travels in ``table.attrs["source"]``.

    Attributes:
        dataset: The data set's name.
        label_release: Which release of the labels, for example "2020 revision".
        files: (file name, SHA-256) of every file the table was read from.
        synthetic: Whether the images are phantoms.
        cautions: Sentences shown wherever a number from this table is shown.
        left_out: (image_id, reason) of every row the loader dropped.
        implausible_ages: How many ages were impossible and became NaN.
        contradictory: image_ids labelled both "No Finding" and with a finding; the finding is kept, the audit tells.
        views: Which views were loaded, for example "frontal"; "" where the loader does not choose.
        uncertain_policy: (finding, policy) of every finding whose uncertain labels had to be settled.
        blank_policy: What a blank label became, "negative" or "unknown"; "" where there is no such choice.
        group_columns: Columns besides the usual ones that say which group an image belongs to, such as "manufacturer".
    """

    dataset: str
    label_release: str = "not stated"
    files: tuple[tuple[str, str], ...] = ()
    synthetic: bool = False
    cautions: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    implausible_ages: int = 0
    contradictory: tuple[str, ...] = field(default=(), repr=False)
    views: str = ""
    uncertain_policy: tuple[tuple[str, str], ...] = ()
    blank_policy: str = ""
    group_columns: tuple[str, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> "TableSource":
        """Returns itself: pandas deep-copies `attrs` at every step, and this never changes."""
        return self

    @classmethod
    def combined(cls, sources: Iterable["TableSource"]) -> "TableSource":
        """Returns the source of tables that were put together: every name, file, caution and image left out.

        Args:
            sources: Those of the tables, at least one.
        """
        different = list(dict.fromkeys(sources))
        if len(different) == 1:
            return different[0]
        one: dict[str, Any] = {
            name: " and ".join(dict.fromkeys(getattr(source, name) for source in different if getattr(source, name)))
            for name in ("dataset", "label_release", "views", "blank_policy")
        }
        every: dict[str, Any] = {
            name: tuple(dict.fromkeys(entry for source in different for entry in getattr(source, name)))
            for name in ("files", "cautions", "left_out", "contradictory", "uncertain_policy", "group_columns")
        }
        ages = sum(source.implausible_ages for source in different)
        return cls(synthetic=any(source.synthetic for source in different), implausible_ages=ages, **one, **every)

    def reading_too(self, read: Iterable[tuple[str, str]]) -> "TableSource":
        """Returns the source with further files that the table was read from.

        Args:
            read: Name and SHA-256 of each.
        """
        return replace(self, files=(*self.files, *read))

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values; of what was left out, the count."""
        return {
            "dataset": self.dataset,
            "label_release": self.label_release,
            "files": dict(self.files),
            "synthetic": self.synthetic,
            "cautions": list(self.cautions),
            "left_out": len(self.left_out),
            "implausible_ages": self.implausible_ages,
            "contradictory": len(self.contradictory),
            "views": self.views,
            "uncertain_policy": dict(self.uncertain_policy),
            "blank_policy": self.blank_policy,
            "group_columns": list(self.group_columns),
        }


@checked
def source_of(table: pd.DataFrame) -> TableSource:
    """Returns the table's source, or a neutral one for a table that carries none.

    Args:
        table: An image table, or any data frame.
    """
    source = table.attrs.get("source")
    return source if isinstance(source, TableSource) else TableSource(dataset="own table")


def phantom_cautions(marker: Place) -> tuple[str, ...]:
    """Returns what must be said of phantoms, given the file that marks their folder.

    Args:
        marker: The file `PHANTOM_FILE`.
    """
    made = files.read_json(marker)
    parameters = made.get("parameters", {}) if isinstance(made, dict) else {}
    found = [SYNTHETIC_CAUTION]
    if parameters.get("prevalence"):
        found.append(CASE_CONTROL_CAUTION)
    if phantom_site(marker):
        found.append(
            f"Phantoms of the made-up hospital {phantom_site(marker)!r}, which differs from the usual one by design: "
            "in exposure, resolution, markers, prevalence and label habits."
        )
    return tuple(found)


def phantom_site(marker: Place) -> str:
    """Returns the made-up hospital that phantoms come from, given the file that marks their folder; "" for the usual.

    Args:
        marker: The file `PHANTOM_FILE`.
    """
    made = files.read_json(marker)
    parameters = made.get("parameters", {}) if isinstance(made, dict) else {}
    site = parameters.get("site", "") if isinstance(parameters, dict) else ""
    return site if isinstance(site, str) and re.fullmatch(r"[a-z][a-z_]{0,29}", site) else ""


# Names that tell an image file.
_IMAGE_NAMES = (".png", ".jpg", ".jpeg")


def refuse_dicom(table: pd.DataFrame, *, by_content: bool = False) -> None:
    """Checks that images are image files of this machine, which training can read one by one.

    DICOM files go through the gate first; files in an object store would be fetched in every epoch.

    Args:
        table: Image table with `image_id` and `path`.
        by_content: Whether files that are named as image files are opened too, once before a training.

    Raises:
        ValueError: If images are DICOM files, or lie in an object store.
    """
    paths = table["path"].fillna("").astype(str)
    elsewhere = [row for row, path in enumerate(paths) if is_remote(path)]
    if elsewhere:
        raise ValueError(
            f"{len(elsewhere)} of {len(table)} images lie in an object store (first "
            f"{str(table['image_id'].iloc[elsewhere[0]])!r}), from which training does not read: decode them once to "
            "this machine, with 'chexkeras prepare' (the same address, and --store images.store) or store = "
            "cx.prepare(table, 'images.store', size=recipe.image_size), and train from that store (--store "
            "images.store, store=store)."
        )
    other = [row for row, path in enumerate(paths) if path and (by_content or not path.lower().endswith(_IMAGE_NAMES))]
    from chexkeras.dicom.read import is_dicom

    dicom = [row for row in other if is_dicom(paths.iloc[row])]
    if dicom:
        raise ValueError(
            f"{len(dicom)} of {len(table)} images are DICOM files (first {str(table['image_id'].iloc[dicom[0]])!r}), "
            "which training does not read: let the DICOM gate judge and decode them once, with 'chexkeras prepare' "
            "(the same table and columns, and --store images.store) or store = cx.prepare(table, 'images.store', "
            "size=recipe.image_size), and train from that store (--store images.store, store=store)."
        )
