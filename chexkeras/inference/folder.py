"""Scoring a folder of files with a run, and keeping the results with the run for its report."""

from pathlib import Path

import pandas as pd

from chexkeras import files
from chexkeras.checks import existing_folder
from chexkeras.inference.batch import find_files
from chexkeras.inference.predictor import Predictor
from chexkeras.training.run import Run


def score_folder(run: Run, folder: str | Path, profile: str = "clinical", *, keep: bool = True) -> pd.DataFrame:
    """Scores every file below a folder with a run's model and frozen thresholds.

    Args:
        run: The run.
        folder: Where the files are.
        profile: The DICOM gate's profile, "clinical" or "course".
        keep: Whether the results become the run's ``dicom_results.csv``, from which its report tells; False leaves
            the run folder as it is, for example where it cannot be written.

    Returns:
        What `Predictor.predict` returns, with `file` relative to the folder.

    Raises:
        FileNotFoundError: If the folder, or a file of the run, is not there.
        ValueError: If the folder holds no file.
    """
    root = existing_folder(folder, "folder")
    found = find_files(root)
    results = Predictor.load(run, profile).predict(found)
    results["file"] = [Path(name).relative_to(root).as_posix() for name in results["file"]]
    if keep:
        files.write_csv(run.folder / "dicom_results.csv", results)
    return results
