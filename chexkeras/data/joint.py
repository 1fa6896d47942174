"""Several data sets in one table: a row for each image with its site, and a blank where a data set does not label."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from chexkeras import checks, findings
from chexkeras.arguments import checked
from chexkeras.data.image_table import OFFICIAL_SPLIT, UNCERTAIN, ImageTable, TableSource, source_of

SITE = "site"
"""The column that says which of the tables an image came from."""


@checked
def combine_tables(tables: Mapping[str, pd.DataFrame], targets: str | Sequence[str] | None = None) -> ImageTable:
    """Puts the images of several data sets into one table, to learn from all of them.

    A finding that a data set does not label is unknown on its images, and is masked in the loss; findings that mean the
    same under two names (`findings.canonical`) become one, in the first table's spelling. What each data set's labels
    rest on differs: the cautions of all of them go along, and `split_each_site` and `leave_one_site_out` keep the sites
    apart.

    Args:
        tables: Image tables by the name of their site, at least two; the names stand in the column `site`.
        targets: Findings to keep; None keeps those that any table labels.

    Returns:
        The table. Patients are called "site: patient", since the same number is another person elsewhere; images keep
        their names, with the site's in front where two tables use one.

    Raises:
        TypeError: If an entry is no data frame.
        ValueError: If there are fewer than two, a name is blank, an image is in two of them or a patient whose data
            sets are of one source, no target is labelled by any, or a table has a column `site` of other names.

    Example:
        >>> north = pd.DataFrame({"image_id": ["a"], "patient_id": ["1"], "Effusion": [1.0]})
        >>> south = pd.DataFrame({"image_id": ["b"], "patient_id": ["1"], "Pleural Effusion": [0.0], "Edema": [1.0]})
        >>> both = combine_tables({"north": north, "south": south})
        >>> both[["site", "patient_id", "Effusion", "Edema"]].values.tolist()
        [['north', 'north: 1', 1.0, nan], ['south', 'south: 1', 0.0, 1.0]]
    """
    if len(tables) < 2:
        raise ValueError(f"combine_tables needs at least two tables, got {len(tables)}; one needs no combining.")
    given = {str(name).strip(): ImageTable.of(table, f"the table of {name!r}") for name, table in tables.items()}
    if len(given) < len(tables) or "" in given:
        raise ValueError("each table needs a site name of its own that is not blank.")
    _refuse_shared(given)
    columns: dict[str, None] = {}
    parts = []
    for name, table in given.items():
        if SITE in table.columns and table[SITE].nunique() > 1:
            raise ValueError(
                f"the table of {name!r} has images of several sites already; combine their tables at once."
            )
        renamed: dict[str, str] = {}
        for column in table.labels:
            renamed[column] = _known(column, (*columns, *renamed.values()))
        twice = [new for new in renamed.values() if list(renamed.values()).count(new) > 1]
        if twice:
            raise ValueError(f"the table of {name!r} has two columns for {twice[0]}; drop one of them.")
        columns |= dict.fromkeys(renamed.values())
        part = table.rename(columns=renamed).assign(**{SITE: name})
        part["patient_id"] = f"{name}: " + part["patient_id"].astype(str)
        parts.append(part)
    kept = tuple(columns) if targets is None else findings.resolve(targets, tuple(columns))
    images = pd.concat([part["image_id"] for part in parts])
    taken = set(images[images.duplicated()])
    for name, part in zip(given, parts, strict=True):
        clash = part["image_id"].isin(taken)
        part["image_id"] = part["image_id"].where(~clash, f"{name}: " + part["image_id"].astype(str))
    dropped = set(columns) - set(kept)
    both = pd.concat(
        [pd.DataFrame(part).drop(columns=dropped & set(part.columns)) for part in parts], ignore_index=True
    )
    # What only some tables have is blank elsewhere; a blank text says nothing, as NaN does.
    for column in (OFFICIAL_SPLIT, UNCERTAIN, "sex", "view"):
        if column in both:
            both[column] = both[column].fillna("")
    order = [column for column in both.columns if column not in kept]
    both = both[[*order, *kept]]
    for column in kept:
        both[column] = both[column].astype(float)
    found = ImageTable.of(both)
    return found.with_source(_source(given))


def _known(column: str, columns: Sequence[str]) -> str:
    """Returns the name under which a finding is in the table already, or its own."""
    try:
        return findings.canonical(column, columns)
    except ValueError:
        return column


def _source(tables: Mapping[str, ImageTable]) -> TableSource:
    """Returns the source of all tables; each caution says whose it is."""
    sources = [
        replace(table.source, cautions=tuple(f"{name}: {caution}" for caution in table.source.cautions))
        for name, table in tables.items()
    ]
    combined = TableSource.combined(sources)
    settled = [source.uncertain_policy for source in sources if source.uncertain_policy]
    if len({dict(policy).get(name) for policy in settled for name in dict(policy)}) > 1:
        # One finding cannot be recorded as settled in two ways; each table's own source says how.
        combined = replace(combined, uncertain_policy=())
    return combined


def _refuse_shared(tables: Mapping[str, ImageTable]) -> None:
    """Refuses images or patients that two data sets share: one of their parts would leak into another."""
    from chexkeras.data.audit.shared_images import shared_images

    names = list(tables)
    for place, name in enumerate(names):
        for other in names[:place]:
            shared = shared_images(tables[other], tables[name], pixels="never")
            if len(shared.image_ids):
                raise ValueError(
                    f"{len(shared.image_ids):,} images of {name!r} ({source_of(tables[name]).dataset}) are images, or "
                    f"of patients, of {other!r} ({source_of(tables[other]).dataset}), first "
                    f"{shared.image_ids[0]!r}: leave them out, shared_images(first, second).without(second)."
                )


@checked
def sites_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Returns the sites whose images a table holds, in order of appearance.

    Args:
        table: An image table with the column `site`.

    Raises:
        ValueError: If there is no such column, or an image has a blank there.
    """
    checks.require_columns(table, (SITE,), "the table", "combine_tables makes it, or load_table(group_columns=...).")
    names = table[SITE].fillna("").astype(str).str.strip()
    blank = int((names == "").sum())
    if blank:
        raise ValueError(f"{blank:,} of {len(table):,} images have no {SITE}; fill it in or drop them.")
    return tuple(names.unique())
