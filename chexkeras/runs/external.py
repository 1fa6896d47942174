"""Tests of a run at other hospitals, as its folder keeps them: a folder ``external/<name>/`` for each.

Reading one imports neither TensorFlow nor Keras. A folder that came from elsewhere is hostile until it was checked.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.evaluation.comparison.pooling import PooledSites, pool_sites
from chexkeras.evaluation.scores import Scores, read_scores
from chexkeras.results.external import ExternalTest, site_name
from chexkeras.results.robustness import RATES
from chexkeras.results.shortcuts import ThumbnailShortcut
from chexkeras.runs import documents
from chexkeras.runs.run import Run

EXTERNAL = "external"
"""Folder inside a run for its tests at other hospitals."""
TEST_FILE = "external.json"
"""Inside the folder of one: everything measured there."""
TEST_SCORES = "scores.csv"
"""Inside the folder of one: the scores of its images."""
TEST_SHORTCUTS = "shortcut_scores.csv"
"""Inside the folder of one: what the shortcuts that were fitted at home say of its images."""
THUMBNAIL_SHORTCUT = "thumbnail_shortcut.json"
"""Where a run keeps what a thumbnail tells, as fitted to its training images, so that it can be asked elsewhere."""

NOT_TESTED = "Not tested outside its own source."
"""What must be said of a run without an external test."""

_AGAIN = "Measure again: chexkeras evaluate RUN --data ROOT --name NAME --overwrite."


@checked
def external_tests(run: Run | str | Path) -> tuple[ExternalTest, ...]:
    """Returns the tests of a run at other hospitals, by name; none where there is none.

    Args:
        run: The run or its folder.

    Raises:
        ValueError: If a file of one is damaged, or none that this version writes.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    folder = run.folder / EXTERNAL
    if folder.is_symlink() or not folder.is_dir():
        return ()
    # Hidden folders are what a kill leaves; a link could lead out of the run.
    named = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return tuple(read_external(run, path.name) for path in named if path.is_dir() and not path.is_symlink())


@checked
def read_external(run: Run | str | Path, name: str) -> ExternalTest:
    """Returns one test of a run at another hospital, with its scores checked against it.

    Args:
        run: The run or its folder.
        name: What the site is called.

    Raises:
        FileNotFoundError: If the run has no such test.
        ValueError: If the name is a path, a file is damaged, the test is of another name or findings than the run's,
            or its scores are others than those that it was made from.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    where = f"{EXTERNAL}/{site_name(name)}/{TEST_FILE}"
    document = files.read_json(_file(run, name, TEST_FILE, files.MOST_JSON_BYTES))
    try:
        found = ExternalTest.from_dict(document)
        if found.name != name:
            raise ValueError(f"it is of {found.name!r}")
        unknown = [entry.finding for entry in found.findings if entry.finding not in run.recipe.targets]
        if unknown:
            raise ValueError(f"{unknown[0]} is no target of recipe.json")
        documents.EVALUATION({**document["evaluation"], "split": "test"}, "evaluation")
        for entry in found.evaluation.findings:
            documents.check_finding(entry)
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        lacks = isinstance(error, KeyError)
        what = f"lacks {error}" if lacks else f"is not what a run writes ({str(error)[:300].rstrip('.')})"
        raise ValueError(f"{where} of the run {what}. {_AGAIN}") from error
    if external_scores(run, name).fingerprint != found.scores_fingerprint:
        raise ValueError(f"{where} of the run was made from other scores than the {TEST_SCORES} beside it. {_AGAIN}")
    return found


def refuse_taken(run: Run, name: str, overwrite: bool) -> None:
    """Refuses a name that is taken, and a run into which nothing can be written, before any work is done.

    Args:
        run: The run.
        name: Of the external test.
        overwrite: Whether an earlier test may be replaced.

    Raises:
        FileExistsError: If there is one, and it may not.
        OSError: If nothing can be written there.
    """
    folder = run.folder / EXTERNAL
    place = folder / site_name(name)
    if not overwrite and os.path.lexists(place):
        raise FileExistsError(
            f"the run {run.folder.name!r} has an external test {name!r} already; choose another name, or replace it: "
            "overwrite=True (on the command line --overwrite)."
        )
    if folder.is_symlink() or place.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise OSError(f"{EXTERNAL}/{name} of the run {run.folder.name!r} is a link or a file; a folder was expected.")
    there = folder if folder.is_dir() else run.folder
    try:
        with tempfile.TemporaryDirectory(prefix=".trial.", dir=there):
            pass
    except OSError as error:
        raise type(error)(
            f"nothing can be written into the run {str(run.folder)!r} ({error.strerror}); ask for permission, or "
            "give keep=False."
        ) from error


@checked
def external_scores(run: Run | str | Path, name: str) -> Scores:
    """Returns the scores of the images of another hospital: image_id, patient_id, finding, label, score.

    Args:
        run: The run or its folder.
        name: What the site is called.

    Raises:
        FileNotFoundError: If the run has no such test.
        ValueError: If the file is damaged.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    path = _file(run, name, TEST_SCORES, files.MOST_TABLE_BYTES)
    try:
        return read_scores(path)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{EXTERNAL}/{name}/{TEST_SCORES} of the run: {str(error)[:300]} {_AGAIN}") from error


def _file(run: Run, name: str, file: str, most_bytes: int) -> Path:
    path = run.folder / EXTERNAL / site_name(name) / file
    if not path.is_file():
        raise FileNotFoundError(
            f"the run {run.folder.name!r} has no {EXTERNAL}/{name}/{file}; chexkeras evaluate RUN --data ROOT --name "
            f"{name} makes it."
        )
    return files.readable(path, most_bytes, within=run.folder)


def thumbnail_shortcut(run: Run) -> ThumbnailShortcut | None:
    """Returns what a thumbnail tells, as fitted to a run's training images; None in a run of an earlier version.

    Args:
        run: The run.

    Raises:
        ValueError: If the file is damaged.
    """
    path = run.folder / THUMBNAIL_SHORTCUT
    if not path.is_file():
        return None
    document = files.read_json(files.readable(path, files.MOST_JSON_BYTES, within=run.folder))
    try:
        return ThumbnailShortcut.from_dict(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{THUMBNAIL_SHORTCUT} of the run is not what a run writes ({str(error)[:300]}). Measure again: "
            "chexkeras.inference.measure_shortcuts(run, table, overwrite=True)."
        ) from error


@checked
def pool_external(tests: Sequence[ExternalTest], finding: str) -> tuple[PooledSites, ...]:
    """Averages AUROC, sensitivity and specificity of one finding over hospitals, with what a new one may show.

    Tests on images of the run's own source, or that its weights have seen, are left out: they are no other hospital. So
    are statistics that fewer than two sites have, or whose interval has no length at a site.

    Args:
        tests: From `external_tests`.
        finding: A finding of the run.

    Returns:
        Random-effects means with heterogeneity and prediction intervals, see `evaluation.pool_sites`; none with fewer
        than two sites.
    """
    sites = {
        test.name: test.evaluation[finding]
        for test in tests
        if test.outside and finding in {entry.finding for entry in test.findings}
    }
    made = []
    for statistic, field in (("AUROC", "auroc"), *((name, name) for name in RATES)):
        known = {name: getattr(entry, field) for name, entry in sites.items() if getattr(entry, field).estimable}
        known = {name: entry for name, entry in known.items() if entry.low < entry.high}
        if len(known) > 1:
            cautions = tuple(
                f"{test.name}: synthetic images." for test in tests if test.synthetic and test.name in known
            )
            made.append(_named(pool_sites(known, statistic=statistic), finding, cautions))
    return tuple(made)


def _named(pooled: PooledSites, finding: str, cautions: tuple[str, ...]) -> PooledSites:
    # From two sites that differ, an interval may span everything: no number then passes for a result.
    told = {name: getattr(pooled, name).unless_it_spans(0.0, 1.0) for name in ("mean", "prediction")}
    return replace(pooled, finding=finding, cautions=(*cautions, *pooled.cautions), **told)
