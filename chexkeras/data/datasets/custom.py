"""Any table of images: one's own CSV or data frame, one row per image, to an image table."""

import itertools
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd

from chexkeras import checks, files, storage
from chexkeras import findings as vocabulary
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.datasets import _csv
from chexkeras.data.datasets._files import MISSING, assemble, below, in_their_folders, refuse_missing
from chexkeras.data.image_table import ImageTable, TableSource
from chexkeras.storage import Place, Remote

NO_PATIENTS_CAUTION = (
    "Patients are not known: every image counts as a patient of its own, so images of one person may lie in several "
    "parts of a split (scores then look better than on new patients), and intervals may be too narrow."
)

MOST_GROUPS = 50
"""How many different values a column may have that groups images."""

_ROOT = "root= (images= of open_data, on the command line --images)"


@checked
def load_table(
    table: str | Path | pd.DataFrame,
    *,
    image_column: str,
    label_columns: str | Iterable[str] | Mapping[str, str],
    patient_column: str | None = None,
    root: str | Path | None = None,
    view_column: str | None = None,
    sex_column: str | None = None,
    age_column: str | None = None,
    group_columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    missing: Literal["error", "skip", "keep"] = "error",
) -> ImageTable:
    """Loads one's own table of images as an image table.

    Args:
        table: A CSV with a header, or a data frame; one row per image. The CSV may lie in an object store: an address
            such as ``s3://bucket/table.csv``.
        image_column: The column with each image's file: PNG, JPEG or DICOM, relative to `root` or absolute, or the
            address of one in an object store.
        label_columns: The columns with labels, 1 present, 0 absent, blank unknown (True and False do too): one name,
            several, or a dictionary from column to the name of the finding. With `separator`, the one column that
            lists an image's findings in words.
        patient_column: The column that says whose image it is. Without it no split can keep a patient's images
            together; the table then carries a caution that says so.
        root: The folder that relative paths begin at, also an address; None takes the CSV's, or for a data frame the
            current one.
        view_column: The column with the view, for example PA or AP.
        sex_column: The column with the sex, M or F, Male or Female.
        age_column: The column with the age, in years (``58``) or with its unit (``060Y``, ``006M``).
        group_columns: Further columns whose values group the images, for example
            ``{"manufacturer": "Scanner"}``: the name wanted, and the column's name in `table`. They stay text, blank
            where unknown; training measures performance in each group, and the report lists them. Names of
            `evaluation.group_columns.USUAL_COLUMNS` ("race", "ethnicity", "site", "manufacturer") are those that a
            report asks for; any other name of letters, digits and underscores will do.
        separator: What stands between the findings of one image, for example "|" in ``Edema|Mass``. "No Finding" is an
            image without any, a blank one whose findings are unknown. A cell may also be a list, ``['edema', 'mass']``,
            as PadChest writes them; an empty list counts as blank.
        missing: What to do with rows whose image is not there: "error"; "skip" drops them and lists them in the
            source's ``left_out``; "keep" leaves them with an empty path (labels only, for exploration and splits).

    Returns:
        A table with image_id (the path below `root`; of absolute paths outside it, below the folder they share), path,
        patient_id, follow_up (the image's number among its patient's, in the table's order, from 0), age_years, sex,
        view, width_px, height_px and pixel_spacing_mm (NaN), one float column (1, 0 or NaN) per finding, known
        findings in the spelling of `findings.ALL`, official_split (""), and the names of `group_columns`.
        ``attrs["source"]`` is its `TableSource`.

    Raises:
        TypeError: If `table` is neither a path nor a data frame.
        FileNotFoundError: If the CSV, the folder, all images, or (with missing="error") any image is missing.
        ValueError: If a column is missing, an image is named twice or lies outside `root`, a patient is blank, a
            label is not 1, 0 or blank, nothing in the column of ages or sexes is understood as one, or a name in
            `group_columns` is taken or its column has too many values.

    Example:
        >>> frame = pd.DataFrame({"file": ["a.png", "b.png"], "who": [1, 2], "covid": [1, None]})
        >>> loaded = load_table(
        ...     frame, image_column="file", label_columns="covid", patient_column="who", missing="keep"
        ... )
        >>> loaded[["image_id", "patient_id", "covid"]].to_dict("list")
        {'image_id': ['a.png', 'b.png'], 'patient_id': ['1', '2'], 'covid': [1.0, nan]}
    """
    checks.one_of(missing, MISSING, "missing")
    given, name, folder, fingerprints = _read(table, root)
    image_column = image_column.strip()
    for column, text in (("image_column", image_column), ("patient_column", patient_column)):
        if text == "":
            raise ValueError(f"{column} is empty; give the name of a column of the table.")
    patient_column, view_column, sex_column, age_column = (
        column and column.strip() for column in (patient_column, view_column, sex_column, age_column)
    )
    wanted = [column for column in (image_column, patient_column, view_column, sex_column, age_column) if column]
    name_of = {column.strip(): label for column, label in _name_of(label_columns, separator).items()}
    further = {new: column.strip() for new, column in (group_columns or {}).items()}
    checks.require_columns(given, [*wanted, *name_of, *further.values()], name, "Name the columns as the table does.")
    if given.empty:
        raise ValueError(f"{name} has no rows; give one row per image.")
    written = _identifiers(given[image_column], f"{name}: {image_column!r}")
    image_ids, full_paths = _images(written, folder, name)
    _csv.refuse_repeated(pd.Series(image_ids), name)
    labels = _labels(given, name_of, separator, image_ids, name)
    patients = _patients(given, patient_column, image_ids, name)
    ages, implausible = _csv.ages_in_years(_optional(given, age_column))
    sexes = _csv.sexes(_optional(given, sex_column))
    _refuse_foreign(given, age_column, ~np.isnan(ages), name, "an age", "years (58), or with a unit (060Y, 006M)")
    _refuse_foreign(
        given, sex_column, np.isin(sexes, ("M", "F")), name, "a sex", "M or F, Male or Female, blank if unknown"
    )
    paths, hint = in_their_folders(full_paths, other_endings=False)
    fix = f"Give the folder that the paths begin at with {_ROOT}"
    refuse_missing(image_ids, paths, missing, str(folder), f"{hint[:1].upper()}{hint[1:]}. {fix}" if hint else fix)
    described = {
        "patient_id": patients,
        "follow_up": pd.Series(patients).groupby(patients).cumcount().to_numpy(dtype=np.int64),
        "age_years": ages,
        "sex": sexes,
        "view": _csv.capitals(_optional(given, view_column)),
    }
    groups = _groups(given, further, labels, name)
    loaded, left_out = assemble(image_ids, paths, described, labels, missing, groups=groups)
    loaded.attrs["source"] = TableSource(
        dataset=name,
        files=fingerprints,
        cautions=() if patient_column else (NO_PATIENTS_CAUTION,),
        left_out=left_out,
        implausible_ages=implausible,
        group_columns=tuple(groups),
    )
    return loaded


def open_table(path: str | Path, *, images: str | Path | None = None, **options: Any) -> ImageTable:
    """Loads a CSV of one's own as `open_data` does, which calls the folder of the images `images`.

    Args:
        path: The CSV.
        images: The folder that relative paths begin at, absolute or relative to the CSV's; None takes the CSV's.
        **options: Further options of `load_table`.

    Returns:
        The image table.
    """
    if not images:
        return load_table(path, **options)
    folder = below(files.typed_place(path, "table").parent, images)
    return load_table(path, root=str(folder) if isinstance(folder, Remote) else folder.absolute(), **options)


def _read(
    table: str | Path | pd.DataFrame, root: str | Path | None
) -> tuple[pd.DataFrame, str, Place, tuple[tuple[str, str], ...]]:
    """Returns the table, its name, the folder that paths begin at, and the fingerprint of the file."""
    if isinstance(table, pd.DataFrame):
        folder = files.existing_place(
            files.typed_place(root, "root") if root is not None else Path.cwd(), "root", is_folder=True
        )
        given = table.rename(columns=lambda name: name.strip() if isinstance(name, str) else name)
        checks.refuse_repeated_columns(given.columns, "own table")
        return given.reset_index(drop=True), "own table", folder, ()
    if not isinstance(table, (str, Path)):
        raise TypeError(f"table is a {type(table).__name__}; give the path of a CSV or a pandas DataFrame.")
    file = files.existing_place(files.typed_place(table, "table"), "table", is_folder=False)
    folder = files.existing_place(
        files.typed_place(root, "root") if root is not None else file.parent, "root", is_folder=True
    )
    # A cell without a name heads the row numbers that pandas writes.
    given = _csv.read_columns(file, [cell.strip() or None for cell in _csv.header(file)])
    return given, file.name, folder, ((file.name, files.sha256_file(file)),)


def _name_of(label_columns: str | Iterable[str] | Mapping[str, str], separator: str | None) -> dict[str, str]:
    """Returns the name of the finding by column; of a column that lists findings, its own."""
    if isinstance(label_columns, str):
        label_columns = (label_columns,)
    name_of = dict(label_columns) if isinstance(label_columns, Mapping) else {name: name for name in label_columns}
    if separator is not None:
        if len(name_of) != 1 or not separator:
            raise ValueError(
                f"separator={separator!r} with {len(name_of)} label columns; it splits the words of one column."
            )
        return name_of
    clean = dict(zip(name_of, vocabulary.label_names(name_of.values()), strict=True))
    taken = [
        name
        for name in clean.values()
        if name in {*image_table.METADATA, image_table.OFFICIAL_SPLIT, image_table.UNCERTAIN}
    ]
    if taken:
        raise ValueError(
            f"the label {taken[0]!r} has the name of a column that describes the image; give it another with "
            f"label_columns={{{taken[0]!r}: 'another name'}} (on the command line --label-columns COLUMN=NAME)."
        )
    return clean


def _text(column: pd.Series) -> pd.Series:
    """Returns a column as text, blank where a value is missing; whole numbers without a decimal point."""
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype(object).where(column.notna(), "").map(str).str.strip()


def _identifiers(column: pd.Series, name: str) -> pd.Series:
    """Returns a column of identifiers as text, each written in one way, blank where one is missing."""
    return _or_blank(checks.identifiers(column, name))


def _or_blank(identifiers: np.ndarray) -> pd.Series:
    ids = pd.Series(identifiers, dtype=object)
    return ids.where(ids.notna(), "")


def _optional(given: pd.DataFrame, column: str | None) -> pd.Series:
    return _text(given[column]) if column else pd.Series([""] * len(given), dtype=object)


def _refuse_foreign(
    given: pd.DataFrame, column: str | None, understood: np.ndarray, name: str, what: str, wanted: str
) -> None:
    """Checks that a column which was named is not written in a way that loses all of it."""
    if not column or understood.any():
        return
    known = _text(given[column]).str.strip()
    known = known[~known.str.upper().isin(["", "NAN", "NA", "UNKNOWN"])]
    if len(known):
        raise ValueError(
            f"{name}: none of the {len(known):,} values of {column!r} is understood as {what}, the first is "
            f"{known.iloc[0]!r:.40}; write {wanted}, or leave the column out."
        )


def _images(written: pd.Series, folder: Place, name: str) -> tuple[list[str], list[str]]:
    """Returns each image's identifier and its full path."""
    texts = [_with_slashes(text, folder) for text in written]
    if "" in texts:
        raise ValueError(f"{name}: row {texts.index('') + 1} names no image file; fill it in or drop the row.")
    outside = [text for text in texts if ".." in Path(text).parts]
    if outside:
        raise ValueError(
            f"{name}: {outside[0]!r} (and {len(outside) - 1} more) leads out of {str(folder)!r}; give the folder that "
            f"holds all images with {_ROOT}, and paths below it."
        )
    if isinstance(folder, Remote) or any(map(storage.is_remote, texts)):
        return _images_elsewhere(texts, folder, name)
    base = str(folder.resolve())
    absolute = [text for text in texts if os.path.isabs(text)]
    if any(not text.startswith(base + os.sep) for text in absolute):
        base = os.path.commonpath([os.path.dirname(text) for text in absolute])
    identifiers = [os.path.relpath(text, base) if os.path.isabs(text) else text for text in texts]
    full = [text if os.path.isabs(text) else f"{folder}{os.sep}{text}" for text in texts]
    return [str(PurePosixPath(*Path(text).parts)) for text in identifiers], full


def _images_elsewhere(texts: list[str], folder: Place, name: str) -> tuple[list[str], list[str]]:
    """Returns each image's identifier and its full path or address, where some lie in an object store.

    Raises:
        ValueError: If an address cannot be read, or a table elsewhere names a file of this machine by its full path.
    """
    own = [text for text in texts if os.path.isabs(text)]
    if own and isinstance(folder, Remote):
        raise ValueError(
            f"{name}: {own[0]!r} (and {len(own) - 1} more) is a path of this machine, and the images lie below "
            f"{str(folder)!r}; write paths below it, or addresses."
        )
    # What stands alone, and not below the folder.
    alone = [storage.is_remote(text) or os.path.isabs(text) for text in texts]
    full = [
        str(storage.place(text, name)) if is_alone else f"{folder}/{text}"
        for text, is_alone in zip(texts, alone, strict=True)
    ]
    base, whole = f"{folder}/", list(itertools.compress(full, alone))
    if any(not path.startswith(base) for path in whole):
        shared = storage.shared_folder(map(os.path.dirname, whole))
        base = f"{shared}/" if shared else ""
    identifiers = [
        path.removeprefix(base) if is_alone else text for text, path, is_alone in zip(texts, full, alone, strict=True)
    ]
    return [str(PurePosixPath(*Path(text).parts)) for text in identifiers], full


def _with_slashes(text: str, folder: Place) -> str:
    """Returns a path that Windows wrote as every system reads it; elsewhere a backslash may be part of a name."""
    if "\\" not in text or os.sep == "\\" or (isinstance(folder, Path) and os.path.isfile(folder / text)):
        return text
    return text.replace("\\", "/")


def _labels(
    given: pd.DataFrame, name_of: Mapping[str, str], separator: str | None, image_ids: list[str], name: str
) -> dict[str, np.ndarray]:
    if separator is not None:
        return _listed(_text(given[next(iter(name_of))]), separator, image_ids, name)
    fix = (
        "Write 1 for present, 0 for absent and nothing for unknown. Uncertain labels (-1 in some data sets) are for "
        "you to settle: make them blank, 1 or 0."
    )
    return {
        label: _csv.label_values(given[column], (1.0, 0.0), f"{name}: {column!r}", image_ids, fix)
        for column, label in name_of.items()
    }


def _listed(texts: pd.Series, separator: str, image_ids: list[str], name: str) -> dict[str, np.ndarray]:
    """Returns a column per finding from texts that list an image's findings."""
    codes, combinations = pd.factorize(texts)
    parsed: list[tuple[str, ...] | None] = []
    for code, combination in enumerate(combinations):
        try:
            words = _words(combination, separator)
            parsed.append(vocabulary.label_names(words) if words else None)
        except ValueError as error:
            first = image_ids[int(np.argmax(codes == code))]
            raise ValueError(f"{name}: findings {combination!r} of {first}: {error}") from error
    for combination, labels in zip(combinations, parsed, strict=True):
        if labels and vocabulary.NO_FINDING in labels and len(labels) > 1:
            raise ValueError(
                f"{name}: {combination!r} lists {vocabulary.NO_FINDING} beside a finding; correct the row."
            )
    found = {label for labels in parsed if labels for label in labels} - {vocabulary.NO_FINDING}
    if not found:
        raise ValueError(f"{name} lists no finding at all; name the column that lists them.")
    order = [*(label for label in vocabulary.ALL if label in found), *sorted(found - set(vocabulary.ALL))]
    return {
        label: np.asarray([np.nan if labels is None else float(label in labels) for labels in parsed])[codes]
        for label in order
    }


# A list as Python and JSON write it: texts in quotes, between commas.
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_LIST = re.compile(rf"\[\s*(?:(?:{_QUOTED.pattern})\s*(?:,\s*(?:{_QUOTED.pattern})\s*)*,?)?\s*\]")


def _words(text: str, separator: str) -> list[str]:
    """Returns the findings that a cell lists, which may be written as a list: ['edema', 'mass'], or [edema, mass].

    Raises:
        ValueError: If brackets or quotes are left over.
    """
    if _LIST.fullmatch(text):
        return [word for word in (first or second for first, second in _QUOTED.findall(text)) if word.strip()]
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    words = [word.strip() for word in inner.split(separator) if word.strip()]
    if any(set("[]\"'") & {word[0], word[-1]} for word in words):
        raise ValueError(
            f"brackets or quotes stand around the findings; write them plain, with {separator!r} between, or all as "
            "one list such as ['Edema', 'Mass']"
        )
    return words


def _groups(
    given: pd.DataFrame, group_columns: Mapping[str, str], labels: Mapping[str, np.ndarray], name: str
) -> dict[str, np.ndarray]:
    """Returns the further columns that group images, as text, by their new names."""
    taken = {*image_table.METADATA, image_table.OFFICIAL_SPLIT, image_table.UNCERTAIN, "part", *labels}
    found = {}
    for new, column in group_columns.items():
        if not re.fullmatch(r"[A-Za-z]\w*", new) or new in taken:
            why = "is taken by another column" if new in taken else "is not made of letters, digits and underscores"
            raise ValueError(
                f"the group column {new!r} {why}; give another name with group_columns={{'name': {column!r}}} (on the "
                f"command line --group-column name={column})."
            )
        values = _text(given[column])
        kinds = values[values != ""].nunique()
        if kinds > MOST_GROUPS:
            raise ValueError(
                f"{name}: the group column {column!r} has {kinds} different values, more than {MOST_GROUPS}; each "
                "would be a group of its own. Name a column of few kinds, or merge rare ones."
            )
        found[new] = values.to_numpy(dtype=object)
    return found


def _patients(given: pd.DataFrame, column: str | None, image_ids: list[str], name: str) -> np.ndarray:
    if column is None:
        return np.asarray(image_ids, dtype=object)
    patients = _or_blank(checks.patient_identifiers(given[column], f"{name}: {column!r}")).to_numpy(dtype=object)
    blank = patients == ""
    if blank.any():
        raise ValueError(
            f"{name}: {int(blank.sum())} image(s) have no patient in {column!r}, first "
            f"{image_ids[int(np.argmax(blank))]!r}; fill it in or drop them: without it, images of one patient could "
            "be in two parts of a split."
        )
    return patients
