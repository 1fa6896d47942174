"""Finds described mistakes in another version of the package.

A function that moved to another file, or whose words were renamed, is still found.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.mutation.sites import Site, described, same_words, sites_of

# Here the old and new words are the mistake itself; elsewhere they may have been reworded.
_BY_WORD = {"comparison", "arithmetic", "constant", "and_or", "max_min"}


def locate(wanted: Iterable[Site], tree: Path) -> Iterator[tuple[Site, Site | None]]:
    """Finds described mistakes in another version of the package.

    Args:
        wanted: sites as another tree gave them.
        tree: root of the checkout to look in.

    Yields:
        Each wanted site, and the site of this tree that reads the same or None: of the same function, whatever its file
        is called now; else of a renamed function with the same statement; else of the same function where only one
        place is left that it can be; else the most alike, if that is much like it.
    """
    exact, renamed, rewritten = defaultdict(list), defaultdict(list), defaultdict(list)
    sites = sites_of(tree)
    for site in sites:
        function, operator, statement, old, new = described(site)
        exact[function, operator, statement, old, new].append(site)
        renamed[operator, statement, old, new].append(site)
        rewritten[function, operator, old, new].append(site)
    for site in wanted:
        function, operator, statement, old, new = described(site)
        same = exact[function, operator, statement, old, new]
        # Two functions of one name: the one in the file whose path is most alike.
        near = sorted(
            {s.file for s in same}, key=lambda f: -len(set(re.split(r"\W|_", f)) & set(re.split(r"\W|_", site.file)))
        )
        same = [s for s in same if s.file == near[0]] if near else []
        other, loose = renamed[operator, statement, old, new], rewritten[function, operator, old, new]
        if same:
            yield site, same[min(site.nth, len(same) - 1)]
        elif len(other) == 1 and _same_class(site, other[0]):
            yield site, other[0]
        elif function and len(loose) == 1:
            yield site, loose[0]
        else:
            yield site, _most_alike(site, sites)


def _same_class(one: Site, other: Site) -> bool:
    owners = [same_words(site.function).rpartition(".")[0] for site in (one, other)]
    return owners[0] == owners[1] or Path(one.file).stem == Path(other.file).stem


def _most_alike(wanted: Site, sites: list[Site]) -> Site | None:
    """The place that was reworded, if one is much like the wanted one."""

    def alike(one: str, other: str) -> float:
        return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()

    name, operator, statement, old, _ = described(wanted)
    best, found = 0.75, None
    for site in sites:
        if site.operator != operator or not _same_class(wanted, site):
            continue
        if operator in _BY_WORD and (site.old, site.new) != (wanted.old, wanted.new):
            continue
        if operator == "condition_dropped" and site.new != wanted.new:
            continue
        other = described(site)
        own = alike(name.split(".")[-1].strip("_"), other[0].split(".")[-1].strip("_"))
        stem = Path(wanted.file).stem == Path(site.file).stem
        if own < 0.5 and not stem:
            continue
        # Of what is raised only its kind is part of the statement.
        words = (old, other[3]) if operator == "raise_removed" else (statement, other[2])
        likeness = 0.6 * alike(*words) + 0.2 * alike(old, other[3]) + 0.1 * own + 0.1 * stem
        if likeness > best:
            best, found = likeness, site
    return found
