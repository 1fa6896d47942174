"""Scoring a folder of files with a run: taken up again where it stopped, and kept for the run's report."""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

import pandas as pd

from chexkeras.checks import existing_folder, one_of
from chexkeras.dicom.privacy import HASH_KEY_VARIABLE, keyed_hash
from chexkeras.dicom.profiles import Profile, find_profile
from chexkeras.dicom.reading import ISOLATED, Reading
from chexkeras.inference.batch import find_files
from chexkeras.inference.engines import check_engine
from chexkeras.inference.journal import Journal
from chexkeras.inference.outputs import FILE_COLUMNS, read_results, results_file, rows_of, write_results
from chexkeras.inference.predictor import Predictor
from chexkeras.progress import say, track
from chexkeras.training.run import Run

# Refusals that another try may not repeat: a machine under load, a network disk that was away.
_TRY_AGAIN = frozenset({"decoder_limit", "decoder_crash", "unreadable"})


def score_folder(
    run: Run | str | Path,
    folder: str | Path,
    profile: str | Profile = "clinical",
    *,
    keep: bool = True,
    out: str | Path | None = None,
    resume: bool = False,
    names: str = "path",
    reading: Reading = ISOLATED,
    engine: str = "keras",
    precision: str = "float32",
) -> pd.DataFrame:
    """Scores every file below a folder with a run's model and frozen thresholds.

    Every file is written down as it is done, in a hidden journal beside the results, which appear when all are there.

    Args:
        run: The run or its folder.
        folder: Where the files are.
        profile: The DICOM gate's profile, "clinical", "course", or a `Profile` of your own.
        keep: Whether the results become the run's ``dicom_results.csv``, from which its report tells; False leaves
            the run folder as it is, for example where it cannot be written.
        out: File to write the results to as well, ``.csv`` (one row a file and finding) or ``.jsonl`` (one line a
            file).
        resume: Whether results of an interrupted or an earlier run into the same file are kept, for files of the same
            size and time of change, the same model, threshold and rules.
        names: How `file` names a file: "path", relative to the folder, or "hashed", a pseudonym of it, where folders
            and files are named after patients. The key is the environment variable CHEXKERAS_HASH_KEY.
        reading: How many worker processes read, and their limits.
        engine: What computes the scores: "keras", "openvino" or "onnx"; the last two need the extra of the same name
            and are compared with Keras first.
        precision: "float32", or "bf16" with OpenVINO.

    Returns:
        What `Predictor.predict` returns, with `file` relative to the folder and the `fingerprint` by which a later run
        knows which rows to keep.

    Raises:
        FileNotFoundError: If the folder, or a file of the run, is not there.
        ValueError: If the folder holds no file, `out` is no name for results, an interrupted run would be lost, a key
            for names is missing, or the engine cannot be used.
    """
    root = existing_folder(folder, "folder")
    loaded, chosen = run if isinstance(run, Run) else Run.load(run), find_profile(profile)
    _check_names(names)
    check_engine(engine, precision)
    kept_with_run = loaded.folder / "dicom_results.csv"
    destinations = [*([results_file(out)] if out is not None else []), *([kept_with_run] if keep else [])]
    journal = Journal(destinations[0]) if destinations else None
    earlier = _earlier(journal, destinations, resume)
    own = {path.resolve() for path in destinations}
    # The table of an earlier run may lie among the films.
    found = {_shown(path.relative_to(root), names): path for path in find_files(root) if path.resolve() not in own}
    if not found:
        raise ValueError(f"no file in {str(folder)!r} but the results; give a folder with DICOM, PNG or JPEG files.")
    predictor = Predictor.load(loaded, chosen, engine, precision)
    prints = {name: _fingerprint(path, predictor.fingerprint) for name, path in found.items()}
    records = {
        name: record
        for name, record in earlier.items()
        if record["fingerprint"] == prints.get(name, "") != "" and record["code"] not in _TRY_AGAIN
    }
    _say_what_is_kept(earlier, records, found)
    missing = [name for name in found if name not in records]
    with contextlib.ExitStack() as stack:
        if journal is not None:
            journal.open()
            stack.callback(journal.close)
        fresh = predictor.records([found[name] for name in missing], reading=reading)
        # An interrupted run ends its workers at once.
        stack.enter_context(contextlib.closing(fresh))
        for name, record in zip(missing, track(fresh, "scoring files", len(missing)), strict=True):
            records[name] = {**record, "file": name, "fingerprint": prints[name]}
            if journal is not None:
                journal.add(records[name])
    in_order = [records[name] for name in found]
    for destination in destinations:
        write_results(destination, in_order)
    if journal is not None:
        journal.discard()
    return pd.DataFrame((row for record in in_order for row in rows_of(record)), columns=list(FILE_COLUMNS))


def _check_names(names: str) -> None:
    one_of(names, ("path", "hashed"), "names")
    if names == "hashed" and not os.environ.get(HASH_KEY_VARIABLE):
        raise ValueError(
            f"names='hashed' needs a key: set the environment variable {HASH_KEY_VARIABLE} to a secret that you keep, "
            "since without it nobody could find a film again by its row."
        )


def _shown(path: Path, names: str) -> str:
    """Returns the name of a file in the results."""
    name = path.as_posix()
    if names == "hashed":
        return keyed_hash(name)
    # Names can hold bytes that are no text; and a spreadsheet takes what begins like a formula for one.
    text = name.encode("utf-8", "backslashreplace").decode()
    return f"./{text}" if text[0] in "=+-@\t\r" else text


def _fingerprint(path: Path, settings: str) -> str:
    """Returns what changes with the file or with what is done with it; empty where the file cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return hashlib.sha256(f"{status.st_size}:{status.st_mtime_ns}:{settings}".encode()).hexdigest()[:16]


def _say_what_is_kept(earlier: dict[str, Any], records: dict[str, Any], found: dict[str, Path]) -> None:
    """Says how many earlier results are scored anew; refuses those that are of other files altogether."""
    if earlier and not set(earlier) & set(found):
        raise ValueError(
            f"none of the {len(earlier)} files in the earlier results has its name in this folder: were they named "
            "another way (names='hashed', --names hashed, with the same key), or is it another folder? Go on as they "
            "were written, or write to another file."
        )
    if len(records) < len(earlier):
        anew = f"{len(earlier) - len(records)} of {len(earlier)} earlier results are scored anew"
        say(f"{anew}: the file, the model or the rules changed, or it could not be read")


def _earlier(journal: Journal | None, destinations: list[Path], resume: bool) -> dict[str, dict[str, Any]]:
    """Returns the records of earlier runs by name of the file, the newest of each."""
    if journal is None:
        if resume:
            raise ValueError("resume=True needs a file to take up; give out='results.csv', or keep=True.")
        return {}
    if resume:
        return {record["file"]: record for record in [*read_results(destinations[0]), *journal.read()]}
    if done := len(journal.read()):
        raise ValueError(
            f"an interrupted run left the results of {done} files in {str(journal.path)!r}; give resume=True "
            "(--resume) to go on with it, or delete that file to begin anew."
        )
    journal.discard()
    return {}
