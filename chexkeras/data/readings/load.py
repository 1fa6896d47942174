"""Reading files of readings: published ones are told by their header, any other is one's own table.

Tables of one reading a row and finding a column, and lists of boxes, become the same `Readings`.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.data.datasets import _csv
from chexkeras.data.readings import sources
from chexkeras.evaluation.reference_standard.readings import Readings, ReadingsSource
from chexkeras.findings import NIH14

_READINGS = {"yes": 1.0, "1": 1.0, "true": 1.0, "1.0": 1.0, "no": 0.0, "0": 0.0, "false": 0.0, "0.0": 0.0}
_UNSURE = {"", "hedge", "nan", "na", "-1", "-1.0", "none"}
_IMAGE, _READER = ("imageid", "imageindex", "image"), ("readerid", "reader", "radid")
# What tables of readings carry besides: never a finding.
_BESIDES = {
    "patientid", "setid", "followup", "patientage", "patientgender", "patientsex", "viewposition", "findinglabels",
    "originalimagewidth", "originalimageheight", "height", "width", "originalimagepixelspacingx", "y", "",
    "originalimagepixelspacingxy", "originalimagepixelspacing", "unnamed0",
}  # fmt: skip
_FOUR = {"fracture": "Fracture", "pneumothorax": "Pneumothorax", "airspaceopacity": "Airspace opacity",
         "noduleormass": "Nodule or mass", "nodulemass": "Nodule or mass"}  # fmt: skip
_ALL = {_key: name for name in ("Abnormal", "Other", "Pleural Thickening", *NIH14)
        if (_key := re.sub(r"[^a-z]", "", name.casefold())) and name != "Pleural_Thickening"}  # fmt: skip


def _plain(cell: str) -> str:
    return re.sub(r"[^a-z0-9]", "", cell.casefold())


class _PublishedFile(NamedTuple):
    """One published kind of file."""

    source: ReadingsSource
    recognised: Callable[[set[str]], bool]
    read: Callable[[Path], pd.DataFrame]


@checked
def load_readings(
    file: str | Path | Sequence[str | Path],
    *,
    image_ids: Mapping[str, str] | str | Path | None = None,
    source: ReadingsSource | None = None,
) -> Readings:
    """Reads what readers said of images.

    Known by their header: Google's readings of NIH images for four findings (`test_labels.csv`,
    `validation_labels.csv` or `individual_readers.csv`) and for all findings (`test_individual_readers.csv` or
    `test_labels.csv`), the boxes of the RSNA Pneumonia Detection Challenge (`stage_2_train_labels.csv`), and those of
    VinDr-CXR (`train.csv`). Any other CSV is one's own: a column `image_id`, if several people read a column `reader`,
    and a column for each finding with 1, 0 or blank (YES, NO and HEDGE are understood).

    Args:
        file: The CSV, or several of one kind, whose rows are put together.
        image_ids: For readings that name images otherwise than the images' own table: the new id of each, or a CSV that
            has the columns subset_img_id and img_id, as RSNA's published mapping to NIH's images. Images that are not
            named are left out.
        source: Who read how, which images, and which labels mean the same; None takes what is known of a published
            file.

    Returns:
        The readings.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If files are of different kinds, a value is not understood, an image or finding is missing, or a
            reader reads an image twice.
    """
    given = [file] if isinstance(file, (str, Path)) else list(file)
    if not given:
        raise ValueError("file is an empty list; one CSV or several were expected.")
    paths = [checks.existing_file(checks.typed_path(each, "file"), "file") for each in given]
    layouts = [_layout_of(path) for path in paths]
    if len({id(layout.source) for layout in layouts}) > 1:
        kinds = ", ".join(f"{path.name}: {layout.source.name}" for path, layout in zip(paths, layouts, strict=True))
        raise ValueError(f"the files are of different kinds ({kinds}); read each kind by itself.")
    table = pd.concat([layout.read(path) for layout, path in zip(layouts, paths, strict=True)], ignore_index=True)
    known = dataclasses.replace(
        source or layouts[0].source, files=tuple((path.name, files.sha256_file(path)) for path in paths)
    )
    readings = Readings.of(table, known)
    return readings if image_ids is None else readings.renamed(_new_ids(image_ids))


def _layout_of(path: Path) -> _PublishedFile:
    header = {_plain(cell) for cell in _csv.header(path)}
    return next((layout for layout in _LAYOUTS if layout.recognised(header)), _OWN)


def _new_ids(given: Mapping[str, str] | str | Path) -> dict[str, str]:
    if isinstance(given, Mapping):
        return {str(old): str(new) for old, new in given.items()}
    path = checks.existing_file(checks.typed_path(given, "image_ids"), "image_ids")
    names = [{"subset_img_id": "old", "img_id": "new"}.get(cell.strip().casefold()) for cell in _csv.header(path)]
    if {"old", "new"} - set(names):
        raise ValueError(f"{path.name} lacks the columns subset_img_id and img_id; RSNA's mapping to NIH has both.")
    table = _csv.read_columns(path, names)
    return dict(zip(table["old"].str.strip(), table["new"].str.strip(), strict=True))


def _wide(path: Path, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Reads a table with a column for each finding; `names` are the findings that count, all others where None."""
    cells = _csv.header(path)
    keys = [_plain(cell) for cell in cells]
    image = next((keys.index(key) for key in _IMAGE if key in keys), None)
    reader = next((keys.index(key) for key in _READER if key in keys), None)
    if image is None:
        raise ValueError(
            f"{path.name} has no column image_id; its first line is: {','.join(cells)[:300]!r}. A table of readings "
            "names the image, the reader where there are several, and has a column for each finding."
        )
    finding: dict[int, str] = {}
    for place, (key, cell) in enumerate(zip(keys, cells, strict=True)):
        if place in (image, reader) or (names is None and key in _BESIDES):
            continue
        name = cell.strip() if names is None else names.get(key)
        if name is not None and name not in finding.values():
            finding[place] = name
    if not finding:
        raise ValueError(f"{path.name} has no column with a finding, only {', '.join(cells)[:300]}.")
    columns: list[str | None] = [None] * len(cells)
    columns[image] = "image_id"
    if reader is not None:
        columns[reader] = "reader"
    for place in finding:
        columns[place] = f"finding {place}"
    table = _csv.read_columns(path, columns)
    if reader is None:
        table["reader"] = "consensus" if names is not None else "reader"
    parts = []
    for place, name in finding.items():
        text = table[f"finding {place}"].str.strip().str.casefold()
        values = text.map(_READINGS)
        wrong = values.isna() & ~text.isin(_UNSURE)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ValueError(
                f"{path.name}: {cells[place]!r} is {table[f'finding {place}'].iloc[first]!r} for "
                f"{table['image_id'].iloc[first]} (and wrong in {int(wrong.sum()) - 1} other rows); 1, 0 or blank was "
                "expected (or YES, NO, HEDGE). Leave out columns that are no finding."
            )
        parts.append(table[["image_id", "reader"]].assign(finding=name, value=values))
    return pd.concat(parts, ignore_index=True)


def _boxes_of_rsna(path: Path) -> pd.DataFrame:
    names = [{"patientid": "image_id", "target": "value"}.get(_plain(cell)) for cell in _csv.header(path)]
    table = _csv.read_columns(path, names, numbers=("value",))
    one = table.groupby("image_id", sort=False)["value"].max().reset_index()
    return one.assign(finding="Possible pneumonia", reader="consensus")


def _boxes_of_vindr(path: Path) -> pd.DataFrame:
    known = {"imageid": "image_id", "classname": "finding", "radid": "reader"}
    table = _csv.read_columns(path, [known.get(_plain(cell)) for cell in _csv.header(path)])
    table["finding"] = table["finding"].str.strip()
    marked = table[table["finding"].str.casefold() != "no finding"].drop_duplicates()
    read = table[["image_id", "reader"]].drop_duplicates()
    # Whoever read an image and drew no box of a finding said that it is not there.
    each = read.merge(pd.DataFrame({"finding": sorted(set(marked["finding"]))}), how="cross")
    found = each.merge(marked.assign(value=1.0), how="left", on=["image_id", "reader", "finding"])
    return found.assign(value=found["value"].fillna(0.0))


_LAYOUTS = (
    _PublishedFile(sources.NIH_FOUR_FINDINGS, lambda header: "airspaceopacity" in header and "fracture" in header
            and bool({"imageid", "imageindex"} & header), lambda path: _wide(path, _FOUR)),
    _PublishedFile(sources.NIH_ALL_FINDINGS, lambda header: {"abnormal", "other", "hernia", "effusion"} <= header
            and bool({"imageid", "imageindex"} & header), lambda path: _wide(path, _ALL)),
    _PublishedFile(sources.RSNA, lambda header: {"patientid", "x", "y", "width", "height", "target"} <= header,
            _boxes_of_rsna),
    _PublishedFile(sources.VINDR, lambda header: {"imageid", "classname", "radid"} <= header, _boxes_of_vindr),
)  # fmt: skip
_OWN = _PublishedFile(ReadingsSource("readings of one's own"), lambda header: True, _wide)
