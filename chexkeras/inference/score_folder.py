"""Scores a folder of files with a run: resumed where it was interrupted, and kept for the run's report."""

import builtins
import contextlib
import dataclasses
import hashlib
import os
import re
import signal
import tempfile
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, overload

import pandas as pd

from chexkeras import files, storage
from chexkeras.arguments import checked
from chexkeras.checks import one_of
from chexkeras.dicom.privacy import HASH_KEY_VARIABLE, keyed_hash
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.dicom.workers.options import ISOLATED, ReadOptions
from chexkeras.inference.engines import check_engine
from chexkeras.inference.on_cluster import Scoring, records_on
from chexkeras.inference.read_files import find_files
from chexkeras.inference.results_file import FILE_COLUMNS, Journal, read_results, results_path, rows_of, write_results
from chexkeras.parallel import HERE, Workplace, place_of
from chexkeras.plain import PlainTable
from chexkeras.progress import printable, say, track
from chexkeras.runs.run import Run
from chexkeras.storage import Place, Remote, status

# Refusals that another try may not repeat: a machine under load, a network disk that was away. A file without an image
# in it stays without one for as long as it is unchanged, and one that makes a decoder fail does so again; but a worker
# can also be ended from outside.
_TRY_AGAIN = frozenset({"decoder_limit", "decoder_crash"})
_OWN_FAULTS = tuple(
    f"found signal {int(getattr(signal, name))}"
    for name in ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV")
    if hasattr(signal, name)
)
# A plain OSError without a code of the system is a library's word for a damaged file.
_OUT_OF_REACH = ("(OSError E", *(
    f"({name})"
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, (OSError, MemoryError)) and kind is not OSError
))  # fmt: skip

# A semicolon parts the columns in half of the world.
_FORMULA_BEHIND_SEMICOLON = re.compile(f";(?={files.FORMULA.pattern})")


@checked
def score_folder(
    run: Run | str | Path,
    folder: str | Path,
    profile: str | Profile = "clinical",
    *,
    keep: bool = True,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    names: str = "path",
    read_options: ReadOptions = ISOLATED,
    engine: str = "keras",
    precision: str = "float32",
    executor: str | Workplace = HERE,
) -> pd.DataFrame:
    r"""Scores every file below a folder with a run's model and frozen thresholds.

    Every file is written down as it is done, in a hidden journal beside the results, which appear when all are there.
    Of results that go to an object store the journal lies on this machine: only from here `resume` goes on with it. One
    run at a time can write to a file of results. Results in `out` of files that are not in the folder, because they
    were removed since or because the results are those of another folder, are not lost unless `overwrite` allows it.

    A file is named by its path below the folder, so written that no two files share a name and that a spreadsheet
    takes none for a formula: a backslash is doubled; what cannot be seen (control characters, marks of direction, bytes
    that are no text) and a semicolon before a formula are written as ``\n``, ``\u202e``, ``\udcff``, ``\x3b``; ``./``
    stands before what begins like a formula.

    Args:
        run: The run or its folder.
        folder: Where the files are: a folder, or its address in an object store, such as ``s3://bucket/films``.
        profile: The DICOM gate's profile, "clinical", "course", or a `Profile` of your own.
        keep: Whether the results become the run's ``dicom_results.csv``, from which its report tells; False leaves
            the run folder as it is, for example where it cannot be written.
        out: Where to write the results as well; the ending names one of `results_file.FORMATS`, such as ``.csv`` (one
            row a file and finding) or ``.jsonl`` (one line a file). A path, or an address in an object store.
        resume: Whether results of an interrupted or an earlier run into the same file are kept, for files of the same
            size and time of change, the same model, threshold and rules.
        overwrite: Whether results of files that are not in the folder may be left out of `out`, and, without `resume`,
            what an interrupted run has done may be discarded.
        names: How `file` names a file: "path", relative to the folder, or "hashed", a pseudonym of it, where folders
            and files are named after patients. The key is the environment variable CHEXKERAS_HASH_KEY.
        read_options: How many worker processes read, and their limits.
        engine: What computes the scores: "keras", "openvino" or "onnx"; the last two need the extra of the same name
            and are compared with Keras first.
        precision: "float32", or "bf16" with OpenVINO.
        executor: Where files are read and scored: "processes" (on this machine), "serial" (read one after the other),
            "ray" (a cluster, see `Workplace`, whose hosts find the files and the run under the same paths); or a
            `Workplace`. The results are the same, but for the seconds that each file took.

    Returns:
        What `Predictor.predict` returns, with `file` relative to the folder and the `fingerprint` by which a later run
        knows which rows to keep.

    Raises:
        FileNotFoundError: If the folder, or a file of the run, is not there.
        FileExistsError: If another process writes to the same file of results.
        NotUploaded: If, after all, the results did not get to an object store; they are kept on this machine.
        OSError: If results cannot be written there, or the folder cannot be read.
        ValueError: If the folder holds no file, `out` is no name for results, an interrupted run or results of files
            that are not in the folder would be lost, a key for names is missing, or the engine cannot be used.
        WorkersUnavailable: If the processes that read cannot be started, there is no cluster, or its workers cannot be
            used; what is done is kept for `resume`.
    """
    place = place_of(executor)
    root = files.existing_place(files.typed_place(folder, "folder"), "folder", is_folder=True)
    loaded, chosen = run if isinstance(run, Run) else Run.load(run), find_profile(profile)
    _check_names(names)
    check_engine(engine, precision)
    kept_with_run = loaded.folder / "dicom_results.csv"
    destinations: list[Place] = [*([results_path(out)] if out is not None else []), *([kept_with_run] if keep else [])]
    if resume and not destinations:
        raise ValueError("resume=True needs a file of results to resume; give out='results.csv', or keep=True.")
    for destination in destinations:
        if isinstance(destination, Remote):
            storage.check_writable(destination, "out")
    own = {path.resolve() if isinstance(path, Path) else path for path in destinations}
    # The table of an earlier run may lie among the images.
    found = files_by_name(root, names, leave_out=own)
    if not found:
        raise ValueError(f"no file in {str(root)!r} but the results; give a folder with DICOM, PNG or JPEG files.")
    if keep:
        _check_writable(loaded.folder)
    with contextlib.ExitStack() as stack:
        journal, earlier = None, {}
        if destinations:
            # Opened before the model is loaded: where nothing can be written, nothing needs to be scored.
            journal = Journal(destinations[0])
            journal.open()
            stack.callback(journal.close)
            # What is kept with the run alone is what was scored last, whatever the folder.
            written = read_results(destinations[0]) if resume or (out is not None and not overwrite) else []
            earlier = _earlier(journal, written, set(found), resume, overwrite)
        # TensorFlow starts here, for nothing that could have been refused before.
        from chexkeras.inference.predictor import Predictor

        predictor = Predictor.load(loaded, chosen, engine, precision)
        prints = {name: _fingerprint(path, predictor.fingerprint) for name, path in found.items()}
        records = {
            name: record
            for name, record in earlier.items()
            if record["fingerprint"] == prints.get(name, "") != "" and not _may_go_better(record)
        }
        _say_what_is_kept(earlier, records, found)
        missing = [name for name in found if name not in records]
        asked = [found[name] for name in missing]
        if place.on_cluster:
            scoring = Scoring(loaded.folder.absolute(), chosen, engine, precision, predictor.fingerprint)
            fresh = records_on(place, scoring, asked, read_options)
        else:
            one = place.executor == "serial" and read_options.processes > 1
            options = dataclasses.replace(read_options, workers=1) if one else read_options
            fresh = predictor.records(asked, read_options=options)
        # An interrupted run ends its workers at once.
        stack.enter_context(contextlib.closing(fresh))
        for name, record in zip(missing, track(fresh, "scoring files", len(missing), lines=True), strict=True):
            records[name] = {**record, "file": name, "fingerprint": prints[name]}
            if journal is not None:
                journal.add(records[name])
        in_order = [records[name] for name in found]
        for destination in destinations:
            write_results(destination, in_order, found)
        if journal is not None:
            journal.discard()
    return PlainTable((row for record in in_order for row in rows_of(record)), columns=list(FILE_COLUMNS))


def _check_names(names: str) -> None:
    one_of(names, ("path", "hashed"), "names")
    if names == "hashed" and not os.environ.get(HASH_KEY_VARIABLE):
        raise ValueError(
            f"names='hashed' needs a key: set the environment variable {HASH_KEY_VARIABLE} to a secret that you keep, "
            "since without it nobody could find an image again by its row."
        )


def _check_writable(folder: Path) -> None:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise type(error)(
            f"the results cannot be kept in the run folder {str(folder)!r} ({error.strerror}); give keep=False (on the "
            "command line leave --keep out), or copy the run to where you may write."
        ) from None


@overload
def files_by_name(folder: Remote, names: str = ..., *, leave_out: Container[Place] = ...) -> dict[str, Remote]: ...


@overload
def files_by_name(folder: Path, names: str = ..., *, leave_out: Container[Place] = ...) -> dict[str, Path]: ...


def files_by_name(folder: Place, names: str = "path", *, leave_out: Container[Place] = ()) -> dict[str, Any]:
    """Returns the files of a folder by their names in its results.

    Args:
        folder: The folder.
        names: "path" or "hashed", see `score_folder`.
        leave_out: Resolved paths, and places in an object store, that are not meant.

    Raises:
        ValueError: If the folder holds no file, or two would share a name, since one of the two would have no row.
    """
    found: dict[str, Place] = {}
    for path in find_files(folder):
        if (path.resolve() if isinstance(path, Path) else path) in leave_out:
            continue
        name = _shown(_below(path, folder), names)
        if name in found:
            raise ValueError(f"two files have the name {name!r} in the results; rename one of them.")
        found[name] = path
    return found


def _below(path: Place, folder: Place) -> str:
    if isinstance(path, Path):
        return path.relative_to(Path(str(folder))).as_posix()
    return path.url.removeprefix(f"{folder}/")


def _shown(path: str, names: str) -> str:
    """Returns the name of a file in the results, another one for every file."""
    # Doubled, so that no name looks like one in which a character is written by its number.
    name = printable(path.replace("\\", 2 * "\\"))
    if names == "hashed":
        return keyed_hash(name)
    name = _FORMULA_BEHIND_SEMICOLON.sub(r"\\x3b", name)
    return f"./{name}" if files.FORMULA.match(name) else name


def _fingerprint(path: Place, settings: str) -> str:
    """Returns what changes with the file or with what is done with it; empty where the file cannot be looked at."""
    try:
        if isinstance(path, Remote):
            size, _, version = status(path.url)
        else:
            size, version = path.stat().st_size, str(path.stat().st_mtime_ns)
    except OSError:
        return ""
    return hashlib.sha256(f"{size}:{version}:{settings}".encode()).hexdigest()[:16]


def _may_go_better(record: dict[str, Any]) -> bool:
    """Returns whether the file was refused for what need not be there at another try."""
    out_of_reach = record["code"] == "unreadable" and any(name in record["detail"] for name in _OUT_OF_REACH)
    return (record["code"] in _TRY_AGAIN and not record["detail"].endswith(_OWN_FAULTS)) or out_of_reach


def _say_what_is_kept(earlier: dict[str, Any], records: dict[str, Any], found: Mapping[str, Place]) -> None:
    """Says how many earlier results are scored again, and how many are left out."""
    here = len(earlier.keys() & found.keys())
    if len(records) < here:
        again = f"{here - len(records)} of {here} earlier results are scored again"
        say(f"{again}: the file, the model or the rules changed, or it could not be read")
    if here < len(earlier):
        say(f"{len(earlier) - here} of {len(earlier)} earlier results are left out: their files are not here")


def _earlier(
    journal: Journal, written: list[dict[str, Any]], found: set[str], resume: bool, overwrite: bool
) -> dict[str, dict[str, Any]]:
    """Returns the records of earlier runs by name of the file, the newest of each.

    Raises:
        ValueError: If some of them would be lost.
    """
    left = journal.read()
    if left and not resume and not overwrite:
        raise ValueError(
            f"an interrupted run left the results of {len(left)} files in {str(journal.path)!r}; give resume=True "
            "(--resume) to go on with it, or delete that file to start over."
        )
    earlier = {record["file"]: record for record in [*written, *(left if resume else [])]}
    # A file that was out of reach has no result that could be lost; a folder that was closed is open by now.
    gone = sum(name not in found and not _may_go_better(record) for name, record in earlier.items())
    if gone and not overwrite:
        raise ValueError(_what_would_be_lost(gone, len(earlier), shared=bool(earlier.keys() & found)))
    if not resume:
        journal.clear()
        return {}
    return earlier


def _what_would_be_lost(gone: int, count: int, *, shared: bool) -> str:
    if not shared:
        found = (
            f"none of the {count} files in the earlier results has its name in this folder: were they named another "
            "way (names='hashed', --names hashed, with the same key), or is it another folder?"
        )
    else:
        found = (
            f"{gone} of the {count} files in the earlier results are not in this folder: were they removed, or is it "
            "another folder? Their rows would be lost."
        )
    return f"{found} Write to another file, or give overwrite=True (--overwrite) to leave them out."
