"""What an audit tells of the films themselves: each one alone, and those that are the same or nearly the same."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd

from chexkeras import progress
from chexkeras.data import image_table
from chexkeras.data.audit.duplicates import TooAlike, near_duplicates
from chexkeras.data.audit.result import Issue
from chexkeras.data.film_facts import DICOM, GRAY_STEPS, THUMBNAIL_PX, FilmFacts, film_facts

# Films handed to the workers at once: what waits to be done takes memory too.
_AHEAD = 4096


def open_films(paths: Sequence[str], processes: int | None = None) -> tuple[list[FilmFacts], np.ndarray]:
    """Decodes every film once.

    Args:
        paths: Their files.
        processes: How many processes; None takes threads, one per core.

    Returns:
        The facts, without thumbnails, and the thumbnails: uint16 array (films, 16, 16), see `film_facts.thumbnail`;
        zero where there is none.
    """
    facts: list[FilmFacts] = []
    thumbnails = np.zeros((len(paths), THUMBNAIL_PX, THUMBNAIL_PX), dtype="<u2")
    with _workers(processes) as pool:
        for fact in progress.track(_mapped(pool, paths), "opening films", total=len(paths)):
            if fact.thumbnail:
                thumbnails[len(facts)] = np.frombuffer(fact.thumbnail, "<u2").reshape(THUMBNAIL_PX, THUMBNAIL_PX)
            facts.append(replace(fact, thumbnail=b""))
    return facts, thumbnails


def _workers(processes: int | None) -> Executor:
    if processes is None:
        return ThreadPoolExecutor(max_workers=os.cpu_count())
    import multiprocessing

    # Forking a process that runs TensorFlow's threads can hang it: always start fresh ones.
    return ProcessPoolExecutor(max_workers=processes, mp_context=multiprocessing.get_context("spawn"))


def _mapped(pool: Executor, paths: Sequence[str]) -> Iterator[FilmFacts]:
    for start in range(0, len(paths), _AHEAD):
        yield from pool.map(film_facts, paths[start : start + _AHEAD], chunksize=32)


def blurred(thumbnails: np.ndarray) -> np.ndarray:
    """Returns thumbnails at half their size, in gray values of 0-255.

    Args:
        thumbnails: Shape (films, 16, 16), from `open_films`.

    Returns:
        float32 array (films, 8, 8).
    """
    half = THUMBNAIL_PX // 2
    quartets = thumbnails.reshape(len(thumbnails), half, 2, half, 2)
    return quartets.mean(axis=(2, 4), dtype=np.float32) / np.float32(GRAY_STEPS)


def film_issues(table: pd.DataFrame, facts: Sequence[FilmFacts]) -> Iterator[Issue]:
    """Yields what is wrong or odd with each film alone.

    Args:
        table: The image table.
        facts: One entry per row.
    """
    usual = Counter(fact.size for fact in facts if fact.mode).most_common(1)
    for image, fact in zip(table["image_id"], facts, strict=True):
        if fact.problem:
            yield Issue(fact.problem, image, fact.detail)
            continue
        if fact.size != usual[0][0]:
            (width, height), (usual_width, usual_height) = fact.size, usual[0][0]
            yield Issue("unusual_size", image, f"{width} x {height}; most are {usual_width} x {usual_height}")
        if fact.mode not in ("L", DICOM):
            content = "colour" if fact.colour else "gray"
            yield Issue("not_grayscale", image, f"{content} pixels stored as {fact.mode}")


def duplicate_issues(
    table: pd.DataFrame, facts: Sequence[FilmFacts], thumbnails: np.ndarray, part_of: dict[str, str]
) -> Iterator[Issue]:
    """Yields films that are the same, or nearly the same, as an earlier one.

    Args:
        table: The image table.
        facts: One entry per row.
        thumbnails: Likewise, from `open_films`.
        part_of: The part of each image_id; empty where there is no split.
    """
    images, patients = table["image_id"].tolist(), table["patient_id"].astype(str).tolist()
    parts = [part_of.get(image, "") for image in images]
    labels = table[list(image_table.label_columns(table))]
    same: dict[str, list[int]] = defaultdict(list)
    for row, fact in enumerate(facts):
        if not fact.problem:
            same[fact.digest].append(row)
    for first, *others in same.values():
        for row in (row for row in others if images[row] != images[first]):
            yield Issue("duplicate_pixels", images[row], f"same pixels as {images[first]}")
            if patients[row] != patients[first]:
                detail = f"patient {patients[row]}; same pixels as {images[first]} of patient {patients[first]}"
                yield Issue("same_image_two_patients", images[row], detail)
            if parts[row] != parts[first]:
                detail = f"in {parts[row]}; {images[first]} is in {parts[first]}"
                yield Issue("duplicate_crosses_split", images[row], detail)
            differing = _differing(labels.iloc[row], labels.iloc[first])
            if differing:
                yield Issue("duplicate_labels_differ", images[row], f"{differing}; same pixels as {images[first]}")
    # One film of each set of equal ones stands for all: the others are told already.
    alone = np.array([rows[0] for rows in same.values()], dtype=np.int64)
    try:
        pairs = near_duplicates(thumbnails[alone])
    except TooAlike as problem:
        yield Issue("films_too_alike", "", str(problem))
        return
    pairs["first"], pairs["second"] = alone[pairs["first"]], alone[pairs["second"]]
    yield from _near_issues(pairs, images, patients, parts)


def _differing(labels: pd.Series, others: pd.Series) -> str:
    """Returns, for example, "Edema 1, not 0", for labels that are known on both films and differ."""
    both = labels.notna() & others.notna() & (labels != others)
    return ", ".join(f"{name} {labels[name]:g}, not {others[name]:g}" for name in labels.index[both])


def _near_issues(pairs: pd.DataFrame, images: list[str], patients: list[str], parts: list[str]) -> Iterator[Issue]:
    """Yields, per film and kind of pair, one issue that names the earlier film it resembles most."""
    found: dict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)
    for first, second, similarity in pairs.itertuples(index=False):
        two_patients, crossing = patients[first] != patients[second], parts[first] != parts[second]
        kinds = {"near_duplicate_two_patients": two_patients, "near_duplicate_crosses_split": crossing}
        for code in [kind for kind, holds in kinds.items() if holds] or ["near_duplicate"]:
            found[code, second].append((similarity, first))
    for (code, row), alike in found.items():
        similarity, other = max(alike)
        where = f"in {parts[row]}; {images[other]} is in {parts[other]}"
        who = f"patient {patients[row]}; like {images[other]} of patient {patients[other]}"
        told = {"near_duplicate_crosses_split": where, "near_duplicate_two_patients": who}
        more = f", and {len(alike) - 1} more" if len(alike) > 1 else ""
        yield Issue(
            code, images[row], f"{told.get(code, f'like {images[other]}')} (correlation {similarity:.4f}){more}"
        )
