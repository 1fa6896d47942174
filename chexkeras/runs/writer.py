"""Writing a run folder: it is there whole or not at all, and no run is lost that was there before."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import typed_path
from chexkeras.data.audit.fingerprints import Fingerprints
from chexkeras.progress import say
from chexkeras.results import Novelty, SourceResolution
from chexkeras.runs.run import ACCEPTED, EPOCHS, FINGERPRINTS, MODEL, NOVELTY, Run


def check_free(run_dir: str | Path, overwrite: bool) -> Path:
    """Returns the run folder's path, absolute and free of links, if a run may be written there.

    Args:
        run_dir: What the caller gave.
        overwrite: Whether a run that is there may be replaced.

    Raises:
        FileExistsError: If something is there and `overwrite` is false, or it is no run folder.
        ValueError: If it is the root of a file system, which cannot be replaced by renaming.
    """
    # Resolved: "." has no name to make neighbours of, and renaming a link would leave the folder behind it empty.
    folder = typed_path(run_dir, "run_dir").resolve()
    if folder.is_mount():
        raise ValueError(f"{str(folder)!r} is the root of a file system; name a folder inside it for the run.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / "recipe.json").is_file():
            raise FileExistsError(f"{str(folder)!r} exists and is no run folder; choose another name for the run.")
        if not overwrite:
            raise FileExistsError(
                f"the run {str(folder)!r} exists; choose another name, or allow it to be replaced "
                "(overwrite=True, on the command line --overwrite)."
            )
    return folder


def epoch_folder(folder: Path, number: int) -> Path:
    """Returns where, inside a run, a further epoch is kept.

    Args:
        folder: The run's.
        number: The epoch's number within the run.
    """
    return folder / EPOCHS / f"epoch-{number:03d}"


REPLACED = (
    "The model file was replaced after training: the thresholds and results of this run are those of the model before."
)


def refuse_second(run: Run, name: str, overwrite: bool) -> None:
    """Checks that what is measured would take nothing's place in a run.

    Args:
        run: The run.
        name: The file that keeps the measurement.
        overwrite: Whether an earlier one may be replaced.

    Raises:
        FileExistsError: If there is one, and it may not.
    """
    if not overwrite and (run.folder / name).exists():
        raise FileExistsError(
            f"the run {str(run.folder)!r} has {name} already; overwrite=True (on the command line --overwrite) "
            "replaces it."
        )


@checked
def accept_model(folder: str | Path) -> None:
    """Records that a run's model was replaced on purpose: `Run.load_model` opens it again.

    Scores are made with the new model; the thresholds and all results stay those of the model before. A caution says so
    wherever a number of the run is shown, and a report goes on to say that the model is another file.

    Args:
        folder: The run's folder.

    Raises:
        FileNotFoundError: If the run, its provenance or its model is not there.
    """
    run = Run.load(folder)
    record = dict(run.provenance)
    record["model"] = {**(record.get("model") or {}), ACCEPTED: files.sha256_file(run.folder / MODEL)}
    record["cautions"] = list(dict.fromkeys([*record["cautions"], REPLACED]))
    files.write_json(run.folder / "provenance.json", record)


def keep_novelty(run: Run, learnt: Novelty, resolution: SourceResolution | None) -> None:
    """Keeps in a finished run what its training images look like, and its provenance says which file that is.

    Args:
        run: The run.
        learnt: What they look like.
        resolution: How many pixels their files have, where the provenance does not say it; None leaves it out.
    """
    record = dict(run.provenance)
    if record.get("resolution") is None and resolution is not None:
        record["resolution"] = resolution.to_dict()
    record["novelty"] = {"sha256": files.sha256_file(learnt.save(run.folder / NOVELTY))}
    files.write_json(run.folder / "provenance.json", record)
    for read_before in ("provenance", "novelty", "resolution"):
        run.__dict__.pop(read_before, None)


def keep_fingerprints(run: Run, found: Fingerprints) -> None:
    """Keeps in a finished run the fingerprints of its images, and its provenance says which file that is.

    Args:
        run: The run.
        found: Of the images of all its parts.
    """
    files.write_csv(run.folder / FINGERPRINTS, found.to_frame())
    record = dict(run.provenance) | {"fingerprints": {"sha256": files.sha256_file(run.folder / FINGERPRINTS)}}
    files.write_json(run.folder / "provenance.json", record)
    for read_before in ("provenance", "fingerprints"):
        run.__dict__.pop(read_before, None)


@contextlib.contextmanager
def writing(run_dir: Path) -> Iterator[Path]:
    """Yields a working folder that becomes the run folder when the block ends without an error.

    Until then a run of the same name stays as it was. What fails after the model was saved is kept beside it under
    the name ``<run>.failed``: hours of training are not thrown away.

    Args:
        run_dir: The destination, as returned by `check_free`.
    """
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    clear_abandoned(run_dir)
    working = Path(tempfile.mkdtemp(prefix=f".{run_dir.name}.{os.getpid()}.", dir=run_dir.parent))
    working.chmod(0o755)
    try:
        yield working
        previous = None
        if run_dir.exists():
            previous = working.with_name(f"{working.name}.previous")
            os.replace(run_dir, previous)
        try:
            os.replace(working, run_dir)
        except BaseException:
            if previous is not None:
                os.replace(previous, run_dir)
            raise
        if previous is not None:
            shutil.rmtree(previous)
    except BaseException:
        if (working / MODEL).is_file():
            kept = run_dir.with_name(f"{run_dir.name}.failed")
            shutil.rmtree(kept, ignore_errors=True)
            os.replace(working, kept)
            say(f"the run did not finish; its model and what else was written are kept in {kept}")
        raise
    finally:
        if working.exists():
            shutil.rmtree(working)


def clear_abandoned(run_dir: str | Path) -> None:
    """Removes working folders of killed processes, and puts back a run that was being replaced when one was killed.

    Args:
        run_dir: The run's folder, which need not be there.
    """
    run_dir = typed_path(run_dir, "run_dir").resolve()
    pattern = re.compile(rf"\.{re.escape(run_dir.name)}\.(\d+)\.[^.]+(\.previous)?")
    for folder in run_dir.parent.iterdir() if run_dir.parent.is_dir() else ():
        match = pattern.fullmatch(folder.name)
        if match is None or _alive(int(match[1])):
            continue
        if match[2] and not run_dir.exists():
            os.replace(folder, run_dir)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
